// Names of `via`, proxies on demand, `global`, holders: over a registry that is a map, and as other nodes call them.
#include "services/bridge.hpp"

#include <gtest/gtest.h>

#include <boost/json/value.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "services/processes.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p::services {
namespace {

using namespace std::chrono_literals;

/// Node a with a bridge; node b has services of its own and plays an Erlang node.
class BridgeTest : public test::TwoSystems {
 protected:
  BridgeTest() {
    export_bridge(a, bridge);
    start();
    far = b.spawn(answering);
    remote.emplace("far", far);
  }
  ~BridgeTest() override {
    a.stop();  // what runs there uses the members
    b.stop();
  }

  static Task<> answering(Process& self) {
    for (;;) {
      const Term message = co_await self.receive();
      if (message.is_atom("end")) co_return;
      const auto call = as_call(message);
      if (call) co_await reply(self, call->first, Term::tuple_of(Atom("got"), call->second));
    }
  }

  RegistryCalls calls() {
    RegistryCalls calls;
    calls.add = [this](Process& /*self*/, ServiceName name, Pid pid) -> Task<Result<void>> {
      const std::lock_guard lock(mutex);
      if (!local.emplace(name.term(), pid).second) co_return fail(Errc::already_registered);
      co_return Result<void>();
    };
    calls.remove = [this](Process& /*self*/, ServiceName name) -> Task<> {
      const std::lock_guard lock(mutex);
      local.erase(name.term());
      co_return;
    };
    calls.lookup_local = [this](const Term& name) { return lookup_local(name); };
    calls.whereis = [this](Process& /*self*/, ServiceName name) -> Task<Result<ServiceLocation>> {
      if (const auto pid = lookup_local(name.term())) co_return ServiceLocation{*pid, NodeName("a@test"), true};
      const auto found = remote.find(std::string(name.text()));
      if (found == remote.end()) co_return fail(Errc::not_found);
      co_return ServiceLocation{found->second, NodeName("b@test"), false};
    };
    calls.erlang_neighbours = [this] { return erlang; };
    return calls;
  }
  std::optional<Pid> lookup_local(const Term& name) {
    const std::lock_guard lock(mutex);
    const auto found = local.find(name);
    return found == local.end() ? std::nullopt : std::optional(found->second);
  }

  /// As another node calls it.
  CallOutcome remote_call(const char* function, std::vector<Term> arguments) {
    return run<CallOutcome>(b, [=](Process& self) -> Task<CallOutcome> {
      RemoteFunction what(Atom("barrel_p2p"), Atom(function), arguments);
      CallOutcome outcome = co_await self.run_function(NodeName("a@test"), std::move(what), 10s);
      co_return outcome;
    });
  }
  std::string answer(const char* function, std::vector<Term> arguments) {
    const CallOutcome outcome = remote_call(function, std::move(arguments));
    return (outcome.kind == CallOutcome::Kind::returned ? "" : "failed: ") + to_text(outcome.value);
  }
  /// What `global:register_name` of node b answers, and whom it was given.
  void play_global(std::function<Task<Result<Term>>(Process&, std::vector<Term>)> answer) {
    erlang = {NodeName("b@test")};
    b.export_function(Atom("global"), Atom("register_name"), std::move(answer));
  }
  Result<Pid> global_register(const char* name, Milliseconds limit = 5s) {
    return run<Result<Pid>>(a, [=, this](Process& self) -> Task<Result<Pid>> {
      Result<Pid> result = co_await bridge.global_register(self, name, limit);
      co_return result;
    });
  }
  Result<Pid> get_proxy(const char* name) {
    return run<Result<Pid>>(a, [=, this](Process& self) -> Task<Result<Pid>> {
      Result<Pid> result = co_await bridge.get_proxy(self, name);
      co_return result;
    });
  }

  std::mutex mutex;
  std::map<Term, Pid, TermLess> local;
  std::map<std::string, Pid> remote;
  std::vector<NodeName> erlang;
  Pid far;
  Bridge bridge{a, calls()};
};

TEST_F(BridgeTest, via_names_are_those_of_the_registry_and_answered_as_by_an_erlang_node) {
  const Pid here = a.spawn(answering);
  const Atom name("via1");
  EXPECT_EQ(answer("register_name", {name, here}), "yes");
  EXPECT_EQ(answer("register_name", {name, here}), "no");
  EXPECT_EQ(remote_call("whereis_name", {name}).value, Term(here));
  EXPECT_EQ(remote_call("send", {name, Atom("end")}).value, Term(here));
  (void)end_of(a, here);  // the message arrived
  EXPECT_EQ(answer("unregister_name", {name}), "ok");
  EXPECT_EQ(answer("unregister_name", {name}), "ok");
  EXPECT_EQ(answer("whereis_name", {name}), "undefined");
  EXPECT_EQ(answer("whereis_name", {"far"}), to_text(far)) << "binaries are names, too";
}

/// What an Erlang node answered, as text.
std::string recorded(const char* file, const std::string& name) {
  const boost::json::value rows = test::read_vectors(file);
  for (const auto& row : rows.as_array()) {
    if (test::text_of(row, "name") == name) return test::text_of(row, "term");
  }
  throw std::runtime_error("no vector " + name);
}

TEST_F(BridgeTest, recorded_calls_get_the_recorded_answers) {
  const auto api = [](const char* name) { return recorded("registry_api.json", name); };
  const auto global = [](const char* name) { return recorded("registry_global.json", name); };
  const Pid here = a.spawn(answering);
  const Atom name("via1");
  const Atom nosuch("nosuch");
  EXPECT_EQ(answer("register_name", {name, here}), api("register_name_yes"));
  EXPECT_EQ(answer("register_name", {name, here}), api("register_name_no"));
  EXPECT_EQ(answer("get_proxy", {name}), global("get_proxy_on_owner_node"));
  EXPECT_EQ(answer("unregister_name", {name}), api("unregister_name"));
  EXPECT_EQ("{caught,error," + to_text(remote_call("send", {nosuch, Atom("hello")}).value) + "}", api("send_unknown"));
  EXPECT_TRUE(remote_call("start_service_holder", {Atom("hold")}).value.is_tagged("ok", 2));
  EXPECT_EQ(answer("start_service_holder", {Atom("hold")}), api("holder_dup"));
  EXPECT_EQ(answer("get_proxy", {nosuch}), api("get_proxy_none"));
  EXPECT_EQ(answer("global_register", {nosuch}), api("global_register_unknown"));
  EXPECT_EQ(answer("global_register", {nosuch}), global("global_register_unknown"));
  play_global(
      [](Process& /*self*/, std::vector<Term> /*arguments*/) -> Task<Result<Term>> { co_return Term(Atom("no")); });
  EXPECT_EQ(answer("global_register", {Atom("far")}), global("global_register_again"));
}

TEST_F(BridgeTest, sending_to_an_unknown_name_is_the_error_of_an_erlang_node) {
  const CallOutcome outcome = remote_call("send", {Atom("nosuch"), Atom("hello")});
  EXPECT_EQ(outcome.kind, CallOutcome::Kind::failed);
  EXPECT_EQ(to_text(outcome.value), "{badarg,{nosuch,hello}}");
}

TEST_F(BridgeTest, wrong_arguments_and_arities_are_errors_of_the_caller) {
  for (const char* function : {"register_name", "unregister_name", "whereis_name", "send", "get_proxy",
                               "global_register", "start_service_holder", "stop_service_holder"}) {
    EXPECT_EQ(remote_call(function, {}).value, Term(Atom("undef"))) << function;
  }
  EXPECT_TRUE(remote_call("stop_service_holder", {17}).value.is_tagged("invalid_argument", 2));
  EXPECT_TRUE(remote_call("register_name", {Atom("x"), Atom("no_pid")}).value.is_tagged("invalid_argument", 2));
}

TEST_F(BridgeTest, what_can_be_no_name_is_answered_as_a_name_that_nobody_has) {
  const Pid here = a.spawn(answering);
  EXPECT_EQ(answer("register_name", {17, here}), "no");
  EXPECT_EQ(answer("unregister_name", {17}), "ok");
  EXPECT_EQ(answer("whereis_name", {17}), "undefined");
  const CallOutcome sent = remote_call("send", {17, Atom("hello")});
  EXPECT_EQ(sent.kind, CallOutcome::Kind::failed);
  EXPECT_EQ(to_text(sent.value), "{badarg,{17,hello}}");
  EXPECT_EQ(answer("get_proxy", {17}), "not_found");
  EXPECT_EQ(answer("global_register", {17}), "{error,not_found}");
  EXPECT_EQ(answer("start_service_holder", {17}), "{error,badarg}");
}

TEST_F(BridgeTest, a_proxy_is_made_for_a_service_of_another_node_once) {
  const Pid proxy = get_proxy("far").value();
  EXPECT_EQ(proxy.node, "a@test");
  EXPECT_EQ(get_proxy("far").value(), proxy);
  EXPECT_EQ(remote_call("get_proxy", {Atom("far")}).value, Term::tuple({Atom("ok"), proxy}));
  const auto got = run<Result<Term>>(a, [proxy](Process& self) -> Task<Result<Term>> {
    Result<Term> result = co_await self.call(proxy, 1);
    co_return result;
  });
  EXPECT_EQ(got, Term::tuple({Atom("got"), 1}));
}

TEST_F(BridgeTest, there_is_no_proxy_for_what_is_here_or_nowhere) {
  local.emplace(Atom("near"), a.spawn(answering));
  EXPECT_EQ(get_proxy("near").error(), Errc::not_found);
  EXPECT_EQ(get_proxy("nosuch").error(), Errc::not_found);
  EXPECT_EQ(answer("get_proxy", {Atom("nosuch")}), "not_found");
}

TEST_F(BridgeTest, an_erlang_neighbour_registers_the_service_itself_or_its_proxy_in_global) {
  const Pid near = a.spawn(answering);
  local.emplace(Atom("near"), near);
  std::vector<Term> given;
  play_global([&](Process& /*self*/, std::vector<Term> arguments) -> Task<Result<Term>> {
    given.push_back(Term::list(std::move(arguments)));
    co_return Term(Atom("yes"));
  });
  EXPECT_EQ(global_register("near").value(), near);
  const Pid proxy = global_register("far", Milliseconds::max()).value();
  EXPECT_EQ(proxy, get_proxy("far").value());
  ASSERT_EQ(given.size(), 2U);
  EXPECT_EQ(given[0], Term::list({Atom("near"), near}));
  EXPECT_EQ(given[1], Term::list({Atom("far"), proxy}));
  EXPECT_EQ(remote_call("global_register", {Atom("far")}).value, Term::tuple({Atom("ok"), proxy}));
}

TEST_F(BridgeTest, a_name_that_global_has_is_refused_and_the_proxy_made_for_it_goes) {
  play_global(
      [](Process& /*self*/, std::vector<Term> /*arguments*/) -> Task<Result<Term>> { co_return Term(Atom("no")); });
  EXPECT_EQ(answer("global_register", {Atom("far")}), "{error,already_registered}");
  EXPECT_EQ(bridge.proxies().get(Atom("far")), std::nullopt);
  const Pid proxy = get_proxy("far").value();
  EXPECT_EQ(global_register("far").error(), Errc::already_registered);
  EXPECT_EQ(bridge.proxies().get(Atom("far")), proxy) << "one that was there stays";
}

TEST_F(BridgeTest, global_that_hangs_does_not_hang_us) {
  play_global([](Process& self, std::vector<Term> /*arguments*/) -> Task<Result<Term>> {
    co_await self.receive();
    co_return Term(Atom("yes"));
  });
  EXPECT_EQ(global_register("far", 30ms).error(), Errc::timeout);
  EXPECT_EQ(bridge.proxies().get(Atom("far")), std::nullopt) << "and what it may do later is undone by itself";
}

TEST_F(BridgeTest, without_an_erlang_neighbour_global_is_refused_with_a_word) {
  const auto refused = global_register("far");
  EXPECT_EQ(refused.error(), Errc::not_connected);
  EXPECT_NE(refused.error().context().find("no Erlang neighbour"), std::string::npos);
  EXPECT_EQ(global_register("nosuch").error(), Errc::not_found);
}

TEST_F(BridgeTest, a_neighbour_that_is_gone_is_no_reason_to_fail_when_there_is_another) {
  play_global(
      [](Process& /*self*/, std::vector<Term> /*arguments*/) -> Task<Result<Term>> { co_return Term(Atom("yes")); });
  erlang = {NodeName("gone@test"), NodeName("b@test")};
  EXPECT_TRUE(global_register("far").has_value());
}

TEST_F(BridgeTest, a_holder_has_its_name_until_it_is_stopped) {
  const Atom name("hold");
  const CallOutcome started = remote_call("start_service_holder", {name});
  ASSERT_TRUE(started.value.is_tagged("ok", 2));
  const Pid holder = *started.value[1].as_pid();
  EXPECT_EQ(lookup_local(name), holder);
  EXPECT_EQ(answer("start_service_holder", {name}), "{error,already_registered}");
  EXPECT_EQ(lookup_local(name), holder);
  EXPECT_EQ(answer("stop_service_holder", {holder}), "ok");
  (void)end_of(a, holder);
  EXPECT_EQ(lookup_local(name), std::nullopt);
}

TEST_F(BridgeTest, a_holder_that_lost_its_name_does_not_take_it_from_another) {
  const Atom name("hold");
  const Pid holder = *remote_call("start_service_holder", {name}).value[1].as_pid();
  const Pid other = a.spawn(answering);
  EXPECT_EQ(answer("unregister_name", {name}), "ok");
  EXPECT_EQ(answer("register_name", {name, other}), "yes");
  EXPECT_EQ(answer("stop_service_holder", {holder}), "ok");
  (void)end_of(a, holder);
  EXPECT_EQ(lookup_local(name), other);
}

}  // namespace
}  // namespace barrel_p2p::services
