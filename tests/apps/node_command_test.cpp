// What a node is configured with: its file, its environment, and the line, which counts most.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <barrel_p2p/node.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "command_line.hpp"
#include "doctor_command.hpp"
#include "node_command.hpp"
#include "support/scratch.hpp"

namespace barrel_p2p::command {
namespace {

namespace fs = std::filesystem;

class NodeCommand : public testing::Test {
 protected:
  NodeCommand() {
    add_subcommands(app, status);
    std::ofstream(file()) << "name = \"a@127.0.0.1\"\ndist_cookie = \"of the file\"\n";
  }

  [[nodiscard]] fs::path file() const { return scratch.path() / "node.toml"; }
  [[nodiscard]] std::string cookie(const fs::path& from, const Environment& environment) const {
    const auto config = configuration_of(from, environment);
    return config ? config->cookie : config.error().message();
  }
  /// Standard error of `barrel_p2p node ...`, which leaves its exit status in `status`.
  std::string complaint(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "node");
    std::ranges::reverse(arguments);
    testing::internal::CaptureStderr();
    testing::internal::CaptureStdout();
    app.parse(arguments);
    testing::internal::GetCapturedStdout();
    return testing::internal::GetCapturedStderr();
  }

  const test::ScratchDirectory scratch;
  int status = -1;
  CLI::App app{"A cluster.", "barrel_p2p"};
};

TEST_F(NodeCommand, the_cookie_of_the_commands_counts_only_where_the_node_has_none) {
  const Environment of_commands{{"BARREL_P2P_COOKIE", "of the commands"}};
  EXPECT_EQ(cookie("", of_commands), "of the commands");
  EXPECT_EQ(cookie(file(), of_commands), "of the file");
  Environment both = of_commands;
  both["BARREL_P2P_DIST_COOKIE"] = "of the node";
  EXPECT_EQ(cookie(file(), both), "of the node");
  EXPECT_EQ(cookie("", both), "of the node");
}

TEST_F(NodeCommand, an_empty_cookie_is_refused_wherever_it_comes_from) {
  EXPECT_NE(complaint({"--name", "a@127.0.0.1", "--cookie", "", "--check-config"}).find("--cookie is empty"),
            std::string::npos);
  EXPECT_EQ(status, exit_usage);
  EXPECT_NE(cookie("", {{"BARREL_P2P_COOKIE", ""}}).find("BARREL_P2P_COOKIE is empty"), std::string::npos);
  EXPECT_EQ(cookie(file(), {{"BARREL_P2P_COOKIE", ""}}), "of the file") << "it does not count";
}

TEST_F(NodeCommand, a_bad_configuration_is_wrong_usage_whether_it_is_checked_or_started) {
  for (const bool checked : {true, false}) {
    for (std::vector<std::string> wrong :
         {std::vector<std::string>{"--name", "a"}, {"--name", "a@127.0.0.1", "--listen", "nohost"}}) {
      wrong.insert(wrong.end(), {"--data", (scratch.path() / "data").string()});
      if (checked) wrong.emplace_back("--check-config");
      status = -1;
      EXPECT_FALSE(complaint(wrong).empty());
      EXPECT_EQ(status, exit_usage) << wrong[1];
      EXPECT_FALSE(fs::exists(scratch.path() / "data"));
    }
  }
  NodeConfig config;
  config.name = "a@127.0.0.1";
  config.data_dir = scratch.path() / "data";
  config.replication.lease = config.replication.heartbeat;
  std::ostringstream output;
  std::ostringstream errors;
  EXPECT_EQ(run_node_command(config, {}, output, errors), exit_usage);
  EXPECT_NE(errors.str().find("member_ttl_ms"), std::string::npos) << errors.str();
}

TEST_F(NodeCommand, a_file_that_is_not_there_is_found_before_the_start_and_its_key_is_named) {
  const auto absent = scratch.path() / "absent";
  NodeConfig config;
  config.name = "a@127.0.0.1";
  config.cookie = "secret";
  config.log_level = LogLevel::off;
  config.data_dir = scratch.path() / "data";
  ASSERT_TRUE(check_node(config).has_value());
  const auto refused = [&](const std::string& key, const std::function<void(NodeConfig&)>& change) {
    NodeConfig changed = config;
    change(changed);
    const auto checked = check_node(changed);
    ASSERT_FALSE(checked.has_value()) << key;
    EXPECT_TRUE(checked.error().context().starts_with(key + ": ")) << checked.error().message();
    EXPECT_NE(checked.error().context().find(absent.string()), std::string::npos) << checked.error().message();
    EXPECT_EQ(check_configuration(changed).at(0).level, Finding::Level::problem) << "doctor says it too";
    std::ostringstream output;
    std::ostringstream errors;
    EXPECT_EQ(run_node_command(changed, {}, output, errors), exit_usage);
    EXPECT_NE(errors.str().find(key), std::string::npos) << errors.str();
    const auto started = Node::start(changed);
    ASSERT_FALSE(started.has_value());
    EXPECT_NE(started.error().message().find(key + ": "), std::string::npos) << started.error().message();
  };
  refused("receive.dir", [&](NodeConfig& changed) { changed.receive.dir = absent; });
  refused("admin.token_file", [&](NodeConfig& changed) {
    changed.admin.port = 0;
    changed.admin.token_file = absent;
  });
  refused("cert_file", [&](NodeConfig& changed) {
    changed.certificate_file = absent;
    changed.certificate_key_file = scratch.path() / "key.pem";
  });
  refused("key_file", [&](NodeConfig& changed) {
    changed.certificate_file = file();  // no certificate, but readable: the key is looked for next
    changed.certificate_key_file = absent;
  });
}

TEST_F(NodeCommand, a_port_that_is_taken_is_named_as_it_was_configured_with_what_to_do) {
  std::string log;
  NodeConfig config;
  config.name = "a@127.0.0.1";
  config.data_dir = scratch.path() / "data";
  config.log_sink = [&](LogLevel, std::string_view text) { log += std::string(text) + '\n'; };
  auto first = Node::start(config);
  ASSERT_TRUE(first.has_value()) << first.error().message();
  NodeConfig second = config;
  second.name = "b@127.0.0.1";
  second.data_dir = scratch.path() / "other";
  second.port = first->port();
  log.clear();
  const auto refused = Node::start(second);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error(), Errc::io_error);
  for (const char* word : {"cannot listen on [::]:", "listen_port"}) {
    EXPECT_NE(refused.error().context().find(word), std::string::npos) << refused.error().message();
  }
  EXPECT_EQ(log.find("stopped"), std::string::npos) << "it never ran: " << log;
  second.port = 0;
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(::listen(socket, 1), 0);
  socklen_t size = sizeof(address);
  ASSERT_EQ(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size), 0);
  second.admin.port = ntohs(address.sin_port);
  const auto without_admin = Node::start(second);
  ::close(socket);
  ASSERT_FALSE(without_admin.has_value());
  EXPECT_TRUE(without_admin.error().context().starts_with("admin.port: cannot bind"))
      << without_admin.error().message();
  EXPECT_NE(without_admin.error().context().find("set admin.port to another one"), std::string::npos);
  EXPECT_EQ(log.find("stopped"), std::string::npos) << log;
  first->stop();
  EXPECT_NE(log.find("stopped"), std::string::npos) << log;
}

TEST_F(NodeCommand, variables_that_nobody_knows_are_named) {
  EXPECT_EQ(unknown_variables({{"BARREL_P2P_CONTACT_NODE", "a@h"},
                               {"BARREL_P2P_PORT", "4433"},
                               {"BARREL_P2P_LISTEN_PORT", "1"},
                               {"BARREL_P2P_MAP_SCAN_MS", "700"},
                               {"BARREL_P2P_COOKIE", "x"},
                               {"HOME", "/"}}),
            (std::vector<std::string>{"BARREL_P2P_CONTACT_NODE", "BARREL_P2P_PORT"}));
  EXPECT_TRUE(unknown_variables({{"BARREL_P2P_PORT", "udp://10.0.0.1:4433"},
                                 {"BARREL_P2P_PORT_4433_UDP_ADDR", "10.0.0.1"},
                                 {"BARREL_P2P_SERVICE_HOST", "10.0.0.1"},
                                 {"BARREL_P2P_SERVICE_PORT_QUIC", "4433"}})
                  .empty())
      << "Kubernetes names a service so";
}

}  // namespace
}  // namespace barrel_p2p::command
