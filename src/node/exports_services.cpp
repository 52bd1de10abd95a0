#include <barrel_p2p/await.hpp>
#include <optional>
#include <utility>

#include "node/exported.hpp"
#include "node/exports.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {
namespace {

Term entry_term(const services::Registration& one) {
  return Term::tuple({Atom("service_entry"), one.name, one.pid, one.node, one.meta});
}

Term location_term(const ServiceLocation& location) {
  if (location.local) return Term::tuple({Atom("ok"), location.pid});
  return Term::tuple({Atom("ok"), location.node.atom(), location.pid});
}

Result<Term> lookup(const ServicesRunner& services, const Term& name) {
  const auto service = ServiceName::from(name);
  if (!service) return error_term(Errc::not_found);
  std::vector<Term> entries;
  for (const auto& one : services.lookup(*service)) entries.push_back(entry_term(one));
  if (entries.empty()) return error_term(Errc::not_found);
  return Term::tuple({Atom("ok"), Term::list(std::move(entries))});
}

/// Of a name or metadata that no service may have. Source: protocol document 05, section 11, item 10.
Term bad_registration() { return Term::tuple_of(Atom("error"), Atom("badarg")); }

Task<Result<Term>> register_service(Process& self, ServicesRunner& services, Arguments arguments) {
  if (arguments.size() != 3) co_return fail(Errc::undefined_function);
  const auto* pid = arguments[1].as_pid();
  if (pid == nullptr) co_return bad_argument("not a pid");
  const auto name = ServiceName::from(arguments[0]);
  if (!name) co_return bad_registration();
  const auto start = [&](ServicesRunner::Done done) {
    services.register_service(*name, *pid, arguments[2], {}, std::move(done));
  };
  const Result<void> registered = co_await awaited<void>(self, start);
  const bool bad = !registered && registered.error() == Errc::invalid_argument;
  co_return bad ? bad_registration() : answer_term(registered);
}

Task<Result<Term>> unregister_service(Process& self, ServicesRunner& services, Arguments arguments) {
  if (arguments.size() != 1) co_return fail(Errc::undefined_function);
  const auto name = ServiceName::from(arguments[0]);
  if (!name) co_return Term(Atom("ok"));
  const auto start = [&](Answer<bool>::Function done) { services.unregister_service(*name, std::move(done)); };
  const Result<bool> removed = co_await awaited<bool>(self, start);
  if (!removed) co_return std::unexpected(removed.error());
  co_return Term(Atom("ok"));
}

Task<Result<Term>> whereis_service(Process& self, ServicesRunner& services, Arguments arguments) {
  if (arguments.empty() || arguments.size() > 2) co_return fail(Errc::undefined_function);
  const auto service = ServiceName::from(arguments[0]);
  if (!service) co_return error_term(Errc::not_found);
  const auto start = [&](Answer<ServiceLocation>::Function done) { services.ask(*service, {}, std::move(done)); };
  const Result<ServiceLocation> found = co_await awaited<ServiceLocation>(self, start);
  if (!found) co_return error_term(found.error());
  co_return location_term(*found);
}

// Maps.

/// Takes an option as Erlang nodes know it: what they do not know counts for nothing. False: it has no such value.
bool take_map_option(const Term& key, const Term& value, MapOptions& options) {
  if (key.is_atom("persist") || key.is_atom("prune_on_peer_down")) {
    const auto flag = value.as_bool();
    if (flag) (key.is_atom("persist") ? options.persist : options.prune_on_node_down) = *flag;
    return flag.has_value();
  }
  if (key.is_atom("tombstone_ttl_ms")) {
    const auto number = value.as_int64();
    if (number) options.tombstone_ttl = std::chrono::milliseconds(*number);
    return number.has_value();
  }
  if (key.is_atom("scan_ms")) return value.as_int64().has_value();  // the node looks at all its maps at once
  return !key.is_atom("validator");                                 // it would have to run here
}

/// Nothing when the value of an option is none.
std::optional<MapOptions> map_options_of(const Term& term) {
  MapOptions options;
  for (const auto& [key, value] : term.pairs()) {
    if (!take_map_option(key, value, options)) return std::nullopt;
  }
  return options;
}

/// A function of a map whose answer comes later.
using MapCall = std::function<void(const Atom& map, const Arguments& arguments, ServicesRunner::Done done)>;

process::ExportedFunction map_function(std::size_t arity, MapCall call) {
  return [arity, call = std::move(call)](Process& self, Arguments arguments) -> Task<Result<Term>> {
    if (arguments.size() != arity) co_return fail(Errc::undefined_function);
    const auto map = arguments[0].as_atom();
    if (!map) co_return bad_argument("the name of a map is an atom");
    const auto start = [&](ServicesRunner::Done done) { call(*map, arguments, std::move(done)); };
    const Result<void> result = co_await awaited<void>(self, start);
    co_return answer_term(result);
  };
}

Task<Result<Term>> new_map(Process& self, ServicesRunner& services, Arguments arguments) {
  if (arguments.empty() || arguments.size() > 2) co_return fail(Errc::undefined_function);
  const auto map = arguments[0].as_atom();
  if (!map || (arguments.size() == 2 && !arguments[1].is_map())) {
    co_return Term::tuple_of(Atom("error"), Atom("invalid_map_name"));
  }
  const Term given = arguments.size() == 2 ? arguments[1] : Term::map(std::vector<TermPair>());
  const auto options = map_options_of(given);
  if (!options) co_return error_term(Errc::invalid_argument);
  const auto start = [&](ServicesRunner::Done done) { services.open_map(*map, *options, std::move(done)); };
  const Result<void> opened = co_await awaited<void>(self, start);
  if (!opened) co_return answer_term(opened);
  co_return Term::tuple_of(Atom("ok"), services.owner());
}

/// `{Map, [{Key, Value}]}`.
Task<Result<Term>> map_put_many(Process& self, ServicesRunner& services, Arguments arguments) {
  if (arguments.size() != 2) co_return fail(Errc::undefined_function);
  const auto map = arguments[0].as_atom();
  const auto pairs = arguments[1].to<std::vector<std::pair<Term, Term>>>();
  if (!map || !pairs) co_return bad_argument("map_put_many(Map, [{Key, Value}])");
  const auto start = [&](ServicesRunner::Done done) { services.put_many(*map, *pairs, std::move(done)); };
  const Result<void> put = co_await awaited<void>(self, start);
  co_return answer_term(put);
}

Term term_of(const MapStatistics& figures, bool persist) {
  return Term::map({{Atom("persist"), persist},
                    {Atom("entries"), figures.entries},
                    {Atom("tombstones"), figures.tombstones},
                    {Atom("accepted"), figures.accepted},
                    {Atom("rejected"), figures.rejected},
                    {Atom("rejected_in_future"), figures.rejected_in_future},
                    {Atom("forced_collections"), figures.forced_collections},
                    {Atom("unwritten"), figures.unwritten},
                    {Atom("futile_rounds"), figures.futile_rounds}});
}

Task<Result<Term>> map_statistics(Process& self, ServicesRunner& services, Arguments arguments) {
  if (arguments.size() != 1) co_return fail(Errc::undefined_function);
  const auto map = arguments[0].as_atom();
  if (!map) co_return bad_argument("the name of a map is an atom");
  const auto read = [name = *map](const services::Services& machine) {
    const auto figures = machine.maps().statistics(name);
    return figures ? term_of(*figures, machine.maps().is_persistent(name)) : error_term(figures.error());
  };
  const auto start = [&](Answer<Term>::Function done) { services.ask_machine(read, std::move(done)); };
  const Result<Term> figures = co_await awaited<Term>(self, start);
  if (!figures) co_return error_term(figures.error());
  co_return *figures;
}

/// Functions that only read, of a map and further arguments.
process::ExportedFunction map_reader(
    ServicesRunner& services, std::size_t arity,
    std::function<Result<Term>(const MapViews& maps, const Atom& map, const Arguments& arguments)> read) {
  return exported(arity, [&services, read = std::move(read)](const Arguments& arguments) -> Result<Term> {
    const auto map = arguments[0].as_atom();
    if (!map) return bad_argument("the name of a map is an atom");
    return read(services.maps(), *map, arguments);
  });
}

Result<Term> map_get(const MapViews& maps, const Atom& map, const Arguments& arguments) {
  Term found = Atom("not_found");
  maps.read(map, arguments[1], [&](const Term& value) { found = Term::tuple({Atom("ok"), value}); });
  return found;
}

Result<Term> map_list(const MapViews& maps, const Atom& map, bool values) {
  std::vector<Term> items;
  maps.each(map,
            [&](const Term& key, const Term& value) { items.push_back(values ? Term::tuple({key, value}) : key); });
  return Term::list(std::move(items));
}

Result<Term> with_subscriber(const MapViews& maps, const Atom& map, const Term& subscriber,
                             const std::function<Result<void>(PidSubscribers&, const Pid&)>& use) {
  const auto* pid = subscriber.as_pid();
  if (pid == nullptr) return bad_argument("not a pid");
  const auto audience = maps.audience(map);
  if (audience == nullptr) return error_term(Errc::no_such_map);
  return answer_term(use(audience->pids, *pid));
}

}  // namespace

void export_services(process::System& system, ServicesRunner& services) {
  const Atom facade("barrel_p2p");
  const auto add = [&](const char* function, process::ExportedFunction body) {
    system.export_function(facade, Atom(function), std::move(body));
  };
  add("register_service", [&services](Process& self, Arguments arguments) {
    return register_service(self, services, std::move(arguments));
  });
  add("unregister_service", [&services](Process& self, Arguments arguments) {
    return unregister_service(self, services, std::move(arguments));
  });
  add("lookup", exported(1, [&](const Arguments& arguments) { return lookup(services, arguments[0]); }));
  add("lookup_local", exported(1, [&](const Arguments& arguments) -> Result<Term> {
        const auto name = ServiceName::from(arguments[0]);
        const auto pid = name ? services.lookup_local(*name) : std::nullopt;
        return pid ? Term::tuple({Atom("ok"), *pid}) : error_term(Errc::not_found);
      }));
  add("list_services", exported(0, [&](const Arguments& /*none*/) -> Result<Term> {
        std::vector<Term> names;
        for (const auto& name : services.list_services()) names.push_back(name.term());
        return Term::list(std::move(names));
      }));
  add("whereis_service", [&services](Process& self, Arguments arguments) {
    return whereis_service(self, services, std::move(arguments));
  });
  auto& pids = services.service_pids();
  add("subscribe_services", exported_subscribe(pids));
  add("unsubscribe_services", exported_unsubscribe(pids));
  add("members", exported(0, [&](const Arguments& /*none*/) -> Result<Term> { return list_term(services.members()); }));
}

void export_maps(process::System& system, ServicesRunner& services) {
  const Atom facade("barrel_p2p");
  const auto add = [&](const char* function, process::ExportedFunction body) {
    system.export_function(facade, Atom(function), std::move(body));
  };
  add("new_map",
      [&services](Process& self, Arguments arguments) { return new_map(self, services, std::move(arguments)); });
  add("delete_map", map_function(1, [&services](const Atom& map, const Arguments& /*arguments*/, auto done) {
        // `ok` of a map that is not open too: protocol document 06, section 2.3.
        services.delete_map(map, [done = std::move(done)](Result<void> deleted) {
          done(deleted || deleted.error() != Errc::no_such_map ? std::move(deleted) : Result<void>());
        });
      }));
  add("map_put", map_function(3, [&services](const Atom& map, const Arguments& arguments, auto done) {
        services.put(map, arguments[1], arguments[2], std::move(done));
      }));
  add("map_put_many",
      [&services](Process& self, Arguments arguments) { return map_put_many(self, services, std::move(arguments)); });
  add("map_remove", map_function(2, [&services](const Atom& map, const Arguments& arguments, auto done) {
        services.remove(map, arguments[1], std::move(done));
      }));
  add("map_statistics",
      [&services](Process& self, Arguments arguments) { return map_statistics(self, services, std::move(arguments)); });
  add("map_get", map_reader(services, 2, map_get));
  add("map_keys", map_reader(services, 1, [](const MapViews& maps, const Atom& map, const Arguments& /*arguments*/) {
        return map_list(maps, map, false);
      }));
  add("map_to_list", map_reader(services, 1, [](const MapViews& maps, const Atom& map, const Arguments& /*arguments*/) {
        return map_list(maps, map, true);
      }));
  add("subscribe_map", map_reader(services, 2, [](const MapViews& maps, const Atom& map, const Arguments& arguments) {
        return with_subscriber(maps, map, arguments[1],
                               [](PidSubscribers& pids, const Pid& pid) { return pids.add_for_peer(pid); });
      }));
  add("unsubscribe_map", map_reader(services, 2, [](const MapViews& maps, const Atom& map, const Arguments& arguments) {
        return with_subscriber(maps, map, arguments[1], [](PidSubscribers& pids, const Pid& pid) -> Result<void> {
          pids.remove(pid);
          return {};
        });
      }));
  add("maps", exported(0, [&services](const Arguments& /*none*/) -> Result<Term> {
        return list_term(services.maps().names());
      }));
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
