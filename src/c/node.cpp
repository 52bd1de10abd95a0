// Nodes and their cluster.
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string_view>

#include "c/handles.hpp"

using namespace barrel_p2p;
using c::guarded;

namespace barrel_p2p {
inline namespace v0 {
namespace c {
namespace {

/// The options as far as the program knows them; what newer headers have added is NULL or 0.
barrel_p2p_options complete(const barrel_p2p_options& given) {
  // Up to the last option of the first version.
  constexpr std::size_t first_size = offsetof(barrel_p2p_options, port) + sizeof(barrel_p2p_options::port);
  if (given.size < first_size) refuse(Errc::invalid_argument, "options.size: begin with BARREL_P2P_OPTIONS_INIT");
  barrel_p2p_options options = BARREL_P2P_OPTIONS_INIT;
  std::memcpy(&options, &given, std::min(given.size, sizeof(options)));
  return options;
}

NodeConfig config_of(const barrel_p2p_options& options) {
  NodeConfig config;
  if (options.config_file != nullptr && options.config_text != nullptr) {
    refuse(Errc::invalid_argument, "options: config_file and config_text exclude each other");
  }
  if (options.config_file != nullptr) config = value(load_config(options.config_file));
  if (options.config_text != nullptr) config = value(parse_config(options.config_text));
  if (options.name != nullptr) config.name = options.name;
  if (options.cookie != nullptr) config.cookie = options.cookie;
  if (options.data_dir != nullptr) config.data_dir = options.data_dir;
  if (options.discovery_dir != nullptr) config.discovery_dir = options.discovery_dir;
  if (options.contact != nullptr) config.membership.contacts = {options.contact};
  if (options.port != 0) config.port = options.port;
  if (options.log != nullptr) {
    config.log_sink = [log = options.log, user = options.log_user](LogLevel level, std::string_view line) {
      log(user, static_cast<int>(level), std::string(line).c_str());
    };
  }
  return config;
}
static_assert(static_cast<int>(LogLevel::debug) == 0 && static_cast<int>(LogLevel::error) == 3, "as c.h says");

void give_nodes(const std::vector<NodeName>& nodes, char*** target) {
  std::vector<std::string> names;
  names.reserve(nodes.size());
  for (const auto& node : nodes) names.push_back(node.string());
  give_names(names, target);
}

}  // namespace
}  // namespace c
}  // namespace v0
}  // namespace barrel_p2p

int barrel_p2p_start(const barrel_p2p_options* options, barrel_p2p_node** node) {
  return guarded([&] {
    c::required(node, "node") = nullptr;
    Node started = c::value(Node::start(c::config_of(c::complete(c::required(options, "options")))));
    std::string name = started.name().string();
    auto state = std::make_shared<c::NodeState>(std::move(started), std::move(name));
    *node = new barrel_p2p_node{std::move(state)};
  });
}

int barrel_p2p_stop(barrel_p2p_node* node) {
  return guarded([&] {
    c::NodeState& state = *c::required(node, "node").state;
    state.stopped = true;
    state.node.stop();
  });
}

void barrel_p2p_free(barrel_p2p_node* node) {
  if (node == nullptr) return;
  (void)barrel_p2p_stop(node);
  delete node;
}

const char* barrel_p2p_name(const barrel_p2p_node* node) {
  return node != nullptr ? node->state->name.c_str() : nullptr;
}

uint16_t barrel_p2p_port(const barrel_p2p_node* node) { return node != nullptr ? node->state->node.port() : 0; }

int barrel_p2p_join(barrel_p2p_node* node, const char* contact) {
  return guarded([&] { c::value(c::node_of(node).join(c::node_name_of(contact, "contact"))); });
}

int barrel_p2p_leave(barrel_p2p_node* node) {
  return guarded([&] { c::node_of(node).leave(); });
}

int barrel_p2p_joined(barrel_p2p_node* node, size_t members_min, int64_t limit_ms) {
  return guarded([&] { c::value(c::node_of(node).joined(members_min, c::limit_of(limit_ms))); });
}

int barrel_p2p_members(barrel_p2p_node* node, char*** names) {
  return guarded([&] {
    c::required(names, "names") = nullptr;
    c::give_nodes(c::node_of(node).members(), names);
  });
}

int barrel_p2p_active_view(barrel_p2p_node* node, char*** names) {
  return guarded([&] {
    c::required(names, "names") = nullptr;
    c::give_nodes(c::node_of(node).active_view(), names);
  });
}

int barrel_p2p_broadcast(barrel_p2p_node* node, const void* tag, size_t tag_size, const void* payload,
                         size_t payload_size) {
  return guarded([&] {
    c::value(
        c::node_of(node).broadcast(c::term_of(tag, tag_size, "tag"), c::term_of(payload, payload_size, "payload")));
  });
}
