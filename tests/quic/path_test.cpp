// QUIC over paths that lose, reorder, repeat, delay, shorten, fall silent and move.
#include <gtest/gtest.h>

#include "quic/path_support.hpp"
#include "quic/wide_packets.hpp"

namespace barrel_p2p::quic {
namespace {

using namespace test;

constexpr std::size_t ten_megabytes = 10UL * 1024 * 1024;

TEST_F(Path, loses_a_twentieth_and_ten_megabytes_arrive) {
  open();
  relay->weather.lost = 0.05;
  connect(relay->address());
  EXPECT_TRUE(transfer(ten_megabytes)) << received;
  EXPECT_GT(relay->dropped, 100U);
}

TEST_F(Path, reorders_and_ten_megabytes_arrive_in_order) {
  open();
  relay->weather.held_back = 0.1;
  connect(relay->address());
  EXPECT_TRUE(transfer(ten_megabytes)) << received;
}

TEST_F(Path, repeats_and_nothing_arrives_twice) {
  open();
  relay->weather.repeated = 0.3;
  connect(relay->address());
  EXPECT_TRUE(transfer(ten_megabytes)) << received;
}

TEST_F(Path, loses_reorders_repeats_and_delays_together) {
  open();
  relay->weather = {.lost = 0.01, .repeated = 0.05, .held_back = 0.05, .every_for = 2ms};
  connect(relay->address());
  EXPECT_TRUE(transfer(ten_megabytes, 90s)) << received;
  EXPECT_GE(dialled->statistics().smoothed_rtt, 2ms);
}

// What ngtcp2 forgets to free when it sends lost pieces of many writes again goes with the connection: for
// LeakSanitizer.
TEST_F(Path, loses_a_twentieth_of_many_small_writes_and_they_arrive) {
  open();
  relay->weather = {.lost = 0.05, .held_back = 0.05};
  connect(relay->address());
  for (int round = 0; round < 20; ++round) {
    for (int writes = 0; writes < 1'000; ++writes) write(30 + static_cast<std::size_t>(writes) % 50);
    ASSERT_TRUE(run_until([this] { return received == written; }, 60s)) << received;
  }
  EXPECT_TRUE(in_order);
  EXPECT_GT(relay->dropped, 20U);
}

TEST_F(Path, discovery_finds_a_size_above_the_least) {
  open();
  connect(relay->address());
  const auto least = dialled->statistics().datagram_bytes;
  EXPECT_TRUE(run_until([&] { return dialled->statistics().datagram_bytes > least; }));
  EXPECT_TRUE(run_until([&] { return accepted->statistics().datagram_bytes > least; }));
}

TEST_F(Path, a_path_that_drops_large_datagrams_is_not_broken_by_discovery) {
  open();
  relay->weather.largest = 1300;
  connect(relay->address());
  EXPECT_TRUE(transfer(ten_megabytes)) << received;
  EXPECT_GT(relay->too_large, 0U) << "larger sizes were tried";
  EXPECT_LE(dialled->statistics().datagram_bytes, 1300U);
  EXPECT_LE(accepted->statistics().datagram_bytes, 1300U);
  EXPECT_FALSE(dialled_closed.has_value());
}

/// Two programs of one machine.
class WidePath : public Path {
 protected:
  static EndpointConfig wide(const char* host = "127.0.0.1") {
    auto wide = config(host);
    wide.wide_within_machine = true;
    return wide;
  }
};

TEST_F(WidePath, packets_are_wide) {
  open(wide(), wide());
  connect(server->local_address());
  EXPECT_TRUE(transfer(ten_megabytes)) << received;
  const auto path = dialled->statistics();
  EXPECT_GT(path.datagram_bytes, 16'000U);
  // The side that only acknowledges may find it out later.
  EXPECT_TRUE(run_until([&] { return accepted->statistics().datagram_bytes == path.datagram_bytes; }));
  EXPECT_LT(path.packets_sent, ten_megabytes / 8'000);
}

TEST_F(WidePath, packets_of_the_handshake_are_not_filled_up_to_a_wide_one) {
  open(wide(), wide());
  relay->weather.largest = 1400;
  connect(relay->address());
  EXPECT_EQ(relay->too_large, 0U);
  EXPECT_TRUE(run_until([&] { return dialled->statistics().datagram_bytes > 16'000; })) << "what follows is wide";
}

TEST_F(WidePath, packets_are_wide_between_sockets_of_both_families) {
  open(wide("::"), wide("::"));
  connect(*Address::make("127.0.0.1", server->local_address().port()));
  EXPECT_TRUE(transfer(ten_megabytes)) << received;
  EXPECT_GT(dialled->statistics().datagram_bytes, 16'000U);
  EXPECT_TRUE(run_until([&] { return accepted->statistics().datagram_bytes > 16'000; }));
}

// See peer_moves.hpp: without it the first packet from the old place ends the program.
TEST_F(WidePath, a_peer_that_is_back_before_it_answered_elsewhere_stays_connected) {
  open(wide(), wide());
  connect(relay->address());
  ASSERT_TRUE(transfer(1000));
  relay->weather.inwards_silent = true;  // it is asked in vain
  relay->move_aside();
  const auto before = accepted->statistics().packets_received;
  write(1000);
  ASSERT_TRUE(run_until([&] { return accepted->statistics().packets_received > before; }));
  relay->move_back();
  relay->weather.inwards_silent = false;
  EXPECT_TRUE(transfer(1000));
  EXPECT_FALSE(accepted_closed.has_value());
  EXPECT_GT(server->statistics().misplaced_datagrams, 0U);
}

TEST_F(WidePath, packets_are_no_wider_than_the_peer_takes) {
  open(config(), wide());
  connect(server->local_address());
  EXPECT_TRUE(transfer(ten_megabytes)) << received;
  EXPECT_EQ(dialled->statistics().datagram_bytes, 1452U);
  EXPECT_GT(dialled->statistics().packets_sent, ten_megabytes / 1452);
}

TEST_F(WidePath, a_forwarder_whose_path_is_narrow_gets_narrow_packets) {
  open(wide(), wide());
  relay->weather.largest = 1400;
  connect(relay->address());
  EXPECT_TRUE(transfer(ten_megabytes)) << received;
  EXPECT_GT(relay->too_large, 0U) << "wide ones were tried";
  EXPECT_FALSE(dialled_closed.has_value());
  // A path that becomes wide is used as such after a while.
  relay->weather.largest = 65'535;
  EXPECT_TRUE(run_until([&] { return dialled->statistics().datagram_bytes > 16'000; }));
  EXPECT_TRUE(transfer(ten_megabytes)) << received;
}

TEST(WidePackets, are_given_up_for_longer_each_time_nothing_is_acknowledged) {
  using std::chrono::seconds;
  WidePackets wide;
  MonotonicTime now{seconds(100)};
  const auto silent_for = [&](Milliseconds time) {
    wide.waits(now, 50ms);
    now += time;
    wide.waits(now, 50ms);
  };
  EXPECT_TRUE(wide.carried(now));
  silent_for(99ms);
  EXPECT_TRUE(wide.carried(now)) << "however short a round trip is";
  wide.acknowledged();
  silent_for(99ms);
  EXPECT_TRUE(wide.carried(now));
  silent_for(1ms);
  EXPECT_FALSE(wide.carried(now));
  for (Milliseconds pause{500}; pause < seconds(3600); pause *= 2) {
    now += pause - 1ms;
    EXPECT_FALSE(wide.carried(now)) << pause.count();
    now += 1ms;
    EXPECT_TRUE(wide.carried(now)) << pause.count();
    silent_for(100ms);
    EXPECT_FALSE(wide.carried(now)) << pause.count();
  }
  now += seconds(3600);
  EXPECT_TRUE(wide.carried(now)) << "the longest";
}

TEST_F(Path, the_idle_timeout_ends_a_connection_whose_path_fell_silent) {
  auto hasty = config();
  hasty.idle_timeout = 1s;  // and not before it is connected on a busy machine
  open(hasty, hasty);
  connect(relay->address());
  relay->weather.silent = true;
  ASSERT_TRUE(run_until([&] { return accepted_closed && dialled_closed; }));
  EXPECT_EQ(accepted_closed->kind, CloseReason::Kind::idle_timeout);
  EXPECT_EQ(dialled_closed->kind, CloseReason::Kind::idle_timeout);
}

TEST_F(Path, keep_alive_keeps_an_idle_connection) {
  auto hasty = config();
  hasty.idle_timeout = 2s;  // longer than this thread waits for its turn on a busy machine
  hasty.keep_alive = 50ms;
  open(hasty, hasty);
  connect(relay->address());
  const auto start = std::chrono::steady_clock::now();
  const auto before = accepted->statistics().packets_received;
  EXPECT_TRUE(run_until([&] {
    return accepted->statistics().packets_received >= before + 20 &&
           std::chrono::steady_clock::now() - start > hasty.idle_timeout + 500ms;
  }));
  EXPECT_FALSE(accepted_closed.has_value());
  EXPECT_FALSE(dialled_closed.has_value());
  EXPECT_TRUE(transfer(1000));
}

TEST_F(Path, a_handshake_that_nobody_answers_ends_in_its_time) {
  auto hasty = config();
  hasty.handshake_timeout = 300ms;
  open(config(), hasty);
  relay->weather.silent = true;
  ConnectionEvents calls;
  calls.on_closed = [this](const CloseReason& why) { dialled_closed = why; };
  dialled = *client->connect(relay->address(), "", std::move(calls));
  ASSERT_TRUE(run_until([&] { return dialled_closed.has_value(); }));
  EXPECT_EQ(dialled_closed->kind, CloseReason::Kind::handshake);
}

/// A node that was killed says no farewell: its relay is silent until its successor listens.
class Restart : public Path {
 protected:
  void restart() {
    auto settings = config();
    settings.stateless_reset_secret.emplace().fill(7);
    open(settings, config());
    connect(relay->address());
    ASSERT_TRUE(transfer(1000));
    const auto port = server->local_address().port();
    relay->weather.silent = true;
    server.reset();
    settings.listen = *Address::make("127.0.0.1", port);
    server = listen(settings);
    ASSERT_NE(server, nullptr);
    context.poll();
    relay->weather.silent = false;
  }
};

TEST_F(Restart, resets_a_peer_that_writes) {
  restart();
  write(1000);
  ASSERT_TRUE(run_until([&] { return dialled_closed.has_value(); }));
  EXPECT_EQ(dialled_closed->kind, CloseReason::Kind::stateless_reset);
  // A peer that waited for its turn says it again before it reads the answer.
  EXPECT_GE(server->statistics().resets_sent, 1U);
}

TEST_F(Restart, resets_a_peer_that_only_keeps_the_connection_alive) {
  restart();
  ASSERT_TRUE(run_until([&] { return dialled_closed.has_value(); }));
  EXPECT_EQ(dialled_closed->kind, CloseReason::Kind::stateless_reset);
}

TEST_F(Path, a_reset_with_a_foreign_token_closes_nothing) {
  auto settings = config();
  settings.stateless_reset_secret.emplace().fill(7);
  open(settings, config());
  connect(relay->address());
  udp::socket stranger(context, udp::endpoint(boost::asio::ip::address_v4::loopback(), 0));
  const udp::endpoint to(boost::asio::ip::address_v4::loopback(), client->local_address().port());
  for (std::uint8_t round = 0; round < 20; ++round) {
    std::array<std::uint8_t, 40> packet{};
    packet.fill(round);
    packet[0] = 0x40;
    stranger.send_to(boost::asio::buffer(packet), to);
  }
  EXPECT_TRUE(transfer(100'000));
  EXPECT_FALSE(dialled_closed.has_value());
}

TEST_F(Path, a_peer_whose_port_changes_stays_connected) {
  open();
  connect(relay->address());
  ASSERT_TRUE(transfer(100'000));
  EXPECT_EQ(accepted->remote().port(), relay->outer_port());
  relay->move();
  EXPECT_TRUE(transfer(1'000'000)) << received;
  EXPECT_TRUE(run_until([&] { return accepted->remote().port() == relay->outer_port(); }));
  EXPECT_TRUE(run_until([&] { return dialled->queued_bytes() == 0; })) << "the answers find the new port";
  relay->move();
  EXPECT_TRUE(transfer(1'000'000)) << received;
  EXPECT_FALSE(accepted_closed.has_value());
  EXPECT_FALSE(dialled_closed.has_value());
  EXPECT_EQ(server->statistics().connections, 1U);
}

TEST_F(Path, a_peer_whose_port_changes_before_it_is_admitted_is_counted_once) {
  auto careful = config();
  careful.owner_admits = true;
  open(careful, config());
  connect(relay->address());
  relay->move();
  EXPECT_TRUE(transfer(1000));
  EXPECT_TRUE(run_until([&] { return accepted->remote().port() == relay->outer_port(); }));
  EXPECT_EQ(server->statistics().half_open, 1U);
  accepted->admit();
  EXPECT_EQ(server->statistics().half_open, 0U);
}

TEST_F(Path, a_move_in_the_middle_of_a_transfer_loses_nothing) {
  open();
  connect(relay->address());
  write(ten_megabytes);
  for (std::size_t quarter = 1; quarter < 4; ++quarter) {
    ASSERT_TRUE(run_until([&] { return received >= quarter * written / 4; })) << received;
    relay->move();
  }
  EXPECT_TRUE(run_until([&] { return received == written; }, 60s)) << received;
  EXPECT_TRUE(in_order);
}

bool has_ipv6() {
  boost::asio::io_context context;
  udp::socket socket(context);
  boost::system::error_code error;
  socket.open(udp::v6(), error);
  if (!error) socket.bind(udp::endpoint(boost::asio::ip::address_v6::loopback(), 0), error);
  return !error;
}

TEST_F(Path, ipv6_loopback) {
  if (!has_ipv6()) GTEST_SKIP() << "no IPv6 here";
  open(config("::1"), config("::1"));
  connect(server->local_address());
  EXPECT_TRUE(transfer(1'000'000));
  EXPECT_EQ(accepted->remote().host(), "::1");
}

TEST_F(Path, a_dual_stack_listener_serves_ipv4_and_ipv6) {
  if (!has_ipv6()) GTEST_SKIP() << "no IPv6 here";
  open(config("::"), config("127.0.0.1"));
  const auto port = server->local_address().port();
  connect(*Address::make("127.0.0.1", port));
  EXPECT_TRUE(transfer(1'000'000));
  EXPECT_EQ(accepted->remote().host(), "127.0.0.1");
  const auto first = accepted;
  accepted.reset();
  auto six = Endpoint::open(context, config("::1"), {});
  ASSERT_TRUE(six.has_value());
  client->close_all();
  client = std::move(*six);
  stream = -1;
  written = received = 0;
  connect(*Address::make("::1", port));
  EXPECT_TRUE(transfer(1'000'000));
  EXPECT_EQ(accepted->remote().host(), "::1");
}

TEST_F(Path, a_dual_stack_dialler_reaches_both) {
  if (!has_ipv6()) GTEST_SKIP() << "no IPv6 here";
  open(config("127.0.0.1"), config("::"));
  connect(server->local_address());
  EXPECT_TRUE(transfer(1'000'000));
  EXPECT_EQ(dialled->remote().host(), "127.0.0.1");
}

TEST_F(Path, an_ipv4_socket_says_that_it_cannot_reach_ipv6) {
  open();
  const auto made = client->connect(*Address::make("::1", 1), "", {});
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().code(), Errc::unreachable);
}

TEST_F(Path, what_was_written_right_before_a_close_arrives_before_it) {
  open();
  relay->weather = {.every_for = 20ms};
  connect(relay->address());
  ASSERT_TRUE(transfer(5000));
  write(6000);
  context.poll();  // sends it, and the next packets have to wait for their time on this slow path
  write(100);
  dialled->close(0, "done");
  ASSERT_TRUE(run_until([this] { return accepted_closed.has_value(); }));
  EXPECT_EQ(received, written);
  EXPECT_TRUE(in_order);
}

}  // namespace
}  // namespace barrel_p2p::quic
