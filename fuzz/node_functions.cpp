// Functions of a whole node that other nodes may call, with any arguments in any order: no crash, each call ends, and
// the node still knows its name. What one input leaves in the node the next one finds; the node is made anew now and
// then.
//
//   input: calls: function(1) and the list of its arguments as a term, length(2) before it
#include <array>
#include <barrel_p2p/node.hpp>
#include <barrel_p2p/term.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "input.hpp"
#include "scratch.hpp"

namespace {

using namespace barrel_p2p;
using namespace barrel_p2p::fuzz;

/// Those that end the membership of the node, or wait, are left out.
constexpr std::array functions{"active_view",
                               "passive_view",
                               "subscribe",
                               "unsubscribe",
                               "register_service",
                               "lookup",
                               "lookup_local",
                               "list_services",
                               "unregister_service",
                               "whereis_service",
                               "members",
                               "new_map",
                               "map_put",
                               "map_get",
                               "map_keys",
                               "map_to_list",
                               "map_remove",
                               "subscribe_map",
                               "unsubscribe_map",
                               "maps",
                               "map_put_many",
                               "map_statistics",
                               "delete_map",
                               "partition",
                               "place",
                               "owners",
                               "is_owner",
                               "subscribe_shard",
                               "unsubscribe_shard",
                               "placement_diff",
                               "lead",
                               "resign",
                               "leader",
                               "is_leader",
                               "fence",
                               "remind",
                               "remind_after",
                               "cancel_reminder",
                               "subscribe_reminders",
                               "unsubscribe_reminders",
                               "migrate_peer",
                               "peers",
                               "leaders",
                               "placement",
                               "reminders",
                               "reminder_statistics",
                               "node_info",
                               "register_name",
                               "whereis_name",
                               "send",
                               "subscribe_services",
                               "unsubscribe_services",
                               "join",
                               "get_proxy",
                               "unregister_name",
                               "plumtree:broadcast",
                               "plumtree:subscribe",
                               "path_stats:summary",
                               "path_stats:srtt",
                               "service_proxy:relay"};

const NodeName& name() {
  static const NodeName own = *NodeName::parse("own@127.0.0.1");
  return own;
}

Node make_node(const Scratch& scratch) {
  scratch.empty();
  NodeConfig config;
  config.name = name().string();
  config.listen = "127.0.0.1";
  config.port = 0;
  config.data_dir = scratch.path() / "data";
  config.discovery_dir = scratch.path() / "discovery";
  config.cookie = "cookie";
  config.workers = 1;
  config.log_level = LogLevel::off;
  auto node = Node::start(std::move(config));
  require(node.has_value());
  return std::move(*node);
}

/// A node that has taken this many inputs is made anew, so that it does not fill up.
Node& node() {
  constexpr std::size_t inputs_max = 2000;
  static const Scratch scratch("node");
  static std::optional<Node> running;
  static std::size_t inputs = 0;
  if (inputs++ % inputs_max == 0) {
    running.reset();
    running.emplace(make_node(scratch));
  }
  return *running;
}

RemoteFunction function_of(std::string function, std::vector<Term> arguments) {
  const auto colon = function.find(':');
  const std::string module = colon == std::string::npos ? "barrel_p2p" : "barrel_p2p_" + function.substr(0, colon);
  if (colon != std::string::npos) function = function.substr(colon + 1);
  return {Atom(module), Atom(function), std::move(arguments)};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr int calls_max = 8;
  Input input(data, size);
  Node& called = node();
  for (int count = 0; count < calls_max && !input.empty(); ++count) {
    const auto* function = functions[input.byte() % functions.size()];
    const auto term = decode_term(input.piece());
    if (!term || !term->term.is_proper_list()) continue;
    const auto elements = term->term.elements();
    auto what = function_of(function, {elements.begin(), elements.end()});
    // Some wait for other nodes, which are not there; whoever asks decides for how long.
    (void)called.run_function(name(), std::move(what), std::chrono::milliseconds(200));
  }
  const auto info = called.call_function(name(), Atom("barrel_p2p"), Atom("node_info"), {}, std::chrono::seconds(8));
  require(info && info->find(Atom("name")) != nullptr);
  return 0;
}
