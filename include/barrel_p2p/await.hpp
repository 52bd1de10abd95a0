// The coroutine face of functions that answer by a callback.
//
//   const auto put = co_await awaited<void>(self, [&](auto done) { node.map_put("config", key, value, done); });
//
// The process waits without holding its thread. Messages that come meanwhile stay in its mailbox.
#pragma once

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
/// and waits until it was.
template <class T>
[[nodiscard]] Task<Result<T>> awaited(Process& self, std::function<void(std::function<void(Result<T>)>)> start) {
  auto answer = std::make_shared<std::optional<Result<T>>>();
  const Term mark(self.make_ref());
  start([answer, mark, wake = self.sender()](Result<T> result) {
    answer->emplace(std::move(result));
    wake(mark);
  });
  const Matcher is_mark = [mark](const Term& message) { return message == mark; };
  const MaybeTerm woken = co_await self.receive(is_mark);
  (void)woken;
  co_return std::move(**answer);
}

}  // namespace v0
}  // namespace barrel_p2p
