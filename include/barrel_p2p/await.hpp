// The coroutine face of functions that answer by a callback.
//
//   const auto put = co_await awaited<void>(self, [&](auto done) { node.map_put("config", key, value, done); });
//
// The process waits without holding its thread. Messages that come meanwhile stay in its mailbox.
#pragma once

#include <atomic>
#include <barrel_p2p/error.hpp>
#include <barrel_p2p/process.hpp>
#include <barrel_p2p/task.hpp>
#include <barrel_p2p/term.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {

/// Calls `start` with a callback of type `std::function<void(Result<T>)>`, which must be called once, on any thread,
/// and waits until it was. The message that wakes the process is no proof of an answer: other nodes may send one that
/// looks like it, and it changes nothing.
template <class T>
[[nodiscard]] Task<Result<T>> awaited(Process& self, std::function<void(std::function<void(Result<T>)>)> start) {
  struct Answer {
    std::optional<Result<T>> result;
    std::atomic<bool> given{false};  ///< Set when `result` is there to be read.
  };
  const auto answer = std::make_shared<Answer>();
  const Term mark(self.make_ref());
  start([answer, mark, wake = self.sender()](Result<T> result) {
    answer->result.emplace(std::move(result));
    answer->given.store(true, std::memory_order_release);
    wake(mark);
  });
  const Matcher is_mark = [mark](const Term& message) { return message == mark; };
  do {
    const MaybeTerm woken = co_await self.receive(is_mark);
    (void)woken;
  } while (!answer->given.load(std::memory_order_acquire));
  co_return std::move(*answer->result);
}

}  // namespace v0
}  // namespace barrel_p2p
