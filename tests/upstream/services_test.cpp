// Services in a cluster of two C++ nodes c1, c2 and two Erlang nodes e1, e2: whatever one kind registers, the other
// finds, calls, and loses with its process or node.
#include <gtest/gtest.h>

#include <barrel_p2p/await.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "node/services_support.hpp"
#include "upstream/mixed.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::Lines;
using test::MixedCluster;
using test::ServiceLog;

/// The same server in both languages: `{add, A, B}`, `notes` (what it was sent), `node`; notes everything else.
constexpr const char* erlang_desk = R"(
-module(desk).
-behaviour(gen_server).
-export([start/0, start/1, init/1, handle_call/3, handle_cast/2, handle_info/2]).
start() -> {ok, Pid} = gen_server:start(desk, [], []), Pid.
start(Name) -> gen_server:start({via, barrel_p2p, Name}, desk, [], []).
init(Notes) -> {ok, Notes}.
handle_call({add, A, B}, _From, Notes) -> {reply, A + B, Notes};
handle_call(node, _From, Notes) -> {reply, node(), Notes};
handle_call(notes, _From, Notes) -> {reply, lists:reverse(Notes), Notes}.
handle_cast(Note, Notes) -> {noreply, [{cast, Note} | Notes]}.
handle_info(Note, Notes) -> {noreply, [{info, Note} | Notes]}.
)";

class Desk : public Server {
 public:
  Task<std::optional<Term>> handle_call(Process& self, Term request, CallFrom /*from*/) override {
    if (request.is_tagged("add", 3)) co_return Term(*request[1].as_int64() + *request[2].as_int64());
    if (request.is_atom("node")) co_return Term(self.pid().node);
    co_return Term::list(notes_);
  }
  Task<> handle_cast(Process& /*self*/, Term note) override {
    notes_.push_back(Term::tuple_of(Atom("cast"), std::move(note)));
    co_return;
  }
  Task<> handle_info(Process& /*self*/, Term note) override {
    notes_.push_back(Term::tuple_of(Atom("info"), std::move(note)));
    co_return;
  }

 private:
  std::vector<Term> notes_;
};

Pid spawn_desk(Node& node) {
  return node.spawn(serve([] { return std::make_unique<Desk>(); }));
}

class MixedServices : public MixedCluster {
 protected:
  void configure(NodeConfig& config) override {
    config.membership.shuffle_period = 2s;
    config.replication.anti_entropy = 2s;
  }
  void started(const std::string& name) override {
    if (is_erlang(name)) erlang_.at(name)->load(erlang_desk);
  }

  void start_four() {
    for (const auto* name : {"e1", "e2"}) start_erlang(name);
    if (IsSkipped()) return;
    for (const auto* name : {"c1", "c2"}) start_cpp(name);
    join("c1", "e1");
    join("e2", "c1");
    join("c2", "e2");
    ASSERT_TRUE(all_know_each_other()) << picture();
  }
  /// By their leases.
  bool all_know_each_other() {
    const auto count = running().size();
    for (auto& [name, node] : erlang_) {
      if (!node->becomes("length(barrel_p2p:members()) =:= " + std::to_string(count), 20s)) return false;
    }
    return eventually(cpp_nodes(), [&] {
      return std::ranges::all_of(cpp_nodes(), [&](const Node* node) { return node->members().size() == count; });
    });
  }
  /// Waits until the Erlang node finds what was registered by the other one.
  bool finds(const std::string& short_name, const std::string& service, const std::string& where) {
    return erlang(short_name)
        .becomes("begin {ok, Node, _} = barrel_p2p:whereis_service(" + service + ", #{retries => 0}), Node =:= '" +
                 full(where) + "' end");
  }
  bool loses(const std::string& short_name, const std::string& service) {
    return erlang(short_name).becomes("barrel_p2p:lookup(" + service + ") =:= {error, not_found}");
  }
  static bool loses(Node& node, const ServiceName& service) {
    return eventually({&node}, [&] { return node.lookup(service).error() == Errc::not_found; });
  }
  /// The next event of a service that a process of the Erlang node was told, once it has subscribed.
  Term next_event(const std::string& short_name) {
    // In a fun, which binds the variable anew each time.
    return erlang(short_name)
        .eval("(fun() -> receive {barrel_p2p_service_event, Event} -> Event after 10000 -> nothing end end)()");
  }
  static Term event(const char* kind, const char* service, const std::string& where) {
    return Term::tuple({Atom(kind), Atom(service), Atom(full(where))});
  }
};

// Registering.

TEST_F(MixedServices, what_an_erlang_node_registers_every_cpp_node_finds_until_it_is_unregistered) {
  start_four();
  if (HasFailure() || IsSkipped()) return;
  ServiceLog near(cpp("c1"));
  ServiceLog far(cpp("c2"));
  const Pid pid = *erlang("e1").eval("Desk = desk:start()").as_pid();
  ASSERT_EQ(erlang("e1").eval("barrel_p2p:register_service(kv, Desk, #{shards => 8, <<\"zone\">> => [a]})"),
            Atom("ok"));
  for (auto* log : {&near, &far}) EXPECT_EQ(log->next(), "registered kv e1@127.0.0.1");
  for (Node* node : cpp_nodes()) {
    const auto entries = node->lookup("kv");
    ASSERT_EQ(word(entries), "ok");
    ASSERT_EQ(entries->size(), 1U);
    EXPECT_EQ(entries->front().pid, pid);
    EXPECT_EQ(entries->front().node.string(), full("e1"));
    EXPECT_EQ(entries->front().meta, Term::map({{Atom("shards"), 8}, {"zone", Term::list({Atom("a")})}}));
    EXPECT_EQ(node->whereis_service("kv")->pid, pid);
    EXPECT_EQ(node->list_services(), std::vector<ServiceName>{"kv"});
  }
  ASSERT_EQ(erlang("e1").eval("barrel_p2p:unregister_service(kv)"), Atom("ok"));
  for (auto* log : {&near, &far}) EXPECT_EQ(log->next(), "unregistered kv e1@127.0.0.1");
  for (Node* node : cpp_nodes()) EXPECT_EQ(node->lookup("kv").error(), Errc::not_found);
}

TEST_F(MixedServices, what_a_cpp_node_registers_every_erlang_node_finds_until_it_is_unregistered) {
  start_four();
  if (HasFailure() || IsSkipped()) return;
  for (const auto* name : {"e1", "e2"}) erlang(name).eval("barrel_p2p:subscribe_services(self())");
  const Pid pid = spawn_desk(cpp("c1"));
  const Term meta = Term::map({{Atom("shards"), 8}, {"zone", Term::list({Atom("a")})}});
  ASSERT_EQ(word(cpp("c1").register_service("kv", pid, meta)), "ok");
  const Term entry = Term::tuple({Atom("service_entry"), Atom("kv"), pid, Atom(full("c1")), meta});
  for (const auto* name : {"e1", "e2"}) {
    EXPECT_EQ(next_event(name), event("service_registered", "kv", "c1"));
    EXPECT_EQ(erlang(name).eval("barrel_p2p:lookup(kv)"), Term::tuple({Atom("ok"), Term::list({entry})}));
    EXPECT_EQ(erlang(name).eval("barrel_p2p:whereis_service(kv)"), Term::tuple({Atom("ok"), Atom(full("c1")), pid}));
    EXPECT_EQ(erlang(name).eval("barrel_p2p:list_services()"), Term::list({Atom("kv")}));
  }
  EXPECT_TRUE(cpp("c1").unregister_service("kv"));
  for (const auto* name : {"e1", "e2"}) {
    EXPECT_EQ(next_event(name), event("service_unregistered", "kv", "c1"));
    EXPECT_EQ(erlang(name).eval("barrel_p2p:lookup(kv)"), Term::tuple({Atom("error"), Atom("not_found")}));
  }
}

TEST_F(MixedServices, names_may_be_binaries_and_come_and_go_many_times) {
  start_four();
  if (HasFailure() || IsSkipped()) return;
  const auto name = ServiceName::binary("a/b");
  for (int round = 0; round < 5; ++round) {
    ASSERT_EQ(word(cpp("c2").register_service(name, spawn_desk(cpp("c2")))), "ok");
    EXPECT_TRUE(finds("e1", "<<\"a/b\">>", "c2")) << round;
    EXPECT_TRUE(cpp("c2").unregister_service(name));
    EXPECT_TRUE(loses("e1", "<<\"a/b\">>")) << round;
    ASSERT_EQ(erlang("e1").eval("barrel_p2p:register_service(<<\"a/b\">>, self(), #{})"), Atom("ok"));
    EXPECT_EQ(word(cpp("c2").resolve(name, 10s)), "ok") << round;
    ASSERT_EQ(erlang("e1").eval("barrel_p2p:unregister_service(<<\"a/b\">>)"), Atom("ok"));
    EXPECT_TRUE(loses(cpp("c2"), name)) << round;
  }
}

TEST_F(MixedServices, a_name_that_both_kinds_registered_has_one_first_answer_everywhere) {
  start_four();
  if (HasFailure() || IsSkipped()) return;
  const Pid ours = spawn_desk(cpp("c2"));
  ASSERT_EQ(word(cpp("c2").register_service("kv", ours)), "ok");
  ASSERT_TRUE(finds("e1", "kv", "c2"));
  const Pid theirs = *erlang("e1").eval("Desk = desk:start()").as_pid();
  ASSERT_EQ(erlang("e1").eval("barrel_p2p:register_service(kv, Desk, #{})"), Atom("ok"));
  ASSERT_TRUE(eventually(cpp_nodes(), [&] { return cpp("c1").lookup("kv")->size() == 2; }));
  ASSERT_TRUE(erlang("e2").becomes("begin {ok, All} = barrel_p2p:lookup(kv), length(All) =:= 2 end"));
  // Its own one, else that of the smallest node.
  EXPECT_EQ(cpp("c1").whereis_service("kv")->pid, ours);
  EXPECT_EQ(cpp("c2").whereis_service("kv")->pid, ours);
  EXPECT_EQ(erlang("e1").eval("barrel_p2p:whereis_service(kv)"), Term::tuple({Atom("ok"), theirs}));
  EXPECT_EQ(erlang("e2").eval("barrel_p2p:whereis_service(kv)"), Term::tuple({Atom("ok"), Atom(full("c2")), ours}));
}

// Ends.

TEST_F(MixedServices, the_end_of_a_process_ends_its_services_on_the_other_kind) {
  start_four();
  if (HasFailure() || IsSkipped()) return;
  ServiceLog log(cpp("c2"));
  erlang("e2").eval("barrel_p2p:subscribe_services(self())");
  erlang("e1").eval("Desk = desk:start(), ok = barrel_p2p:register_service(theirs, Desk, #{})");
  EXPECT_EQ(log.next(), "registered theirs e1@127.0.0.1");
  erlang("e1").eval("exit(Desk, kill)");
  EXPECT_EQ(log.next(), "unregistered theirs e1@127.0.0.1");
  EXPECT_EQ(cpp("c2").whereis_service("theirs").error(), Errc::not_found);
  EXPECT_EQ(next_event("e2"), event("service_registered", "theirs", "e1"));
  EXPECT_EQ(next_event("e2"), event("service_unregistered", "theirs", "e1"));

  const Pid pid = spawn_desk(cpp("c1"));
  ASSERT_EQ(word(cpp("c1").register_service("ours", pid)), "ok");
  EXPECT_EQ(next_event("e2"), event("service_registered", "ours", "c1"));
  cpp("c1").exit(pid, Atom("kill"));
  EXPECT_EQ(next_event("e2"), event("service_unregistered", "ours", "c1"));
  EXPECT_TRUE(loses("e2", "ours"));
}

TEST_F(MixedServices, a_killed_erlang_node_takes_its_services_with_it_and_registers_them_anew) {
  start_four();
  if (HasFailure() || IsSkipped()) return;
  const Pid old = *erlang("e2").eval("Desk = desk:start()").as_pid();
  erlang("e2").eval(
      "ok = barrel_p2p:register_service(kv, Desk, #{}), ok = barrel_p2p:register_service(gone, Desk, #{})");
  for (Node* node : cpp_nodes()) {
    ASSERT_EQ(word(node->resolve("kv", 10s)), "ok");
    ASSERT_EQ(word(node->resolve("gone", 10s)), "ok");
  }
  kill("e2");
  for (Node* node : cpp_nodes()) {
    EXPECT_TRUE(loses(*node, "kv")) << node->name().text();
    EXPECT_TRUE(loses(*node, "gone")) << node->name().text();
  }
  start_erlang("e2");
  if (IsSkipped()) return;
  join("e2", "c1");
  // Of another process first, for a node that was started anew gives the same pids out again.
  const Pid fresh = *erlang("e2").eval("desk:start(), Desk = desk:start()").as_pid();
  erlang("e2").eval("ok = barrel_p2p:register_service(kv, Desk, #{})");
  for (Node* node : cpp_nodes()) {
    EXPECT_TRUE(eventually({node}, [&] {
      const auto found = node->whereis_service("kv");
      return found && found->pid == fresh;
    })) << node->name().text();
    // What it does not know any more is missing in what it is asked for.
    EXPECT_TRUE(loses(*node, "gone")) << node->name().text();
  }
  EXPECT_NE(old, fresh);
}

// It says nothing of what it has forgotten, and its lease may not have ended: its neighbours ask.
TEST_F(MixedServices, a_restarted_erlang_node_that_registers_nothing_has_no_services) {
  start_four();
  if (HasFailure() || IsSkipped()) return;
  erlang("e2").eval("Desk = desk:start(), ok = barrel_p2p:register_service(gone, Desk, #{})");
  for (Node* node : cpp_nodes()) ASSERT_EQ(word(node->resolve("gone", 10s)), "ok");
  kill("e2");
  start_erlang("e2");
  if (IsSkipped()) return;
  join("e2", "c1");
  for (Node* node : cpp_nodes()) EXPECT_TRUE(loses(*node, "gone")) << node->name().text();
  ASSERT_TRUE(all_know_each_other()) << picture();
  for (Node* node : cpp_nodes()) EXPECT_EQ(node->lookup("gone").error(), Errc::not_found) << node->name().text();
  // It is believed all the same.
  erlang("e2").eval("Desk = desk:start(), ok = barrel_p2p:register_service(gone, Desk, #{})");
  for (Node* node : cpp_nodes()) EXPECT_EQ(word(node->resolve("gone", 10s)), "ok") << node->name().text();
}

TEST_F(MixedServices, a_killed_cpp_node_takes_its_services_with_it) {
  start_four();
  if (HasFailure() || IsSkipped()) return;
  start_program("c3", "e1");
  const Term held = ask(full("c3"), "barrel_p2p", "start_service_holder", {Atom("held")});
  ASSERT_TRUE(held.is_tagged("ok", 2)) << to_text(held);
  ASSERT_EQ(word(cpp("c1").resolve("held", 10s)), "ok");
  ASSERT_TRUE(finds("e1", "held", "c3"));
  kill("c3");
  for (Node* node : cpp_nodes()) EXPECT_TRUE(loses(*node, "held")) << node->name().text();
  // Erlang nodes do not notice the end of a node that dialled them (protocol document 03, 3.2) until it comes back.
  // Then they forget what it had.
  ASSERT_TRUE(finds("e1", "held", "c3"));
  start_program("c3", "e1");
  EXPECT_TRUE(loses("e1", "held"));
  for (Node* node : cpp_nodes()) {
    EXPECT_TRUE(eventually({node}, [&] { return node->members().size() == running().size(); }));
    EXPECT_EQ(node->lookup("held").error(), Errc::not_found) << node->name().text();
  }
}

// Late.

TEST_F(MixedServices, newcomers_of_either_kind_find_what_was_there_before_them) {
  start_erlang("e1");
  if (IsSkipped()) return;
  start_cpp("c1");
  join("c1", "e1");
  erlang("e1").eval("Desk = desk:start(), ok = barrel_p2p:register_service(theirs, Desk, #{})");
  ASSERT_EQ(word(cpp("c1").register_service("ours", spawn_desk(cpp("c1")))), "ok");
  start_cpp("c2");
  join("c2", "c1");
  EXPECT_EQ(word(cpp("c2").resolve("theirs", 10s)), "ok");
  EXPECT_EQ(word(cpp("c2").resolve("ours", 10s)), "ok");
  start_erlang("e2");
  if (IsSkipped()) return;
  join("e2", "c2");
  EXPECT_TRUE(finds("e2", "theirs", "e1")) << picture();
  EXPECT_TRUE(finds("e2", "ours", "c1")) << picture();
}

// Calls.

TEST_F(MixedServices, what_was_found_is_called_across_kinds) {
  start_four();
  if (HasFailure() || IsSkipped()) return;
  erlang("e1").eval("Desk = desk:start(), ok = barrel_p2p:register_service(theirs, Desk, #{})");
  ASSERT_EQ(word(cpp("c2").register_service("ours", spawn_desk(cpp("c2")))), "ok");
  const auto found = cpp("c2").resolve("theirs", 10s);
  ASSERT_EQ(word(found), "ok");
  EXPECT_EQ(*cpp("c2").call(found->pid, Term::tuple({Atom("add"), 1, 2})), Term(3));
  EXPECT_EQ(*cpp("c2").call(found->pid, Atom("node")), Atom(full("e1")));
  EXPECT_EQ(word(cpp("c2").cast(found->pid, Atom("card"))), "ok");
  EXPECT_EQ(word(cpp("c2").send(found->pid, Atom("letter"))), "ok");
  ASSERT_TRUE(finds("e1", "ours", "c2"));
  erlang("e1").eval("{ok, _, Ours} = barrel_p2p:whereis_service(ours)");
  EXPECT_EQ(erlang("e1").eval("gen_server:call(Ours, {add, 3, 4})"), Term(7));
  EXPECT_EQ(erlang("e1").eval("gen_server:call(Ours, node)"), Atom(full("c2")));
  EXPECT_TRUE(erlang("e1").becomes("gen_server:call(Desk, notes) =:= [{cast, card}, {info, letter}]"));
}

// As the proxy of an Erlang node asks for that has no channel to the service's node.
TEST_F(MixedServices, a_cpp_node_relays_a_call_from_one_erlang_node_to_another) {
  start_four();
  if (HasFailure() || IsSkipped()) return;
  erlang("e2").eval("register(theirs, desk:start())");
  const std::string relay = "erpc:call('c1@127.0.0.1', barrel_p2p_service_proxy, relay, [theirs, 'e2@127.0.0.1', ";
  const std::string options = ", #{ttl => 5, visited => [node()]}])";
  EXPECT_EQ(erlang("e1").eval(relay + "{add, 1, 2}" + options), Term(3));
  EXPECT_EQ(erlang("e1").eval(relay + "node" + options), Atom(full("e2")));
}

TEST_F(MixedServices, via_names_reach_servers_of_the_other_kind) {
  start_four();
  if (HasFailure() || IsSkipped()) return;
  const Pid ours = spawn_desk(cpp("c1"));
  ASSERT_EQ(word(cpp("c1").register_service("ours", ours)), "ok");
  ASSERT_TRUE(finds("e1", "ours", "c1"));
  auto& erl = erlang("e1");
  EXPECT_EQ(erl.eval("gen_server:call({via, barrel_p2p, ours}, {add, 2, 3})"), Term(5));
  EXPECT_EQ(erl.eval("gen_server:cast({via, barrel_p2p, ours}, card)"), Atom("ok"));
  EXPECT_EQ(erl.eval("barrel_p2p:send(ours, letter)"), Term(ours));
  EXPECT_EQ(erl.eval("barrel_p2p:whereis_name(ours)"), Term(ours));
  EXPECT_TRUE(erl.becomes("gen_server:call({via, barrel_p2p, ours}, notes) =:= [{cast, card}, {info, letter}]"));
  EXPECT_EQ(erl.eval("desk:start(ours)"), Term::tuple({Atom("error"), Term::tuple({Atom("already_started"), ours})}));
  // And theirs.
  EXPECT_EQ(erl.eval("element(1, desk:start(theirs))"), Atom("ok"));
  const auto theirs = cpp("c2").resolve("theirs", 10s);
  ASSERT_EQ(word(theirs), "ok");
  EXPECT_EQ(*cpp("c2").call(theirs->pid, Atom("node")), Atom(full("e1")));
  EXPECT_EQ(erlang("e2").eval("gen_server:call({via, barrel_p2p, theirs}, node)"), Atom(full("e1")));
}

}  // namespace
}  // namespace barrel_p2p
