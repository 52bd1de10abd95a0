#include <barrel_p2p/await.hpp>
#include <optional>
#include <utility>

#include "node/exported.hpp"
#include "node/exports.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {
namespace {

Result<LeadOptions> lead_options_of(const Term& term) {
  LeadOptions options;
  if (!term.is_map()) return bad_argument("options are a map");
  for (const auto& [key, value] : term.pairs()) {
    const auto count = value.as_uint64();
    if (key.is_atom("priority")) {
      options.priority = value;
    } else if (key.is_atom("min_members") && count) {
      options.min_members = *count;
    } else {
      return bad_argument("options are priority (an integer) and min_members (an integer from 0)");
    }
  }
  return options;
}

Term role_term(const Role& role) {
  if (!role.fence) return Term::tuple({Atom("ok"), Atom("follower")});
  return Term::tuple({Atom("ok"), Term::tuple({Atom("leader"), *role.fence})});
}

/// `Name`, `Name, Options`, or `Name, Options, Pid`.
Task<Result<Term>> lead(Process& self, ServicesRunner& services, Arguments arguments) {
  if (arguments.empty() || arguments.size() > 3) co_return fail(Errc::undefined_function);
  const auto options = arguments.size() > 1 ? lead_options_of(arguments[1]) : LeadOptions();
  if (!options) co_return std::unexpected(options.error());
  Pid candidate = self.pid();
  if (arguments.size() == 3) {
    const auto* given = arguments[2].as_pid();
    if (given == nullptr) co_return bad_argument("not a pid");
    candidate = *given;
  }
  const auto start = [&](Answer<Role>::Function done) {
    services.lead(arguments[0], candidate, *options, std::move(done));
  };
  const Result<Role> role = co_await awaited<Role>(self, start);
  if (!role) co_return error_term(role.error());
  co_return role_term(*role);
}

/// `Name`, or `Name, Pid`.
Task<Result<Term>> resign(Process& self, ServicesRunner& services, Arguments arguments) {
  if (arguments.empty() || arguments.size() > 2) co_return fail(Errc::undefined_function);
  std::optional<Pid> candidate;
  if (arguments.size() == 2) {
    const auto* given = arguments[1].as_pid();
    if (given == nullptr) co_return bad_argument("not a pid");
    candidate = *given;
  }
  const auto start = [&](Answer<bool>::Function done) { services.resign(arguments[0], candidate, std::move(done)); };
  const Result<bool> resigned = co_await awaited<bool>(self, start);
  if (!resigned) co_return std::unexpected(resigned.error());
  co_return Term(Atom("ok"));
}

}  // namespace

void export_leaders(process::System& system, ServicesRunner& services) {
  const Atom facade("barrel_p2p");
  const auto add = [&](const char* function, process::ExportedFunction body) {
    system.export_function(facade, Atom(function), std::move(body));
  };
  add("lead", [&services](Process& self, Arguments arguments) { return lead(self, services, std::move(arguments)); });
  add("resign",
      [&services](Process& self, Arguments arguments) { return resign(self, services, std::move(arguments)); });
  add("leader", exported(1, [&services](const Arguments& arguments) -> Result<Term> {
        const auto winner = services.leader(arguments[0]);
        return winner ? Term::tuple({Atom("ok"), winner->node, winner->pid}) : error_term(Errc::no_leader);
      }));
  add("is_leader", exported(1, [&services](const Arguments& arguments) -> Result<Term> {
        return Term(services.reign(arguments[0]).has_value());
      }));
  add("fence", exported(1, [&services](const Arguments& arguments) -> Result<Term> {
        const auto reign = services.reign(arguments[0]);
        return reign ? Term::tuple({Atom("ok"), services::fence_of(reign->stamp)}) : error_term(Errc::not_leader);
      }));
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
