// What datagrams leave by: a UDP socket, or an adapter that a program put in the place of one.
//
// Lives on the thread of its endpoint; `Inbox` alone is for any thread. Batches system calls (recvmmsg, UDP_GRO,
// UDP_SEGMENT where the kernel has them). Private to the quic room.
#pragma once

#include <linux/filter.h>

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <barrel_p2p/paths.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "quic/address.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace quic {

class Socket : public std::enable_shared_from_this<Socket> {
 public:
  using Receive = std::function<void(Socket& at, const Address& from, ByteView datagram)>;
  struct Settings {
    int buffer_bytes = 0;
    bool segmentation_offload = true;
    std::function<void(const std::string&)> warn{};  ///< Of buffers that are smaller than asked for.
  };

  /// Errors: `io_error` (address in use, not permitted, not of this machine).
  static Result<std::shared_ptr<Socket>> open(boost::asio::io_context& context, const Address& bind,
                                              const Settings& settings);
  /// An adapter that reaches `remote`, which may be made up. What comes goes to `receive`, then `taken` is called.
  static Result<std::shared_ptr<Socket>> adapt(boost::asio::io_context& context, const DatagramPathFactory& factory,
                                               const Address& remote, Receive receive, std::function<void()> taken);
  explicit Socket(boost::asio::io_context& context) : stream_(context) {}
  ~Socket();
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  /// The kernel drops what the program does not take, before it takes room here; an empty one takes everything. False
  /// where the kernel does not do it.
  bool set_filter(std::span<const sock_filter> program);
  /// Nothing comes any more, and what is sent is lost.
  void close();
  /// Calls `readable` whenever there is something to read, as long as the socket lives, and then `taken`, which may
  /// take long: others can read meanwhile. Once.
  void read_with(std::function<void(Socket&)> readable, std::function<void()> taken);
  /// Reads what is there, up to a bound that gives others on the thread their turn. `buffer` has `read_bytes`. Stops
  /// when `alive` has expired.
  void receive(std::span<std::uint8_t> buffer, const Receive& datagram, const std::weak_ptr<int>& alive);
  /// Sends datagrams of `segment` bytes each; the last one may be shorter. What the kernel does not take counts as lost
  /// on the way. How many it were.
  std::uint64_t send(const Address& to, ByteView bytes, std::size_t segment);

  [[nodiscard]] const Address& local() const noexcept { return local_; }
  [[nodiscard]] bool is_dual() const noexcept { return dual_; }
  [[nodiscard]] bool is_adapter() const noexcept { return adapter_ != nullptr; }
  [[nodiscard]] bool offloads() const noexcept { return offload_send_; }
  /// Bound to that address, or to any of the family.
  [[nodiscard]] bool is_like(const Address& bind) const {
    return local_.family() == bind.family() && (local_.is_unspecified() || local_.host() == bind.host());
  }
  /// The form in which ngtcp2 and the kernel know a remote address here.
  [[nodiscard]] Address path_address(const Address& address) const;

  static constexpr std::size_t batch = 32;
  static constexpr std::size_t datagram_bytes_max = 65'536;  ///< One, or several that GRO put together.
  static constexpr std::size_t read_bytes = batch * datagram_bytes_max;

 private:
  /// What an adapter hands in.
  struct Inbox {
    std::mutex mutex;
    boost::asio::io_context* context = nullptr;  ///< Nothing when the socket is gone.
    std::deque<Bytes> datagrams;
    std::size_t bytes = 0;
    bool posted = false;
  };

  Result<void> bind(const Address& to, const Settings& settings);
  void set_buffers(const Settings& settings);
  static void put(const std::shared_ptr<Inbox>& inbox, const std::weak_ptr<Socket>& socket, ByteView datagram);
  void empty_inbox();
  void await_readable();

  boost::asio::posix::stream_descriptor stream_;
  int fd_ = -1;
  bool dual_ = false;
  bool offload_send_ = false;
  Address local_;
  Address remote_;  ///< Of an adapter.
  std::shared_ptr<DatagramPath> adapter_;
  std::shared_ptr<Inbox> inbox_;
  Receive receive_;
  std::function<void(Socket&)> readable_;
  std::function<void()> taken_;
};

/// From which address of this machine the kernel sends to `remote`, with port 0. Error: `unreachable`.
Result<Address> source_for(const Address& remote);
/// The widest IP packet that the first hop on the way to `remote` takes, in bytes; 0: no way there, or nobody knows.
std::size_t route_mtu(const Address& remote);
/// Whether it is an address of this machine; the unspecified one is.
bool is_local(const Address& address);

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
