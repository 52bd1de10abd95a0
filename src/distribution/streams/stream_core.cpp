#include "distribution/streams/stream_core.hpp"

#include <algorithm>
#include <utility>

#include "distribution/streams/tags.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

StreamCore::StreamCore(Identity identity, std::size_t send_bytes_max, std::function<void()> notify)
    : identity_(std::move(identity)), send_bytes_max_(send_bytes_max), notify_(std::move(notify)) {}

// The program.

std::unexpected<Error> StreamCore::ending() const {
  switch (state_) {
    case State::open: return fail(Errc::closed, "this side of the stream is finished");
    case State::abandoned: return fail(Errc::cancelled, "the stream was given up here");
    case State::lost: return std::unexpected(*error_);
    case State::reset: break;
  }
  if (code_ == code_refused && identity_.opened_here) {
    return fail(Errc::connection_refused,
                identity_.peer.string() + " takes no streams with this tag: no acceptor, or too much waits for it");
  }
  return fail(Errc::reset, "the stream was reset with code " + std::to_string(code_.value_or(0)));
}

std::optional<Result<Bytes>> StreamCore::read(std::size_t max) {
  std::unique_lock lock(mutex_);
  if (state_ == State::reset || state_ == State::abandoned) return ending();
  if (in_bytes_ == 0) {
    if (in_finished_) return Bytes();
    if (state_ == State::lost) return ending();
    return std::nullopt;
  }
  Bytes taken;
  Bytes& first = in_.front();
  const std::size_t size = std::min(std::max<std::size_t>(max, 1), first.size() - in_offset_);
  if (in_offset_ == 0 && size == first.size()) {
    taken = std::move(first);
    in_.pop_front();
  } else {
    const auto from = first.begin() + static_cast<std::ptrdiff_t>(in_offset_);
    taken.assign(from, from + static_cast<std::ptrdiff_t>(size));
    in_offset_ += size;
    if (in_offset_ == first.size()) {
      in_.pop_front();
      in_offset_ = 0;
    }
  }
  in_bytes_ -= size;
  work_.consumed += size;
  if (work_.consumed >= credit_step || (in_finished_ && in_bytes_ == 0)) add_work(lock);
  return taken;
}

std::optional<Result<std::size_t>> StreamCore::write(const SharedBytes& bytes) {
  std::unique_lock lock(mutex_);
  if (state_ != State::open || out_finished_) return ending();
  if (out_stopped_) return fail(Errc::reset, "the peer does not read from the stream any more");
  const std::uint64_t waiting = out_total_ - out_acked_;
  if (bytes.view.empty()) return std::size_t{0};
  if (waiting >= send_bytes_max_) return std::nullopt;
  const std::size_t size = std::min<std::size_t>(bytes.view.size(), send_bytes_max_ - waiting);
  work_.bytes.push_back(bytes.slice(0, size));
  out_total_ += size;
  add_work(lock);
  return size;
}

Result<void> StreamCore::finish() {
  std::unique_lock lock(mutex_);
  if (state_ != State::open) return ending();
  if (std::exchange(out_finished_, true)) return {};
  work_.finish = true;
  add_work(lock);
  return {};
}

void StreamCore::set_reset(std::uint64_t code) {
  state_ = State::reset;
  code_ = code;
  in_.clear();
  in_bytes_ = in_offset_ = 0;
}

void StreamCore::reset(std::uint64_t code) {
  std::unique_lock lock(mutex_);
  if (state_ != State::open) return;
  set_reset(code);
  work_.bytes.clear();
  work_.reset = code;
  auto wakes = due();
  add_work(lock);
  call(std::move(wakes));
}

void StreamCore::abandon() {
  std::unique_lock lock(mutex_);
  const State before = std::exchange(state_, State::abandoned);
  in_.clear();
  in_bytes_ = in_offset_ = 0;
  auto wakes = due();
  if (before != State::open) {
    lock.unlock();
    return call(std::move(wakes));
  }
  if (out_finished_) {
    work_.stop_reading = true;
  } else {
    work_.bytes.clear();
    work_.reset = code_owner_gone;
  }
  add_work(lock);
  call(std::move(wakes));
}

std::optional<Result<void>> StreamCore::delivered() {
  const std::lock_guard lock(mutex_);
  if (out_acked_ == out_total_) return Result<void>();
  if (state_ != State::open) return ending();
  if (out_stopped_) return fail(Errc::reset, "the peer does not read from the stream any more");
  return std::nullopt;
}

bool StreamCore::is_over(Wait what) const {
  if (state_ != State::open) return true;
  switch (what) {
    case Wait::readable: return in_bytes_ > 0 || in_finished_;
    // Half of the room: else writers of much would be woken for every packet.
    case Wait::writable: return out_finished_ || out_stopped_ || out_total_ - out_acked_ <= send_bytes_max_ / 2;
    case Wait::delivered: return out_stopped_ || out_acked_ == out_total_;
  }
  return true;
}

void StreamCore::await(Wait what, Wake wake) {
  {
    const std::lock_guard lock(mutex_);
    if (!is_over(what)) {
      waits_[static_cast<std::size_t>(what)] = std::move(wake);
      return;
    }
  }
  wake();
}

bool StreamCore::forget(Wait what) {
  const std::lock_guard lock(mutex_);
  return std::exchange(waits_[static_cast<std::size_t>(what)], nullptr) != nullptr;
}

std::optional<std::uint64_t> StreamCore::reset_code() const {
  const std::lock_guard lock(mutex_);
  return code_;
}

std::size_t StreamCore::unread_bytes() const {
  const std::lock_guard lock(mutex_);
  return in_bytes_;
}

std::size_t StreamCore::unsent_bytes() const {
  const std::lock_guard lock(mutex_);
  return out_total_ - out_acked_;
}

// The transport thread.

std::vector<StreamCore::Wake> StreamCore::due() {
  std::vector<Wake> wakes;
  for (const auto what : {Wait::readable, Wait::writable, Wait::delivered}) {
    Wake& wait = waits_[static_cast<std::size_t>(what)];
    if (wait && is_over(what)) wakes.push_back(std::exchange(wait, nullptr));
  }
  return wakes;
}

void StreamCore::call(std::vector<Wake>&& wakes) {
  for (const auto& wake : wakes) wake();
}

/// Gives the lock back.
void StreamCore::add_work(std::unique_lock<std::mutex>& lock) {
  const bool first = !std::exchange(notified_, true);
  lock.unlock();
  if (first) notify_();
}

StreamCore::Work StreamCore::take_work() {
  const std::lock_guard lock(mutex_);
  notified_ = false;
  return std::exchange(work_, {});
}

bool StreamCore::deliver(ByteView bytes, bool fin) {
  std::unique_lock lock(mutex_);
  if (state_ != State::open || in_finished_) return false;
  if (!bytes.empty()) {
    if (in_.empty() || in_.back().size() + bytes.size() > block_bytes) in_.emplace_back();
    in_.back().insert(in_.back().end(), bytes.begin(), bytes.end());
    in_bytes_ += bytes.size();
  }
  in_finished_ = fin;
  auto wakes = due();
  lock.unlock();
  call(std::move(wakes));
  return true;
}

void StreamCore::acknowledge(std::uint64_t total) {
  std::unique_lock lock(mutex_);
  out_acked_ = std::clamp(total, out_acked_, out_total_);
  auto wakes = due();
  lock.unlock();
  call(std::move(wakes));
}

void StreamCore::ended_by_reset(std::uint64_t code) {
  std::unique_lock lock(mutex_);
  if (state_ != State::open) return;
  set_reset(code);
  work_ = {};
  auto wakes = due();
  lock.unlock();
  call(std::move(wakes));
}

void StreamCore::ended_by_stop() {
  std::unique_lock lock(mutex_);
  if (state_ != State::open || out_stopped_) return;
  out_stopped_ = true;
  work_.bytes.clear();
  auto wakes = due();
  lock.unlock();
  call(std::move(wakes));
}

void StreamCore::lost(const Error& error) {
  std::unique_lock lock(mutex_);
  if (state_ != State::open) return;
  state_ = State::lost;
  error_ = error;
  work_ = {};
  auto wakes = due();
  lock.unlock();
  call(std::move(wakes));
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
