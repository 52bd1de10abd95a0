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
  Wake wake;
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || waiting_.size() >= backlog_max_) return false;
    waiting_.push_back(stream);
    wake = take_first_waiter();
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

TagAcceptor::Waiter TagAcceptor::await(Wake wake) {
  {
    const std::lock_guard lock(mutex_);
    if (!closed_ && waiting_.empty()) {
      waiters_.emplace(++last_waiter_, std::move(wake));
      return last_waiter_;
    }
  }
  wake();
  return 0;
}

bool TagAcceptor::forget(Waiter waiter) {
  Wake next;
  {
    const std::lock_guard lock(mutex_);
    if (waiters_.erase(waiter) > 0) return true;
    // A process that was killed takes nothing any more.
    if (!waiting_.empty()) next = take_first_waiter();
  }
  if (next) next();
  return false;
}

TagAcceptor::Wake TagAcceptor::take_first_waiter() {
  if (waiters_.empty()) return nullptr;
  return std::move(waiters_.extract(waiters_.begin()).mapped());
}

bool TagAcceptor::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

void TagAcceptor::close() {
  const std::lock_guard running(running_);
  std::deque<std::shared_ptr<StreamCore>> left;
  std::map<Waiter, Wake> waiters;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    left = std::exchange(waiting_, {});
    waiters = std::exchange(waiters_, {});
  }
  for (const auto& stream : left) stream->abandon();
  for (const auto& [waiter, wake] : waiters) wake();
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
