// Replicated maps on real nodes: written here, read there, kept on disk.
#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <chrono>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "node/services_support.hpp"
#include "replication/store.hpp"
#include "services/services.hpp"
#include "support/resources.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::Cluster;
using test::Collector;
using test::MapLog;
using test::start_cluster;

void open_on_all(const std::vector<Node*>& nodes, const Atom& map, const MapOptions& options = {}) {
  for (Node* node : nodes) {
    if (const auto opened = node->new_map(map, options); !opened) throw std::runtime_error(opened.error().message());
  }
}

TEST(Maps, what_is_put_is_read_here_at_once_and_there_soon) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 3);
  open_on_all(nodes, "config");
  MapLog here(*nodes[0], "config");
  MapLog there(*nodes[2], "config");
  ASSERT_TRUE(nodes[0]->map_put("config", "limit", 100).has_value());
  EXPECT_EQ(nodes[0]->map_get<int>("config", "limit").value(), 100);
  EXPECT_EQ(there.next(), "put <<\"limit\">> 100");
  EXPECT_EQ(nodes[2]->map_get<int>("config", "limit").value(), 100);
  ASSERT_TRUE(nodes[2]->map_put("config", "limit", 200).has_value());
  EXPECT_EQ(here.next(), "put <<\"limit\">> 100");
  EXPECT_EQ(here.next(), "put <<\"limit\">> 200");
  EXPECT_EQ(nodes[0]->map_get<int>("config", "limit").value(), 200);
  ASSERT_TRUE(nodes[0]->map_remove("config", "limit").has_value());
  EXPECT_TRUE(there.until("remove <<\"limit\">>"));
  EXPECT_EQ(nodes[2]->map_get("config", "limit").error(), Errc::not_found);
  EXPECT_EQ(nodes[0]->map_get<std::string>("config", "limit").error(), Errc::not_found);
  EXPECT_EQ(nodes[0]->maps(), std::vector<Atom>{Atom("config")});
}

TEST(Maps, the_largest_entries_that_go_together_are_taken_by_others) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  open_on_all(nodes, "m");
  constexpr std::size_t most = 1024UL * 1024;
  constexpr std::size_t beside = 64;  // the key, and the tags of both
  std::vector<TermPair> pairs;
  for (int key = 0; key < 60; ++key) pairs.emplace_back(key, std::string(900, 'x'));
  pairs.emplace_back(Atom("large"), std::string(most - beside, 'x'));
  ASSERT_TRUE(nodes[0]->map_put_many("m", pairs).has_value());
  EXPECT_TRUE(test::becomes_true([&] { return nodes[1]->map_get<std::string>("m", Atom("large")).has_value(); }));
  EXPECT_EQ(nodes[1]->overlay_statistics().malformed, 0U);
}

TEST(Maps, many_pairs_go_together) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  open_on_all(nodes, "m");
  std::vector<TermPair> pairs;
  constexpr int count = 5000;
  for (int key = 0; key < count; ++key) pairs.emplace_back(key, "value " + std::to_string(key));
  ASSERT_TRUE(nodes[0]->map_put_many("m", pairs).has_value());
  EXPECT_EQ(nodes[0]->map_size("m"), static_cast<std::size_t>(count));
  MapLog log(*nodes[1], "m");
  ASSERT_TRUE(nodes[0]->map_put("m", "end", 1).has_value());
  ASSERT_TRUE(log.until("put <<\"end\">> 1"));
  EXPECT_TRUE(test::eventually(nodes, [&] { return nodes[1]->map_size("m") == count + 1; }));
  EXPECT_EQ(nodes[1]->map_get<std::string>("m", 4711).value(), "value 4711");
  EXPECT_EQ(nodes[1]->map_keys("m").size(), static_cast<std::size_t>(count + 1));
  EXPECT_EQ(nodes[1]->map_to_list("m").size(), static_cast<std::size_t>(count + 1));
}

TEST(Maps, a_map_that_is_opened_late_is_filled_by_the_others) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 3);
  open_on_all({nodes[0], nodes[1]}, "m");
  for (std::size_t key = 0; key < 100; ++key) ASSERT_TRUE(nodes[key % 2]->map_put("m", key, key * key).has_value());
  ASSERT_TRUE(nodes[2]->new_map("m").has_value());
  EXPECT_TRUE(test::eventually(nodes, [&] { return nodes[2]->map_size("m") == 100; }));
  EXPECT_EQ(nodes[2]->map_get<int>("m", 9).value(), 81);
}

TEST(Maps, the_validator_decides_on_both_sides) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  MapOptions numbers;
  numbers.validator = [](const Term& value) {
    if (value.is_atom("throw")) throw std::runtime_error("what a value");
    return value.is_integer();
  };
  ASSERT_TRUE(nodes[0]->new_map("m", numbers).has_value());
  ASSERT_TRUE(nodes[1]->new_map("m").has_value());
  EXPECT_EQ(nodes[0]->map_put("m", 1, "text").error(), Errc::invalid_value);
  EXPECT_EQ(nodes[0]->map_put("m", 1, Atom("throw")).error(), Errc::invalid_value);
  EXPECT_EQ(nodes[0]->map_put_many("m", {{1, 1}, {2, "text"}}).error(), Errc::invalid_value);
  EXPECT_EQ(nodes[0]->map_size("m"), 0U) << "all or none";
  MapLog log(*nodes[0], "m");
  ASSERT_TRUE(nodes[1]->map_put("m", 1, "text").has_value());
  ASSERT_TRUE(nodes[1]->map_put("m", 2, 2).has_value());
  EXPECT_EQ(log.next(), "put 2 2");
  EXPECT_EQ(nodes[0]->map_get("m", 1).error(), Errc::not_found);
  EXPECT_GE(nodes[0]->map_statistics("m")->rejected, 1U);
}

TEST(Maps, errors_say_what_to_do) {
  Cluster cluster;
  Node& node = cluster.start("a");
  EXPECT_EQ(node.map_put("m", 1, 1).error(), Errc::no_such_map);
  EXPECT_EQ(node.map_get("m", 1).error(), Errc::no_such_map);
  EXPECT_EQ(node.subscribe_map("m", [](const MapEvent&) {}).error(), Errc::no_such_map);
  EXPECT_EQ(node.new_map(Atom(std::string(250, 'x'))).error(), Errc::invalid_argument);
  ASSERT_TRUE(node.new_map("m").has_value());
  ASSERT_TRUE(node.new_map("m").has_value()) << "again changes nothing";
  EXPECT_EQ(node.map_get("m", 1).error(), Errc::not_found);
  EXPECT_EQ(node.map_get("m", Term::tuple_of(Atom("k"), 1)).error().context(), "the map m has no key {k,1}");
  EXPECT_EQ(node.map_get("m", std::string(5000, 'k')).error().context(), "the map m has no key of 5005 bytes");
  ASSERT_TRUE(node.map_put("m", 1, "one").has_value());
  EXPECT_EQ(node.map_put("m", 1.0, "one").error(), Errc::already_registered);
  EXPECT_EQ(node.map_get<int>("m", 1).error(), Errc::type_mismatch);
  EXPECT_EQ(node.map_put("m", 2, std::string(2UL * 1024 * 1024, 'x')).error(), Errc::limit_exceeded);
  ASSERT_TRUE(node.delete_map("m").has_value());
  EXPECT_EQ(node.map_get("m", 1).error(), Errc::no_such_map);
  EXPECT_EQ(node.delete_map("m").error(), Errc::no_such_map);
  ASSERT_TRUE(node.new_map("m").has_value());
  EXPECT_EQ(node.map_get("m", 1).error(), Errc::not_found) << "it begins empty";
}

TEST(Maps, a_persistent_map_survives_its_node) {
  Cluster cluster;
  MapOptions durable;
  durable.persist = true;
  {
    Node& node = cluster.start("a");
    ASSERT_TRUE(node.new_map("m", durable).has_value());
    for (int key = 0; key < 100; ++key) ASSERT_TRUE(node.map_put("m", key, "v" + std::to_string(key)).has_value());
    ASSERT_TRUE(node.map_remove("m", 7).has_value());
    ASSERT_TRUE(node.map_put_many("m", {{"x", 1}, {"y", 2}}).has_value());
    cluster.stop("a");
  }
  Node& node = cluster.start("a", [&](NodeConfig& config) { config.replication.maps.push_back({"m", durable}); });
  EXPECT_EQ(node.map_size("m"), 101U);
  EXPECT_EQ(node.map_get<std::string>("m", 42).value(), "v42");
  EXPECT_EQ(node.map_get("m", 7).error(), Errc::not_found);
  EXPECT_EQ(node.map_get<int>("m", "y").value(), 2);
  ASSERT_TRUE(node.delete_map("m").has_value());
  cluster.stop("a");
  Node& third = cluster.start("a");
  ASSERT_TRUE(third.new_map("m", durable).has_value());
  EXPECT_EQ(third.map_size("m"), 0U);
}

TEST(Maps, that_are_deleted_while_others_read_them_from_the_disk_are_empty) {
  Cluster cluster;
  MapOptions durable;
  durable.persist = true;
  constexpr int rounds = 5;
  constexpr int entries = 5000;
  for (int round = 0; round < rounds; ++round) {
    Node& before = cluster.start("a");
    ASSERT_TRUE(before.new_map("m", durable).has_value());
    std::vector<TermPair> pairs;
    for (int key = 0; key < entries; ++key) pairs.emplace_back(key, round);
    ASSERT_TRUE(before.map_put_many("m", std::move(pairs)).has_value());
    cluster.stop("a");

    Node& node = cluster.start("a");
    constexpr int readers = 4;
    std::barrier together(readers);
    std::vector<std::jthread> threads;
    threads.reserve(readers);
    for (int reader = 0; reader < readers; ++reader) {
      threads.emplace_back([&, deletes = reader == 0] {
        together.arrive_and_wait();
        EXPECT_TRUE(node.new_map("m", durable).has_value());
        if (deletes) {
          EXPECT_TRUE(node.delete_map("m").has_value());
        }
      });
    }
    threads.clear();
    ASSERT_TRUE(node.new_map("m", durable).has_value());
    EXPECT_EQ(node.map_size("m"), 0U);
    cluster.stop("a");
  }
}

TEST(Maps, who_asks_an_open_map_for_the_disk_is_told_that_it_is_not_there) {
  Cluster cluster;
  Node& node = cluster.start("a");
  MapOptions durable;
  durable.persist = true;
  ASSERT_TRUE(node.new_map("m").has_value());
  ASSERT_TRUE(node.map_put("m", 1, 1).has_value());
  const auto again = node.new_map("m", durable);
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error(), Errc::already_registered);
  EXPECT_NE(again.error().context().find("persist is false and not true"), std::string::npos)
      << again.error().message();
  EXPECT_EQ(node.map_get<int>("m", 1).value(), 1);
  ASSERT_TRUE(node.delete_map("m").has_value());
  ASSERT_TRUE(node.new_map("m", durable).has_value());
  ASSERT_TRUE(node.new_map("m", durable).has_value()) << "the same";
  ASSERT_TRUE(node.new_map("m").has_value()) << "asks for nothing";
  ASSERT_TRUE(node.map_put("m", 1, 2).has_value());
  cluster.stop("a");
  EXPECT_EQ(cluster.start("a", [&](NodeConfig& config) { config.replication.maps.push_back({"m", durable}); })
                .map_get<int>("m", 1)
                .value(),
            2);
}

TEST(Maps, a_map_of_the_configuration_is_given_its_validator_by_the_program) {
  Cluster cluster;
  MapOptions durable;
  durable.persist = true;
  Node& node = cluster.start("a", [&](NodeConfig& config) {
    config.replication.maps.push_back({"m", durable});
    config.replication.maps.push_back({"fleeting", {}});
  });
  EXPECT_EQ(node.new_map("fleeting", durable).error(), Errc::already_registered);
  MapOptions numbers;
  numbers.validator = [](const Term& value) { return value.is_integer(); };
  ASSERT_TRUE(node.new_map("m", numbers).has_value());
  EXPECT_EQ(node.map_put("m", 1, "text").error(), Errc::invalid_value);
  ASSERT_TRUE(node.map_put("m", 1, 1).has_value());
  numbers.persist = true;
  ASSERT_TRUE(node.new_map("m", numbers).has_value()) << "with all that it is";
  EXPECT_EQ(node.map_put("m", 1, "text").error(), Errc::invalid_value);
}

/// What the stopped node has on disk of another one.
Term known_on_disk(const Cluster& cluster, const std::string& node, const std::string& other) {
  const auto store = replication::DurableStore::open({.directory = cluster.data(node) / "store"});
  if (!store) throw std::runtime_error(store.error().message());
  const auto members = (*store)->value(services::known_members_name);
  const Term* known = members ? members->find(Atom(other)) : nullptr;
  return known == nullptr ? Term() : *known;
}

// Removals wait for it: test_services shows how.
TEST(Maps, who_is_away_is_remembered_over_restarts) {
  Cluster cluster;
  auto nodes = start_cluster(cluster, 2, test::short_leases);
  cluster.stop("n1");
  ASSERT_TRUE(test::eventually({nodes[0]}, [&] { return nodes[0]->members().size() == 1; }));
  cluster.stop("n0");
  EXPECT_NE(known_on_disk(cluster, "n0", "n1@127.0.0.1"), Term());
  cluster.start("n0", test::short_leases);
  cluster.stop("n0");
  const Term known = known_on_disk(cluster, "n0", "n1@127.0.0.1");
  const auto since = known.as_int64();
  ASSERT_TRUE(since.has_value()) << "it has not been heard of since, but it is known as " << to_text(known);
  cluster.start("n0", test::short_leases);
  cluster.stop("n0");
  EXPECT_EQ(known_on_disk(cluster, "n0", "n1@127.0.0.1").as_int64(), since);
}

TEST(Maps, a_second_process_is_told_that_the_store_is_taken) {
  Cluster cluster;
  cluster.start("a");
  NodeConfig config = cluster.config("b");
  config.data_dir = cluster.data("b");
  config.replication.store_dir = cluster.data("a") / "store";
  const auto second = Node::start(config);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error(), Errc::already_registered);
}

TEST(Maps, both_sides_of_a_cut_write_and_agree_afterwards) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  open_on_all(nodes, "m");
  ASSERT_TRUE(nodes[0]->map_put("m", "both", 0).has_value());
  ASSERT_TRUE(nodes[0]->map_put("m", "gone", 0).has_value());
  ASSERT_TRUE(test::eventually(nodes, [&] { return nodes[1]->map_size("m") == 2; }));
  nodes[0]->block_peers({nodes[1]->name()});
  nodes[1]->block_peers({nodes[0]->name()});
  ASSERT_TRUE(nodes[0]->map_put("m", "left", 1).has_value());
  ASSERT_TRUE(nodes[1]->map_put("m", "right", 2).has_value());
  ASSERT_TRUE(nodes[0]->map_put("m", "both", 1).has_value());
  test::wait_for_a_later_stamp();
  ASSERT_TRUE(nodes[1]->map_put("m", "both", 2).has_value());
  ASSERT_TRUE(nodes[1]->map_remove("m", "gone").has_value());
  nodes[0]->unblock_peers();
  nodes[1]->unblock_peers();
  ASSERT_TRUE(nodes[0]->join(nodes[1]->name()).has_value());
  const auto agreed = [&] {
    const auto left = nodes[1]->map_get<int>("m", "left");
    const auto right = nodes[0]->map_get<int>("m", "right");
    return left && right && nodes[0]->map_get<int>("m", "both") == nodes[1]->map_get<int>("m", "both") &&
           nodes[0]->map_size("m") == 3 && nodes[1]->map_size("m") == 3;
  };
  EXPECT_TRUE(test::eventually(nodes, agreed));
  EXPECT_EQ(nodes[0]->map_get<int>("m", "both").value(), 2) << "the later one";
}

TEST(Maps, threads_read_while_others_write) {
  Cluster cluster;
  Node& node = cluster.start("a");
  ASSERT_TRUE(node.new_map("m").has_value());
  ASSERT_TRUE(node.map_put("m", "n", 0).has_value());
  std::atomic<bool> stop{false};
  std::atomic<std::int64_t> backwards{0};
  std::vector<std::thread> readers;
  for (int reader = 0; reader < 2; ++reader) {
    readers.emplace_back([&] {
      std::int64_t last = 0;
      while (!stop) {
        const auto value = node.map_get<std::int64_t>("m", "n").value_or(-1);
        if (value < last) ++backwards;
        last = value;
      }
    });
  }
  for (std::int64_t value = 1; value <= 5000; ++value) ASSERT_TRUE(node.map_put("m", "n", value).has_value());
  stop = true;
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(backwards, 0);
  EXPECT_EQ(node.map_get<std::int64_t>("m", "n").value(), 5000);
}

TEST(Maps, whose_names_come_and_go_leave_nothing_behind) {
  Cluster cluster;
  Node& node = cluster.start("a");
  const auto come_and_go = [&](int from, int to) {
    for (int number = from; number < to; ++number) {
      const Atom map("passing " + std::to_string(number));
      ASSERT_TRUE(node.new_map(map).has_value());
      ASSERT_TRUE(node.delete_map(map).has_value());
    }
  };
  come_and_go(0, 200);
  const auto atoms = node.statistics().atoms;
  const auto heap = test::resources().heap_bytes;
  come_and_go(200, 2000);
  EXPECT_LT(node.statistics().atoms, atoms + 100);
  EXPECT_LT(test::resources().heap_bytes, heap + 2 * 1024 * 1024);
  EXPECT_EQ(node.maps(), std::vector<Atom>());
}

TEST(Maps, who_subscribed_to_one_that_was_deleted_hears_of_it_when_it_is_opened_again) {
  Cluster cluster;
  Node& node = cluster.start("a");
  ASSERT_TRUE(node.new_map("m").has_value());
  MapLog log(node, "m");
  ASSERT_TRUE(node.delete_map("m").has_value());
  EXPECT_EQ(node.subscribe_map("m", [](const MapEvent&) {}).error(), Errc::no_such_map);
  std::vector<Result<Subscription>> others;
  for (int number = 0; number < 200; ++number) {
    const Atom map("other " + std::to_string(number));
    ASSERT_TRUE(node.new_map(map).has_value());
    others.push_back(node.subscribe_map(map, [](const MapEvent&) {}));
    ASSERT_TRUE(node.delete_map(map).has_value());
    if (number == 100) others.clear();
  }
  ASSERT_TRUE(node.new_map("m").has_value());
  ASSERT_TRUE(node.map_put("m", 1, 2).has_value());
  EXPECT_EQ(log.next(), "put 1 2");
}

TEST(Maps, threads_read_while_maps_come_and_go) {
  Cluster cluster;
  Node& node = cluster.start("a");
  const auto name = [](std::int64_t number) { return Atom("m" + std::to_string(number)); };
  constexpr std::int64_t names = 50;
  std::atomic<bool> stop{false};
  std::atomic<std::int64_t> wrong{0};
  std::atomic<std::int64_t> found{0};
  std::vector<std::thread> readers;
  for (int reader = 0; reader < 2; ++reader) {
    readers.emplace_back([&] {
      for (std::int64_t number = 0; !stop; number = (number + 1) % names) {
        const auto value = node.map_get<std::int64_t>(name(number), "n");
        if (value) ++found;
        if (value && *value != number) ++wrong;
        for (const auto& [key, listed] : node.map_to_list(name(number))) {
          if (!(key == Term("n")) || !(listed == Term(number))) ++wrong;
        }
        if (node.map_size(name(number)) > 1) ++wrong;
      }
    });
  }
  for (int round = 0; round < 20; ++round) {
    for (std::int64_t number = 0; number < names; ++number) {
      ASSERT_TRUE(node.new_map(name(number)).has_value());
      ASSERT_TRUE(node.map_put(name(number), "n", number).has_value());
    }
    EXPECT_EQ(node.maps().size(), static_cast<std::size_t>(names));
    for (std::int64_t number = 0; number < names; ++number) ASSERT_TRUE(node.delete_map(name(number)).has_value());
  }
  stop = true;
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(found, 0);
}

// 20 MB: several times of what fits into the queues on the way.
constexpr int flood_count = 2000;
const std::string flood_value(10'000, 'x');

TEST(Maps, who_waits_for_answers_is_not_faster_than_the_cluster) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  open_on_all(nodes, "m");
  for (int key = 0; key < flood_count; ++key) ASSERT_TRUE(nodes[0]->map_put("m", key, flood_value).has_value());
  EXPECT_EQ(nodes[0]->overlay_statistics().congested, 0U);
  EXPECT_TRUE(test::eventually(nodes, [&] { return nodes[1]->map_size("m") == flood_count; }));
}

TEST(Maps, a_neighbour_that_takes_nothing_holds_nobody_up_for_ever) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  open_on_all(nodes, "m");
  std::promise<void> go_on;
  auto gone_on = go_on.get_future().share();
  const auto subscription = nodes[1]->subscribe_map("m", [gone_on](const MapEvent& /*event*/) { gone_on.wait(); });
  ASSERT_TRUE(subscription.has_value());
  int key = 0;
  for (; key < 5 * flood_count && nodes[0]->overlay_statistics().congested == 0; ++key) {
    ASSERT_TRUE(nodes[0]->map_put("m", key, flood_value).has_value());
  }
  EXPECT_GT(nodes[0]->overlay_statistics().congested, 0U);
  go_on.set_value();
  EXPECT_TRUE(test::eventually(nodes, [&] { return nodes[1]->map_size("m") == static_cast<std::size_t>(key); }));
}

TEST(Maps, calls_that_wait_are_answered_when_the_node_stops) {
  Cluster cluster;
  Node& node = cluster.start("a");
  auto waiting = std::async(std::launch::async, [&] { return node.resolve("never", 60s); });
  ASSERT_TRUE(node.new_map("m").has_value());
  node.stop();
  EXPECT_EQ(waiting.get().error(), Errc::stopped);
  EXPECT_EQ(node.map_put("m", 1, 1).error(), Errc::stopped);
}

TEST(Maps, other_nodes_operate_a_map_by_remote_calls) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  Node& a = *nodes[0];
  const NodeName& b = nodes[1]->name();
  Collector events(a);
  const auto call = [&](const char* function, std::vector<Term> arguments) {
    const auto result = a.call_function(b, "barrel_p2p", function, std::move(arguments));
    return result ? to_text(*result) : result.error().message();
  };
  EXPECT_EQ(call("map_put", {Atom("m"), 1, 2}), "{error,no_such_map}");
  const std::string opened = call("new_map", {Atom("m"), Term::map({{Atom("persist"), true}})});
  EXPECT_TRUE(opened.starts_with("{ok,<")) << opened;
  EXPECT_EQ(call("new_map", {Atom("m"), Term::map({{Atom("persist"), true}})}), opened) << "as often as one likes";
  EXPECT_EQ(call("new_map", {Atom("m")}), opened);
  EXPECT_EQ(call("new_map", {Atom("m"), Term::map({{Atom("prune_on_peer_down"), true}})}),
            "{error,already_registered}");
  EXPECT_TRUE(a.call_function(b, "barrel_p2p", "map_statistics", {Atom("m")})->get<bool>(Atom("persist")).value());
  EXPECT_EQ(call("subscribe_map", {Atom("m"), events.pid}), "ok");
  EXPECT_EQ(call("map_put", {Atom("m"), 1, 2}), "ok");
  EXPECT_EQ(events.next(), "{barrel_p2p_map,m,{put,1,2}}");
  EXPECT_EQ(call("map_get", {Atom("m"), 1}), "{ok,2}");
  EXPECT_EQ(call("map_keys", {Atom("m")}), "[1]");
  EXPECT_EQ(call("map_to_list", {Atom("m")}), "[{1,2}]");
  EXPECT_EQ(call("map_put_many", {Atom("m"), Term::list({Term::tuple({1, 3}), Term::tuple({2, 4})})}), "ok");
  EXPECT_EQ(call("map_remove", {Atom("m"), 1}), "ok");
  EXPECT_EQ(call("map_get", {Atom("m"), 1}), "not_found");
  EXPECT_EQ(call("unsubscribe_map", {Atom("m"), events.pid}), "ok");
  EXPECT_EQ(call("maps", {}), "[m]");
  EXPECT_EQ(call("delete_map", {Atom("m")}), "ok");
  EXPECT_EQ(call("delete_map", {Atom("m")}), "ok") << "Erlang nodes say so, too";
  EXPECT_EQ(call("new_map", {Term(7)}), "{error,invalid_map_name}");
}

TEST(Maps, options_of_erlang_nodes_are_taken_or_refused_with_an_answer) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  const auto open = [&](const char* map, std::vector<TermPair> options) {
    const auto result =
        nodes[0]->call_function(nodes[1]->name(), "barrel_p2p", "new_map", {Atom(map), Term::map(std::move(options))});
    return result ? to_text(*result) : result.error().message();
  };
  const std::string opened = open("m", {{Atom("scan_ms"), 0}, {Atom("colour"), Atom("red")}, {7, 7}});
  EXPECT_TRUE(opened.starts_with("{ok,<")) << opened;
  for (const char* option : {"persist", "prune_on_peer_down", "tombstone_ttl_ms", "scan_ms", "validator"}) {
    EXPECT_EQ(open("n", {{Atom(option), Atom("often")}}), "{error,invalid_argument}") << option;
  }
  EXPECT_EQ(open("n", {{Atom("tombstone_ttl_ms"), 5}}), "{error,invalid_argument}");
}

}  // namespace
}  // namespace barrel_p2p
