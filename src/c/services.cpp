// Services, replicated maps and leaders.
#include <algorithm>
#include <cstring>

#include "c/handles.hpp"
#include "node/answer.hpp"

using namespace barrel_p2p;
using barrel_p2p::node::wait_for;
using c::guarded;
using c::Output;

int barrel_p2p_register_service(barrel_p2p_mailbox* mailbox, const char* name, const void* meta, size_t meta_size) {
  return guarded([&] {
    const auto& box = c::required(mailbox, "mailbox");
    Term map = meta != nullptr ? c::term_of(meta, meta_size, "meta") : Term::map({});
    c::value(box.state->node.register_service(c::atom_of(name, "name"), box.pid, std::move(map)));
  });
}

int barrel_p2p_unregister_service(barrel_p2p_node* node, const char* name) {
  return guarded([&] {
    const ServiceName service(c::atom_of(name, "name"));
    Node& here = c::node_of(node);
    const auto unregister = [&](auto done) { here.unregister_service(service, std::move(done)); };
    if (!c::value(wait_for<bool>(unregister))) {
      c::refuse(Errc::not_found, std::string("this node has registered no ") + name);
    }
  });
}

int barrel_p2p_lookup(barrel_p2p_node* node, const char* name, int64_t limit_ms, barrel_p2p_bytes* pid,
                      barrel_p2p_bytes* at) {
  return guarded([&] {
    const Output pid_output(pid, "pid", Output::Need::optional);
    const Output at_output(at, "at", Output::Need::optional);
    const ServiceName service(c::atom_of(name, "name"));
    const auto limit = c::limit_of(limit_ms);
    WhereisOptions known;
    known.ask_for = {};
    Node& here = c::node_of(node);
    const ServiceLocation found =
        c::value(limit.count() > 0 ? here.resolve(service, limit) : here.whereis_service(service, known));
    at_output.give_text(found.node.text());
    pid_output.give_term(Term(found.pid));
  });
}

int barrel_p2p_services(barrel_p2p_node* node, char*** names) {
  return guarded([&] {
    c::required(names, "names") = nullptr;
    std::vector<std::string> texts;
    for (const auto& service : c::node_of(node).list_services()) texts.emplace_back(service.text());
    c::give_names(texts, names);
  });
}

int barrel_p2p_map_open(barrel_p2p_node* node, const char* map, int durable) {
  return guarded([&] {
    MapOptions options;
    options.persist = durable != 0;
    c::value(c::node_of(node).new_map(c::atom_of(map, "map"), std::move(options)));
  });
}

int barrel_p2p_map_delete(barrel_p2p_node* node, const char* map) {
  return guarded([&] { c::value(c::node_of(node).delete_map(c::atom_of(map, "map"))); });
}

int barrel_p2p_map_put(barrel_p2p_node* node, const char* map, const void* key, size_t key_size, const void* value,
                       size_t value_size) {
  return guarded([&] {
    c::value(c::node_of(node).map_put(c::atom_of(map, "map"), c::term_of(key, key_size, "key"),
                                      c::term_of(value, value_size, "value")));
  });
}

int barrel_p2p_map_remove(barrel_p2p_node* node, const char* map, const void* key, size_t key_size) {
  return guarded(
      [&] { c::value(c::node_of(node).map_remove(c::atom_of(map, "map"), c::term_of(key, key_size, "key"))); });
}

int barrel_p2p_map_get(barrel_p2p_node* node, const char* map, const void* key, size_t key_size,
                       barrel_p2p_bytes* value) {
  return guarded([&] {
    const Output output(value, "value");
    output.give_term(c::value(c::node_of(node).map_get(c::atom_of(map, "map"), c::term_of(key, key_size, "key"))));
  });
}

int barrel_p2p_map_each(barrel_p2p_node* node, const char* map, barrel_p2p_map_visit visit, void* user) {
  return guarded([&] {
    if (visit == nullptr) c::refuse(Errc::invalid_argument, "visit is NULL");
    const Node& here = c::node_of(node);
    const Atom name = c::atom_of(map, "map");
    const auto open = here.maps();
    if (std::find(open.begin(), open.end(), name) == open.end()) c::refuse(Errc::no_such_map, name.string());
    for (const auto& [key, value] : here.map_to_list(name)) {
      const Bytes key_bytes = encode_term(key);
      const Bytes value_bytes = encode_term(value);
      if (visit(user, key_bytes.data(), key_bytes.size(), value_bytes.data(), value_bytes.size()) != 0) return;
    }
  });
}

int barrel_p2p_lead(barrel_p2p_mailbox* mailbox, const char* name, int64_t priority, size_t members_min, int* leads) {
  return guarded([&] {
    if (leads != nullptr) *leads = 0;
    const auto& box = c::required(mailbox, "mailbox");
    LeadOptions options;
    options.priority = priority;
    options.min_members = members_min;
    const Role role = c::value(box.state->node.lead(c::atom_of(name, "name"), box.pid, std::move(options)));
    if (leads != nullptr) *leads = role.is_leader() ? 1 : 0;
  });
}

int barrel_p2p_resign(barrel_p2p_mailbox* mailbox, const char* name) {
  return guarded([&] {
    const auto& box = c::required(mailbox, "mailbox");
    const Atom role = c::atom_of(name, "name");
    const auto resign = [&](auto done) { box.state->node.resign(role, box.pid, std::move(done)); };
    if (!c::value(wait_for<bool>(resign))) {
      c::refuse(Errc::not_found, std::string("the mailbox does not campaign for ") + name);
    }
  });
}

int barrel_p2p_leader(barrel_p2p_node* node, const char* name, barrel_p2p_bytes* pid, barrel_p2p_bytes* at) {
  return guarded([&] {
    const Output pid_output(pid, "pid", Output::Need::optional);
    const Output at_output(at, "at", Output::Need::optional);
    const LeaderLocation leader = c::value(c::node_of(node).leader(c::atom_of(name, "name")));
    at_output.give_text(leader.node.text());
    pid_output.give_term(Term(leader.pid));
  });
}

int barrel_p2p_is_leader(barrel_p2p_node* node, const char* name) {
  bool leads = false;
  const int result = guarded([&] { leads = c::node_of(node).is_leader(c::atom_of(name, "name")); });
  return result == BARREL_P2P_OK && leads ? 1 : 0;
}

int barrel_p2p_get_fence(barrel_p2p_node* node, const char* name, barrel_p2p_fence* fence) {
  return guarded([&] {
    c::required(fence, "fence") = {};
    const Fence token = c::value(c::node_of(node).fence(c::atom_of(name, "name")));
    const auto packed = token.pack();
    const std::string text = token.text();
    static_assert(sizeof(fence->packed) == std::tuple_size_v<Fence::Packed>);
    std::copy(packed.begin(), packed.end(), fence->packed);
    text.copy(fence->text, sizeof(fence->text) - 1);  // 2^96 has 29 digits
  });
}
