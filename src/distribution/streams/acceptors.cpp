#include "distribution/streams/acceptors.hpp"

#include <utility>

#include "distribution/streams/tags.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

bool TagAcceptor::offer(const std::shared_ptr<StreamCore>& stream) {
  if (handler_) {
    const std::lock_guard running(running_);
    if (closed()) return false;
    handler_(stream);
    return true;
  }
  std::function<void()> wake;
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || waiting_.size() >= backlog_max_) return false;
    waiting_.push_back(stream);
    wake = std::exchange(wake_, nullptr);
  }
  if (wake) wake();
  return true;
}

std::shared_ptr<StreamCore> TagAcceptor::next() {
  const std::lock_guard lock(mutex_);
  if (waiting_.empty()) return nullptr;
  auto stream = std::move(waiting_.front());
  waiting_.pop_front();
  return stream;
}

void TagAcceptor::await(std::function<void()> wake) {
  {
    const std::lock_guard lock(mutex_);
    if (!closed_ && waiting_.empty()) {
      wake_ = std::move(wake);
      return;
    }
  }
  wake();
}

bool TagAcceptor::forget() {
  const std::lock_guard lock(mutex_);
  return std::exchange(wake_, nullptr) != nullptr;
}

bool TagAcceptor::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

void TagAcceptor::close() {
  const std::lock_guard running(running_);
  std::deque<std::shared_ptr<StreamCore>> left;
  std::function<void()> wake;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    left = std::exchange(waiting_, {});
    wake = std::exchange(wake_, nullptr);
  }
  for (const auto& stream : left) stream->abandon();
  if (wake) wake();
}

Result<std::shared_ptr<TagAcceptor>> TagAcceptors::add(const std::string& tag, TagAcceptor::Handler handler,
                                                       std::size_t backlog_max) {
  if (auto checked = check_tag(tag); !checked) return std::unexpected(checked.error());
  auto acceptor = std::make_shared<TagAcceptor>(std::move(handler), backlog_max);
  const std::unique_lock lock(mutex_);
  if (closed_) return fail(Errc::stopped, "the node is stopping");
  if (!acceptors_.try_emplace(tag, acceptor).second) {
    return fail(Errc::already_registered, "another acceptor takes the streams of this tag");
  }
  return acceptor;
}

void TagAcceptors::remove(const std::string& tag, const std::shared_ptr<TagAcceptor>& acceptor) {
  {
    const std::unique_lock lock(mutex_);
    const auto found = acceptors_.find(tag);
    if (found != acceptors_.end() && found->second == acceptor) acceptors_.erase(found);
  }
  acceptor->close();
}

std::shared_ptr<TagAcceptor> TagAcceptors::find(const std::string& tag) const {
  const std::shared_lock lock(mutex_);
  const auto found = acceptors_.find(tag);
  return found == acceptors_.end() ? nullptr : found->second;
}

void TagAcceptors::close() {
  std::unordered_map<std::string, std::shared_ptr<TagAcceptor>> all;
  {
    const std::unique_lock lock(mutex_);
    closed_ = true;
    all = std::exchange(acceptors_, {});
  }
  for (const auto& [tag, acceptor] : all) acceptor->close();
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
