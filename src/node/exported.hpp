// Helpers for functions that other nodes may call.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/term.hpp>
#include <functional>
#include <vector>

#include "node/pid_subscribers.hpp"
#include "process/system.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

using Arguments = std::vector<Term>;

/// A function of this arity, and of this shape.
process::ExportedFunction exported(std::size_t arity, std::function<Result<Term>(const Arguments&)> body);
/// One argument, a pid. Answers as `answer_term`.
process::ExportedFunction exported_for_pid(std::function<Result<void>(const Pid&)> body);
/// Puts the processes on the list that other nodes ask it for, as far as the budget of the list goes.
process::ExportedFunction exported_subscribe(PidSubscribers& subscribers);
process::ExportedFunction exported_unsubscribe(PidSubscribers& subscribers);

/// `{error, Reason}`, as the Erlang library answers.
Term error_term(const Error& error);
/// `ok` or `{error, Reason}`.
Term answer_term(const Result<void>& result);
Term list_term(const std::vector<Atom>& nodes);

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
