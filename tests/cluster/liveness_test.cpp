// The end of a peer is noticed: real processes, killed and frozen, in both roles. That it is noticed in time is for the
// tests of the detector, whose clock does not depend on how busy the machine is.
#include <gtest/gtest.h>
#include <unistd.h>

#include <barrel_p2p/node.hpp>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "cluster/subprocess.hpp"
#include "node/node_support.hpp"

namespace barrel_p2p::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

enum class Role : std::uint8_t { we_dial, peer_dials };

/// A node of ours in this process, and one in a process of its own.
class Liveness : public testing::TestWithParam<Role> {
 protected:
  explicit Liveness(std::chrono::milliseconds dead_after = FailureDetectorConfig().dead_after)
      : ours(cluster.start("ours", [&](NodeConfig& config) { config.detector.dead_after = dead_after; })),
        subscription(ours.monitor_nodes([this](const NodeEvent& event) { events.add(event); })) {}

  /// At any free port, unless it is given one.
  std::unique_ptr<Subprocess> start_peer(std::uint16_t port = 0) {
    const NodeConfig config = cluster.config("peer");
    auto peer = std::make_unique<Subprocess>(std::vector<std::string>{
        BARREL_P2P_COMMAND, "node", "--name", config.name, "--data", config.data_dir.string(), "--discovery-dir",
        config.discovery_dir.string(), "--cookie", config.cookie, "--port", std::to_string(port)});
    if (!peer->says("is ready")) throw std::runtime_error("the peer does not start: " + peer->errors());
    return peer;
  }
  void connect() {
    if (GetParam() == Role::we_dial) {
      ASSERT_TRUE(ours.connect(name).has_value());
    } else {
      make_peer_dial();
    }
    ASSERT_EQ(events.next(), "up peer@127.0.0.1");
    ASSERT_EQ(ours.peers().at(0).dialled, GetParam() == Role::we_dial);
  }
  /// Has a third node ask the peer to call us.
  void make_peer_dial() {
    Node& asker = cluster.start("asker");
    const Term target = Term::tuple({Atom("net_kernel"), ours.name().atom()});
    const Term question = Term::tuple({Atom("is_auth"), Atom("peer@127.0.0.1")});
    const auto answer = asker.call_function(name, "gen_server", "call", {target, question});
    ASSERT_TRUE(answer.has_value()) << answer.error().message();
    asker.disconnect(name);
  }
  void expect_noticed(Clock::time_point from) {
    EXPECT_EQ(events.next(), "down peer@127.0.0.1 net_tick_timeout");
    const auto taken = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - from);
    RecordProperty("noticed_ms", static_cast<int>(taken.count()));
  }

  Cluster cluster;
  EventLog events;
  Node& ours;
  const Subscription subscription;
  const NodeName name{"peer@127.0.0.1"};
};

TEST_P(Liveness, a_killed_peer_is_noticed) {
  const auto peer = start_peer();
  connect();
  const auto from = Clock::now();
  peer->signal(SIGKILL);
  expect_noticed(from);
}

TEST_P(Liveness, a_frozen_peer_is_noticed_and_accuses_nobody_when_it_wakes) {
  const auto peer = start_peer();
  connect();
  const auto from = Clock::now();
  peer->signal(SIGSTOP);
  expect_noticed(from);
  peer->signal(SIGCONT);
  EXPECT_TRUE(peer->says("did not run for")) << peer->errors();
  EXPECT_TRUE(ours.connect(name).has_value());
}

/// The detector would notice nothing in the time that tests have.
class Replacement : public Liveness {
 protected:
  Replacement() : Liveness(2 * patience) {}
};

TEST_P(Replacement, of_a_killed_peers_connection_by_that_of_its_next_life_waits_for_no_detector) {
  auto peer = start_peer();
  connect();
  peer->signal(SIGKILL);
  EXPECT_EQ(peer->wait(), 128 + SIGKILL);
  peer = start_peer();
  make_peer_dial();
  EXPECT_EQ(events.next(), "down peer@127.0.0.1 connection_closed");
  EXPECT_EQ(events.next(), "up peer@127.0.0.1");
  EXPECT_TRUE(ours.ping(name).has_value());
}

/// The detector would notice nothing in the time that tests have, and the peer connects to nobody.
class Restart : public Liveness {
 protected:
  Restart() : Liveness(2 * patience) {}
};

TEST_P(Restart, of_a_killed_peer_at_its_port_ends_the_connections_of_its_former_life_at_once) {
  auto peer = start_peer();
  connect();
  const std::string address = ours.peers().at(0).address;
  const auto port = static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
  peer->signal(SIGKILL);
  EXPECT_EQ(peer->wait(), 128 + SIGKILL);
  peer = start_peer(port);
  EXPECT_EQ(events.next(), "down peer@127.0.0.1 connection_closed");
  EXPECT_TRUE(ours.ping(name).has_value());
}

constexpr auto name_of_role = [](const auto& role) { return role.param == Role::we_dial ? "we_dial" : "peer_dials"; };
INSTANTIATE_TEST_SUITE_P(Roles, Liveness, testing::Values(Role::we_dial, Role::peer_dials), name_of_role);
INSTANTIATE_TEST_SUITE_P(Roles, Restart, testing::Values(Role::we_dial), name_of_role);
INSTANTIATE_TEST_SUITE_P(Roles, Replacement, testing::Values(Role::we_dial, Role::peer_dials), name_of_role);

}  // namespace
}  // namespace barrel_p2p::test
