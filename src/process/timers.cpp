#include "process/timers.hpp"

#include "base/this_thread.hpp"
#include "process/state.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace process {

void Timers::start() {
  thread_ = std::thread([this] {
    name_this_thread("bp2p-timers");
    prefer_short_turns();
    run();
  });
}

void Timers::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    for (const auto& [at, state] : entries_) state->timer.armed = false;
    entries_.clear();
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Timers::insert(State& state, MonotonicTime at) {
  state.timer.entry = entries_.emplace(at, &state);
  state.timer.armed = true;
}

void Timers::arm(State& state, MonotonicTime at, std::uint64_t id) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    Slot& slot = state.timer;
    slot.deadline = at;
    slot.id = id;
    if (slot.armed && slot.entry->first <= at) return;
    if (slot.armed) entries_.erase(slot.entry);
    insert(state, at);
    first = slot.entry == entries_.begin();
  }
  if (first) changed_.notify_one();
}

void Timers::cancel(State& state) {
  const std::lock_guard lock(mutex_);
  if (!state.timer.armed) return;
  entries_.erase(state.timer.entry);
  state.timer.armed = false;
}

void Timers::run() {
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    if (entries_.empty()) {
      changed_.wait(lock);
      continue;
    }
    const auto at = entries_.begin()->first;
    if (monotonic_now() < at) {
      changed_.wait_until(lock, at);
      continue;
    }
    State& state = *entries_.begin()->second;
    entries_.erase(entries_.begin());
    state.timer.armed = false;
    if (state.timer.deadline > at) {
      insert(state, state.timer.deadline);
    } else {
      // Under the lock: the process cancels before it goes.
      state.tell(new Event(TimerFired{state.timer.id}));
    }
  }
}

}  // namespace process
}  // namespace v0
}  // namespace barrel_p2p
