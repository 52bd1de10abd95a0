// Servers: processes that answer calls and casts, of C++ and Erlang clients alike (`gen_server`).
//
//   struct Counter : Server {
//     std::int64_t count = 0;
//     Task<std::optional<Term>> handle_call(Process&, Term request, CallFrom) override {
//       co_return request.is_atom("get") ? std::optional<Term>(count) : Atom("unknown");
//     }
//     Task<> handle_cast(Process&, Term) override { ++count; co_return; }
//   };
//   Pid counter = node.spawn(serve([] { return std::make_unique<Counter>(); }));
//
// System messages (`sys:get_state`, `sys:get_status`, `sys:suspend`, `gen_server:stop` ...) are answered by the base.
// A handler runs on the process' own thread of execution, one message at a time. To end the server, throw ExitProcess.
// Source: protocol document 08, sections 7.1 and 7.3.
#pragma once

#include <barrel_p2p/process.hpp>
#include <functional>
#include <memory>
#include <optional>

namespace barrel_p2p {
inline namespace v0 {

class BARREL_P2P_API Server {
 public:
  virtual ~Server() = default;

  /// Before the first message.
  virtual Task<> init(Process& self);
  /// The answer; or nothing when `reply(self, from, answer)` will be called later, here or in another process.
  virtual Task<std::optional<Term>> handle_call(Process& self, Term request, CallFrom from) = 0;
  virtual Task<> handle_cast(Process& self, Term request);
  /// Every other message.
  virtual Task<> handle_info(Process& self, Term message);
  /// What `sys:get_state` shows.
  [[nodiscard]] virtual Term state() const;
};

/// A process that runs the server that `make` makes. It lives as long as the process.
BARREL_P2P_API ProcessFunction serve(std::function<std::unique_ptr<Server>()> make);

}  // namespace v0
}  // namespace barrel_p2p
