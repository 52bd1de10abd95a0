// The commands with which an operator looks at a cluster and changes it, towards nodes that are processes of their own.
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "cluster/command_support.hpp"
#include "support/json.hpp"

namespace barrel_p2p::test {
namespace {

class Operate : public Command {
 protected:
  [[nodiscard]] std::vector<std::string> completed(std::vector<std::string> what) const {
    what.insert(what.end(), {"--discovery-dir", path("discovery"), "--cookie", "test"});
    return what;
  }
  [[nodiscard]] Outcome ask(std::vector<std::string> what) const { return run(completed(std::move(what))); }
  /// The one object that it prints.
  [[nodiscard]] JsonValue json(std::vector<std::string> what) const {
    what.emplace_back("--json");
    const auto outcome = ask(std::move(what));
    EXPECT_EQ(outcome.status, 0) << outcome.errors;
    EXPECT_EQ(outcome.errors, "");
    return parse_json(outcome.output);
  }
  /// The status, and the error that it prints as JSON, on standard error alone.
  [[nodiscard]] std::pair<int, std::string> failure(std::vector<std::string> what) const {
    const std::string command = what.front();
    what.emplace_back("--json");
    const auto outcome = ask(std::move(what));
    EXPECT_EQ(outcome.output, "");
    const auto told = parse_json(outcome.errors);
    EXPECT_EQ(told["command"].text, command);
    EXPECT_EQ(static_cast<int>(told["status"].number()), outcome.status);
    return {outcome.status, told["error"].text};
  }
  [[nodiscard]] std::unique_ptr<Subprocess> start(std::vector<std::string> what) const {
    what = completed(std::move(what));
    what.insert(what.begin(), BARREL_P2P_COMMAND);
    return std::make_unique<Subprocess>(std::move(what));
  }
};

class OperateOne : public Operate {
 protected:
  std::unique_ptr<Subprocess> a = start_node("a");
};

TEST_F(Operate, status_tells_what_a_node_knows) {
  const auto a = start_node("a");
  const auto b = start_node("b", {"--join", "a@127.0.0.1"});
  ASSERT_TRUE(becomes_true([&] { return json({"status", "b@127.0.0.1"})["members"].items.size() == 2; }));
  ASSERT_EQ(ask({"map", "new", "config", "-N", "b@127.0.0.1"}).status, 0);
  ASSERT_EQ(ask({"map", "put", "config", "limit", "1", "-N", "b@127.0.0.1"}).status, 0);
  ASSERT_EQ(ask({"remind", "after", "late", "1h", "-N", "b@127.0.0.1"}).status, 0);
  const auto state = json({"status", "b@127.0.0.1"});
  EXPECT_EQ(state["node"]["name"].text, "b@127.0.0.1");
  EXPECT_EQ(state["node"]["kind"].text, "cpp");
  EXPECT_EQ(state["active"][0].text, "a@127.0.0.1");
  EXPECT_EQ(state["placement"]["owners"].items.size(), 64U);
  EXPECT_EQ(state["placement"]["members"].items.size(), 2U);
  EXPECT_EQ(state["maps"][0]["name"].text, "config");
  EXPECT_EQ(state["maps"][0]["size"].number(), 1);
  EXPECT_EQ(state["reminders"]["pending"].number(), 1);
  ASSERT_EQ(state["peers"].items.size(), 1U) << "the command itself is none";
  EXPECT_GT(state["peers"][0]["rtt_ms"].number(), 0);
  const auto text = ask({"status", "b@127.0.0.1"});
  EXPECT_EQ(text.status, 0) << text.errors;
  EXPECT_NE(text.output.find("members (2)"), std::string::npos) << text.output;
  EXPECT_NE(text.output.find("maps (1)\n  config 1 entries"), std::string::npos) << text.output;
}

TEST_F(Operate, the_only_node_of_a_directory_need_not_be_named_and_several_are_listed) {
  EXPECT_EQ(ask({"status"}).status, 2) << "there is none";
  const auto a = start_node("a");
  EXPECT_EQ(json({"status"})["node"]["name"].text, "a@127.0.0.1");
  const auto b = start_node("b");
  const auto [status, text] = failure({"status"});
  EXPECT_EQ(status, 2);
  EXPECT_NE(text.find("a@127.0.0.1 b@127.0.0.1"), std::string::npos) << text;
}

TEST_F(OperateOne, maps_are_opened_written_read_and_listed) {
  EXPECT_EQ(json({"map", "new", "config"})["map"].text, "config");
  EXPECT_EQ(json({"map", "put", "config", "limit", "{1,[two]}"})["value"].text, "{1,[two]}");
  EXPECT_EQ(json({"map", "get", "config", "limit"})["value"].text, "{1,[two]}");
  EXPECT_EQ(ask({"map", "get", "config", "limit"}).output, "{1,[two]}\n");
  EXPECT_EQ(json({"map", "put", "config", "a b", "c \"d\"", "--string"})["value"].text, "c \"d\"");
  EXPECT_EQ(ask({"map", "get", "config", "a b", "--string"}).output, "c \"d\"\n");
  EXPECT_EQ(ask({"map", "get", "config", "<<\"a b\">>"}).output, "<<\"c \\\"d\\\"\">>\n");
  const auto entries = json({"map", "list", "config"});
  ASSERT_EQ(entries["entries"].items.size(), 2U);
  EXPECT_EQ(entries["entries"][0]["key"].text, "limit");
  EXPECT_EQ(json({"map", "list"})["maps"][0]["size"].number(), 2);
  EXPECT_EQ(ask({"map", "list"}).output, "config\t2\n");
  EXPECT_TRUE(json({"map", "rm", "config", "limit"})["removed"].is_true());
  EXPECT_EQ(failure({"map", "get", "config", "limit"}).first, 1);
}

TEST_F(OperateOne, an_empty_argument_is_an_empty_text_or_no_term) {
  ASSERT_EQ(ask({"map", "new", "config"}).status, 0);
  EXPECT_EQ(json({"map", "put", "config", "", "v", "--string"})["key"].text, "");
  EXPECT_EQ(ask({"map", "get", "config", "", "--string"}).output, "v\n");
  EXPECT_EQ(ask({"map", "list", "config"}).output, "<<>>\t<<\"v\">>\n");
  for (const auto& what : std::vector<std::vector<std::string>>{{"map", "put", "config", "", "v"},
                                                                {"map", "get", "config", ""},
                                                                {"map", "rm", "config", ""},
                                                                {"place", "owner", ""},
                                                                {"services", "lookup", ""},
                                                                {"leader", "show", ""}}) {
    EXPECT_EQ(failure(what).first, 2) << what[0] << " " << what[1];
  }
}

TEST_F(OperateOne, what_is_no_term_is_refused_with_the_right_quotes) {
  const auto [status, text] = failure({"map", "put", "config", "limit", "Hello \"you\""});
  EXPECT_EQ(status, 2);
  EXPECT_NE(text.find("'<<\"Hello \\\"you\\\"\">>'"), std::string::npos) << text;
  EXPECT_NE(text.find("--string"), std::string::npos) << text;
}

TEST_F(OperateOne, a_map_that_is_not_open_is_an_error_that_says_what_to_do) {
  for (const auto& what : std::vector<std::vector<std::string>>{{"map", "get", "none", "k"},
                                                                {"map", "put", "none", "k", "v"},
                                                                {"map", "list", "none"},
                                                                {"map", "watch", "none"}}) {
    const auto [status, text] = failure(what);
    EXPECT_EQ(status, 1) << what[1];
    EXPECT_NE(text.find("map new"), std::string::npos) << what[1] << ": " << text;
  }
}

TEST_F(OperateOne, changes_of_a_map_are_watched) {
  ASSERT_EQ(ask({"map", "new", "config"}).status, 0);
  const auto watch = start({"map", "watch", "config", "--count", "2", "--json"});
  ASSERT_TRUE(watch->says("watching")) << watch->errors();
  ASSERT_EQ(ask({"map", "put", "config", "limit", "7"}).status, 0);
  ASSERT_EQ(ask({"map", "rm", "config", "limit"}).status, 0);
  EXPECT_EQ(watch->wait(), 0) << watch->errors();
  const auto events = parse_json_lines(watch->output());
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0]["event"].text, "put");
  EXPECT_EQ(events[0]["value"].text, "7");
  EXPECT_EQ(events[1]["event"].text, "remove");
}

TEST_F(OperateOne, a_watch_ends_well_on_a_signal_and_badly_when_the_node_goes) {
  ASSERT_EQ(ask({"map", "new", "config"}).status, 0);
  for (const int signal : {SIGINT, SIGTERM}) {
    const auto watch = start({"map", "watch", "config"});
    ASSERT_TRUE(watch->says("watching")) << watch->errors();
    watch->signal(signal);
    EXPECT_EQ(watch->wait(), 0) << watch->errors();
  }
  const auto watch = start({"services", "watch"});
  const auto leader = start({"leader", "watch", "job"});
  ASSERT_TRUE(watch->says("watching")) << watch->errors();
  ASSERT_TRUE(leader->says("job")) << leader->errors();
  a->signal(SIGTERM);
  EXPECT_EQ(watch->wait(), 1);
  EXPECT_NE(watch->errors().find("was lost"), std::string::npos) << watch->errors();
  EXPECT_EQ(leader->wait(), 1);
  EXPECT_NE(leader->errors().find("was lost"), std::string::npos) << leader->errors();
}

TEST_F(OperateOne, services_are_listed_looked_up_and_watched) {
  EXPECT_EQ(json({"services", "list"})["services"].items.size(), 0U);
  const auto watch = start({"services", "watch", "--count", "1", "--json"});
  ASSERT_TRUE(watch->says("watching")) << watch->errors();
  // A process that is there as long as the node is.
  const auto pid = call("a", {"erlang", "whereis", "[net_kernel]"}).output;
  const auto registered =
      call("a", {"barrel_p2p", "register_service", "[kv," + pid.substr(0, pid.size() - 1) + ",#{zone => north}]"});
  ASSERT_EQ(registered.output, "ok\n") << registered.errors;
  EXPECT_EQ(watch->wait(), 0) << watch->errors();
  EXPECT_EQ(parse_json(watch->output())["name"].text, "kv");
  const auto all = json({"services", "list"});
  ASSERT_EQ(all["services"].items.size(), 1U);
  EXPECT_EQ(all["services"][0]["node"].text, "a@127.0.0.1");
  EXPECT_EQ(all["services"][0]["meta"].text, "#{zone => north}");
  EXPECT_EQ(json({"services", "lookup", "kv"})["services"][0]["pid"].text + "\n", pid);
  EXPECT_EQ(json({"services", "whereis", "kv"})["node"].text, "a@127.0.0.1");
  EXPECT_EQ(failure({"services", "lookup", "none"}).first, 1);
  EXPECT_EQ(failure({"services", "whereis", "none"}).first, 1);
}

TEST_F(OperateOne, leaders_are_listed_shown_and_watched) {
  EXPECT_EQ(json({"leader", "list"})["leaders"].items.size(), 0U);
  EXPECT_EQ(failure({"leader", "show", "job"}).first, 1);
  const auto watch = start({"leader", "watch", "job", "--every", "20", "--count", "2", "--json"});
  ASSERT_TRUE(watch->says("job")) << watch->errors();
  const auto pid = call("a", {"erlang", "whereis", "[net_kernel]"}).output;
  const auto led = call("a", {"barrel_p2p", "lead", "[job,#{}," + pid.substr(0, pid.size() - 1) + "]"});
  ASSERT_TRUE(led.output.starts_with("{ok,{leader,")) << led.output << led.errors;
  EXPECT_EQ(watch->wait(), 0) << watch->errors();
  const auto seen = parse_json_lines(watch->output());
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_TRUE(seen[0]["node"].is_null());
  EXPECT_EQ(seen[1]["node"].text, "a@127.0.0.1");
  const auto leader = json({"leader", "show", "job"});
  EXPECT_EQ(leader["pid"].text + "\n", pid);
  EXPECT_EQ("{ok,{leader," + leader["fence"].text + "}}\n", led.output);
  EXPECT_EQ(json({"leader", "list"})["leaders"][0]["candidates"][0].text, "a@127.0.0.1");
}

TEST_F(OperateOne, placement_tells_owners_and_what_would_move) {
  const auto owner = json({"place", "owner", "{user,7}"});
  EXPECT_EQ(owner["owner"].text, "a@127.0.0.1");
  EXPECT_EQ(json({"place", "partition", "{user,7}"})["partition"].text, owner["partition"].text);
  EXPECT_EQ(json({"place", "owners", "{user,7}"})["owners"].items.size(), 1U);
  EXPECT_EQ(json({"place", "list"})["owners"].items.size(), 64U);
  const auto moves = json({"place", "diff", "--add", "b@127.0.0.1"});
  EXPECT_EQ(moves["partitions"].number(), 64);
  ASSERT_FALSE(moves["moves"].items.empty());
  EXPECT_EQ(moves["moves"][0]["from"].text, "a@127.0.0.1");
  EXPECT_EQ(moves["moves"][0]["to"].text, "b@127.0.0.1");
  const auto text = ask({"place", "diff", "--remove", "a@127.0.0.1"});
  EXPECT_NE(text.output.find("64 of 64 partitions would move"), std::string::npos) << text.output;
  EXPECT_EQ(failure({"place", "diff"}).first, 2) << "nothing would change";
  EXPECT_EQ(failure({"place", "diff", "--add", "b"}).first, 2);
  const auto stranger = failure({"place", "diff", "--remove", "zz@h"});
  EXPECT_EQ(stranger.first, 1);
  EXPECT_NE(stranger.second.find("zz@h is no member"), std::string::npos) << stranger.second;
}

TEST_F(OperateOne, reminders_are_set_listed_and_cancelled) {
  EXPECT_EQ(json({"remind", "set", "{invoice,17}", "2100-01-01T00:00:00Z", "send"})["due"].number(), 4102444800000);
  EXPECT_EQ(json({"remind", "after", "soon", "90min"})["after_ms"].number(), 5400000);
  const auto all = json({"remind", "list"});
  ASSERT_EQ(all["reminders"].items.size(), 2U);
  EXPECT_EQ(all["reminders"][0]["key"].text, "soon");
  EXPECT_EQ(all["reminders"][1]["payload"].text, "send");
  EXPECT_TRUE(json({"remind", "list", "--count", "1"})["cut"].is_true());
  EXPECT_TRUE(json({"remind", "cancel", "soon"})["cancelled"].is_true());
  EXPECT_EQ(ask({"remind", "list"}).output, "2100-01-01T00:00:00Z\t{invoice,17}\tsend\n");
  EXPECT_EQ(failure({"remind", "after", "soon", "90"}).first, 2);
  EXPECT_EQ(failure({"remind", "set", "soon", "tomorrow"}).first, 2);
}

TEST_F(OperateOne, who_cannot_be_reached_is_told_so_with_its_own_status) {
  const auto [status, text] = failure({"status", "nobody@127.0.0.1", "--timeout", "2000"});
  EXPECT_EQ(status, 4);
  EXPECT_NE(text.find("unreachable"), std::string::npos) << text;
}

TEST_F(OperateOne, doctor_finds_what_is_wrong_and_says_what_mends_it) {
  const auto healthy = json({"doctor", "--data", path("a")});
  EXPECT_TRUE(healthy["healthy"].is_true());
  const auto has = [](const JsonValue& report, const std::string& check, const std::string& part) {
    return std::ranges::any_of(report["findings"].items, [&](const JsonValue& finding) {
      return finding["check"].text == check && finding["text"].text.find(part) != std::string::npos;
    });
  };
  EXPECT_TRUE(has(healthy, "clock", "the clock of a@127.0.0.1"));
  EXPECT_TRUE(has(healthy, "versions", "a@127.0.0.1"));
  EXPECT_TRUE(has(healthy, "store", "in use by process")) << "the node has it open";
  namespace fs = std::filesystem;
  fs::permissions(root / "a" / "keys" / "node.key", fs::perms::group_read, fs::perm_options::add);
  const auto sick = ask({"doctor", "--data", path("a"), "--local"});
  EXPECT_EQ(sick.status, 1);
  EXPECT_NE(sick.output.find("-> chmod 600 " + path("a/keys/node.key")), std::string::npos) << sick.output;
}

TEST_F(Operate, the_json_of_all_other_commands_can_be_read) {
  const auto said = [](const std::vector<std::string>& what) {
    const auto outcome = run(what);
    EXPECT_EQ(outcome.status, 0) << outcome.errors;
    return parse_json(outcome.output);
  };
  const auto key = said({"keys", "new", "--data", path("a"), "--json"});
  EXPECT_EQ(said({"keys", "fingerprint", "--data", path("a"), "--json"})["fingerprint"].text, key["fingerprint"].text);
  std::filesystem::create_directory(root / "b");
  EXPECT_EQ(said({"keys", "pin", "x@h", key["key"].text, "--data", path("b"), "--json"})["name"].text, "x@h");
  EXPECT_EQ(said({"keys", "list", "--data", path("b"), "--json"})["keys"][0]["key"].text, key["key"].text);
  EXPECT_EQ(said({"keys", "revoke", "x@h", "--data", path("b"), "--json"})["names"][0].text, "x@h");
  EXPECT_EQ(said({"keys", "revoked", "--data", path("b"), "--json"})["keys"].items.size(), 1U);
  EXPECT_TRUE(said({"cert", "generate", "--data", path("a"), "--json"})["own"].is_true());
  EXPECT_FALSE(said({"cert", "rotate", "--data", path("a"), "--json"})["backup"].is_null());
  EXPECT_FALSE(said({"cert", "show", "--data", path("a"), "--json"})["expired"].is_true());
  const auto no_key = run({"keys", "pin", "x@h", "12", "--json"});
  EXPECT_EQ(no_key.status, 2);
  EXPECT_EQ(parse_json(no_key.errors)["command"].text, "keys");
  const auto usage = run({"keys", "unheard_of", "--json"});
  EXPECT_EQ(usage.status, 2);
  EXPECT_EQ(parse_json(usage.errors)["status"].number(), 2);
  EXPECT_EQ(run({"map", "--json"}).status, 2) << "no subcommand";
}

TEST_F(Operate, a_node_says_as_json_that_it_is_ready_and_a_call_what_came_back) {
  Subprocess node({BARREL_P2P_COMMAND, "node", "--name", "a@127.0.0.1", "--data", path("a"), "--discovery-dir",
                   path("discovery"), "--cookie", "test", "--json"});
  ASSERT_TRUE(node.says("ready")) << node.errors();
  const auto ready = parse_json(node.output());
  EXPECT_EQ(ready["name"].text, "a@127.0.0.1");
  EXPECT_GT(ready["port"].number(), 0);
  const auto called = call("a", {"erlang", "node", "--json"});
  EXPECT_EQ(parse_json(called.output)["result"].text, "'a@127.0.0.1'");
  ASSERT_EQ(ask({"map", "new", "config", "--persist"}).status, 0);
  EXPECT_TRUE(json({"map", "new", "config"})["persist"].is_true()) << "what is, not what was asked for";
  EXPECT_TRUE(json({"map", "new", "config", "--persist"})["persist"].is_true());
  EXPECT_EQ(json({"map", "new", "fleeting"})["persist"].text, "false");
  const auto [status, text] = failure({"map", "new", "fleeting", "--persist"});
  EXPECT_EQ(status, 1);
  EXPECT_NE(text.find("already_registered: fleeting is open on a@127.0.0.1 in memory only"), std::string::npos) << text;
  const std::string close = "`barrel_p2p call a@127.0.0.1 barrel_p2p delete_map \"[fleeting]\"`";
  EXPECT_NE(text.find(close), std::string::npos) << text;
  ASSERT_EQ(call("a", {"barrel_p2p", "delete_map", "[fleeting]"}).status, 0);
  EXPECT_TRUE(json({"map", "new", "fleeting", "--persist"})["persist"].is_true());
  ASSERT_EQ(ask({"map", "put", "config", "limit", "1"}).status, 0);
  const auto failed = call("a", {"os", "cmd", "--json"});
  EXPECT_EQ(parse_json(failed.errors)["status"].number(), 5);
  node.signal(SIGTERM);
  ASSERT_EQ(node.wait(), 0);
  const auto verified = run({"store", "verify", path("a/store"), "--json"});
  EXPECT_TRUE(parse_json(verified.output)["ok"].is_true()) << verified.errors;
  EXPECT_FALSE(parse_json_lines(run({"store", "dump", path("a/store"), "--json"}).output).empty());
}

}  // namespace
}  // namespace barrel_p2p::test
