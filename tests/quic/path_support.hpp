// Two endpoints on one thread, and what can happen to datagrams between them.
#pragma once

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "quic/certificates.hpp"
#include "quic/connection.hpp"
#include "quic/endpoint.hpp"
#include "support/patience.hpp"

namespace barrel_p2p::quic::test {

using namespace std::chrono_literals;
using namespace barrel_p2p::test;
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
  bool keep_inner = false;  ///< Datagrams of a dialler that moved are dropped.
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
        if (outwards && keep_inner && packet.from != inner) continue;
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

}  // namespace barrel_p2p::quic::test
