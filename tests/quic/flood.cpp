#include "quic/flood.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "base/random.hpp"
#include "quic/certificates.hpp"

namespace barrel_p2p::test {
namespace {

constexpr std::size_t initial_bytes = 1200;  ///< RFC 9000, section 14.1.
constexpr std::size_t id_bytes = 8;
constexpr std::size_t destination_id_at = 6;
constexpr std::size_t source_id_at = destination_id_at + id_bytes + 1;

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

/// Any of 127.0.0.0/8 but the first and the last addresses.
in_addr some_address(Prng& prng) {
  return {htonl(0x7F000000U | (0x100U + static_cast<std::uint32_t>(prng.below(0xFFFE00U))))};
}

/// Keeps the first datagram of a dial.
class Catcher : public DatagramPath {
 public:
  explicit Catcher(Bytes& first) : first_(first) {}
  void send(ByteView datagram) override {
    if (first_.empty()) first_.assign(datagram.begin(), datagram.end());
  }

 private:
  Bytes& first_;
};

quic::EndpointConfig dialler_config() {
  quic::EndpointConfig config;
  config.listen = *quic::Address::make("127.0.0.1", 0);
  config.credentials = credentials();
  config.socket_buffer_bytes = 64 * 1024;
  return config;
}

std::unique_ptr<quic::Endpoint> dialler(boost::asio::io_context& context) {
  auto made = quic::Endpoint::open(context, dialler_config(), {});
  if (!made) throw std::runtime_error(made.error().message());
  return std::move(*made);
}

}  // namespace

std::vector<Bytes> client_hellos(std::size_t count) {
  boost::asio::io_context context;
  const auto endpoint = dialler(context);
  std::vector<Bytes> all;
  for (std::size_t number = 0; number < count; ++number) {
    Bytes first;
    const auto line = endpoint->connect(*quic::Address::make("127.0.0.1", 1), "", {}, [&](const DatagramSink&) {
      return Result<std::shared_ptr<DatagramPath>>(std::make_shared<Catcher>(first));
    });
    if (!line) throw std::runtime_error(line.error().message());
    while (first.empty()) context.run_one();
    (*line)->close(0, "");
    all.push_back(std::move(first));
  }
  return all;
}

Bytes garbage_initial() {
  Bytes packet(initial_bytes);
  fill_random(packet);
  const std::array<std::uint8_t, destination_id_at> head{0xC3, 0, 0, 0, 1, id_bytes};
  std::ranges::copy(head, packet.begin());
  packet[source_id_at - 1] = id_bytes;
  auto* rest = packet.data() + source_id_at + id_bytes;
  *rest++ = 0;  // no token
  const std::size_t length = initial_bytes - static_cast<std::size_t>(rest - packet.data()) - 2;
  rest[0] = static_cast<std::uint8_t>(0x40U | (length >> 8U));
  rest[1] = static_cast<std::uint8_t>(length);
  return packet;
}

Flooder::Flooder(FloodKind kind, std::uint16_t port, std::size_t hellos) : kind_(kind), port_(port) {
  if (kind == FloodKind::hellos) {
    packets_ = client_hellos(hellos);
  } else {
    while (packets_.size() < batch) packets_.push_back(garbage_initial());
  }
  if (kind == FloodKind::followers) {
    for (auto& packet : packets_) packet[0] = 0x40;  // a short header, with the connection id behind it
  }
  for (int count = 0; count < 64; ++count) {
    const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int little = 1;  // what comes back is read by nobody
    ::setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &little, sizeof(little));
    sockaddr_in any{};
    any.sin_family = AF_INET;
    if (::bind(socket, reinterpret_cast<const sockaddr*>(&any), sizeof(any)) != 0)
      throw std::runtime_error("no socket");
    sockets_.push_back(socket);
  }
}

Flooder::~Flooder() {
  for (const int socket : sockets_) ::close(socket);
}

std::size_t Flooder::send() {
  struct Control {
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(in_pktinfo))> bytes;
  };
  std::array<mmsghdr, batch> messages{};
  std::array<iovec, batch> buffers{};
  std::array<Control, batch> controls{};
  sockaddr_in to = loopback(port_);
  for (std::size_t at = 0; at < batch; ++at) {
    Bytes& packet = packets_[next_packet_++ % packets_.size()];
    if (kind_ != FloodKind::hellos) {
      for (const std::size_t where : {std::size_t{1}, destination_id_at, source_id_at}) {
        if (where == 1 && kind_ == FloodKind::garbage) continue;  // the version
        const auto random = prng_.next();
        std::memcpy(packet.data() + where, &random, id_bytes);
        if (kind_ == FloodKind::garbage) packet[source_id_at - 1] = id_bytes;
      }
    }
    buffers[at] = {packet.data(), packet.size()};
    auto& header = messages[at].msg_hdr;
    header.msg_name = &to;
    header.msg_namelen = sizeof(to);
    header.msg_iov = &buffers[at];
    header.msg_iovlen = 1;
    header.msg_control = controls[at].bytes.data();
    header.msg_controllen = controls[at].bytes.size();
    cmsghdr* item = CMSG_FIRSTHDR(&header);
    item->cmsg_level = IPPROTO_IP;
    item->cmsg_type = IP_PKTINFO;
    item->cmsg_len = CMSG_LEN(sizeof(in_pktinfo));
    in_pktinfo source{};
    source.ipi_spec_dst = some_address(prng_);
    std::memcpy(CMSG_DATA(item), &source, sizeof(source));
  }
  const int sent = ::sendmmsg(sockets_[next_socket_++ % sockets_.size()], messages.data(), batch, 0);
  return sent > 0 ? static_cast<std::size_t>(sent) : 0;
}

namespace {

/// Carries one handshake: first packet, Retry, second packet, and nothing after the next answer.
class Half : public DatagramPath, public std::enable_shared_from_this<Half> {
 public:
  Half(boost::asio::io_context& context, std::uint16_t port, Prng& prng, DatagramSink sink,
       std::shared_ptr<std::uint64_t> answered)
      : socket_(context), sink_(std::move(sink)), answered_(std::move(answered)) {
    const boost::asio::ip::address_v4 own(ntohl(some_address(prng).s_addr));
    socket_.open(boost::asio::ip::udp::v4());
    socket_.bind({own, 0});
    socket_.connect({boost::asio::ip::address_v4::loopback(), port});
  }
  void listen() {
    socket_.async_receive(boost::asio::buffer(buffer_), [weak = weak_from_this()](auto error, std::size_t size) {
      const auto self = weak.lock();
      if (error || !self) return;
      constexpr std::uint8_t retry = 0xF0;
      if ((self->buffer_[0] & retry) != retry) {
        ++*self->answered_;
        self->over_ = true;
        return;
      }
      self->sink_({self->buffer_.data(), size});
      self->listen();
    });
  }
  void send(ByteView datagram) override {
    boost::system::error_code ignored;
    if (!over_) socket_.send(boost::asio::buffer(datagram.data(), datagram.size()), 0, ignored);
  }

 private:
  boost::asio::ip::udp::socket socket_;
  DatagramSink sink_;
  std::shared_ptr<std::uint64_t> answered_;
  std::array<std::uint8_t, 2048> buffer_{};
  bool over_ = false;
};

}  // namespace

HalfOpener::HalfOpener(boost::asio::io_context& context, std::uint16_t port)
    : context_(context), port_(port), endpoint_(dialler(context)) {}

HalfOpener::~HalfOpener() = default;

void HalfOpener::dial() {
  constexpr std::size_t kept_max = 256;  // a descriptor each
  const auto made =
      endpoint_->connect(*quic::Address::make("127.0.0.1", port_), "", {}, [this](const DatagramSink& sink) {
        auto half = std::make_shared<Half>(context_, port_, prng_, sink, answered_);
        half->listen();
        return Result<std::shared_ptr<DatagramPath>>(std::move(half));
      });
  if (!made) throw std::runtime_error(made.error().message());
  dialled_.push_back(*made);
  if (dialled_.size() <= kept_max) return;
  dialled_.front()->close(0, "");
  dialled_.pop_front();
}

}  // namespace barrel_p2p::test
