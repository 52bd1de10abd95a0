// A node that stops, or has stopped, answers whatever it is asked; and so does one that is asked where nobody may wait.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "node/services_support.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::Cluster;
using test::patience;
using test::spawn_idle;
using test::word_of;
using WordsOfCalls = std::map<std::string, std::string>;

const NodeName absent("nobody@127.0.0.1");
const Atom map("m");

MapOptions durable() {
  MapOptions options;
  options.persist = true;
  return options;
}

/// A type that keeps nothing.
class Empty : public ReplicatedType {
 public:
  void merge(const NodeName& /*from*/, const Term& /*change*/) override {}
  void merge_state(const NodeName& /*from*/, const Term& /*state*/) override {}
  [[nodiscard]] std::optional<Term> state() const override { return std::nullopt; }
};

/// What waits for a thread of the node, or for a process: each says `stopped` on one that has stopped.
std::map<std::string, std::function<std::string(Node&)>> waiting_calls() {
  std::map<std::string, std::function<std::string(Node&)>> calls;
  calls["connect"] = [](Node& node) { return word_of(node.connect(absent, 2 * patience)); };
  calls["ping"] = [](Node& node) { return word_of(node.ping(absent, 2 * patience)); };
  calls["migrate_peer"] = [](Node& node) { return word_of(node.migrate_peer(absent)); };
  calls["path_stats"] = [](Node& node) { return word_of(node.path_stats(absent)); };
  calls["joined"] = [](Node& node) { return word_of(node.joined(2, 2 * patience)); };
  calls["register_service"] = [](Node& node) { return word_of(node.register_service("s", Pid{})); };
  calls["resolve"] = [](Node& node) { return word_of(node.resolve("never", 2 * patience)); };
  calls["verify_registry"] = [](Node& node) { return word_of(node.verify_registry()); };
  calls["service_statistics"] = [](Node& node) { return word_of(node.service_statistics()); };
  calls["get_proxy"] = [](Node& node) { return word_of(node.get_proxy("s")); };
  calls["global_register"] = [](Node& node) { return word_of(node.global_register("s", 2 * patience)); };
  calls["start_service_holder"] = [](Node& node) { return word_of(node.start_service_holder("held")); };
  calls["placement_issues"] = [](Node& node) { return word_of(node.placement_issues()); };
  calls["lead"] = [](Node& node) { return word_of(node.lead("job", Pid{})); };
  calls["lead with callbacks"] = [](Node& node) {
    return word_of(node.lead("job", LeadOptions{}, OnElected{}, OnRevoked{}));
  };
  calls["set_priority"] = [](Node& node) { return word_of(node.set_priority("job", Pid{}, 1)); };
  calls["new_map"] = [](Node& node) { return word_of(node.new_map("other")); };
  calls["new_map on disk"] = [](Node& node) { return word_of(node.new_map("on disk", durable())); };
  calls["delete_map"] = [](Node& node) { return word_of(node.delete_map("on disk")); };
  calls["map_put"] = [](Node& node) { return word_of(node.map_put(map, 1, 1)); };
  calls["map_put_many"] = [](Node& node) { return word_of(node.map_put_many(map, {{1, 1}})); };
  calls["map_remove"] = [](Node& node) { return word_of(node.map_remove(map, 1)); };
  calls["map_statistics"] = [](Node& node) { return word_of(node.map_statistics(map)); };
  calls["remind"] = [](Node& node) { return word_of(node.remind("r", std::chrono::system_clock::now() + 1h, 1)); };
  calls["remind_after"] = [](Node& node) { return word_of(node.remind_after("r", 1h, 1)); };
  calls["cancel_reminder"] = [](Node& node) { return word_of(node.cancel_reminder("r")); };
  calls["find_reminder"] = [](Node& node) { return word_of(node.find_reminder("r")); };
  calls["reminder_statistics"] = [](Node& node) { return word_of(node.reminder_statistics()); };
  calls["open_stream"] = [](Node& node) { return word_of(node.open_stream(absent, "tag", 2 * patience)); };
  calls["replicate"] = [](Node& node) { return word_of(node.replicate("empty", std::make_shared<Empty>())); };
  calls["call"] = [](Node& node) { return word_of(node.call("anybody", 1, 2 * patience)); };
  calls["call_function"] = [](Node& node) {
    return word_of(node.call_function(absent, "erlang", "node", {}, 2 * patience));
  };
  calls["run_function"] = [](Node& node) {
    const auto outcome = node.run_function(absent, RemoteFunction("erlang", "node"), 2 * patience);
    if (outcome.kind == CallOutcome::Kind::refused) return to_text(outcome.value);
    return word_of(outcome.result());
  };
  return calls;
}

/// The same for those that take a callback.
std::map<std::string, std::function<void(Node&, std::function<void(std::string)>)>> calls_with_callbacks() {
  using Told = std::function<void(std::string)>;
  const auto tell = [](const Told& told) { return [told](const auto& result) { told(word_of(result)); }; };
  std::map<std::string, std::function<void(Node&, Told)>> calls;
  calls["connect"] = [=](Node& node, const Told& told) { node.connect(absent, tell(told)); };
  calls["migrate_peer"] = [=](Node& node, const Told& told) { node.migrate_peer(absent, {}, tell(told)); };
  calls["path_stats"] = [=](Node& node, const Told& told) { node.path_stats(absent, tell(told)); };
  calls["register_service"] = [=](Node& node, const Told& told) {
    node.register_service("s", Pid{}, Term::map({}), {}, tell(told));
  };
  calls["unregister_service"] = [=](Node& node, const Told& told) { node.unregister_service("s", tell(told)); };
  calls["whereis_service"] = [=](Node& node, const Told& told) { node.whereis_service("never", {}, tell(told)); };
  calls["resolve"] = [=](Node& node, const Told& told) { node.resolve("never", 2 * patience, {}, tell(told)); };
  calls["lead"] = [=](Node& node, const Told& told) { node.lead("job", Pid{}, {}, tell(told)); };
  calls["resign"] = [=](Node& node, const Told& told) { node.resign("job", std::nullopt, tell(told)); };
  calls["map_put"] = [=](Node& node, const Told& told) { node.map_put(map, 1, 1, tell(told)); };
  calls["map_put_many"] = [=](Node& node, const Told& told) { node.map_put_many(map, {{1, 1}}, tell(told)); };
  calls["map_remove"] = [=](Node& node, const Told& told) { node.map_remove(map, 1, tell(told)); };
  calls["remind"] = [=](Node& node, const Told& told) {
    node.remind("r", std::chrono::system_clock::now() + 1h, 1, tell(told));
  };
  calls["remind_after"] = [=](Node& node, const Told& told) { node.remind_after("r", 1h, 1, tell(told)); };
  calls["cancel_reminder"] = [=](Node& node, const Told& told) { node.cancel_reminder("r", tell(told)); };
  calls["open_stream"] = [=](Node& node, const Told& told) { node.open_stream(absent, "tag", tell(told)); };
  return calls;
}

/// What the callback is told, or `within the call`.
std::string word_told(const std::function<void(std::function<void(std::string)>)>& call) {
  auto told = std::make_shared<std::promise<std::string>>();
  auto word = told->get_future();
  call([told, caller = std::this_thread::get_id()](std::string said) {
    told->set_value(std::this_thread::get_id() == caller ? "within the call" : std::move(said));
  });
  return word.get();
}

}  // namespace

TEST(Refusals, of_a_hidden_node_come_after_the_call) {
  Cluster cluster;
  Node& node = cluster.start("a", [](NodeConfig& config) { config.hidden = true; });
  for (const auto& [what, call] : calls_with_callbacks()) {
    if (what == "whereis_service") continue;  // answers within the call where it can
    const std::string word = word_told([&](auto told) { call(node, std::move(told)); });
    const bool of_network =
        what == "connect" || what == "open_stream" || what == "migrate_peer" || what == "path_stats";
    const bool as_it_should = of_network ? word == "unreachable" || word == "not_connected" : word == "invalid_config";
    EXPECT_TRUE(as_it_should) << what << ": " << word;
  }
}

TEST(Refusals, of_what_cannot_be_come_after_the_call) {
  Cluster cluster;
  Node& node = cluster.start("a");
  EXPECT_EQ(word_told([&](auto told) {
              node.open_stream(absent, "", [told](const Result<Stream>& stream) { told(word_of(stream)); });
            }),
            "invalid_argument");
  EXPECT_EQ(word_told([&](auto told) {
              MigrateOptions options;
              options.timeout = 0ms;
              node.migrate_peer(absent, options, [told](const Result<void>& moved) { told(word_of(moved)); });
            }),
            "invalid_argument");
}

TEST(Refusals, of_a_full_queue_come_after_the_call_but_to_who_waits) {
  constexpr std::size_t queue_bytes = 64UL * 1024;
  constexpr int calls = 200;
  const Term kilobyte = Term::binary(Bytes(1024));
  Cluster cluster;
  Node& node = cluster.start("a", [](NodeConfig& config) { config.limits.cluster_queue_bytes_max = queue_bytes; });
  ASSERT_TRUE(node.new_map(map).has_value());
  std::promise<void> held;
  std::promise<void> release;
  std::once_flag once;
  const auto hold = node.subscribe_map(map, [&](const MapEvent& /*event*/) {
    std::call_once(once, [&] {
      held.set_value();
      release.get_future().wait();
    });
  });
  ASSERT_TRUE(hold.has_value());
  node.map_put(map, "first", 1, [](const Result<void>& /*put*/) {});
  held.get_future().wait();
  test::Lines told;
  std::atomic<int> within = 0;
  for (int key = 0; key < calls; ++key) {
    node.map_put(map, key, kilobyte, [&, caller = std::this_thread::get_id()](const Result<void>& put) {
      if (std::this_thread::get_id() == caller) ++within;
      told.add(word_of(put));
    });
  }
  EXPECT_EQ(within, 0);
  EXPECT_EQ(word_of(node.map_put(map, "last", kilobyte)), "overloaded");
  release.set_value();
  std::map<std::string, int> words;
  for (int call = 0; call < calls; ++call) ++words[told.next()];
  EXPECT_GT(words["ok"], 0);
  EXPECT_EQ(words["ok"] + words["overloaded"], calls);
  EXPECT_GT(words["overloaded"], 0);
  EXPECT_EQ(within, 0);
}

TEST(Stopping, what_waits_says_that_the_node_has_stopped) {
  Cluster cluster;
  Node& node = cluster.start("a");
  ASSERT_TRUE(node.new_map(map).has_value());
  node.stop();
  for (const auto& [what, call] : waiting_calls()) EXPECT_EQ(call(node), "stopped") << what;
  for (const auto& [what, call] : calls_with_callbacks()) {
    auto words = std::make_shared<test::Lines>();
    call(node, [words](std::string word) { words->add(std::move(word)); });
    EXPECT_EQ(words->next(0s), "stopped") << what;
    EXPECT_EQ(words->next(0s), "nothing") << what << ": once";
  }
}

TEST(Stopping, all_else_does_no_harm_on_a_node_that_has_stopped) {
  Cluster cluster;
  Node& node = cluster.start("a");
  ASSERT_TRUE(node.new_map(map).has_value());
  ASSERT_TRUE(node.map_put(map, 1, "one").has_value());
  const Pid pid = spawn_idle(node);
  node.stop();
  node.stop();
  EXPECT_EQ(node.name().text(), "a@127.0.0.1");
  EXPECT_NE(node.port(), 0);
  EXPECT_NE(node.creation(), 0U);
  EXPECT_GT(node.detection_worst_case(), 0ms);
  node.disconnect(absent);
  EXPECT_TRUE(node.nodes().empty());
  EXPECT_TRUE(node.peers().empty());
  const auto nodes = node.monitor_nodes([](const NodeEvent&) {});
  const auto paths = node.monitor_paths([](const PathEvent&) {});
  EXPECT_EQ(word_of(node.set_connect_options(absent, {})), "ok");
  EXPECT_EQ(word_of(node.join(absent)), "stopped");
  node.leave();
  EXPECT_TRUE(node.active_view().empty());
  EXPECT_TRUE(node.passive_view().empty());
  node.subscribe(pid);
  node.unsubscribe(pid);
  const auto membership = node.subscribe([](const MembershipEvent&) {});
  EXPECT_EQ(word_of(node.broadcast("tag", 1)), "stopped");
  const auto broadcasts = node.subscribe_broadcast("tag", [](const Term&) {});
  node.subscribe_broadcast(pid);
  node.unsubscribe_broadcast(pid);
  std::ignore = node.members();
  node.block_peers({absent});
  node.unblock_peers();
  std::ignore = node.overlay_statistics();
  EXPECT_FALSE(node.unregister_service("s"));
  EXPECT_EQ(word_of(node.lookup("s")), "not_found");
  EXPECT_EQ(word_of(node.lookup_local("s")), "not_found");
  EXPECT_TRUE(node.list_services().empty());
  EXPECT_EQ(word_of(node.whereis_service("s")), "stopped");
  const auto services = node.subscribe_services([](const ServiceEvent&) {});
  node.subscribe_services(pid);
  node.unsubscribe_services(pid);
  EXPECT_FALSE(node.stop_proxy("s"));
  node.stop_service_holder(pid);
  EXPECT_FALSE(node.register_name("s", pid));
  node.unregister_name("s");
  EXPECT_FALSE(node.whereis_name("s").has_value());
  EXPECT_EQ(word_of(node.send_name("s", 1)), "stopped");
  EXPECT_LT(node.partition("key"), node.ring_size());
  std::ignore = node.place("key");
  std::ignore = node.partition_owner(0);
  std::ignore = node.owners("key", 2);
  std::ignore = node.is_owner("key");
  std::ignore = node.owns_partition(0);
  std::ignore = node.owned_partitions();
  std::ignore = node.placement_diff({absent});
  const auto shards = node.subscribe_shard([](const ShardEvent&) {});
  node.subscribe_shard(pid);
  node.unsubscribe_shard(pid);
  EXPECT_FALSE(node.resign("job"));
  EXPECT_EQ(word_of(node.leader("job")), "no_leader");
  EXPECT_FALSE(node.is_leader("job"));
  EXPECT_EQ(word_of(node.fence("job")), "not_leader");
  EXPECT_EQ(node.map_get<std::string>(map, 1).value(), "one") << "the copy is there";
  EXPECT_EQ(node.map_keys(map).size(), 1U);
  EXPECT_EQ(node.map_to_list(map).size(), 1U);
  EXPECT_EQ(node.map_size(map), 1U);
  EXPECT_EQ(node.maps(), std::vector<Atom>{map});
  const auto changes = node.subscribe_map(map, [](const MapEvent&) {});
  EXPECT_EQ(word_of(node.subscribe_map(map, pid)), "ok");
  EXPECT_EQ(word_of(node.unsubscribe_map(map, pid)), "ok");
  const auto reminders = node.subscribe_reminders([](const ReminderEvent&) {});
  node.subscribe_reminders(pid);
  node.unsubscribe_reminders(pid);
  EXPECT_EQ(word_of(node.accept_streams("tag")), "stopped");
  EXPECT_EQ(word_of(node.accept_streams("tag", [](Stream) {})), "stopped");
  EXPECT_EQ(word_of(node.accept_streams("tag", [](Process&, Stream) -> Task<> { co_return; })), "stopped");
  const Pid late = spawn_idle(node);
  EXPECT_FALSE(node.is_alive(late));
  std::ignore = node.send(pid, 1);
  EXPECT_EQ(word_of(node.send("anybody", 1)), "noproc");
  std::ignore = node.multicast({pid, late}, 1);
  node.exit(pid, Atom("kill"));
  EXPECT_EQ(word_of(node.register_process("late", late)), "noproc");
  EXPECT_FALSE(node.unregister_process("late"));
  EXPECT_FALSE(node.whereis("late").has_value());
  EXPECT_EQ(word_of(node.cast("anybody", 1)), "noproc");
  node.export_function("module", "function", [](const std::vector<Term>&) -> Result<Term> { return Term(1); });
  const std::string key(64, '7');
  EXPECT_EQ(node.public_key().size(), 64U);
  EXPECT_EQ(node.fingerprint().size(), 64U);
  std::ignore = node.keys();
  EXPECT_EQ(word_of(node.pin(absent, key)), "ok");
  EXPECT_EQ(word_of(node.pin_next(absent, node.public_key())), "ok");
  EXPECT_EQ(word_of(node.unpin(absent)), "ok");
  node.set_trust_mode(TrustMode::tofu);
  EXPECT_EQ(node.trust_mode(), TrustMode::tofu);
  EXPECT_EQ(word_of(node.revoke(key)), "ok");
  EXPECT_EQ(node.revoked_keys(), std::vector<std::string>{key});
  EXPECT_EQ(word_of(node.unrevoke(key)), "ok");
  EXPECT_EQ(word_of(node.prepare_identity()), "ok");
  EXPECT_EQ(word_of(node.rotate_identity()), "ok");
  EXPECT_EQ(word_of(node.rotate_certificate()), "ok");
  EXPECT_EQ(word_of(node.reload_keys()), "ok");
  std::ignore = node.statistics();
  EXPECT_EQ(node.admin_port(), 0);
  EXPECT_FALSE(node.health().ready);
  std::ignore = node.flight_record();
  node.set_draining();
  NodeConfig config = cluster.config("a");
  EXPECT_EQ(word_of(node.reload(config)), "ok");
}

// Each on a thread of its own, over and over until it is told: whatever comes between is one of the moments of a stop.
TEST(Stopping, what_is_asked_while_the_node_stops_is_answered) {
  Cluster cluster;
  Node& node = cluster.start("a");
  ASSERT_TRUE(node.new_map(map).has_value());
  const auto calls = waiting_calls();
  std::vector<std::thread> threads;
  std::atomic<std::size_t> called{0};
  const auto repeat = [&](const auto& call) {
    std::string word = call();
    called.fetch_add(1);
    while (word != "stopped") word = call();
  };
  std::size_t may_wait = 0;
  for (const auto& [what, call] : calls) {
    // These are answered by the stop alone.
    if (what == "joined" || what == "resolve") ++may_wait;
    threads.emplace_back([&] { repeat([&] { return call(node); }); });
  }
  for (const auto& [what, call] : calls_with_callbacks()) {
    if (what == "resolve") ++may_wait;
    threads.emplace_back([&, call = call] {
      repeat([&] {
        const auto told = std::make_shared<std::promise<std::string>>();
        call(node, [told](std::string word) { told->set_value(std::move(word)); });
        return told->get_future().get();
      });
    });
  }
  EXPECT_TRUE(test::becomes_true([&] { return called >= threads.size() - may_wait; }));
  node.stop();
  for (auto& thread : threads) thread.join();
}

// Where nobody may wait.

TEST(Waiting, a_callback_of_the_cluster_thread_is_told_that_it_must_not) {
  Cluster cluster;
  Node& node = cluster.start("a");
  ASSERT_TRUE(node.new_map(map).has_value());
  std::promise<WordsOfCalls> told;
  const auto subscription = node.subscribe_map(map, [&](const MapEvent& /*event*/) {
    WordsOfCalls words;
    for (const auto& [what, call] : waiting_calls()) words[what] = call(node);
    EXPECT_TRUE(node.joined(1).has_value()) << "that waits for nothing";
    EXPECT_FALSE(node.unregister_service("s"));
    EXPECT_FALSE(node.resign("job"));
    told.set_value(std::move(words));
  });
  ASSERT_TRUE(subscription.has_value());
  ASSERT_TRUE(node.map_put(map, 1, 1).has_value());
  for (const auto& [what, word] : told.get_future().get()) EXPECT_EQ(word, "invalid_argument") << what;
}

TEST(Waiting, a_callback_of_the_network_is_told_that_it_must_not) {
  Cluster cluster;
  Node& node = cluster.start("a");
  ASSERT_TRUE(node.new_map(map).has_value());
  std::promise<WordsOfCalls> told;
  node.connect(absent, [&](const Result<void>& connected) {
    EXPECT_EQ(word_of(connected), "unreachable");
    WordsOfCalls words;
    for (const auto& [what, call] : waiting_calls()) words[what] = call(node);
    EXPECT_TRUE(node.joined(1).has_value()) << "that waits for nothing";
    EXPECT_FALSE(node.unregister_service("s"));
    EXPECT_FALSE(node.resign("job"));
    EXPECT_EQ(node.statistics().connections, 0U) << "what it can do by itself it does";
    told.set_value(std::move(words));
  });
  for (const auto& [what, word] : told.get_future().get()) EXPECT_EQ(word, "invalid_argument") << what;
}

TEST(Waiting, a_process_may_although_it_holds_up_its_worker) {
  Cluster cluster;
  Node& node = cluster.start("a");
  ASSERT_TRUE(node.new_map(map).has_value());
  std::promise<std::pair<std::string, std::string>> told;
  node.spawn([&](Process& /*self*/) -> Task<> {
    told.set_value({word_of(node.map_put(map, 1, 1)), word_of(node.path_stats(absent))});
    co_return;
  });
  EXPECT_EQ(told.get_future().get(), std::pair(std::string("ok"), std::string("not_connected")));
}

TEST(Waiting, only_processes_of_this_node_are_known_to_be_alive) {
  Cluster cluster;
  Node& a = cluster.start("a");
  Node& b = cluster.start("b");
  const Pid pid = spawn_idle(b);
  EXPECT_TRUE(b.is_alive(pid));
  EXPECT_FALSE(a.is_alive(pid)) << "of another node, however alive";
}

}  // namespace barrel_p2p
