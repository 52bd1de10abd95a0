#include "process/scheduler.hpp"

#include <algorithm>
#include <utility>

#include "base/this_thread.hpp"
#include "process/state.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace process {

thread_local Scheduler::Place Scheduler::place;
thread_local Scheduler::Offer Scheduler::offer;

Scheduler::Scheduler(unsigned workers) {
  for (unsigned queue = 0; queue <= workers; ++queue) queues_.push_back(std::make_unique<Queue>());
}

bool Scheduler::on_worker() const noexcept { return place.scheduler == this; }

void Scheduler::start() {
  for (std::size_t worker = 0; worker + 1 < queues_.size(); ++worker) {
    threads_.emplace_back([this, worker] {
      name_this_thread("bp2p-processes");
      prefer_short_turns();
      work(*queues_[worker]);
    });
  }
}

void Scheduler::stop() {
  {
    const std::lock_guard lock(rest_mutex_);
    stopping_ = true;
  }
  rest_.notify_all();
  for (auto& thread : threads_) thread.join();
  threads_.clear();
}

void Scheduler::schedule(State& state) {
  if (offer.scheduler == this && offer_to_host(state)) return;
  const bool own = on_worker() && place.queue != nullptr;
  Queue& queue = own ? *place.queue : *queues_.back();
  std::size_t size = 0;
  {
    const std::lock_guard lock(queue.mutex);
    queue.states.push_back(&state);
    size = queue.states.size();
  }
  if (idle_.load() == 0) return;
  if (!own) return wake_one(Errand::look);
  if (size > 1) return wake_one(Errand::take);
  kept_.fetch_add(1, std::memory_order_relaxed);
  if (!vigilant_.load()) wake_one(Errand::look);
}

void Scheduler::yield(State& state, const State* partner) {
  if (!on_worker() || place.queue == nullptr) return schedule(state);
  Queue& queue = place_of_yield(*place.queue, partner);
  const bool own = &queue == place.queue;
  std::size_t size = 0;
  {
    const std::lock_guard lock(queue.mutex);
    queue.states.push_back(&state);
    size = queue.states.size();
  }
  if (idle_.load() == 0 || (own && size == 1)) return;  // alone, it goes on at once
  kept_.fetch_add(1, std::memory_order_relaxed);
  // The worker that it went to may be on its way to rest.
  if (!own || !vigilant_.load()) wake_one(Errand::look);
}

Scheduler::Queue& Scheduler::place_of_yield(Queue& own, const State* partner) {
  auto* const other = partner != nullptr ? static_cast<Queue*>(partner->home.load(std::memory_order_relaxed)) : nullptr;
  if (other == nullptr || other == &own) return own;
  const auto now = monotonic_now();
  const bool is_short = now - std::exchange(own.yielded, now) <= patience;
  const bool meets = is_short && other->running.load(std::memory_order_relaxed) == partner;
  return meets && is_empty(own) && is_empty(*other) ? *other : own;
}

bool Scheduler::is_empty(Queue& queue) {
  const std::lock_guard lock(queue.mutex);
  return queue.states.empty();
}

bool Scheduler::offer_to_host(State& state) {
  hosted_.fetch_add(1);
  if (!stopping_.load() && offer.host->take(state)) return true;
  end_hosting();
  return false;
}

void Scheduler::run_here(State& state) {
  place = {this, nullptr};
  state.run();
  place = {};
  end_hosting();
}

void Scheduler::give_to_worker(State& state) {
  schedule(state);
  end_hosting();
}

void Scheduler::end_hosting() {
  if (hosted_.fetch_sub(1) != 1 || !stopping_.load()) return;
  {
    const std::lock_guard lock(rest_mutex_);
  }
  rest_.notify_all();
}

void Scheduler::wake_one(Errand errand) {
  {
    const std::lock_guard lock(rest_mutex_);
    if (wake_ups_ >= idle_.load()) return;
    ++wake_ups_;
    if (errand == Errand::take) take_ = true;
  }
  rest_.notify_one();
}

void Scheduler::work(Queue& own) {
  place = {this, &own};
  bool stopped = false;
  while (!stopped) {
    State* state = next(own);
    if (state == nullptr) state = rest(own, stopped);
    if (state == nullptr) continue;
    own.turns.fetch_add(1, std::memory_order_relaxed);
    state->home.store(&own, std::memory_order_relaxed);
    own.running.store(state, std::memory_order_relaxed);
    state->run();
    own.running.store(nullptr, std::memory_order_relaxed);
    share(own);
  }
  place = {};
}

void Scheduler::share(Queue& own) {
  std::size_t waiting = 0;
  if (idle_.load() != 0) {
    const std::lock_guard lock(own.mutex);
    waiting = own.states.size();
  }
  if (waiting < 2) {  // a single one has its turn now
    own.turn_began.reset();
    own.long_turns = 0;
    return;
  }
  const auto now = monotonic_now();
  const auto began = std::exchange(own.turn_began, now);
  const bool is_long = began && (now - *began) * waiting > patience;
  own.long_turns = is_long ? own.long_turns + 1 : 0;
  if (own.long_turns >= long_turns_min) wake_one(Errand::take);
}

State* Scheduler::pop(Queue& queue, std::size_t least) {
  const std::lock_guard lock(queue.mutex);
  if (queue.states.size() < least) return nullptr;
  State* state = queue.states.front();
  queue.states.pop_front();
  return state;
}

State* Scheduler::steal(const Queue& own, std::size_t least) {
  for (const auto& queue : queues_) {
    if (queue.get() == &own) continue;
    if (State* state = pop(*queue, queue == queues_.back() ? 1 : least)) return state;
  }
  return nullptr;
}

State* Scheduler::next(Queue& own) {
  if (own.turns.load(std::memory_order_relaxed) % shared_first_every == 0) {
    if (State* state = pop(*queues_.back())) return state;
  }
  if (State* state = pop(own)) return state;
  return steal(own, 2);
}

State* Scheduler::rest(Queue& own, bool& stopped) {
  std::unique_lock lock(rest_mutex_);
  idle_.fetch_add(1);
  // Who pushed before it saw us idle wakes nobody: look once more.
  State* found = pop(own);
  if (found == nullptr) found = steal(own, 2);
  if (found == nullptr && !stopping_) {
    const bool vigilant = wake_ups_ == 0 && !vigilant_.exchange(true);
    if (vigilant) found = look_around(lock, own);
    if (found == nullptr) rest_.wait(lock, [&] { return wake_ups_ > 0 || stopping_; });
    // Who found something at once leaves the wake-up to the one that was woken: it may be for something else.
    if (wake_ups_ > 0) {
      --wake_ups_;
      const bool take = std::exchange(take_, false);
      if (found == nullptr) found = pop(*queues_.back());
      if (found == nullptr) found = steal(own, take ? 1 : 2);
    }
    if (vigilant && found != nullptr) hand_on_vigilance(own);
  }
  idle_.fetch_sub(1);
  if (found == nullptr && stopping_) {
    // What a host runs may make others runnable.
    const bool alone = rest_.wait_for(lock, look_around_every, [&] { return hosted_.load() == 0; });
    found = steal(own, 1);
    stopped = alone && found == nullptr;
  }
  return found;
}

void Scheduler::hand_on_vigilance(const Queue& own) {
  const auto waits = [&](const auto& queue) { return queue.get() != &own && !is_empty(*queue); };
  if (wake_ups_ + 1 >= idle_.load() || std::ranges::none_of(queues_, waits)) return;
  ++wake_ups_;
  rest_.notify_one();
}

State* Scheduler::look_around(std::unique_lock<std::mutex>& lock, const Queue& own) {
  std::vector<std::uint64_t> turns(queues_.size());
  std::uint64_t kept = kept_.load();
  int quiet = 0;
  std::chrono::microseconds pause = look_around_first;
  State* found = nullptr;
  while (found == nullptr && quiet < quiet_rounds_max) {
    for (std::size_t at = 0; at < queues_.size(); ++at) turns[at] = queues_[at]->turns.load(std::memory_order_relaxed);
    if (rest_.wait_for(lock, pause, [&] { return wake_ups_ > 0 || stopping_; })) break;
    for (std::size_t at = 0; at < queues_.size() && found == nullptr; ++at) {
      // A queue whose worker had no turn for a whole round is held back by what the worker runs.
      if (turns[at] == queues_[at]->turns.load(std::memory_order_relaxed)) found = pop(*queues_[at]);
    }
    pause = look_around_every;
    quiet = kept_.load() == kept ? quiet + 1 : 0;
    kept = kept_.load();
  }
  vigilant_ = false;
  if (found != nullptr || wake_ups_ > 0) return found;
  // Who kept a process back because we were vigilant must not be forgotten.
  return steal(own, 1);
}

}  // namespace process
}  // namespace v0
}  // namespace barrel_p2p
