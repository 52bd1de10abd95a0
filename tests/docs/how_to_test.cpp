// Code that the documents quote: each piece does one thing that users ask for, and a test shows that it does.
#include <gtest/gtest.h>
#include <algorithm>
#include <barrel_p2p/await.hpp>
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "node/services_support.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::becomes_true;
using test::Cluster;
using test::start_cluster;

/// Where nodes are: a table of the program here, a client of etcd or Consul in earnest.
class Registry {
 public:
  void put(const NodeName& node, std::string address) {
    const std::lock_guard lock(mutex_);
    addresses_[node] = std::move(address);
  }
  Result<std::string> find(const NodeName& node) const {
    const std::lock_guard lock(mutex_);
    const auto found = addresses_.find(node);
    if (found == addresses_.end()) return fail(Errc::not_found, "not in the registry");
    return found->second;
  }

 private:
  mutable std::mutex mutex_;
  std::map<NodeName, std::string> addresses_;
};

/// A node that finds others by the registry, and is found by it.
Result<Node> start_registered(NodeConfig config, Registry& registry) {
  config.discovery_backends = {"registry", "dns"};
  config.discovery_functions["registry"] = [&registry](const NodeName& node) { return registry.find(node); };
  auto node = Node::start(std::move(config));
  if (node) registry.put(node->name(), std::string(node->name().host()) + ":" + std::to_string(node->port()));
  return node;
}

/// Tells of the services whose names begin so.
Subscription watch_services(Node& node, std::string prefix, std::function<void(const ServiceEvent&)> tell) {
  return node.subscribe_services([prefix = std::move(prefix), tell = std::move(tell)](const ServiceEvent& event) {
    if (event.name.text().starts_with(prefix)) tell(event);
  });
}

/// A process that keeps a worker alive and registered as a service: it starts it, waits for its end, starts it again.
ProcessFunction supervise(Node& node, ServiceName name, ProcessFunction worker) {
  return [&node, name = std::move(name), worker = std::move(worker)](Process& self) -> Task<> {
    for (;;) {
      const auto started = self.spawn_monitor(worker);
      const Pid pid = started.first;
      const Ref monitor = started.second;
      for (;;) {
        const Result<void> registered = co_await awaited<void>(
            self, [&](const auto& done) { node.register_service(name, pid, Term::map({}), RegisterOptions{}, done); });
        if (registered || registered.error() != Errc::already_registered) break;
        co_await self.sleep(10ms);  // the registration of the worker that ended goes in a moment
      }
      const Matcher is_its_end = [monitor](const Term& message) {
        return message.is_tagged("DOWN", 5) && message[1] == Term(monitor);
      };
      (void)co_await self.receive(is_its_end);
      co_await self.sleep(100ms);  // one that fails at once does not take the processor with it
    }
  };
}

/// The instance that a certain node registered.
std::optional<Pid> instance_on(const Node& node, const ServiceName& name, const NodeName& where) {
  const auto all = node.lookup(name);
  if (!all) return std::nullopt;
  const auto found = std::ranges::find(*all, where, &ServiceEntry::node);
  return found == all->end() ? std::nullopt : std::optional(found->pid);
}

/// The instance with the least load by its own word; nothing while there is none.
std::optional<Pid> least_loaded(const Node& node, const ServiceName& name) {
  const auto all = node.lookup(name);
  if (!all) return std::nullopt;
  const auto load = [](const ServiceEntry& entry) {
    return entry.meta.get<int>(Atom("load")).value_or(std::numeric_limits<int>::max());
  };
  return std::ranges::min_element(*all, {}, load)->pid;
}

/// Asks a service that may be missing, slow or just gone, and goes on without it.
Term price_of(Node& node, const Term& item) {
  Term unknown = Atom("unknown");
  const auto pricing = least_loaded(node, "pricing");
  if (!pricing) return unknown;
  const auto price = node.call(*pricing, item, 500ms);
  return price ? *price : unknown;
}

/// What was computed about a service, kept until something happens to the service.
class Cache {
 public:
  using Compute = std::function<std::string(const ServiceEntry&)>;

  Cache(Node& node, Compute compute)
      : node_(node), compute_(std::move(compute)), subscription_(node.subscribe_services([this](const auto& event) {
          const std::lock_guard lock(mutex_);
          known_.erase(std::string(event.name.text()));
        })) {}

  std::optional<std::string> find(const std::string& name) {
    const std::lock_guard lock(mutex_);
    if (const auto known = known_.find(name); known != known_.end()) return known->second;
    const auto all = node_.lookup(name);  // reads a copy: it does not wait for the thread that calls us back
    if (!all) return std::nullopt;
    return known_[name] = compute_(all->front());
  }

 private:
  Node& node_;
  Compute compute_;
  std::mutex mutex_;
  std::map<std::string, std::string> known_;
  Subscription subscription_;  ///< The first to go.
};

/// Moves the connection to a peer to another path when its round trips are longer than that. True: it has moved.
Result<bool> leave_slow_path(Node& node, const NodeName& peer, std::chrono::microseconds longest) {
  const auto path = node.path_stats(peer);
  if (!path) return std::unexpected(path.error());
  if (!path->dialled || path->smoothed_rtt <= longest) return false;  // only the side that dialled can move
  const auto moved = node.migrate_peer(peer);
  if (!moved) return std::unexpected(moved.error());
  return true;
}

/// Does what reminders ask for, once per key and fence. In a program `done_` is a table beside what the work changes,
/// and both are written in one transaction.
class OnceOnly {
 public:
  explicit OnceOnly(std::function<void(const ReminderEvent&)> work) : work_(std::move(work)) {}
  void operator()(const ReminderEvent& event) {
    if (done_.emplace(to_text(event.key), event.fence).second) work_(event);
  }

 private:
  std::function<void(const ReminderEvent&)> work_;
  std::set<std::pair<std::string, Fence>> done_;
};

struct Pricing : Server {
  Task<std::optional<Term>> handle_call(Process& /*self*/, Term /*item*/, CallFrom /*from*/) override {
    co_return std::optional<Term>(42);
  }
};

TEST(HowTo, events_of_services_are_filtered_by_the_callback) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 1);
  test::Lines heard;
  const auto watch =
      watch_services(*nodes[0], "room_", [&](const ServiceEvent& event) { heard.add(std::string(event.name.text())); });
  const Pid process = test::spawn_idle(*nodes[0]);
  ASSERT_TRUE(nodes[0]->register_service("worker", process).has_value());
  ASSERT_TRUE(nodes[0]->register_service("room_lobby", process).has_value());
  EXPECT_EQ(heard.next(), "room_lobby") << "and not the worker, which came first";
}

TEST(HowTo, a_worker_that_ended_is_started_again_and_found_on_every_node) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  const ProcessFunction worker = [](Process& self) -> Task<> { (void)co_await self.receive(); };
  nodes[0]->spawn(supervise(*nodes[0], "worker", worker));
  const auto first = nodes[1]->resolve("worker", test::patience);
  ASSERT_TRUE(first.has_value());
  ASSERT_TRUE(nodes[1]->send(first->pid, Atom("end")).has_value());
  EXPECT_TRUE(becomes_true([&] {
    const auto now = nodes[1]->lookup("worker");
    return now && now->front().pid != first->pid;
  }));
}

TEST(HowTo, the_instance_of_a_certain_node_is_found_by_its_entry) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  const Pid here = test::spawn_idle(*nodes[0]);
  const Pid there = test::spawn_idle(*nodes[1]);
  ASSERT_TRUE(nodes[0]->register_service("worker", here).has_value());
  ASSERT_TRUE(nodes[1]->register_service("worker", there).has_value());
  EXPECT_TRUE(becomes_true([&] { return instance_on(*nodes[0], "worker", nodes[1]->name()) == there; }));
  EXPECT_EQ(instance_on(*nodes[0], "worker", nodes[0]->name()), here);
  EXPECT_EQ(instance_on(*nodes[0], "worker", NodeName("nobody@127.0.0.1")), std::nullopt);
}

TEST(HowTo, the_least_loaded_instance_is_asked_and_a_missing_service_is_done_without) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  EXPECT_EQ(price_of(*nodes[0], "tea"), Term(Atom("unknown")));
  const auto load = [](int percent) { return Term::map({{Atom("load"), percent}}); };
  const Pid busy = test::spawn_idle(*nodes[0]);  // it would never answer
  const Pid free = nodes[1]->spawn(serve([] { return std::make_unique<Pricing>(); }));
  ASSERT_TRUE(nodes[0]->register_service("pricing", busy, load(90)).has_value());
  ASSERT_TRUE(nodes[1]->register_service("pricing", free, load(10)).has_value());
  ASSERT_TRUE(becomes_true([&] { return least_loaded(*nodes[0], "pricing") == free; }));
  EXPECT_TRUE(becomes_true([&] { return price_of(*nodes[0], "tea") == Term(42); }));
}

TEST(HowTo, a_cache_is_cleared_by_the_events_of_services) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  Cache cache(*nodes[0], [](const ServiceEntry& entry) { return to_text(entry.meta); });
  EXPECT_EQ(cache.find("worker"), std::nullopt);
  const Pid process = test::spawn_idle(*nodes[1]);
  ASSERT_TRUE(nodes[1]->register_service("worker", process, Term::map({{Atom("version"), 1}})).has_value());
  EXPECT_TRUE(becomes_true([&] { return cache.find("worker") == "#{version => 1}"; }));
  ASSERT_TRUE(nodes[1]->unregister_service("worker"));
  ASSERT_TRUE(nodes[1]->register_service("worker", process, Term::map({{Atom("version"), 2}})).has_value());
  EXPECT_TRUE(becomes_true([&] { return cache.find("worker") == "#{version => 2}"; }));
}

TEST(HowTo, a_slow_path_is_left_by_the_side_that_dialled) {
  Cluster cluster;
  Node& a = cluster.start("a");
  Node& b = cluster.start("b");
  ASSERT_TRUE(Cluster::connects(a, b));
  ASSERT_TRUE(Cluster::settles(a, b));
  EXPECT_EQ(leave_slow_path(a, b.name(), 1h), Result<bool>(false)) << "nothing is so slow";
  EXPECT_EQ(leave_slow_path(b, a.name(), 0us), Result<bool>(false)) << "it was dialled";
  EXPECT_TRUE(becomes_true([&] { return leave_slow_path(a, b.name(), 0us) == Result<bool>(true); }));
  EXPECT_GE(a.path_stats(b.name()).value().migrations, 1U);
}

TEST(HowTo, a_node_has_the_port_that_its_configuration_names) {
  Cluster cluster;
  const auto listen = [](std::string address, std::uint16_t port) {
    return [address = std::move(address), port](NodeConfig& config) {
      config.listen = address;
      config.port = port;
    };
  };
  const std::uint16_t port = cluster.start("first", listen("127.0.0.7", 0)).port();
  ASSERT_NE(port, 0);
  cluster.stop("first");
  EXPECT_EQ(cluster.start("second", listen("127.0.0.7", port)).port(), port);
}

TEST(HowTo, a_node_whose_keys_came_from_a_backup_is_the_one_that_peers_have_pinned) {
  namespace fs = std::filesystem;
  Cluster cluster;
  Node& b = cluster.start("b");
  Node* a = &cluster.start("a");
  const std::string key = a->public_key();
  ASSERT_TRUE(Cluster::connects(*a, b));
  cluster.stop("a");
  const fs::path backup = cluster.data("backup");
  fs::copy(cluster.data("a") / "keys", backup, fs::copy_options::recursive);
  fs::remove_all(cluster.data("a"));

  a = &cluster.start("a");
  EXPECT_NE(a->public_key(), key);
  EXPECT_FALSE(a->connect(b.name())) << "another key is pinned for its name";
  cluster.stop("a");
  fs::remove_all(cluster.data("a"));
  fs::create_directories(cluster.data("a"));
  fs::copy(backup, cluster.data("a") / "keys", fs::copy_options::recursive);
  a = &cluster.start("a");
  EXPECT_EQ(a->public_key(), key);
  EXPECT_TRUE(Cluster::connects(*a, b));
}

TEST(HowTo, nodes_find_each_other_by_a_registry_of_their_program) {
  Cluster cluster;
  Registry registry;
  auto a = start_registered(cluster.config("a"), registry);
  auto b = start_registered(cluster.config("b"), registry);
  ASSERT_TRUE(a && b);
  EXPECT_FALSE(std::filesystem::exists(cluster.config("a").discovery_dir)) << "no endpoint file is needed";
  EXPECT_TRUE(Cluster::connects(*a, *b));
}

TEST(HowTo, what_a_reminder_asks_for_is_done_once_per_key_and_fence) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 1, [](NodeConfig& config) {
    config.replication.heartbeat = 200ms;  // a node alone tells nothing until a lease is over
    config.replication.lease = 1s;
  });
  int invoices = 0;
  OnceOnly send([&](const ReminderEvent& /*event*/) { ++invoices; });
  std::promise<ReminderEvent> told;
  const auto subscription = nodes[0]->subscribe_reminders([&](const ReminderEvent& event) { told.set_value(event); });
  ASSERT_TRUE(nodes[0]->remind_after("invoice 17", 1ms, "send").has_value());
  ReminderEvent event = told.get_future().get();
  send(event);
  send(event);  // as the next owner tells it when this one crashed meanwhile
  EXPECT_EQ(invoices, 1);
  event.fence = Fence(event.fence.wall() + 1, 0);  // set anew: another term of the same key
  send(event);
  EXPECT_EQ(invoices, 2);
}

}  // namespace
}  // namespace barrel_p2p
