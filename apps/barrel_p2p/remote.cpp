#include "remote.hpp"

#include <algorithm>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <ostream>
#include <system_error>

#include "base/printable.hpp"
#include "command_line.hpp"

namespace barrel_p2p::command {
namespace {

/// The node that is meant when none was named: the only one with an endpoint file.
std::expected<std::string, std::string> only_node(const RemoteOptions& options) {
  const std::filesystem::path directory = options.discovery_dir.empty() ? "data/discovery" : options.discovery_dir;
  constexpr std::size_t shown_max = 8;
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& file : std::filesystem::directory_iterator(directory, ignored)) {
    if (file.path().extension() == ".endpoint") names.push_back(file.path().stem().string());
  }
  std::ranges::sort(names);
  if (names.size() == 1) return names.front();
  if (names.empty()) {
    return std::unexpected("there is no node in " + directory.string() +
                           ": name one (BARREL_P2P_NODE), and give its --discovery-dir or --at HOST:PORT");
  }
  std::string list;
  for (std::size_t index = 0; index < std::min(shown_max, names.size()); ++index) list += " " + names[index];
  return std::unexpected("name one of the nodes in " + directory.string() + " (or set BARREL_P2P_NODE):" + list +
                         (names.size() > shown_max ? " ..." : ""));
}

using Answers = std::vector<std::optional<Result<Term>>>;

/// Held by all who still work on something: says so when the last one lets go, whether it is done or was killed.
struct AtWork {
  std::promise<void> over;
  AtWork() = default;
  AtWork(const AtWork&) = delete;
  AtWork& operator=(const AtWork&) = delete;
  ~AtWork() { over.set_value(); }
};

/// A reason of the Erlang library, and what people do about it.
Error refusal(const Term& reason) {
  if (reason.is_atom("no_such_map")) {
    return {Errc::no_such_map,
            "no_such_map: this node has not opened the map; `barrel_p2p map list` shows those that are open, "
            "`barrel_p2p map new` opens one"};
  }
  if (reason.is_atom("not_found")) return {Errc::not_found, "not_found"};
  if (reason.is_atom("no_leader")) return {Errc::no_leader, "no_leader: nobody campaigns, or nobody who may lead"};
  return {Errc::invalid_argument, plain_text(reason)};
}

std::string no_term(const std::string& text, const Error& why) {
  return "`" + text + "` is no Erlang term (" + why.context() + ")";
}

std::string as_binary(std::string text) {
  for (std::size_t at = 0; (at = text.find('"', at)) != std::string::npos; at += 2) text.insert(at, 1, '\\');
  return "<<\"" + text + "\">>";
}

/// The function ran and said no.
bool is_refusal(const Error& error) noexcept {
  return error == Errc::not_found || error == Errc::no_such_map || error == Errc::no_leader ||
         error == Errc::invalid_argument;
}

}  // namespace

std::expected<Remote, VisitorFailure> Remote::open(const RemoteOptions& options) {
  const auto failed = [](int status, std::string text) {
    return std::unexpected(VisitorFailure{status, std::move(text)});
  };
  std::string node = options.node;
  if (node.empty()) {
    auto only = only_node(options);
    if (!only) return failed(exit_usage, only.error());
    node = std::move(*only);
  }
  auto name = NodeName::parse(node);
  if (!name) return failed(exit_usage, name.error().message());
  auto visitor = Visitor::start(options, node);
  if (!visitor) return std::unexpected(visitor.error());
  if (auto failure = visitor->connect(*name, options.timeout)) return std::unexpected(std::move(*failure));
  return Remote(std::move(*visitor), std::move(*name), options.timeout);
}

Result<Term> Remote::call(std::string_view module, std::string_view function, std::vector<Term> arguments) {
  return visitor().call_function(name_, Atom(module), Atom(function), std::move(arguments), timeout_);
}

Result<Term> Remote::ask(std::string_view function, std::vector<Term> arguments) {
  auto answer = facade(function, std::move(arguments));
  if (!answer) return answer;
  if (answer->is_tagged("error", 2)) return std::unexpected(refusal((*answer)[1]));
  if (answer->is_tagged("ok", 2)) return Term((*answer)[1]);
  return answer;
}

std::vector<Result<Term>> Remote::call_all(std::vector<RemoteFunction> functions) {
  auto answers = std::make_shared<Answers>(functions.size());
  auto work = std::make_shared<AtWork>();
  auto over = work->over.get_future();
  for (std::size_t index = 0; index < functions.size(); ++index) {
    visitor().spawn([answers, work, index, what = std::move(functions[index]), to = name_,
                     limit = timeout_](Process& self) -> Task<> {
      Result<Term> answer = co_await self.call_function(to, what.module, what.function, what.arguments, limit);
      (*answers)[index].emplace(std::move(answer));
    });
  }
  work.reset();
  over.wait();  // each call has its limit, and ends with the visitor
  std::vector<Result<Term>> results;
  for (auto& answer : *answers) results.push_back(answer ? std::move(*answer) : fail(Errc::stopped));
  return results;
}

int Remote::status_of(const Error& error) noexcept { return is_refusal(error) ? exit_failed : exit_not_answered; }

std::string Remote::text_of(const Error& error, std::string_view function) const {
  if (error == Errc::undefined_function) {
    return name_.string() + " does not tell this (it has no barrel_p2p:" + std::string(function) +
           "): ask a C++ node of the cluster, of this version";
  }
  return is_refusal(error) ? error.context() : name_.string() + ": " + error.message();
}

int run_question(const RemoteOptions& options, const Complaints& complaints, std::ostream& output,
                 std::string_view function, const std::function<Result<std::string>(Remote&)>& question) {
  auto remote = Remote::open(options);
  if (!remote) return complaints.tell(remote.error().status, remote.error().text);
  const auto text = question(*remote);
  if (!text) return complaints.tell(Remote::status_of(text.error()), remote->text_of(text.error(), function));
  if (!text->empty()) output << *text << '\n';
  output.flush();
  return output ? exit_ok : exit_failed;
}

Result<Term> typed_term(const std::string& text, bool as_text) {
  if (as_text) return Term(text);
  auto term = parse_term(text);
  if (term) return term;
  return fail(Errc::invalid_argument, no_term(text, term.error()) + ": for text write '" + as_binary(text) +
                                          "', with both kinds of quotes, or give --string");
}

Result<std::vector<Term>> typed_arguments(const std::string& text) {
  const auto term = parse_term(text);
  if (term && term->is_proper_list()) return std::vector<Term>(term->elements().begin(), term->elements().end());
  if (term) return fail(Errc::invalid_argument, "the arguments must be a list, for instance [1,2]");
  const std::string one = text.starts_with('[') ? "b@h" : text;
  return fail(Errc::invalid_argument, no_term(text, term.error()) + ": the arguments are a list, for text write '[" +
                                          as_binary(one) + "]', for an atom \"['" + one +
                                          "']\", with both kinds of quotes");
}

Result<Atom> typed_atom(const std::string& text) {
  if (const auto term = parse_term(text); term && term->is_atom()) return *term->as_atom();
  const auto atom = Atom::make(text);
  if (!atom || text.empty()) return fail(Errc::invalid_argument, "`" + text + "` is no name of a map");
  return *atom;
}

std::string plain_text(const Term& term) {
  const auto atom = term.as_atom();
  return atom && without_controls(atom->text()) == atom->text() ? atom->string() : to_text(term);
}

}  // namespace barrel_p2p::command
