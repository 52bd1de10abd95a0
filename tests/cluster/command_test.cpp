// The barrel_p2p command as an operator uses it: nodes as processes, calls from a shell, keys on disk.
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "cluster/command_support.hpp"

namespace barrel_p2p::test {
namespace {

TEST_F(Command, call_prints_the_result_of_a_function) {
  const auto node = start_node("a");
  const auto outcome = call("a", {"erlang", "node"});
  EXPECT_EQ(outcome.status, 0) << outcome.errors;
  EXPECT_EQ(outcome.output, "'a@127.0.0.1'\n");
  const auto named = call("a", {"erlang", "whereis", "[net_kernel]"});
  EXPECT_EQ(named.status, 0) << named.errors;
  EXPECT_TRUE(named.output.starts_with("<a@127.0.0.1.")) << named.output;
}

TEST_F(Command, help_tells_every_exit_status) {
  const auto help = run({"--help"});
  EXPECT_EQ(help.status, 0);
  EXPECT_NE(help.output.find("Exit status: 0 success, 1 failure, 2 wrong usage, 4 node not reached, 5 "),
            std::string::npos)
      << help.output;
}

TEST_F(Command, the_exit_status_of_call_tells_what_went_wrong) {
  const auto node = start_node("a");
  const auto undefined = call("a", {"os", "cmd", "[\"ls\"]"});
  EXPECT_EQ(undefined.status, 5);
  EXPECT_NE(undefined.errors.find("badrpc"), std::string::npos) << undefined.errors;
  const auto absent = call("nobody", {"erlang", "node", "--timeout", "2000"});
  EXPECT_EQ(absent.status, 4);
  EXPECT_NE(absent.errors.find("unreachable"), std::string::npos) << absent.errors;
  EXPECT_EQ(call("a", {"erlang", "node", "[1"}).status, 2);
  EXPECT_EQ(call("a", {"erlang", "node", "{}"}).status, 2);
  EXPECT_EQ(run({"call", "no-host", "erlang", "node"}).status, 2);
  EXPECT_EQ(run({"call"}).status, 2);
  const auto cookie =
      run({"call", "a@127.0.0.1", "erlang", "node", "--discovery-dir", path("discovery"), "--cookie", "x"});
  EXPECT_EQ(cookie.status, 4);
  EXPECT_NE(cookie.errors.find("same cookie"), std::string::npos) << cookie.errors;
}

TEST_F(Command, calls_keep_their_identity) {
  const auto node = start_node("a");
  for (int round = 0; round < 3; ++round)
    EXPECT_EQ(call("a", {"erlang", "nodes"}).output, "[]\n") << "callers are hidden";
  const auto known = run({"keys", "list", "--data", path("a")});
  EXPECT_EQ(std::ranges::count(known.output, '\n'), 1) << known.output;
  EXPECT_TRUE(known.output.starts_with("call-0@")) << known.output;
}

TEST_F(Command, a_node_ends_cleanly_on_sigterm_and_sigint) {
  for (const int signal : {SIGTERM, SIGINT}) {
    const auto node = start_node("a");
    EXPECT_TRUE(std::filesystem::exists(root / "discovery" / "a@127.0.0.1.endpoint"));
    node->signal(signal);
    EXPECT_EQ(node->wait(), 0) << node->errors();
    EXPECT_FALSE(std::filesystem::exists(root / "discovery" / "a@127.0.0.1.endpoint"));
  }
}

TEST_F(Command, a_node_that_was_killed_comes_back_under_its_name) {
  auto node = start_node("a");
  EXPECT_EQ(call("a", {"erlang", "node"}).status, 0);
  node->signal(SIGKILL);
  EXPECT_EQ(node->wait(), 128 + SIGKILL);
  EXPECT_EQ(call("a", {"erlang", "node", "--timeout", "1000"}).status, 4);
  node = start_node("a");
  const auto outcome = call("a", {"erlang", "node"});
  EXPECT_EQ(outcome.status, 0) << outcome.errors;
}

TEST_F(Command, node_refuses_what_cannot_work_and_says_why) {
  EXPECT_EQ(run({"node"}).status, 2);
  const auto name = run({"node", "--name", "nohost", "--data", path("x")});
  EXPECT_EQ(name.status, 2);
  EXPECT_NE(name.errors.find("a@127.0.0.1"), std::string::npos) << name.errors;
  std::ofstream(root / "bad.toml") << "name = \"x@127.0.0.1\"\nlisten_prot = 4433\n";
  const auto file = run({"node", "--config", path("bad.toml")});
  EXPECT_EQ(file.status, 2);
  EXPECT_NE(file.errors.find("listen_prot"), std::string::npos) << file.errors;
  const auto first = start_node("a", {"--listen", "127.0.0.1"});
  const auto port = first->output().substr(first->output().rfind(' ') + 1);
  const auto second = run({"node", "--name", "b@127.0.0.1", "--data", path("b"), "--discovery-dir", path("discovery"),
                           "--listen", "127.0.0.1", "--port", port.substr(0, port.size() - 1)});
  EXPECT_EQ(second.status, 1);
  EXPECT_NE(second.errors.find("listen"), std::string::npos) << second.errors;
}

TEST_F(Command, a_configuration_file_and_the_command_line_together) {
  std::ofstream(root / "node.toml") << "name = \"file@127.0.0.1\"\ndist_cookie = \"test\"\ndata_dir = \""
                                    << path("file") << "\"\ndiscovery_dir = \"" << path("discovery") << "\"\n";
  Subprocess node({BARREL_P2P_COMMAND, "node", "--config", path("node.toml"), "--name", "line@127.0.0.1"});
  ASSERT_TRUE(node.says("line@127.0.0.1 is ready")) << node.errors();
  EXPECT_EQ(call("line", {"erlang", "node"}).output, "'line@127.0.0.1'\n");
}

TEST_F(Command, keys_are_shown_pinned_listed_and_forgotten) {
  const auto made = run({"keys", "new", "--data", path("a")});
  ASSERT_EQ(made.status, 0) << made.errors;
  const auto shown = run({"keys", "show", "--data", path("a")});
  ASSERT_EQ(shown.status, 0) << shown.errors;
  const std::string key = shown.output.substr(shown.output.find("key") + 12, 64);
  const std::string fingerprint = shown.output.substr(shown.output.find("fingerprint ") + 12, 64);
  EXPECT_EQ(run({"keys", "fingerprint", "--data", path("a")}).output, fingerprint + "\n");
  EXPECT_EQ(run({"keys", "fingerprint", key}).output, fingerprint + "\n");
  EXPECT_EQ(run({"keys", "fingerprint", path("a/keys/node.pub")}).output, fingerprint + "\n");
  EXPECT_EQ(run({"keys", "pin", "a@127.0.0.1", key, "--data", path("b")}).status, 1) << "it does not exist";
  std::filesystem::create_directory(path("b"));
  EXPECT_EQ(run({"keys", "pin", "a@127.0.0.1", key, "--data", path("b")}).status, 0);
  EXPECT_EQ(run({"keys", "list", "--data", path("b")}).output, "a@127.0.0.1 " + fingerprint + " " + key + "\n");
  EXPECT_EQ(run({"keys", "unpin", "a@127.0.0.1", "--data", path("b")}).status, 0);
  EXPECT_EQ(run({"keys", "list", "--data", path("b")}).output, "");
  EXPECT_EQ(run({"keys", "unpin", "a@127.0.0.1", "--data", path("b")}).status, 1);
  EXPECT_EQ(run({"keys", "pin", "a@127.0.0.1", "12", "--data", path("b")}).status, 2);
  EXPECT_EQ(run({"keys", "pin", "a", key, "--data", path("b")}).status, 2);
}

}  // namespace
}  // namespace barrel_p2p::test
