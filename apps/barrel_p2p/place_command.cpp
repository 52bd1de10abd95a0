#include "place_command.hpp"

#include <algorithm>
#include <optional>
#include <ostream>
#include <utility>

#include "command_line.hpp"
#include "complaint.hpp"
#include "json.hpp"
#include "node_state.hpp"
#include "services/placement.hpp"

namespace barrel_p2p::command {
namespace {

class Place {
 public:
  Place(const PlaceCommand& command, std::ostream& output, std::ostream& errors)
      : command_(command), output_(output), complaints_{errors, "place", command.json} {}

  int run() {
    if (command_.operation != PlaceOperation::list && command_.operation != PlaceOperation::diff) {
      auto typed = typed_term(command_.key, command_.as_text);
      if (!typed) return complaints_.tell(exit_usage, typed.error().context());
      key_ = std::move(*typed);
    }
    if (const auto wrong = wrong_name(); !wrong.empty()) return complaints_.tell(exit_usage, wrong);
    switch (command_.operation) {
      case PlaceOperation::owner: return question("place", &Place::owner);
      case PlaceOperation::owners: return question("owners", &Place::owners);
      case PlaceOperation::partition: return question("partition", &Place::partition);
      case PlaceOperation::list: return question("placement", &Place::list);
      case PlaceOperation::diff: return question("placement", &Place::diff);
    }
    return exit_usage;
  }

 private:
  [[nodiscard]] std::string wrong_name() const {
    for (const auto* names : {&command_.added, &command_.removed}) {
      for (const auto& name : *names) {
        if (const auto parsed = NodeName::parse(name); !parsed) return parsed.error().message();
      }
    }
    const bool nothing = command_.added.empty() && command_.removed.empty();
    if (command_.operation == PlaceOperation::diff && nothing) return "say what changes: --add NODE, --remove NODE";
    return {};
  }
  int question(const char* function, Result<std::string> (Place::*ask)(Remote&)) {
    return run_question(command_, complaints_, output_, function, [&](Remote& remote) { return (this->*ask)(remote); });
  }
  [[nodiscard]] JsonObject about_key(std::uint64_t partition) const {
    return std::move(JsonObject().set("key", to_text(key_)).set("partition", partition));
  }
  Result<std::uint64_t> partition_of(Remote& remote) {
    const auto answer = remote.ask("partition", {key_});
    if (!answer) return std::unexpected(answer.error());
    return answer->to<std::uint64_t>();
  }

  Result<std::string> partition(Remote& remote) {
    const auto number = partition_of(remote);
    if (!number) return std::unexpected(number.error());
    return command_.json ? about_key(*number).text() : std::to_string(*number);
  }

  Result<std::string> owner(Remote& remote) {
    const auto number = partition_of(remote);
    if (!number) return std::unexpected(number.error());
    const auto node = remote.ask("place", {key_});
    if (!node) return std::unexpected(node.error());
    if (node->is_atom("undefined")) return fail(Errc::not_found, "nobody: this node knows no members");
    return command_.json ? about_key(*number).set("owner", plain_text(*node)).text() : plain_text(*node);
  }

  Result<std::string> owners(Remote& remote) {
    const auto number = partition_of(remote);
    if (!number) return std::unexpected(number.error());
    const auto nodes = remote.ask("owners", {key_, command_.count});
    if (!nodes) return std::unexpected(nodes.error());
    std::vector<std::string> names;
    for (const auto& node : nodes->elements()) names.push_back(plain_text(node));
    if (command_.json) return about_key(*number).set("owners", names).text();
    std::string text;
    for (const auto& name : names) text += (text.empty() ? "" : "\n") + name;
    return text;
  }

  Result<std::string> list(Remote& remote) {
    const auto owners = partition_owners(remote);
    if (!owners) return std::unexpected(owners.error());
    std::string text;
    std::vector<Json> json;
    for (std::size_t partition = 0; partition < owners->size(); ++partition) {
      const auto& owner = (*owners)[partition];
      json.push_back(owner.empty() ? Json() : Json(owner));
      text += (partition == 0 ? "" : "\n") + std::to_string(partition) + "\t" + (owner.empty() ? "-" : owner);
    }
    if (!command_.json) return text;
    return JsonObject()
        .set("node", remote.name().string())
        .set("partitions", owners->size())
        .set("owners", json)
        .text();
  }

  /// All nodes compute alike, so that it is done here, for Erlang nodes too.
  Result<std::string> diff(Remote& remote) {
    const auto owners = partition_owners(remote);
    if (!owners) return std::unexpected(owners.error());
    const auto members = remote.ask("members");
    if (!members) return std::unexpected(members.error());
    std::vector<Atom> now;
    for (const auto& member : members->elements()) {
      if (const auto node = member.as_atom()) now.push_back(*node);
    }
    std::ranges::sort(now, {}, &Atom::text);
    for (const auto& removed : command_.removed) {
      if (std::ranges::find(now, removed, &Atom::text) != now.end()) continue;
      return fail(Errc::not_found, removed + " is no member: `barrel_p2p status` lists those that are");
    }
    services::Ring ring(static_cast<std::uint32_t>(owners->size()));
    ring.set_members(now);
    std::vector<Atom> then = now;
    std::erase_if(then, [&](const Atom& node) {
      return std::ranges::find(command_.removed, node.text()) != command_.removed.end();
    });
    for (const auto& node : command_.added) then.emplace_back(node);
    return moves_text(remote, ring.diff(std::move(then)), owners->size());
  }

  [[nodiscard]] std::string moves_text(const Remote& remote, const std::vector<PartitionMove>& moves,
                                       std::size_t partitions) const {
    const auto name = [](const std::optional<NodeName>& node) {
      return node ? std::optional<std::string>(node->string()) : std::nullopt;
    };
    std::string text;
    std::vector<Json> json;
    for (const auto& move : moves) {
      json.push_back(
          JsonObject().set("partition", move.partition).set("from", name(move.from)).set("to", name(move.to)));
      text += std::to_string(move.partition) + "\t" + name(move.from).value_or("-") + "\t" +
              name(move.to).value_or("-") + "\n";
    }
    if (command_.json) {
      return JsonObject().set("node", remote.name().string()).set("partitions", partitions).set("moves", json).text();
    }
    return text + std::to_string(moves.size()) + " of " + std::to_string(partitions) + " partitions would move";
  }

  const PlaceCommand& command_;
  std::ostream& output_;
  const Complaints complaints_;
  Term key_;
};

}  // namespace

int run_place_command(const PlaceCommand& command, std::ostream& output, std::ostream& errors) {
  return Place(command, output, errors).run();
}

}  // namespace barrel_p2p::command
