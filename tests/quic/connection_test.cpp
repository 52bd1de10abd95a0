// Real QUIC between two endpoints over loopback sockets.
#include "quic/connection.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <barrel_p2p/term.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "quic/certificates.hpp"
#include "quic/endpoint.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p::quic {
namespace {

using namespace std::chrono_literals;

/// Two endpoints on one thread.
class QuicPair : public testing::Test {
 protected:
  static EndpointConfig config() {
    EndpointConfig config;
    config.listen = *Address::make("127.0.0.1", 0);
    config.credentials = test::credentials();
    return config;
  }

  void open(EndpointConfig server_config = config(), EndpointConfig client_config = config()) {
    EndpointEvents events;
    events.on_accept = [this](std::shared_ptr<Connection> connection) {
      accepted = std::move(connection);
      accepted->set_events(accepted_events);
    };
    auto made = Endpoint::open(context, std::move(server_config), std::move(events));
    ASSERT_TRUE(made.has_value()) << made.error().message();
    server = std::move(*made);
    auto other = Endpoint::open(context, std::move(client_config), {});
    ASSERT_TRUE(other.has_value()) << other.error().message();
    client = std::move(*other);
  }

  void dial() {
    auto made = client->connect(server->local_address(), "", dialled_events);
    ASSERT_TRUE(made.has_value()) << made.error().message();
    dialled = *made;
  }

  bool run_until(const std::function<bool()>& done, std::chrono::milliseconds limit = 30s) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!done() && std::chrono::steady_clock::now() < end) context.run_one_for(50ms);
    return done();
  }

  void connect() {
    dial();
    ASSERT_TRUE(run_until([this] { return accepted && dialled->is_established(); }));
  }

  boost::asio::io_context context;
  std::unique_ptr<Endpoint> server;
  std::unique_ptr<Endpoint> client;
  std::shared_ptr<Connection> accepted;
  std::shared_ptr<Connection> dialled;
  ConnectionEvents accepted_events;
  ConnectionEvents dialled_events;
};

TEST(QuicDefaults, are_those_that_erlang_nodes_announce_but_for_larger_windows_of_streams) {
  const EndpointConfig config;
  const auto vectors = barrel_p2p::test::read_vectors("transport-tls.json");
  std::size_t hellos = 0;
  for (const auto& row : vectors.as_array()) {
    if (barrel_p2p::test::text_of(row, "name") != "EncryptedExtensions") continue;
    const auto announced = parse_term(barrel_p2p::test::text_of(row, "term"));
    ASSERT_TRUE(announced.has_value());
    EXPECT_EQ(announced->get<std::string>(Atom("alpn")).value(), config.alpn);
    const Term* parameters = announced->find(Atom("transport_params"));
    ASSERT_NE(parameters, nullptr);
    const auto of = [&](const char* name) { return parameters->get<std::uint64_t>(Atom(name)).value(); };
    EXPECT_EQ(of("max_idle_timeout"), static_cast<std::uint64_t>(config.idle_timeout.count()));
    EXPECT_EQ(of("initial_max_data"), config.connection_window_bytes);
    EXPECT_EQ(of("initial_max_streams_bidi"), config.streams_bidi_max);
    EXPECT_EQ(of("initial_max_streams_uni"), config.streams_uni_max);
    EXPECT_LT(of("initial_max_stream_data_bidi_remote"), config.stream_window_bytes);
    ++hellos;
  }
  EXPECT_EQ(hellos, 1U);
}

TEST_F(QuicPair, connects_and_both_see_the_same_certificate) {
  open();
  connect();
  EXPECT_EQ(dialled->peer_certificate_der(), accepted->local_certificate_der());
  EXPECT_FALSE(dialled->peer_certificate_der().empty());
  EXPECT_TRUE(dialled->is_initiator());
  EXPECT_FALSE(accepted->is_initiator());
}

TEST_F(QuicPair, another_protocol_name_is_refused) {
  auto other = config();
  other.alpn = "h3";
  open(config(), other);
  std::optional<CloseReason> reason;
  dialled_events.on_closed = [&](const CloseReason& why) { reason = why; };
  dial();
  ASSERT_TRUE(run_until([&] { return reason.has_value(); }));
  EXPECT_EQ(reason->kind, CloseReason::Kind::peer_transport);
  EXPECT_EQ(reason->code, 0x178U) << "TLS alert no_application_protocol";
}

TEST_F(QuicPair, a_server_without_the_key_of_its_certificate_is_refused) {
  auto liar = config();
  liar.credentials = test::stolen_credentials();
  open(liar, config());
  std::optional<CloseReason> reason;
  dialled_events.on_closed = [&](const CloseReason& why) { reason = why; };
  dial();
  ASSERT_TRUE(run_until([&] { return reason.has_value(); }));
  EXPECT_EQ(reason->kind, CloseReason::Kind::handshake) << reason->text;
  EXPECT_FALSE(dialled->is_established());
}

TEST_F(QuicPair, stream_data_arrives_whole_and_in_order) {
  open();
  constexpr std::size_t total = 16UL * 1024 * 1024;
  std::size_t received = 0;
  bool in_order = true;
  bool finished = false;
  accepted_events.on_stream_data = [&](StreamId id, ByteView bytes, bool fin) {
    for (const auto byte : bytes) in_order = in_order && byte == static_cast<std::uint8_t>(received++ * 31 >> 3U);
    finished = fin;
    accepted->consume(id, bytes.size());
  };
  connect();
  const auto stream = dialled->open_bidi();
  ASSERT_TRUE(stream.has_value());
  EXPECT_EQ(*stream, 0);
  Bytes data(total);
  for (std::size_t at = 0; at < total; ++at) data[at] = static_cast<std::uint8_t>(at * 31 >> 3U);
  const SharedBytes shared(std::move(data));
  constexpr std::size_t piece = 100'000;
  for (std::size_t at = 0; at < total; at += piece) {
    dialled->write(*stream, shared.slice(at, std::min(piece, total - at)), {.fin = at + piece >= total});
  }
  ASSERT_TRUE(run_until([&] { return finished; }, 30s));
  EXPECT_EQ(received, total);
  EXPECT_TRUE(in_order);
  EXPECT_TRUE(run_until([&] { return dialled->queued_bytes() == 0; }));
}

TEST_F(QuicPair, a_reader_that_consumes_nothing_stops_the_sender_at_its_window) {
  open();
  std::size_t received = 0;
  accepted_events.on_stream_data = [&](StreamId /*id*/, ByteView bytes, bool /*fin*/) { received += bytes.size(); };
  connect();
  const auto stream = dialled->open_bidi();
  const std::size_t window = config().stream_window_bytes;
  dialled->write(*stream, SharedBytes(Bytes(window + 1'000'000)));
  ASSERT_TRUE(run_until([&] { return received == window; }));
  EXPECT_FALSE(run_until([&] { return received > window; }, 300ms));
  accepted->consume(*stream, received);
  EXPECT_TRUE(run_until([&] { return received == window + 1'000'000; })) << "credit lets it go on";
}

TEST_F(QuicPair, own_packets_are_not_merged) {
  open();
  std::vector<std::size_t> pieces;
  accepted_events.on_stream_data = [&](StreamId /*id*/, ByteView bytes, bool /*fin*/) {
    pieces.push_back(bytes.size());
  };
  connect();
  const auto stream = dialled->open_bidi();
  for (const std::size_t size : {30U, 40U, 50U})
    dialled->write(*stream, SharedBytes(Bytes(size)), {.own_packet = true});
  ASSERT_TRUE(run_until([&] { return pieces.size() >= 3; }));
  EXPECT_EQ(pieces, (std::vector<std::size_t>{30, 40, 50}));
}

TEST_F(QuicPair, a_close_is_told_with_code_and_text_after_what_was_written) {
  open();
  std::string got;
  std::optional<CloseReason> reason;
  accepted_events.on_stream_data = [&](StreamId /*id*/, ByteView bytes, bool /*fin*/) { got += as_text(bytes); };
  accepted_events.on_closed = [&](const CloseReason& why) { reason = why; };
  connect();
  const auto stream = dialled->open_uni();
  EXPECT_EQ(*stream, 2);
  const auto text = as_bytes("last words");
  dialled->write(*stream, SharedBytes(Bytes(text.begin(), text.end())));
  dialled->close(7, "enough");
  ASSERT_TRUE(run_until([&] { return reason.has_value(); }));
  EXPECT_EQ(got, "last words");
  EXPECT_EQ(reason->kind, CloseReason::Kind::peer_application);
  EXPECT_EQ(reason->code, 7U);
  EXPECT_EQ(reason->text, "enough");
}

TEST_F(QuicPair, a_close_from_inside_of_a_callback_is_safe) {
  open();
  std::optional<CloseReason> reason;
  dialled_events.on_closed = [&](const CloseReason& why) { reason = why; };
  accepted_events.on_stream_data = [&](StreamId id, ByteView /*bytes*/, bool /*fin*/) {
    accepted->write(id, SharedBytes(Bytes{1, 2, 3}));
    accepted->close(3, "from inside");
  };
  connect();
  dialled->write(*dialled->open_bidi(), SharedBytes(Bytes(10)));
  ASSERT_TRUE(run_until([&] { return reason.has_value(); }));
  EXPECT_EQ(reason->code, 3U);
}

TEST_F(QuicPair, acknowledged_bytes_are_reported) {
  open();
  std::uint64_t acked = 0;
  dialled_events.on_stream_acked = [&](StreamId /*id*/, std::uint64_t bytes) { acked = bytes; };
  connect();
  dialled->write(*dialled->open_bidi(), SharedBytes(Bytes(1234)));
  EXPECT_TRUE(run_until([&] { return acked == 1234; }));
}

TEST_F(QuicPair, connections_beyond_the_bound_are_refused_and_counted_and_none_is_dialled) {
  auto small = config();
  small.connections_max = 2;
  open(small, config());
  connect();
  connect();
  ASSERT_EQ(server->statistics().connections, 2U);
  EXPECT_EQ(server->statistics().refused_connections, 0U);
  dial();
  ASSERT_TRUE(run_until([&] { return server->statistics().refused_connections > 0; }));
  EXPECT_EQ(server->statistics().connections, 2U);
  EXPECT_FALSE(dialled->is_established());
  const auto own = server->connect(client->local_address(), "", {});
  ASSERT_FALSE(own.has_value());
  EXPECT_EQ(own.error(), Errc::overloaded);
}

TEST_F(QuicPair, half_open_connections_beyond_the_bound_are_refused_and_counted_until_one_is_admitted) {
  auto small = config();
  small.half_open_max = 2;
  small.owner_admits = true;
  open(small, config());
  connect();
  connect();
  ASSERT_EQ(server->statistics().half_open, 2U);
  EXPECT_EQ(server->statistics().refused_connections, 0U);
  dial();
  ASSERT_TRUE(run_until([&] { return server->statistics().refused_connections > 0; }));
  EXPECT_EQ(server->statistics().half_open, 2U);
  EXPECT_FALSE(dialled->is_established());
  accepted->admit();
  EXPECT_TRUE(run_until([&] { return dialled->is_established(); })) << "there is room again";
}

TEST_F(QuicPair, under_load_retry_proves_addresses) {
  auto strict = config();
  strict.retry_from = 0;
  open(strict, config());
  connect();
  EXPECT_GE(server->statistics().retries_sent, 1U);
}

TEST_F(QuicPair, a_peer_is_half_open_and_has_a_small_window_until_it_is_admitted) {
  auto careful = config();
  careful.owner_admits = true;
  careful.unadmitted_window_bytes = 100'000;
  open(careful, config());
  std::size_t received = 0;
  accepted_events.on_stream_data = [&](StreamId /*id*/, ByteView bytes, bool /*fin*/) { received += bytes.size(); };
  connect();
  EXPECT_EQ(server->statistics().half_open, 1U);
  constexpr std::size_t total = 2UL * 1024 * 1024;
  for (int stream = 0; stream < 2; ++stream) {
    dialled->write(*dialled->open_bidi(), SharedBytes(Bytes(total / 2)));
  }
  ASSERT_TRUE(run_until([&] { return received == careful.unadmitted_window_bytes; })) << received;
  EXPECT_FALSE(run_until([&] { return received > careful.unadmitted_window_bytes; }, 200ms));
  accepted->admit();
  accepted->admit();
  EXPECT_EQ(server->statistics().half_open, 0U);
  EXPECT_TRUE(run_until([&] { return received == total; })) << received;
}

TEST_F(QuicPair, both_ends_are_told_when_a_stream_is_over_and_there_is_room_for_another) {
  auto narrow = config();
  narrow.streams_bidi_max = 1;
  open(narrow, config());
  StreamId over_here = -1;
  StreamId over_there = -1;
  dialled_events.on_stream_closed = [&](StreamId id) { over_here = id; };
  accepted_events.on_stream_closed = [&](StreamId id) { over_there = id; };
  accepted_events.on_stream_data = [&](StreamId id, ByteView bytes, bool fin) {
    accepted->consume(id, bytes.size());
    if (fin) accepted->write(id, SharedBytes(Bytes{1}), {.fin = true, .own_packet = false});
  };
  connect();
  const auto stream = dialled->open_bidi();
  ASSERT_TRUE(stream.has_value());
  EXPECT_EQ(dialled->open_bidi().error(), Errc::overloaded);
  dialled->write(*stream, SharedBytes(Bytes(10)), {.fin = true, .own_packet = false});
  ASSERT_TRUE(run_until([&] { return over_here == *stream && over_there == *stream; }));
  bool opened = false;
  EXPECT_TRUE(run_until([&] { return opened = opened || dialled->open_bidi().has_value(); }));
}

TEST_F(QuicPair, a_writer_is_told_that_its_peer_does_not_read) {
  open();
  StreamId stopped = -1;
  dialled_events.on_stream_stopped = [&](StreamId id) { stopped = id; };
  accepted_events.on_stream_data = [&](StreamId id, ByteView bytes, bool /*fin*/) {
    accepted->consume(id, bytes.size());
    accepted->stop_reading(id, 7);
  };
  connect();
  const auto stream = dialled->open_bidi();
  EXPECT_TRUE(run_until([&] {
    dialled->write(*stream, SharedBytes(Bytes(10)));
    return stopped == *stream;
  }));
}

TEST_F(QuicPair, a_stream_that_the_peer_never_ends_can_make_room_once) {
  auto narrow = config();
  narrow.streams_bidi_max = 1;
  open(narrow, config());
  accepted_events.on_stream_data = [&](StreamId id, ByteView bytes, bool /*fin*/) {
    accepted->consume(id, bytes.size());
    accepted->replace_credit(id);
    accepted->replace_credit(id);
  };
  connect();
  const auto stream = dialled->open_bidi();
  dialled->write(*stream, SharedBytes(Bytes(10)));
  bool opened = false;
  EXPECT_TRUE(run_until([&] { return opened = opened || dialled->open_bidi().has_value(); }));
  EXPECT_FALSE(run_until([&] { return dialled->open_bidi().has_value(); }, 200ms));
  // The end of it makes no room a second time.
  dialled->reset(*stream, 0);
  accepted->reset(*stream, 0);
  EXPECT_FALSE(run_until([&] { return dialled->open_bidi().has_value(); }, 200ms));
}

TEST_F(QuicPair, streams_of_one_class_get_the_same_share_of_the_line) {
  open();
  std::map<StreamId, std::size_t> received;
  accepted_events.on_stream_data = [&](StreamId id, ByteView bytes, bool /*fin*/) {
    received[id] += bytes.size();
    accepted->consume(id, bytes.size());
  };
  connect();
  constexpr std::size_t each = 1024UL * 1024;
  constexpr std::size_t streams = 20;
  for (std::size_t number = 0; number < streams; ++number) {
    const auto stream = dialled->open_bidi();
    ASSERT_TRUE(stream.has_value());
    dialled->set_urgency(*stream, Urgency::bulk);
    // Every other one in many small pieces.
    for (std::size_t at = 0; at < each; at += number % 2 == 0 ? each : 1000) {
      dialled->write(*stream, SharedBytes(Bytes(number % 2 == 0 ? each : std::min<std::size_t>(1000, each - at))));
    }
  }
  ASSERT_TRUE(run_until([&] {
    std::size_t total = 0;
    for (const auto& [id, bytes] : received) total += bytes;
    return total > streams * each / 2;
  }));
  ASSERT_EQ(received.size(), streams);
  const auto [least, most] = std::ranges::minmax_element(received, {}, [](const auto& one) { return one.second; });
  EXPECT_LT(static_cast<double>(most->second) / static_cast<double>(least->second), 1.2);
}

TEST_F(QuicPair, garbage_crashes_nothing) {
  open();
  connect();
  std::uint64_t seed = 1;
  const auto next = [&] {
    return seed = seed * 6364136223846793005ULL + 1442695040888963407ULL, static_cast<std::uint8_t>(seed >> 56U);
  };
  const int fd = ::socket(AF_INET, SOCK_DGRAM, 0);
  const auto target = server->local_address();
  for (int round = 0; round < 20'000; ++round) {
    Bytes packet(1 + next() * 6);
    for (auto& byte : packet) byte = next();
    if (round % 3 == 0) packet[0] |= 0xC0;
    if (round % 3 == 0 && packet.size() > 5) packet[1] = packet[2] = packet[3] = 0, packet[4] = 1;
    ::sendto(fd, packet.data(), packet.size(), 0, target.data(), target.size());
    if (round % 16 == 0) context.poll();
  }
  ::close(fd);
  EXPECT_LE(server->statistics().half_open, config().half_open_per_address_max);
  dialled->write(*dialled->open_bidi(), SharedBytes(Bytes(5)));
  EXPECT_TRUE(run_until([&] { return dialled->queued_bytes() == 0; })) << "the connection still works";
}

TEST_F(QuicPair, a_thousand_connections_come_and_go_without_a_trace) {
  open();
  for (int round = 0; round < 1000; ++round) {
    accepted = nullptr;
    bool gone = false;
    accepted_events.on_closed = [&](const CloseReason& /*why*/) { gone = true; };
    connect();
    dialled->close(0, "");
    ASSERT_TRUE(run_until([&] { return gone; })) << round;
  }
  EXPECT_EQ(server->statistics().connections, 0U);
  EXPECT_TRUE(run_until([&] { return client->statistics().connections == 0; }));
}

}  // namespace
}  // namespace barrel_p2p::quic
