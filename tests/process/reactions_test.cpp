// What an Erlang node answered to the signals of a node made by hand: our processes answer the same.
//
// The channel's part (which bytes close it) is in tests/distribution; here it counts only that those rows close it.
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <map>
#include <string>

#include "process/reaction_replay.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p::process {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;
using test::read_vectors;
using test::text_of;

/// Where we do something else on purpose, and why.
const std::map<std::string, std::string>& deviations() {
  static const std::map<std::string, std::string> all{
      // Signals of an Erlang node to an earlier incarnation of ours come over the new connection. Erlang nodes close it
      // for these three; protocol document 08, section 4.2, has them answered or ignored like any unknown process.
      {"unlink_id_old_creation_pid", "acknowledged"},
      {"unlink_id_ack_old_creation_pid", "ignored"},
      {"exit_old_creation_pid", "ignored"},
      {"bad_unknown_op_37", "the priority message of OTP 28 is understood"},
      {"link_to_atom", "means nothing: no node links to names"},
      {"atom_cache_new_then_cached", "never agreed on"},
      {"global_set_lock_del_lock", "no global_name_server here (protocol document 08, section 6.4)"},
      {"rex_send_stdout_to_caller", "output goes to the group leader"},
      {"net_kernel_old_spawn", "of nodes before OTP 23, which cannot connect"},
      {"otp_erpc_down_before_reply", "the early end is taken, and the channel stays"},
      {"otp_disconnect_node", "a matter of the channel"},
      {"otp_spawn_link_exit_before_reply", "the early exit is kept until the reply: nobody stays linked to the dead"},
      {"otp_link_old_creation_pid_of_ours", "no exit goes to an earlier incarnation: it would close the channel"},
  };
  return all;
}

bool is_actor_row(const std::string& name) { return name.starts_with("otp_"); }

std::string optional_text(const json::value& row, std::string_view key) {
  const auto* value = row.as_object().if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string{};
}

TEST(Reactions, our_processes_answer_what_erlang_processes_answered) {
  std::size_t same = 0;
  std::size_t closed = 0;
  const auto vectors = read_vectors("dist_ctrl_reactions.json");
  for (const auto& row : vectors.as_array()) {
    const std::string name = text_of(row, "name");
    if (is_actor_row(name) || deviations().contains(name)) continue;
    ReactionReplay replay(row);
    const std::string difference = replay.run();
    if (text_of(row, "connection") != "stays_open") {
      EXPECT_TRUE(replay.closed().has_value()) << name;
      ++closed;
      continue;
    }
    EXPECT_EQ(difference, "") << name;
    EXPECT_EQ(replay.closed().value_or("open"), "open") << name;
    EXPECT_EQ(replay.targets_alive(), optional_text(row, "target_alive_after") == "true") << name;
    EXPECT_EQ(replay.withheld(), 0U) << name;
    ++same;
  }
  EXPECT_EQ(same, 107U);
  EXPECT_EQ(closed, 48U);
}

// Where the Erlang node made the first move.

/// Writes down the messages that come until `finish`.
Task<> collect(Process& self, ReactionReplay& replay) {
  for (;;) {
    const Term message = co_await self.receive();
    if (message.is_atom("finish")) co_return;
    if (message.is_tagged("EXIT", 3)) {
      replay.note("exit " + to_text(message[2]));
    } else if (message.is_tagged("nodedown", 2)) {
      replay.note("nodedown");
    } else {
      replay.note(to_text(message));
    }
  }
}

std::string shown(const Result<Term>& result) {
  return result ? to_text(*result) : std::string(name(result.error().code()));
}

ReactionReplay::Actor erpc() {
  return [](Process& self, ReactionReplay& replay) -> Task<> {
    const std::vector<Term> arguments(1, Term(1));
    const CallOutcome outcome =
        co_await self.run_function(NodeName(replay.other_node().text()), RemoteFunction("m", "f", arguments), 20s);
    const bool refused = outcome.kind == CallOutcome::Kind::refused;
    replay.note((refused ? "refused " : "") + to_text(outcome.value));
    co_await collect(self, replay);
  };
}

ReactionReplay::Actor gen_call(const char* server, Term request, std::chrono::milliseconds limit = 20s) {
  return [server, request, limit](Process& self, ReactionReplay& replay) -> Task<> {
    const RemoteName to(server, NodeName(replay.other_node().text()));
    const auto result = co_await self.call(to, request, limit);
    replay.note(shown(result));
    co_await collect(self, replay);
  };
}

ReactionReplay::Actor spawning(bool link) {
  return [link](Process& self, ReactionReplay& replay) -> Task<> {
    self.trap_exit(true);
    Process::SpawnOptions options;
    options.link = link;
    const auto made =
        co_await self.spawn_on(NodeName(replay.other_node().text()), RemoteFunction("m", "f"), options, 20s);
    replay.note(made ? "spawned" : to_text(Term(Atom(name(made.error().code())))));
    co_await collect(self, replay);
  };
}

/// A process of the other node; `creation` counted from the current one.
Pid theirs(const ReactionReplay& replay, const json::value& row, std::uint32_t id) {
  return {replay.other_node(), id, 0, row.at("our_creation").to_number<std::uint32_t>()};
}

ReactionReplay::Actor acting(std::function<void(Process&, ReactionReplay&)> act) {
  return [act](Process& self, ReactionReplay& replay) -> Task<> {
    self.trap_exit(true);
    act(self, replay);
    co_await collect(self, replay);
  };
}

struct Move {
  ReactionReplay::Actor actor;
  std::string notes;
};

std::map<std::string, Move> moves(const json::value& row) {
  const auto link = acting([&row](Process& self, ReactionReplay& replay) {
    constexpr std::uint32_t linked_id = 50;
    self.link(theirs(replay, row, linked_id));
  });
  const auto link_unlink = acting([&row](Process& self, ReactionReplay& replay) {
    constexpr std::uint32_t linked_id = 50;
    self.link(theirs(replay, row, linked_id));
    self.unlink(theirs(replay, row, linked_id));
  });
  /// Of an earlier incarnation of the other node.
  const auto stale = [&row](const ReactionReplay& replay) {
    constexpr std::uint32_t stale_id = 5;
    for (const auto& event : row.at("exchange").as_array()) {
      for (const auto& container : event.at("containers").as_array()) {
        if (container.at("id").to_number<std::uint32_t>() != stale_id) continue;
        return Pid{replay.other_node(), stale_id, 0, container.at("creation").to_number<std::uint32_t>()};
      }
    }
    return Pid{};
  };
  const Term is_auth = Term::tuple({Atom("is_auth"), Atom(text_of(row, "peer_node"))});
  const Term request(Atom("req"));
  return {
      {"otp_erpc_reply_then_down", {erpc(), "okv"}},
      {"otp_erpc_down_before_reply", {erpc(), "okv"}},
      {"otp_erpc_reply_without_monitor_flag", {erpc(), "okv"}},
      {"otp_erpc_spawn_error_notsup", {erpc(), "refused notsup"}},
      {"otp_erpc_spawn_error_custom", {erpc(), "refused my_err"}},
      {"otp_gen_call_alias_reply", {gen_call("srv", request), "rep"}},
      {"otp_gen_call_reply_to_pid", {gen_call("srv", request), "rep"}},
      {"otp_gen_call_noproc", {gen_call("srv", request), "noproc"}},
      // The Erlang caller failed with `normal`: the end had overtaken the answer.
      {"otp_gen_call_down_before_reply", {gen_call("srv", request), "rep"}},
      {"otp_gen_call_no_answer", {gen_call("srv", request, 50ms), "timeout"}},
      {"otp_ping_yes", {gen_call("net_kernel", is_auth), "yes"}},
      {"otp_ping_noproc", {gen_call("net_kernel", is_auth), "noproc"}},
      {"otp_spawn4", {spawning(false), "spawned"}},
      {"otp_spawn4_refused", {spawning(false), "remote_exit"}},
      {"otp_spawn_link_exit_after_reply", {spawning(true), "spawned exit bye"}},
      {"otp_spawn_link_exit_before_reply", {spawning(true), "spawned exit bye"}},
      {"otp_links_noproc", {link, "exit noproc"}},
      {"otp_links_we_unlink_then_exit", {link, ""}},
      {"otp_links_exit_normal_trapping", {link, "exit normal"}},
      {"otp_links_exit2_kill_trapping", {link, ""}},
      {"otp_links_exit2_normal_trapping", {link, "exit normal"}},
      {"otp_links_connection_lost", {link, "exit noconnection"}},
      {"otp_links_unlinks_we_ack", {link_unlink, ""}},
      {"otp_link_old_creation_pid_of_ours",
       {acting([stale](Process& self, ReactionReplay& replay) { self.link(stale(replay)); }), ""}},
      {"otp_monitor_old_creation_pid_of_ours",
       {acting([stale](Process& self, ReactionReplay& replay) { self.monitor(stale(replay)); }), ""}},
      {"otp_exit2_old_creation_pid_of_ours",
       {acting([stale](Process& self, ReactionReplay& replay) { self.exit(stale(replay), Atom("x")); }), ""}},
      {"otp_monitor_node_then_close",
       {acting([](Process& self, ReactionReplay& replay) { self.monitor_node(NodeName(replay.other_node().text())); }),
        "nodedown"}},
  };
}

TEST(Reactions, our_processes_begin_as_erlang_processes_do_and_take_the_answers) {
  std::size_t seen = 0;
  const auto vectors = read_vectors("dist_ctrl_reactions.json");
  for (const auto& row : vectors.as_array()) {
    const std::string name = text_of(row, "name");
    if (!is_actor_row(name) || name == "otp_disconnect_node") continue;
    const auto all = moves(row);
    const auto move = all.find(name);
    ASSERT_NE(move, all.end()) << name;
    ReactionReplay replay(row);
    replay.start(move->second.actor);
    replay.settle();
    const bool we_close = text_of(row, "connection") == "closed_by_us";
    if (we_close) replay.disconnect();
    const std::string difference = replay.run();
    if (!deviations().contains(name)) {
      EXPECT_EQ(difference, "") << name;
    } else {
      EXPECT_NE(difference + std::to_string(replay.withheld()), "0") << name << ": no deviation any more";
    }
    replay.finish();
    EXPECT_EQ(replay.notes(), move->second.notes) << name;
    EXPECT_EQ(replay.closed().value_or("open"), "open") << name;
    ++seen;
  }
  EXPECT_EQ(seen, 27U);
}

}  // namespace
}  // namespace barrel_p2p::process
