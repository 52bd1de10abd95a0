// What the network knows of one peer. Private to the network.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "distribution/network.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

struct Network::Timer {
  explicit Timer(boost::asio::io_context& context) : timer(context) {}
  boost::asio::steady_timer timer;
};

/// A dial in progress: resolving, or one attempt after the other, or waiting for the peer's own attempt.
struct Network::Dial {
  explicit Dial(boost::asio::io_context& context) : timer(context), hold_timer(context) {}
  MonotonicTime deadline{};
  std::shared_ptr<Channel> channel;  ///< The current attempt.
  bool by_adapter = false;           ///< It goes by one.
  bool by_send = false;              ///< Nobody asked for it but a send.
  bool resolving = false;            ///< The timer is of the wait for discovery.
  bool asked = false;                ///< Discovery will answer.
  bool guessed = false;              ///< Where the node was met last was tried, for want of an answer, ...
  bool guesses = false;              ///< ... by the current attempt.
  std::optional<Result<DiscoveredAddresses>> answer;  ///< It came while something else was tried.
  boost::asio::steady_timer timer;                    ///< Of the current attempt, or of the next one.
  boost::asio::steady_timer hold_timer;               ///< Of the peer's attempt, while it is held.
  Error last_error{Errc::timeout};
  std::size_t attempts = 0;
  std::uint64_t number = 0;  ///< Tells a late answer of the resolver from a current one.
};

struct Network::Peer {
  explicit Peer(Atom node) : name(std::move(node)) {}
  Atom name;
  std::shared_ptr<Outbox> outbox;
  std::shared_ptr<Channel> up;
  std::shared_ptr<Channel> incoming;  ///< Told this name, is not up yet.
  MonotonicTime incoming_since{};
  bool incoming_held = false;  ///< It has no answer, and will be closed: our own attempt wins.
  std::unique_ptr<Dial> dial;
  std::vector<ConnectCallback> waiters;
  std::optional<MonotonicTime> probe_sent;
  MonotonicTime path_checked{};  ///< When the kernel was asked last whether the path is still there.
  MonotonicTime last_used{};     ///< As the last sweep for idle channels saw it.
};

/// What peers ask each other to see whether they live: no use of a channel.
[[nodiscard]] bool is_probe(const Control& control);

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
