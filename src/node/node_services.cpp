// The part of the public API that is about services and maps.
#include <algorithm>
#include <barrel_p2p/node.hpp>
#include <tuple>
#include <utility>

#include "node/answer.hpp"
#include "node/awaiting.hpp"
#include "node/key_text.hpp"
#include "node/parts.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace {

using node::await;
using node::no_member;
using node::refuse;

std::unexpected<Error> no_such_map(const Atom& map) {
  return fail(Errc::no_such_map, "open " + map.string() + " with new_map first");
}

ServiceEntry entry_of(const services::Registration& one, const ServiceName& name) {
  return {name, one.pid, NodeName(one.node.text()), one.meta};
}

}  // namespace

std::vector<NodeName> Node::members() const {
  std::vector<NodeName> list;
  if (!parts_->services) return list;
  for (const auto& node : parts_->services->members()) list.emplace_back(node.text());
  return list;
}

// Services.

Result<void> Node::register_service(const ServiceName& name, const Pid& process, Term meta, RegisterOptions options) {
  return await<void>(*parts_, [&](auto done) {
    parts_->services->register_service(name, process, std::move(meta), options, std::move(done));
  });
}

void Node::register_service(const ServiceName& name, const Pid& process, Term meta, RegisterOptions options,
                            std::function<void(Result<void>)> done) {
  if (!parts_->services) return refuse(*parts_, std::move(done), no_member());
  parts_->services->register_service(name, process, std::move(meta), options, std::move(done));
}

bool Node::unregister_service(const ServiceName& name) {
  return await<bool>(*parts_, [&](auto done) { parts_->services->unregister_service(name, std::move(done)); })
      .value_or(false);
}

void Node::unregister_service(const ServiceName& name, std::function<void(Result<bool>)> done) {
  if (!parts_->services) return refuse(*parts_, std::move(done), no_member());
  parts_->services->unregister_service(name, std::move(done));
}

Result<std::vector<ServiceEntry>> Node::lookup(const ServiceName& name) const {
  std::vector<ServiceEntry> entries;
  if (parts_->services) {
    for (const auto& one : parts_->services->lookup(name)) entries.push_back(entry_of(one, name));
  }
  if (entries.empty()) return fail(Errc::not_found, "no node has registered " + to_text(name.term()));
  return entries;
}

Result<Pid> Node::lookup_local(const ServiceName& name) const {
  const auto pid = parts_->services ? parts_->services->lookup_local(name) : std::nullopt;
  if (!pid) return fail(Errc::not_found, "this node has not registered " + to_text(name.term()));
  return *pid;
}

std::vector<ServiceName> Node::list_services() const {
  return parts_->services ? parts_->services->list_services() : std::vector<ServiceName>();
}

Result<ServiceLocation> Node::whereis_service(const ServiceName& name, const WhereisOptions& options) const {
  node::ServicesRunner* const services = parts_->services.get();
  auto found = services != nullptr ? services->find_service(name, options) : std::nullopt;
  if (found) return std::move(*found);
  const bool on_own_thread = services == nullptr || services->is_current() || parts_->system->is_current() ||
                             parts_->context.get_executor().running_in_this_thread();
  if (on_own_thread) return fail(Errc::not_found, "no service " + to_text(name.term()) + " is known here");
  return node::wait_for<ServiceLocation>([&](auto done) { services->ask(name, options, std::move(done)); });
}

void Node::whereis_service(const ServiceName& name, const WhereisOptions& options,
                           std::function<void(Result<ServiceLocation>)> done) const {
  if (!parts_->services) return done(no_member());
  parts_->services->ask(name, options, std::move(done));
}

Result<ServiceLocation> Node::resolve(const ServiceName& name, Duration limit, WhereisOptions options) {
  return await<ServiceLocation>(
      *parts_, [&](auto done) { parts_->services->resolve(name, std::move(options), limit, std::move(done)); });
}

void Node::resolve(const ServiceName& name, Duration limit, WhereisOptions options,
                   std::function<void(Result<ServiceLocation>)> done) {
  if (!parts_->services) return refuse(*parts_, std::move(done), no_member());
  parts_->services->resolve(name, std::move(options), limit, std::move(done));
}

// Proxies, names of `via`, global, holders.

namespace {

/// Runs what the bridge does on a process, and waits.
template <class T, class Parts>
Result<T> on_process(Parts& parts, const std::function<Task<Result<T>>(services::Bridge&, Process&)>& function) {
  if (!parts.bridge) return no_member();
  if (const auto allowed = parts.may_wait_for_process(); !allowed) return std::unexpected(allowed.error());
  auto result = parts.template wait_for<Result<T>>([&](Process& self) { return function(*parts.bridge, self); });
  if (!result) return std::unexpected(result.error());
  return std::move(*result);
}

}  // namespace

Result<Pid> Node::get_proxy(const ServiceName& name) {
  return on_process<Pid>(*parts_, [&](auto& bridge, Process& self) { return bridge.get_proxy(self, name); });
}

bool Node::stop_proxy(const ServiceName& name) { return parts_->bridge && parts_->bridge->proxies().stop(name.term()); }

Result<Pid> Node::global_register(const ServiceName& name, Duration limit) {
  return on_process<Pid>(*parts_,
                         [&](auto& bridge, Process& self) { return bridge.global_register(self, name, limit); });
}

Result<Pid> Node::start_service_holder(const ServiceName& name) {
  return on_process<Pid>(*parts_, [&](auto& bridge, Process& self) { return bridge.start_service_holder(self, name); });
}

void Node::stop_service_holder(const Pid& holder) { parts_->system->send_local(holder, Atom("stop")); }

bool Node::register_name(const ServiceName& name, const Pid& process) {
  return register_service(name, process).has_value();
}

void Node::unregister_name(const ServiceName& name) { unregister_service(name); }

std::optional<Pid> Node::whereis_name(const ServiceName& name) const {
  const auto found = whereis_service(name);
  return found ? std::optional(found->pid) : std::nullopt;
}

Result<Pid> Node::send_name(const ServiceName& name, Term message) {
  const auto found = whereis_service(name);
  if (!found) return std::unexpected(found.error());
  if (auto sent = send(found->pid, std::move(message)); !sent) return std::unexpected(sent.error());
  return found->pid;
}

Subscription Node::subscribe_services(std::function<void(const ServiceEvent&)> callback) {
  return parts_->services ? parts_->services->service_events().add(std::move(callback)) : Subscription();
}

void Node::subscribe_services(const Pid& process) {
  if (parts_->services) parts_->services->service_pids().add(process);
}

void Node::unsubscribe_services(const Pid& process) {
  if (parts_->services) parts_->services->service_pids().remove(process);
}

Result<ServiceStatistics> Node::service_statistics() {
  return await<ServiceStatistics>(*parts_, [&](auto done) { parts_->services->service_statistics(std::move(done)); });
}

Result<RegistryAudit> Node::verify_registry() {
  return await<RegistryAudit>(*parts_, [&](auto done) { parts_->services->verify(std::move(done)); });
}

// Maps.

Result<void> Node::new_map(const Atom& map, MapOptions options) {
  return await<void>(*parts_, [&](auto done) { parts_->services->open_map(map, std::move(options), std::move(done)); });
}

Result<void> Node::delete_map(const Atom& map) {
  return await<void>(*parts_, [&](auto done) { parts_->services->delete_map(map, std::move(done)); });
}

Result<void> Node::map_put(const Atom& map, const Term& key, const Term& value) {
  return await<void>(*parts_, [&](auto done) { parts_->services->put(map, key, value, std::move(done)); });
}

void Node::map_put(const Atom& map, const Term& key, const Term& value, std::function<void(Result<void>)> done) {
  if (!parts_->services) return refuse(*parts_, std::move(done), no_member());
  parts_->services->put(map, key, value, std::move(done));
}

Result<void> Node::map_put_many(const Atom& map, std::vector<TermPair> pairs) {
  return await<void>(*parts_, [&](auto done) { parts_->services->put_many(map, std::move(pairs), std::move(done)); });
}

void Node::map_put_many(const Atom& map, std::vector<TermPair> pairs, std::function<void(Result<void>)> done) {
  if (!parts_->services) return refuse(*parts_, std::move(done), no_member());
  parts_->services->put_many(map, std::move(pairs), std::move(done));
}

Result<void> Node::map_remove(const Atom& map, const Term& key) {
  return await<void>(*parts_, [&](auto done) { parts_->services->remove(map, key, std::move(done)); });
}

void Node::map_remove(const Atom& map, const Term& key, std::function<void(Result<void>)> done) {
  if (!parts_->services) return refuse(*parts_, std::move(done), no_member());
  parts_->services->remove(map, key, std::move(done));
}

Result<Term> Node::map_get(const Atom& map, const Term& key) const {
  std::optional<Term> value;
  const auto take = [&](const Term& there) { value = there; };
  if (!parts_->services || !parts_->services->maps().read(map, key, take)) return no_such_map(map);
  if (!value) return fail(Errc::not_found, "the map " + map.string() + " has no key " + node::key_text(key));
  return std::move(*value);
}

std::vector<Term> Node::map_keys(const Atom& map) const {
  std::vector<Term> keys;
  if (!parts_->services) return keys;
  parts_->services->maps().each(map, [&](const Term& key, const Term& /*value*/) { keys.push_back(key); });
  return keys;
}

std::vector<TermPair> Node::map_to_list(const Atom& map) const {
  std::vector<TermPair> pairs;
  if (!parts_->services) return pairs;
  parts_->services->maps().each(map, [&](const Term& key, const Term& value) { pairs.emplace_back(key, value); });
  return pairs;
}

std::size_t Node::map_size(const Atom& map) const { return parts_->services ? parts_->services->maps().size(map) : 0; }

std::vector<Atom> Node::maps() const {
  return parts_->services ? parts_->services->maps().names() : std::vector<Atom>();
}

Result<MapStatistics> Node::map_statistics(const Atom& map) {
  return await<MapStatistics>(*parts_, [&](auto done) { parts_->services->map_statistics(map, std::move(done)); });
}

Result<Subscription> Node::subscribe_map(const Atom& map, std::function<void(const MapEvent&)> callback) {
  const auto audience = parts_->services ? parts_->services->maps().audience(map) : nullptr;
  if (audience == nullptr) return no_such_map(map);
  return audience->subscribers.add(std::move(callback));
}

Result<void> Node::subscribe_map(const Atom& map, const Pid& process) {
  const auto audience = parts_->services ? parts_->services->maps().audience(map) : nullptr;
  if (audience == nullptr) return no_such_map(map);
  audience->pids.add(process);
  return {};
}

Result<void> Node::unsubscribe_map(const Atom& map, const Pid& process) {
  const auto audience = parts_->services ? parts_->services->maps().audience(map) : nullptr;
  if (audience == nullptr) return no_such_map(map);
  audience->pids.remove(process);
  return {};
}

Result<Replication> Node::replicate(const Atom& name, std::shared_ptr<ReplicatedType> type) {
  if (name.text().empty() || name.text().starts_with("barrel_p2p_")) {
    return fail(Errc::invalid_argument, "names that begin with barrel_p2p_ are the library's: choose another one");
  }
  auto added =
      await<void>(*parts_, [&](auto done) { parts_->services->add_type(name, std::move(type), std::move(done)); });
  if (!added) return std::unexpected(added.error());
  auto send = [gate = parts_->services->gate(), name](const Term& change) {
    return gate->with([&](node::ServicesRunner* services) -> Result<void> {
      return services != nullptr ? services->broadcast_change(name, change) : fail(Errc::stopped, "the node is gone");
    });
  };
  auto end = [gate = parts_->services->gate(), name] {
    gate->with([&](node::ServicesRunner* services) {
      if (services == nullptr) return;
      if (services->is_current()) return services->remove_type(name, {});
      std::ignore = node::wait_for<void>([&](auto done) { services->remove_type(name, std::move(done)); });
    });
  };
  return Replication(std::move(send), std::move(end));
}

}  // namespace v0
}  // namespace barrel_p2p
