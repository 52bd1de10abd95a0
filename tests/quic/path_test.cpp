// QUIC over paths that lose, reorder, repeat, delay, shorten, fall silent and move.
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <random>

#include "quic/certificates.hpp"
#include "quic/connection.hpp"
#include "quic/endpoint.hpp"

namespace barrel_p2p::quic {
namespace {

using namespace std::chrono_literals;
using boost::asio::ip::udp;

/// What happens to datagrams on the way, in both directions.
struct Weather {
  double lost = 0;
  double repeated = 0;
  double held_back = 0;                    ///< Delivered after others that were sent later.
  std::chrono::milliseconds held_for{3};   ///< How long those are kept.
  std::chrono::milliseconds every_for{0};  ///< How long all of them are kept.
  std::size_t largest = 65'535;            ///< Larger ones are dropped without a word.
  bool silent = false;
};

/// Stands between a dialler and a listener of IPv4 loopback, as a NAT does: the listener sees the relay's address.
class Relay {
 public:
  Relay(boost::asio::io_context& io, const Address& listener)
      : context(io),
        front(io, udp::endpoint(boost::asio::ip::address_v4::loopback(), 0)),
        target(boost::asio::ip::address_v4::loopback(), listener.port()) {
    grow(front);
    listen(front, true);
    move();
  }

  [[nodiscard]] Address address() const { return *Address::make("127.0.0.1", front.local_endpoint().port()); }
  [[nodiscard]] std::uint16_t outer_port() const { return backs.back()->local_endpoint().port(); }

  /// From now on the listener sees another port. What it sends to the old one is lost.
  void move() {
    if (!backs.empty()) backs.back()->close();
    backs.push_back(std::make_unique<udp::socket>(context, udp::endpoint(boost::asio::ip::address_v4::loopback(), 0)));
    grow(*backs.back());
    listen(*backs.back(), false);
  }

  Weather weather;
  std::size_t passed = 0;
  std::size_t dropped = 0;
  std::size_t too_large = 0;

 private:
  struct Packet {
    std::vector<std::uint8_t> bytes = std::vector<std::uint8_t>(65'536);
    udp::endpoint from;
  };

  static void grow(udp::socket& socket) {
    constexpr int bytes = 4 * 1024 * 1024;
    boost::system::error_code ignored;
    socket.set_option(boost::asio::socket_base::receive_buffer_size(bytes), ignored);
    socket.non_blocking(true);
  }

  void listen(udp::socket& socket, bool outwards) {
    socket.async_wait(udp::socket::wait_read, [this, &socket, outwards](auto error) {
      if (error) return;
      boost::system::error_code empty;
      for (;;) {
        const auto size = socket.receive_from(boost::asio::buffer(packet.bytes), packet.from, 0, empty);
        if (empty) break;
        if (outwards) inner = packet.from;
        arrived({packet.bytes.begin(), packet.bytes.begin() + static_cast<std::ptrdiff_t>(size)}, outwards);
      }
      listen(socket, outwards);
    });
  }

  bool chance(double part) { return std::uniform_real_distribution<double>(0, 1)(dice) < part; }

  void arrived(std::vector<std::uint8_t> bytes, bool outwards) {
    if (bytes.size() > weather.largest) ++too_large;
    if (weather.silent || bytes.size() > weather.largest || chance(weather.lost)) {
      ++dropped;
      return;
    }
    if (chance(weather.repeated)) send(bytes, outwards);
    const auto delay = weather.every_for + (chance(weather.held_back) ? weather.held_for : 0ms);
    if (delay == 0ms) return send(bytes, outwards);
    auto timer = std::make_shared<boost::asio::steady_timer>(context, delay);
    timer->async_wait([this, timer, outwards, kept = std::move(bytes)](auto error) {
      if (!error) send(kept, outwards);
    });
  }

  void send(const std::vector<std::uint8_t>& bytes, bool outwards) {
    boost::system::error_code ignored;
    ++passed;
    if (outwards) {
      backs.back()->send_to(boost::asio::buffer(bytes), target, 0, ignored);
    } else {
      front.send_to(boost::asio::buffer(bytes), inner, 0, ignored);
    }
  }

  boost::asio::io_context& context;
  udp::socket front;
  std::vector<std::unique_ptr<udp::socket>> backs;
  udp::endpoint target;
  udp::endpoint inner;
  Packet packet;
  std::mt19937 dice{4711};
};

class Path : public testing::Test {
 protected:
  static EndpointConfig config(const char* host = "127.0.0.1", std::uint16_t port = 0) {
    EndpointConfig config;
    config.listen = *Address::make(host, port);
    config.credentials = test::credentials();
    return config;
  }

  std::unique_ptr<Endpoint> listen(EndpointConfig server_config) {
    EndpointEvents events;
    events.on_accept = [this](std::shared_ptr<Connection> connection) {
      accepted = std::move(connection);
      ConnectionEvents calls;
      calls.on_stream_data = [this, weak = std::weak_ptr<Connection>(accepted)](StreamId id, ByteView bytes, bool fin) {
        for (const auto byte : bytes) in_order = in_order && byte == pattern(received++);
        finished = finished || fin;
        if (const auto alive = weak.lock()) alive->consume(id, bytes.size());
      };
      calls.on_closed = [this](const CloseReason& why) { accepted_closed = why; };
      accepted->set_events(std::move(calls));
    };
    auto made = Endpoint::open(context, std::move(server_config), std::move(events));
    return made ? std::move(*made) : nullptr;
  }

  void open(EndpointConfig server_config = config(), EndpointConfig client_config = config()) {
    server = listen(std::move(server_config));
    ASSERT_NE(server, nullptr);
    auto made = Endpoint::open(context, std::move(client_config), {});
    ASSERT_TRUE(made.has_value()) << made.error().message();
    client = std::move(*made);
    if (server->local_address().family() == AF_INET) relay = std::make_unique<Relay>(context, server->local_address());
  }

  void connect(const Address& to) {
    ConnectionEvents calls;
    calls.on_closed = [this](const CloseReason& why) { dialled_closed = why; };
    auto made = client->connect(to, "", std::move(calls));
    ASSERT_TRUE(made.has_value()) << made.error().message();
    dialled = *made;
    ASSERT_TRUE(run_until([this] { return accepted && accepted->is_established() && dialled->is_established(); }));
  }

  bool run_until(const std::function<bool()>& done, std::chrono::milliseconds limit = 30s) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!done() && std::chrono::steady_clock::now() < end) context.run_one_for(50ms);
    return done();
  }

  static std::uint8_t pattern(std::size_t at) { return static_cast<std::uint8_t>(at * 31 >> 3U); }

  void write(std::size_t total) {
    if (stream < 0) stream = *dialled->open_bidi();
    Bytes data(total);
    for (auto& byte : data) byte = pattern(written++);
    dialled->write(stream, SharedBytes(std::move(data)));
  }

  bool transfer(std::size_t total, std::chrono::milliseconds limit = 60s) {
    write(total);
    return run_until([this] { return received == written; }, limit) && in_order;
  }

  boost::asio::io_context context;
  std::unique_ptr<Endpoint> server;
  std::unique_ptr<Endpoint> client;
  std::unique_ptr<Relay> relay;
  std::shared_ptr<Connection> accepted;
  std::shared_ptr<Connection> dialled;
  std::optional<CloseReason> accepted_closed;
  std::optional<CloseReason> dialled_closed;
  StreamId stream = -1;
  std::size_t written = 0;
  std::size_t received = 0;
  bool in_order = true;
  bool finished = false;
};

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

TEST_F(Path, the_idle_timeout_ends_a_connection_whose_path_fell_silent) {
  auto hasty = config();
  hasty.idle_timeout = 400ms;
  open(hasty, hasty);
  connect(relay->address());
  relay->weather.silent = true;
  ASSERT_TRUE(run_until([&] { return accepted_closed && dialled_closed; }));
  EXPECT_EQ(accepted_closed->kind, CloseReason::Kind::idle_timeout);
  EXPECT_EQ(dialled_closed->kind, CloseReason::Kind::idle_timeout);
}

TEST_F(Path, keep_alive_keeps_an_idle_connection) {
  auto hasty = config();
  hasty.idle_timeout = 500ms;
  hasty.keep_alive = 50ms;
  open(hasty, hasty);
  connect(relay->address());
  const auto start = std::chrono::steady_clock::now();
  const auto before = accepted->statistics().packets_received;
  EXPECT_TRUE(run_until([&] {
    return accepted->statistics().packets_received >= before + 20 &&
           std::chrono::steady_clock::now() - start > 3 * hasty.idle_timeout;
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
  EXPECT_EQ(server->statistics().resets_sent, 1U);
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
