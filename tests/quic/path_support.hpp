// Two endpoints on one thread, and what can happen to datagrams between them.
#pragma once

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/udp.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "quic/certificates.hpp"
#include "quic/connection.hpp"
#include "quic/endpoint.hpp"
#include "relay/udp_relay.hpp"
#include "support/patience.hpp"

namespace barrel_p2p::quic::test {

using namespace std::chrono_literals;
using namespace barrel_p2p::test;
using boost::asio::ip::udp;

/// Stands between the two endpoints.
class Relay : public relay::UdpRelay {
 public:
  Relay(boost::asio::io_context& io, const Address& listener) : relay::UdpRelay(io, listener.port()) {}
  [[nodiscard]] Address address() const { return *Address::make("127.0.0.1", port()); }
};

class Path : public testing::Test {
 protected:
  static EndpointConfig config(const char* host = "127.0.0.1", std::uint16_t port = 0) {
    EndpointConfig config;
    config.listen = *Address::make(host, port);
    config.credentials = test::credentials();
    config.wide_within_machine = false;  // loopback stands for a network here
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
