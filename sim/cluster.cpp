// The public test kit over the simulation.
#include <barrel_p2p/sim.hpp>

#include <algorithm>
#include <map>
#include <stdexcept>
#include <utility>

#include "sim/measures.hpp"
#include "sim/simulation.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {
namespace {

/// Callbacks by number, in the order in which they came. A callback may add and cancel callbacks.
template <class Callback>
class Callbacks {
 public:
  std::uint64_t add(Callback callback) {
    entries_.emplace(++last_, std::make_shared<Callback>(std::move(callback)));
    return last_;
  }
  void cancel(std::uint64_t number) { entries_.erase(number); }
  template <class Call>
  void each(const Call& call) const {
    std::vector<std::uint64_t> numbers;
    numbers.reserve(entries_.size());
    for (const auto& entry : entries_) numbers.push_back(entry.first);
    for (const std::uint64_t number : numbers) {
      const auto found = entries_.find(number);
      if (found == entries_.end()) continue;
      const auto keep = found->second;
      call(*keep);
    }
  }

 private:
  std::map<std::uint64_t, std::shared_ptr<Callback>> entries_;
  std::uint64_t last_ = 0;
};

struct BroadcastCallback {
  Atom tag;
  std::function<void(const Term& payload)> call;
};
struct MapCallback {
  Atom map;
  std::function<void(const MapEvent& event)> call;
};
using ServiceCallback = std::function<void(const ServiceEvent& event)>;
using MembershipCallback = std::function<void(const NeighbourEvent& event)>;

SimulationConfig config_of(const ClusterOptions& options) {
  const NetworkOptions& network = options.network;
  if (options.nodes == 0) throw std::invalid_argument("ClusterOptions::nodes must be at least 1");
  if (network.delay_min.count() < 0 || network.delay_max < network.delay_min)
    throw std::invalid_argument("NetworkOptions: 0 <= delay_min <= delay_max must hold");
  if (!(network.loss >= 0 && network.loss <= 0.9))
    throw std::invalid_argument("NetworkOptions::loss must be from 0 to 0.9");
  if (network.dead_after < std::chrono::seconds(1))
    throw std::invalid_argument("NetworkOptions::dead_after must be at least 1 s");
  if (options.active_size == 0 || options.passive_size < options.active_size)
    throw std::invalid_argument("ClusterOptions: 1 <= active_size <= passive_size must hold");
  SimulationConfig config;
  config.seed = options.seed;
  config.codec = true;
  config.network.delay.low = network.delay_min;
  config.network.delay.high = network.delay_max;
  config.network.loss = network.loss;
  config.network.dead_after = network.dead_after;
  constexpr int pings = 4;
  config.network.keep_alive = std::min<SimTime>(config.network.keep_alive, network.dead_after / pings);
  config.overlay.hyparview.active_size = options.active_size;
  config.overlay.hyparview.passive_size = options.passive_size;
  config.services.enabled = options.services;
  return config;
}

NodeIndex index(NodeNumber node) { return static_cast<NodeIndex>(node); }

}  // namespace

struct Cluster::Implementation {
  explicit Implementation(const ClusterOptions& options)
      : simulation(config_of(options)),
        broadcasts(options.nodes),
        memberships(options.nodes),
        services(options.nodes),
        maps(options.nodes),
        lives(options.nodes) {
    for (std::size_t node = 0; node < options.nodes; ++node) simulation.start(simulation.add_node(), {});
    simulation.on_deliver = [this](NodeIndex node, const Term& tag, const Term& payload) {
      broadcasts[node].each([&](const BroadcastCallback& callback) {
        if (tag == Term(callback.tag)) callback.call(payload);
      });
    };
    simulation.on_membership = [this](NodeIndex node, NodeIndex peer, bool up, std::string_view reason) {
      memberships[node].each([&](const MembershipCallback& call) { call({peer, up, std::string(reason)}); });
    };
    listen();
  }

  void listen() {
    if (simulation.services() == nullptr) return;
    simulation.services()->on_effect = [this](NodeIndex node, const services::Effect& effect) {
      if (const auto* service = std::get_if<services::ServiceHappened>(&effect)) {
        services[node].each([&](const ServiceCallback& call) { call(service->event); });
      } else if (const auto* map = std::get_if<services::MapHappened>(&effect)) {
        maps[node].each([&](const MapCallback& callback) {
          if (callback.map == map->event.map) callback.call(map->event);
        });
      }
    };
  }

  [[nodiscard]] ServiceNodes& service_nodes() {
    if (simulation.services() == nullptr)
      throw std::logic_error("ClusterOptions::services is false: the nodes have neither services nor maps");
    return *simulation.services();
  }

  /// A frozen node is looked at again after this.
  static constexpr SimTime freeze_poll = Milliseconds(10);
  void call_later(NodeIndex node, SimTime time, std::uint64_t life, const std::function<void()>& callback) {
    simulation.engine().call_at(time, [this, node, life, callback] {
      if (lives[node] != life || !simulation.engine().is_alive(node)) return;
      if (simulation.is_running(node)) return callback();
      call_later(node, simulation.engine().now() + freeze_poll, life, callback);
    });
  }

  Simulation simulation;
  std::vector<Callbacks<BroadcastCallback>> broadcasts;
  std::vector<Callbacks<MembershipCallback>> memberships;
  std::vector<Callbacks<ServiceCallback>> services;
  std::vector<Callbacks<MapCallback>> maps;
  std::vector<std::uint64_t> lives;  ///< Grows when a process ends.
};

Cluster::Cluster(const ClusterOptions& options) : implementation_(std::make_unique<Implementation>(options)) {}
Cluster::~Cluster() = default;

std::size_t Cluster::size() const noexcept { return implementation_->simulation.size(); }
Atom Cluster::name(NodeNumber node) const { return implementation_->simulation.name_of(index(node)); }

void Cluster::run_for(std::chrono::nanoseconds span) { implementation_->simulation.run_for(span); }

bool Cluster::run_until(const std::function<bool()>& condition, std::chrono::nanoseconds limit) {
  Engine& engine = implementation_->simulation.engine();
  const SimTime end = engine.now() + limit;
  while (!condition()) {
    if (!engine.step(end)) return condition();
  }
  return true;
}

std::chrono::nanoseconds Cluster::now() const noexcept { return implementation_->simulation.engine().now(); }
std::uint64_t Cluster::trace_hash() const noexcept { return implementation_->simulation.engine().trace_hash(); }

void Cluster::join(NodeNumber node, NodeNumber contact) {
  implementation_->simulation.join(index(node), index(contact));
}

void Cluster::join_all(NodeNumber contact) {
  constexpr SimTime interval = Milliseconds(10);
  SimTime wait{};
  for (NodeNumber node = 0; node < size(); ++node) {
    if (node == contact) continue;
    after(node, wait, [this, node, contact] { join(node, contact); });
    wait += interval;
  }
}

void Cluster::leave(NodeNumber node) { implementation_->simulation.leave(index(node)); }

void Cluster::broadcast(NodeNumber node, const Atom& tag, const Term& payload) {
  implementation_->simulation.broadcast(index(node), Term(tag), payload);
}

void Cluster::after(NodeNumber node, std::chrono::nanoseconds span, const std::function<void()>& callback) {
  const SimTime time = now() + span;
  implementation_->call_later(index(node), time, implementation_->lives[node], callback);
}

std::vector<NodeNumber> Cluster::active_view(NodeNumber node) const {
  const auto& view = implementation_->simulation.neighbours(index(node));
  return {view.begin(), view.end()};
}

Subscription Cluster::on_broadcast(NodeNumber node, const Atom& tag,
                                   std::function<void(const Term& payload)> callback) {
  auto& list = implementation_->broadcasts[node];
  const std::uint64_t number = list.add({tag, std::move(callback)});
  return Subscription([&list, number] { list.cancel(number); });
}

Subscription Cluster::on_membership(NodeNumber node, std::function<void(const NeighbourEvent& event)> callback) {
  auto& list = implementation_->memberships[node];
  const std::uint64_t number = list.add(std::move(callback));
  return Subscription([&list, number] { list.cancel(number); });
}

// Services and maps.

Pid Cluster::spawn(NodeNumber node) { return implementation_->service_nodes().spawn(index(node)); }

void Cluster::end_process(NodeNumber node, const Pid& pid, const Term& reason) {
  implementation_->service_nodes().kill(index(node), pid, reason);
}

Result<void> Cluster::register_service(NodeNumber node, const ServiceName& name, const Pid& pid, const Term& meta) {
  return implementation_->service_nodes().register_service(index(node), name, pid, meta, {}, nullptr);
}

bool Cluster::unregister_service(NodeNumber node, const ServiceName& name) {
  return implementation_->service_nodes().unregister_service(index(node), name);
}

std::vector<ServiceEntry> Cluster::lookup(NodeNumber node, const ServiceName& name) const {
  std::vector<ServiceEntry> found;
  for (auto& one : implementation_->service_nodes().machine(index(node)).registry().lookup(name.term()))
    found.push_back({name, one.pid, NodeName(one.node.text()), one.meta});
  return found;
}

std::vector<NodeName> Cluster::members(NodeNumber node) const {
  std::vector<NodeName> found;
  for (const auto& name : implementation_->service_nodes().machine(index(node)).members().members())
    found.emplace_back(name.text());
  return found;
}

Result<void> Cluster::open_map(NodeNumber node, const Atom& map, const MapOptions& options) {
  return implementation_->service_nodes().open_map(index(node), map, options);
}

Result<void> Cluster::map_put(NodeNumber node, const Atom& map, const Term& key, const Term& value,
                              std::function<void(const Result<void>& result)> done) {
  return implementation_->service_nodes().put(index(node), map, key, value, std::move(done));
}

Result<void> Cluster::map_remove(NodeNumber node, const Atom& map, const Term& key,
                                 std::function<void(const Result<void>& result)> done) {
  return implementation_->service_nodes().remove(index(node), map, key, std::move(done));
}

std::optional<Term> Cluster::map_get(NodeNumber node, const Atom& map, const Term& key) const {
  const auto* entries = implementation_->service_nodes().machine(index(node)).maps().find(map);
  const Term* value = entries == nullptr ? nullptr : entries->get(key);
  return value == nullptr ? std::nullopt : std::optional(*value);
}

Subscription Cluster::on_service(NodeNumber node, std::function<void(const ServiceEvent& event)> callback) {
  (void)implementation_->service_nodes();
  auto& list = implementation_->services[node];
  const std::uint64_t number = list.add(std::move(callback));
  return Subscription([&list, number] { list.cancel(number); });
}

Subscription Cluster::on_map(NodeNumber node, const Atom& map, std::function<void(const MapEvent& event)> callback) {
  (void)implementation_->service_nodes();
  auto& list = implementation_->maps[node];
  const std::uint64_t number = list.add({map, std::move(callback)});
  return Subscription([&list, number] { list.cancel(number); });
}

void Cluster::shift_clock(NodeNumber node, std::chrono::milliseconds by) {
  implementation_->service_nodes().shift_clock(index(node), by);
}

void Cluster::break_disk(NodeNumber node, std::chrono::nanoseconds span) {
  implementation_->service_nodes().break_disk(index(node), now() + span);
}

void Cluster::crash(NodeNumber node) {
  ++implementation_->lives[node];
  implementation_->simulation.crash(index(node));
}

void Cluster::stop(NodeNumber node) {
  ++implementation_->lives[node];
  implementation_->simulation.stop(index(node));
}

void Cluster::restart(NodeNumber node) {
  if (implementation_->simulation.engine().is_alive(index(node))) crash(node);
  implementation_->simulation.start(index(node), {});
}

void Cluster::pause(NodeNumber node) { implementation_->simulation.pause(index(node)); }
void Cluster::resume(NodeNumber node) { implementation_->simulation.resume(index(node)); }
bool Cluster::is_running(NodeNumber node) const { return implementation_->simulation.is_running(index(node)); }

void Cluster::partition(const std::vector<std::vector<NodeNumber>>& groups) {
  const std::size_t count = groups.size() + 1;
  std::vector<std::uint16_t> group_of(size(), 0);
  for (std::size_t group = 0; group < groups.size(); ++group) {
    for (const NodeNumber node : groups[group]) group_of[node] = static_cast<std::uint16_t>(group + 1);
  }
  std::vector<bool> reach(count * count);
  for (std::size_t group = 0; group < count; ++group) reach[group * count + group] = true;
  implementation_->simulation.engine().set_reachability(std::move(group_of), std::move(reach));
}

void Cluster::heal() { implementation_->simulation.engine().heal(); }

bool Cluster::is_connected() const {
  Prng random(0);
  return measure_graph(implementation_->simulation, random).components == 1;
}

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
