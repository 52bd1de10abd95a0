#include <algorithm>
#include <barrel_p2p/await.hpp>
#include <set>
#include <utility>

#include "node/exported.hpp"
#include "node/exports.hpp"
#include "services/leader_contest.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {
namespace {

/// Entries that one question looks at: some 10 ms of the cluster thread, which peers may ask again and again.
constexpr std::size_t examined_max = 100'000;
/// Roles in one answer: some 200 kB.
constexpr std::size_t roles_max = 1000;
/// Reminders in one answer; their payloads may be large, so these are cut off too.
constexpr std::size_t reminders_max = 1000;
constexpr std::size_t payload_bytes_max = 4096;

Term listing(std::vector<Term> items, bool cut) { return Term::tuple({Term::list(std::move(items)), cut}); }

Term leader_term(const services::Leader& leader, const Term& role) {
  const Term undefined(Atom("undefined"));
  const auto winner = leader.view(role).winner;
  const auto fence = leader.high_water(role);
  return Term::map({{Atom("role"), role},
                    {Atom("node"), winner ? Term(winner->node) : undefined},
                    {Atom("pid"), winner ? Term(winner->pid) : undefined},
                    {Atom("fence"), fence ? fence->term() : undefined},
                    {Atom("candidates"), list_term(leader.candidates(role))}});
}

Term leaders_term(const services::Services& machine) {
  const auto& leader = machine.leader();
  std::set<Term, TermLess> roles;
  std::size_t examined = 0;
  bool cut = false;
  for (const auto& record : leader.map().entries()) {
    cut = ++examined > examined_max || roles.size() > roles_max;
    if (cut) break;
    // Fences of names for which nobody campaigns are kept in the same map.
    if (services::is_candidate_key(record.first) && record.second.is_live()) roles.insert(record.first[0]);
  }
  std::vector<Term> items;
  for (const auto& role : roles) {
    if (items.size() < roles_max) items.push_back(leader_term(leader, role));
  }
  return listing(std::move(items), cut);
}

Term reminders_term(const services::Services& machine, const PlacementView& placement, std::size_t count_max) {
  std::vector<std::pair<Term, Term>> pending;  // due, key
  std::size_t examined = 0;
  bool cut = false;
  for (const auto& record : machine.reminders().entries().entries()) {
    cut = ++examined > examined_max;
    if (cut) break;
    if (record.second.is_live()) pending.emplace_back(record.second.value()[0], record.first);
  }
  cut = cut || pending.size() > count_max;
  const auto earlier = [](const auto& left, const auto& right) {
    const auto order = compare(left.first, right.first);
    return order != 0 ? order < 0 : compare(left.second, right.second) < 0;
  };
  const std::size_t shown = std::min(count_max, pending.size());
  std::ranges::partial_sort(pending, pending.begin() + static_cast<std::ptrdiff_t>(shown), earlier);
  pending.resize(shown);
  std::vector<Term> items;
  for (const auto& [due, key] : pending) {
    const Term* value = machine.reminders().entries().get(key);
    const bool small = encoded_size((*value)[1], false) <= payload_bytes_max;
    items.push_back(Term::map({{Atom("key"), key},
                               {Atom("due"), due},
                               {Atom("payload"), small ? (*value)[1] : Term(Atom("too_large"))},
                               {Atom("here"), placement.owns(placement.partition(key))}}));
  }
  return listing(std::move(items), cut);
}

Term statistics_term(const ReminderStatistics& figures) {
  return Term::map({{Atom("pending"), figures.pending},
                    {Atom("tombstones"), figures.tombstones},
                    {Atom("fired"), figures.fired},
                    {Atom("late"), figures.late},
                    {Atom("skipped"), figures.skipped},
                    {Atom("waiting"), figures.waiting},
                    {Atom("held"), figures.held},
                    {Atom("rejected"), figures.rejected},
                    {Atom("rejected_in_future"), figures.rejected_in_future},
                    {Atom("forced_collections"), figures.forced_collections},
                    {Atom("unwritten"), figures.unwritten}});
}

using Inspect = std::function<Term(const services::Services& machine)>;

/// Answers with what is read on the cluster thread.
process::ExportedFunction inspecting(ServicesRunner& services, std::size_t arity,
                                     std::function<Result<Inspect>(const Arguments&)> prepare) {
  return [&services, arity, prepare = std::move(prepare)](Process& self, Arguments arguments) -> Task<Result<Term>> {
    if (arguments.size() != arity) co_return fail(Errc::undefined_function);
    const auto read = prepare(arguments);
    if (!read) co_return std::unexpected(read.error());
    const auto start = [&](Answer<Term>::Function done) { services.ask_machine(*read, std::move(done)); };
    const Result<Term> answer = co_await awaited<Term>(self, start);
    co_return answer;
  };
}

Term peer_term(const distribution::PeerInfo& peer) {
  return Term::map({{Atom("node"), peer.node},
                    {Atom("address"), peer.address},
                    {Atom("dialled"), peer.initiator},
                    {Atom("hidden"), (peer.flags & distribution::flag::published) == 0}});
}

}  // namespace

void export_peers(process::System& system, distribution::Network& network) {
  system.export_function(Atom("barrel_p2p"), Atom("peers"),
                         exported(0, [&network](const Arguments& /*none*/) -> Result<Term> {
                           std::vector<Term> list;
                           for (const auto& peer : network.nodes()) list.push_back(peer_term(peer));
                           return Term::list(std::move(list));
                         }));
}

void export_node_info(process::System& system, const NodeInfo& info) {
  const auto started = wall_now();
  const auto since = monotonic_now();
  system.export_function(Atom("barrel_p2p"), Atom("node_info"),
                         exported(0, [info, started, since](const Arguments& /*none*/) -> Result<Term> {
                           const auto up =
                               std::chrono::duration_cast<std::chrono::milliseconds>(monotonic_now() - since);
                           return Term::map({{Atom("name"), info.name.atom()},
                                             {Atom("kind"), Atom("cpp")},
                                             {Atom("version"), BARREL_P2P_VERSION},
                                             {Atom("port"), info.port},
                                             {Atom("started_ms"), started},
                                             {Atom("uptime_ms"), static_cast<std::int64_t>(up.count())},
                                             {Atom("time_ms"), wall_now()},
                                             {Atom("hidden"), info.hidden}});
                         }));
}

void export_inspection(process::System& system, ServicesRunner& services) {
  const Atom facade("barrel_p2p");
  const auto add = [&](const char* function, process::ExportedFunction body) {
    system.export_function(facade, Atom(function), std::move(body));
  };
  add("leaders",
      inspecting(services, 0, [](const Arguments& /*none*/) -> Result<Inspect> { return Inspect(leaders_term); }));
  add("placement", exported(0, [&services](const Arguments& /*none*/) -> Result<Term> {
        return services.placement().read([](const PlacementView::Placed& placed) {
          std::vector<Term> owners;
          for (std::uint32_t partition = 0; partition < placed.ring.size(); ++partition) {
            const Atom* owner = placed.ring.owner(partition);
            owners.push_back(owner == nullptr ? Term(Atom("undefined")) : Term(*owner));
          }
          return Term::list(std::move(owners));
        });
      }));
  add("reminders", inspecting(services, 1, [&services](const Arguments& arguments) -> Result<Inspect> {
        const auto count = arguments[0].as_uint64();
        if (!count) return fail(Errc::invalid_argument, "reminders(CountMax), an integer from 0");
        const auto count_max = static_cast<std::size_t>(std::min<std::uint64_t>(*count, reminders_max));
        return [&services, count_max](const services::Services& machine) {
          return reminders_term(machine, services.placement(), count_max);
        };
      }));
  add("reminder_statistics", [&services](Process& self, Arguments arguments) -> Task<Result<Term>> {
    if (!arguments.empty()) co_return fail(Errc::undefined_function);
    const auto start = [&](Answer<ReminderStatistics>::Function done) {
      services.reminder_statistics(std::move(done));
    };
    const Result<ReminderStatistics> figures = co_await awaited<ReminderStatistics>(self, start);
    if (!figures) co_return error_term(figures.error());
    co_return statistics_term(*figures);
  });
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
