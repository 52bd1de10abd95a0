// What comes from a peer in one piece: signals behind each other.
#include <gtest/gtest.h>
#include <barrel_p2p/process.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <set>
#include <span>
#include <vector>

#include "distribution/control.hpp"
#include "process/inbox.hpp"
#include "process/state.hpp"
#include "process/system.hpp"
#include "support/patience.hpp"

namespace barrel_p2p::process {
namespace {

using distribution::Delivered;
using distribution::DeliverOutcome;
using distribution::Signal;

Signal message(const Pid& to, const Term& content) {
  const auto bytes = std::make_shared<Bytes>(encode_term(content, {.version_byte = false}));
  return {distribution::Send{std::nullopt, to}, distribution::EncodedTerm{*bytes, bytes}};
}

class Arrivals : public testing::Test {
 protected:
  Arrivals() {
    RemotePort port;
    port.send = [this](const Atom& /*node*/, Signal&& signal, const Pid& /*key*/) {
      const std::lock_guard lock(mutex);
      left.push_back(std::move(signal.control));
      return distribution::SendOutcome::accepted;
    };
    port.resume_reading = [this](const Atom& node, std::uint64_t epoch) {
      if (node == Atom("b@test")) resumed.set_value(epoch);
    };
    system.set_remote(std::move(port));
    system.start();
    system.node_up("b@test", 7, 77, distribution::flag::published);
  }
  ~Arrivals() override { system.stop(); }

  static SystemConfig config() {
    SystemConfig config;
    config.node = Atom("a@test");
    config.creation = 77;
    config.workers = 2;
    config.mailbox_bytes_max = 10 * sizeof(Event);
    return config;
  }

  /// How many were taken at a time.
  std::vector<std::size_t> deliver(std::vector<Signal> signals) {
    std::vector<std::size_t> counts;
    for (std::span<Signal> rest(signals); !rest.empty();) {
      const Delivered done = system.deliver("b@test", 7, rest);
      if (done.outcome == DeliverOutcome::congested) ++holds;
      counts.push_back(done.count);
      rest = rest.subspan(done.count);
    }
    return counts;
  }
  /// Keeps what comes until the atom `last` does.
  Pid spawn_reader(std::promise<std::vector<Term>>& heard) {
    return system.spawn([&heard](Process& self) -> Task<> {
      std::vector<Term> all;
      for (;;) {
        all.push_back(co_await self.receive());
        if (all.back().is_atom("last")) break;
      }
      heard.set_value(std::move(all));
    });
  }
  /// What another node is told, of one kind.
  template <class Control>
  std::vector<Control> sent() {
    const std::lock_guard lock(mutex);
    std::vector<Control> found;
    for (const auto& control : left) {
      if (const auto* one = std::get_if<Control>(&control)) found.push_back(*one);
    }
    return found;
  }
  [[nodiscard]] bool counts(const Pid& pid, std::size_t bytes) {
    const auto state = system.find(pid);
    return state && test::becomes_true([&] { return state->remote_bytes() == bytes; });
  }
  static std::vector<Term> read(std::promise<std::vector<Term>>& heard) {
    auto future = heard.get_future();
    if (future.wait_for(test::patience) != std::future_status::ready) return {};
    return future.get();
  }

  std::mutex mutex;
  std::vector<distribution::Control> left;
  std::promise<std::uint64_t> resumed;  ///< Twice would end the test.
  std::promise<std::vector<Term>> first_heard;
  std::promise<std::vector<Term>> second_heard;
  int holds = 0;
  System system{config()};
};

TEST_F(Arrivals, messages_behind_each_other_reach_their_process_at_once_and_all_keep_their_order) {
  const Pid one = spawn_reader(first_heard);
  const Pid other = spawn_reader(second_heard);
  const Pid peer{Atom("b@test"), 1, 0, 77};
  std::vector<Signal> signals;
  for (int number = 0; number < 3; ++number) signals.push_back(message(one, number));
  signals.push_back({distribution::Link{peer, one}, {}});
  for (int number = 3; number < 5; ++number) signals.push_back(message(one, number));
  signals.push_back(message(other, Atom("last")));
  signals.push_back(message(one, Atom("last")));
  EXPECT_EQ(deliver(std::move(signals)), (std::vector<std::size_t>{3, 1, 2, 1, 1}));
  EXPECT_EQ(to_text(Term::list(read(first_heard))), "[0,1,2,3,4,last]");
  EXPECT_EQ(to_text(Term::list(read(second_heard))), "[last]");
  EXPECT_EQ(holds, 0);
}

TEST_F(Arrivals, that_nobody_is_there_for_are_counted_each) {
  const Pid nobody{Atom("a@test"), 12345, 0, 77};
  const Pid of_an_earlier_life{Atom("a@test"), 12345, 0, 76};
  deliver({message(nobody, 1), message(nobody, 2), message(nobody, 3)});
  EXPECT_EQ(system.counters().dropped_no_process, 3U);
  deliver({message(of_an_earlier_life, 1), message(of_an_earlier_life, 2)});
  EXPECT_EQ(system.counters().dropped_stale_creation, 2U);
}

TEST_F(Arrivals, that_are_more_than_the_mailbox_takes_hold_the_channel_back_once) {
  std::promise<void> go;
  auto may_go = go.get_future().share();
  const Pid reader = system.spawn([may_go, &heard = first_heard](Process& self) -> Task<> {
    may_go.wait();
    std::vector<Term> all;
    for (int count = 0; count < 20; ++count) all.push_back(co_await self.receive());
    heard.set_value(std::move(all));
  });
  std::vector<Signal> signals;
  for (int number = 0; number < 10; ++number) signals.push_back(message(reader, Term::binary(Bytes(100, 1))));
  EXPECT_EQ(deliver(signals), std::vector<std::size_t>{10});
  EXPECT_EQ(holds, 1);
  // Who sends no messages is not held back for those of others, and neither is anybody here.
  system.node_up("c@test", 8, 77, distribution::flag::published);
  const Pid other{Atom("c@test"), 1, 0, 77};
  const auto watched = system.deliver("c@test", 8, Signal{distribution::Monitor{other, reader, system.make_ref()}, {}});
  EXPECT_EQ(watched, DeliverOutcome::accepted);
  system.exit(reader, Atom("normal"));
  EXPECT_EQ(deliver(signals), std::vector<std::size_t>(10, 1)) << "each finds out whether there is room";
  EXPECT_EQ(holds, 1) << "it is held already";
  go.set_value();
  EXPECT_EQ(read(first_heard).size(), 20U);
  EXPECT_EQ(system.counters().mailboxes_full, 1U);
  auto future = resumed.get_future();
  ASSERT_EQ(future.wait_for(test::patience), std::future_status::ready);
  EXPECT_EQ(future.get(), 7U);
}

/// A process that reads nothing but `go`, and all that is there after it.
class ArrivalsBeyondTwiceTheBound : public Arrivals {
 protected:
  ArrivalsBeyondTwiceTheBound() {
    reader = system.spawn([&heard = first_heard](Process& self) -> Task<> {
      (void)co_await self.receive([](const Term& message) { return message.is_atom("go"); });
      std::vector<Term> all;
      do {
        all.push_back(co_await self.receive());
      } while (!all.back().is_atom("last"));
      heard.set_value(std::move(all));
      for (;;) co_await self.receive();
    });
  }
  static Term numbered(int number) { return Term::tuple({number, Term::binary(Bytes(100, 1))}); }
  static std::size_t size() { return sizeof(Event) + encoded_size(numbered(1), false); }
  /// What is in the mailbox never exceeds this.
  static std::size_t most() { return 3 * config().mailbox_bytes_max + 2 * size(); }
  DeliverOutcome deliver_one(std::uint64_t epoch, Signal signal) {
    return system.deliver("b@test", epoch, std::move(signal));
  }

  const Pid peer{Atom("b@test"), 1, 0, 77};
  Pid reader;
};

TEST_F(ArrivalsBeyondTwiceTheBound, wait_with_their_channel_and_keep_their_order) {
  constexpr int count = 200;
  for (int number = 0; number < count; ++number) deliver({message(reader, numbered(number))});
  EXPECT_EQ(holds, 1);
  const auto state = system.find(reader);
  EXPECT_GT(state->remote_bytes(), config().mailbox_bytes_max);
  EXPECT_LE(state->remote_bytes(), most());
  deliver({message(reader, Atom("last"))});
  ASSERT_TRUE(system.send(reader, Term(Atom("go"))).has_value());
  const auto heard = read(first_heard);
  ASSERT_EQ(heard.size(), count + 1U);
  for (int number = 0; number < count; ++number) EXPECT_EQ(heard[static_cast<std::size_t>(number)], numbered(number));
  auto future = resumed.get_future();
  ASSERT_EQ(future.wait_for(test::patience), std::future_status::ready);
  EXPECT_EQ(future.get(), 7U);
  EXPECT_TRUE(counts(reader, 0));
  EXPECT_EQ(deliver({message(reader, 1), message(reader, 2)}), std::vector<std::size_t>{2}) << "as before";
  EXPECT_EQ(holds, 1);
}

TEST_F(ArrivalsBeyondTwiceTheBound, go_with_their_channel_so_that_who_comes_again_and_again_fills_no_more) {
  const auto state = system.find(reader);
  for (std::uint64_t epoch = 8; epoch < 100; ++epoch) {
    EXPECT_TRUE(system.node_down("b@test", epoch - 1));
    system.node_up("b@test", epoch, 77, distribution::flag::published);
    for (int number = 0; number < 10; ++number) deliver_one(epoch, message(reader, numbered(number)));
  }
  EXPECT_LE(state->remote_bytes(), most());
  EXPECT_GT(system.counters().dropped_by_channel, 800U);
  EXPECT_TRUE(system.node_down("b@test", 99));
  ASSERT_TRUE(system.send(reader, Term(Atom("go"))).has_value());
  ASSERT_TRUE(system.send(reader, Term(Atom("last"))).has_value());
  EXPECT_LT(read(first_heard).size(), 30U);
  EXPECT_TRUE(counts(reader, 0));
}

TEST_F(ArrivalsBeyondTwiceTheBound, keep_no_answer_of_another_node_from_the_process) {
  std::promise<void> answered;
  const Pid asking = system.spawn([&answered](Process& self) -> Task<> {
    (void)co_await self.receive([](const Term& message) { return message.is_atom("answer"); });
    answered.set_value();
    (void)co_await self.receive([](const Term& message) { return message.is_atom("never"); });
  });
  for (int number = 0; number < 50; ++number) deliver({message(asking, numbered(number))});
  system.node_up("c@test", 8, 77, distribution::flag::published);
  EXPECT_EQ(system.deliver("c@test", 8, message(asking, Atom("answer"))), DeliverOutcome::congested);
  auto future = answered.get_future();
  ASSERT_EQ(future.wait_for(test::patience), std::future_status::ready);
}

TEST_F(ArrivalsBeyondTwiceTheBound, leave_nothing_of_a_monitor_by_name_that_goes_with_its_channel) {
  ASSERT_TRUE(system.register_name("reader", reader).has_value());
  for (int number = 0; number < 50; ++number) deliver({message(reader, numbered(number))});
  const Ref held{Atom("b@test"), 77, 3, {1, 2, 3, 0, 0}};
  const Ref passed{Atom("b@test"), 77, 3, {4, 5, 6, 0, 0}};
  deliver({{distribution::Monitor{peer, Atom("reader"), held}, {}}});
  EXPECT_EQ(system.forget_named(held, peer), reader);
  deliver({{distribution::Monitor{peer, Atom("reader"), passed}, {}}});
  EXPECT_TRUE(system.node_down("b@test", 7));
  EXPECT_EQ(system.forget_named(passed, peer), std::nullopt);
}

TEST_F(ArrivalsBeyondTwiceTheBound, are_no_more_because_they_are_exits_that_nobody_can_refuse) {
  std::promise<void> begun;
  std::promise<void> go;
  const Pid working = system.spawn([&begun, may_go = go.get_future().share()](Process& /*self*/) -> Task<> {
    begun.set_value();
    may_go.wait();
    co_return;
  });
  begun.get_future().wait();
  const auto state = system.find(working);
  for (int number = 0; number < 200; ++number) deliver({{distribution::Exit2{peer, working}, Term(Atom("kill"))}});
  EXPECT_LE(state->remote_bytes(), most());
  go.set_value();
  EXPECT_TRUE(test::becomes_true([&] { return !system.is_alive(working); }));
}

TEST_F(ArrivalsBeyondTwiceTheBound, keep_nobody_from_killing_the_process_and_are_answered_when_it_is_gone) {
  for (int number = 0; number < 50; ++number) deliver({message(reader, numbered(number))});
  const Ref ref{Atom("b@test"), 77, 3, {1, 2, 3, 0, 0}};
  deliver({{distribution::Monitor{peer, reader, ref}, {}}});
  EXPECT_TRUE(system.is_alive(reader));
  deliver({{distribution::Exit2{peer, reader}, Term(Atom("kill"))}});
  EXPECT_TRUE(test::becomes_true([&] { return !system.is_alive(reader); }));
  ASSERT_TRUE(test::becomes_true([&] { return !sent<distribution::MonitorExit>().empty(); }));
  EXPECT_EQ(sent<distribution::MonitorExit>().front().ref, ref);
  auto future = resumed.get_future();
  ASSERT_EQ(future.wait_for(test::patience), std::future_status::ready);
}

TEST_F(Arrivals, without_a_message_hold_the_channel_back_too_when_they_are_many) {
  std::promise<void> go;
  auto may_go = go.get_future().share();
  const Pid reader = system.spawn([may_go](Process& self) -> Task<> {
    may_go.wait();
    for (;;) co_await self.receive();
  });
  const Pid peer{Atom("b@test"), 1, 0, 77};
  const Ref ref{Atom("b@test"), 77, 3, {1, 2, 3, 0, 0}};
  const std::vector<distribution::Control> kinds{distribution::Link{peer, reader},
                                                 distribution::Unlink{1, peer, reader},
                                                 distribution::UnlinkAck{1, peer, reader},
                                                 distribution::Monitor{peer, reader, ref},
                                                 distribution::Demonitor{peer, reader, ref},
                                                 distribution::GroupLeader{peer, reader},
                                                 distribution::SpawnReply{ref, reader, 0, Atom("badarg")}};
  constexpr std::size_t allowed = 20;  // twice what the mailbox may have
  std::vector<Signal> signals;
  for (std::size_t number = 0; number < allowed; ++number) signals.push_back({kinds.at(number % kinds.size()), {}});
  deliver(signals);
  EXPECT_EQ(holds, 0);
  deliver({{distribution::Unlink{2, peer, reader}, {}}});
  EXPECT_EQ(holds, 1);
  deliver(signals);
  EXPECT_EQ(holds, 1) << "it is held already";
  go.set_value();
  auto future = resumed.get_future();
  ASSERT_EQ(future.wait_for(test::patience), std::future_status::ready);
  EXPECT_EQ(future.get(), 7U);
  EXPECT_TRUE(counts(reader, 0));
}

TEST_F(Arrivals, that_exits_and_ends_become_count_until_they_are_read) {
  const Pid peer{Atom("b@test"), 1, 0, 77};
  const Pid reader = system.spawn([peer, &heard = first_heard](Process& self) -> Task<> {
    self.trap_exit(true);
    (void)self.monitor(peer);
    (void)co_await self.receive([](const Term& message) { return message.is_atom("go"); });
    std::vector<Term> all;
    for (int count = 0; count < 5; ++count) all.push_back(co_await self.receive());
    heard.set_value(std::move(all));
    for (;;) co_await self.receive();
  });
  ASSERT_TRUE(test::becomes_true([&] { return !sent<distribution::Monitor>().empty(); }));
  const Ref ref = sent<distribution::Monitor>().front().ref;
  const Term reason = Term::binary(Bytes(50, 1));  // in the control tuple
  for (int number = 0; number < 4; ++number) deliver({{distribution::Exit2{peer, reader}, reason}});
  deliver({{distribution::MonitorExit{peer, reader, ref}, reason}, {distribution::Unlink{1, peer, reader}, {}}});
  EXPECT_TRUE(test::becomes_true([&] { return !sent<distribution::UnlinkAck>().empty(); })) << "they were looked at";
  EXPECT_TRUE(counts(reader, 5 * (sizeof(Event) + encoded_size(reason, false))));
  deliver({message(reader, Atom("go"))});
  EXPECT_EQ(read(first_heard).size(), 5U);
  EXPECT_TRUE(counts(reader, 0));
  EXPECT_EQ(holds, 0);
}

TEST_F(Arrivals, that_exits_of_processes_yet_unknown_become_count_until_they_are_dropped) {
  const Pid asking = system.spawn([](Process& self) -> Task<> {
    Process::SpawnOptions options;
    options.link = true;
    (void)co_await self.spawn_on("b@test", RemoteFunction("jobs", "run"), options);
    for (;;) co_await self.receive();
  });
  ASSERT_TRUE(test::becomes_true([&] { return !sent<distribution::SpawnRequest>().empty(); }));
  const auto request = sent<distribution::SpawnRequest>().front();
  const Pid peer{Atom("b@test"), 1, 0, 77};
  const Term reason = Term::binary(Bytes(50, 1));
  deliver({{distribution::Exit{peer, asking}, reason}, {distribution::Unlink{1, peer, asking}, {}}});
  EXPECT_TRUE(test::becomes_true([&] { return !sent<distribution::UnlinkAck>().empty(); }));
  EXPECT_TRUE(counts(asking, sizeof(Event) + encoded_size(reason, false)));
  deliver({{distribution::SpawnReply{request.request, asking, 0, Atom("badarg")}, {}}});
  EXPECT_TRUE(counts(asking, 0));
}

TEST_F(Arrivals, that_repeat_a_monitor_are_told_as_often_and_demonitors_are_of_who_watches) {
  const Pid watched = spawn_reader(first_heard);
  const auto process = [](std::uint32_t number) { return Pid{Atom("b@test"), number, 0, 77}; };
  const Ref ref{Atom("b@test"), 77, 3, {1, 2, 3, 0, 0}};
  for (const std::uint32_t number : {1U, 1U, 2U, 3U, 1U, 3U}) {
    deliver({{distribution::Monitor{process(number), watched, ref}, {}}});
  }
  deliver({{distribution::Demonitor{process(3), watched, ref}, {}}});
  deliver({{distribution::Exit2{process(1), watched}, Atom("kill")}});
  system.stop();  // it has told all that it had to
  std::multiset<std::uint32_t> told;
  for (const auto& down : sent<distribution::MonitorExit>()) told.insert(down.to.id);
  EXPECT_EQ(told, (std::multiset<std::uint32_t>{1, 1, 1, 2}));
}

TEST(RepeatedMonitors, cost_no_more_to_find_than_others_and_count_all) {
  constexpr int monitors = 100'000;
  std::atomic<int> refused{0};
  std::promise<void> acknowledged;
  SystemConfig config;
  config.node = Atom("a@test");
  config.creation = 77;
  config.workers = 1;
  config.remote_relations_max = monitors;
  System system(config);
  RemotePort port;
  port.send = [&](const Atom& /*node*/, Signal&& signal, const Pid& /*key*/) {
    if (std::holds_alternative<distribution::MonitorExit>(signal.control)) ++refused;
    if (std::holds_alternative<distribution::UnlinkAck>(signal.control)) acknowledged.set_value();
    return distribution::SendOutcome::accepted;
  };
  system.set_remote(std::move(port));
  system.start();
  system.node_up("b@test", 7, 77, distribution::flag::published);
  const Pid watched = system.spawn([](Process& self) -> Task<> {
    for (;;) co_await self.receive();
  });
  const Pid peer{Atom("b@test"), 1, 0, 77};
  const Pid other{Atom("b@test"), 2, 0, 77};
  const Ref ref{Atom("b@test"), 77, 3, {1, 2, 3, 0, 0}};
  const Ref unknown{Atom("b@test"), 77, 3, {4, 5, 6, 0, 0}};
  /// How long it takes to handle so many of these signals.
  const auto handle = [&](int count, const distribution::Control& control) {
    acknowledged = {};
    const auto begun = std::chrono::steady_clock::now();
    for (int number = 0; number < count; ++number) system.deliver("b@test", 7, Signal{control, {}});
    system.deliver("b@test", 7, Signal{distribution::Unlink{1, peer, watched}, {}});
    EXPECT_EQ(acknowledged.get_future().wait_for(test::patience), std::future_status::ready);
    return std::chrono::steady_clock::now() - begun;
  };
  handle(monitors, distribution::Monitor{peer, watched, ref});
  EXPECT_EQ(refused, 0);
  handle(1, distribution::Monitor{peer, watched, ref});
  EXPECT_EQ(refused, 1);
  auto beside_many = std::chrono::steady_clock::duration::max();
  auto beside_none = beside_many;
  constexpr int demonitors = 1000;
  for (int round = 0; round < 3; ++round) {
    beside_many = std::min(beside_many, handle(demonitors, distribution::Demonitor{other, watched, ref}));
    beside_none = std::min(beside_none, handle(demonitors, distribution::Demonitor{other, watched, unknown}));
  }
  EXPECT_LT(beside_many, 10 * beside_none);
  handle(1, distribution::Demonitor{peer, watched, ref});
  handle(monitors, distribution::Monitor{other, watched, unknown});
  EXPECT_EQ(refused, 1) << "all of them are free again";
  system.stop();
}

TEST_F(Arrivals, that_were_read_do_not_count_when_the_process_waits) {
  const Pid reader = system.spawn([](Process& self) -> Task<> {
    for (;;) co_await self.receive();
  });
  deliver({message(reader, 1)});  // so little that it is not reported at once
  const auto state = system.find(reader);
  ASSERT_NE(state, nullptr);
  EXPECT_TRUE(test::becomes_true([&] { return state->remote_bytes() == 0; })) << state->remote_bytes();
}

TEST_F(Arrivals, of_this_node_keep_their_order_around_signals_while_nobody_waits_for_one) {
  std::promise<void> begun;
  std::promise<void> go;
  auto may_go = go.get_future().share();
  const Pid reader = system.spawn([&begun, may_go, &heard = first_heard](Process& self) -> Task<> {
    self.trap_exit(true);
    begun.set_value();
    may_go.wait();
    std::vector<Term> all;
    for (int count = 0; count < 5; ++count) all.push_back(co_await self.receive());
    heard.set_value(std::move(all));
  });
  begun.get_future().wait();
  for (const int number : {1, 2}) ASSERT_TRUE(system.send(reader, number).has_value());
  system.exit(reader, Atom("now"));
  for (const int number : {3, 4}) ASSERT_TRUE(system.send(reader, number).has_value());
  go.set_value();
  const auto all = read(first_heard);
  ASSERT_EQ(all.size(), 5U);
  EXPECT_TRUE(all[2].is_tagged("EXIT", 3)) << to_text(all[2]);
  EXPECT_EQ(to_text(Term::list_of(all[0], all[1], all[3], all[4])), "[1,2,3,4]");
}

TEST_F(Arrivals, for_a_part_of_the_node_are_handed_to_it_one_by_one) {
  std::vector<std::size_t> sizes;
  const Pid part =
      system.spawn_receiver([&sizes](const Atom& /*node*/, std::uint64_t epoch, distribution::Payload&& payload) {
        EXPECT_EQ(epoch, 7U);
        sizes.push_back(std::get<distribution::EncodedTerm>(payload).bytes.size());
        return DeliverOutcome::accepted;
      });
  EXPECT_EQ(deliver({message(part, 1), message(part, Atom("ab"))}), (std::vector<std::size_t>{1, 1}));
  EXPECT_EQ(sizes, (std::vector<std::size_t>{2, 4}));
}

TEST(InboxOfAProcess, takes_a_chain_as_if_its_nodes_had_come_one_after_the_other) {
  const auto text_of = [](Node* list) {
    std::string text;
    while (list != nullptr) {
      Node* node = std::exchange(list, list->next);
      text += to_text(static_cast<Message*>(node)->term);
      destroy(node);
    }
    return text;
  };
  Inbox inbox;
  Chain first;
  for (const int number : {1, 2, 3}) first.add(new Message(Term(number)));
  EXPECT_EQ(inbox.push(first), Inbox::Pushed::wake);
  EXPECT_EQ(inbox.push(new Message(Term(4))), Inbox::Pushed::queued);
  Chain second;
  for (const int number : {5, 6}) second.add(new Message(Term(number)));
  EXPECT_EQ(inbox.push(second), Inbox::Pushed::queued);
  EXPECT_EQ(text_of(inbox.take()), "123456");
  EXPECT_EQ(inbox.close(), nullptr);
  Chain late;
  for (const int number : {7, 8}) late.add(new Message(Term(number)));
  EXPECT_EQ(inbox.push(late), Inbox::Pushed::closed) << "they go with their chain";
}

}  // namespace
}  // namespace barrel_p2p::process
