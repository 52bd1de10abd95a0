#include "node/transport_threads.hpp"

#include <utility>

#include "base/this_thread.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

thread_local const TransportThreads* TransportThreads::leading = nullptr;
thread_local const TransportThreads* TransportThreads::hosting = nullptr;

void TransportThreads::start() {
  const auto begin = [this](bool leader) {
    name_this_thread("bp2p-network");
    prefer_short_turns();
    if (leader) leading = this;
    if (leader || watch()) run();
    leading = nullptr;
  };
  threads_[0] = std::thread(begin, true);
  threads_[1] = std::thread(begin, false);
}

void TransportThreads::run() {
  BusyPoll busy_poll(busy_poll_);
  while (context_.run_one() > 0) {
    context_.poll();
    if (busy_poll.begin()) poll(busy_poll);
  }
}

void TransportThreads::poll(BusyPoll& busy_poll) {
  busy_poll.wait_from(monotonic_now());
  bool looking = true;
  while (looking) {
    if (context_.poll() > 0) {
      busy_poll.found();
      busy_poll.wait_from(monotonic_now());
    } else {
      looking = busy_poll.go_on(monotonic_now());
    }
  }
}

void TransportThreads::stop() {
  context_.stop();
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (auto& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

bool TransportThreads::run_if_leading(const std::function<void()>& work) {
  if (leads()) {
    work();
    return true;
  }
  if (hosting != this || !close_lead()) return false;
  work();
  open_lead();
  return true;
}

bool TransportThreads::take(process::State& state) {
  if (taken_ != nullptr || !watched_.load()) return false;
  taken_ = &state;
  signals_ = 0;  // those that made it runnable are counted next
  return true;
}

bool TransportThreads::run_taken() {
  if (taken_ == nullptr) return true;
  process::State& state = *std::exchange(taken_, nullptr);
  if (signals_ > signals_max) {
    scheduler_.give_to_worker(state);
    return true;
  }
  hosting = this;
  open_lead();
  scheduler_.run_here(state);
  hosting = nullptr;
  return close_lead() || watch();
}

void TransportThreads::open_lead() {
  leading = nullptr;
  turns_.fetch_add(1);
  lead_.store(Lead::open);
  if (!asleep_.load()) return;
  {
    const std::lock_guard lock(mutex_);
    asleep_ = false;
  }
  wake_.notify_one();
}

bool TransportThreads::close_lead() noexcept {
  auto expected = Lead::open;
  if (!lead_.compare_exchange_strong(expected, Lead::held)) return false;
  leading = this;
  return true;
}

bool TransportThreads::watch() {
  std::unique_lock lock(mutex_);
  std::uint64_t seen = turns_.load();
  int quiet = 0;
  watched_ = true;
  while (!stopping_) {
    if (quiet == quiet_rounds_max) {
      asleep_ = true;
      // Who opened the lead before it could see this wakes nobody.
      wake_.wait(lock, [&] { return stopping_ || !asleep_ || turns_.load() != seen; });
      asleep_ = false;
      quiet = 0;
    }
    wake_.wait_for(lock, watch_every, [&] { return stopping_; });
    const std::uint64_t turns = turns_.load();
    const bool same = std::exchange(seen, turns) == turns;
    if (same && !stopping_ && close_lead()) {
      watched_ = false;
      lock.unlock();
      lead_taken_();
      return true;
    }
    quiet = same ? quiet + 1 : 0;
  }
  return false;
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
