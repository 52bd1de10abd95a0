// Processes that run where their messages come in: what they do there holds up nothing.
#include <gtest/gtest.h>

#include <pthread.h>

#include <array>
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <future>
#include <string>
#include <vector>

#include "node/node_support.hpp"

namespace barrel_p2p {
namespace {

using test::Cluster;
using test::Lines;

std::string name_of_this_thread() {
  std::array<char, 16> name{};
  pthread_getname_np(pthread_self(), name.data(), name.size());
  return name.data();
}

/// Nodes `a` and `b`, connected, each with one worker.
class Hosted : public testing::Test {
 protected:
  Hosted() {
    if (!Cluster::connects(a, b)) throw std::runtime_error("they do not connect");
  }
  static void one_worker(NodeConfig& config) { config.workers = 1; }
  /// Sends `message` to the process, again and again until its process was run by the network's thread: a message that
  /// comes with others, in one batch, is left to the workers.
  bool runs_there(const Pid& pid) {
    return test::becomes_true(
        [&] { return a.send(pid, Atom("where")).has_value() && threads.next() == "bp2p-network"; });
  }
  Lines threads;  ///< What processes said that go on until their node stops.
  Cluster cluster;
  Node& a = cluster.start("a", one_worker);
  Node& b = cluster.start("b", one_worker);
};

TEST_F(Hosted, a_process_runs_on_the_thread_that_read_its_message) {
  const Pid pid = b.spawn([&](Process& self) -> Task<> {
    for (;;) {
      (void)co_await self.receive();
      threads.add(name_of_this_thread());
    }
  });
  EXPECT_TRUE(runs_there(pid));
  b.exit(pid, Atom("kill"));
  EXPECT_TRUE(test::becomes_true([&] { return !b.is_alive(pid); }));
}

TEST_F(Hosted, who_blocks_there_gets_what_the_network_brings_meanwhile) {
  // Of several that block at once, each until the other node has said the next word, one at least is run by a thread of
  // the network; whichever threads the others have.
  std::array<std::promise<void>, 2> words;
  std::vector<std::shared_future<void>> heard;
  for (auto& word : words) heard.push_back(word.get_future().share());
  const Pid teller = b.spawn([&](Process& self) -> Task<> {
    for (auto& word : words) {
      (void)co_await self.receive();
      word.set_value();
    }
  });
  std::promise<bool> done;
  const Pid blocked = b.spawn([&](Process& self) -> Task<> {
    (void)co_await self.receive();
    bool all = true;
    for (const auto& word : heard) all = all && word.wait_for(test::patience) == std::future_status::ready;
    done.set_value(all);
  });
  ASSERT_TRUE(a.send(blocked, Atom("block")).has_value());
  for (std::size_t count = 0; count < words.size(); ++count) ASSERT_TRUE(a.send(teller, Atom("word")).has_value());
  auto all = done.get_future();
  ASSERT_EQ(all.wait_for(2 * test::patience), std::future_status::ready);
  EXPECT_TRUE(all.get());
}

TEST(HostedTwice, a_second_one_that_blocks_does_not_stop_the_network_either) {
  std::promise<void> word;
  const auto said = word.get_future().share();
  Lines lines;
  Cluster cluster;
  Node& a = cluster.start("a");
  Node& b = cluster.start("b");
  ASSERT_TRUE(Cluster::connects(a, b));
  const auto block = [&](Process& self) -> Task<> {
    (void)co_await self.receive();
    lines.add("begins");
    lines.add(said.wait_for(test::patience) == std::future_status::ready ? "heard" : "deaf");
  };
  // One after the other, so that the second one comes while the first one holds its thread.
  for (int number = 0; number < 2; ++number) {
    ASSERT_TRUE(a.send(b.spawn(block), Atom("block")).has_value());
    ASSERT_EQ(lines.next(), "begins");
  }
  const Pid teller = b.spawn([&](Process& self) -> Task<> {
    (void)co_await self.receive();
    word.set_value();
  });
  ASSERT_TRUE(a.send(teller, Atom("word")).has_value());
  EXPECT_EQ(lines.next(2 * test::patience), "heard");
  EXPECT_EQ(lines.next(2 * test::patience), "heard");
}

TEST_F(Hosted, what_waits_for_the_network_may_be_called_there) {
  const Pid pid = b.spawn([&](Process& self) -> Task<> {
    for (;;) {
      (void)co_await self.receive();
      const std::string thread = name_of_this_thread();
      const bool good =
          b.connect(a.name()).has_value() && b.statistics().connections > 0 && b.path_stats(a.name()).has_value();
      threads.add(good ? thread : "refused");
    }
  });
  EXPECT_TRUE(runs_there(pid));
  b.exit(pid, Atom("kill"));
  EXPECT_TRUE(test::becomes_true([&] { return !b.is_alive(pid); }));
}

TEST_F(Hosted, the_network_goes_on_while_each_of_many_computes_for_longer_than_it_is_watched) {
  constexpr int count = 20;
  std::promise<void> all;
  const Pid asker = a.spawn([&](Process& self) -> Task<> {
    for (int answered = 0; answered < count; ++answered) (void)co_await self.receive();
    all.set_value();
  });
  const auto compute = [asker](Process& self) -> Task<> {
    (void)co_await self.receive();
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(5);
    while (std::chrono::steady_clock::now() < end) {
    }
    co_await self.send(asker, Atom("done"));
  };
  for (int number = 0; number < count; ++number) {
    const Pid pid = b.spawn(compute);
    ASSERT_TRUE(a.send(pid, Atom("compute")).has_value());
    ASSERT_TRUE(a.ping(b.name()).has_value());
  }
  EXPECT_EQ(all.get_future().wait_for(test::patience), std::future_status::ready);
}

TEST_F(Hosted, a_node_stops_while_a_process_asks_it_for_what_the_network_knows) {
  std::promise<void> begun;
  b.spawn([this, &begun](Process& self) -> Task<> {
    Node& node = b;
    for (int round = 0;; ++round) {
      (void)node.statistics();
      if (round == 10) begun.set_value();
      Term word = Atom("on");
      co_await self.send(self.pid(), std::move(word));
      (void)co_await self.receive();
    }
  });
  ASSERT_EQ(begun.get_future().wait_for(test::patience), std::future_status::ready);
  b.stop();
}

TEST_F(Hosted, a_node_stops_while_processes_run_there) {
  const Pid busy = b.spawn([](Process& self) -> Task<> {
    for (;;) {
      const Term message = co_await self.receive();
      co_await self.send(*message.as_pid(), self.pid());
    }
  });
  std::promise<void> begun;
  a.spawn([&begun, busy](Process& self) -> Task<> {
    for (int round = 0;; ++round) {
      co_await self.send(busy, self.pid());
      (void)co_await self.receive();
      if (round == 10) begun.set_value();
    }
  });
  ASSERT_EQ(begun.get_future().wait_for(test::patience), std::future_status::ready);
  cluster.stop("b");
  cluster.stop("a");
}

}  // namespace
}  // namespace barrel_p2p
