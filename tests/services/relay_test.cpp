// How proxies of Erlang nodes reach services here: by relayed calls, and by a registered name. Recorded signals are
// replayed, with our pids and references in the place of those of the recorded node.
#include <gtest/gtest.h>

#include <barrel_p2p/process.hpp>
#include <boost/json/value.hpp>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "distribution/control.hpp"
#include "process/system.hpp"
#include "services/proxy.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p::services {
namespace {

using namespace std::chrono_literals;
using distribution::Signal;

const Atom se1("se1@127.0.0.1");
const Atom se2("se2@127.0.0.1");
const Atom se3("se3@127.0.0.1");

const boost::json::object& row(const std::string& name, std::optional<std::int64_t> sequence = std::nullopt) {
  static const boost::json::value all = test::read_vectors("registry_routing.json");
  for (const auto& entry : all.as_array()) {
    if (test::text_of(entry, "name") != name) continue;
    if (sequence && entry.as_object().at("sequence").as_int64() != *sequence) continue;
    return entry.as_object();
  }
  throw std::runtime_error("no vector " + name);
}
Term term_of(const std::string& name) {
  return decode_term(test::from_hex(test::text_of(row(name), "etf_hex"))).value().term;
}

/// The two terms of a distribution message.
struct Recorded {
  Term control;
  Term message;
};
Recorded recorded(const boost::json::object& entry) {
  constexpr std::size_t header = 3;  // 131, 68, no atoms
  const Bytes bytes = test::from_hex(test::text_of(entry, "dist_message_hex"));
  DecodeOptions options;
  options.version_byte = false;
  options.allow_trailing = true;
  const ByteView all = ByteView(bytes).subspan(header);
  const auto control = decode_term(all, options).value();
  const ByteView rest = all.subspan(control.used);
  return {control.term, rest.empty() ? Term() : decode_term(rest, options).value().term};
}

Term replaced(const Term& term, const std::map<Term, Term, TermLess>& with) {
  const auto found = with.find(term);
  if (found != with.end()) return found->second;
  std::vector<Term> parts;
  for (const auto& part : term.elements()) parts.push_back(replaced(part, with));
  if (term.is_tuple()) return Term::tuple(std::move(parts));
  if (term.type() == TermType::list) return Term::list(std::move(parts), replaced(term.tail(), with));
  return term;
}

/// A node whose signals to others are looked at.
class Wire : public testing::Test {
 protected:
  void open(const Atom& own, std::vector<Atom> neighbours, std::vector<Atom> connected) {
    process::SystemConfig config;
    config.node = own;
    config.creation = 4;
    config.workers = 1;
    system.emplace(config);
    process::RemotePort port;
    port.send = [this, connected](const Atom& node, Signal&& signal, const Pid& /*key*/) {
      if (std::ranges::find(connected, node) == connected.end()) return distribution::SendOutcome::refused;
      const std::lock_guard lock(mutex_);
      sent_.emplace_back(node, std::move(signal));
      came_.notify_all();
      return distribution::SendOutcome::accepted;
    };
    system->set_remote(std::move(port));
    system->set_name_fallback([this](const Atom& name) { return registered(name); });
    RelayConfig relay;
    relay.neighbours = [neighbours] { return neighbours; };
    relay.lookup_local = [this](const Term& name) { return registered(name); };
    relay.limit = limit;
    export_relay(*system, std::move(relay));
    system->start();
    for (const auto& node : connected) system->node_up(node, 1, 4, distribution::flag::published);
  }
  ~Wire() override {
    if (system) system->stop();
  }

  std::pair<Atom, Signal> next() {
    std::unique_lock lock(mutex_);
    if (!came_.wait_for(lock, 20s, [this] { return !sent_.empty(); })) throw std::runtime_error("nothing was sent");
    auto first = std::move(sent_.front());
    sent_.pop_front();
    return first;
  }
  /// The payload of the next signal of this kind.
  template <class Control>
  std::pair<Control, Term> next_of() {
    auto [node, signal] = next();
    const auto* control = std::get_if<Control>(&signal.control);
    if (control == nullptr) throw std::runtime_error("another signal was sent");
    const bool empty = std::holds_alternative<std::monostate>(signal.payload);
    return {*control, empty ? Term() : distribution::decode_payload(signal.payload).value()};
  }
  void hear(const Atom& from, distribution::Control control, Term payload = {}) {
    (void)system->deliver(from, 1, Signal{std::move(control), std::move(payload)});
  }
  /// Has se1 run a function; returns how it ended.
  void ask(const Recorded& request) {
    hear(se1,
         distribution::SpawnRequest{*request.control[1].as_reference(), *request.control[2].as_pid(),
                                    *request.control[3].as_pid(), *request.control[4][0].as_atom(),
                                    *request.control[4][1].as_atom(),
                                    static_cast<std::uint8_t>(*request.control[4][2].as_int64()), request.control[5]},
         request.message);
    (void)next_of<distribution::SpawnReply>();
  }
  /// The recorded call, of another service.
  static Recorded relay_request(const Term& name, const Atom& target, const Term& context) {
    Recorded request = recorded(row("relay_call_spawn_arguments"));
    const Term arguments = Term::list({name, target, Atom("ping"), context});
    request.message = Term::list({request.message[0], request.message[1], request.message[2], arguments});
    return request;
  }
  static Term context(std::int64_t ttl, const Atom& visited) {
    return Term::map({{Atom("ttl"), ttl}, {Atom("visited"), Term::list({visited})}});
  }
  [[nodiscard]] std::optional<Pid> registered(const Term& name) const {
    const auto found = services.find(name);
    return found == services.end() ? std::nullopt : std::optional(found->second);
  }

  std::map<Term, Pid, TermLess> services;
  Milliseconds limit{10'000};
  std::optional<process::System> system;

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<std::pair<Atom, Signal>> sent_;
};

TEST_F(Wire, a_relayed_call_is_made_and_answered_as_by_an_erlang_relay) {
  open(se2, {se1, se3}, {se1, se3});
  ask(recorded(row("relay_call_spawn_arguments")));
  const auto [monitor, nothing] = next_of<distribution::Monitor>();
  EXPECT_EQ(std::get<Atom>(monitor.target), "svc");
  const auto [sent, call] = next_of<distribution::SendName>();
  EXPECT_EQ(sent.name, "svc");
  const Term theirs = term_of("relay_call_final_hop");
  const std::map<Term, Term, TermLess> ours{{theirs[1][0], monitor.from}, {theirs[1][1].tail(), monitor.ref}};
  EXPECT_EQ(call, replaced(theirs, ours));

  const auto answer = recorded(row("relay_call_service_reply"));
  hear(se3, distribution::SendAlias{*answer.control[1].as_pid(), monitor.ref}, replaced(answer.message, ours));
  (void)next_of<distribution::Demonitor>();
  const auto [exit, outcome] = next_of<distribution::MonitorExit>();
  const Term call_reference = recorded(row("relay_call_spawn_arguments")).message[0];
  EXPECT_EQ(outcome, Term::tuple({call_reference, Atom("return"), term_of("relay_call_result")}));
}

TEST_F(Wire, a_relayed_cast_is_that_of_an_erlang_relay) {
  open(se2, {se1, se3}, {se1, se3});
  ask(recorded(row("relay_cast_spawn_arguments")));
  const auto [sent, message] = next_of<distribution::SendName>();
  EXPECT_EQ(sent.name, "svc");
  EXPECT_EQ(encode_term(message), test::from_hex(test::text_of(row("relay_cast_final_hop"), "etf_hex")));
}

TEST_F(Wire, how_a_relayed_call_fails_is_what_an_erlang_relay_says) {
  open(se2, {se1, se3}, {se1, se3});
  const std::vector<std::pair<const char*, const char*>> cases{{"proxy_relay_no_such_registered_name", "noproc"},
                                                               {"proxy_relay_service_crashes", "crashed"}};
  for (const auto& [name, reason] : cases) {
    const Term theirs = term_of(name)[1][1];  // {error, {'EXIT', Exit}}
    const Term& arguments = theirs[1][2];
    Recorded request = relay_request(arguments[0][0], se3, context(5, se1));
    request.message = Term::list({request.message[0], request.message[1], request.message[2],
                                  Term::list({arguments[0][0], se3, arguments[1], context(5, se1)})});
    ask(request);
    const auto [monitor, nothing] = next_of<distribution::Monitor>();
    (void)next_of<distribution::SendName>();
    hear(se3, distribution::MonitorExit{monitor.target, monitor.from, monitor.ref}, Atom(reason));
    const auto [exit, outcome] = next_of<distribution::MonitorExit>();
    EXPECT_TRUE(outcome[1].is_atom("exit"));
    EXPECT_EQ(outcome[2], theirs) << to_text(outcome);
  }
}

TEST_F(Wire, a_service_that_is_silent_ends_a_relayed_call_after_its_limit) {
  limit = 20ms;
  open(se2, {se1, se3}, {se1, se3});
  ask(relay_request(Atom("svc"), se3, context(5, se1)));
  (void)next_of<distribution::Monitor>();
  (void)next_of<distribution::SendName>();
  (void)next_of<distribution::Demonitor>();
  const auto [exit, outcome] = next_of<distribution::MonitorExit>();
  EXPECT_EQ(to_text(outcome[2]), "{timeout,{gen_server,call,[{svc,'se3@127.0.0.1'},ping,20]}}");
}

TEST_F(Wire, a_relay_without_hops_left_or_without_a_way_says_so) {
  open(se1, {se2}, {se1, se2});
  const auto answer = [&](std::int64_t ttl) {
    Recorded request = relay_request(Atom("svc"), Atom("elsewhere@127.0.0.1"), context(ttl, se2));
    hear(se2,
         distribution::SpawnRequest{*request.control[1].as_reference(), Pid{se2, 1, 0, 4}, Pid{se2, 2, 0, 4},
                                    Atom("erpc"), Atom("execute_call"), 4, request.control[5]},
         request.message);
    (void)next_of<distribution::SpawnReply>();
    return next_of<distribution::MonitorExit>().second[2];
  };
  EXPECT_EQ(answer(0), term_of("relay_ttl_zero"));
  EXPECT_EQ(answer(5), term_of("relay_loop_detected"));
}

TEST_F(Wire, what_cannot_be_reached_from_here_is_handed_to_a_neighbour_that_was_not_asked) {
  open(se2, {se1, se3}, {se1, se3});
  ask(relay_request(Atom("svc"), Atom("far@127.0.0.1"), context(5, se1)));
  auto [node, signal] = next();
  EXPECT_EQ(node, se3);
  const auto& request = std::get<distribution::SpawnRequest>(signal.control);
  const Term arguments = distribution::decode_payload(signal.payload).value();
  EXPECT_EQ(to_text(arguments[3]),
            "[svc,'far@127.0.0.1',ping,#{ttl => 4,visited => ['se2@127.0.0.1','se1@127.0.0.1']}]");
  const Pid worker{se3, 9, 0, 4};
  hear(se3, distribution::SpawnReply{request.request, request.from, distribution::SpawnReply::flag_monitor, worker});
  hear(se3, distribution::MonitorExit{worker, request.from, request.request},
       Term::tuple({arguments[0], Atom("return"), Atom("pong")}));
  const auto [exit, outcome] = next_of<distribution::MonitorExit>();
  EXPECT_EQ(outcome[2], Term(Atom("pong")));
}

TEST_F(Wire, what_is_no_relay_call_is_an_error_of_the_caller) {
  open(se2, {se1, se3}, {se1, se3});
  const Atom svc("svc");
  for (const Recorded& request :
       {relay_request(17, se3, context(5, se1)), relay_request(svc, Atom("nowhere"), context(5, se1)),
        relay_request(svc, se3, Atom("x")), relay_request(svc, se3, Term::map({{Atom("ttl"), 5}})),
        relay_request(svc, se3, Term::map({{Atom("ttl"), 5}, {Atom("visited"), Term::list({1})}}))}) {
    ask(request);
    const auto [exit, outcome] = next_of<distribution::MonitorExit>();
    EXPECT_TRUE(outcome[1].is_atom("error")) << to_text(outcome);
  }
}

Task<> ponging(Process& self) {
  for (;;) {
    const Term message = co_await self.receive();
    const auto call = as_call(message);
    if (call) co_await reply(self, call->first, Term::tuple_of(Atom("pong"), self.node().atom()));
  }
}

TEST_F(Wire, a_relayed_call_to_a_service_of_this_node_needs_no_registered_process_and_takes_binary_names) {
  open(se2, {se1}, {se1});
  for (const Term& name : {Term(Atom("svc")), Term("bin")}) {
    services.insert_or_assign(name, system->spawn(ponging));
    ask(relay_request(name, se2, context(5, se1)));
    const auto [exit, outcome] = next_of<distribution::MonitorExit>();
    EXPECT_EQ(to_text(outcome[2]), "{pong,'se2@127.0.0.1'}");
  }
}

/// The frames of an Erlang proxy that is a neighbour: a call and a cast to a registered name.
TEST_F(Wire, a_service_is_called_by_its_name_although_no_process_bears_it) {
  open(se2, {se1}, {se1});
  services.emplace(Atom("dsvc"), system->spawn(ponging));
  const auto frame = [](std::int64_t number) { return recorded(row("direct_call_frame_from_caller", number)); };
  const Recorded monitor = frame(1);
  hear(se1, distribution::Monitor{*monitor.control[1].as_pid(), *monitor.control[2].as_atom(),
                                  *monitor.control[3].as_reference()});
  const Recorded call = frame(2);
  hear(se1, distribution::SendName{*call.control[1].as_pid(), *call.control[3].as_atom()}, call.message);
  const auto [sent, answer] = next_of<distribution::SendAlias>();
  const Recorded theirs = recorded(row("direct_call_frame_from_service_node", 1));
  EXPECT_EQ(sent.alias, *theirs.control[2].as_reference());
  EXPECT_EQ(answer, theirs.message);

  system->exit(services.at(Atom("dsvc")), Atom("crashed"));
  const auto [exit, reason] = next_of<distribution::MonitorExit>();
  EXPECT_EQ(std::get<Atom>(exit.from), "dsvc");
  EXPECT_EQ(reason, Term(Atom("crashed")));
}

TEST_F(Wire, a_process_that_bears_the_name_comes_before_the_service) {
  open(se2, {se1}, {se1});
  services.emplace(Atom("dsvc"), system->spawn(ponging));
  const Pid named = system->spawn(ponging);
  system->register_name(Atom("dsvc"), named).value();
  EXPECT_EQ(system->addressee(Atom("dsvc")), named);
  system->unregister_name(Atom("dsvc"));
  EXPECT_EQ(system->addressee(Atom("dsvc")), services.at(Atom("dsvc")));
  EXPECT_EQ(system->whereis(Atom("dsvc")), std::nullopt);
}

}  // namespace
}  // namespace barrel_p2p::services
