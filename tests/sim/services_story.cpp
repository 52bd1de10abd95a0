#include "sim/services_story.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <variant>

#include "overlay/hyparview_support.hpp"
#include "replication/ormap.hpp"

namespace barrel_p2p::sim {
namespace {

using overlay::test::short_name;

/// `barrel_p2p_leader_replica` is `leader`; that of a map is `map`.
std::string short_replica(const Atom& name) {
  constexpr std::string_view before = "barrel_p2p_";
  std::string text = name.string();
  if (text.starts_with(before)) text.erase(0, before.size());
  return text.substr(0, text.find('_'));
}

std::string entries_text(const Term& entries) {
  std::string text;
  for (const auto& [key, value] : entries.pairs()) {
    const auto entry = replication::entry_of(value);
    text += " " + to_text(key) + " = " +
            (!entry             ? to_text(value)
             : entry->is_live() ? to_text(entry->value())
                                : "gone");
  }
  return text;
}

/// `delta`, `custom` and what replicas send to each other.
std::string replica_text(const Term& message) {
  const Term inner = message.is_tagged("$barrel_p2p_replica", 2) ? message[1] : message;
  if (!inner.is_tuple() || inner.size() == 0) return to_text(inner);
  const std::string tag = to_text(inner[0]);
  if (tag == "delta" && inner.size() == 3 && inner[2].is_map()) return tag + entries_text(inner[2]);
  if (tag == "custom" && inner.size() == 3) return to_text(inner[2]);
  if (tag == "full_sync" && inner.size() == 3 && inner[2].is_map()) return tag + entries_text(inner[2]);
  return tag;
}

std::string kind_text(const ServiceEvent& event) {
  switch (event.kind) {
    case ServiceEvent::Kind::registered: return "is registered";
    case ServiceEvent::Kind::unregistered: return "is unregistered";
    case ServiceEvent::Kind::down: return "has ended";
    case ServiceEvent::Kind::node_lost: return "is lost with its node";
    case ServiceEvent::Kind::node_back: return "is back with its node";
  }
  return {};
}

Term term_of(const std::string& word) {
  const bool is_number = std::ranges::all_of(word, [](char character) { return character >= '0' && character <= '9'; });
  return is_number ? Term(std::stoll(word)) : Term(Atom(word));
}

void ignore(const Result<void>& /*result*/) {}

void expect(const Result<void>& result) {
  if (!result) throw std::runtime_error(result.error().message());
}

}  // namespace

ServicesStory::ServicesStory() {
  config_.services.enabled = true;
  config_.services.disk = {.kind = Delay::Kind::constant, .low = Milliseconds(1), .high = Milliseconds(1), .sigma = 0};
  add_map_commands();
  add_registry_commands();
  add_leader_commands();
  add_reminder_commands();
  commands_["members"] = [this](const Words& /*words*/) {
    for (const NodeIndex each : living()) {
      line(name_of(each) + " counts" + sorted_list(simulation_->services()->machine(each).members().members()));
    }
  };
  commands_["owners"] = [this](const Words& /*words*/) {
    for (const NodeIndex each : living()) {
      std::string text;
      for (const auto partition : simulation_->services()->machine(each).placement().owned()) {
        text += " " + std::to_string(partition);
      }
      line(name_of(each) + " owns" + (text.empty() ? " nothing" : text));
    }
  };
}

void ServicesStory::add_map_commands() {
  commands_["open"] = [this](const Words& words) {
    for (const NodeIndex each : living()) expect(simulation_->services()->open_map(each, Atom(words.at(1)), {}));
  };
  commands_["put"] = [this](const Words& words) {
    expect(simulation_->services()->put(node(words, 1), Atom(words.at(2)), term_of(words.at(3)), term_of(words.at(4)),
                                        ignore));
  };
  commands_["remove"] = [this](const Words& words) {
    expect(simulation_->services()->remove(node(words, 1), Atom(words.at(2)), term_of(words.at(3)), ignore));
  };
  commands_["map"] = [this](const Words& words) {
    for (const NodeIndex each : living()) {
      const auto* map = simulation_->services()->machine(each).maps().find(Atom(words.at(1)));
      std::string text;
      if (map != nullptr) {
        std::map<std::string, std::string> sorted;
        for (const auto& [key, entry] : map->entries()) {
          if (entry.is_live()) sorted.emplace(to_text(key), to_text(entry.value()));
        }
        for (const auto& [key, value] : sorted) text += " " + key + " = " + value;
      }
      line(name_of(each) + " has" + (text.empty() ? " nothing" : text));
    }
  };
}

void ServicesStory::add_registry_commands() {
  commands_["register"] = [this](const Words& words) {
    const NodeIndex owner = node(words, 1);
    const Pid pid = simulation_->services()->spawn(owner);
    pids_.insert_or_assign({owner, words.at(2)}, pid);
    expect(simulation_->services()->register_service(owner, ServiceName(words.at(2)), pid, Term::map({}), {}, ignore));
  };
  commands_["unregister"] = [this](const Words& words) {
    if (!simulation_->services()->unregister_service(node(words, 1), ServiceName(words.at(2)))) {
      throw std::runtime_error("it is not registered");
    }
  };
  commands_["kill"] = [this](const Words& words) {
    const NodeIndex owner = node(words, 1);
    simulation_->services()->kill(owner, pids_.at({owner, words.at(2)}), Atom("killed"));
  };
  commands_["lookup"] = [this](const Words& words) {
    for (const NodeIndex each : living()) {
      std::string text;
      for (const auto& one :
           simulation_->services()->machine(each).registry().lookup(ServiceName(words.at(1)).term())) {
        text += " " + short_name(one.node);
      }
      line(name_of(each) + " finds" + (text.empty() ? " nothing" : text));
    }
  };
}

void ServicesStory::add_leader_commands() {
  commands_["lead"] = [this](const Words& words) {
    const NodeIndex candidate = node(words, 1);
    LeadOptions options;
    if (words.size() > 3) options.priority = std::stoi(words[3]);
    const Pid pid = simulation_->services()->spawn(candidate);
    pids_.insert_or_assign({candidate, words.at(2)}, pid);
    const auto role = simulation_->services()->lead(candidate, Atom(words.at(2)), pid, options);
    if (!role) throw std::runtime_error(role.error().message());
    say(name_of(candidate), "event", role->fence ? "leads at once, with " + fence_text(*role->fence) : "follows");
  };
  commands_["resign"] = [this](const Words& words) {
    const NodeIndex candidate = node(words, 1);
    simulation_->services()->resign(candidate, Atom(words.at(2)), pids_.at({candidate, words.at(2)}));
  };
  commands_["leader"] = [this](const Words& words) {
    for (const NodeIndex each : living()) {
      const auto winner = simulation_->services()->machine(each).leader().view(Atom(words.at(1))).winner;
      line(name_of(each) + (winner ? " sees " + short_name(winner->node) + " lead" : " sees nobody lead"));
    }
  };
}

void ServicesStory::add_reminder_commands() {
  commands_["remind"] = [this](const Words& words) {
    const NodeIndex origin = node(words, 1);
    const auto delay = std::chrono::duration_cast<Milliseconds>(time_of(words.at(3)));
    const auto due = simulation_->services()->wall(origin) + delay.count();
    expect(simulation_->services()->remind(origin, term_of(words.at(2)), due, Term(), ignore));
    const auto& placement = simulation_->services()->machine(origin).placement();
    const Atom* owner = placement.place(term_of(words.at(2)));
    say(name_of(origin), "event",
        "sets " + words.at(2) + ", of which " + (owner ? short_name(*owner) : "nobody") + " is the owner");
  };
  commands_["cancel"] = [this](const Words& words) {
    expect(simulation_->services()->cancel_reminder(node(words, 1), term_of(words.at(2)), ignore));
  };
}

bool ServicesStory::configure(const std::string& key, std::uint32_t value) {
  auto& machine = config_.services.machine;
  if (key == "heartbeat_ms") {
    machine.members.heartbeat = Milliseconds(value);
  } else if (key == "ttl_ms") {
    machine.members.ttl = Milliseconds(value);
  } else if (key == "ring_size") {
    machine.placement.ring_size = value;
  } else {
    return Story::configure(key, value);
  }
  return true;
}

void ServicesStory::began() {
  simulation_->on_effect = nullptr;
  simulation_->services()->on_effect = [this](NodeIndex node, const services::Effect& effect) { tell(node, effect); };
  simulation_->services()->on_start = [this](NodeIndex node) { simulation_->services()->subscribe_reminders(node); };
}

std::string ServicesStory::fence_text(const Fence& fence) {
  return fences_.emplace(fence, "F" + std::to_string(fences_.size() + 1)).first->second;
}

std::string ServicesStory::brief(const std::string& text) const {
  constexpr std::size_t large = 12;
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at;
    while (end < text.size() && text[end] >= '0' && text[end] <= '9') ++end;
    if (end == at) {
      result += text[at++];
      continue;
    }
    const std::string digits = text.substr(at, end - at);
    const auto fence = digits.size() < large ? std::nullopt : std::optional(Fence::parse(digits));
    const auto known = fence && *fence ? fences_.find(**fence) : fences_.end();
    result += !fence ? digits : known != fences_.end() ? known->second : "#";
    at = end;
  }
  return result;
}

/// In one line with those of the same change.
void ServicesStory::tell(const std::string& who, const ShardEvent& event) {
  const std::string what = event.kind == ShardEvent::Kind::acquired ? "acquires" : "releases";
  if (!continues(who + " " + what)) say(who, "shard", what);
  extend(" " + std::to_string(event.partition));
}

void ServicesStory::tell(NodeIndex node, const services::Effect& effect) {
  const std::string who = name_of(node);
  std::visit(
      [&](const auto& what) {
        using What = std::decay_t<decltype(what)>;
        if constexpr (std::is_same_v<What, services::Broadcast>) {
          const std::string replica = short_replica(what.tag);
          say(who, replica, "> all  " + replica + " " + brief(replica_text(what.payload)));
        } else if constexpr (std::is_same_v<What, services::Send>) {
          const std::string replica = short_replica(what.name);
          say(who, replica, "> " + short_name(what.to) + "  " + replica + " " + brief(replica_text(what.message)));
        } else if constexpr (std::is_same_v<What, services::LeaderHappened>) {
          const bool revoked = what.event.kind == LeaderEvent::Kind::revoked;
          say(who, "event", revoked ? "leads no more" : "leads, with " + fence_text(what.event.fence));
        } else if constexpr (std::is_same_v<What, services::ServiceHappened>) {
          say(who, "event",
              "hears: " + std::string(what.event.name.text()) + " of " + std::string(what.event.node.name()) + " " +
                  kind_text(what.event));
        } else if constexpr (std::is_same_v<What, services::MapHappened>) {
          const bool put = what.event.kind == MapEvent::Kind::put;
          say(who, "event",
              "hears: " + to_text(what.event.key) + (put ? " is " + to_text(what.event.value) : " is gone"));
        } else if constexpr (std::is_same_v<What, services::ReminderFired>) {
          say(who, "event",
              "tells " + to_text(what.event.key) + " with " + fence_text(what.event.fence) + ", " +
                  std::to_string(what.event.lateness.count()) + " ms late");
        } else if constexpr (std::is_same_v<What, services::ShardHappened>) {
          tell(who, what.event);
        }
      },
      effect);
}

}  // namespace barrel_p2p::sim
