// A node of ours that speaks the plain TCP distribution of Erlang, for tests with real Erlang nodes.
//
// The library itself speaks over QUIC only. This carrier joins the library's own parts (handshake, frames, fragments,
// control messages, processes) over one TCP stream, so that they can be tried on an Erlang node as it is installed.
// Nodes find each other without epmd: all nodes of a test listen on the same port, each on the address that its name
// says (`-start_epmd false -erl_epmd_port PORT`).
//
// One thread runs the network, the processes have their own; every function may be called from any thread but these.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/term.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "distribution/flags.hpp"
#include "process/system.hpp"

namespace barrel_p2p::test {

struct CarrierOptions {
  std::string name = "ours@127.0.0.2";  ///< The part behind the @ is the address to listen on.
  std::string cookie = "interop";
  std::uint16_t port = 0;  ///< 0: one that is free here and on 127.0.0.1 and 127.0.0.3.
  std::uint32_t creation = 1'000'003;
  distribution::Flags flags = distribution::offered_flags;
  distribution::Flags mandatory = distribution::mandatory_25;
  std::chrono::milliseconds tick_every{250};  ///< Erlang nodes of a test may have a short `net_ticktime`.
};

/// What happened so far.
struct CarrierView {
  std::set<std::string> up;              ///< Connected nodes.
  std::uint64_t ups = 0;                 ///< Links that came up.
  std::uint64_t accepted = 0;            ///< Those of them that the peer dialled.
  std::vector<std::string> ends;         ///< Why links and attempts ended.
  std::vector<std::string> output;       ///< Of functions that ran elsewhere for us, and log events.
  std::vector<std::string> refused;      ///< Signals that `check_outgoing` refused.
  std::uint64_t ticks = 0;               ///< Ticks that came.
  std::uint64_t fragmented = 0;          ///< Messages that left in fragments.
  distribution::Flags last_flags = 0;    ///< In force on the link that came up last.
  std::uint32_t last_peer_creation = 0;  ///< Of the link that came up last.
};

class TcpCarrier {
 public:
  explicit TcpCarrier(CarrierOptions options = {});
  ~TcpCarrier();
  TcpCarrier(const TcpCarrier&) = delete;
  TcpCarrier& operator=(const TcpCarrier&) = delete;

  [[nodiscard]] process::System& system() noexcept;
  [[nodiscard]] const std::string& name() const noexcept;
  [[nodiscard]] std::uint16_t port() const noexcept;

  /// Dials and waits until the link is up. Error: why it did not come up.
  Result<void> connect(const std::string& node, std::chrono::milliseconds limit = std::chrono::seconds(30));
  /// Closes the TCP connection without a word.
  void drop(const std::string& node);

  [[nodiscard]] CarrierView view() const;
  /// Waits until `wanted` holds; false when `limit` passed first.
  bool await(const std::function<bool(const CarrierView&)>& wanted,
             std::chrono::milliseconds limit = std::chrono::seconds(30));

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace barrel_p2p::test
