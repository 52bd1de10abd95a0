#include <barrel_p2p/await.hpp>
#include <utility>

#include "node/exported.hpp"
#include "node/exports.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {
namespace {

/// The Erlang library has a word of its own for a connection that is lost.
Term path_error(const Error& error) {
  return error == Errc::no_connection ? Term::tuple({Atom("error"), Atom("no_conn")}) : error_term(error);
}

/// `#{timeout => Milliseconds}`
Result<MigrateOptions> migrate_options(const Term& term) {
  constexpr std::int64_t hour_ms = 3'600'000;
  const auto refused = [] { return fail(Errc::invalid_argument, "options are #{timeout => Milliseconds}"); };
  MigrateOptions options;
  if (!term.is_map()) return refused();
  for (const auto& [key, value] : term.pairs()) {
    const auto number = value.as_int64();
    if (!key.is_atom("timeout") || !number || *number < 1 || *number > hour_ms) return refused();
    options.timeout = std::chrono::milliseconds(*number);
  }
  return options;
}

Task<Result<Term>> migrate_peer(Process& self, distribution::Network& network, Arguments arguments) {
  if (arguments.empty() || arguments.size() > 2) co_return fail(Errc::undefined_function);
  const auto peer = arguments[0].as_atom();
  if (!peer) co_return fail(Errc::invalid_argument, "a node is an atom");
  const Term given = arguments.size() == 2 ? arguments[1] : Term::map(std::vector<TermPair>());
  const auto options = migrate_options(given);
  if (!options) co_return std::unexpected(options.error());
  const auto start = [&](std::function<void(Result<void>)> done) { network.migrate(*peer, *options, std::move(done)); };
  const Result<void> moved = co_await awaited<void>(self, start);
  if (!moved) co_return path_error(moved.error());
  co_return Term(Atom("ok"));
}

Term term_of(const PathStatistics& path) {
  const auto number = [](std::chrono::microseconds time) { return Term(static_cast<std::int64_t>(time.count())); };
  const std::uint64_t congested_from = 2 * path.congestion_window_bytes;
  const bool congested = path.queued_bytes > (path.in_recovery ? path.congestion_window_bytes : congested_from);
  return Term::map({{Atom("srtt"), number(path.smoothed_rtt)},
                    {Atom("latest_rtt"), number(path.latest_rtt)},
                    {Atom("min_rtt"), number(path.min_rtt)},
                    {Atom("rtt_var"), number(path.rtt_variation)},
                    {Atom("cwnd"), Term(path.congestion_window_bytes)},
                    {Atom("bytes_in_flight"), Term(path.bytes_in_flight)},
                    {Atom("in_recovery"), Term(path.in_recovery)},
                    {Atom("congested"), Term(congested)},
                    {Atom("congestion_events"), Term(path.congestion_events)},
                    {Atom("packets_sent"), Term(path.packets_sent)},
                    {Atom("packets_received"), Term(path.packets_received)},
                    {Atom("bytes_sent"), Term(path.bytes_sent)},
                    {Atom("bytes_received"), Term(path.bytes_received)},
                    {Atom("bytes_repeated"), Term(path.bytes_repeated)},
                    {Atom("migrations"), Term(path.migrations)},
                    {Atom("peer_moves"), Term(path.peer_moves)},
                    {Atom("local"), Term(path.local)},
                    {Atom("remote"), Term(path.remote)}});
}

Term srtt_of(const PathStatistics& path) { return Term(static_cast<std::int64_t>(path.smoothed_rtt.count())); }

/// `{ok, What}` of the path to a node.
process::ExportedFunction path_function(distribution::Network& network, Term (*what)(const PathStatistics&)) {
  return [&network, what](Process& self, Arguments arguments) -> Task<Result<Term>> {
    if (arguments.size() != 1) co_return fail(Errc::undefined_function);
    const auto peer = arguments[0].as_atom();
    if (!peer) co_return fail(Errc::invalid_argument, "a node is an atom");
    const auto start = [&](std::function<void(Result<PathStatistics>)> done) {
      network.path_statistics(*peer, std::move(done));
    };
    const Result<PathStatistics> path = co_await awaited<PathStatistics>(self, start);
    if (!path) co_return path_error(path.error());
    co_return Term::tuple_of(Atom("ok"), what(*path));
  };
}

}  // namespace

void export_paths(process::System& system, distribution::Network& network) {
  system.export_function(Atom("barrel_p2p"), Atom("migrate_peer"), [&network](Process& self, Arguments arguments) {
    return migrate_peer(self, network, std::move(arguments));
  });
  const Atom statistics("barrel_p2p_path_stats");
  system.export_function(statistics, Atom("summary"), path_function(network, term_of));
  system.export_function(statistics, Atom("srtt"), path_function(network, srtt_of));
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
