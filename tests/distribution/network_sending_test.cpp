// What a send leaves behind.
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>

#include "base/log.hpp"
#include "distribution/auth/certificate.hpp"
#include "distribution/auth_support.hpp"
#include "distribution/network.hpp"

namespace barrel_p2p::test {
namespace {

using namespace distribution;

TEST(NetworkSending, to_nodes_that_are_not_connected_leaves_nothing_where_it_must_not_dial) {
  const ScratchDirectory scratch;
  boost::asio::io_context context{1};
  NetworkConfig config;
  config.auto_connect = false;
  ChannelSettings settings;
  settings.name = Atom("own@h");
  settings.cookie = "test";
  settings.creation = 77;
  settings.key = key_of(1);
  settings.trust = TrustStore::in_memory(TrustMode::tofu, {});
  quic::EndpointConfig endpoint;
  endpoint.listen = quic::Address::make("127.0.0.1", 0).value();
  const auto made = load_or_create_certificate(scratch.path(), wall_now()).value();
  endpoint.credentials = quic::Credentials::from_pem(made.certificate_pem, made.key_pem).value();
  DiscoveryConfig nowhere;
  nowhere.backends.clear();
  Discovery discovery(std::move(nowhere));
  const auto logger = make_callback_logger("test", [](LogLevel /*level*/, std::string_view /*line*/) {});
  const auto network =
      Network::open(context, config, std::move(settings), std::move(endpoint), discovery, {}, logger).value();
  const Pid here{Atom("own@h"), 1, 0, 77};
  for (int number = 0; number < 100; ++number) {
    const Pid there{Atom("invented" + std::to_string(number) + "@h"), 1, 0, 1};
    EXPECT_EQ(network->send(there.node, Signal{Send{here, there}, Term(1)}, here), SendOutcome::refused);
    EXPECT_EQ(network->send(there.node, Signal{Exit{here, there}, Term(1)}, here), SendOutcome::refused);
    EXPECT_EQ(network->send_on(there.node, 1, Signal{Send{here, there}, Term(1)}, here, false), SendOutcome::refused);
  }
  EXPECT_EQ(network->known_nodes(), 0U);
}

}  // namespace
}  // namespace barrel_p2p::test
