#include "quic/socket.hpp"

#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <tuple>
#include <utility>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace barrel_p2p {
inline namespace v0 {
namespace quic {
namespace {

/// As much as the kernel would keep for a socket that is not read.
constexpr std::size_t inbox_bytes_max = 8UL * 1024 * 1024;

std::unexpected<Error> system_error(const std::string& what) {
  return fail(Errc::io_error, what + ": " + std::generic_category().message(errno));
}

/// A descriptor for a question to the kernel.
class Probe {
 public:
  explicit Probe(int family) : fd_(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {}
  ~Probe() {
    if (fd_ >= 0) ::close(fd_);
  }
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  int fd_;
};

Address bound_address(int fd) {
  sockaddr_storage bound{};
  socklen_t size = sizeof(bound);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size) != 0) return {};
  return {reinterpret_cast<const sockaddr*>(&bound), size};
}

/// An address that no socket has, one an adapter: of the block that is for nothing but to be discarded (RFC 6666).
Address adapter_address() {
  static std::atomic<std::uint32_t> number{0};
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_addr.s6_addr[0] = 1;
  const std::uint32_t own = ++number;
  std::memcpy(&six.sin6_addr.s6_addr[12], &own, sizeof(own));
  return {reinterpret_cast<const sockaddr*>(&six), sizeof(six)};
}

}  // namespace

Result<std::shared_ptr<Socket>> Socket::open(boost::asio::io_context& context, const Address& to,
                                             const Settings& settings) {
  auto socket = std::make_shared<Socket>(context);
  if (auto bound = socket->bind(to, settings); !bound) return std::unexpected(bound.error());
  return socket;
}

Result<std::shared_ptr<Socket>> Socket::adapt(boost::asio::io_context& context, const DatagramPathFactory& factory,
                                              const Address& remote, Receive receive, std::function<void()> taken) {
  auto socket = std::make_shared<Socket>(context);
  socket->inbox_ = std::make_shared<Inbox>();
  socket->inbox_->context = &context;
  socket->local_ = adapter_address();
  socket->remote_ = remote;
  socket->receive_ = std::move(receive);
  socket->taken_ = std::move(taken);
  auto adapter = factory([inbox = socket->inbox_, weak = std::weak_ptr<Socket>(socket)](ByteView datagram) {
    put(inbox, weak, datagram);
  });
  if (!adapter) return std::unexpected(adapter.error());
  if (!*adapter) return fail(Errc::invalid_argument, "the factory of the adapter made none");
  socket->adapter_ = std::move(*adapter);
  return socket;
}

Socket::~Socket() { close(); }

void Socket::close() {
  boost::system::error_code ignored;
  std::ignore = stream_.close(ignored);
  fd_ = -1;
  if (!inbox_) return;
  const std::lock_guard lock(inbox_->mutex);
  inbox_->context = nullptr;
  inbox_->datagrams.clear();
}

Result<void> Socket::bind(const Address& to, const Settings& settings) {
  fd_ = ::socket(to.family(), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return system_error("cannot open a UDP socket");
  boost::system::error_code error;
  if (stream_.assign(fd_, error)) {
    ::close(std::exchange(fd_, -1));
    return fail(Errc::io_error, "cannot wait for a UDP socket: " + error.message());
  }
  if (to.family() == AF_INET6) {
    const int only = to.is_unspecified() ? 0 : 1;
    setsockopt(fd_, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
    dual_ = only == 0;
  }
  if (::bind(fd_, to.data(), to.size()) != 0) return system_error("cannot listen on " + to.to_string());
  local_ = bound_address(fd_);
  set_buffers(settings);
  // Datagrams are never fragmented (RFC 9000, section 14): discovery would take a path for wider than it is.
  const int probe_mode = IP_PMTUDISC_PROBE;
  setsockopt(fd_, IPPROTO_IP, IP_MTU_DISCOVER, &probe_mode, sizeof(probe_mode));
  if (to.family() == AF_INET6) setsockopt(fd_, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &probe_mode, sizeof(probe_mode));
  if (settings.segmentation_offload) {
    int probe = 0;
    socklen_t length = sizeof(probe);
    offload_send_ = getsockopt(fd_, IPPROTO_UDP, UDP_SEGMENT, &probe, &length) == 0;
    const int on = 1;
    setsockopt(fd_, IPPROTO_UDP, UDP_GRO, &on, sizeof(on));
  }
  return {};
}

bool Socket::set_filter(std::span<const sock_filter> program) {
  if (fd_ < 0) return false;
  const int unused = 0;  // the kernel wants an argument all the same
  if (program.empty()) return setsockopt(fd_, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof(unused)) == 0;
  const sock_fprog whole{static_cast<unsigned short>(program.size()),
                         const_cast<sock_filter*>(program.data())};  // NOLINT: only read
  return setsockopt(fd_, SOL_SOCKET, SO_ATTACH_FILTER, &whole, sizeof(whole)) == 0;
}

void Socket::set_buffers(const Settings& settings) {
  const auto ask = [&](int option, const char* sysctl) {
    int value = settings.buffer_bytes;
    setsockopt(fd_, SOL_SOCKET, option, &value, sizeof(value));
    socklen_t length = sizeof(value);
    getsockopt(fd_, SOL_SOCKET, option, &value, &length);
    value /= 2;  // the kernel doubles what it was asked for, for its own bookkeeping
    if (value < settings.buffer_bytes && settings.warn) {
      settings.warn("the kernel gives the UDP socket " + std::to_string(value) + " of " +
                    std::to_string(settings.buffer_bytes) + " bytes of buffer: for full speed set sysctl " + sysctl +
                    "=" + std::to_string(settings.buffer_bytes));
    }
  };
  ask(SO_RCVBUF, "net.core.rmem_max");
  ask(SO_SNDBUF, "net.core.wmem_max");
}

Address Socket::path_address(const Address& address) const {
  if (dual_) return address.mapped_to_ipv6();
  if (local_.family() != AF_INET || address.family() == AF_INET) return address;
  return Address::make(address.host(), address.port()).value_or(address);
}

// Receiving.

void Socket::read_with(std::function<void(Socket&)> readable, std::function<void()> taken) {
  readable_ = std::move(readable);
  taken_ = std::move(taken);
  await_readable();
}

void Socket::await_readable() {
  stream_.async_wait(boost::asio::posix::stream_descriptor::wait_read, [weak = weak_from_this()](auto error) {
    const auto self = weak.lock();
    if (error || !self) return;
    self->readable_(*self);
    self->await_readable();
    self->taken_();
  });
}

void Socket::receive(std::span<std::uint8_t> buffer, const Receive& datagram, const std::weak_ptr<int>& alive) {
  std::array<mmsghdr, batch> messages{};
  std::array<iovec, batch> buffers{};
  std::array<sockaddr_storage, batch> senders{};
  struct Control {
    alignas(cmsghdr) std::array<char, 64> bytes;
  };
  std::array<Control, batch> controls{};
  constexpr int rounds_max = 8;  // then others on this thread get their turn
  for (int round = 0; round < rounds_max; ++round) {
    for (std::size_t at = 0; at < batch; ++at) {
      buffers[at] = {buffer.data() + at * datagram_bytes_max, datagram_bytes_max};
      auto& header = messages[at].msg_hdr;
      header = {};
      header.msg_name = &senders[at];
      header.msg_namelen = sizeof(senders[at]);
      header.msg_iov = &buffers[at];
      header.msg_iovlen = 1;
      header.msg_control = controls[at].bytes.data();
      header.msg_controllen = controls[at].bytes.size();
    }
    const int count = recvmmsg(fd_, messages.data(), batch, 0, nullptr);
    if (count <= 0) break;
    for (int at = 0; at < count; ++at) {
      const auto index = static_cast<std::size_t>(at);
      auto& header = messages[index].msg_hdr;
      std::size_t segment = messages[index].msg_len;
      for (cmsghdr* item = CMSG_FIRSTHDR(&header); item != nullptr; item = CMSG_NXTHDR(&header, item)) {
        if (item->cmsg_level != IPPROTO_UDP || item->cmsg_type != UDP_GRO) continue;
        int value = 0;
        std::memcpy(&value, CMSG_DATA(item), sizeof(value));
        if (value > 0) segment = static_cast<std::size_t>(value);
      }
      const Address from(reinterpret_cast<const sockaddr*>(&senders[index]), header.msg_namelen);
      ByteView rest{buffer.data() + index * datagram_bytes_max, messages[index].msg_len};
      while (!rest.empty()) {
        const auto part = rest.first(std::min(segment, rest.size()));
        datagram(*this, from, part);
        if (alive.expired()) return;
        rest = rest.subspan(part.size());
      }
    }
    if (static_cast<std::size_t>(count) < batch) break;
  }
}

void Socket::put(const std::shared_ptr<Inbox>& inbox, const std::weak_ptr<Socket>& socket, ByteView datagram) {
  const std::lock_guard lock(inbox->mutex);
  if (inbox->context == nullptr || datagram.empty() || inbox->bytes + datagram.size() > inbox_bytes_max) return;
  inbox->datagrams.emplace_back(datagram.begin(), datagram.end());
  inbox->bytes += datagram.size();
  if (std::exchange(inbox->posted, true)) return;
  boost::asio::post(*inbox->context, [socket] {
    if (const auto self = socket.lock()) self->empty_inbox();
  });
}

void Socket::empty_inbox() {
  std::deque<Bytes> datagrams;
  {
    const std::lock_guard lock(inbox_->mutex);
    datagrams.swap(inbox_->datagrams);
    inbox_->bytes = 0;
    inbox_->posted = false;
  }
  const auto keep = shared_from_this();
  for (const auto& datagram : datagrams) receive_(*this, remote_, datagram);
  taken_();
}

// Sending.

std::uint64_t Socket::send(const Address& to, ByteView bytes, std::size_t segment) {
  const Address target = path_address(to);
  std::uint64_t sent_count = 0;
  bool offload_failed = false;
  while (!bytes.empty()) {
    const bool offload = offload_send_ && !offload_failed && bytes.size() > segment;
    const auto part = offload ? bytes : bytes.first(std::min(segment, bytes.size()));
    if (adapter_) {
      adapter_->send(part);
      ++sent_count;
      bytes = bytes.subspan(part.size());
      continue;
    }
    iovec buffer{const_cast<std::uint8_t*>(part.data()), part.size()};  // NOLINT: only read
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(std::uint16_t))> control{};
    msghdr header{};
    header.msg_name = const_cast<sockaddr*>(target.data());  // NOLINT: only read
    header.msg_namelen = target.size();
    header.msg_iov = &buffer;
    header.msg_iovlen = 1;
    if (offload) {
      header.msg_control = control.data();
      header.msg_controllen = control.size();
      cmsghdr* item = CMSG_FIRSTHDR(&header);
      item->cmsg_level = IPPROTO_UDP;
      item->cmsg_type = UDP_SEGMENT;
      item->cmsg_len = CMSG_LEN(sizeof(std::uint16_t));
      const auto size = static_cast<std::uint16_t>(segment);
      std::memcpy(CMSG_DATA(item), &size, sizeof(size));
    }
    const ssize_t sent = sendmsg(fd_, &header, 0);
    if (sent < 0 && offload && (errno == EIO || errno == EINVAL || errno == EOPNOTSUPP)) {
      offload_failed = true;
      continue;
    }
    // The device cannot do it, unless what was wrong is something else: that the address of the socket has gone, say.
    if (sent >= 0 && offload_failed) offload_send_ = false;
    sent_count += offload ? (part.size() + segment - 1) / segment : 1;
    bytes = bytes.subspan(part.size());
  }
  return sent_count;
}

// Questions to the kernel.

Result<Address> source_for(const Address& remote) {
  const Probe probe(remote.family());
  if (probe.fd() < 0 || ::connect(probe.fd(), remote.data(), remote.size()) != 0) {
    return fail(Errc::unreachable, "no way to " + remote.to_string() + ": " + std::generic_category().message(errno));
  }
  return Address::make(bound_address(probe.fd()).host(), 0);
}

std::size_t route_mtu(const Address& remote) {
  const Probe probe(remote.family());
  if (probe.fd() < 0 || ::connect(probe.fd(), remote.data(), remote.size()) != 0) return 0;
  int mtu = 0;
  socklen_t size = sizeof(mtu);
  const bool known = getsockopt(probe.fd(), IPPROTO_IP, IP_MTU, &mtu, &size) == 0 ||
                     getsockopt(probe.fd(), IPPROTO_IPV6, IPV6_MTU, &mtu, &size) == 0;
  return known && mtu > 0 ? static_cast<std::size_t>(mtu) : 0;
}

bool is_local(const Address& address) {
  if (address.is_unspecified()) return true;
  const auto any_port = Address::make(address.host(), 0);
  if (!any_port) return false;
  const Probe probe(any_port->family());
  if (probe.fd() < 0) return true;  // nobody knows
  return ::bind(probe.fd(), any_port->data(), any_port->size()) == 0 || errno != EADDRNOTAVAIL;
}

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
