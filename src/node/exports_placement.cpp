#include <utility>

#include "node/exported.hpp"
#include "node/exports.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {
namespace {

using Placed = PlacementView::Placed;

Term node_term(const Atom* node) { return node == nullptr ? Term(Atom("undefined")) : Term(*node); }

Term node_term(const std::optional<NodeName>& node) { return node_term(node ? &node->atom() : nullptr); }

Result<Term> owners(const PlacementView& view, const Arguments& arguments) {
  const auto count = arguments[1].as_uint64();
  if (!count) return fail(Errc::invalid_argument, "a count is an integer from 0");
  const auto partition = view.partition(arguments[0]);
  return list_term(view.read([&](const Placed& placed) { return placed.ring.owners(partition, *count); }));
}

/// `[{Partition, From, To}]`
Result<Term> placement_diff(const PlacementView& view, const Arguments& arguments) {
  std::vector<Atom> members;
  if (!arguments[0].is_proper_list()) return fail(Errc::invalid_argument, "members are a list");
  for (const auto& member : arguments[0].elements()) {
    const auto node = member.as_atom();
    if (!node || !NodeName::parse(node->text())) return fail(Errc::invalid_argument, "a member is the name of a node");
    members.push_back(*node);
  }
  const services::Ring ring = view.read([](const Placed& placed) { return placed.ring; });
  std::vector<Term> moves;
  for (const auto& [partition, from, to] : ring.diff(std::move(members))) {
    moves.push_back(Term::tuple({partition, node_term(from), node_term(to)}));
  }
  return Term::list(std::move(moves));
}

}  // namespace

void export_placement(process::System& system, ServicesRunner& services) {
  const Atom facade("barrel_p2p");
  const auto& view = services.placement();
  const auto add = [&](const char* function, process::ExportedFunction body) {
    system.export_function(facade, Atom(function), std::move(body));
  };
  add("partition",
      exported(1, [&view](const Arguments& arguments) -> Result<Term> { return Term(view.partition(arguments[0])); }));
  add("place", exported(1, [&view](const Arguments& arguments) -> Result<Term> {
        const auto partition = view.partition(arguments[0]);
        return view.read([&](const Placed& placed) { return node_term(placed.ring.owner(partition)); });
      }));
  add("owners", exported(2, [&view](const Arguments& arguments) { return owners(view, arguments); }));
  add("is_owner", exported(1, [&view](const Arguments& arguments) -> Result<Term> {
        return Term(view.owns(view.partition(arguments[0])));
      }));
  add("placement_diff", exported(1, [&view](const Arguments& arguments) { return placement_diff(view, arguments); }));
  auto& pids = services.shard_pids();
  add("subscribe_shard", exported_subscribe(pids));
  add("unsubscribe_shard", exported_unsubscribe(pids));
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
