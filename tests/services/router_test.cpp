// Lookups through the overlay: the recorded requests of Erlang nodes, and several routers in one network that loses,
// delays and bounds.
#include "services/router.hpp"

#include <gtest/gtest.h>

#include <boost/json/value.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "services/registry_entry.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p::services {
namespace {

using namespace std::chrono_literals;

Pid pid_at(const Atom& node, std::uint32_t id) { return Pid{node, id, 0, 4}; }

/// One router by itself: what goes in is written by the test, what comes out is looked at.
class Alone {
 public:
  explicit Alone(const std::string& own, const std::function<void(RouterConfig&)>& change = {}) : own_(own) {
    RouterConfig config;
    config.own = own_;
    if (change) change(config);
    router_.emplace(config, pid_at(own_, 7),
                    Router::Knowledge{[this](const Term& name) { return lookup(name); },
                                      [this](const Term& /*name*/, const Route& route) { return route.node != gone; },
                                      [this] { return next_reference(); }});
  }

  Router& router() { return *router_; }
  Effects receive(const std::string& from, const Term& message) {
    return use([&](Effects& out) { router_->receive(Atom(from), message, now, out); });
  }
  Effects find(const Term& name, Ticket ticket, Milliseconds limit = 1s) {
    return use([&](Effects& out) { router_->find(name, ticket, now.monotonic + limit, now, out); });
  }
  /// Of the node that was asked with this reference.
  Effects reply(const Ref& reference, const Term& result) { return reply(asked_.at(reference), reference, result); }
  Effects reply(const Atom& from, const Ref& reference, const Term& result) {
    return use([&](Effects& out) { router_->reply(from, Term::tuple({reference, result}), now, out); });
  }
  Effects after(Milliseconds time) {
    now.monotonic += time;
    return use([&](Effects& out) { router_->tick(now, out); });
  }

  std::map<Term, Route, TermLess> known;
  Atom gone;  ///< A node of which this one knows better.
  Now now{MonotonicTime(1h), 0};

 private:
  Effects use(const std::function<void(Effects&)>& input) {
    Effects out;
    input(out);
    for (const auto& effect : out) {
      if (const auto* sent = std::get_if<Send>(&effect)) {
        asked_.emplace(*sent->message[1][2][1].as_reference(), sent->to);
      }
    }
    return out;
  }
  std::optional<Route> lookup(const Term& name) {
    const auto found = known.find(name);
    return found == known.end() ? std::nullopt : std::optional(found->second);
  }
  Ref next_reference() { return {own_, 4, 3, {++references_, 0, 0, 0, 0}}; }

  Atom own_;
  std::uint32_t references_ = 0;
  std::map<Ref, Atom> asked_;
  std::optional<Router> router_;
};

Term request(const Term& name, std::int64_t ttl, const std::vector<std::string>& visited, const Pid& reply_to,
             std::uint32_t number = 1) {
  std::vector<Term> nodes;
  for (const auto& node : visited) nodes.emplace_back(Atom(node));
  const Ref reference{reply_to.node, 4, 3, {number, 0, 0, 0, 0}};
  return Term::tuple(
      {Atom("$barrel_p2p_route"),
       Term::tuple({Atom("route_request"),
                    Term::tuple({Atom("route_req"), name, ttl, Atom("a@h"), Term::list(std::move(nodes))}),
                    Term::tuple({reply_to, reference})})});
}

/// The reference that a request asks to be answered with.
Ref reference_of(const Effect& effect) { return *std::get<Send>(effect).message[1][2][1].as_reference(); }
Term result_of(const Effect& effect) { return std::get<SendPid>(effect).message[1]; }

// Vectors.

struct Recorded {
  Term term;
  Bytes bytes;
};

class Vectors : public testing::Test {
 protected:
  static Recorded recorded(const std::string& name, const std::string& member = "etf_hex") {
    static const boost::json::value all = test::read_vectors("registry_routing.json");
    for (const auto& row : all.as_array()) {
      if (test::text_of(row, "name") != name) continue;
      Bytes bytes = test::from_hex(test::text_of(row, member));
      Term term = decode_term(bytes).value().term;
      return {std::move(term), std::move(bytes)};
    }
    throw std::runtime_error("no vector " + name);
  }
  static constexpr const char* se1 = "se1@127.0.0.1";
  static constexpr const char* se2 = "se2@127.0.0.1";
  static constexpr const char* se3 = "se3@127.0.0.1";
};

TEST_F(Vectors, a_request_is_handed_on_in_the_bytes_of_an_erlang_relay_and_its_answer_too) {
  const auto forwarded = recorded("route_request_hop2_forwarded");
  const Term& reply_to = forwarded.term[1][2];
  RouterConfig config;
  config.own = Atom(se2);
  // The recorded relay ran a process for each request; here one process gets all answers.
  Router router(
      config, *reply_to[0].as_pid(),
      {[](const Term& /*name*/) { return std::optional<Route>(); },
       [](const Term& /*name*/, const Route& /*route*/) { return true; }, [&] { return *reply_to[1].as_reference(); }});
  router.neighbour_up(Atom(se1));
  router.neighbour_up(Atom(se3));
  const Now now{MonotonicTime(1h), 0};
  Effects out;
  router.receive(Atom(se1), recorded("route_request_hop1_origin_to_neighbour").term, now, out);
  ASSERT_EQ(out.size(), 1U);
  const auto& sent = std::get<Send>(out[0]);
  EXPECT_EQ(sent.to, se3);
  EXPECT_EQ(sent.name, "barrel_p2p_router");
  EXPECT_EQ(encode_term(sent.message), forwarded.bytes) << to_text(sent.message);

  out.clear();
  router.reply(Atom(se3), recorded("route_reply_from_owner").term, now, out);
  ASSERT_EQ(out.size(), 1U);
  const auto relayed = recorded("route_reply_relayed");
  EXPECT_EQ(encode_term(std::get<SendPid>(out[0]).message), relayed.bytes);
  EXPECT_EQ(std::get<SendPid>(out[0]).to, *recorded("route_request_hop1_origin_to_neighbour").term[1][2][0].as_pid());
}

TEST_F(Vectors, the_owner_answers_in_the_bytes_of_an_erlang_owner) {
  Alone owner(se3);
  owner.known.emplace(Atom("svc"), Route{Atom(se3), pid_at(Atom(se3), 159)});
  const auto out = owner.receive(se2, recorded("route_request_hop2_forwarded").term);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(encode_term(std::get<SendPid>(out[0]).message), recorded("route_reply_from_owner").bytes);
}

TEST_F(Vectors, the_first_request_is_that_of_an_erlang_node_with_the_origin_visited_once) {
  Alone origin(se1);
  origin.router().neighbour_up(Atom(se2));
  const auto out = origin.find(Atom("svc"), 1);
  ASSERT_EQ(out.size(), 1U);
  const Term& sent = std::get<Send>(out[0]).message;
  const Term theirs = recorded("route_request_hop1_origin_to_neighbour").term;
  EXPECT_EQ(sent[1][1][1], theirs[1][1][1]);
  EXPECT_EQ(sent[1][1][2], theirs[1][1][2]);
  EXPECT_EQ(sent[1][1][3], theirs[1][1][3]);
  EXPECT_EQ(to_text(sent[1][1][4]), "['se1@127.0.0.1']");
}

/// Recorded requests to the owner se3, whose only neighbour is se2.
TEST_F(Vectors, recorded_requests_get_the_recorded_answers) {
  for (const char* name :
       {"request_ttl1_local_service", "request_unknown_no_unvisited_peer", "request_unknown_ttl1_peer_left"}) {
    Alone owner(se3);
    owner.known.emplace(Atom("svc"), Route{Atom(se3), pid_at(Atom(se3), 159)});
    owner.router().neighbour_up(Atom(se2));
    const auto out = owner.receive(se1, recorded(name).term);
    ASSERT_EQ(out.size(), 1U) << name;
    EXPECT_EQ(encode_term(std::get<SendPid>(out[0]).message), recorded(name, "reply_etf_hex").bytes) << name;
  }
}

TEST_F(Vectors, without_hops_left_a_name_is_looked_up_all_the_same_and_else_answered_as_recorded) {
  Alone owner(se3);
  owner.router().neighbour_up(Atom(se2));
  const auto expired = owner.receive(se1, recorded("request_ttl0_local_service").term);
  ASSERT_EQ(expired.size(), 1U);
  EXPECT_EQ(encode_term(std::get<SendPid>(expired[0]).message),
            recorded("request_ttl0_local_service", "reply_etf_hex").bytes);
  owner.known.emplace(Atom("svc"), Route{Atom(se3), pid_at(Atom(se3), 159)});
  const auto found = owner.receive(se1, recorded("request_ttl0_local_service").term);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_TRUE(result_of(found[0]).is_tagged("found", 3));
}

TEST_F(Vectors, over_the_cap_the_answer_is_the_recorded_one_and_counted) {
  Alone relay(se3, [](RouterConfig& config) { config.in_flight_max = 1; });
  relay.router().neighbour_up(Atom(se2));
  EXPECT_TRUE(std::holds_alternative<Send>(relay.receive(se1, recorded("request_over_cap").term)[0]));
  const auto out = relay.receive(se1, recorded("request_over_cap").term);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(encode_term(std::get<SendPid>(out[0]).message), recorded("request_over_cap", "reply_etf_hex").bytes);
  EXPECT_EQ(relay.router().counters().request_dropped, 1U);
}

// One router.

/// The recorded caller of an Erlang node found the late reply in its mailbox.
TEST(Router, a_late_reply_changes_nothing_any_more) {
  Term late;
  const boost::json::value rows = test::read_vectors("registry_membership.json");
  for (const auto& row : rows.as_array()) {
    const auto* mailbox = row.as_object().if_contains("caller_mailbox");
    if (mailbox == nullptr) continue;
    std::string text(mailbox->as_array().at(0).as_string());
    late = parse_term("{ref" + text.substr(text.find(','))).value()[1];
  }
  ASSERT_TRUE(late.is_tagged("error", 2));
  Alone origin("a@h");
  origin.router().neighbour_up(Atom("b@h"));
  const Ref reference = reference_of(origin.find(Atom("slow"), 5, 5s)[0]);
  const auto out = origin.after(5s);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(std::get<Routed>(out[0]).ticket, 5U);
  EXPECT_EQ(std::get<Routed>(out[0]).result.error(), Errc::timeout);
  EXPECT_TRUE(origin.reply(reference, late).empty());
  EXPECT_EQ(origin.router().counters().answered_late, 1U);
  EXPECT_EQ(origin.router().searches(), 0U);
  EXPECT_EQ(origin.router().deadline(), MonotonicTime::max());
}

TEST(Router, known_registrations_of_other_nodes_are_answered_for) {
  Alone relay("b@h");
  relay.known.emplace("bin", Route{Atom("c@h"), pid_at(Atom("c@h"), 3)});
  const auto out = relay.receive("a@h", request("bin", 4, {"a@h"}, pid_at(Atom("a@h"), 1)));
  EXPECT_EQ(result_of(out[0]), Term::tuple({Atom("found"), Atom("c@h"), pid_at(Atom("c@h"), 3)}));
}

TEST(Router, neighbours_that_are_asked_at_once_are_told_of_each_other) {
  Alone relay("b@h");
  for (const char* node : {"a@h", "c@h", "d@h"}) relay.router().neighbour_up(Atom(node));
  const auto out = relay.receive("a@h", request(Atom("x"), 9, {"a@h"}, pid_at(Atom("a@h"), 1)));
  ASSERT_EQ(out.size(), 2U);
  for (const auto& effect : out) {
    const auto& sent = std::get<Send>(effect);
    const std::string other = sent.to == "c@h" ? "d@h" : "c@h";
    EXPECT_EQ(to_text(sent.message[1][1][4]), "[b@h," + other + ",a@h]");
    EXPECT_EQ(sent.message[1][1][2], Term(3)) << "the TTL is bounded";
  }
}

TEST(Router, neighbours_that_say_nothing_do_not_hold_up_the_others) {
  Alone origin("a@h");
  for (const char* node : {"b@h", "c@h", "d@h", "e@h"}) origin.router().neighbour_up(Atom(node));
  EXPECT_EQ(origin.find(Atom("x"), 1, 3s).size(), 3U);
  const auto out = origin.after(400ms);
  ASSERT_EQ(out.size(), 1U);
  const auto done =
      origin.reply(reference_of(out[0]), Term::tuple({Atom("found"), Atom("e@h"), pid_at(Atom("e@h"), 3)}));
  ASSERT_EQ(done.size(), 1U);
  EXPECT_EQ(std::get<Routed>(done[0]).result->pid, pid_at(Atom("e@h"), 3));
}

TEST(Router, a_no_makes_room_for_the_next_one_and_the_last_no_is_the_answer) {
  Alone origin("a@h");
  for (const char* node : {"b@h", "c@h", "d@h", "e@h"}) origin.router().neighbour_up(Atom(node));
  const auto asked = origin.find(Atom("x"), 1);
  const auto next = origin.reply(reference_of(asked[0]), parse_term("{error,not_found}").value());
  ASSERT_EQ(next.size(), 1U);
  EXPECT_TRUE(origin.reply(reference_of(asked[1]), parse_term("{error,something_new}").value()).empty());
  EXPECT_TRUE(origin.reply(reference_of(asked[2]), Atom("junk")).empty());
  const auto done = origin.reply(reference_of(next[0]), parse_term("{error,overloaded}").value());
  ASSERT_EQ(done.size(), 1U);
  EXPECT_EQ(std::get<Routed>(done[0]).result.error(), Errc::not_found);
}

TEST(Router, only_the_node_that_was_asked_can_answer_whoever_guesses_the_reference) {
  Alone origin("a@h");
  for (const char* node : {"b@h", "evil@h"}) origin.router().neighbour_up(Atom(node));
  const auto asked = origin.find(Atom("x"), 1);
  ASSERT_EQ(asked.size(), 2U);
  const bool first = std::get<Send>(asked[0]).to == "b@h";
  const Ref of_b = reference_of(asked[first ? 0 : 1]);
  const Ref of_evil = reference_of(asked[first ? 1 : 0]);
  const Term planted = Term::tuple({Atom("found"), Atom("evil@h"), pid_at(Atom("evil@h"), 3)});
  const Term no = parse_term("{error,not_found}").value();
  for (const char* liar : {"evil@h", "stranger@h"}) {
    EXPECT_TRUE(origin.reply(Atom(liar), of_b, planted).empty());
    EXPECT_TRUE(origin.reply(Atom(liar), of_b, no).empty());
  }
  EXPECT_EQ(origin.router().counters().answered_by_others, 4U);
  // Its own no ends nothing: b@h was not heard yet, and is believed.
  EXPECT_TRUE(origin.reply(of_evil, no).empty());
  const auto done = origin.reply(of_b, Term::tuple({Atom("found"), Atom("b@h"), pid_at(Atom("b@h"), 3)}));
  ASSERT_EQ(done.size(), 1U);
  EXPECT_EQ(std::get<Routed>(done[0]).result->pid, pid_at(Atom("b@h"), 3));
  EXPECT_TRUE(origin.reply(of_b, planted).empty()) << "played again";
  EXPECT_EQ(origin.router().counters().answered_late, 1U);
}

TEST(Router, a_neighbour_that_goes_counts_as_a_no) {
  Alone origin("a@h");
  origin.router().neighbour_up(Atom("b@h"));
  (void)origin.find(Atom("x"), 1);
  Effects out;
  origin.router().neighbour_down(Atom("b@h"), origin.now, out);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(std::get<Routed>(out[0]).result.error(), Errc::not_found);
}

TEST(Router, an_answer_that_names_ourselves_is_a_no) {
  Alone origin("a@h");
  origin.router().neighbour_up(Atom("b@h"));
  const Ref reference = reference_of(origin.find(Atom("x"), 1)[0]);
  const auto out = origin.reply(reference, Term::tuple({Atom("found"), Atom("a@h"), pid_at(Atom("a@h"), 3)}));
  EXPECT_EQ(std::get<Routed>(out.at(0)).result.error(), Errc::not_found);
}

TEST(Router, an_answer_that_this_node_knows_better_is_a_no) {
  Alone origin("a@h");
  origin.gone = Atom("c@h");
  origin.router().neighbour_up(Atom("b@h"));
  const Ref reference = reference_of(origin.find(Atom("x"), 1)[0]);
  const auto out = origin.reply(reference, Term::tuple({Atom("found"), Atom("c@h"), pid_at(Atom("c@h"), 3)}));
  EXPECT_EQ(std::get<Routed>(out.at(0)).result.error(), Errc::not_found);
}

TEST(Router, one_search_serves_all_who_look_for_a_name) {
  Alone origin("a@h");
  origin.router().neighbour_up(Atom("b@h"));
  const auto asked = origin.find(Atom("x"), 1, 100ms);
  for (Ticket ticket = 2; ticket <= 1000; ++ticket) EXPECT_TRUE(origin.find(Atom("x"), ticket, 2s).empty());
  const auto gave_up = origin.after(100ms);
  ASSERT_EQ(gave_up.size(), 1U);
  EXPECT_EQ(std::get<Routed>(gave_up[0]).ticket, 1U);
  const auto out =
      origin.reply(reference_of(asked[0]), Term::tuple({Atom("found"), Atom("b@h"), pid_at(Atom("b@h"), 3)}));
  EXPECT_EQ(out.size(), 999U);
  EXPECT_EQ(origin.router().counters().asked, 1U);
}

TEST(Router, a_name_that_nobody_has_is_not_asked_for_again_for_a_second) {
  Alone origin("a@h");
  origin.router().neighbour_up(Atom("b@h"));
  const Ref reference = reference_of(origin.find(Atom("x"), 1)[0]);
  (void)origin.reply(reference, parse_term("{error,not_found}").value());
  EXPECT_EQ(std::get<Routed>(origin.find(Atom("x"), 2).at(0)).result.error(), Errc::not_found);
  origin.known.emplace(Atom("x"), Route{Atom("b@h"), pid_at(Atom("b@h"), 3)});
  EXPECT_TRUE(std::get<Routed>(origin.find(Atom("x"), 3).at(0)).result.has_value());
  origin.known.clear();
  origin.now.monotonic += 1s;
  EXPECT_TRUE(std::holds_alternative<Send>(origin.find(Atom("x"), 4).at(0)));
}

TEST(Router, without_neighbours_nothing_is_asked_and_nothing_remembered) {
  Alone origin("a@h");
  EXPECT_EQ(std::get<Routed>(origin.find(Atom("x"), 1).at(0)).result.error(), Errc::not_found);
  origin.router().neighbour_up(Atom("b@h"));
  EXPECT_TRUE(std::holds_alternative<Send>(origin.find(Atom("x"), 2).at(0)));
}

TEST(Router, one_neighbour_cannot_use_up_what_is_there_for_all) {
  Alone relay("b@h", [](RouterConfig& config) {
    config.in_flight_max = 4;
    config.in_flight_per_source_max = 2;
  });
  for (const char* node : {"a@h", "c@h", "d@h"}) relay.router().neighbour_up(Atom(node));
  const auto ask = [&](const char* from, std::uint32_t number) {
    return relay.receive(from, request(Atom("x"), 4, {from}, pid_at(Atom(from), 1), number));
  };
  const Term overloaded = parse_term("{error,overloaded}").value();
  EXPECT_EQ(ask("a@h", 1).size(), 2U);
  EXPECT_EQ(ask("a@h", 2).size(), 2U);
  EXPECT_EQ(result_of(ask("a@h", 3).at(0)), overloaded);
  EXPECT_EQ(ask("c@h", 4).size(), 2U);
  EXPECT_EQ(ask("c@h", 5).size(), 2U);
  EXPECT_EQ(result_of(ask("d@h", 6).at(0)), overloaded);
  EXPECT_EQ(relay.after(4s).size(), 4U) << "all are answered in time";
  EXPECT_EQ(ask("d@h", 7).size(), 2U) << "and there is room again";
}

TEST(Router, too_many_lookups_of_this_node_are_refused) {
  Alone origin("a@h", [](RouterConfig& config) { config.finds_max = 2; });
  origin.router().neighbour_up(Atom("b@h"));
  (void)origin.find(Atom("x"), 1);
  (void)origin.find(Atom("x"), 2);
  EXPECT_EQ(std::get<Routed>(origin.find(Atom("y"), 3).at(0)).result.error(), Errc::overloaded);
  EXPECT_EQ(origin.after(1s).size(), 2U);
  EXPECT_TRUE(std::holds_alternative<Send>(origin.find(Atom("y"), 4).at(0)));
}

TEST(Router, names_of_any_shape_are_looked_for_and_too_large_ones_are_answered_at_once) {
  Alone relay("b@h");
  for (const char* node : {"a@h", "c@h"}) relay.router().neighbour_up(Atom(node));
  const Pid asker = pid_at(Atom("a@h"), 1);
  std::uint32_t number = 0;
  const auto sent = [&](const Term& name) {
    const Effects out = relay.receive("a@h", request(name, 4, {"a@h"}, asker, ++number));
    const Send* const only = out.size() == 1 ? std::get_if<Send>(&out.front()) : nullptr;
    return only != nullptr && only->to == Atom("c@h") ? to_text(only->message[1][1][1]) : std::string("not asked on");
  };
  EXPECT_EQ(sent(Term::tuple({Atom("worker"), Atom("c@h")})), "{worker,c@h}");
  EXPECT_EQ(sent(17), "17");
  EXPECT_EQ(relay.router().counters().malformed, 0U);
  const std::string large(service_name_bytes_max + 1, 'x');
  for (const Term& name : {Term(large), Term::tuple({Atom("room"), large})}) {
    const Effects out = relay.receive("a@h", request(name, 4, {"a@h"}, asker, ++number));
    ASSERT_EQ(out.size(), 1U);
    const auto& reply = std::get<SendPid>(out.front());
    EXPECT_EQ(reply.to, asker);
    EXPECT_EQ(to_text(reply.message[1]), "{error,not_found}");
  }
}

TEST(Router, what_is_no_request_is_dropped_and_counted) {
  Alone relay("b@h");
  for (const char* node : {"a@h", "c@h"}) relay.router().neighbour_up(Atom(node));
  const Pid asker = pid_at(Atom("a@h"), 1);
  const Term good = request(Atom("x"), 4, {"a@h"}, asker);
  const auto with = [&](std::size_t part, const Term& value) {
    std::vector<Term> what(good[1][1].elements().begin(), good[1][1].elements().end());
    what[part] = value;
    return Term::tuple({good[0], Term::tuple({good[1][0], Term::tuple(std::move(what)), good[1][2]})});
  };
  std::vector<std::string> many(300, "n@h");
  const std::vector<Term> bad{
      Atom("junk"),
      Term::tuple({good[0], Atom("x")}),
      Term::tuple({good[0], Term::tuple({good[1][0], good[1][1]})}),
      Term::tuple({good[0], Term::tuple({good[1][0], good[1][1], Atom("nobody")})}),
      Term::tuple({good[0], Term::tuple({good[1][0], good[1][1], Term::tuple({asker, 1})})}),
      with(2, Atom("x")),
      with(2, BigInteger::parse("99999999999999999999").value()),
      with(3, 1),
      with(4, Atom("a@h")),
      with(4, Term::list({1})),
      with(4, Term::list({Atom("a@h")}, Atom("tail"))),
      request(Atom("x"), 4, many, asker),
      request(Atom("x"), 4, {"a@h"}, pid_at(Atom("c@h"), 1)),
  };
  for (const auto& message : bad) EXPECT_TRUE(relay.receive("a@h", message).empty()) << to_text(message);
  EXPECT_EQ(relay.router().counters().malformed, bad.size());
  EXPECT_EQ(relay.receive("a@h", good).size(), 1U);
  EXPECT_EQ(relay.receive("a@h", with(1, std::string(service_name_bytes_max, 'x'))).size(), 1U);
}

// A network of routers.

class Network {
 public:
  struct Member {
    std::unique_ptr<Router> router;
    std::vector<Term> own;  ///< Names of its services.
    bool silent = false;
  };

  explicit Network(std::uint64_t seed = 1) : random_(seed) {}

  void add(const Atom& node) {
    Member& member = members_[node];
    RouterConfig config;
    config.own = node;
    config.seed = random_.next();
    Router::Knowledge knowledge;
    knowledge.lookup = [node, &member](const Term& name) -> std::optional<Route> {
      for (const auto& own : member.own) {
        if (own == name) return Route{node, pid_at(node, 100)};
      }
      return std::nullopt;
    };
    knowledge.believe = [](const Term& /*name*/, const Route& /*route*/) { return true; };
    knowledge.make_reference = [this, node] { return Ref{node, 4, 3, {++references_, 0, 0, 0, 0}}; };
    member.router = std::make_unique<Router>(config, pid_at(node, 1), std::move(knowledge));
  }
  void link(const Atom& one, const Atom& other) {
    members_.at(one).router->neighbour_up(other);
    members_.at(other).router->neighbour_up(one);
  }
  Member& at(const Atom& node) { return members_.at(node); }

  void find(const Atom& node, const Term& name, Ticket ticket, Milliseconds limit) {
    Effects out;
    at(node).router->find(name, ticket, now_.monotonic + limit, now_, out);
    carry_out(node, out);
  }
  /// Until nothing more happens.
  void run() {
    for (;;) {
      MonotonicTime next = messages_.empty() ? MonotonicTime::max() : messages_.begin()->first.first;
      for (const auto& [node, member] : members_) next = std::min(next, member.router->deadline());
      if (next == MonotonicTime::max()) return;
      now_.monotonic = std::max(now_.monotonic, next);
      for (auto& [node, member] : members_) {
        if (member.router->deadline() > now_.monotonic) continue;
        Effects out;
        member.router->tick(now_, out);
        carry_out(node, out);
      }
      while (!messages_.empty() && messages_.begin()->first.first <= now_.monotonic) {
        const auto message = std::move(messages_.begin()->second);
        messages_.erase(messages_.begin());
        deliver(message);
      }
    }
  }

  std::map<Ticket, std::vector<Result<Route>>> routed;
  Milliseconds delay{1};
  double loss = 0;
  std::map<Ref, MonotonicTime> unanswered;  ///< Requests that arrived.
  Milliseconds slowest_answer{0};
  std::size_t sent = 0;

 private:
  struct Message {
    Atom from;
    Atom to;
    bool is_request = false;
    Term term;
  };

  void carry_out(const Atom& node, const Effects& effects) {
    for (const auto& effect : effects) {
      if (const auto* send = std::get_if<Send>(&effect)) {
        post({node, send->to, true, send->message});
      } else if (const auto* reply = std::get_if<SendPid>(&effect)) {
        const Ref reference = *reply->message[0].as_reference();
        const auto asked = unanswered.find(reference);
        ASSERT_NE(asked, unanswered.end()) << "answered twice";
        slowest_answer =
            std::max(slowest_answer, std::chrono::duration_cast<Milliseconds>(now_.monotonic - asked->second));
        unanswered.erase(asked);
        post({node, reply->to.node, false, reply->message});
      } else {
        const auto& done = std::get<Routed>(effect);
        routed[done.ticket].push_back(done.result);
      }
    }
  }
  void post(Message message) {
    ++sent;
    if (random_.chance(loss)) return;
    messages_.emplace(std::pair{now_.monotonic + delay, ++sequence_}, std::move(message));
  }
  void deliver(const Message& message) {
    Member& member = members_.at(message.to);
    if (member.silent) return;
    Effects out;
    if (message.is_request) {
      unanswered.emplace(*message.term[1][2][1].as_reference(), now_.monotonic);
      member.router->receive(message.from, message.term, now_, out);
    } else {
      member.router->reply(message.from, message.term, now_, out);
    }
    carry_out(message.to, out);
  }

  Prng random_;
  Now now_{MonotonicTime(1h), 0};
  std::map<Atom, Member> members_;
  std::map<std::pair<MonotonicTime, std::uint64_t>, Message> messages_;
  std::uint64_t sequence_ = 0;
  std::uint32_t references_ = 0;
};

Atom node_number(std::size_t number) { return Atom("n" + std::to_string(number) + "@h"); }

TEST(Routers, a_service_is_found_four_hops_away_and_not_five) {
  Network network;
  for (std::size_t number = 0; number < 6; ++number) network.add(node_number(number));
  for (std::size_t number = 0; number < 5; ++number) network.link(node_number(number), node_number(number + 1));
  network.at(node_number(4)).own = {Atom("four")};
  network.at(node_number(5)).own = {Atom("five")};
  network.find(node_number(0), Atom("four"), 1, 5s);
  network.find(node_number(0), Atom("five"), 2, 5s);
  network.run();
  ASSERT_TRUE(network.routed[1].at(0).has_value());
  EXPECT_EQ(network.routed[1].at(0)->node, node_number(4));
  EXPECT_EQ(network.routed[2].at(0).error(), Errc::not_found);
}

TEST(Routers, an_answer_from_far_away_meets_relays_that_still_wait) {
  Network network;
  for (const char* node : {"a@h", "b@h", "c@h", "owner@h", "dead1@h", "dead2@h", "dead3@h", "dead4@h"}) {
    network.add(Atom(node));
  }
  network.link(Atom("a@h"), Atom("b@h"));
  network.link(Atom("b@h"), Atom("c@h"));
  network.link(Atom("c@h"), Atom("owner@h"));
  for (const char* node : {"dead1@h", "dead2@h", "dead3@h", "dead4@h"}) {
    network.at(Atom(node)).silent = true;
    network.link(Atom("b@h"), Atom(node));
    network.link(Atom("c@h"), Atom(node));
  }
  network.at(Atom("owner@h")).own = {Atom("x")};
  network.delay = 50ms;
  network.find(Atom("a@h"), Atom("x"), 1, 5s);
  network.run();
  EXPECT_TRUE(network.routed[1].at(0).has_value());
}

/// Hops from a node to each other.
std::vector<std::size_t> distances(const std::vector<std::vector<std::size_t>>& links, std::size_t from) {
  std::vector<std::size_t> hops(links.size(), links.size());
  std::vector<std::size_t> queue{from};
  hops[from] = 0;
  for (std::size_t at = 0; at < queue.size(); ++at) {
    for (const std::size_t next : links[queue[at]]) {
      if (hops[next] != links.size()) continue;
      hops[next] = hops[queue[at]] + 1;
      queue.push_back(next);
    }
  }
  return hops;
}

/// 12 nodes, linked at random, one of which has the service x; 20 lookups from random nodes. Some nodes are silent,
/// some messages are lost.
class RandomGraph {
 public:
  RandomGraph(std::uint64_t seed, std::size_t silent, double loss) : network(seed), random_(seed) {
    for (std::size_t number = 0; number < count; ++number) network.add(node_number(number));
    for (std::size_t number = 1; number < count; ++number) {
      link(number, random_.below(number));
      if (random_.chance(0.3)) link(number, (number + 1 + random_.below(count - 1)) % count);
    }
    const std::size_t owner = random_.below(count);
    network.at(node_number(owner)).own = {Atom("x")};
    hops_ = distances(links_, owner);
    for (std::size_t number = 0; number < silent; ++number) network.at(node_number(random_.below(count))).silent = true;
    network.loss = loss;
    network.delay = Milliseconds(1 + random_.below(100));
    for (Ticket ticket = 1; ticket <= finds; ++ticket) {
      const std::size_t from = random_.below(count);
      const bool exists = ticket % 2 == 0;
      network.find(node_number(from), Atom(exists ? "x" : "nobody"), ticket, 5s);
      in_reach[ticket] = exists && hops_[from] <= 4;
    }
    network.run();
  }

  static constexpr std::size_t count = 12;
  static constexpr Ticket finds = 20;
  Network network;
  std::map<Ticket, bool> in_reach;

 private:
  void link(std::size_t one, std::size_t other) {
    network.link(node_number(one), node_number(other));
    links_[one].push_back(other);
    links_[other].push_back(one);
  }
  Prng random_;
  std::vector<std::vector<std::size_t>> links_{count};
  std::vector<std::size_t> hops_;
};

TEST(Routers, in_any_graph_exactly_what_is_in_reach_is_found) {
  std::size_t out_of_reach = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    const RandomGraph graph(seed, 0, 0);
    for (const auto& [ticket, results] : graph.network.routed) {
      ASSERT_EQ(results.at(0).has_value(), graph.in_reach.at(ticket)) << seed << " " << ticket;
      if (ticket % 2 == 0 && !results[0]) ++out_of_reach;
    }
  }
  EXPECT_GT(out_of_reach, 10U) << "or the graphs are too small to show the bound";
}

TEST(Routers, whatever_is_lost_all_are_answered_once_and_in_time) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    RandomGraph graph(seed, seed % 5, seed % 3 == 0 ? 0 : 0.2);
    Network& network = graph.network;
    ASSERT_EQ(network.routed.size(), RandomGraph::finds) << seed;
    for (const auto& [ticket, results] : network.routed) {
      ASSERT_EQ(results.size(), 1U) << seed;
      ASSERT_TRUE(graph.in_reach.at(ticket) || !results[0].has_value()) << seed;
    }
    ASSERT_TRUE(network.unanswered.empty()) << seed;
    ASSERT_LE(network.slowest_answer, 4s) << seed;
    for (std::size_t number = 0; number < RandomGraph::count; ++number) {
      ASSERT_EQ(network.at(node_number(number)).router->searches(), 0U) << seed;
    }
  }
}

}  // namespace
}  // namespace barrel_p2p::services
