// A node that a command talks to, C++ or Erlang, by the functions that both kinds let others call.
#pragma once

#include <barrel_p2p/node.hpp>
#include <expected>
#include <functional>
#include <iosfwd>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "complaint.hpp"
#include "visitor.hpp"

namespace barrel_p2p::command {

/// Exit status of commands that talk to a node, beside those of command_line.hpp and visitor.hpp.
inline constexpr int exit_not_answered = 5;  ///< The function failed there, is unknown, or did not answer in time.

/// What such commands have in common.
struct RemoteOptions : VisitorOptions {
  std::string node;  ///< Empty: the only node that has an endpoint file in the discovery directory.
  bool json = false;
};

class Remote {
 public:
  /// Connected. The failure says what to do.
  static std::expected<Remote, VisitorFailure> open(const RemoteOptions& options);

  [[nodiscard]] const NodeName& name() const noexcept { return name_; }
  [[nodiscard]] Node& visitor() noexcept { return visitor_.node(); }
  /// Error `undefined_function`: the node has no such function, it is of another kind or an earlier version.
  Result<Term> call(std::string_view module, std::string_view function, std::vector<Term> arguments = {});
  /// Of the module `barrel_p2p`.
  Result<Term> facade(std::string_view function, std::vector<Term> arguments = {}) {
    return call("barrel_p2p", function, std::move(arguments));
  }
  /// Of that module too, where `{error, Reason}` is a failure: what stands beside `ok`, or the whole answer. The error
  /// says what to do about the reasons that people meet.
  Result<Term> ask(std::string_view function, std::vector<Term> arguments = {});
  /// All at once; answers in the order of the functions.
  std::vector<Result<Term>> call_all(std::vector<RemoteFunction> functions);

  /// The exit status that tells of this error.
  [[nodiscard]] static int status_of(const Error& error) noexcept;
  /// What people are told of it.
  [[nodiscard]] std::string text_of(const Error& error, std::string_view function) const;

 private:
  Remote(Visitor visitor, NodeName name, Node::Duration timeout)
      : visitor_(std::move(visitor)), name_(std::move(name)), timeout_(timeout) {}

  Visitor visitor_;
  NodeName name_;
  Node::Duration timeout_;
};

/// Asks a node, and prints the text that comes of it, if there is any, with the end of a line. `function`: of the
/// facade, for errors. Returns exit_ok, or the status of what went wrong, which `complaints` has been told.
int run_question(const RemoteOptions& options, const Complaints& complaints, std::ostream& output,
                 std::string_view function, const std::function<Result<std::string>(Remote&)>& question);

/// A term that was typed. With `as_text` it is taken as it is, as a binary: what C++ strings are. The error shows how
/// to quote it.
Result<Term> typed_term(const std::string& text, bool as_text = false);
/// The arguments of a function, a list. The error shows how to quote one.
Result<std::vector<Term>> typed_arguments(const std::string& text);
/// The name of a map: a word, or an atom as Erlang writes it.
Result<Atom> typed_atom(const std::string& text);
/// The name of a node, without the quotes of an atom; other terms as Erlang text, atoms with control characters too,
/// which would act on the terminal or forge a line: members choose their names.
std::string plain_text(const Term& term);

}  // namespace barrel_p2p::command
