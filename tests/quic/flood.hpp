// Datagrams as a flood has them: first packets of connections that nobody goes on with, from addresses that nobody has.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/udp.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "base/prng.hpp"
#include "quic/endpoint.hpp"

namespace barrel_p2p::test {

/// First packets of real dials with whole ClientHellos, each of another connection.
std::vector<Bytes> client_hellos(std::size_t count);
/// 1200 bytes that parse as an Initial packet of QUIC 1, and cannot be decrypted.
Bytes garbage_initial();

/// What the packets of a flood are.
enum class FloodKind : std::uint8_t {
  garbage,    ///< `garbage_initial`, each with other connection ids.
  hellos,     ///< `client_hellos`, in turns.
  followers,  ///< Packets of connections that do not exist.
};

/// Sends to one port of 127.0.0.1, each datagram from another address of 127.0.0.0/8. Needs no rights.
class Flooder {
 public:
  static constexpr std::size_t batch = 64;

  Flooder(FloodKind kind, std::uint16_t port, std::size_t hellos = 1024);
  ~Flooder();
  Flooder(const Flooder&) = delete;
  Flooder& operator=(const Flooder&) = delete;

  /// Sends `batch` datagrams with one system call; how many the kernel took.
  std::size_t send();

 private:
  FloodKind kind_;
  std::uint16_t port_;
  Prng prng_{1};
  std::vector<Bytes> packets_;
  std::vector<int> sockets_;
  std::size_t next_packet_ = 0;
  std::size_t next_socket_ = 0;
};

/// Dials with real addresses of 127.0.0.0/8, answers a Retry, and falls silent: half-open handshakes whose address is
/// proven. One thread, that of the io_context.
class HalfOpener {
 public:
  HalfOpener(boost::asio::io_context& context, std::uint16_t port);
  ~HalfOpener();
  HalfOpener(const HalfOpener&) = delete;
  HalfOpener& operator=(const HalfOpener&) = delete;

  /// Begins one more. The oldest of them is forgotten here when there are many.
  void dial();
  /// Handshakes to which the victim answered with more than a Retry.
  [[nodiscard]] std::uint64_t answered() const noexcept { return *answered_; }

 private:
  boost::asio::io_context& context_;
  std::uint16_t port_;
  Prng prng_{2};
  std::unique_ptr<quic::Endpoint> endpoint_;
  std::deque<std::shared_ptr<quic::Connection>> dialled_;
  std::shared_ptr<std::uint64_t> answered_ = std::make_shared<std::uint64_t>(0);
};

}  // namespace barrel_p2p::test
