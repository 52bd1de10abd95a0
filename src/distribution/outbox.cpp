#include "distribution/outbox.hpp"

#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

Outbox::Snapshot Outbox::snapshot(bool essential) {
  const std::lock_guard lock(mutex_);
  const bool has_room = !is_full(essential);
  if (!has_room && !essential) senders_wait_ = true;
  return {state_, epoch_, flags_, peer_creation_, has_room};
}

Outbox::PushResult Outbox::push(std::uint64_t epoch, OutgoingMessage&& message, bool essential) {
  const std::lock_guard lock(mutex_);
  if (state_ != State::up || epoch != epoch_) return {Pushed::stale};
  if (is_full(essential)) {
    if (essential) return {Pushed::unread, !std::exchange(unread_told_, true)};
    senders_wait_ = true;
    return {Pushed::full};
  }
  bytes_ += message.bytes;
  messages_.push_back(std::move(message));
  const bool wake = messages_.size() == 1;
  if (queued() <= limits_.busy_bytes) return {Pushed::accepted, wake};
  senders_wait_ = true;
  return {Pushed::busy, wake};
}

bool Outbox::await_room() {
  const std::lock_guard lock(mutex_);
  const bool busy = queued() > limits_.busy_bytes;
  if (busy) senders_wait_ = true;
  return busy;
}

Outbox::PushResult Outbox::push_waiting(Signal&& signal, const Pid& stream_key, std::size_t bytes, bool essential,
                                        bool may_dial, MonotonicTime now) {
  const std::lock_guard lock(mutex_);
  if (state_ == State::up) return {Pushed::stale};
  if (state_ == State::down && (!may_dial || now < retry_at_)) return {Pushed::refused};
  if (is_full(essential)) {
    senders_wait_ = true;
    return {Pushed::full};
  }
  const bool wake = state_ == State::down;
  state_ = State::dialing;
  bytes_ += bytes;
  waiting_.push_back({std::move(signal), stream_key});
  if (queued() <= limits_.busy_bytes) return {Pushed::accepted, wake};
  senders_wait_ = true;
  return {Pushed::busy, wake};
}

bool Outbox::may_be_forgotten(MonotonicTime now) const {
  const std::lock_guard lock(mutex_);
  return state_ == State::down && now >= retry_at_;
}

void Outbox::set_dialing() {
  const std::lock_guard lock(mutex_);
  if (state_ == State::down) state_ = State::dialing;
}

std::deque<WaitingSignal> Outbox::set_up(std::uint64_t epoch, std::uint64_t flags, std::uint32_t peer_creation) {
  const std::lock_guard lock(mutex_);
  if (!waiting_.empty()) {
    bytes_ = 0;
    return std::exchange(waiting_, {});
  }
  messages_.clear();
  bytes_ = 0;
  unread_told_ = false;
  state_ = State::up;
  epoch_ = epoch;
  flags_ = flags;
  peer_creation_ = peer_creation;
  return {};
}

std::size_t Outbox::set_down(MonotonicTime retry_at) {
  const std::lock_guard lock(mutex_);
  const std::size_t dropped = messages_.size() + waiting_.size();
  messages_.clear();
  waiting_.clear();
  bytes_ = 0;
  transport_bytes_ = 0;
  state_ = State::down;
  retry_at_ = retry_at;
  return dropped;
}

void Outbox::take(std::vector<OutgoingMessage>& into) {
  into.clear();
  const std::lock_guard lock(mutex_);
  std::size_t bytes = 0;
  for (const auto& message : messages_) bytes += message.bytes;
  bytes_ -= bytes;
  transport_bytes_ += bytes;
  messages_.swap(into);
}

bool Outbox::set_transport_queue(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  transport_bytes_ = bytes;
  if (!senders_wait_ || queued() > limits_.busy_bytes / 2) return false;
  senders_wait_ = false;
  return true;
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
