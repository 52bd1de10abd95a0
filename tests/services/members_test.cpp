// Leases: who is alive, who counts as a member, and the messages that tell it.
#include "services/members.hpp"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <chrono>
#include <string>
#include <vector>

#include "services/names.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p::services {
namespace {

using namespace std::chrono_literals;
using test::start_wall;

const Atom replica(members_replica_name);

/// One node and its clocks.
class MembersMachine {
 public:
  explicit MembersMachine(const std::string& name = "a@h", Milliseconds skew = 0ms)
      : own(name), now{at_first, start_wall} {
    now.wall += skew.count();
    MembersConfig config;
    config.own = own;
    members.emplace(config, clock, now);
  }
  /// It was down for so long, and its disk has this.
  void restart(const Term& known, Milliseconds down) {
    const WallMilliseconds mark = clock.last().wall;
    advance(now.monotonic + down);
    clock = replication::HybridClock({.start = mark});
    MembersConfig config;
    config.own = own;
    config.known = known;
    members.emplace(config, clock, now);
  }
  std::string known() {
    const auto known = members->take_known();
    return known ? to_text(*known) : "";
  }

  void pass(Milliseconds time) {
    const auto end = now.monotonic + time;
    for (int steps = 0; members->deadline() <= end && steps < 100'000; ++steps) {
      advance(std::max(members->deadline(), now.monotonic));
      members->tick(now, effects);
    }
    advance(end);
    members->tick(now, effects);
  }

  /// A beat as it comes from a node.
  void hear(const std::string& node, WallMilliseconds emit, std::uint32_t logical = 0) {
    const auto entry =
        replication::Entry::value(Term::tuple({Atom("alive"), emit}), {{emit < 0 ? 0 : emit, logical}, Atom(node)});
    deliver(node, Term::map({{Atom(node), replication::to_term(entry)}}));
  }
  void deliver(const std::string& node, const Term& delta) {
    members->deliver(Term::tuple({Atom("delta"), Atom(node), delta}), now, effects);
  }

  std::string list() const {
    std::string text;
    for (const auto& node : members->members()) text += (text.empty() ? "" : " ") + node.string();
    return text;
  }
  std::string changes() {
    std::string text;
    for (const auto& [node, alive] : members->take_changes()) text += (alive ? "+" : "-") + node.string();
    return text;
  }
  std::vector<Term> broadcasts() {
    std::vector<Term> payloads;
    for (const auto& effect : std::exchange(effects, {})) {
      if (const auto* broadcast = std::get_if<Broadcast>(&effect)) payloads.push_back(broadcast->payload);
    }
    return payloads;
  }

  const Atom own;
  replication::HybridClock clock;
  Now now;
  std::optional<Members> members;
  Effects effects;

 private:
  static constexpr MonotonicTime at_first = MonotonicTime{} + 1h;
  void advance(MonotonicTime to) {
    now.wall += std::chrono::duration_cast<Milliseconds>(to - now.monotonic).count();
    now.monotonic = to;
  }
};

/// What a beat of the node says of itself.
std::optional<WallMilliseconds> emit_in(const Term& delta, const Atom& node) {
  const Term* const entry = delta.is_tagged("delta", 3) ? delta[2].find(node) : nullptr;
  if (entry == nullptr) return std::nullopt;
  const auto beat = replication::entry_of(*entry);
  return beat && beat->is_live() ? beat->value()[1].as_int64() : std::nullopt;
}

TEST(Members, a_node_alone_is_its_own_member_and_beats_in_its_period) {
  MembersMachine node;
  EXPECT_EQ(node.list(), "a@h");
  node.pass(10s);
  const auto beats = node.broadcasts();
  ASSERT_EQ(beats.size(), 5U);
  const Term& delta = beats.front();
  EXPECT_EQ(to_text(delta[0]), "delta");
  const auto entry = replication::entry_of(*delta[2].find(node.own));
  ASSERT_TRUE(entry.has_value());
  EXPECT_EQ(entry->value(), Term::tuple({Atom("alive"), start_wall + 2000}));
  EXPECT_EQ(entry->writer(), node.own);
}

TEST(Members, a_beat_makes_a_member_and_silence_ends_it) {
  MembersMachine node;
  node.hear("b@h", start_wall);
  EXPECT_EQ(node.list(), "a@h b@h");
  EXPECT_EQ(node.changes(), "+b@h");
  node.pass(6s);
  EXPECT_EQ(node.list(), "a@h b@h") << "the lease counts up to and with its last moment";
  node.pass(2ms);
  EXPECT_EQ(node.list(), "a@h");
  EXPECT_EQ(node.changes(), "-b@h");
  EXPECT_FALSE(node.members->is_alive(Atom("b@h")));
  EXPECT_EQ(node.members->silent_for(Atom("b@h"), node.now.monotonic), 6002ms);
}

// Protocol document 06, section 3.5.
TEST(Members, leases_are_taken_by_the_clock_of_this_node) {
  MembersMachine node;
  node.hear("ahead@h", start_wall + 4900);
  node.hear("farahead@h", start_wall + 5100);
  node.hear("old@h", start_wall - 5900);
  node.hear("tooold@h", start_wall - 6100);
  node.hear("zero@h", 0);
  node.hear("negative@h", -5);
  node.hear("least@h", INT64_MIN);
  EXPECT_EQ(node.list(), "a@h ahead@h old@h");
  node.pass(200ms);
  EXPECT_EQ(node.list(), "a@h ahead@h");
  node.pass(10s);
  EXPECT_EQ(node.list(), "a@h ahead@h") << "it lives 10.9 s without another beat";
  node.pass(1s);
  EXPECT_EQ(node.list(), "a@h");
  EXPECT_EQ(node.members->counters().rejected_in_future, 1U);
}

TEST(Members, a_node_whose_clock_is_wrong_is_alive_but_no_member) {
  MembersMachine node;
  for (int beat = 0; beat < 10; ++beat) {
    node.hear("b@h", start_wall - 3'600'000 + beat * 2000);
    node.hear("c@h", start_wall + 600'000 + beat * 2000);
    node.pass(2s);
    EXPECT_TRUE(node.members->is_alive(Atom("b@h")));
    EXPECT_TRUE(node.members->is_alive(Atom("c@h")));
  }
  EXPECT_EQ(node.list(), "a@h");
  EXPECT_EQ(node.changes(), "+b@h+c@h");
}

// An Erlang node's stamps begin anew with its life: protocol document 04, section 1.3.
TEST(Members, a_node_whose_clock_was_far_ahead_in_its_life_before_is_alive_and_a_member) {
  MembersMachine node;
  node.hear("b@h", start_wall + 3'600'000);
  EXPECT_EQ(node.list(), "a@h");
  for (int beat = 1; beat <= 10; ++beat) {
    node.pass(2s);
    node.hear("b@h", node.now.wall);
    EXPECT_TRUE(node.members->is_alive(Atom("b@h"))) << beat;
    EXPECT_EQ(node.list(), "a@h b@h") << beat;
  }
  EXPECT_EQ(node.changes(), "+b@h");
  // What others tell of it after its end counts again, too.
  node.pass(7s);
  EXPECT_EQ(node.changes(), "-b@h");
  const Term leases = Term::map({{Atom("b@h"), node.now.wall}});
  const Term sync = Term::tuple({Atom("full_sync"), Atom("n@h"), leases});
  node.members->receive(Atom("n@h"), Term::tuple({Atom("$barrel_p2p_replica"), sync}), node.now, node.effects);
  EXPECT_EQ(node.changes(), "+b@h");
}

TEST(Members, a_beat_of_the_life_with_the_clock_far_ahead_that_comes_late_hides_no_later_one) {
  MembersMachine node;
  node.hear("b@h", start_wall + 3'600'000);
  node.pass(2s);
  node.hear("b@h", node.now.wall);
  node.hear("b@h", start_wall + 3'601'000);
  for (int beat = 1; beat <= 10; ++beat) {
    node.pass(2s);
    node.hear("b@h", node.now.wall);
  }
  EXPECT_TRUE(node.members->is_alive(Atom("b@h")));
  EXPECT_EQ(node.list(), "a@h b@h");
}

TEST(Members, a_wall_clock_that_jumps_ends_no_lease) {
  MembersMachine node;
  node.hear("b@h", start_wall);
  node.now.wall += 3'600'000;
  node.pass(1s);
  EXPECT_EQ(node.list(), "a@h b@h");
  EXPECT_TRUE(node.members->is_alive(Atom("b@h")));
}

// Others refuse what is ahead of their clocks by more than the skew.
TEST(Members, a_node_whose_clock_was_far_ahead_and_is_right_again_says_so_with_its_next_beat) {
  MembersMachine node;
  node.now.wall += 3'600'000;
  node.pass(2s);
  EXPECT_EQ(emit_in(node.broadcasts().back(), node.own), start_wall + 3'602'000);
  node.now.wall -= 3'600'000;
  node.pass(2s);
  EXPECT_EQ(emit_in(node.broadcasts().back(), node.own), start_wall + 4000);
}

TEST(Members, beats_of_a_clock_that_is_set_back_by_less_than_the_skew_do_not_fall) {
  MembersMachine node;
  node.pass(2s);
  node.now.wall -= 4000;
  node.pass(2s);
  EXPECT_EQ(emit_in(node.broadcasts().back(), node.own), start_wall + 2000);
  node.pass(4s);
  EXPECT_EQ(emit_in(node.broadcasts().back(), node.own), start_wall + 4000);
}

TEST(Members, what_was_heard_of_a_clock_that_was_far_ahead_like_ours_does_not_hide_what_comes_later) {
  MembersMachine node;
  node.now.wall += 3'600'000;
  node.hear("b@h", start_wall + 3'600'000);
  node.now.wall -= 3'600'000;
  for (int beat = 1; beat < 10; ++beat) {
    node.pass(2s);
    node.hear("b@h", start_wall + beat * 2000, 3);
    EXPECT_EQ(node.list(), "a@h b@h") << beat;
  }
  node.pass(7s);
  EXPECT_EQ(node.list(), "a@h");
}

TEST(Members, who_was_paused_longer_than_its_lease_is_no_member_until_its_next_beat) {
  MembersMachine node;
  node.hear("b@h", start_wall);
  node.pass(1s);
  const auto revision = node.members->revision();
  node.now.monotonic += 7s;
  node.now.wall += 7000;
  node.members->deliver(Term(), node.now, node.effects);
  EXPECT_EQ(node.list(), "b@h");
  EXPECT_EQ(node.members->lapses(), 1U);
  EXPECT_EQ(node.members->revision(), revision + 1);
  node.members->tick(node.now, node.effects);
  EXPECT_EQ(node.list(), "a@h b@h");
  EXPECT_EQ(node.members->lapses(), 1U);
}

TEST(Members, the_silence_of_others_during_a_pause_ends_no_lease) {
  for (const auto pause : {Milliseconds(5000), Milliseconds(3'600'000)}) {
    MembersMachine node;
    node.hear("b@h", start_wall);
    node.pass(2s);
    node.now.monotonic += pause;
    node.now.wall += pause.count();
    node.members->tick(node.now, node.effects);
    EXPECT_EQ(node.list(), "a@h b@h");
    EXPECT_EQ(node.changes(), "+b@h");
    node.pass(pause < 6s ? 2s : 6s);
    EXPECT_EQ(node.list(), "a@h b@h");
    node.pass(1ms);
    EXPECT_EQ(node.list(), "a@h") << "it had its time since";
    EXPECT_EQ(node.changes(), "-b@h");
    EXPECT_EQ(node.members->lapses(), pause < 6s ? 0U : 1U);
  }
}

TEST(Members, a_snapshot_for_neighbours_has_no_lease_that_was_only_excused) {
  MembersMachine node;
  node.hear("b@h", start_wall);
  node.pass(1s);
  node.now.monotonic += 1h;
  node.now.wall += 3'600'000;
  node.members->tick(node.now, node.effects);
  node.effects.clear();
  const Term request = Term::tuple({Atom("$barrel_p2p_replica"), Term::tuple({Atom("request_sync"), Atom("n@h")})});
  node.members->receive(Atom("n@h"), request, node.now, node.effects);
  ASSERT_EQ(node.effects.size(), 1U);
  EXPECT_EQ(std::get<Send>(node.effects.front()).message[1][2].size(), 1U) << "its own";
}

TEST(Members, what_is_no_beat_is_refused) {
  MembersMachine node;
  const auto good = replication::to_term(
      replication::Entry::value(Term::tuple({Atom("alive"), start_wall}), {{start_wall, 0}, Atom("b@h")}));
  const auto with_value = [](const Term& value) {
    return replication::to_term(replication::Entry::value(value, {{start_wall, 0}, Atom("b@h")}));
  };
  node.deliver("b@h", Term::map({{Atom("c@h"), good}}));  // speaks for another one
  node.deliver("b@h", Term::map({{Atom("b@h"), good}, {Atom("c@h"), good}}));
  node.deliver("b@h", Term::map({}));
  node.deliver("b@h", Term());
  node.deliver("b@h", Term::map({{Atom("b@h"), with_value(Term::tuple({Atom("alive"), 1.5}))}}));
  node.deliver("b@h", Term::map({{Atom("b@h"), with_value(Atom("alive"))}}));
  node.deliver("b@h", Term::map({{Atom("b@h"), Term::tuple({Atom("value"), 1})}}));
  node.deliver("b@h", Term::map({{Atom("b@h"), replication::to_term(replication::Entry::tombstone({start_wall, 0}))}}));
  EXPECT_EQ(node.list(), "a@h");
  EXPECT_EQ(node.changes(), "");
  EXPECT_EQ(node.members->counters().rejected, 8U);
}

TEST(Members, a_neighbour_gets_the_leases_that_count) {
  MembersMachine node;
  node.hear("b@h", start_wall);
  node.hear("gone@h", start_wall - 5999);
  node.pass(100ms);
  node.effects.clear();
  node.members->neighbour_up(Atom("n@h"), node.now, node.effects);
  node.pass(200ms);
  std::vector<Send> sent;
  for (const auto& effect : node.effects) {
    if (const auto* send = std::get_if<Send>(&effect)) sent.push_back(*send);
  }
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].to, Atom("n@h"));
  EXPECT_EQ(sent[0].name, replica);
  EXPECT_EQ(to_text(sent[0].message),
            "{'$barrel_p2p_replica',{full_sync,a@h,#{a@h => 1764000000000,b@h => 1764000000000}}}");
}

TEST(Members, a_snapshot_gives_leases_but_never_ones_own) {
  MembersMachine node;
  const auto message = [](const Term& snapshot) {
    return Term::tuple({Atom("$barrel_p2p_replica"), Term::tuple({Atom("full_sync"), Atom("n@h"), snapshot})});
  };
  node.members->receive(Atom("n@h"),
                        message(Term::map({{Atom("b@h"), start_wall - 1000},
                                           {Atom("a@h"), start_wall + 1},
                                           {Atom("late@h"), start_wall - 7000},
                                           {Atom("odd@h"), 1.5},
                                           {Term(7), start_wall}})),
                        node.now, node.effects);
  EXPECT_EQ(node.list(), "a@h b@h");
  EXPECT_EQ(node.members->counters().rejected, 2U);
  node.members->receive(Atom("n@h"), message(Term::list({Atom("b@h")})), node.now, node.effects);
  EXPECT_EQ(node.list(), "a@h b@h");
}

TEST(Members, a_snapshot_is_a_sign_of_life_as_old_as_what_it_tells) {
  MembersMachine node;
  const auto tell = [&](WallMilliseconds of_b, WallMilliseconds of_c) {
    const Term leases = Term::map({{Atom("b@h"), of_b}, {Atom("c@h"), of_c}});
    const Term sync = Term::tuple({Atom("full_sync"), Atom("n@h"), leases});
    node.members->receive(Atom("n@h"), Term::tuple({Atom("$barrel_p2p_replica"), sync}), node.now, node.effects);
  };
  tell(start_wall - 4000, start_wall - 60'000);
  EXPECT_TRUE(node.members->is_alive(Atom("b@h")));
  EXPECT_FALSE(node.members->is_alive(Atom("c@h"))) << "only a clock that is as wrong takes it for a member";
  tell(start_wall - 3000, start_wall - 59'000);
  EXPECT_FALSE(node.members->is_alive(Atom("c@h"))) << "nor what is newer than that";
  node.pass(2500ms);
  EXPECT_TRUE(node.members->is_alive(Atom("b@h")));
  node.pass(1s);
  EXPECT_FALSE(node.members->is_alive(Atom("b@h"))) << "6 s after its beat, not after the word of it";
}

// Its clock is behind that of the others: what is old looks new.
TEST(Members, hearsay_about_beats_that_were_heard_is_no_sign_of_life) {
  MembersMachine node("a@h", -100s);
  node.hear("b@h", start_wall);
  EXPECT_EQ(node.list(), "a@h") << "no member by this clock";
  EXPECT_TRUE(node.members->is_alive(Atom("b@h")));
  node.pass(98s);
  EXPECT_FALSE(node.members->is_alive(Atom("b@h")));
  const auto tell = [&](WallMilliseconds emit) {
    const Term sync = Term::tuple({Atom("full_sync"), Atom("n@h"), Term::map({{Atom("b@h"), emit}})});
    node.members->receive(Atom("n@h"), Term::tuple({Atom("$barrel_p2p_replica"), sync}), node.now, node.effects);
  };
  tell(start_wall);
  EXPECT_FALSE(node.members->is_alive(Atom("b@h")));
  tell(start_wall + 1);
  EXPECT_TRUE(node.members->is_alive(Atom("b@h")));
}

TEST(Members, what_was_only_told_is_handed_on_for_two_beats) {
  MembersMachine node;
  const Term sync = Term::tuple({Atom("full_sync"), Atom("n@h"), Term::map({{Atom("b@h"), start_wall}})});
  node.members->receive(Atom("n@h"), Term::tuple({Atom("$barrel_p2p_replica"), sync}), node.now, node.effects);
  /// What a node is given that asks for the first time: `{full_sync, a@h, #{...}}` as text.
  const auto given = [&](const char* asker) {
    node.effects.clear();
    const Term request = Term::tuple({Atom("$barrel_p2p_replica"), Term::tuple({Atom("request_sync"), Atom(asker)})});
    node.members->receive(Atom(asker), request, node.now, node.effects);
    for (const auto& effect : node.effects) {
      const auto* send = std::get_if<Send>(&effect);
      if (send != nullptr && send->to == Atom(asker)) return to_text(send->message[1]);
    }
    return std::string();
  };
  node.pass(4s);
  EXPECT_TRUE(given("m1@h").contains("b@h => "));
  node.pass(1ms);
  EXPECT_EQ(node.list(), "a@h b@h");
  const std::string later = given("m2@h");
  EXPECT_TRUE(later.contains("a@h => ")) << later;
  EXPECT_FALSE(later.contains("b@h => ")) << later;
  node.hear("b@h", start_wall + 4000);
  EXPECT_TRUE(given("m3@h").contains("b@h => ")) << "it was heard itself";
}

TEST(Members, neighbours_are_handed_a_snapshot_that_brought_a_member_but_not_one_that_is_merely_newer) {
  MembersMachine node;
  for (const char* neighbour : {"m@h", "n@h"}) {
    node.members->neighbour_up(Atom(neighbour), node.now, node.effects);
    node.members->set_native(Atom(neighbour));
  }
  node.pass(1500ms);
  const auto handed_on_after = [&](WallMilliseconds emit) {
    node.effects.clear();
    const Term sync = Term::tuple({Atom("full_sync"), Atom("n@h"), Term::map({{Atom("b@h"), emit}})});
    node.members->receive(Atom("n@h"), Term::tuple({Atom("$barrel_p2p_replica"), sync}), node.now, node.effects);
    node.pass(1500ms);
    std::string receivers;
    for (const auto& effect : node.effects) {
      if (const auto* send = std::get_if<Send>(&effect)) receivers += send->to.string() + " ";
    }
    return receivers;
  };
  EXPECT_EQ(handed_on_after(start_wall), "m@h ");
  EXPECT_EQ(handed_on_after(start_wall + 1000), "");
  EXPECT_EQ(node.list(), "a@h b@h");
}

TEST(Members, a_goodbye_ends_a_lease_at_once_and_a_later_beat_brings_it_back) {
  MembersMachine leaver("b@h");
  MembersMachine node;
  node.hear("b@h", start_wall);
  node.changes();
  leaver.members->leave(leaver.now, leaver.effects);
  EXPECT_EQ(leaver.list(), "");
  const auto said = leaver.broadcasts();
  ASSERT_EQ(said.size(), 1U);
  node.members->deliver(said[0], node.now, node.effects);
  EXPECT_EQ(node.list(), "a@h");
  EXPECT_EQ(node.changes(), "-b@h");
  node.hear("b@h", start_wall);  // a beat that was under way
  EXPECT_EQ(node.list(), "a@h");
  leaver.pass(10s);
  EXPECT_TRUE(leaver.broadcasts().empty()) << "who left is silent";
  leaver.members->neighbour_up(Atom("a@h"), leaver.now, leaver.effects);
  EXPECT_EQ(leaver.list(), "b@h");
  const auto beats = leaver.broadcasts();
  ASSERT_EQ(beats.size(), 1U);
  node.pass(10s);
  node.members->deliver(beats[0], node.now, node.effects);
  EXPECT_EQ(node.list(), "a@h b@h");
  EXPECT_EQ(node.changes(), "+b@h");
}

TEST(Members, a_beat_that_a_goodbye_has_overtaken_brings_nobody_back) {
  MembersMachine leaver("b@h");
  MembersMachine node;
  node.hear("b@h", start_wall);
  leaver.members->neighbour_up(Atom("a@h"), leaver.now, leaver.effects);
  leaver.pass(2s);
  const auto beats = leaver.broadcasts();
  ASSERT_FALSE(beats.empty());
  leaver.members->leave(leaver.now, leaver.effects);
  const auto goodbyes = leaver.broadcasts();
  ASSERT_EQ(goodbyes.size(), 1U);
  node.pass(2s);
  node.members->deliver(goodbyes[0], node.now, node.effects);
  node.changes();
  node.members->deliver(beats.back(), node.now, node.effects);
  EXPECT_FALSE(node.members->is_alive(Atom("b@h")));
  EXPECT_EQ(node.changes(), "");
  // It is started again with a clock that was set back: its stamps go on.
  const auto beat_again = [&](std::uint32_t logical) {
    const Term alive = Term::tuple({Atom("alive"), start_wall});
    const auto entry = replication::Entry::value(alive, {{start_wall + 10'000, logical}, Atom("b@h")});
    node.deliver("b@h", Term::map({{Atom("b@h"), replication::to_term(entry)}}));
  };
  node.pass(5900ms);
  beat_again(1);
  EXPECT_FALSE(node.members->is_alive(Atom("b@h")));
  node.pass(100ms);
  beat_again(2);
  EXPECT_TRUE(node.members->is_alive(Atom("b@h"))) << "a lease later";
}

TEST(Members, neighbours_are_told_goodbye_themselves) {
  MembersMachine leaver("b@h");
  leaver.members->neighbour_up(Atom("a@h"), leaver.now, leaver.effects);
  leaver.pass(1s);
  leaver.effects.clear();
  leaver.members->leave(leaver.now, leaver.effects);
  std::optional<Send> goodbye;
  for (const auto& effect : leaver.effects) {
    if (const auto* send = std::get_if<Send>(&effect)) goodbye = *send;
  }
  ASSERT_TRUE(goodbye.has_value());
  EXPECT_EQ(goodbye->to, Atom("a@h"));
  MembersMachine node;
  node.hear("b@h", start_wall);
  node.members->receive(Atom("c@h"), goodbye->message, node.now, node.effects);
  EXPECT_EQ(node.list(), "a@h b@h") << "c speaks for b";
  node.members->receive(Atom("b@h"), goodbye->message, node.now, node.effects);
  EXPECT_EQ(node.list(), "a@h");
}

TEST(Members, nodes_that_are_gone_are_remembered_for_a_day) {
  MembersMachine node;
  node.hear("b@h", start_wall);
  node.pass(1h);
  EXPECT_EQ(node.members->longest_absence(node.now.monotonic), 1h);
  node.pass(24h);
  EXPECT_EQ(node.members->longest_absence(node.now.monotonic), std::nullopt);
  EXPECT_EQ(node.members->silent_for(Atom("b@h"), node.now.monotonic), std::nullopt);
}

TEST(Members, many_invented_nodes_find_an_end) {
  replication::HybridClock clock;
  MembersConfig config;
  config.own = Atom("a@h");
  config.nodes_max = 100;
  const Now now{MonotonicTime{} + 1h, start_wall};
  Members members(config, clock, now);
  Effects effects;
  std::vector<TermPair> leases;
  for (int node = 0; node < 200; ++node) leases.emplace_back(Atom("n" + std::to_string(node) + "@h"), start_wall);
  members.receive(Atom("n@h"),
                  Term::tuple({Atom("$barrel_p2p_replica"),
                               Term::tuple({Atom("full_sync"), Atom("n@h"), Term::map(std::move(leases))})}),
                  now, effects);
  EXPECT_EQ(members.members().size(), 101U);
  EXPECT_EQ(members.counters().rejected, 100U);
}

/// What Erlang nodes sent each other is understood: every beat and snapshot makes its node a member.
TEST(Members, recorded_beats_and_snapshots_are_taken) {
  std::size_t taken = 0;
  const auto rows = test::read_vectors("placement_messages.json");
  for (const auto& row : rows.as_array()) {
    const std::string kind = test::text_of(row, "kind");
    if (kind != "gossip add" && kind != "full_sync") continue;
    const auto message = decode_term(test::from_hex(test::text_of(row, "etf_hex")));
    ASSERT_TRUE(message.has_value());
    MembersMachine node;
    const Atom from(test::text_of(row, "from"));
    if (kind == "full_sync") {
      const Term leases = message->term[1][2];
      for (const auto& pair : leases.pairs()) node.now.wall = std::max(node.now.wall, *pair.second.as_int64());
      node.members->receive(from, message->term, node.now, node.effects);
      EXPECT_EQ(node.members->members().size(), 1 + leases.size()) << test::text_of(row, "name");
    } else {
      const Term& gossip = message->term[1];
      ASSERT_EQ(gossip[2], Term(replica));
      const Term& payload = gossip[3];
      node.now.wall = *payload[2].pairs().front().second[1][1].as_int64();
      node.members->deliver(payload, node.now, node.effects);
      EXPECT_EQ(node.members->members().size(), 2U) << test::text_of(row, "name");
      EXPECT_TRUE(node.members->is_alive(*payload[1].as_atom()));
    }
    ++taken;
  }
  EXPECT_EQ(taken, 51U);
}

// Over restarts.

TEST(Members, what_must_be_on_disk_changes_with_who_is_alive_and_not_with_each_beat) {
  MembersMachine node;
  EXPECT_EQ(node.known(), "") << "nobody is known";
  node.hear("b@h", node.now.wall);
  EXPECT_EQ(node.known(), "#{b@h => alive}");
  node.pass(2s);
  node.hear("b@h", node.now.wall);
  EXPECT_EQ(node.known(), "");
  node.hear("c@h", node.now.wall);
  EXPECT_EQ(node.known(), "") << "many come at once";
  node.pass(8s);
  EXPECT_EQ(node.known(),
            "#{b@h => " + std::to_string(start_wall + 2000) + ",c@h => " + std::to_string(start_wall + 2000) + "}");
  node.pass(1min);
  EXPECT_EQ(node.known(), "");
  node.members->known_failed();
  EXPECT_NE(node.known(), "");
  EXPECT_EQ(node.known(), "");
}

TEST(Members, who_was_known_before_a_restart_is_away_since_then_and_nothing_else) {
  MembersMachine node;
  node.pass(1min);
  const WallMilliseconds heard = node.now.wall - 30'000;
  node.restart(Term::map({{Atom("b@h"), Atom("alive")}, {Atom("c@h"), heard}}), 10s);
  auto& members = *node.members;
  EXPECT_TRUE(members.has_past());
  EXPECT_EQ(members.longest_absence(node.now.monotonic), 40s) << "c";
  for (const auto* other : {"b@h", "c@h"}) {
    EXPECT_FALSE(members.is_alive(Atom(other)));
    EXPECT_EQ(members.silent_for(Atom(other), node.now.monotonic), std::nullopt);
  }
  EXPECT_EQ(node.list(), "a@h");
  EXPECT_EQ(node.changes(), "");
  node.hear("c@h", node.now.wall);
  EXPECT_EQ(members.longest_absence(node.now.monotonic), 10s) << "b, since this node went";
  EXPECT_EQ(node.known(), "#{b@h => " + std::to_string(node.now.wall - 10'000) + ",c@h => alive}");
  node.hear("b@h", node.now.wall);
  EXPECT_EQ(members.longest_absence(node.now.monotonic), std::nullopt);
}

TEST(Members, who_is_missing_is_so_since_then_however_often_this_node_restarts) {
  MembersMachine node;
  node.pass(1min);
  node.restart(Term::map({{Atom("b@h"), Atom("alive")}}), 10s);
  for (int time = 0; time < 3; ++time) {
    const auto known = node.members->take_known();
    if (time == 0) {
      EXPECT_TRUE(known) << "the mark of the clock goes on";
    }
    node.pass(1min);
    node.restart(known.value_or(Term::map({{Atom("b@h"), start_wall + 60'000}})), 10s);
  }
  EXPECT_EQ(node.members->longest_absence(node.now.monotonic), 220s);
}

TEST(Members, who_is_away_for_too_long_is_forgotten_over_restarts_too) {
  MembersMachine node;
  node.restart(Term::map({{Atom("b@h"), node.now.wall - 86'400'000}, {Atom("c@h"), node.now.wall - 86'300'000}}), 1s);
  EXPECT_TRUE(node.members->has_past());
  EXPECT_EQ(node.members->longest_absence(node.now.monotonic), 86'301s);
  node.pass(2min);
  EXPECT_EQ(node.members->longest_absence(node.now.monotonic), std::nullopt);
  EXPECT_EQ(node.known(), "#{}");
}

TEST(Members, what_is_no_knowledge_of_others_is_ignored) {
  MembersMachine node;
  node.restart(Term::map({{node.own, Atom("alive")}, {1, Atom("alive")}, {Atom("b@h"), "yesterday"}}), 1s);
  EXPECT_FALSE(node.members->has_past());
  node.restart(Atom("nonsense"), 1s);
  EXPECT_FALSE(node.members->has_past());
  EXPECT_EQ(node.members->longest_absence(node.now.monotonic), std::nullopt);
  node.restart(Term::map({{Atom("b@h"), node.now.wall + 3'600'000}}), 0s);
  EXPECT_EQ(node.members->longest_absence(node.now.monotonic), 0s) << "a clock that was set back";
}

}  // namespace
}  // namespace barrel_p2p::services
