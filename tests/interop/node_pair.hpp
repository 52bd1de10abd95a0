// One of our nodes and an Erlang node, connected; and a process of ours that a test leads by the hand.
#pragma once

#include <gtest/gtest.h>
#include <barrel_p2p/process.hpp>
#include <barrel_p2p/server.hpp>

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <source_location>
#include <string>

#include "interop/erl_peer.hpp"
#include "interop/tcp_carrier.hpp"

namespace barrel_p2p::test {

inline constexpr std::chrono::milliseconds patience{30'000};  ///< For anything that must come.

/// Arguments that make an Erlang machine a node on `port`, without epmd.
ErlOptions node_options(const std::string& name, std::uint16_t port, const std::string& cookie = "interop");

/// Runs a process to its end and returns what it gives back. Throws std::runtime_error when it does not end in time.
template <class T>
T run(process::System& system, std::function<Task<T>(Process&)> function) {
  auto promise = std::make_shared<std::promise<T>>();
  auto future = promise->get_future();
  system.spawn([promise, function](Process& self) -> Task<> { promise->set_value(co_await function(self)); });
  if (future.wait_for(patience) != std::future_status::ready) throw std::runtime_error("the process did not finish");
  return future.get();
}

/// A process that does what the test says and hands its messages to the test.
class Puppet {
 public:
  explicit Puppet(process::System& system);
  ~Puppet();
  Puppet(const Puppet&) = delete;
  Puppet& operator=(const Puppet&) = delete;

  [[nodiscard]] const Pid& pid() const noexcept { return pid_; }
  /// Runs inside of the process; returns when it is done. Throws std::runtime_error when the process is gone.
  void act(std::function<void(Process&)> what);
  /// Sends on behalf of the process.
  void send(Destination to, Term message);
  /// The next message. Throws std::runtime_error when none comes in time.
  Term next(std::source_location where = std::source_location::current());
  /// The messages that came already.
  [[nodiscard]] std::size_t waiting() const;
  void register_name(const char* name);

 private:
  struct Shared;
  static Task<> live(Process& self, std::shared_ptr<Shared> shared);
  void command(std::function<Task<>(Process&)> what);

  process::System& system_;
  std::shared_ptr<Shared> shared_;
  Pid pid_;
};

/// `theirs@127.0.0.1`, and the carrier.
struct NodePair {
  explicit NodePair(CarrierOptions options = {}, std::vector<std::string> more_arguments = {});
  static constexpr const char* erlang_name = "theirs@127.0.0.1";

  TcpCarrier carrier;
  ErlPeer erl;
};

enum class Dialling : std::uint8_t { ours, theirs };
std::string to_string(Dialling dialling);

/// Connects the two in the direction asked for; throws std::runtime_error when they do not come together.
void connect(NodePair& pair, Dialling dialling);

}  // namespace barrel_p2p::test
