// The parts of the node that the overlay needs: the queue of the cluster thread, its alarm, the file of peers.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "node/input_queue.hpp"
#include "node/peer_rates.hpp"
#include "node/peers_file.hpp"
#include "node/pid_subscribers.hpp"
#include "node/serial_executor.hpp"
#include "support/patience.hpp"
#include "support/scratch.hpp"

namespace barrel_p2p::node {
namespace {

using namespace std::chrono_literals;
using distribution::DeliverOutcome;
using Queue = InputQueue<int>;

TEST(PidSubscribers, has_as_many_of_one_node_and_of_all_as_the_budget_that_lists_share) {
  process::SystemConfig config;
  config.node = Atom("a@test");
  config.workers = 1;
  process::System system(config);
  process::RemotePort port;
  port.send = [](const Atom&, distribution::Signal&&, const Pid&) { return distribution::SendOutcome::accepted; };
  system.set_remote(std::move(port));
  system.start();
  const std::size_t before = system.process_count();
  const auto budget = std::make_shared<SubscriptionBudget>();
  PidSubscribers events(system, budget);
  PidSubscribers others(system, budget);
  const auto pid = [](std::size_t node, std::size_t number) {
    return Pid{Atom("n" + std::to_string(node) + "@test"), static_cast<std::uint32_t>(number), 0, 1};
  };
  constexpr std::size_t of_node = SubscriptionBudget::per_node_max;
  for (std::size_t number = 0; number < of_node; ++number) {
    ASSERT_TRUE((number % 2 == 0 ? events : others).add_for_peer(pid(0, number)).has_value()) << number;
  }
  const auto refused = events.add_for_peer(pid(0, of_node));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), Errc::limit_exceeded);
  EXPECT_TRUE(events.add_for_peer(pid(0, 0)).has_value()) << "one that is there already";
  events.remove(pid(0, 0));
  EXPECT_TRUE(events.add_for_peer(pid(0, of_node)).has_value()) << "in the place of one that is gone";
  for (std::size_t node = 1; node < SubscriptionBudget::all_max / of_node; ++node) {
    for (std::size_t number = 0; number < of_node; ++number) {
      ASSERT_TRUE(events.add_for_peer(pid(node, number)).has_value());
    }
  }
  EXPECT_FALSE(others.add_for_peer(pid(99, 1))) << "one more than all may have";
  events.add(pid(99, 1));  // the program's own are not counted
  EXPECT_TRUE(events.add_for_peer(pid(99, 1)).has_value());
  // Watched by one process for each list, which goes with the last of them.
  EXPECT_EQ(system.process_count(), before + 2);
  system.stop();
}

TEST(PidSubscribers, of_a_node_that_has_no_room_cost_one_try_and_those_of_others_are_told) {
  process::SystemConfig config;
  config.node = Atom("a@test");
  config.workers = 1;
  process::System system(config);
  std::mutex mutex;
  std::map<Atom, std::size_t> messages;
  bool has_room = false;
  process::RemotePort port;
  port.send = [&](const Atom& node, distribution::Signal&& signal, const Pid&) {
    if (!std::holds_alternative<distribution::Send>(signal.control)) return distribution::SendOutcome::accepted;
    const std::lock_guard lock(mutex);
    ++messages[node];
    return node == "b@test" && !has_room ? distribution::SendOutcome::full : distribution::SendOutcome::accepted;
  };
  system.set_remote(std::move(port));
  system.start();
  const auto budget = std::make_shared<SubscriptionBudget>();
  PidSubscribers events(system, budget);
  constexpr std::uint32_t of_each = 100;
  for (std::uint32_t number = 1; number <= of_each; ++number) {
    for (const auto* node : {"b@test", "c@test"}) {
      ASSERT_TRUE(events.add_for_peer(Pid{Atom(node), number, 0, 1}).has_value());
    }
  }
  const auto told = [&] {
    events.tell(Atom("news"));
    const std::lock_guard lock(mutex);
    return std::exchange(messages, {});
  };
  EXPECT_EQ(told(), (std::map<Atom, std::size_t>{{Atom("b@test"), 1}, {Atom("c@test"), of_each}}));
  EXPECT_EQ(system.counters().dropped_by_channel, of_each);
  has_room = true;
  events.remove(Pid{Atom("c@test"), 1, 0, 1});
  EXPECT_EQ(told(), (std::map<Atom, std::size_t>{{Atom("b@test"), of_each}, {Atom("c@test"), of_each - 1}}));
  system.stop();
}

TEST(InputQueue, keeps_the_order_and_wakes_once) {
  Queue queue(100);
  EXPECT_EQ(queue.push(1), Queue::Pushed::wake);
  EXPECT_EQ(queue.push_if_short(2, 10), Queue::Pushed::queued);
  EXPECT_EQ(queue.push(3), Queue::Pushed::queued);
  const auto taken = queue.take();
  ASSERT_EQ(taken.size(), 3U);
  EXPECT_EQ(taken[0].input, 1);
  EXPECT_EQ(taken[1].bytes, 10U);
  EXPECT_EQ(taken[2].input, 3);
  EXPECT_EQ(queue.push(4), Queue::Pushed::wake);
}

std::vector<std::string> free_after(Queue& queue, const Queue::Entry& entry) {
  std::vector<std::string> names;
  for (const auto& channel : queue.done(entry))
    names.push_back(channel.node.string() + " " + std::to_string(channel.epoch));
  std::ranges::sort(names);
  return names;
}
using Names = std::vector<std::string>;

TEST(InputQueue, holds_channels_back_until_it_is_half_empty) {
  Queue queue(100);
  EXPECT_EQ(queue.push_received(1, 60, {"b@h", 1}).second, DeliverOutcome::accepted);
  EXPECT_EQ(queue.push_received(2, 60, {"c@h", 2}).second, DeliverOutcome::congested);
  EXPECT_EQ(queue.push_received(3, 10, {"d@h", 3}).second, DeliverOutcome::congested);
  EXPECT_EQ(queue.push_if_short(3, 1), Queue::Pushed::full) << "the program waits, peers do not lose";
  const auto taken = queue.take();
  EXPECT_EQ(free_after(queue, taken[0]), Names{});
  EXPECT_EQ(free_after(queue, taken[1]), (Names{"c@h 2", "d@h 3"}));
  EXPECT_EQ(free_after(queue, taken[2]), Names{});
  EXPECT_EQ(queue.push_if_short(3, 100), Queue::Pushed::wake);
  EXPECT_EQ(queue.held_back(), 2U);
}

TEST(InputQueue, holds_back_who_alone_fills_more_than_its_share) {
  constexpr std::size_t mib = 1024UL * 1024;
  Queue queue(16 * mib);  // so that a share is 1 MiB
  EXPECT_EQ(queue.push_received(1, mib, {"b@h", 1}).second, DeliverOutcome::accepted);
  EXPECT_EQ(queue.push_received(2, 1, {"b@h", 1}).second, DeliverOutcome::congested);
  EXPECT_EQ(queue.push_received(3, mib, {"c@h", 1}).second, DeliverOutcome::accepted) << "others go on";
  const auto taken = queue.take();
  EXPECT_EQ(queue.push_received(4, mib / 2, {"b@h", 1}).second, DeliverOutcome::accepted) << "it is held already";
  EXPECT_EQ(free_after(queue, taken[0]), Names{}) << "more than half of its share is there still";
  EXPECT_EQ(free_after(queue, taken[1]), Names{"b@h 1"});
  EXPECT_EQ(queue.held_back(), 1U) << "the second time it was held already";
}

TEST(InputQueue, leaves_it_to_others_to_hold_a_channel) {
  Queue queue(100);
  EXPECT_EQ(queue.push_received(1, 200, {"b@h", 1}, false).second, DeliverOutcome::accepted);
  EXPECT_EQ(queue.push_received(2, 1, {"b@h", 1}).second, DeliverOutcome::congested);
}

TEST(InputQueue, resumes_the_channel_that_was_held_last) {
  Queue queue(100);
  EXPECT_EQ(queue.push_received(1, 101, {"b@h", 1}).second, DeliverOutcome::congested);
  EXPECT_EQ(queue.push_received(2, 1, {"b@h", 2}).second, DeliverOutcome::congested) << "it connected anew";
  const auto taken = queue.take();
  EXPECT_EQ(free_after(queue, taken[0]), Names{"b@h 2"});
  EXPECT_EQ(free_after(queue, taken[1]), Names{});
}

TEST(PeerRates, hold_back_who_sends_too_fast_until_there_is_room_for_more_than_one) {
  MonotonicTime now = monotonic_now();
  PeerRates rates(100);
  for (int sent = 0; sent < 100; ++sent) EXPECT_FALSE(rates.count({"b@h", 1}, now));
  EXPECT_EQ(rates.deadline(), MonotonicTime::max());
  EXPECT_TRUE(rates.count({"b@h", 1}, now));
  EXPECT_FALSE(rates.count({"b@h", 1}, now)) << "it was on its way, and is held already";
  EXPECT_FALSE(rates.count({"c@h", 1}, now)) << "each for itself";
  EXPECT_EQ(rates.held_back(), 1U);
  EXPECT_EQ(rates.deadline(), now + 100ms);
  now += 99ms;
  EXPECT_TRUE(rates.release(now).empty());
  now += 1ms;
  const auto free = rates.release(now);
  ASSERT_EQ(free.size(), 1U);
  EXPECT_EQ(free[0].node, Atom("b@h"));
  EXPECT_EQ(rates.deadline(), MonotonicTime::max());
  for (int sent = 0; sent < 10; ++sent) EXPECT_FALSE(rates.count({"b@h", 1}, now));
  EXPECT_TRUE(rates.count({"b@h", 2}, now));
  const auto later = rates.release(now + 1h);  // and is forgotten
  ASSERT_EQ(later.size(), 1U);
  EXPECT_EQ(later[0].epoch, 2U) << "the channel of now";
  EXPECT_EQ(rates.deadline(), MonotonicTime::max());
  EXPECT_TRUE(rates.release(now + 2h).empty());
}

TEST(PeerRates, without_a_limit_hold_nobody_back) {
  PeerRates rates(0);
  for (int sent = 0; sent < 1000; ++sent) EXPECT_FALSE(rates.count({"b@h", 1}, MonotonicTime{}));
}

TEST(InputQueue, refuses_everything_when_it_is_closed) {
  Queue queue(100);
  queue.push(1);
  queue.close();
  EXPECT_EQ(queue.push(2), Queue::Pushed::closed);
  EXPECT_EQ(queue.push_if_short(2, 1000), Queue::Pushed::closed);
  EXPECT_EQ(queue.push_received(2, 1000, {"b@h", 1}).second, DeliverOutcome::accepted);
  EXPECT_TRUE(queue.take().empty());
}

TEST(SerialExecutor, runs_what_was_posted_in_order_and_alarms_at_their_time) {
  SerialExecutor executor;
  std::vector<int> ran;
  std::promise<MonotonicTime> rang;
  const auto due = monotonic_now() + 20ms;
  SerialExecutor::Alarm alarm(executor, [&] { rang.set_value(monotonic_now()); });
  executor.post([&] { ran.push_back(1); });
  executor.post([&] {
    ran.push_back(2);
    alarm.set(due + 1h);
    alarm.set(due);
  });
  EXPECT_FALSE(executor.is_current());
  executor.start();
  EXPECT_GE(rang.get_future().get(), due);
  executor.stop();
  EXPECT_EQ(ran, (std::vector<int>{1, 2}));
}

TEST(SerialExecutor, runs_on_the_thread_of_who_would_wait_unless_something_else_runs_or_is_due) {
  SerialExecutor executor;
  std::thread::id ran_on;
  const auto note_thread = [&] { ran_on = executor.is_current() ? std::this_thread::get_id() : std::thread::id(); };
  EXPECT_FALSE(executor.run_here(note_thread)) << "it was not started";
  executor.start();
  EXPECT_TRUE(executor.run_here(note_thread));
  EXPECT_EQ(ran_on, std::this_thread::get_id());
  EXPECT_FALSE(executor.is_current());

  std::promise<void> runs;
  std::promise<void> go_on;
  executor.post([&] {
    runs.set_value();
    go_on.get_future().wait();
  });
  runs.get_future().wait();
  EXPECT_FALSE(executor.run_here(note_thread)) << "something else runs";
  go_on.set_value();

  // Who does all that it wants here does not keep the executor's own thread from its turn.
  std::promise<void> had_turn;
  auto turn = had_turn.get_future();
  executor.post([&] { had_turn.set_value(); });
  while (turn.wait_for(0s) != std::future_status::ready) executor.run_here([] {});
  executor.stop();
  EXPECT_FALSE(executor.run_here(note_thread)) << "it was stopped";
}

class PeersFile : public testing::Test {
 protected:
  Result<std::vector<KnownPeer>> read() {
    return read_peers(file, [this](const std::string& text) { warnings.push_back(text); });
  }
  const test::ScratchDirectory root;
  const std::filesystem::path file = root / "data" / "peers";
  std::vector<std::string> warnings;
};

TEST_F(PeersFile, is_read_as_it_was_written) {
  const std::vector<KnownPeer> peers{{"b@h", "127.0.0.1:4433"}, {"c@h", ""}, {"d@h", "[::1]:4434"}};
  ASSERT_TRUE(write_peers(file, peers).has_value());
  const auto read_back = read();
  ASSERT_TRUE(read_back.has_value()) << read_back.error().message();
  EXPECT_EQ(*read_back, peers);
  EXPECT_TRUE(warnings.empty());
}

TEST_F(PeersFile, may_be_absent) {
  const auto none = read();
  ASSERT_TRUE(none.has_value());
  EXPECT_TRUE(none->empty());
}

TEST_F(PeersFile, says_which_lines_it_skipped) {
  ASSERT_TRUE(write_peers(file, {}).has_value());
  std::ofstream(file, std::ios::app) << "nohost\nb@h 127.0.0.1\nc@h 127.0.0.1:1\n\n";
  const auto peers = read();
  ASSERT_TRUE(peers.has_value());
  EXPECT_EQ(*peers, (std::vector<KnownPeer>{{"c@h", "127.0.0.1:1"}}));
  ASSERT_EQ(warnings.size(), 3U);
  EXPECT_NE(warnings[0].find("line 2"), std::string::npos);
  EXPECT_NE(warnings[1].find("line 3"), std::string::npos);
}

TEST_F(PeersFile, is_refused_when_it_is_something_else) {
  std::filesystem::create_directories(file);
  EXPECT_EQ(read().error(), Errc::io_error);
  std::filesystem::remove(file);
  std::ofstream(file) << "barrel_p2p peers 2\n";
  const auto other = read();
  EXPECT_EQ(other.error(), Errc::corrupt);
  EXPECT_NE(other.error().context().find("remove it"), std::string::npos);
}

TEST_F(PeersFile, is_written_beside_the_caller_and_the_last_list_counts) {
  {
    PeersWriter writer(file, [&](const Error& error) { warnings.push_back(error.message()); });
    for (int round = 0; round < 100; ++round) writer.write({{"b@h", "127.0.0.1:" + std::to_string(round + 1)}});
  }
  EXPECT_EQ(*read(), (std::vector<KnownPeer>{{"b@h", "127.0.0.1:100"}}));
  EXPECT_TRUE(warnings.empty());
}

TEST_F(PeersFile, reports_the_first_failure_of_a_row) {
  std::ofstream(root / "data") << "a file where the directory should be";
  {
    PeersWriter writer(file, [&](const Error& error) { warnings.push_back(error.message()); });
    writer.write({});
    writer.write({});
  }
  EXPECT_EQ(warnings.size(), 1U);
}

TEST_F(PeersFile, that_could_not_be_written_is_tried_again) {
  const std::vector<KnownPeer> peers{{"b@h", "127.0.0.1:1"}};
  std::ofstream(root / "data") << "a file where the directory should be";
  std::promise<void> failed;
  PeersWriter writer(file, [&](const Error& /*error*/) { failed.set_value(); }, std::chrono::milliseconds(5));
  writer.write(peers);
  ASSERT_EQ(failed.get_future().wait_for(test::patience), std::future_status::ready);
  std::filesystem::remove(root / "data");
  EXPECT_TRUE(test::becomes_true([&] {
    const auto known = read();
    return known && *known == peers;
  }));
}

}  // namespace
}  // namespace barrel_p2p::node
