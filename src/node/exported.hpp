// Helpers for functions that other nodes may call.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/term.hpp>
#include <functional>
#include <vector>

#include "process/system.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

using Arguments = std::vector<Term>;

/// A function of this arity, and of this shape.
process::ExportedFunction exported(std::size_t arity, std::function<Result<Term>(const Arguments&)> body);
/// One argument, a pid.
process::ExportedFunction exported_for_pid(std::function<void(const Pid&)> body);

/// `{error, Reason}`, as the Erlang library answers.
Term error_term(const Error& error);
/// `ok` or `{error, Reason}`.
Term answer_term(const Result<void>& result);
Term list_term(const std::vector<Atom>& nodes);

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
