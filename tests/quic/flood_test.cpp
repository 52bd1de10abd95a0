// Floods of packets from strangers, and what they leave to a pair that is connected.
#include "quic/flood.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <set>

#include "base/random.hpp"
#include "quic/certificates.hpp"
#include "quic/connection_ids.hpp"
#include "quic/socket.hpp"
#include "quic/stranger_gate.hpp"
#include "support/patience.hpp"
#include "support/resources.hpp"

namespace barrel_p2p::quic {
namespace {

using namespace std::chrono_literals;
using test::Flooder;
using test::FloodKind;

TEST(ConnectionIds, are_known_by_their_node_alone) {
  const ConnectionIds ours;
  const ConnectionIds others;
  std::set<std::string> seen;
  for (int count = 0; count < 1000; ++count) {
    const auto id = ours.make();
    const ByteView bytes{id.data, id.datalen};
    EXPECT_TRUE(ours.is_ours(bytes));
    EXPECT_FALSE(others.is_ours(bytes)) << "one in 2^32 is";
    EXPECT_FALSE(ours.is_ours(bytes.first(7)));
    seen.insert(std::string(as_text(bytes)));
  }
  EXPECT_EQ(seen.size(), 1000U);
}

/// Two sockets, of which one has the filter.
class FilteredSocket : public testing::Test {
 protected:
  static std::shared_ptr<Socket> open(boost::asio::io_context& context) {
    return Socket::open(context, *Address::make("127.0.0.1", 0), {1024 * 1024, false, {}}).value();
  }
  /// How many of the packets come through. The last one is a mark, which does.
  std::size_t taken(const std::vector<Bytes>& packets) {
    for (const auto& packet : packets) sender->send(receiver->local(), packet, packet.size());
    Bytes mark = with_id(0x40, ids.make());
    mark.resize(mark.size() + 1);
    sender->send(receiver->local(), mark, mark.size());
    std::size_t count = 0;
    bool over = false;
    Bytes buffer(Socket::read_bytes);
    const auto alive = std::make_shared<int>(0);
    EXPECT_TRUE(test::becomes_true([&] {
      receiver->receive(
          buffer,
          [&](Socket& /*at*/, const Address& /*from*/, ByteView datagram) {
            over = datagram.size() == mark.size();
            count += over ? 0 : 1;
          },
          alive);
      return over;
    }));
    return count;
  }
  static Bytes with_id(std::uint8_t first, const ngtcp2_cid& id) {
    Bytes packet{first};
    if ((first & 0x80U) != 0) packet = {first, 0, 0, 0, 1, static_cast<std::uint8_t>(id.datalen)};
    packet.insert(packet.end(), id.data, id.data + id.datalen);
    packet.resize(100);
    return packet;
  }
  static ngtcp2_cid random_id(std::size_t size) {
    ngtcp2_cid id{};
    id.datalen = size;
    fill_random({id.data, size});
    return id;
  }

  boost::asio::io_context context;
  std::shared_ptr<Socket> sender = open(context);
  std::shared_ptr<Socket> receiver = open(context);
  ConnectionIds ids;
};

TEST_F(FilteredSocket, takes_packets_with_ids_of_ours_and_a_share_of_those_that_may_begin_a_connection) {
  constexpr std::size_t each = 100;
  std::vector<Bytes> ours;
  std::vector<Bytes> first;
  std::vector<Bytes> followers;
  for (std::size_t count = 0; count < each; ++count) {
    ours.push_back(with_id(0x40, ids.make()));
    ours.push_back(with_id(0xC0, ids.make()));
    ours.push_back(with_id(0xE0, ids.make()));
    first.push_back(with_id(0xC0, random_id(connection_id_bytes)));
    first.push_back(with_id(0xC0, random_id(18)));
    followers.push_back(with_id(0x40, random_id(connection_id_bytes)));
    followers.push_back({0x40});
    followers.push_back({0xC0, 0, 0});
  }
  ASSERT_TRUE(receiver->set_filter(ids.filter(0.5)));
  EXPECT_EQ(taken(ours), ours.size());
  EXPECT_EQ(taken(followers), 0U);
  const auto half = taken(first);
  EXPECT_GT(half, first.size() / 5) << "by chance once in 10^18 runs";
  EXPECT_LT(half, first.size() * 4 / 5);
  ASSERT_TRUE(receiver->set_filter(ids.filter(0)));
  EXPECT_EQ(taken(first), 0U);
  EXPECT_EQ(taken(ours), ours.size());
  ASSERT_TRUE(receiver->set_filter(ids.filter(1)));
  EXPECT_EQ(taken(first), first.size());
  ASSERT_TRUE(receiver->set_filter({}));
  EXPECT_EQ(taken(followers), followers.size());
}

/// A gate, and how much comes to it in a second.
class StrangerGateTest : public testing::Test {
 protected:
  /// So many come in a second, of which those with long headers pass the filter with its share.
  void second(double firsts, double others = 0) {
    const auto end = now + 1s;
    for (; now < end; now += 1ms) {
      const bool filtered = gate.is_flood();
      rest += (firsts * (filtered ? gate.share() : 1) + (filtered ? 0 : others)) / 1000;
      for (; rest >= 1; rest -= 1) {
        ++passed;
        if (gate.came(now)) ticked = now;
      }
      if (gate.is_flood() && now - ticked >= StrangerGate::window) gate.tick(ticked = now);
    }
  }
  MonotonicTime now{1h};
  MonotonicTime ticked{};
  double rest = 0;
  std::size_t passed = 0;
  StrangerGate gate{{}, now};
};

TEST_F(StrangerGateTest, lets_everything_through_while_little_comes) {
  for (int count = 0; count < 10; ++count) second(5000);
  EXPECT_FALSE(gate.is_flood());
}

TEST_F(StrangerGateTest, follows_a_flood_and_notices_its_end) {
  second(500'000);
  EXPECT_TRUE(gate.is_flood());
  for (const double rate : {500'000.0, 50'000.0, 1'000'000.0}) {
    second(rate);
    passed = 0;
    second(rate);
    EXPECT_LE(passed, 3000U) << rate;
    EXPECT_GE(passed, 500U) << rate;
  }
  for (int count = 0; count < 10 && gate.is_flood(); ++count) second(0);
  EXPECT_FALSE(gate.is_flood());
}

TEST_F(StrangerGateTest, a_flood_of_packets_that_nothing_begins_with_is_looked_at_now_and_then) {
  for (int count = 0; count < 60; ++count) second(0, 300'000);
  EXPECT_LE(passed, 60'000U) << "of 18 million";
}

TEST_F(StrangerGateTest, looks_at_a_bounded_number_and_lets_fewer_begin) {
  std::size_t looked = 0;
  std::size_t begun = 0;
  std::size_t unproven = 0;
  for (int count = 0; count < 10'000; ++count) {
    looked += gate.look(now) ? 1 : 0;
    begun += gate.begin(now) ? 1 : 0;
    unproven += gate.begin_unproven(now) ? 1 : 0;
  }
  EXPECT_EQ(looked, 2000U);
  EXPECT_EQ(begun, 200U);
  EXPECT_EQ(unproven, 128U);
  gate.admitted("");
  EXPECT_TRUE(gate.begin_unproven(now)) << "what came to something does not count";
  EXPECT_TRUE(gate.begin(now));
  EXPECT_FALSE(gate.begin(now));
}

TEST_F(StrangerGateTest, one_network_alone_begins_a_quarter_of_what_may_begin) {
  std::size_t begun = 0;
  for (int count = 0; count < 1000; ++count) begun += gate.begin_from("198.51.100.1", now) ? 1 : 0;
  EXPECT_EQ(begun, 50U);
  EXPECT_TRUE(gate.begin_from("198.51.100.2", now));
  gate.admitted("198.51.100.1");
  EXPECT_TRUE(gate.begin_from("198.51.100.1", now)) << "what came to something does not count";
  EXPECT_FALSE(gate.begin_from("198.51.100.1", now));
  for (int count = 0; count < 5'000; ++count, now += 1ms) gate.begin_from(std::to_string(count), now);
  begun = 0;
  for (int count = 0; count < 1000; ++count) begun += gate.begin_from("198.51.100.1", now) ? 1 : 0;
  EXPECT_EQ(begun, 50U) << "who was forgotten begins anew, with no more";
}

TEST(Address, the_network_of_an_ipv6_address_is_its_first_half) {
  EXPECT_EQ(Address::make("2001:db8:1:2:3:4:5:6", 1)->network(), "2001:db8:1:2::/64");
  EXPECT_EQ(Address::make("2001:db8:1:2:ffff::1", 2)->network(), "2001:db8:1:2::/64");
  EXPECT_EQ(Address::make("192.0.2.1", 1)->network(), "192.0.2.1");
  EXPECT_EQ(Address::make("192.0.2.1", 1)->mapped_to_ipv6().network(), "192.0.2.1");
}

TEST_F(FilteredSocket, an_id_that_is_taken_is_not_given_again) {
  std::vector<Bytes> asked;
  const auto id = ids.make_unless([&](ByteView one) {
    asked.emplace_back(one.begin(), one.end());
    return asked.size() < 5;
  });
  ASSERT_EQ(asked.size(), 5U);
  EXPECT_EQ(asked.back(), Bytes(id.data, id.data + id.datalen));
  EXPECT_TRUE(ids.is_ours(asked.back()));
}

/// A pair of endpoints that are connected, and a flood that comes to the one that was dialled. One thread, so that what
/// the flood sends has all arrived when anybody looks.
class FloodedPair : public testing::Test {
 protected:
  FloodedPair() {
    EndpointEvents events;
    events.on_accept = [this](std::shared_ptr<Connection> connection) {
      if (accepted) return;
      accepted = std::move(connection);
      ConnectionEvents heard;
      heard.on_stream_data = [this](StreamId id, ByteView bytes, bool /*fin*/) {
        received += bytes.size();
        accepted->consume(id, bytes.size());
      };
      accepted->set_events(std::move(heard));
      accepted->admit();
    };
    events.on_warning = [this](const std::string& text) { warnings += text.find("flood") != std::string::npos; };
    server = Endpoint::open(context, config(), std::move(events)).value();
    client = Endpoint::open(context, config(), {}).value();
  }
  static EndpointConfig config() {
    EndpointConfig config;
    config.listen = *Address::make("127.0.0.1", 0);
    config.credentials = test::credentials();
    config.owner_admits = true;
    // So that a busy machine makes a flood, too.
    config.initials_per_second_max = 100;
    config.retry_from = 16;
    config.half_open_max = 32;
    return config;
  }
  std::shared_ptr<Connection> dial(Endpoint& from) { return from.connect(server->local_address(), "", {}).value(); }
  bool run_until(const std::function<bool()>& done, const std::function<void()>& meanwhile = {}) {
    return test::becomes_true([&] {
      if (meanwhile) meanwhile();
      context.poll();
      return done();
    });
  }

  boost::asio::io_context context;
  std::unique_ptr<Endpoint> server;
  std::unique_ptr<Endpoint> client;
  std::shared_ptr<Connection> accepted;
  std::size_t received = 0;
  int warnings = 0;
};

class Flood : public FloodedPair, public testing::WithParamInterface<FloodKind> {};

TEST_P(Flood, leaves_an_established_pair_its_messages_and_costs_a_bounded_amount) {
  const auto dialled = dial(*client);
  ASSERT_TRUE(run_until([&] { return accepted && dialled->is_established(); }));
  Flooder flooder(GetParam(), server->local_address().port(), 64);
  const auto before = test::resources();
  std::uint64_t flooded = 0;
  const auto flood = [&] {
    for (int batches = 0; batches < 32; ++batches) flooded += flooder.send();
  };
  ASSERT_TRUE(run_until([&] { return server->statistics().strangers_filtered; }, flood));
  // From now on nearly all of it is kept away by the kernel, and message after message arrives.
  const auto read_before = server->statistics().datagrams_received;
  const auto from = std::chrono::steady_clock::now();
  flooded = 0;
  const auto stream = dialled->open_bidi().value();
  constexpr std::size_t messages = 30;
  for (std::size_t count = 1; count <= messages; ++count) {
    dialled->write(stream, SharedBytes(Bytes(64)));
    ASSERT_TRUE(run_until([&] { return received == count * 64; }, flood)) << count;
    EXPECT_LE(server->statistics().half_open, config().half_open_max);
  }
  // What is let through is a number in a second; the share of a flood that a busy machine makes is larger.
  const auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
  const double allowed = static_cast<double>(flooded) / 4 + 1000 * (1 + seconds);
  EXPECT_LT(static_cast<double>(server->statistics().datagrams_received - read_before), allowed);
  EXPECT_TRUE(run_until([&] { return server->statistics().strangers_filtered; }, flood));
  EXPECT_GE(warnings, 1);
  const auto grown = test::resources();
  EXPECT_LT(grown.heap_bytes - before.heap_bytes, 64L * 1024 * 1024);
  EXPECT_EQ(grown.descriptors, before.descriptors);
  EXPECT_FALSE(dialled->is_closed());
}

TEST_P(Flood, is_over_some_time_after_its_end_and_then_strangers_are_let_in_as_before) {
  Flooder flooder(GetParam(), server->local_address().port(), 64);
  ASSERT_TRUE(run_until([&] { return server->statistics().strangers_filtered; },
                        [&] {
                          for (int batches = 0; batches < 32; ++batches) flooder.send();
                        }));
  if (GetParam() != FloodKind::followers) {
    EXPECT_TRUE(run_until([&] { return server->statistics().dropped_initials > 0; },
                          [&] {
                            for (int batches = 0; batches < 32; ++batches) flooder.send();
                          }));
  }
  ASSERT_TRUE(run_until([&] { return !server->statistics().strangers_filtered; }));
  const auto dialled = dial(*client);
  EXPECT_TRUE(run_until([&] { return dialled->is_established(); }));
}

INSTANTIATE_TEST_SUITE_P(Kinds, Flood, testing::Values(FloodKind::garbage, FloodKind::hellos, FloodKind::followers),
                         [](const auto& kind) {
                           return kind.param == FloodKind::garbage  ? "of_spoofed_initials"
                                  : kind.param == FloodKind::hellos ? "of_hellos"
                                                                    : "of_followers";
                         });

TEST_F(FloodedPair, has_no_more_half_open_handshakes_than_the_bound_when_addresses_are_proven) {
  const auto dialled = dial(*client);
  ASSERT_TRUE(run_until([&] { return accepted && dialled->is_established(); }));
  test::HalfOpener opener(context, server->local_address().port());
  ASSERT_TRUE(run_until([&] { return opener.answered() > 0 && server->statistics().refused_connections > 0; },
                        [&] { opener.dial(); }));
  EXPECT_GT(server->statistics().retries_sent, 0U);
  EXPECT_LE(server->statistics().half_open, config().half_open_max);
  const auto stream = dialled->open_bidi().value();
  dialled->write(stream, SharedBytes(Bytes(64)));
  EXPECT_TRUE(run_until([&] { return received == 64; }, [&] { opener.dial(); }));
}

}  // namespace
}  // namespace barrel_p2p::quic
