#include "process/scheduler.hpp"

#include <algorithm>

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
  if (own && size == 1 && vigilant_.load()) {
    kept_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  wake_one();
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

void Scheduler::wake_one() {
  {
    const std::lock_guard lock(rest_mutex_);
    if (wake_ups_ >= idle_.load()) return;
    ++wake_ups_;
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
    state->run();
  }
  place = {};
}

State* Scheduler::pop(Queue& queue) {
  const std::lock_guard lock(queue.mutex);
  if (queue.states.empty()) return nullptr;
  State* state = queue.states.front();
  queue.states.pop_front();
  return state;
}

State* Scheduler::steal(const Queue& own) {
  for (const auto& queue : queues_) {
    if (queue.get() == &own) continue;
    if (State* state = pop(*queue)) return state;
  }
  return nullptr;
}

State* Scheduler::next(Queue& own) {
  if (own.turns.load(std::memory_order_relaxed) % shared_first_every == 0) {
    if (State* state = pop(*queues_.back())) return state;
  }
  if (State* state = pop(own)) return state;
  return steal(own);
}

State* Scheduler::rest(Queue& own, bool& stopped) {
  std::unique_lock lock(rest_mutex_);
  idle_.fetch_add(1);
  // Who pushed before it saw us idle wakes nobody: look once more.
  State* found = steal(own);
  if (found == nullptr && !stopping_) {
    if (wake_ups_ == 0 && !vigilant_.exchange(true)) found = look_around(lock, own);
    if (found == nullptr) rest_.wait(lock, [&] { return wake_ups_ > 0 || stopping_; });
    // Who found something at once leaves the wake-up to the one that was woken: it may be for something else.
    if (wake_ups_ > 0) --wake_ups_;
  }
  idle_.fetch_sub(1);
  if (found == nullptr && stopping_) {
    // What a host runs may make others runnable.
    const bool alone = rest_.wait_for(lock, look_around_every, [&] { return hosted_.load() == 0; });
    found = steal(own);
    stopped = alone && found == nullptr;
  }
  return found;
}

State* Scheduler::look_around(std::unique_lock<std::mutex>& lock, const Queue& own) {
  std::vector<std::uint64_t> turns(queues_.size());
  std::uint64_t kept = kept_.load();
  int quiet = 0;
  State* found = nullptr;
  while (found == nullptr && quiet < quiet_rounds_max) {
    for (std::size_t at = 0; at < queues_.size(); ++at) turns[at] = queues_[at]->turns.load(std::memory_order_relaxed);
    if (rest_.wait_for(lock, look_around_every, [&] { return wake_ups_ > 0 || stopping_; })) break;
    for (std::size_t at = 0; at < queues_.size() && found == nullptr; ++at) {
      // A queue whose worker had no turn for a whole round is held back by what the worker runs.
      if (turns[at] == queues_[at]->turns.load(std::memory_order_relaxed)) found = pop(*queues_[at]);
    }
    quiet = kept_.load() == kept ? quiet + 1 : 0;
    kept = kept_.load();
  }
  vigilant_ = false;
  // Who kept a process back because we were vigilant must not be forgotten.
  return found != nullptr ? found : steal(own);
}

}  // namespace process
}  // namespace v0
}  // namespace barrel_p2p
