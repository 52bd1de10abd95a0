// What strangers can cost a node: memory and descriptors, whatever they do before they are let in. The attacker lives
// in this process, so the figures are those of both ends.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "node/attacker.hpp"
#include "support/resources.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using namespace distribution;
using test::Attacker;
using test::LinePtr;
using test::mask;
using test::mebibyte;
using test::Step;

class Cost : public testing::Test {
 protected:
  /// Strangers are there when a test looks at what they cost, however busy the machine is.
  explicit Cost(std::chrono::milliseconds time = 2 * test::patience)
      : deadline(time),
        victim(cluster.start("victim",
                             [time](NodeConfig& config) {
                               config.log_level = LogLevel::error;
                               config.authentication.handshake_timeout = time;
                               config.setup_timeout = time;
                             })),
        before(test::resources()) {}

  /// Opens this many connections at once, of which the victim has room for so many, and tells which of them it took.
  std::vector<LinePtr> open(std::size_t count, std::size_t room) {
    const auto refused = victim.statistics().refused_connections;
    std::vector<LinePtr> lines;
    for (std::size_t number = 0; number < count; ++number) lines.push_back(attacker.start_dial(victim.port()));
    attacker.await([&] {
      return established(lines) >= room && victim.statistics().refused_connections - refused >= count - room;
    });
    std::erase_if(lines, [](const LinePtr& line) { return !line->established(); });
    return lines;
  }
  static std::size_t established(const std::vector<LinePtr>& lines) {
    return static_cast<std::size_t>(
        std::ranges::count_if(lines, [](const LinePtr& line) { return line->established(); }));
  }
  void expect_within(const std::string& when, std::int64_t heap_mebibytes) {
    const auto now = test::resources();
    const test::Resources grown{now.heap_bytes - before.heap_bytes, now.descriptors - before.descriptors};
    test::report(when + ", grown by", grown);
    EXPECT_LE(grown.heap_bytes, heap_mebibytes * static_cast<std::int64_t>(mebibyte)) << when;
    EXPECT_LE(grown.descriptors, 0) << when;
  }
  /// Another address of this machine is not locked out by what this one does.
  void expect_honest_nodes_get_in() {
    Attacker other("127.0.0.2");
    const auto line = other.dial(victim);
    line->play(mask("other@127.0.0.2"), Step::authenticated);
    EXPECT_EQ(line->shake_hands("other@127.0.0.2", "test"), "up");
  }
  /// As soon as they end, or their deadline comes.
  void expect_all_gone(const std::vector<LinePtr>& lines = {}) {
    for (const auto& line : lines) line->close();
    EXPECT_TRUE(attacker.await([&] { return victim.statistics().connections == 0; }, deadline + test::patience));
    EXPECT_EQ(victim.statistics().half_open, 0U);
    EXPECT_TRUE(std::ranges::all_of(victim.keys(), [](const auto& pin) { return pin.node.host() == "127.0.0.2"; }));
  }

  const std::chrono::milliseconds deadline;
  test::Cluster cluster;
  Node& victim;
  Attacker attacker;
  test::Resources before;
  static constexpr std::size_t per_address = LimitsConfig{}.half_open_per_address_max;
};

TEST_F(Cost, connections_of_one_address_that_prove_nothing_are_bounded) {
  const auto lines = open(500, per_address);
  EXPECT_EQ(lines.size(), per_address);
  for (const auto& line : lines) line->say_bytes(Bytes{2, 0, 1});  // a message that does not go on
  EXPECT_LE(victim.statistics().connections, per_address);
  EXPECT_GE(victim.statistics().refused_connections, 500 - per_address);
  expect_within("64 connections in authentication, 436 refused", 150);
  expect_honest_nodes_get_in();
  expect_all_gone(lines);
}

TEST_F(Cost, connections_that_proved_a_key_but_no_cookie_are_bounded) {
  auto lines = open(per_address, per_address);
  ASSERT_EQ(lines.size(), per_address);
  int number = 0;
  constexpr std::size_t most = 900UL * 1024;  // in one piece a packet; more would close the connection
  for (const auto& line : lines) {
    line->play(mask("m" + std::to_string(++number) + "@127.0.0.1"), Step::authenticated);
    line->write(4, Bytes(most));
  }
  attacker.await([&] {
    return std::ranges::all_of(
        lines, [](const LinePtr& line) { return line->closed() || line->connection().queued_bytes() == 0; });
  });
  EXPECT_EQ(victim.statistics().connections, per_address);
  expect_within("64 connections with 900 KiB of early data each", 350);
  expect_honest_nodes_get_in();
  expect_all_gone(lines);
}

TEST_F(Cost, connections_that_break_the_protocol_at_once_leave_little) {
  constexpr int rounds = 10;
  for (int round = 0; round < rounds; ++round) {
    for (const auto& line : open(per_address, per_address)) {
      line->write(4, Bytes(100'000));
      EXPECT_EQ(line->ending(), "closed");
    }
    ASSERT_TRUE(attacker.await([&] { return victim.statistics().half_open == 0; })) << round;
  }
  expect_within("640 connections that were closed a moment ago", 30);
  expect_all_gone();
}

/// A UDP socket of this machine.
class Socket {
 public:
  Socket() : descriptor_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in own = at(0);
    socklen_t size = sizeof(own);
    if (::bind(descriptor_, reinterpret_cast<const sockaddr*>(&own), size) != 0) throw std::runtime_error("no socket");
    getsockname(descriptor_, reinterpret_cast<sockaddr*>(&own), &size);
    port_ = ntohs(own.sin_port);
  }
  ~Socket() { ::close(descriptor_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  /// Empty: there is none at the moment.
  Bytes receive() {
    Bytes datagram(2048);
    const auto size = ::recv(descriptor_, datagram.data(), datagram.size(), MSG_DONTWAIT);
    datagram.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    return datagram;
  }
  void send(ByteView datagram, std::uint16_t port) const {
    const sockaddr_in to = at(port);
    ::sendto(descriptor_, datagram.data(), datagram.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof(to));
  }

 private:
  static sockaddr_in at(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
  }
  int descriptor_;
  std::uint16_t port_ = 0;
};

/// The deadline comes while the test waits: time for 64 first packets, which are sent at once.
class SilentCost : public Cost {
 protected:
  SilentCost() : Cost(8s) {}
};

TEST_F(SilentCost, first_packets_that_nobody_follows_are_gone_after_the_deadline) {
  Socket caught;  // where clients send to
  Socket deaf;    // repeats their first packets, and hears no answer
  std::vector<Bytes> packets;
  for (std::size_t number = 0; number < 2 * per_address; ++number) {
    const auto line = attacker.start_dial(caught.port());
    Bytes first;
    ASSERT_TRUE(attacker.await([&] { return !(first = caught.receive()).empty(); }));
    packets.push_back(std::move(first));
    line->close();
    while (!caught.receive().empty()) continue;
  }
  before = test::resources();
  const auto from = std::chrono::steady_clock::now();
  for (const auto& packet : packets) deaf.send(packet, victim.port());
  EXPECT_TRUE(attacker.await([&] { return victim.statistics().refused_connections >= per_address; }));
  EXPECT_EQ(victim.statistics().half_open, per_address);
  expect_within("64 first packets", 100);
  expect_all_gone();
  EXPECT_GE(std::chrono::steady_clock::now() - from, deadline);
}

}  // namespace
}  // namespace barrel_p2p
