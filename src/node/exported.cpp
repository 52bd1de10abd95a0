#include "node/exported.hpp"

#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace node {

process::ExportedFunction exported(std::size_t arity, std::function<Result<Term>(const Arguments&)> body) {
  return [arity, body = std::move(body)](Process& /*self*/, Arguments arguments) -> Task<Result<Term>> {
    if (arguments.size() != arity) co_return fail(Errc::undefined_function);
    co_return body(arguments);
  };
}

process::ExportedFunction exported_for_pid(std::function<Result<void>(const Pid&)> body) {
  return exported(1, [body = std::move(body)](const Arguments& arguments) -> Result<Term> {
    const auto* pid = arguments[0].as_pid();
    if (pid == nullptr) return fail(Errc::invalid_argument, "not a pid");
    return answer_term(body(*pid));
  });
}

process::ExportedFunction exported_subscribe(PidSubscribers& subscribers) {
  return exported_for_pid([&subscribers](const Pid& pid) { return subscribers.add_for_peer(pid); });
}

process::ExportedFunction exported_unsubscribe(PidSubscribers& subscribers) {
  return exported_for_pid([&subscribers](const Pid& pid) -> Result<void> {
    subscribers.remove(pid);
    return {};
  });
}

Term error_term(const Error& error) { return Term::tuple({Atom("error"), Atom(name(error.code()))}); }

Term answer_term(const Result<void>& result) { return result ? Term(Atom("ok")) : error_term(result.error()); }

Term list_term(const std::vector<Atom>& nodes) {
  std::vector<Term> terms(nodes.begin(), nodes.end());
  return Term::list(std::move(terms));
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
