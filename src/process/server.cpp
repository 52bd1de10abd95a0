#include <barrel_p2p/server.hpp>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace {

/// Answers a system message. Source: protocol document 08, section 7.3.
class SystemMessages {
 public:
  [[nodiscard]] bool suspended() const noexcept { return suspended_; }
  /// The reason to end with, after the answer was sent, if one was asked for.
  [[nodiscard]] const std::optional<Term>& terminate() const noexcept { return terminate_; }

  Term answer(const Process& self, const Server& server, const Term& request) {
    if (request.is_atom("get_state")) return Term::tuple({Atom("ok"), server.state()});
    if (request.is_atom("get_status")) return status(self, server);
    if (request.is_atom("suspend")) return suspended_ = true, Term(Atom("ok"));
    if (request.is_atom("resume")) return suspended_ = false, Term(Atom("ok"));
    if (request.is_tagged("debug", 2)) return Atom("ok");
    if (request.is_tagged("terminate", 2)) return terminate_ = request[1], Term(Atom("ok"));
    if (request.is_tagged("replace_state", 2)) return cannot_replace_state();
    return Term::tuple({Atom("error"), Term::tuple({Atom("unknown_system_msg"), request})});
  }

 private:
  /// The fun of the request is of Erlang code.
  static Term cannot_replace_state() {
    const Term function = Term::tuple_of(Atom("barrel_p2p"), Atom("replace_state"));
    const Term reason = Term::tuple_of(Atom("error"), Atom("not_supported"));
    return Term::tuple_of(Atom("error"), Term::tuple_of(Atom("callback_failed"), function, reason));
  }
  [[nodiscard]] Term status(const Process& self, const Server& server) const {
    const Term shown = Term::list({Term::tuple({Atom("data"), Term::list({Term::tuple({"State", server.state()})})})});
    return Term::tuple(
        {Atom("status"), self.pid(), Term::tuple({Atom("module"), Atom("gen_server")}),
         Term::list({Term(), Term(Atom(suspended_ ? "suspended" : "running")), Term(self.pid()), Term(), shown})});
  }
  bool suspended_ = false;
  std::optional<Term> terminate_;
};

Task<> run(Process& self, std::unique_ptr<Server> server) {
  SystemMessages system;
  co_await server->init(self);
  for (;;) {
    Term message;
    if (system.suspended()) {
      message = *co_await self.receive(tagged("system", 3));
    } else {
      message = co_await self.receive();
    }
    if (message.is_tagged("system", 3) && message[1].is_tuple(2) && message[1][0].is_pid()) {
      const CallFrom from{*message[1][0].as_pid(), message[1][1]};
      Term answer = system.answer(self, *server, message[2]);
      co_await reply(self, from, std::move(answer));
      if (system.terminate()) throw ExitProcess{*system.terminate()};
    } else if (auto call = as_call(message)) {
      const CallFrom from = call->first;
      auto answer = co_await server->handle_call(self, call->second, from);
      if (answer) co_await reply(self, from, std::move(*answer));
    } else if (const auto cast = as_cast(message)) {
      co_await server->handle_cast(self, *cast);
    } else {
      co_await server->handle_info(self, std::move(message));
    }
  }
}

}  // namespace

Task<> Server::init(Process& /*self*/) { co_return; }
Task<> Server::handle_cast(Process& /*self*/, Term /*request*/) { co_return; }
Task<> Server::handle_info(Process& /*self*/, Term /*message*/) { co_return; }
Term Server::state() const { return Atom("undefined"); }

ProcessFunction serve(std::function<std::unique_ptr<Server>()> make) {
  return [make = std::move(make)](Process& self) { return run(self, make()); };
}

}  // namespace v0
}  // namespace barrel_p2p
