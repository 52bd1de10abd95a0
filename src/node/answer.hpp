// The other end of a call that is answered later, on another thread.
#pragma once

#include <barrel_p2p/error.hpp>
#include <functional>
#include <future>
#include <memory>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace node {

/// Calls the function once: with what it is given, or with `stopped` when it is dropped before. A movable value.
template <class T>
class Answer {
 public:
  using Function = std::function<void(Result<T>)>;

  Answer() = default;
  explicit Answer(Function function) : function_(std::move(function)) {}
  Answer(Answer&& other) noexcept : function_(std::exchange(other.function_, nullptr)) {}
  Answer& operator=(Answer&& other) noexcept {
    std::swap(function_, other.function_);
    return *this;
  }
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;
  ~Answer() { give(fail(Errc::stopped, "the node is stopping")); }

  void give(Result<T> result) {
    if (const auto function = std::exchange(function_, nullptr)) function(std::move(result));
  }

 private:
  Function function_;
};

/// Starts a call and waits for its answer. `start` takes the function that answers it.
template <class T, class Start>
Result<T> wait_for(const Start& start) {
  auto promise = std::make_shared<std::promise<Result<T>>>();
  auto future = promise->get_future();
  start([promise](Result<T> result) { promise->set_value(std::move(result)); });
  return future.get();
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
