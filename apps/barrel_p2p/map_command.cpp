#include "map_command.hpp"

#include <algorithm>
#include <optional>
#include <ostream>
#include <utility>
#include <vector>

#include "command_line.hpp"
#include "complaint.hpp"
#include "json.hpp"
#include "watch.hpp"

namespace barrel_p2p::command {
namespace {

class MapRun {
 public:
  MapRun(const MapCommand& command, std::ostream& output, std::ostream& errors)
      : command_(command), output_(output), complaints_{errors, "map", command.json} {}

  int run() {
    if (auto read = read_arguments(); !read) return complaints_.tell(exit_usage, read.error().context());
    switch (command_.operation) {
      case MapOperation::list:
        return command_.map.empty() ? question("maps", &MapRun::list_maps) : question("map_to_list", &MapRun::list);
      case MapOperation::get: return question("map_get", &MapRun::get);
      case MapOperation::put: return question("map_put", &MapRun::put);
      case MapOperation::remove: return question("map_remove", &MapRun::remove);
      case MapOperation::open: return question("new_map", &MapRun::open);
      case MapOperation::watch: return watch();
    }
    return exit_usage;
  }

 private:
  Result<void> read_arguments() {
    if (!command_.map.empty()) {
      auto map = typed_atom(command_.map);
      if (!map) return std::unexpected(map.error());
      map_ = std::move(*map);
    }
    const auto operation = command_.operation;
    if (operation == MapOperation::get || operation == MapOperation::put || operation == MapOperation::remove) {
      auto key = typed_term(command_.key, command_.as_text);
      if (!key) return std::unexpected(key.error());
      key_ = std::move(*key);
    }
    if (operation != MapOperation::put) return {};
    auto value = typed_term(command_.value, command_.as_text);
    if (!value) return std::unexpected(value.error());
    value_ = std::move(*value);
    return {};
  }
  int question(const char* function, Result<std::string> (MapRun::*ask)(Remote&)) {
    return run_question(command_, complaints_, output_, function, [&](Remote& remote) { return (this->*ask)(remote); });
  }
  [[nodiscard]] std::string shown(const Term& term) const {
    const auto text = command_.as_text ? term.as_text() : std::nullopt;
    return text ? std::string(*text) : to_text(term);
  }
  [[nodiscard]] JsonObject about(const Remote& remote) const {
    return std::move(JsonObject().set("node", remote.name().string()).set("map", map_.string()));
  }

  Result<std::string> list_maps(Remote& remote) {
    const auto maps = remote.ask("maps");
    if (!maps) return std::unexpected(maps.error());
    std::vector<Json> json;
    std::string text;
    for (const auto& map : maps->elements()) {
      const auto figures = remote.facade("map_statistics", {map});
      const auto size = figures ? figures->get<std::uint64_t>(Atom("entries")).value_or(0) : 0;
      json.push_back(JsonObject().set("name", plain_text(map)).set("size", size));
      text += (text.empty() ? "" : "\n") + plain_text(map) + "\t" + std::to_string(size);
    }
    if (!command_.json) return text;
    return JsonObject().set("node", remote.name().string()).set("maps", json).text();
  }

  Result<std::string> list(Remote& remote) {
    // A node answers with an empty list for a map that it has not opened.
    const auto open = remote.ask("map_statistics", {map_});
    if (!open && open.error() == Errc::no_such_map) return std::unexpected(open.error());
    auto entries = remote.ask("map_to_list", {map_});
    if (!entries) return std::unexpected(entries.error());
    std::vector<Term> pairs(entries->elements().begin(), entries->elements().end());
    std::ranges::sort(pairs, TermLess());
    std::vector<Json> json;
    std::string text;
    for (const auto& pair : pairs) {
      if (!pair.is_tuple(2)) continue;
      if (command_.json) json.push_back(JsonObject().set("key", shown(pair[0])).set("value", shown(pair[1])));
      if (!command_.json) text += (text.empty() ? "" : "\n") + shown(pair[0]) + "\t" + shown(pair[1]);
    }
    return command_.json ? about(remote).set("entries", json).text() : text;
  }

  Result<std::string> get(Remote& remote) {
    auto answer = remote.facade("map_get", {map_, key_});
    if (!answer) return std::unexpected(answer.error());
    if (answer->is_tagged("ok", 2)) {
      const std::string value = shown((*answer)[1]);
      return command_.json ? about(remote).set("key", shown(key_)).set("value", value).text() : value;
    }
    const auto open = remote.ask("map_statistics", {map_});
    if (!open && open.error() == Errc::no_such_map) return std::unexpected(open.error());
    return fail(Errc::not_found, "not_found: " + map_.string() + " has no " + to_text(key_) +
                                     (command_.as_text ? "" : "; C++ strings are binaries: try --string"));
  }

  Result<std::string> put(Remote& remote) {
    if (auto done = remote.ask("map_put", {map_, key_, value_}); !done) return std::unexpected(done.error());
    return command_.json ? about(remote).set("key", shown(key_)).set("value", shown(value_)).text() : "";
  }

  Result<std::string> remove(Remote& remote) {
    if (auto done = remote.ask("map_remove", {map_, key_}); !done) return std::unexpected(done.error());
    return command_.json ? about(remote).set("key", shown(key_)).set("removed", true).text() : "";
  }

  [[nodiscard]] Error is_in_memory(const Remote& remote) const {
    return {Errc::invalid_argument,
            "already_registered: " + map_.string() + " is open on " + remote.name().string() +
                " in memory only. Say persist where it is opened (the program, or [[replicated_maps]] of the "
                "configuration); or close it, which forgets its content on this node, and open it anew: `barrel_p2p "
                "call " +
                remote.name().string() + " barrel_p2p delete_map \"[" + plain_text(Term(map_)) + "]\"`"};
  }

  Result<std::string> open(Remote& remote) {
    std::vector<TermPair> options;
    if (command_.persist) options.emplace_back(Atom("persist"), true);
    if (auto done = remote.ask("new_map", {map_, Term::map(std::move(options))}); !done) {
      return std::unexpected(done.error().context() == "already_registered" ? is_in_memory(remote) : done.error());
    }
    if (!command_.json) return "";
    JsonObject json = about(remote);
    // What is, for the map may have been open before. Erlang nodes do not say.
    const auto figures = remote.ask("map_statistics", {map_});
    const auto persist = figures ? figures->get<bool>(Atom("persist")) : std::unexpected(figures.error());
    if (persist) json.set("persist", *persist);
    return json.text();
  }

  int watch() {
    Watch watch;
    watch.function = "subscribe_map";
    watch.arguments = {map_};
    watch.count = command_.count;
    watch.line = [this](const Term& message) -> std::optional<std::string> {
      if (!message.is_tagged("barrel_p2p_map", 3)) return std::nullopt;
      const Term& event = message[2];
      if (!event.is_tagged("put", 3) && !event.is_tagged("remove", 2)) return std::nullopt;
      const std::string kind = plain_text(event[0]);
      if (!command_.json) {
        return kind + "\t" + shown(event[1]) + (event.size() == 3 ? "\t" + shown(event[2]) : "");
      }
      JsonObject json;
      json.set("event", kind).set("map", map_.string()).set("key", shown(event[1]));
      if (event.size() == 3) json.set("value", shown(event[2]));
      return json.text();
    };
    return run_watch(command_, watch, complaints_, output_);
  }

  const MapCommand& command_;
  std::ostream& output_;
  const Complaints complaints_;
  Atom map_;
  Term key_;
  Term value_;
};

}  // namespace

int run_map_command(const MapCommand& command, std::ostream& output, std::ostream& errors) {
  return MapRun(command, output, errors).run();
}

}  // namespace barrel_p2p::command
