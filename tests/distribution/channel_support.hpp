// Two channels of one thread.
#pragma once

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "base/log.hpp"
#include "distribution/auth/certificate.hpp"
#include "distribution/auth_support.hpp"
#include "distribution/channel.hpp"
#include "support/patience.hpp"

namespace barrel_p2p::test {

using namespace distribution;
using namespace std::chrono_literals;

class TwoChannels : public testing::Test {
 protected:
  struct Side {
    ChannelSettings settings;
    std::unique_ptr<quic::Endpoint> endpoint;
    std::shared_ptr<Channel> channel;
    bool slow = false;  ///< Its pin waits in `pinned`.
    bool up = false;
    std::optional<ChannelEnd> ended;
    std::size_t signals = 0;
    std::size_t holds = 0;  ///< So many of the signals are answered with `congested`.
    PinReservation pin;
    std::function<void(Result<void>)> pinned;
    HandshakeAnswer answer = HandshakeAnswer::ok;
    std::function<void()> named;                                     ///< Called when the peer has said its name.
    std::function<void(Milliseconds, std::function<void()>)> after;  ///< Its clock, if it has one.
  };

  TwoChannels() {
    const auto made = load_or_create_certificate(scratch.path(), wall_now()).value();
    credentials = quic::Credentials::from_pem(made.certificate_pem, made.key_pem).value();
    open(dials, "dials@h", 1);
    open(accepts, "accepts@h", 2);
  }

  void dial(const quic::Address& address) {
    dials.channel =
        Channel::dial(dials.settings, *dials.endpoint, address, "", Atom("accepts@h"), events_of(dials), logger)
            .value();
  }

  void open(Side& side, const char* name, std::uint8_t key) {
    side.settings.name = Atom(name);
    side.settings.cookie = "test";
    side.settings.creation = 77;
    side.settings.authentication.own_name = NodeName(name);
    side.settings.key = key_of(key);
    side.settings.trust = TrustStore::in_memory(TrustMode::tofu, {});
    quic::EndpointConfig config;
    config.listen = quic::Address::make("127.0.0.1", 0).value();
    config.credentials = credentials;
    config.owner_admits = true;
    quic::EndpointEvents events;
    events.on_accept = [this, &side](std::shared_ptr<quic::Connection> connection) {
      side.channel = Channel::accept(side.settings, std::move(connection), events_of(side), logger);
    };
    side.endpoint = quic::Endpoint::open(context, std::move(config), std::move(events)).value();
  }

  static ChannelEvents events_of(Side& side) {
    ChannelEvents events;
    events.name_received = [&side](const auto& /*channel*/, const Atom& /*name*/) {
      if (side.named) side.named();
      return side.answer;
    };
    events.up = [&side](const auto& /*channel*/) { side.up = true; };
    events.signals = [&side](Channel& /*channel*/, std::span<Signal> /*signals*/) {
      ++side.signals;
      if (side.holds == 0) return Delivered{};
      --side.holds;
      return Delivered{1, DeliverOutcome::congested};
    };
    events.ended = [&side](const auto& /*channel*/, const ChannelEnd& end) { side.ended = end; };
    events.after = side.after;
    if (!side.slow) return events;
    events.commit_pin = [&side](PinReservation pin, std::function<void(Result<void>)> done) {
      side.pin = std::move(pin);
      side.pinned = std::move(done);
    };
    return events;
  }

  template <class Done>
  bool until(Done done, std::chrono::milliseconds limit = 20s) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!done() && std::chrono::steady_clock::now() < end) context.run_one_for(50ms);
    return done();
  }

  boost::asio::io_context context{1};
  const ScratchDirectory scratch;
  Logger logger = make_callback_logger("test", [](LogLevel /*level*/, std::string_view /*line*/) {});
  std::shared_ptr<const quic::Credentials> credentials;
  Side dials;
  Side accepts;
};

}  // namespace barrel_p2p::test
