// A member that is hostile: it has a key and the cookie, is let in, and then sends all that the protocol has as no
// honest node does. The node stays up, answers an honest third one, keeps its invariants and its memory, and can say
// who it was.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "distribution/encode.hpp"
#include "distribution/framing.hpp"
#include "node/attacker.hpp"
#include "node/membership_support.hpp"
#include "overlay/messages.hpp"
#include "services/leader.hpp"
#include "services/maps.hpp"
#include "services/members.hpp"
#include "services/placement.hpp"
#include "services/registry.hpp"
#include "services/reminders.hpp"
#include "services/router.hpp"
#include "support/resources.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using namespace distribution;
using test::Attacker;
using test::LinePtr;
using test::mask;
using test::Step;

const std::string insider = "evil@127.0.0.1";
constexpr quic::StreamId signals = 4;  // the first stream that carries them

/// Four bytes of length, and the payload.
Bytes framed(const Bytes& payload) {
  const auto size = static_cast<std::uint32_t>(payload.size());
  Bytes bytes;
  for (const unsigned shift : {24U, 16U, 8U, 0U}) bytes.push_back(static_cast<std::uint8_t>(size >> shift));
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

/// `131 68 0`, a control tuple, and what follows it.
Bytes whole(const Term& control, const Bytes& rest = {}) {
  Bytes payload{envelope_version, envelope_whole, 0};
  const Bytes encoded = encode_term(control);
  payload.insert(payload.end(), encoded.begin() + 1, encoded.end());  // without its version byte
  payload.insert(payload.end(), rest.begin(), rest.end());
  return framed(payload);
}

Bytes fragment(std::uint8_t kind, std::uint64_t sequence, std::uint64_t count, const Bytes& rest) {
  Bytes payload{envelope_version, kind};
  for (const std::uint64_t number : {sequence, count}) {
    for (unsigned shift = 64; shift > 0; shift -= 8)
      payload.push_back(static_cast<std::uint8_t>(number >> (shift - 8)));
  }
  payload.insert(payload.end(), rest.begin(), rest.end());
  return framed(payload);
}

class Insider : public testing::Test {
 protected:
  Insider()
      : victim(cluster.start("victim",
                             [this](NodeConfig& config) {
                               // The attacker answers no probe, and runs only while a test waits.
                               config.detector.probe_after = 0ms;
                               config.detector.dead_after = 60s;
                               config.replication.maps = {{"table", {}}};
                               config.log_sink = [this](LogLevel level, std::string_view line) {
                                 const std::lock_guard lock(log_mutex_);
                                 log_.emplace_back(line);
                                 if (level != LogLevel::warning) return;
                                 if (line.find(insider) != std::string_view::npos) warned_ = true;
                               };
                             })),
        honest(cluster.start("honest")) {
    EXPECT_TRUE(honest.join(victim.name()).has_value());
    EXPECT_TRUE(honest.joined(2, test::patience).has_value());
    EXPECT_TRUE(test::becomes_true([this] { return victim.members().size() == 2; }));
    EXPECT_TRUE(victim.map_put(Atom("table"), "key", "value").has_value());
  }

  LinePtr enter() {
    const auto line = attacker.dial(victim);
    line->play(mask_, Step::authenticated);
    EXPECT_EQ(line->shake_hands(insider, "test"), "up");
    return line;
  }
  Bytes encoded(const Signal& signal) {
    Bytes bytes;
    const auto message = distribution::encode_message(signal, offered_flags, own_pid(), ++sequence_);
    for (const auto& part : message.buffers) bytes.insert(bytes.end(), part.view.begin(), part.view.end());
    return bytes;
  }
  void say(const LinePtr& line, const Signal& signal) { line->write(signals, encoded(signal)); }
  void say(const LinePtr& line, std::string_view name, const Term& message) {
    say(line, Signal{SendName{own_pid(), Atom(name)}, message});
  }
  [[nodiscard]] static Pid own_pid() { return {Atom(insider), 1, 0, 77}; }

  /// All that was said has been read, unless the connection was closed for it.
  void expect_heard(const LinePtr& line) {
    EXPECT_TRUE(attacker.await([&] { return line->closed() || line->connection().queued_bytes() == 0; }));
  }
  /// The victim serves others, and what it knows is what it knew: at once, unless the machine stood still for so long
  /// that the two held each other for dead.
  void expect_unharmed(const std::string& what) {
    const auto serves = [&] { return honest.call_function(victim.name(), "erlang", "node", {}).has_value(); };
    EXPECT_TRUE(test::becomes_true(serves)) << what;
    EXPECT_EQ(victim.map_get<std::string>(Atom("table"), "key").value_or("nothing"), "value") << what;
    EXPECT_TRUE(victim.map_put(Atom("table"), "other", what).has_value()) << what;
    const std::vector<NodeName> both{honest.name(), victim.name()};
    EXPECT_TRUE(test::becomes_true([&] { return victim.members() == both; })) << what;
    const auto audit = victim.verify_registry();
    EXPECT_TRUE(audit && audit->problems.empty()) << what;
  }
  /// Has the victim write so many lines with text of the attacker, and one more when it writes again. Returns those
  /// that have this in front.
  std::vector<std::string> flood_log(std::string_view front, std::size_t count,
                                     const std::function<Signal(std::string text)>& cause) {
    const auto line = enter();
    say(line, cause("one\n\x1b[31mtwo\n" + std::string(5000, 'x')));
    for (std::size_t number = 1; number < count; ++number) say(line, cause("one\n\x1b[31mtwo\n"));
    std::vector<std::string> lines;
    const auto has_end = [&] {
      const std::lock_guard lock(log_mutex_);
      lines.clear();
      for (const auto& text : log_) {
        if (text.find(front) != std::string::npos) lines.push_back(text);
      }
      return std::ranges::any_of(lines, [](const auto& text) { return text.find("the end") != std::string::npos; });
    };
    // What is written too soon is left out.
    for (int time = 0; time < 30 && !has_end(); ++time) {
      say(line, cause("the end"));
      attacker.await(has_end, 1s);
    }
    return lines;
  }
  /// What is said of lines that were left out.
  static std::size_t left_out(const std::vector<std::string>& lines) {
    std::size_t count = 0;
    for (const auto& text : lines) {
      const auto note = text.find(" (before it ");
      if (note != std::string::npos) count += std::stoul(text.substr(note + std::string_view(" (before it ").size()));
    }
    return count;
  }
  /// The last thing that the flight record has of the attacker.
  [[nodiscard]] std::string last_word() {
    const auto record = victim.flight_record(NodeName(insider));
    return record.empty() ? "nothing" : std::string(barrel_p2p::name(record.back().kind)) + " " + record.back().reason;
  }

  std::atomic<bool> warned_{false};  ///< The victim's log has a warning that names the attacker.
  std::mutex log_mutex_;
  std::vector<std::string> log_;  ///< Of the victim.
  test::Cluster cluster;
  Node& victim;
  Node& honest;
  Attacker attacker;
  const test::Mask mask_ = mask(insider);
  std::uint64_t sequence_ = 0;
};

TEST_F(Insider, who_sends_bytes_that_are_no_frames_loses_the_connection_and_is_named) {
  const Bytes control = [&] {
    const Bytes framed_control = whole(Term::tuple({6, own_pid(), Atom(), Atom("nobody")}));
    return Bytes(framed_control.begin() + frame_header_bytes + 2, framed_control.end());
  }();
  constexpr auto first = envelope_first_fragment;
  constexpr auto next = envelope_next_fragment;
  const auto both = [](Bytes left, const Bytes& right) {
    left.insert(left.end(), right.begin(), right.end());
    return left;
  };
  struct Case {
    const char* what;
    Bytes bytes;
  };
  const std::vector<Case> cases{
      {"a frame of four gigabytes, announced", {0xFF, 0xFF, 0xFF, 0xFF}},
      {"an envelope of another kind", framed({envelope_version, 99, 0, 1})},
      {"another version", framed({130, envelope_whole, 0})},
      {"the form of channels without fragments", framed({envelope_pass_through, 131, 104, 1, 97, 1})},
      {"atoms of a cache", framed({envelope_version, envelope_whole, 3, 0, 0, 0})},
      {"an envelope that is cut", framed({envelope_version, envelope_whole})},
      {"a control message that is no tuple", whole(Atom("link"))},
      {"an operation that nobody knows", whole(Term::tuple({99, own_pid(), own_pid()}))},
      {"an operation that is no number", whole(Term::tuple({Atom("link"), own_pid(), own_pid()}))},
      {"a negative operation", whole(Term::tuple({-1, own_pid(), own_pid()}))},
      {"an operation that is too long", whole(Term::tuple({1, own_pid(), own_pid(), own_pid()}))},
      {"an operation that is too short", whole(Term::tuple({1, own_pid()}))},
      {"a link between numbers", whole(Term::tuple({1, 2, 3}))},
      {"a message without its payload", whole(Term::tuple({6, own_pid(), Atom(), Atom("nobody")}))},
      {"a fragment without its first one", fragment(next, 1, 1, {1})},
      {"a first fragment of none", fragment(first, 1, 0, control)},
      {"a last fragment of none", both(fragment(first, 1, 2, control), fragment(next, 1, 0, {1}))},
      {"a first fragment twice", both(fragment(first, 1, 3, control), fragment(first, 1, 3, control))},
      {"fragments out of turn", both(fragment(first, 1, 4, control), fragment(next, 1, 1, {1}))},
  };
  for (const auto& [what, bytes] : cases) {
    const auto line = enter();
    line->write(signals, bytes);
    EXPECT_EQ(line->ending(), "closed") << what;
    EXPECT_TRUE(attacker.await([&] { return last_word().starts_with("down "); })) << what << ": " << last_word();
    EXPECT_GT(last_word().size(), std::string("down ").size()) << what << ": no reason";
    expect_unharmed(what);
  }
}

TEST_F(Insider, what_comes_in_one_piece_arrives_up_to_what_is_broken) {
  const auto heard = std::make_shared<test::Lines>();
  const Pid reader = victim.spawn([heard](Process& self) -> Task<> {
    for (;;) {
      const Term message = co_await self.receive();
      heard->add(to_text(message));
    }
  });
  const auto line = enter();
  Bytes piece;
  const auto add = [&piece](const Bytes& bytes) { piece.insert(piece.end(), bytes.begin(), bytes.end()); };
  for (const int number : {1, 2}) add(encoded(Signal{Send{own_pid(), reader}, Term(number)}));
  add(framed({envelope_version, 255}));
  add(encoded(Signal{Send{own_pid(), reader}, Term(3)}));
  line->write(signals, std::move(piece));
  EXPECT_EQ(line->ending(), "closed");
  ASSERT_TRUE(victim.send(reader, Atom("behind_it")).has_value());
  EXPECT_EQ(heard->next(), "1");
  EXPECT_EQ(heard->next(), "2");
  EXPECT_EQ(heard->next(), "behind_it");
  expect_unharmed("a broken frame");
}

TEST_F(Insider, who_opens_fragments_without_end_is_cut_off_at_the_bound) {
  const auto before = test::resources();
  const auto line = enter();
  const Bytes control = [&] {
    const Bytes all = whole(Term::tuple({6, own_pid(), Atom(), Atom("nobody")}));
    return Bytes(all.begin() + frame_header_bytes + 2, all.end());
  }();
  constexpr std::uint64_t many = 200'000;
  for (std::uint64_t sequence = 1; sequence <= many && !line->closed(); ++sequence) {
    line->write(signals,
                fragment(envelope_first_fragment, sequence, std::numeric_limits<std::uint64_t>::max(), control));
    if (sequence % 1000 == 0) {
      attacker.await([&] { return line->closed() || line->connection().queued_bytes() < 1024UL * 1024; });
    }
  }
  EXPECT_EQ(line->ending(), "closed");
  constexpr std::int64_t bytes_max = 64LL * 1024 * 1024;
  EXPECT_LT(test::resources().heap_bytes - before.heap_bytes, bytes_max);
  expect_unharmed("fragments");
}

TEST_F(Insider, who_speaks_for_others_or_to_nobody_is_not_heard) {
  const auto received = std::make_shared<std::atomic<int>>(0);
  const Pid target = victim.spawn([received](Process& self) -> Task<> {
    self.trap_exit(true);
    for (;;) {
      co_await self.receive();
      ++*received;
    }
  });
  const Pid foreign{honest.name().atom(), 5, 0, honest.creation()};
  const Pid third{Atom("third@127.0.0.1"), 5, 0, 1};
  const Pid absent{victim.name().atom(), 4'000'000, 7, victim.creation()};
  const Pid former{victim.name().atom(), target.id, target.serial, victim.creation() + 1};
  const auto reference = [](const Pid& of) { return Ref{of.node, of.creation, 3, {1, 2, 3}}; };
  std::vector<std::pair<std::string, Signal>> cases;
  for (const auto& from : {foreign, third, target}) {
    const std::string who = " of " + from.node.string();
    cases.emplace_back("a link" + who, Signal{Link{from, target}, {}});
    cases.emplace_back("a monitor" + who, Signal{Monitor{from, target, reference(from)}, {}});
    cases.emplace_back("an exit" + who, Signal{Exit{from, target}, Term(Atom("kill"))});
    cases.emplace_back("an end of a monitor" + who, Signal{MonitorExit{from, target, reference(target)}, Term(1)});
    cases.emplace_back("an unlink" + who, Signal{Unlink{1, from, target}, {}});
  }
  for (const auto& to : {foreign, third, absent, former}) {
    const std::string who = " to " + to.node.string();
    cases.emplace_back("a message" + who, Signal{Send{own_pid(), to}, Term("boo")});
    cases.emplace_back("a link" + who, Signal{Link{own_pid(), to}, {}});
    cases.emplace_back("a monitor" + who, Signal{Monitor{own_pid(), to, reference(own_pid())}, {}});
    cases.emplace_back("an exit" + who, Signal{Exit2{own_pid(), to}, Term(Atom("kill"))});
    cases.emplace_back("a group leader" + who, Signal{GroupLeader{own_pid(), to}, {}});
  }
  cases.emplace_back("an answer to nobody's spawn", Signal{SpawnReply{reference(target), target, 3, own_pid()}, {}});
  cases.emplace_back("an answer to nobody's unlink", Signal{UnlinkAck{9, own_pid(), target}, {}});
  cases.emplace_back("a monitor that is taken back before it is there",
                     Signal{Demonitor{own_pid(), target, reference(own_pid())}, {}});
  cases.emplace_back("a message to an alias that is none",
                     Signal{SendAlias{own_pid(), reference(target)}, Term("boo")});
  cases.emplace_back("a message to a name that is none", Signal{SendName{own_pid(), Atom("nobody")}, Term("boo")});
  LinePtr line = enter();
  for (const auto& [what, signal] : cases) {
    if (line->closed()) line = enter();
    say(line, signal);
    expect_heard(line);
    expect_unharmed(what);
    EXPECT_TRUE(victim.is_alive(target)) << what;
  }
  EXPECT_EQ(*received, 0);
}

/// What is in the place of every part of every message once.
std::vector<Term> strange_terms() {
  std::vector<Term> strange{
      Atom("atom"),   -1, std::numeric_limits<std::int64_t>::max(), 1.5, "text", Term::list({}), Term::map({}),
      Term::tuple({})};
  Term deep = Term::list({});
  for (int level = 0; level < 200; ++level) deep = Term::list({std::move(deep)});
  strange.push_back(std::move(deep));
  strange.emplace_back(std::string(10'000, 'x'));
  return strange;
}

TEST_F(Insider, what_it_tells_of_the_membership_and_by_gossip_is_refused_counted_and_bounded) {
  const Term evil = Atom(insider);
  const auto record = [](const Term& node) {
    const Atom none("undefined");
    return Term::tuple({Atom("peer"), node, none, 0, 0, Atom("false"), 0, 0, 0, 0});
  };
  std::vector<Term> invented;
  constexpr int many = 100'000;
  invented.reserve(many);
  for (int number = 0; number < many; ++number) {
    invented.push_back(record(Atom("invented" + std::to_string(number % 500) + "@127.0.0.1")));
  }
  const Term all = Term::list(invented);
  const Term own = record(evil);
  const auto hyparview = [&](const Term& message) {
    return Term::tuple({Atom("$barrel_p2p_hyparview"), evil, message});
  };
  std::vector<Term> membership{
      Term::tuple({Atom("shuffle"), 1, all, own}),
      Term::tuple({Atom("shuffle_reply"), all, own}),
      Term::tuple({Atom("shuffle"), std::numeric_limits<std::int64_t>::max(), Term::list({own}), own}),
      Term::tuple({Atom("forward_join"), own, 1'000'000, own}),
      Term::tuple({Atom("join"), record(honest.name().atom())}),
      Term::tuple({Atom("disconnect"), record(honest.name().atom())}),
      Term::tuple({Atom("neighbor"), Atom("highest"), own}),
      Term::tuple({Atom("hello"), -1, Term::list({})}),
      Term::tuple({Atom("leave"), 1'000'000, record(honest.name().atom()), own}),
      Term::tuple({Atom("wander"), -1, own, own}),
  };
  constexpr std::size_t large = 2UL * 1024 * 1024;
  std::vector<Term> gossip{
      Term::tuple({Atom("gossip"), std::string(1000, 'i'), Atom("tag"), 1, evil}),
      Term::tuple({Atom("gossip"), "id", Atom("tag"), 1, honest.name().atom()}),
      Term::tuple({Atom("ihave"), "id", honest.name().atom()}),
      Term::tuple({Atom("ihave"), Term::list(std::vector<Term>(many, Term::tuple({"id", 1}))), evil, Atom("batch")}),
      Term::tuple({Atom("graft"), Term::list(std::vector<Term>(many, Term("id"))), evil, Atom("batch")}),
      Term::tuple({Atom("prune"), honest.name().atom()}),
      Term::tuple({Atom("gossip"), "large", Atom("tag"), std::string(GossipConfig{}.payload_bytes_max, 'x'), evil}),
      Term::tuple({Atom("gossip"), "large too", Atom("barrel_p2p_map_replica"), std::string(large, 'x'), evil}),
  };
  for (const auto& strange : strange_terms()) {
    membership.push_back(strange);
    membership.push_back(Term::tuple({Atom("join"), strange}));
    membership.push_back(Term::tuple({Atom("shuffle"), strange, strange, own}));
    gossip.push_back(strange);
    gossip.push_back(Term::tuple({Atom("ihave"), strange, strange}));
    gossip.push_back(Term::tuple({Atom("gossip"), "id", strange, strange, strange}));
  }
  // Each is counted; who sends what no term may be loses the connection too.
  LinePtr line = enter();
  const auto expect_refused = [&](std::string_view name, const Term& message) {
    const auto before = victim.overlay_statistics().malformed;
    const auto counted = [&] { return victim.overlay_statistics().malformed > before; };
    while (!counted()) {
      if (line->closed()) line = enter();
      say(line, name, message);
      // Closed for the one before this one: it has not been read.
      ASSERT_TRUE(attacker.await([&] { return counted() || line->closed(); })) << to_text(message).substr(0, 200);
    }
  };
  for (const auto& message : membership) expect_refused(overlay::bridge_name, hyparview(message));
  for (const auto& message : gossip) {
    expect_refused(overlay::plumtree_name, Term::tuple({Atom("$barrel_p2p_plumtree"), message}));
  }
  EXPECT_TRUE(attacker.await([&] { return warned_.load(); })) << "nobody says who it was";
  EXPECT_LE(victim.passive_view().size(), MembershipConfig{}.passive_size);
  EXPECT_TRUE(test::becomes_true([&] { return test::lists(victim.active_view(), honest.name()); }));
  expect_unharmed("membership");
}

Term nested(std::size_t levels) {
  Term term = 1;
  for (std::size_t level = 1; level < levels; ++level) term = Term::tuple_of(std::move(term));
  return term;
}

TEST_F(Insider, what_is_nested_too_deeply_is_dropped_wherever_it_comes_and_costs_no_connection) {
  const auto line = enter();
  const Term deep = nested(9'000);
  const auto before = victim.overlay_statistics().malformed;
  say(line, overlay::plumtree_name,
      Term::tuple({Atom("$barrel_p2p_plumtree"), Term::tuple({Atom("gossip"), "id", deep, deep, Atom(insider)})}));
  EXPECT_TRUE(attacker.await([&] { return victim.overlay_statistics().malformed > before; }));
  EXPECT_TRUE(attacker.await([&] { return warned_.load(); })) << "nobody says who it was";
  // Within what is decoded, and beyond what is kept.
  const Term entry = Term::tuple({Atom("value"), nested(4'900), Term::map({{Term::tuple({Atom(insider), 1}), true}})});
  const Term delta = Term::tuple({Atom("delta"), Atom(insider), Term::map({{"deep", entry}})});
  say(line, "barrel_p2p_map_replica$table",
      Term::tuple({Atom("$barrel_p2p_replica"),
                   Term::tuple({Atom("entries"), Atom(insider), Term::list({}), delta[2], false})}));
  const auto rejected = [&] {
    const auto statistics = victim.map_statistics(Atom("table"));
    return statistics && statistics->rejected > 0;
  };
  EXPECT_TRUE(attacker.await(rejected));
  EXPECT_FALSE(line->closed());
  expect_unharmed("depth");
}

TEST_F(Insider, what_it_writes_into_the_log_is_bounded_and_printable_and_what_is_left_out_is_counted) {
  constexpr std::size_t count = 10'000;
  const auto began = monotonic_now();
  const auto lines = flood_log("output: ", count, [number = 0](std::string text) mutable {
    const Term characters = Term::tuple({Atom("put_chars"), Atom("unicode"), text});
    return Signal{SendName{own_pid(), Atom("user")},
                  Term::tuple({Atom("io_request"), own_pid(), ++number, characters})};
  });
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(monotonic_now() - began).count();
  ASSERT_FALSE(lines.empty());
  EXPECT_LE(lines.size(), 20U * static_cast<std::size_t>(seconds + 1));
  EXPECT_GE(lines.size() + left_out(lines), count);
  for (const auto& text : lines) {
    EXPECT_LT(text.size(), 2100U);
    EXPECT_TRUE(std::ranges::all_of(text, [](char character) { return character >= ' ' && character <= '~'; })) << text;
  }
  EXPECT_EQ(lines.front().substr(0, 20), "output: one??[31mtwo");
  expect_unharmed("output");
}

TEST_F(Insider, what_it_spawns_to_fail_writes_a_bounded_number_of_lines) {
  victim.export_function("jobs", "fail", [](Process& /*self*/, std::vector<Term> arguments) -> Task<Result<Term>> {
    throw std::runtime_error(arguments.at(0).as_string().value());
    co_return Term();
  });
  constexpr std::size_t count = 500;
  const auto began = monotonic_now();
  const auto lines = flood_log(" ended with an exception: ", count, [number = 0U](const std::string& text) mutable {
    const Ref request{Atom(insider), 77, 3, {++number, 0, 0}};
    return Signal{SpawnRequest{request, own_pid(), own_pid(), Atom("jobs"), Atom("fail"), 1, Term()},
                  Term::list({Term(text)})};
  });
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(monotonic_now() - began).count();
  ASSERT_FALSE(lines.empty());
  EXPECT_LE(lines.size(), 20U * static_cast<std::size_t>(seconds + 1));
  EXPECT_GE(lines.size() + left_out(lines), count);
  for (const auto& text : lines) EXPECT_LT(text.size(), 2100U);
}

TEST_F(Insider, nobody_can_have_a_node_keep_what_is_nested_too_deeply) {
  const Term deep = nested(4'500);
  const Term tag("tag");
  const auto ask = [&](const char* module, const char* function, std::vector<Term> arguments) {
    const auto answer = honest.call_function(victim.name(), module, function, std::move(arguments));
    return answer ? to_text(*answer).substr(0, 60) : answer.error().message().substr(0, 60);
  };
  EXPECT_EQ(ask("barrel_p2p", "map_put", {Atom("table"), "deep", deep}), "{error,limit_exceeded}");
  EXPECT_EQ(ask("barrel_p2p", "remind", {"deep", 0, deep}), "{error,limit_exceeded}");
  const Term deepest = nested(Term::depth_max);
  for (const Term& term : {deep, deepest}) {
    EXPECT_EQ(victim.map_put(Atom("table"), "deep", term).error(), Errc::limit_exceeded);
    EXPECT_EQ(victim.map_put(Atom("table"), term, 1).error(), Errc::limit_exceeded);
    EXPECT_EQ(victim.map_put_many(Atom("table"), {{"deep", term}}).error(), Errc::limit_exceeded);
    EXPECT_EQ(victim.remind("deep", std::chrono::system_clock::now() + 1h, term).error(), Errc::limit_exceeded);
    EXPECT_EQ(victim.broadcast(tag, term).error(), Errc::limit_exceeded);
    EXPECT_EQ(victim.broadcast(term, 1).error(), Errc::limit_exceeded);
  }
  expect_unharmed("depth");
}

TEST_F(Insider, floods_of_announcements_and_requests_keep_others_served_and_memory_bounded) {
  const auto before = test::resources();
  const auto line = enter();
  const Term evil = Atom(insider);
  constexpr int rounds = 200;
  constexpr int batch = 1000;
  for (int round = 0; round < rounds; ++round) {
    std::vector<Term> announcements;
    std::vector<Term> ids;
    announcements.reserve(batch);
    ids.reserve(batch);
    for (int number = 0; number < batch; ++number) {
      const std::string id = "nobody has " + std::to_string(round * batch + number);
      announcements.push_back(Term::tuple({id, number % 40}));
      ids.emplace_back(id);
    }
    const auto told = [&](const char* word, std::vector<Term> list) {
      say(line, overlay::plumtree_name,
          Term::tuple({Atom("$barrel_p2p_plumtree"),
                       Term::tuple({Atom(word), Term::list(std::move(list)), evil, Atom("batch")})}));
    };
    told("ihave", std::move(announcements));
    told("graft", std::move(ids));
    attacker.await([&] { return line->closed() || line->connection().queued_bytes() < 1024UL * 1024; });
  }
  expect_heard(line);
  expect_unharmed("floods");
  constexpr std::int64_t bytes_max = 128LL * 1024 * 1024;
  EXPECT_LT(test::resources().heap_bytes - before.heap_bytes, bytes_max);
}

TEST_F(Insider, what_it_tells_the_services_in_wrong_types_for_others_and_with_absurd_stamps_changes_nothing) {
  // It goes on whatever it is told: that it leads no more, for instance, when all of this process stood still for long.
  const Pid pid = victim.spawn([](Process& self) -> Task<> {
    for (;;) co_await self.receive();
  });
  ASSERT_TRUE(victim.register_service("web", pid).has_value());
  ASSERT_TRUE(victim.remind_after("later", 1h, "payload").has_value());
  ASSERT_TRUE(victim.lead(Atom("job"), pid).has_value());
  ASSERT_TRUE(test::becomes_true([&] { return victim.is_leader(Atom("job")); }));
  const Atom evil(insider);
  const Atom other = honest.name().atom();
  constexpr std::uint64_t absurd = std::uint64_t{1} << 62U;
  const Term stamp = Term::tuple({Atom("timestamp"), absurd, 1});
  const std::string table = std::string(services::map_replica_prefix) + "table";
  const std::vector<std::string> names{std::string(services::members_replica_name),
                                       table,
                                       std::string(services::registry_replica_name),
                                       std::string(services::leader_replica_name),
                                       std::string(services::reminder_replica_name),
                                       std::string(services::placement_name),
                                       std::string(services::router_name)};
  std::vector<Term> keys = strange_terms();
  for (const auto& key : {Term(other), Term("key"), Term("later"), Term::tuple({Atom("web"), victim.name().atom()}),
                          Term::tuple({Atom("job"), victim.name().atom()}), Term::tuple({Atom("job")})}) {
    keys.push_back(key);
  }
  std::vector<Term> entries = strange_terms();
  entries.push_back(Term::tuple({Atom("tombstone"), stamp}));
  entries.push_back(Term::tuple({Atom("value"), "stolen", Term::map({{Term::tuple({evil, stamp}), true}})}));
  entries.push_back(
      Term::tuple({Atom("value"), Term::tuple({Atom("service_entry"), Atom("web"), own_pid(), other, Term::map({})}),
                   Term::map({{Term::tuple({other, stamp}), true}})}));
  const auto line = enter();
  const auto replica = [&](const std::string& name, const Term& content) {
    say(line, name, Term::tuple({Atom("$barrel_p2p_replica"), content}));
    say(line, overlay::plumtree_name,
        Term::tuple({Atom("$barrel_p2p_plumtree"),
                     Term::tuple({Atom("gossip"), "id" + std::to_string(++sequence_), Atom(name), content, evil})}));
  };
  for (const auto& name : names) {
    for (const auto& key : keys) {
      for (const auto& entry : entries) {
        const Term map = Term::map({{key, entry}});
        replica(name, Term::tuple({Atom("delta"), other, map}));
        replica(name, Term::tuple({Atom("full_sync"), evil, map}));
        replica(name, Term::tuple({Atom("entries"), evil, Term::list({Term::tuple({0, 0})}), map, true}));
      }
      replica(name, Term::tuple({Atom("custom"), other, key}));
      replica(name, Term::tuple({Atom("digests"), evil, Term::list({Term::tuple({key, key, key, key})})}));
      replica(name, Term::tuple({Atom("confirm"), evil, key, Term::list({Term::tuple({key, stamp})})}));
      replica(name, Term::tuple({Atom("confirmed"), evil, key}));
      say(line, name, key);
    }
    expect_heard(line);
    expect_unharmed(name);
  }
  // What was there still is.
  EXPECT_EQ(victim.lookup_local("web").value(), pid);
  EXPECT_TRUE(test::becomes_true([&] { return victim.is_leader(Atom("job")); }));
  EXPECT_TRUE(victim.find_reminder("later").has_value());
  EXPECT_FALSE(victim.map_get(Atom("table"), "later").has_value());
}

TEST_F(Insider, whose_invented_nodes_have_all_one_name_costs_who_waits_for_it_a_look_at_each) {
  constexpr int holders = 3000;
  std::atomic<std::size_t> looks{0};
  std::atomic<bool> found{false};
  WhereisOptions options;
  options.accept = [&looks](const Term& meta) {
    ++looks;
    return meta.size() == 1;
  };
  victim.resolve("web", test::patience, options, [&found](const Result<ServiceLocation>& place) {
    found = place && place->node == NodeName("last@127.0.0.1");
  });
  const Atom evil(insider);
  const auto wall = wall_now();
  const auto entry = [&](const Atom& node, const Term& meta) {
    const Term value = Term::tuple({Atom("service_entry"), Atom("web"), Pid{node, 1, 0, 1}, node, meta});
    return TermPair{Term::tuple({Atom("web"), node}),
                    replication::to_term(replication::Entry::value(value, {{wall, 1}, node}))};
  };
  const auto line = enter();
  const auto tell = [&](std::string_view name, Term content) {
    say(line, name, Term::tuple({Atom("$barrel_p2p_replica"), std::move(content)}));
  };
  const auto tell_entries = [&](std::vector<TermPair> entries) {
    tell(services::registry_replica_name,
         Term::tuple({Atom("entries"), evil, Term::list({}), Term::map(std::move(entries)), false}));
  };
  std::vector<TermPair> leases{{Atom("last@127.0.0.1"), wall}};
  std::vector<TermPair> entries;
  leases.reserve(holders + 1);
  entries.reserve(holders);
  for (int number = 0; number < holders; ++number) {
    const Atom node("invented" + std::to_string(number) + "@127.0.0.1");
    leases.emplace_back(node, wall);
    entries.push_back(entry(node, Term::map({})));
  }
  tell(services::members_replica_name, Term::tuple({Atom("full_sync"), evil, Term::map(std::move(leases))}));
  tell_entries({entries.front()});
  EXPECT_TRUE(attacker.await([&] { return looks > 0; }));
  tell_entries(std::move(entries));
  tell_entries({entry(Atom("last@127.0.0.1"), Term::map({{1, 1}}))});
  EXPECT_TRUE(attacker.await([&] { return found.load(); }));
  EXPECT_LE(looks, 2U * (holders + 1)) << "one when it comes, and one when the best is chosen";
  EXPECT_EQ(victim.lookup("web").value().size(), holders + 1U);
}

TEST(InsiderThatDoesNotRead, and_asks_on_loses_the_connection_before_its_answers_fill_the_memory) {
  std::atomic<bool> told{false};
  bool closed = false;
  test::Cluster cluster;
  Attacker attacker;
  Node& victim = cluster.start("victim", [&told](NodeConfig& config) {
    config.detector.probe_after = 0ms;
    config.detector.dead_after = 60s;
    config.limits.send_queue_bytes = 64UL * 1024;
    config.limits.send_queue_bytes_max = 1024UL * 1024;
    config.log_sink = [&told](LogLevel /*level*/, std::string_view line) {
      if (line.find("it does not read the answers to what it asks") != std::string_view::npos) told = true;
    };
  });
  Node& honest = cluster.start("honest");
  const auto line = attacker.dial(victim);
  line->play(mask(insider), Step::authenticated);
  ASSERT_EQ(line->shake_hands(insider, "test"), "up");
  quic::ConnectionEvents deaf;  // takes what comes and never gives credit for it
  deaf.on_closed = [&closed](const quic::CloseReason& /*reason*/) { closed = true; };
  line->connection().set_events(std::move(deaf));
  const Pid self{Atom(insider), 1, 0, 77};
  const Atom nobody(std::string(200, 'x'));
  std::uint32_t number = 0;
  constexpr std::uint32_t questions_max = 1'000'000;
  while (!closed && number < questions_max) {
    Bytes questions;
    for (int count = 0; count < 1000; ++count) {
      const Ref reference{Atom(insider), 77, 3, {++number & 0x3ffffU, number, 1, 0, 0}};
      const auto message =
          distribution::encode_message(Signal{Monitor{self, nobody, reference}, {}}, offered_flags, self, number);
      for (const auto& part : message.buffers) questions.insert(questions.end(), part.view.begin(), part.view.end());
    }
    line->write(signals, std::move(questions));
    ASSERT_TRUE(attacker.await([&] { return closed || line->connection().queued_bytes() == 0; }));
  }
  EXPECT_TRUE(attacker.await([&] { return closed; }));
  EXPECT_TRUE(told) << number << " questions";
  EXPECT_TRUE(honest.ping(victim.name(), test::patience).has_value());
}

}  // namespace
}  // namespace barrel_p2p
