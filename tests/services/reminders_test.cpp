// Reminders: set, told of by the owner, kept, late, restored; and against recordings of the Erlang implementation.
#include "services/reminders.hpp"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <string>
#include <vector>

#include "services/reminders_support.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p::services {
namespace {

using namespace std::chrono_literals;
using barrel_p2p::test::from_hex;
using barrel_p2p::test::read_vectors;
using barrel_p2p::test::text_of;
using replication::Timestamp;
using test::RemindersWorld;

/// Nodes that all know each other and may tell.
struct Cluster : RemindersWorld {
  explicit Cluster(int count, RemindersConfig with = {}) {
    config = std::move(with);
    for (int index = 0; index < count; ++index) {
      nodes.push_back(add(std::string(1, static_cast<char>('a' + index)) + "@h"));
      if (index > 0) link(nodes[static_cast<std::size_t>(index) - 1], nodes.back());
    }
    pass(10s);
  }
  /// A key that the node owns.
  Term key_of(const Atom& node) {
    for (int number = next_key++;; number = next_key++) {
      Term key = Term::tuple({Atom("key"), number});
      if (at(node).placement->is_owner(key)) return key;
    }
  }
  ReminderStatistics statistics(const Atom& node) { return at(node).reminders->statistics(); }

  std::vector<Atom> nodes;
  int next_key = 0;
};

TEST(Reminders, the_owner_tells_once_and_in_time_whoever_set_it) {
  Cluster cluster(3);
  for (const auto& owner : cluster.nodes) {
    const Term key = cluster.key_of(owner);
    for (const auto& setter : cluster.nodes) {
      cluster.told.clear();
      const auto due = cluster.wall() + 5000;
      EXPECT_EQ(cluster.remind(setter, key, due, Atom("payload")), "ok");
      const auto set = cluster.at(owner).reminders->find(key);
      ASSERT_TRUE(set.has_value());
      cluster.pass(4999ms);
      EXPECT_TRUE(cluster.told.empty());
      cluster.pass(1ms);
      ASSERT_EQ(cluster.told.size(), 1U);
      const auto& told = cluster.told.front();
      EXPECT_EQ(told.node, owner);
      EXPECT_EQ(told.what.key, key);
      EXPECT_EQ(told.what.payload, Term(Atom("payload")));
      EXPECT_EQ(told.what.fence, set->fence);
      EXPECT_EQ(told.what.due, ReminderTime(Milliseconds(due)));
      EXPECT_EQ(told.what.lateness, 0ms);
      EXPECT_FALSE(told.what.missed);
      cluster.pass(1min);
      EXPECT_EQ(cluster.told.size(), 1U);
      for (const auto& node : cluster.nodes) EXPECT_EQ(cluster.statistics(node).pending, 0U);
    }
  }
}

TEST(Reminders, it_is_on_disk_before_the_call_returns_and_told_of_before_it_is_removed) {
  Cluster cluster(2);
  const Term key = cluster.key_of(cluster.nodes[0]);
  auto& machine = cluster.at(cluster.nodes[0]);
  machine.effects.clear();
  EXPECT_EQ(cluster.remind(cluster.nodes[0], key, cluster.wall() + 100), "ok");
  EXPECT_EQ(machine.effects, (std::vector<std::string>{"broadcast", "persist"}));
  EXPECT_EQ(machine.disk.size(), 1U);
  cluster.pass(100ms);
  EXPECT_EQ(machine.effects, (std::vector<std::string>{"broadcast", "persist", "told", "broadcast", "persist"}));
  EXPECT_FALSE(machine.disk.begin()->second.second.is_live());
}

TEST(Reminders, what_the_disk_refuses_is_answered_with_the_error_and_written_later) {
  Cluster cluster(1);
  auto& machine = cluster.at(cluster.nodes[0]);
  machine.disk_works = false;
  EXPECT_EQ(cluster.remind(cluster.nodes[0], Term(1), cluster.wall() + 3'600'000), "io_error");
  EXPECT_EQ(cluster.statistics(cluster.nodes[0]).unwritten, 1U);
  machine.disk_works = true;
  cluster.pass(2s);
  EXPECT_EQ(machine.disk.size(), 1U);
  EXPECT_EQ(cluster.statistics(cluster.nodes[0]).unwritten, 0U);
}

TEST(Reminders, one_that_is_set_anew_is_told_of_at_the_new_time_with_a_greater_fence) {
  Cluster cluster(2);
  const Term key = cluster.key_of(cluster.nodes[1]);
  cluster.remind(cluster.nodes[0], key, cluster.wall() + 1000, Term(1));
  const auto first = cluster.at(cluster.nodes[0]).reminders->find(key)->fence;
  cluster.remind(cluster.nodes[1], key, cluster.wall() + 3000, Term(2));
  cluster.pass(2900ms);
  EXPECT_TRUE(cluster.told.empty());
  cluster.pass(100ms);
  ASSERT_EQ(cluster.told.size(), 1U);
  EXPECT_EQ(cluster.told[0].what.payload, Term(2));
  EXPECT_GT(cluster.told[0].what.fence, first);
}

TEST(Reminders, a_cancelled_one_is_told_of_nowhere) {
  Cluster cluster(3);
  const Term key = cluster.key_of(cluster.nodes[2]);
  cluster.remind(cluster.nodes[0], key, cluster.wall() + 1000);
  EXPECT_EQ(cluster.cancel(cluster.nodes[1], key), "ok");
  EXPECT_EQ(cluster.cancel(cluster.nodes[1], Term("unknown")), "ok");
  cluster.pass(1min);
  EXPECT_TRUE(cluster.told.empty());
}

TEST(Reminders, bad_arguments_are_refused_and_any_time_is_taken) {
  Cluster cluster(1);
  const Atom node = cluster.nodes[0];
  EXPECT_EQ(cluster.remind(node, Term(1), 0, Term(std::string(2'000'000, 'x'))), "limit_exceeded");
  const auto later = cluster.wall() + 3'600'000;
  EXPECT_EQ(cluster.remind(node, Term(1), later), "ok");
  EXPECT_EQ(cluster.remind(node, Term(1.0), later), "already_registered");
  EXPECT_EQ(cluster.cancel(node, Term(1.0)), "already_registered");
  EXPECT_EQ(cluster.remind(node, Term(1), later), "ok") << "it is there to be set anew";
  EXPECT_TRUE(cluster.told.empty());
  EXPECT_EQ(cluster.remind(node, Atom("never"), INT64_MAX), "ok");
  EXPECT_EQ(cluster.remind(node, Atom("long_ago"), INT64_MIN), "ok");
  cluster.pass(10ms);
  EXPECT_EQ(cluster.told_text(), "long_ago@a");
}

TEST(Reminders, a_due_one_is_kept_until_somebody_on_the_owner_wants_it) {
  Cluster cluster(2);
  const Term key = cluster.key_of(cluster.nodes[0]);
  cluster.subscribe(cluster.nodes[0], false);
  cluster.remind(cluster.nodes[0], key, cluster.wall() + 1000);
  cluster.pass(5s);
  EXPECT_TRUE(cluster.told.empty());
  EXPECT_EQ(cluster.statistics(cluster.nodes[0]).pending, 1U);
  cluster.subscribe(cluster.nodes[0], true);
  ASSERT_EQ(cluster.told.size(), 1U);
  EXPECT_EQ(cluster.told[0].what.lateness, 4s);
}

TEST(Reminders, a_node_that_may_consume_without_a_subscriber_does) {
  Cluster cluster(1, {.keep_without_subscriber = false});
  cluster.subscribe(cluster.nodes[0], false);
  cluster.remind(cluster.nodes[0], Term(1), cluster.wall() + 1000);
  cluster.pass(1s);
  EXPECT_TRUE(cluster.told.empty());
  EXPECT_EQ(cluster.statistics(cluster.nodes[0]).pending, 0U);
  EXPECT_EQ(cluster.statistics(cluster.nodes[0]).skipped, 1U);
}

TEST(Reminders, those_of_a_dead_owner_are_told_of_by_the_next_one) {
  Cluster cluster(3);
  const Term key = cluster.key_of(cluster.nodes[2]);
  cluster.remind(cluster.nodes[2], key, cluster.wall() + 1000);
  const auto fence = cluster.at(cluster.nodes[0]).reminders->find(key)->fence;
  cluster.stop(cluster.nodes[2]);
  cluster.pass(8s);
  ASSERT_EQ(cluster.told.size(), 1U);
  EXPECT_NE(cluster.told[0].node, cluster.nodes[2]);
  EXPECT_EQ(cluster.told[0].what.fence, fence);
  EXPECT_GT(cluster.told[0].what.lateness, 0ms);
}

TEST(Reminders, an_owner_that_dies_while_it_tells_is_followed_by_another_with_the_same_fence) {
  Cluster cluster(3);
  const Term key = cluster.key_of(cluster.nodes[1]);
  cluster.link(cluster.nodes[0], cluster.nodes[2]);
  cluster.remind(cluster.nodes[0], key, cluster.wall() + 1000);
  cluster.at(cluster.nodes[1]).crashes_while_firing = true;
  cluster.pass(1min);
  ASSERT_EQ(cluster.told.size(), 2U);
  EXPECT_EQ(cluster.told[0].node, cluster.nodes[1]);
  EXPECT_NE(cluster.told[1].node, cluster.nodes[1]);
  EXPECT_EQ(cluster.told[0].what.fence, cluster.told[1].what.fence);
  cluster.restart(cluster.nodes[1]);
  cluster.link(cluster.nodes[0], cluster.nodes[1]);
  cluster.pass(1min);
  EXPECT_EQ(cluster.told.size(), 2U) << "it hears that all is done before it tells again";
}

TEST(Reminders, an_owner_that_leaves_is_followed_at_once) {
  Cluster cluster(2);
  const Term key = cluster.key_of(cluster.nodes[0]);
  cluster.remind(cluster.nodes[0], key, cluster.wall() + 100);
  cluster.leave(cluster.nodes[0]);
  cluster.pass(200ms);
  EXPECT_EQ(cluster.told_text(), to_text(key) + "@b");
  cluster.pass(1min);
  EXPECT_EQ(cluster.told.size(), 1U);
}

TEST(Reminders, an_owner_that_wakes_from_a_pause_does_not_tell_what_others_told) {
  Cluster cluster(2);
  const Term key = cluster.key_of(cluster.nodes[0]);
  cluster.remind(cluster.nodes[0], key, cluster.wall() + 3000);
  cluster.pause(cluster.nodes[0]);
  cluster.pass(20s);
  EXPECT_EQ(cluster.told_text(), to_text(key) + "@b");
  cluster.wake(cluster.nodes[0]);
  cluster.pass(1min);
  EXPECT_EQ(cluster.told.size(), 1U);
}

TEST(Reminders, after_a_restart_of_all_nodes_each_overdue_one_is_told_of_once) {
  Cluster cluster(3);
  for (int key = 0; key < 100; ++key) {
    cluster.remind(cluster.nodes[static_cast<std::size_t>(key) % 3], Term(key), cluster.wall() + 60'000);
  }
  for (const auto& node : cluster.nodes) cluster.stop(node);
  cluster.pass(2min);
  for (const auto& node : cluster.nodes) cluster.restart(node);
  cluster.pass(3s);
  EXPECT_TRUE(cluster.told.empty()) << "each is alone, and waits for others";
  cluster.link(cluster.nodes[0], cluster.nodes[1]);
  cluster.link(cluster.nodes[1], cluster.nodes[2]);
  cluster.pass(2500ms);
  EXPECT_EQ(cluster.fences().size(), 100U) << "no need to wait for longer";
  cluster.pass(1min);
  EXPECT_EQ(cluster.told.size(), 100U);
}

TEST(Reminders, a_node_without_neighbours_tells_after_one_lease) {
  Cluster cluster(1);
  cluster.remind(cluster.nodes[0], Term(1), cluster.wall() + 1000);
  cluster.stop(cluster.nodes[0]);
  cluster.pass(1min);
  cluster.restart(cluster.nodes[0]);
  EXPECT_TRUE(cluster.statistics(cluster.nodes[0]).held);
  cluster.pass(5999ms);
  EXPECT_TRUE(cluster.told.empty());
  cluster.pass(1ms);
  EXPECT_EQ(cluster.told.size(), 1U);
}

TEST(Reminders, when_the_wall_clock_jumps_ahead_others_are_heard_first_and_then_all_is_told_that_is_due) {
  Cluster cluster(1);
  cluster.remind(cluster.nodes[0], Term(1), cluster.wall() + 3'600'000);
  cluster.at(cluster.nodes[0]).wall_skew = 3'600'000;
  cluster.pass(1s);
  EXPECT_TRUE(cluster.statistics(cluster.nodes[0]).held);
  cluster.pass(6s);
  EXPECT_EQ(cluster.told_text(), "1@a");
}

TEST(Reminders, when_the_wall_clock_is_set_back_nothing_is_told_before_its_time) {
  Cluster cluster(1);
  cluster.remind(cluster.nodes[0], Term(1), cluster.wall() + 5000);
  cluster.at(cluster.nodes[0]).wall_skew = -60'000;
  cluster.pass(64s);
  EXPECT_TRUE(cluster.told.empty());
  cluster.pass(1s);
  EXPECT_EQ(cluster.told_text(), "1@a");
}

TEST(Reminders, a_policy_says_what_becomes_of_late_ones) {
  for (const auto policy : {LatePolicy::fire, LatePolicy::skip, LatePolicy::notify}) {
    Cluster cluster(1, {.late_policy = policy});
    cluster.remind(cluster.nodes[0], Atom("late"), cluster.wall() - 20'000);
    cluster.remind(cluster.nodes[0], Atom("hardly"), cluster.wall() - 9000);
    cluster.pass(100ms);
    EXPECT_EQ(cluster.told.size(), policy == LatePolicy::skip ? 1U : 2U);
    EXPECT_EQ(cluster.statistics(cluster.nodes[0]).pending, 0U);
    for (const auto& one : cluster.told) {
      EXPECT_EQ(one.what.missed, policy == LatePolicy::notify && one.what.key.is_atom("late"));
    }
  }
}

TEST(Reminders, late_ones_come_at_a_rate_and_those_in_time_do_not_wait_for_them) {
  Cluster cluster(1, {.late_rate = 10});
  cluster.subscribe(cluster.nodes[0], false);
  for (int key = 0; key < 100; ++key) cluster.remind(cluster.nodes[0], Term(key), cluster.wall() - 60'000);
  cluster.subscribe(cluster.nodes[0], true);
  EXPECT_EQ(cluster.told.size(), 10U);
  EXPECT_EQ(cluster.statistics(cluster.nodes[0]).waiting, 90U);
  cluster.remind(cluster.nodes[0], Atom("prompt"), cluster.wall() + 500);
  cluster.pass(500ms);
  EXPECT_EQ(cluster.told.size(), 16U);
  EXPECT_TRUE(cluster.told.back().what.key.is_atom("prompt") || cluster.told[14].what.key.is_atom("prompt"));
  cluster.cancel(cluster.nodes[0], Term(99));
  cluster.pass(10s);
  EXPECT_EQ(cluster.told.size(), 100U);
}

TEST(Reminders, many_that_are_due_at_once_are_told_in_parts_and_removed_with_few_broadcasts) {
  Cluster cluster(1, {.fires_max = 100});
  const auto due = cluster.wall() + 60'000;
  for (int key = 0; key < 1000; ++key) cluster.remind(cluster.nodes[0], Term(key), due);
  auto& machine = cluster.at(cluster.nodes[0]);
  machine.effects.clear();
  machine.broadcasts.clear();
  cluster.pass(60s);
  EXPECT_EQ(cluster.told.size(), 1000U);
  EXPECT_EQ(std::ranges::count(machine.effects, "told"), 10);
  EXPECT_LE(machine.broadcasts.size(), 20U);
}

TEST(Reminders, finished_ones_are_forgotten_after_an_hour_but_not_while_a_node_is_away_that_has_them) {
  Cluster cluster(2);
  const Term key = cluster.key_of(cluster.nodes[0]);
  cluster.remind(cluster.nodes[0], key, cluster.wall() + 60'000);
  cluster.stop(cluster.nodes[1]);
  cluster.pass(5h);
  EXPECT_EQ(cluster.told.size(), 1U);
  EXPECT_EQ(cluster.statistics(cluster.nodes[0]).tombstones, 1U);
  cluster.restart(cluster.nodes[1]);
  cluster.link(cluster.nodes[0], cluster.nodes[1]);
  cluster.pass(10min);
  EXPECT_EQ(cluster.told.size(), 1U);
  EXPECT_EQ(cluster.statistics(cluster.nodes[1]).pending, 0U);
  cluster.pass(3h);
  for (const auto& node : cluster.nodes) {
    EXPECT_EQ(cluster.statistics(node).tombstones, 0U);
    EXPECT_TRUE(cluster.at(node).disk.empty());
  }
}

/// Every hour, three times in all.
std::optional<WallMilliseconds> three_times(const ReminderEvent& previous) {
  const auto count = previous.key.as_int64().value_or(0);
  const auto round = (previous.due.time_since_epoch() % 86'400'000ms) / 3'600'000ms;
  if (count == 0 || round >= 2) return std::nullopt;
  return (previous.due + 1h).time_since_epoch().count();
}

TEST(Reminders, a_recurring_one_takes_the_place_of_itself_with_a_greater_fence) {
  Cluster cluster(2);
  for (const auto& node : cluster.nodes) cluster.at(node).reminders->set_next(three_times);
  const WallMilliseconds midnight = (cluster.wall() / 86'400'000 + 1) * 86'400'000;
  cluster.remind(cluster.nodes[0], Term(1), midnight, Atom("payload"));
  cluster.remind(cluster.nodes[0], Atom("once"), midnight);
  cluster.pass(std::chrono::milliseconds(midnight - cluster.wall()) + 5h);
  std::vector<ReminderEvent> series;
  for (const auto& one : cluster.told) {
    if (one.what.key == Term(1)) series.push_back(one.what);
  }
  ASSERT_EQ(series.size(), 3U);
  EXPECT_EQ(cluster.told.size(), 4U);
  for (std::size_t round = 0; round < 3; ++round) {
    EXPECT_EQ(series[round].due, ReminderTime(Milliseconds(midnight) + static_cast<int>(round) * 1h));
    EXPECT_EQ(series[round].payload, Term(Atom("payload")));
    EXPECT_TRUE(round == 0 || series[round].fence > series[round - 1].fence);
  }
  for (const auto& node : cluster.nodes) EXPECT_EQ(cluster.statistics(node).pending, 0U);
}

TEST(Reminders, a_crash_while_a_recurring_one_is_told_does_not_end_the_series) {
  Cluster cluster(3);
  for (const auto& node : cluster.nodes) cluster.at(node).reminders->set_next(three_times);
  cluster.link(cluster.nodes[0], cluster.nodes[2]);
  const WallMilliseconds midnight = (cluster.wall() / 86'400'000 + 1) * 86'400'000;
  cluster.remind(cluster.nodes[0], Term(1), midnight);
  const Atom owner = *cluster.at(cluster.nodes[0]).placement->place(Term(1));
  cluster.at(owner).crashes_while_firing = true;
  cluster.pass(std::chrono::milliseconds(midnight - cluster.wall()) + 5h);
  ASSERT_EQ(cluster.told.size(), 4U);
  EXPECT_EQ(cluster.told[0].node, owner);
  EXPECT_EQ(cluster.told[0].what.fence, cluster.told[1].what.fence);
  EXPECT_GT(cluster.told[2].what.fence, cluster.told[1].what.fence);
  EXPECT_GT(cluster.told[3].what.fence, cluster.told[2].what.fence);
}

TEST(Reminders, a_time_that_is_not_after_the_last_one_ends_a_series) {
  Cluster cluster(1);
  const auto again = [](const ReminderEvent& previous) {
    return std::optional(previous.due.time_since_epoch().count());
  };
  cluster.at(cluster.nodes[0]).reminders->set_next(again);
  cluster.remind(cluster.nodes[0], Term(1), cluster.wall() + 1000);
  cluster.pass(1min);
  EXPECT_EQ(cluster.told.size(), 1U);
  EXPECT_EQ(cluster.statistics(cluster.nodes[0]).pending, 0U);
}

TEST(Reminders, a_series_whose_late_ones_are_skipped_goes_on) {
  Cluster cluster(1, {.late_policy = LatePolicy::skip});
  const auto daily = [](const ReminderEvent& previous) {
    return std::optional((previous.due + 24h).time_since_epoch().count());
  };
  cluster.at(cluster.nodes[0]).reminders->set_next(daily);
  cluster.remind(cluster.nodes[0], Term(1), cluster.wall() - 60'000);
  cluster.pass(23h);
  EXPECT_TRUE(cluster.told.empty());
  cluster.pass(1h);
  EXPECT_EQ(cluster.told.size(), 1U);
}

TEST(Reminders, after_a_change_of_owners_word_of_the_old_one_is_waited_for) {
  Cluster cluster(2, {.handover = 100ms});
  const Term key = cluster.key_of(cluster.nodes[1]);
  cluster.stop(cluster.nodes[1]);
  cluster.remind(cluster.nodes[0], key, cluster.wall() + 1000);
  std::uint64_t before = cluster.at(cluster.nodes[0]).placement->revision();
  while (cluster.at(cluster.nodes[0]).placement->revision() == before) cluster.pass(1ms);
  EXPECT_TRUE(cluster.told.empty());
  cluster.pass(99ms);
  EXPECT_TRUE(cluster.told.empty());
  cluster.pass(1ms);
  EXPECT_EQ(cluster.told.size(), 1U);
}

TEST(Reminders, what_is_no_reminder_is_refused) {
  Cluster cluster(1);
  const auto stamp = replication::to_term(Timestamp{cluster.wall(), 0});
  const auto deliver = [&](const Term& value) {
    const auto entry = replication::Entry::value(value, {{cluster.wall(), 1}, Atom("x@h")});
    const Term delta = Term::map({{Term("key"), replication::to_term(entry)}});
    cluster.deliver(cluster.nodes[0], Term::tuple({Atom("delta"), Atom("x@h"), delta}));
  };
  deliver(Term(1));
  deliver(Term::tuple({1.5, 1, stamp}));
  deliver(Term::tuple({1, 1, 1}));
  deliver(Term::tuple({1, 1, Term::tuple({Atom("timestamp"), 1.5, 0})}));
  deliver(Term::tuple({1, 1, stamp, 1}));
  EXPECT_EQ(cluster.statistics(cluster.nodes[0]).rejected, 5U);
  EXPECT_EQ(cluster.statistics(cluster.nodes[0]).pending, 0U);
  const Term huge(BigInteger::parse("100000000000000000000000").value());
  deliver(Term::tuple({huge, 1, stamp}));
  cluster.pass(1min);
  EXPECT_EQ(cluster.statistics(cluster.nodes[0]).pending, 1U) << "Erlang nodes keep it too";
}

TEST(Reminders, those_of_peers_beyond_the_limit_are_refused_and_counted) {
  RemindersConfig config;
  config.entry_bytes_max = 100;
  Cluster cluster(1, config);
  const Atom node = cluster.nodes[0];
  const auto later = cluster.wall() + 3'600'000;
  const auto deliver = [&](const Term& key, const replication::Entry& entry) {
    cluster.deliver(node, Term::tuple({Atom("delta"), Atom("x@h"), Term::map({{key, replication::to_term(entry)}})}));
    return cluster.statistics(node).rejected;
  };
  const auto reminder = [&](std::size_t bytes) {
    const Term stamp = replication::to_term(Timestamp{cluster.wall(), 0});
    return replication::Entry::value(Term::tuple({later, std::string(bytes, 'x'), stamp}),
                                     {{cluster.wall(), 1}, Atom("x@h")});
  };
  // The key takes 8 bytes, and a binary 5 more than it has.
  EXPECT_EQ(deliver("key", reminder(88)), 1U);
  EXPECT_EQ(deliver(std::string(96, 'k'), replication::Entry::tombstone({1, 0})), 2U);
  EXPECT_EQ(cluster.statistics(node).pending, 0U);
  EXPECT_EQ(deliver("key", reminder(87)), 2U);
  EXPECT_EQ(cluster.statistics(node).pending, 1U);
  EXPECT_EQ(cluster.remind(node, "own", later, std::string(87, 'x')), "ok") << "of its own as much, and no more";
  EXPECT_EQ(cluster.remind(node, "own", later, std::string(88, 'x')), "limit_exceeded");
  EXPECT_EQ(cluster.cancel(node, std::string(96, 'k')), "limit_exceeded") << "others would not take it";
}

TEST(Reminders, an_erlang_neighbour_is_asked_for_all_and_given_all) {
  RemindersWorld world;
  const Atom node = world.add("a@h");
  const Atom erlang = world.add("e@h", true);
  world.remind(erlang, Term(1), world.wall() + 3'600'000);
  world.remind(node, Term(2), world.wall() + 3'600'000);
  world.link(node, erlang);
  world.pass(1s);
  EXPECT_EQ(world.at(node).reminders->statistics().pending, 2U);
  EXPECT_EQ(world.at(erlang).reminders->statistics().pending, 2U);
  const auto requests = std::ranges::count_if(
      world.at(node).sends, [](const Send& send) { return send.message[1].is_tagged("request_sync", 2); });
  EXPECT_GE(requests, 1);
  for (const auto& send : world.at(node).sends) EXPECT_FALSE(send.message[1].is_tagged("digests", 3));
}

// Recordings.

TEST(RemindersVectors, fences_are_the_recorded_numbers) {
  std::size_t compared = 0;
  const auto rows = read_vectors("reminder_fence.json");
  for (const auto& row : rows.as_array()) {
    const auto stamp = replication::timestamp_of(decode_term(from_hex(text_of(row, "etf_hex")))->term);
    if (!stamp) continue;  // beyond what any clock gives
    const Fence fence(static_cast<std::uint64_t>(stamp->wall), stamp->logical);
    EXPECT_EQ(barrel_p2p::test::to_hex(encode_term(fence.term())), text_of(row, "fence_etf_hex"));
    ++compared;
  }
  EXPECT_EQ(compared, 8U);
}

/// Calls that the recorded node answered with this delta give the same one from us; stamps are taken from it.
TEST(RemindersVectors, the_same_calls_give_the_recorded_gossip) {
  std::size_t added = 0;
  std::size_t removed = 0;
  const auto rows = read_vectors("reminder_messages.json");
  for (const auto& row : rows.as_array()) {
    if (!text_of(row, "kind").starts_with("gossip")) continue;
    const Term gossip = decode_term(from_hex(text_of(row, "etf_hex")))->term[1];
    EXPECT_EQ(gossip[2], Term(Atom(reminder_replica_name)));
    const Term& payload = gossip[3];
    const auto& [key, recorded] = payload[2].pairs().front();
    const auto entry = replication::entry_of(recorded);
    ASSERT_TRUE(entry.has_value());
    const Timestamp stamp = entry->is_live() ? replication::timestamp_of(entry->value()[2]).value() : entry->stamp();
    // As if that was the first stamp of this millisecond, or this was given before.
    replication::HybridClock clock;
    for (std::uint32_t given = 0; given < stamp.logical; ++given) (void)clock.now(stamp.wall);
    const Now now{MonotonicTime(1h), stamp.wall};
    const Atom own = *payload[1].as_atom();
    const Members members({.own = own}, clock, now);
    const Placement placement({.own = own}, members);
    Reminders reminders({.own = own}, clock, members, placement, now);
    reminders.start(now);
    Effects effects;
    if (entry->is_live()) {
      const Term& value = entry->value();
      ASSERT_TRUE(reminders.remind(key, *value[0].as_int64(), value[1], 1, now, effects));
      ++added;
    } else {
      ASSERT_TRUE(reminders.cancel(key, 1, now, effects));
      ++removed;
    }
    const auto& sent = std::get<Broadcast>(effects.front());
    EXPECT_EQ(sent.tag, Atom(reminder_replica_name));
    if (entry->is_live()) {
      // Erlang nodes mint one stamp more, for themselves.
      const auto ours = replication::entry_of(sent.payload[2].pairs().front().second);
      EXPECT_EQ(ours->value(), entry->value()) << text_of(row, "name");
      EXPECT_EQ(ours->writer(), entry->writer());
      EXPECT_EQ(sent.payload[2].pairs().front().first, key);
    } else {
      EXPECT_EQ(sent.payload, payload) << text_of(row, "name");
    }
  }
  EXPECT_GE(added, 7U);
  EXPECT_GE(removed, 5U);
}

/// One node that owns everything, and hears of what others recorded.
struct Listener {
  using Stored = std::vector<std::pair<Term, replication::Entry>>;
  explicit Listener(const Stored& stored = {}) {
    for (const auto& [key, entry] : stored) reminders.restore(key, entry);
    reminders.start(now);
    reminders.set_subscribed(true);
  }
  /// At the time of its stamp.
  void hear_gossip(const Term& message) {
    const Term& payload = message[1][3];
    const auto entry = replication::entry_of(payload[2].pairs().front().second);
    now.wall = std::max(now.wall, entry->stamp().wall);
    reminders.deliver(payload, now, effects);
  }
  [[nodiscard]] std::vector<std::string> told_after(Milliseconds time, WallMilliseconds wall) {
    now = {now.monotonic + time, wall};
    reminders.tick(now, effects);
    std::vector<std::string> told;
    for (const auto& effect : effects) {
      if (const auto* fired = std::get_if<ReminderFired>(&effect)) told.push_back(to_text(message_of(fired->event)));
    }
    std::ranges::sort(told);
    return told;
  }

  const Atom own{"sfx@127.0.0.1"};
  replication::HybridClock clock;
  Now now{MonotonicTime(1h), 1'795'384'570'000};
  Members members{{.own = own}, clock, now};
  Placement placement{{.own = own}, members};
  Reminders reminders{{.own = own}, clock, members, placement, now};
  Effects effects;
};

TEST(RemindersVectors, recorded_additions_end_in_the_recorded_deliveries) {
  Listener listener;
  std::vector<std::string> expected;
  const auto rows = read_vectors("reminder_messages.json");
  for (const auto& row : rows.as_array()) {
    if (text_of(row, "kind").starts_with("event")) expected.push_back(text_of(row, "term"));
    if (!text_of(row, "name").starts_with("s1/fire_ab/gossip add")) continue;
    listener.hear_gossip(decode_term(from_hex(text_of(row, "etf_hex")))->term);
  }
  std::ranges::sort(expected);
  EXPECT_EQ(expected.size(), 4U);
  EXPECT_EQ(listener.told_after(6s, 1'795'384'581'000), expected);  // the last one was due at 580'412
}

TEST(RemindersVectors, after_all_that_was_recorded_only_what_was_kept_is_left) {
  Listener listener;
  std::size_t messages = 0;
  const auto rows = read_vectors("reminder_messages.json");
  for (const auto& row : rows.as_array()) {
    if (text_of(row, "kind").starts_with("event")) continue;
    const Term message = decode_term(from_hex(text_of(row, "etf_hex")))->term;
    ++messages;
    if (text_of(row, "kind").starts_with("gossip")) {
      listener.hear_gossip(message);
    } else {
      listener.now.wall = std::max<WallMilliseconds>(listener.now.wall, 1'795'384'590'000);
      listener.reminders.receive(Atom(text_of(row, "from")), message, listener.now, listener.effects);
    }
  }
  EXPECT_EQ(messages, 45U);
  EXPECT_TRUE(listener.told_after(6s, 1'795'384'914'000).empty());
  const auto statistics = listener.reminders.statistics();
  EXPECT_EQ(statistics.rejected, 0U);
  EXPECT_EQ(statistics.pending, 2U);
  EXPECT_EQ(statistics.tombstones, 5U);
  EXPECT_TRUE(listener.reminders.find(Atom("keep")).has_value());
  EXPECT_TRUE(listener.reminders.find(Atom("keep2")).has_value());
  const auto answers = std::ranges::count_if(listener.effects, [](const Effect& effect) {
    const auto* send = std::get_if<Send>(&effect);
    return send != nullptr && send->message[1].is_tagged("full_sync", 3);
  });
  EXPECT_GE(answers, 1) << "who asks gets everything";
}

TEST(Reminders, each_of_many_that_are_restored_fires_once_though_some_entries_are_none) {
  const WallMilliseconds now = 1'795'384'570'000;
  const auto entry_of = [](const Term& value) {
    return replication::Entry::value(value, {{1'795'384'000'000, 1}, Atom("sfx@127.0.0.1")});
  };
  const Term version = replication::to_term(Timestamp{1'795'384'000'000, 0});
  Listener::Stored stored;
  for (int key = 0; key < 500; ++key) {
    if (key % 5 == 0) stored.emplace_back(key, entry_of(Term::tuple({now, "no version"})));
    if (key % 7 == 0) stored.emplace_back(1000 + key, entry_of(Term::tuple({"no time", "payload", version})));
    if (key % 11 == 0) stored.emplace_back(2000 + key, replication::Entry::tombstone({1'795'384'000'000, 0}));
    stored.emplace_back(key, entry_of(Term::tuple({now + 1000 + key, "payload", version})));
  }
  Listener listener(stored);
  EXPECT_EQ(listener.reminders.statistics().pending, 500U);
  EXPECT_EQ(listener.reminders.statistics().tombstones, 46U);
  EXPECT_EQ(listener.told_after(6s, now + 1499).size(), 500U);
  EXPECT_EQ(listener.told_after(6s, now + 8000).size(), 500U) << "none fires twice";
  EXPECT_EQ(listener.reminders.statistics().pending, 0U);
}

TEST(RemindersVectors, a_recorded_store_is_taken_over) {
  const auto rows = read_vectors("reminder_store.json");
  const Term snapshot = decode_term(from_hex(text_of(rows.as_array().front(), "etf_hex")))->term;
  replication::HybridClock clock;
  const Now now{MonotonicTime(1h), 1'795'385'150'000};
  const Members members({.own = Atom("sfg@127.0.0.1")}, clock, now);
  const Placement placement({.own = Atom("sfg@127.0.0.1")}, members);
  Reminders reminders({.own = Atom("sfg@127.0.0.1")}, clock, members, placement, now);
  for (const auto& [key, entry] : snapshot.pairs()) reminders.restore(key, replication::entry_of(entry).value());
  reminders.start(now);
  EXPECT_EQ(reminders.entries().size(), snapshot.size());
  EXPECT_EQ(reminders.statistics().tombstones, 1U);
  const auto later = reminders.find(Atom("later"));
  ASSERT_TRUE(later.has_value());
  EXPECT_EQ(later->due, ReminderTime(Milliseconds(1'795'385'171'700)));
  EXPECT_EQ(later->fence, Fence(1'795'385'146'700, 1));
}

}  // namespace
}  // namespace barrel_p2p::services
