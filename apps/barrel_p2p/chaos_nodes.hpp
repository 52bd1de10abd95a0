// The nodes of `barrel_p2p chaos` and the network between them: processes, and a relay for each direction in which one
// can dial another.
#pragma once

#include <sys/types.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "chaos_schedule.hpp"
#include "relay/udp_relay.hpp"

namespace barrel_p2p::command {

/// A process ended as it was told to: by the SIGKILL that `killed` stands for, or with status 0 when it was `stopping`.
/// `status`: as `waitpid` gives it.
[[nodiscard]] bool ended_as_told(int status, bool killed, bool stopping);

/// A process of the operating system whose lines are read on the thread of the context. It is killed when its handle
/// goes.
class ChaosProcess {
 public:
  struct Events {
    std::function<void(const std::string& line)> on_line;
    std::function<void(int status)> on_end;  ///< As `waitpid` gives it, after its last line.
  };

  /// Its standard error goes to the end of the file `log`. Throws std::system_error.
  ChaosProcess(boost::asio::io_context& io, std::vector<std::string> arguments, const std::filesystem::path& log,
               Events events);
  ~ChaosProcess();
  ChaosProcess(const ChaosProcess&) = delete;
  ChaosProcess& operator=(const ChaosProcess&) = delete;

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  void signal(int number) const noexcept;
  void say(const std::string& line);
  /// The end of its standard input.
  void end_input();
  /// Physical memory, in KiB; 0: not known.
  [[nodiscard]] std::size_t memory_kib() const;

 private:
  void read();
  void take_lines();

  pid_t pid_ = -1;
  Events events_;
  boost::asio::local::stream_protocol::socket input_;
  boost::asio::posix::stream_descriptor output_;
  std::string buffer_;
  std::vector<char> chunk_ = std::vector<char>(64UL * 1024);
};

/// All ways between the nodes.
class ChaosNetwork {
 public:
  ChaosNetwork(boost::asio::io_context& io, std::size_t nodes, std::uint64_t seed);

  /// Where `from` dials `to`.
  [[nodiscard]] std::uint16_t port(std::size_t from, std::size_t to) const { return way(from, to).port(); }
  /// `node` listens there; 0: it does not run.
  void aim(std::size_t node, std::uint16_t port);
  /// What is wrong from here on; nothing else is.
  void set(const std::vector<ChaosFault>& faults);
  [[nodiscard]] std::size_t passed() const;
  [[nodiscard]] std::size_t dropped() const;

 private:
  [[nodiscard]] relay::UdpRelay& way(std::size_t from, std::size_t to) const;
  std::size_t nodes_;
  std::vector<std::unique_ptr<relay::UdpRelay>> ways_;  ///< By `from * nodes + to`; none from a node to itself.
};

}  // namespace barrel_p2p::command
