// Answers of the services of a node, and what they may dial.
#include <gtest/gtest.h>
#include <barrel_p2p/process.hpp>
#include <barrel_p2p/server.hpp>

#include <algorithm>
#include <future>
#include <iterator>
#include <mutex>

#include "process/state.hpp"
#include "process/system.hpp"
#include "support/patience.hpp"

namespace barrel_p2p::process {
namespace {

using namespace std::chrono_literals;

/// A system whose messages to other nodes are kept, and that calls each of them busy.
class Answers : public testing::Test {
 protected:
  explicit Answers(std::chrono::milliseconds call_max = 1ms,
                   std::size_t mailbox_bytes_max = SystemConfig().mailbox_bytes_max)
      : system(config(call_max, mailbox_bytes_max)) {
    RemotePort port;
    port.send = [this](const Atom& node, distribution::Signal&& signal, const Pid& /*key*/) {
      if (const auto* reply = std::get_if<distribution::SpawnReply>(&signal.control)) {
        const auto* refused = std::get_if<Atom>(&reply->result);
        say(node, refused == nullptr ? "spawned" : refused->string());
      } else if (const auto* term = std::get_if<Term>(&signal.payload)) {
        say(node, to_text(*term));
      }
      return distribution::SendOutcome::busy;
    };
    system.set_remote(std::move(port));
    system.start();
    system.node_up("b@test", 1, 77, distribution::flag::published);
  }
  ~Answers() override { system.stop(); }
  static SystemConfig config(std::chrono::milliseconds call_max, std::size_t mailbox_bytes_max) {
    SystemConfig config;
    config.node = Atom("a@test");
    config.creation = 77;
    config.workers = 1;
    config.remote_call_max = call_max;
    config.mailbox_bytes_max = mailbox_bytes_max;
    return config;
  }
  void say(const Atom& node, const std::string& what) {
    const std::lock_guard lock(mutex);
    said.push_back(node.string() + " " + what);
    if (said.size() == awaited_lines) complete.set_value();
  }
  static Pid at(const char* node) { return {Atom(node), 5, 0, 77}; }
  static Term call(const Pid& from, const Term& tag, const Term& request) {
    return Term::tuple_of(Atom("$gen_call"), Term::tuple_of(from, tag), request);
  }
  void tell(const char* name, const Term& message) {
    auto bytes = std::make_shared<Bytes>(encode_term(message, {.version_byte = false}));
    system.deliver("b@test", 1,
                   {distribution::SendName{at("b@test"), Atom(name)}, distribution::EncodedTerm{*bytes, bytes}});
  }
  /// What was said to other nodes until there were so many.
  std::vector<std::string> hear(std::size_t lines) {
    {
      const std::lock_guard lock(mutex);
      awaited_lines = lines;
      complete = {};
      if (said.size() >= lines) complete.set_value();
    }
    EXPECT_EQ(complete.get_future().wait_for(test::patience), std::future_status::ready);
    const std::lock_guard lock(mutex);
    return said;
  }
  /// Has a peer call `gen_server:call` here by `rpc`.
  void have_called(std::vector<Term> arguments) {
    tell("rex", call(at("b@test"), Term(1),
                     Term::tuple({Atom("call"), Atom("gen_server"), Atom("call"), Term::list(std::move(arguments)),
                                  Atom("user")})));
  }
  Pid spawn_silent() {
    return system.spawn([](Process& self) -> Task<> {
      for (;;) co_await self.receive();
    });
  }

  std::mutex mutex;
  std::vector<std::string> said;
  std::size_t awaited_lines = 0;
  std::promise<void> complete;
  System system;
};

class PatientAnswers : public Answers {
 protected:
  PatientAnswers() : Answers(SystemConfig().remote_call_max) {}
};

TEST_F(Answers, of_services_go_to_connected_nodes_only_and_a_busy_node_holds_up_nobody) {
  const Pid invented = at("x1@10.0.0.1");
  const Term is_auth = Term::tuple_of(Atom("is_auth"), Atom("x1@10.0.0.1"));
  Ref alias = system.make_ref();
  alias.node = invented.node;
  const Term alias_tag = Term::list(std::vector<Term>(1, Atom("alias")), alias);
  const auto ask = [&](const Pid& from) {
    tell("rex", Term::tuple_of(from, Atom("features_request")));
    tell("rex", Term::tuple_of(from, Term::tuple_of(Atom("sbcast"), Atom("nobody"), 1)));
    tell("net_kernel", call(from, Term(1), is_auth));
    tell("user", Term::tuple_of(Atom("io_request"), from, 2, Atom("getopts")));
  };
  ask(invented);
  tell("net_kernel", call(at("b@test"), alias_tag, is_auth));
  ask(at("b@test"));
  ask(at("b@test"));
  const auto heard = hear(8);
  EXPECT_EQ(heard.size(), 8U);
  for (const auto& line : heard) EXPECT_TRUE(line.starts_with("b@test ")) << line;
}

TEST_F(Answers, of_functions_that_peers_call_dial_few_nodes) {
  const Term server = Term::tuple_of(Atom("any"), Atom("x1@10.0.0.1"));
  const Term what =
      Term::tuple_of(Atom("call"), Atom("gen_server"), Atom("cast"), Term::list_of(server, 1), Atom("user"));
  constexpr std::size_t calls = 200;
  for (std::size_t count = 0; count < calls; ++count) tell("rex", call(at("b@test"), Term(1), what));
  tell("rex", call(at("x2@10.0.0.1"), Term(1), what));
  std::size_t dials = 0;
  for (const auto& line : hear(calls)) {
    const bool refused = line.starts_with("b@test ") && line.find("is not connected") != std::string::npos;
    const bool dialled = line.starts_with("x1@10.0.0.1 ");
    EXPECT_TRUE(refused || dialled) << line;
    if (dialled) ++dials;
  }
  EXPECT_GT(dials, 0U) << "a call by way of a third node";
  EXPECT_LT(dials, calls / 2);
}

TEST_F(Answers, of_servers_on_nodes_that_we_would_have_to_dial_for_peers_are_that_the_node_is_down) {
  const Term server = Term::tuple_of(Atom("any"), Atom("x1@10.0.0.1"));
  constexpr std::size_t calls = 200;
  for (std::size_t count = 0; count < calls; ++count) have_called({server, 1});
  const auto heard = hear(calls / 2);
  const auto refused = static_cast<std::size_t>(std::ranges::count(
      heard, "b@test {1,{badrpc,{'EXIT',{{nodedown,'x1@10.0.0.1'},{gen_server,call,[{any,'x1@10.0.0.1'},1]}}}}}"));
  EXPECT_GT(refused, calls / 4);
}

TEST_F(Answers, of_servers_that_peers_have_us_call_are_awaited_for_a_bounded_time) {
  const Pid silent = spawn_silent();
  constexpr std::int64_t thirty_years_ms = 1'000'000'000'000;
  have_called({silent, 1, thirty_years_ms});
  const std::string reason = "{timeout,{gen_server,call,[" + to_text(silent) + ",1,1000000000000]}}";
  EXPECT_EQ(hear(1).front(), "b@test {1,{badrpc,{'EXIT'," + reason + "}}}");
}

TEST_F(Answers, of_servers_that_peers_have_us_call_may_be_asked_for_without_a_limit) {
  const Pid silent = spawn_silent();
  have_called({silent, 1, Atom("infinity")});
  const std::string reason = "{timeout,{gen_server,call,[" + to_text(silent) + ",1,infinity]}}";
  EXPECT_EQ(hear(1).front(), "b@test {1,{badrpc,{'EXIT'," + reason + "}}}");
}

TEST_F(PatientAnswers, that_a_server_does_not_give_are_the_exits_of_an_erlang_call) {
  const Term elsewhere = Term::tuple_of(Atom("any"), Atom("c@test"));
  have_called({Atom("nobody"), 1});
  EXPECT_EQ(hear(1).back(), "b@test {1,{badrpc,{'EXIT',{noproc,{gen_server,call,[nobody,1]}}}}}");
  system.node_up("c@test", 2, 77, distribution::flag::published);
  const Pid ending = system.spawn([](Process& self) -> Task<> {
    co_await self.receive();
    throw ExitProcess{Term::tuple_of(Atom("no"), Atom("more"))};
  });
  have_called({ending, Atom("end"), Atom("infinity")});
  EXPECT_EQ(hear(2).back(),
            "b@test {1,{badrpc,{'EXIT',{{no,more},{gen_server,call,[" + to_text(ending) + ",'end',infinity]}}}}}");
  have_called({elsewhere, 1, Atom("infinity")});
  EXPECT_EQ(hear(3).back().substr(0, 14), "c@test {'$gen_");
  system.node_down("c@test", 2);
  EXPECT_EQ(hear(4).back(),
            "b@test {1,{badrpc,{'EXIT',{{nodedown,c@test},{gen_server,call,[{any,c@test},1,infinity]}}}}}");
}

TEST_F(Answers, to_requests_for_processes_refuse_options_that_nobody_knows) {
  const Pid from = at("b@test");
  const auto bytes = std::make_shared<Bytes>(encode_term(Term(), {.version_byte = false}));
  const auto ask = [&](const Term& options) {
    const distribution::SpawnRequest request{system.make_ref(), from, from, Atom("erlang"), Atom("node"), 0, options};
    system.deliver("b@test", 1, {request, distribution::EncodedTerm{*bytes, bytes}});
  };
  const auto with = [](const char* option) { return Term::list_of(Atom("link"), Term::tuple_of(Atom(option), 1)); };
  std::vector<std::string> expected;
  for (const char* option : {"priority", "min_heap_size", "fullsweep_after", "message_queue_data", "async_dist",
                             "max_heap_size", "min_bin_vheap_size"}) {
    ask(with(option));
    expected.emplace_back("b@test spawned");
  }
  for (const char* option : {"priorities", "reply", "reply_tag"}) {
    ask(with(option));
    expected.emplace_back("b@test badopt");
  }
  ask(Term::list(std::vector<Term>(1, Atom("link")), Atom("tail")));
  expected.emplace_back("b@test badopt");
  const auto heard = hear(expected.size());
  std::vector<std::string> replies;
  std::ranges::copy_if(heard, std::back_inserter(replies),
                       [](const std::string& line) { return line.ends_with("spawned") || line.ends_with("badopt"); });
  EXPECT_EQ(replies, expected);
}

TEST_F(Answers, about_the_end_of_a_process_stop_when_the_monitor_is_taken_back_though_the_name_has_moved) {
  const Pid from = at("b@test");
  Ref by_name = system.make_ref();
  Ref by_pid = system.make_ref();
  Ref of_second = system.make_ref();
  for (auto* ref : {&by_name, &by_pid, &of_second}) ref->node = from.node;
  const Pid first = spawn_silent();
  const Pid second = spawn_silent();
  ASSERT_TRUE(system.register_name("moving", first).has_value());
  system.deliver("b@test", 1, {distribution::Monitor{from, Atom("moving"), by_name}, {}});
  system.deliver("b@test", 1, {distribution::Monitor{from, first, by_pid}, {}});
  system.deliver("b@test", 1, {distribution::Monitor{from, second, of_second}, {}});
  ASSERT_TRUE(system.unregister_name("moving"));
  ASSERT_TRUE(system.register_name("moving", second).has_value());
  system.deliver("b@test", 1, {distribution::Demonitor{from, Atom("moving"), by_name}, {}});
  system.exit(first, Atom("first"));
  EXPECT_EQ(hear(1).front(), "b@test first");
  system.exit(second, Atom("second"));
  EXPECT_EQ(hear(2), (std::vector<std::string>{"b@test first", "b@test second"}));
}

class AnswersWithoutRoom : public Answers {
 protected:
  AnswersWithoutRoom() : Answers(1ms, 1000) {
    reader = system.spawn([](Process& self) -> Task<> {
      co_await self.receive([](const Term& message) { return message.is_atom("read"); });
      for (;;) co_await self.receive();
    });
    EXPECT_TRUE(system.register_name("reader", reader).has_value());
  }
  /// What comes of such a call that a peer makes here by `rpc`, with a request of 600 bytes.
  std::string have(const char* function) {
    tell("rex", call(at("b@test"), Term(1),
                     Term::tuple_of(Atom("call"), Atom("gen_server"), Atom(function),
                                    Term::list_of(Atom("reader"), large), Atom("user"))));
    return hear(++asked).back();
  }
  std::string have_broadcast() {
    tell("rex", Term::tuple_of(at("b@test"), Term::tuple_of(Atom("sbcast"), Atom("reader"), large)));
    return hear(++asked).back();
  }

  const Term large = Term::binary(Bytes(600, 1));
  Pid reader;
  std::size_t asked = 0;
};

TEST_F(AnswersWithoutRoom, say_so_until_the_server_has_read_what_peers_had_us_send) {
  EXPECT_EQ(have("cast"), "b@test {1,ok}");
  const auto late = have("call");
  EXPECT_NE(late.find("{timeout,{gen_server,call"), std::string::npos) << late;
  const auto full = have("cast");
  EXPECT_NE(full.find("the mailbox of the server is full"), std::string::npos) << full;
  const auto called = have("call");
  EXPECT_NE(called.find("{system_limit,{gen_server,call"), std::string::npos) << called;
  EXPECT_EQ(have_broadcast(), "b@test {rex,a@test,{nonexisting_name,reader}}");
  ASSERT_TRUE(system.send(reader, Atom("read")).has_value());
  const auto state = system.find(reader);
  ASSERT_TRUE(test::becomes_true([&] { return state->remote_bytes() == 0; }));
  EXPECT_EQ(have_broadcast(), "b@test {rex,a@test,a@test}");
  EXPECT_EQ(have("cast"), "b@test {1,ok}");
}

}  // namespace
}  // namespace barrel_p2p::process
