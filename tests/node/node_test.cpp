// Whole nodes in one process, over real QUIC on loopback.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <barrel_p2p/node.hpp>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <iterator>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "node/node_support.hpp"
#include "support/sanitized.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::Cluster;

TEST(Node, two_nodes_connect_and_exchange_messages_by_pid_and_by_name) {
  Cluster cluster;
  Node& a = cluster.start("a");
  Node& b = cluster.start("b");
  const auto connected = a.connect(b.name());
  ASSERT_TRUE(connected.has_value()) << connected.error().message();
  EXPECT_EQ(a.nodes(), std::vector<NodeName>{b.name()});

  const Pid echo = b.spawn([](Process& self) -> Task<> {
    for (;;) {
      const Term message = co_await self.receive();
      co_await self.send(*message[0].as_pid(), Term::tuple_of(self.pid(), message[1]));
    }
  });
  ASSERT_TRUE(b.register_process("echo", echo).has_value());
  std::promise<Term> promise;
  a.spawn([&](Process& self) -> Task<> {
    co_await self.send(echo, Term::tuple_of(self.pid(), "by pid"));
    const Term first = co_await self.receive();
    co_await self.send(RemoteName("echo", "b@127.0.0.1"), Term::tuple_of(self.pid(), "by name"));
    const Term second = co_await self.receive();
    promise.set_value(Term::tuple_of(first[1], second[1], first[0]));
  });
  auto future = promise.get_future();
  ASSERT_EQ(future.wait_for(test::patience), std::future_status::ready);
  EXPECT_EQ(future.get(), Term::tuple({"by pid", "by name", echo}));
}

TEST(Node, one_message_goes_to_many_processes_and_who_cannot_be_reached_is_named) {
  test::Lines got_here;
  test::Lines got_there;
  Cluster cluster;
  Node& a = cluster.start("a");
  Node& b = cluster.start("b");
  const auto listener = [](test::Lines& got) {
    return [&got](Process& self) -> Task<> {
      for (;;) got.add(to_text(co_await self.receive()));
    };
  };
  const Pid here = a.spawn(listener(got_here));
  const Pid there = b.spawn(listener(got_there));
  Node& c = cluster.start("c");
  const Pid gone = c.spawn([](Process& self) -> Task<> { std::ignore = co_await self.receive(); });
  c.stop();
  EXPECT_TRUE(a.multicast({}, 1).empty());
  // The first one dials; what comes within a moment of its failure is refused.
  std::vector<Pid> failed;
  ASSERT_TRUE(test::becomes_true([&] {
    failed = a.multicast({gone, here, there}, Term::tuple_of(Atom("news"), 1));
    return !failed.empty();
  }));
  EXPECT_EQ(failed, std::vector<Pid>{gone});
  EXPECT_EQ(got_here.next(), "{news,1}");
  EXPECT_EQ(got_there.next(), "{news,1}");
}

TEST(Node, a_send_dials_and_ping_answers) {
  Cluster cluster;
  Node& a = cluster.start("a");
  Node& b = cluster.start("b");
  const auto time = a.ping(b.name());
  ASSERT_TRUE(time.has_value()) << time.error().message();
  EXPECT_EQ(b.nodes(), std::vector<NodeName>{a.name()});
}

TEST(Node, large_messages_arrive_whole_in_both_directions) {
  Cluster cluster;
  Node& a = cluster.start("a");
  Node& b = cluster.start("b");
  b.export_function("test", "reverse", PlainCallable([](const std::vector<Term>& arguments) -> Result<Term> {
                      const auto bytes = arguments[0].as_binary();
                      return Term::binary(Bytes(bytes->rbegin(), bytes->rend()));
                    }));
  for (const std::size_t size : {10UL, 65'000UL, 66'000UL, 1'000'000UL, 16'000'000UL}) {
    Bytes bytes(size);
    for (std::size_t at = 0; at < size; ++at) bytes[at] = static_cast<std::uint8_t>(at * 7 + at / 251);
    const auto answer = a.call_function(b.name(), "test", "reverse", {Term::binary(bytes)}, test::patience);
    ASSERT_TRUE(answer.has_value()) << size << ": " << answer.error().message();
    std::ranges::reverse(bytes);
    EXPECT_EQ(*answer, Term::binary(bytes)) << size;
  }
}

TEST(Node, who_has_another_cookie_is_not_let_in) {
  Cluster cluster;
  Node& a = cluster.start("a");
  Node& b = cluster.start("b", [](NodeConfig& config) { config.cookie = "other"; });
  const auto connected = a.connect(b.name());
  ASSERT_FALSE(connected.has_value());
  EXPECT_EQ(connected.error().code(), Errc::handshake_failed) << connected.error().message();
  EXPECT_TRUE(b.nodes().empty());
  EXPECT_TRUE(b.keys().empty()) << "no pin before the cookie was proven";
}

TEST(Node, a_name_keeps_its_key) {
  Cluster cluster;
  Node& a = cluster.start("a");
  cluster.start("b");
  ASSERT_TRUE(a.connect("b@127.0.0.1").has_value());
  ASSERT_EQ(a.keys().size(), 1U);
  const auto first = a.keys()[0].key;
  cluster.stop("b");
  ASSERT_TRUE(test::becomes_true([&] { return a.nodes().empty(); })) << "else it is still connected with the first";
  std::filesystem::remove_all(cluster.data("b"));  // another identity under the same name
  Node& impostor = cluster.start("b");
  EXPECT_NE(impostor.public_key(), first);
  const auto refused = a.connect("b@127.0.0.1");
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Errc::key_mismatch) << refused.error().message();
  ASSERT_TRUE(a.unpin("b@127.0.0.1").has_value());
  ASSERT_TRUE(impostor.unpin("a@127.0.0.1").has_value() || impostor.keys().empty());
  EXPECT_TRUE(cluster.connects(a, impostor));
}

TEST(Node, strict_trust_lets_only_pinned_keys_in) {
  Cluster cluster;
  const auto strict = [](NodeConfig& config) { config.authentication.trust_mode = TrustMode::strict; };
  Node& a = cluster.start("a", strict);
  Node& b = cluster.start("b", strict);
  const auto refused = a.connect(b.name());
  ASSERT_FALSE(refused.has_value());
  EXPECT_TRUE(refused.error() == Errc::untrusted_key || refused.error() == Errc::closed ||
              refused.error() == Errc::auth_failed)
      << refused.error().message();
  ASSERT_TRUE(a.pin(b.name(), b.public_key()).has_value());
  ASSERT_TRUE(b.pin(a.name(), a.public_key()).has_value());
  EXPECT_TRUE(cluster.connects(a, b));
  EXPECT_EQ(a.trust_mode(), TrustMode::strict);
  a.set_trust_mode(TrustMode::tofu);
  EXPECT_EQ(a.trust_mode(), TrustMode::tofu);
  const Node& open = cluster.start("c", [](NodeConfig& config) {
    config.authentication.enabled = false;
    config.authentication.trust_mode = TrustMode::strict;
  });
  EXPECT_EQ(open.trust_mode(), TrustMode::strict) << "as configured: nobody is asked for a key";
}

TEST(Node, nodes_are_monitored_and_disconnected) {
  Cluster cluster;
  Node& a = cluster.start("a");
  Node& b = cluster.start("b");
  test::EventLog events;
  const auto subscription = a.monitor_nodes([&](const NodeEvent& event) { events.add(event); });
  ASSERT_TRUE(a.connect(b.name()).has_value());
  EXPECT_EQ(events.next(), "up b@127.0.0.1");
  b.disconnect(a.name());
  EXPECT_EQ(events.next(), "down b@127.0.0.1 connection_closed");
  EXPECT_TRUE(a.nodes().empty());
  ASSERT_TRUE(cluster.connects(b, a));
  EXPECT_EQ(events.next(), "up b@127.0.0.1");
  cluster.stop("b");
  EXPECT_EQ(events.next(), "down b@127.0.0.1 connection_closed");
}

TEST(Node, nodes_that_do_not_exist_or_are_ourselves_are_errors) {
  Cluster cluster;
  Node& a = cluster.start("a");
  const auto self = a.connect(a.name());
  ASSERT_FALSE(self.has_value());
  EXPECT_EQ(self.error(), Errc::cannot_connect_self);
  const auto nobody = a.connect("nobody@127.0.0.1");
  ASSERT_FALSE(nobody.has_value());
  EXPECT_EQ(nobody.error(), Errc::unreachable) << nobody.error().message();
  const auto call = a.call_function("nobody@127.0.0.1", "erlang", "node", {});
  ASSERT_FALSE(call.has_value());
  EXPECT_EQ(call.error(), Errc::no_connection);
}

TEST(Node, both_nodes_dial_each_other_at_once) {
  Cluster cluster;
  Node& a = cluster.start("a");
  Node& b = cluster.start("b");
  constexpr int rounds = 100;
  for (int round = 0; round < rounds; ++round) {
    std::promise<Result<void>> from_a;
    std::promise<Result<void>> from_b;
    a.connect(b.name(), [&](Result<void> result) { from_a.set_value(std::move(result)); });
    b.connect(a.name(), [&](Result<void> result) { from_b.set_value(std::move(result)); });
    auto first = from_a.get_future();
    auto second = from_b.get_future();
    ASSERT_EQ(first.wait_for(test::patience), std::future_status::ready) << round;
    ASSERT_EQ(second.wait_for(test::patience), std::future_status::ready) << round;
    const auto result_a = first.get();
    const auto result_b = second.get();
    ASSERT_TRUE(result_a.has_value()) << round << result_a.error().message();
    ASSERT_TRUE(result_b.has_value()) << round << result_b.error().message();
    ASSERT_TRUE(cluster.settles(a, b));
    ASSERT_TRUE(a.ping(b.name()).has_value()) << round;
    cluster.part(a, b);
  }
}

TEST(Node, a_thousand_processes_that_are_linked_over_nodes_die_with_the_connection) {
  Cluster cluster;
  Node& a = cluster.start("a");
  Node& b = cluster.start("b");
  ASSERT_TRUE(a.connect(b.name()).has_value());
  const Pid anchor = b.spawn([](Process& self) -> Task<> {
    self.trap_exit(true);
    for (;;) co_await self.receive();
  });
  constexpr int count = 1000;
  std::promise<void> linked;
  std::promise<std::int64_t> ended;
  const Matcher is_linked = [](const Term& message) { return message.is_atom("linked"); };
  a.spawn([&](Process& self) -> Task<> {
    for (int number = 0; number < count; ++number) {
      const auto child = self.spawn_monitor([anchor, boss = self.pid()](Process& inner) -> Task<> {
        inner.link(anchor);
        co_await inner.send(boss, Atom("linked"));
        for (;;) co_await inner.receive();
      });
      (void)child;
    }
    for (int number = 0; number < count; ++number) co_await self.receive(is_linked);
    linked.set_value();
    std::int64_t with_noconnection = 0;
    for (int number = 0; number < count; ++number) {
      const Term down = co_await self.receive();
      if (down[4].is_atom("noconnection")) ++with_noconnection;
    }
    ended.set_value(with_noconnection);
  });
  ASSERT_EQ(linked.get_future().wait_for(test::patience), std::future_status::ready);
  cluster.part(a, b);
  auto future = ended.get_future();
  ASSERT_EQ(future.wait_for(test::patience), std::future_status::ready);
  EXPECT_EQ(future.get(), count);
}

TEST(Node, a_full_queue_suspends_the_sender_and_nothing_is_lost) {
  std::atomic<std::int64_t> sent{0};
  std::promise<std::int64_t> counted;
  Cluster cluster;
  Node& a = cluster.start("a", [](NodeConfig& config) {
    config.limits.send_queue_bytes = 64UL * 1024;
    config.limits.send_queue_bytes_max = 1024UL * 1024;
  });
  Node& b = cluster.start("b", [](NodeConfig& config) { config.limits.mailbox_bytes_max = 1024UL * 1024; });
  ASSERT_TRUE(a.connect(b.name()).has_value());
  const Term load = Term::binary(Bytes(100'000, 5));
  constexpr std::int64_t count = 400;  // far more than fits into the mailbox, the queue and the windows on the way
  const Pid reader = b.spawn([&counted](Process& self) -> Task<> {
    const Term released = co_await self.receive(tagged("read", 2));
    std::int64_t next = 0;
    std::int64_t from_outside = 0;
    while (next < count || from_outside < released[1].to<std::int64_t>().value()) {
      const Term message = co_await self.receive();
      if (message[0].is_atom("outside")) ++from_outside;
      if (message[0] == Term(next) && message[1].as_binary()->size() == 100'000) ++next;
    }
    counted.set_value(next);
  });
  a.spawn([&sent, reader, load](Process& self) -> Task<> {
    while (sent < count) {
      co_await self.send(reader, Term::tuple_of(sent.load(), load));
      ++sent;
    }
  });
  ASSERT_TRUE(test::becomes_true([&] { return b.statistics().mailboxes_full > 0; }));
  // The reader does not read: in the end nobody can send any more, and the sender stands still.
  std::int64_t accepted = 0;
  std::int64_t seen = -1;
  int looks = 0;  // in a row that found it so
  const auto send_from_outside = [&] { return a.send(reader, Term::tuple_of(Atom("outside"), load)); };
  const bool stands_still = test::becomes_true([&] {
    auto outcome = send_from_outside();
    for (; outcome && accepted < count; ++accepted) outcome = send_from_outside();
    const bool refused = !outcome && outcome.error() == Errc::overloaded;
    looks = refused && std::exchange(seen, sent.load()) == sent ? looks + 1 : 0;
    return looks == 20;
  });
  EXPECT_TRUE(stands_still) << sent << " sent, and " << accepted << " from outside of processes";
  EXPECT_LT(sent, count);
  ASSERT_TRUE(b.send(reader, Term::tuple_of(Atom("read"), accepted)).has_value());
  auto future = counted.get_future();
  ASSERT_EQ(future.wait_for(test::patience), std::future_status::ready);
  EXPECT_EQ(future.get(), count);
}

TEST(Node, a_message_that_finds_the_queue_full_leaves_when_there_is_room) {
  std::promise<std::vector<Term>> heard;
  std::atomic<int> began{0};
  std::atomic<std::int64_t> sent{0};
  Cluster cluster;
  Node& a = cluster.start("a", [](NodeConfig& config) {
    config.limits.send_queue_bytes = 64UL * 1024;
    config.limits.send_queue_bytes_max = 1024UL * 1024;
  });
  Node& b = cluster.start("b", [](NodeConfig& config) { config.limits.mailbox_bytes_max = 1024UL * 1024; });
  ASSERT_TRUE(a.connect(b.name()).has_value());
  const Term load = Term::binary(Bytes(100'000, 5));
  constexpr std::int64_t count = 50;  // three times what fits into the queue
  const Pid reader = b.spawn([&heard](Process& self) -> Task<> {
    const Term released = co_await self.receive(tagged("read", 1));
    std::vector<Term> tags;
    while (tags.empty() || tags.back() != Term(count - 1)) {
      const Term message = co_await self.receive();
      if (!message[0].is_atom("outside")) tags.push_back(message[0]);
    }
    heard.set_value(std::move(tags));
  });
  // Nobody reads: in the end, 20 looks long, there is no room.
  int looks = 0;
  ASSERT_TRUE(test::becomes_true([&] {
    const auto taken = a.send(reader, Term::tuple_of(Atom("outside"), load));
    looks = !taken && taken.error() == Errc::overloaded ? looks + 1 : 0;
    return looks == 20;
  }));
  const auto dropped = a.statistics().signals_dropped;
  a.spawn([&began, &sent, reader, load](Process& self) -> Task<> {
    ++began;
    for (std::int64_t number = 0; number < count; ++number) {
      co_await self.send(reader, Term::tuple_of(number, load));
      ++sent;
    }
  });
  a.spawn([&began, reader, load](Process& self) -> Task<> {
    (void)self.send(reader, Term::tuple_of(Atom("nobody awaits it"), load));
    ++began;
    co_return;
  });
  const Pid ended = a.spawn([&began, reader, load](Process& self) -> Task<> {
    ++began;
    co_await self.send(reader, Term::tuple_of(Atom("its sender ended"), load));
  });
  ASSERT_TRUE(test::becomes_true([&] { return began == 3; }));
  a.exit(ended, Atom("kill"));
  EXPECT_TRUE(test::becomes_true([&] { return a.statistics().signals_dropped == dropped + 2; }))
      << a.statistics().signals_dropped - dropped;
  EXPECT_EQ(sent, 0);
  ASSERT_TRUE(b.send(reader, Term::tuple_of(Atom("read"))).has_value());
  auto future = heard.get_future();
  ASSERT_EQ(future.wait_for(test::patience), std::future_status::ready) << sent;
  const auto tags = future.get();
  ASSERT_EQ(tags.size(), static_cast<std::size_t>(count));
  for (std::int64_t number = 0; number < count; ++number)
    EXPECT_EQ(tags[static_cast<std::size_t>(number)], Term(number));
}

TEST(Node, calls_on_a_node_that_has_stopped_say_so_and_its_processes_never_run) {
  Cluster cluster;
  Node& node = cluster.start("a");
  node.stop();
  const auto called = node.call("anybody", Atom("what"), test::patience);
  ASSERT_FALSE(called.has_value());
  EXPECT_EQ(called.error(), Errc::stopped);
  const auto answer = node.call_function("b@127.0.0.1", "erlang", "node", {}, test::patience);
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error(), Errc::stopped);
  // What a process holds goes at once, when it will never run.
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> seen = held;
  const Pid late = node.spawn([held](Process& self) -> Task<> { co_await self.receive(); });
  held.reset();
  EXPECT_TRUE(seen.expired());
  EXPECT_FALSE(node.is_alive(late));
}

TEST(Node, a_call_that_cannot_be_made_says_why_and_leaves_the_log_alone) {
  test::Lines errors;
  Cluster cluster;
  Node& node = cluster.start("a", [&](NodeConfig& config) {
    config.log_sink = [&](LogLevel level, std::string_view line) {
      if (level == LogLevel::error) errors.add(std::string(line));
    };
  });
  Term deep = 1;
  for (std::size_t level = 1; level < Term::depth_max; ++level) deep = Term::tuple_of(std::move(deep));
  const Ref alias{node.name().atom(), node.creation(), 3, {1, 2, 3}};
  EXPECT_EQ(node.call(alias, 1).error(), Errc::invalid_argument);
  EXPECT_EQ(node.call(Atom("user"), deep).error(), Errc::limit_exceeded);
  const CallOutcome outcome = node.run_function(node.name(), RemoteFunction("erlang", "node", {deep}));
  EXPECT_EQ(outcome.kind, CallOutcome::Kind::refused);
  EXPECT_EQ(outcome.value, Term(Atom("limit_exceeded")));
  EXPECT_EQ(node.call_function(node.name(), "erlang", "node", {deep}).error(), Errc::remote_exit);
  EXPECT_EQ(node.call(Atom("net_kernel"), Term::tuple({Atom("is_auth"), 1})).value(), Term(Atom("yes")));
  EXPECT_EQ(errors.next(0s), "nothing");
}

TEST(Node, a_process_is_refused_the_calls_that_would_hold_its_worker) {
  Cluster cluster;
  // The only worker: waiting there for another process would never end.
  Node& node = cluster.start("a", [](NodeConfig& config) { config.workers = 1; });
  test::Lines said;
  const Term question = Term::tuple({Atom("is_auth"), node.name().atom()});
  node.spawn([&](Process& self) -> Task<> {
    said.add(test::word_of(node.call(Atom("net_kernel"), question)));
    said.add(test::word_of(node.ping(node.name())));
    said.add(test::word_of(node.call_function(node.name(), "erlang", "node", {})));
    said.add(to_text(node.run_function(node.name(), RemoteFunction("erlang", "node")).value));
    said.add(test::word_of(node.get_proxy("service")));
    said.add(test::word_of(node.start_service_holder("service")));
    said.add(test::word_of(node.global_register("service")));
    const Result<Term> answer = co_await self.call(Atom("net_kernel"), question);
    said.add(test::word_of(answer));
  });
  for (int call = 0; call < 7; ++call) EXPECT_EQ(said.next(), "invalid_argument");
  EXPECT_EQ(said.next(), "ok") << "what a process waits for does not hold its worker";
}

TEST(Node, a_server_that_kills_its_caller_is_not_taken_for_the_end_of_the_node) {
  Cluster cluster;
  Node& a = cluster.start("a");
  Node& b = cluster.start("b");
  const auto hostile = [](Process& self) -> Task<> {
    const Term message = co_await self.receive();
    const auto call = as_call(message);
    self.exit(call->first.pid, Atom("kill"));
    co_await reply(self, call->first, Atom("answer"));
  };
  const auto here = a.call(a.spawn(hostile), 1, test::patience);
  EXPECT_EQ(here.error(), Errc::remote_exit) << "a process of this node may";
  EXPECT_EQ(a.call(b.spawn(hostile), 1, test::patience).value(), Term(Atom("answer"))) << "one of another may not";
}

TEST(Node, a_limit_without_end_does_not_pass_at_once) {
  constexpr auto for_ever = Node::Duration::max();
  Cluster cluster;
  Node& a = cluster.start("a");
  Node& b = cluster.start("b");
  const auto connected = a.connect(b.name(), for_ever);
  ASSERT_TRUE(connected.has_value()) << connected.error().message();
  ASSERT_TRUE(a.join(b.name()).has_value());
  EXPECT_TRUE(a.joined(2, for_ever).has_value());
  EXPECT_TRUE(b.joined(2, for_ever).has_value());

  auto found = std::async(std::launch::async, [&] { return a.resolve("late", for_ever); });
  EXPECT_TRUE(
      b.register_service("late", b.spawn([](Process& self) -> Task<> { (void)co_await self.receive(); })).has_value());
  ASSERT_EQ(found.wait_for(test::patience), std::future_status::ready);
  EXPECT_TRUE(found.get().has_value());
  WhereisOptions options;
  options.ask_for = for_ever;
  EXPECT_EQ(a.whereis_service("never", options).error().message(), "not_found: no service never");
  RegisterOptions known;
  known.wait_for_neighbours = true;
  known.limit = for_ever;
  EXPECT_TRUE(a.register_service("known", a.spawn([](Process& self) -> Task<> { (void)co_await self.receive(); }),
                                 Term::map({}), known)
                  .has_value());

  StreamAcceptor acceptor = b.accept_streams("tag").value();
  auto accepted = std::async(std::launch::async, [&] { return acceptor.next(for_ever); });
  Stream here = a.open_stream(b.name(), "tag", for_ever).value();
  Stream there = accepted.get().value();
  auto read = std::async(std::launch::async, [&] { return there.read(for_ever); });
  EXPECT_TRUE(here.write({1, 2, 3}, for_ever).has_value());
  EXPECT_EQ(read.get().value(), (Bytes{1, 2, 3}));
  EXPECT_TRUE(here.flush(for_ever).has_value());

  MigrateOptions migrate;
  migrate.timeout = for_ever;
  const auto moved = a.migrate_peer(b.name(), migrate);
  EXPECT_TRUE(moved.has_value()) << moved.error().message();
}

TEST(Node, stops_although_a_way_to_find_nodes_asks_it_something_meanwhile) {
  Cluster cluster;
  std::promise<void> asked;
  std::promise<void> stopping;
  std::promise<Node*> started;
  Node& a = cluster.start("a", [&](NodeConfig& config) {
    config.setup_timeout = 60s;  // the dial is to last
    config.discovery_backends = {"mine"};
    config.discovery_functions["mine"] = [&](const NodeName& /*node*/) -> Result<std::string> {
      const Node* const node = started.get_future().get();
      asked.set_value();
      stopping.get_future().wait();
      return fail(Errc::not_found, std::to_string(node->statistics().dials) + " dials");
    };
  });
  started.set_value(&a);
  // The network ends the dial when it stops: from then on nobody is asked for anything.
  a.connect("b@127.0.0.1", [&](const Result<void>& connected) {
    EXPECT_EQ(connected.error(), Errc::stopped);
    stopping.set_value();
  });
  asked.get_future().wait();
  auto stopped = std::async(std::launch::async, [&] { a.stop(); });
  EXPECT_EQ(stopped.wait_for(test::patience), std::future_status::ready);
}

TEST(Node, a_second_node_of_a_name_that_comes_and_goes_leaves_the_first_one_reachable_and_is_told_of) {
  test::Lines warnings;
  Cluster cluster;
  Node& a = cluster.start("a", [&](NodeConfig& config) {
    config.log_sink = [&](LogLevel level, std::string_view line) {
      if (level == LogLevel::warning &&
          line.find("another node publishes itself as a@127.0.0.1") != std::string_view::npos) {
        warnings.add("told");
      }
    };
  });
  const auto file = cluster.config("a").discovery_dir / "a@127.0.0.1.endpoint";
  const auto published = [&] {
    std::ifstream in(file);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const auto first = published();
  cluster.start("second", [](NodeConfig& config) { config.name = "a@127.0.0.1"; });
  EXPECT_EQ(warnings.next(), "told");
  cluster.stop("second");
  EXPECT_TRUE(test::becomes_true([&] { return published() == first; }));
  Node& b = cluster.start("b");
  EXPECT_TRUE(Cluster::connects(b, a));
}

/// What comes of a start in a process that has been restricted.
enum class Start : std::uint8_t { succeeds, refused_by_system, refused, fails };

Start start_in_process(const NodeConfig& config, const std::function<bool()>& restrict_it) {
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("cannot fork");
  if (child == 0) {
    if (!restrict_it()) ::_exit(static_cast<int>(Start::fails));
    const auto node = Node::start(config);
    const auto refusal = !node && node.error() == Errc::system_error ? Start::refused_by_system : Start::refused;
    ::_exit(static_cast<int>(node ? Start::succeeds : refusal));
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? static_cast<Start>(WEXITSTATUS(status)) : Start::fails;
}

bool limit(decltype(RLIMIT_NOFILE) resource, rlim_t most) {
  const rlimit wished{most, most};
  return ::setrlimit(resource, &wished) == 0;
}

TEST(Node, start_says_so_when_the_system_has_no_more_descriptors) {
  if (test::sanitized) GTEST_SKIP() << "a sanitizer needs descriptors and threads of its own";
  const Cluster cluster;
  rlim_t most = 3;
  Start outcome = Start::refused;
  for (; outcome != Start::succeeds && most < 100; ++most) {
    outcome = start_in_process(cluster.config("a"), [&] { return limit(RLIMIT_NOFILE, most); });
    ASSERT_NE(outcome, Start::fails) << "with " << most;
  }
  EXPECT_EQ(outcome, Start::succeeds);
  EXPECT_GT(most, 10U);
}

TEST(Node, start_says_so_when_the_system_has_no_more_threads) {
  if (test::sanitized) GTEST_SKIP() << "a sanitizer needs descriptors and threads of its own";
  if (::geteuid() != 0) GTEST_SKIP() << "no right to become a user who has no threads yet";
  constexpr uid_t nobody_else = 61'234;
  const Cluster cluster;
  NodeConfig config = cluster.config("a");
  config.admin.port = 0;
  const auto root = config.data_dir.parent_path();
  ASSERT_EQ(::chown(root.c_str(), nobody_else, nobody_else), 0);
  rlim_t most = 1;
  std::set<Start> outcomes;
  for (; !outcomes.contains(Start::succeeds) && most < 100; ++most) {
    const auto outcome = start_in_process(config, [&] {
      return limit(RLIMIT_NPROC, most) && ::setresgid(nobody_else, nobody_else, nobody_else) == 0 &&
             ::setresuid(nobody_else, nobody_else, nobody_else) == 0;
    });
    ASSERT_NE(outcome, Start::fails) << "with " << most;
    outcomes.insert(outcome);
  }
  EXPECT_EQ(outcomes, (std::set{Start::succeeds, Start::refused_by_system}));
  EXPECT_GT(most, 10U);
}

TEST(Node, start_refuses_what_cannot_work) {
  Cluster cluster;
  NodeConfig config = cluster.config("x");
  config.name = "no-host";
  EXPECT_EQ(Node::start(config).error(), Errc::invalid_config);
  config = cluster.config("x");
  config.cookie = "barrel_p2p";
  config.authentication.cookie_only_nodes = {"*@host"};
  EXPECT_EQ(Node::start(config).error(), Errc::invalid_config);
  config = cluster.config("x");
  config.detector.dead_after = 100ms;
  EXPECT_EQ(Node::start(config).error(), Errc::invalid_config);
  config = cluster.config("x");
  config.discovery_functions["registry"] = [](const NodeName& node) -> Result<std::string> {
    return fail(Errc::not_found, node.string());
  };
  const auto not_asked = Node::start(config);
  ASSERT_FALSE(not_asked.has_value());
  EXPECT_NE(not_asked.error().context().find("is never asked"), std::string::npos) << not_asked.error().message();
  Node& taken = cluster.start("taken");
  config = cluster.config("y");
  config.listen = "127.0.0.1";
  config.port = taken.port();
  const auto second = Node::start(config);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error(), Errc::io_error) << second.error().message();
}

}  // namespace
}  // namespace barrel_p2p
