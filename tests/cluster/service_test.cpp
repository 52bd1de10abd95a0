// The node as a service: what it tells its manager, how it takes signals, its configuration.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>

#include "cluster/command_support.hpp"
#include "support/http.hpp"

namespace barrel_p2p::test {
namespace {

/// What a service manager listens on; the environment names it to nodes that are started.
class Manager {
 public:
  explicit Manager(const std::string& path) : descriptor_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    if (::bind(descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      throw std::runtime_error("no socket at " + path);
    }
    timeval limit{};
    limit.tv_sec = patience.count();
    ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  }
  ~Manager() {
    ::unsetenv("NOTIFY_SOCKET");
    ::unsetenv("WATCHDOG_USEC");
    ::close(descriptor_);
  }
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  /// The first line of the next message.
  std::string next() {
    char text[512];
    const auto count = ::recv(descriptor_, static_cast<void*>(text), sizeof text, 0);
    if (count <= 0) return "nothing";
    const std::string message(static_cast<const char*>(text), static_cast<std::size_t>(count));
    return message.substr(0, message.find('\n'));
  }
  /// Reads on until it comes.
  bool hears(const std::string& wanted) {
    for (std::string line = next(); line != "nothing"; line = next()) {
      if (line == wanted) return true;
    }
    return false;
  }

 private:
  int descriptor_;
};

class Service : public Command {
 protected:
  void write_config(const std::string& text) const {
    std::ofstream(path("node.toml")) << "dist_cookie = \"test\"\n" << text;
  }
  [[nodiscard]] std::unique_ptr<Subprocess> start_service() const {
    return start_node("a", {"--config", path("node.toml")});
  }
};

TEST_F(Service, tells_its_manager_that_it_is_ready_that_it_lives_and_that_it_stops) {
  Manager manager(path("notify"));
  ::setenv("WATCHDOG_USEC", "300000", 1);
  const auto node = start_node("a");
  EXPECT_EQ(manager.next(), "READY=1");
  EXPECT_TRUE(manager.hears("WATCHDOG=1"));
  EXPECT_TRUE(manager.hears("WATCHDOG=1"));
  node->signal(SIGTERM);
  EXPECT_TRUE(manager.hears("STOPPING=1"));
  EXPECT_EQ(node->wait(), 0) << node->errors();
}

TEST_F(Service, sighup_takes_over_what_can_change_and_names_what_needs_a_restart) {
  Manager manager(path("notify"));
  write_config("log_level = \"warning\"\n");
  const auto node = start_service();
  EXPECT_EQ(manager.next(), "READY=1");
  write_config("log_level = \"info\"\nring_size = 128\nworkers = 3\n");
  node->signal(SIGHUP);
  EXPECT_EQ(manager.next(), "RELOADING=1");
  EXPECT_EQ(manager.next(), "READY=1");
  EXPECT_TRUE(node->says("these need a restart: workers, ring_size")) << node->errors();
  write_config("log_level = \"loud\"\n");
  node->signal(SIGHUP);
  EXPECT_TRUE(node->says("nothing is changed")) << node->errors();
  EXPECT_NE(node->errors().find("line 2: log_level"), std::string::npos) << node->errors();
  node->signal(SIGTERM);
  EXPECT_TRUE(node->says("stopped")) << "the log is at info now: " << node->errors();
  EXPECT_EQ(node->wait(), 0);
}

TEST_F(Service, sighup_takes_over_contacts_that_come_up_later) {
  write_config("");
  const auto node = start_service();
  write_config("contact_nodes = [\"late@127.0.0.1\"]\n");
  node->signal(SIGHUP);
  EXPECT_TRUE(node->says("cannot connect to late@127.0.0.1: ")) << node->errors();
  const auto late = start_node("late");
  EXPECT_TRUE(node->says("late@127.0.0.1 is a neighbour now")) << node->errors();
}

TEST_F(Service, without_a_file_sighup_ends_it_as_when_its_terminal_is_closed) {
  const auto node = start_node("a");
  node->signal(SIGHUP);
  EXPECT_EQ(node->wait(), 0) << node->errors();
}

TEST_F(Service, a_file_that_has_become_a_directory_changes_nothing) {
  Manager manager(path("notify"));
  write_config("");
  const auto node = start_service();
  EXPECT_EQ(manager.next(), "READY=1");
  std::filesystem::remove(path("node.toml"));
  std::filesystem::create_directory(path("node.toml"));
  node->signal(SIGHUP);
  EXPECT_TRUE(node->says("nothing is changed")) << node->errors();
  EXPECT_NE(node->errors().find("Is a directory"), std::string::npos) << node->errors();
  node->signal(SIGTERM);
  EXPECT_EQ(node->wait(), 0) << node->errors();
}

TEST_F(Service, goes_on_when_nobody_reads_its_log_any_more) {
  const auto node = start_node("a");
  node->stop_reading_errors();
  node->signal(SIGUSR1);  // it prints; of two signals the one with the smaller number comes first
  node->signal(SIGTERM);
  EXPECT_EQ(node->wait(), 0);
}

TEST_F(Service, sigusr1_prints_what_was_decided_about_peers) {
  const auto node = start_node("a");
  const auto stranger = start_node("stranger", {"--cookie", "wrong", "--join", "a@127.0.0.1"});
  ASSERT_TRUE(stranger->says("cannot connect to a@127.0.0.1")) << stranger->errors();
  node->signal(SIGUSR1);
  EXPECT_TRUE(node->says("Z refused stranger@127.0.0.1")) << node->errors();
}

TEST_F(Service, checks_a_configuration_without_starting) {
  write_config("");
  const auto good = run({"node", "--name", "a@127.0.0.1", "--config", path("node.toml"), "--check-config"});
  EXPECT_EQ(good.status, 0) << good.errors;
  EXPECT_EQ(good.output, "the configuration is good\n");
  write_config("member_ttl_ms = 2500\nmember_heartbeat_ms = 2000\n");
  const auto bad = run({"node", "--name", "a@127.0.0.1", "--config", path("node.toml"), "--check-config"});
  EXPECT_EQ(bad.status, 2);
  EXPECT_NE(bad.errors.find("member_ttl_ms must be more than twice"), std::string::npos) << bad.errors;
}

TEST_F(Service, the_environment_counts_more_than_the_file_and_less_than_the_command_line) {
  ::setenv("BARREL_P2P_RING_SIZE", "none", 1);
  write_config("ring_size = 128\n");
  const auto bad = run({"node", "--name", "a@127.0.0.1", "--config", path("node.toml"), "--check-config"});
  ::setenv("BARREL_P2P_LISTEN", "no address", 1);
  ::unsetenv("BARREL_P2P_RING_SIZE");
  const auto refused = run({"node", "--name", "a@127.0.0.1", "--check-config"});
  const auto given = run({"node", "--name", "a@127.0.0.1", "--check-config", "--listen", "127.0.0.1"});
  ::unsetenv("BARREL_P2P_LISTEN");
  EXPECT_EQ(bad.status, 2);
  EXPECT_NE(bad.errors.find("BARREL_P2P_RING_SIZE (ring_size) must be"), std::string::npos) << bad.errors;
  EXPECT_EQ(refused.status, 2);
  EXPECT_EQ(given.status, 0) << given.errors;
}

TEST_F(Service, writes_its_log_as_json_when_it_is_told_to) {
  write_config("log_format = \"json\"\n");
  const auto node = start_service();
  EXPECT_TRUE(node->says("\"level\":\"info\",\"node\":\"a@127.0.0.1\",\"text\":\"listening on ")) << node->errors();
}

TEST_F(Service, says_where_it_serves_its_health) {
  const auto node = start_node("a", {"--admin-port", "0"});
  const std::string before = "HTTP on 127.0.0.1, port ";
  ASSERT_TRUE(node->says(before)) << node->errors();
  const auto port = std::stoi(node->errors().substr(node->errors().find(before) + before.size()));
  EXPECT_EQ(status_of(http_get(static_cast<std::uint16_t>(port), "/health/live")), 200);
}

}  // namespace
}  // namespace barrel_p2p::test
