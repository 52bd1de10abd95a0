// The datagrams of a connection, and of strangers, changed on their way: handshakes between two endpoints through a
// hand that drops, doubles, cuts and changes what it likes and adds datagrams of its own. No crash, and what one side
// wrote arrives as it was, or not at all. (ngtcp2, GnuTLS and random numbers are in between: an input does not always
// do the same.)
//
//   input: for one datagram after the other: what(1)
//   what:  bit 7 adds one of our own, modulo 2 to whom: bytes, length(2) before them
//          else modulo 8: 1 is dropped, 2 a byte is changed: where(2) by(1), 3 comes twice, 4 is cut: to(2),
//          5 the first bytes are others: a piece of length(2), 6 comes from another port, others pass
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/udp.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>

#include "distribution/auth/certificate.hpp"
#include "input.hpp"
#include "quic/endpoint.hpp"
#include "scratch.hpp"

namespace {

using namespace barrel_p2p;
using namespace barrel_p2p::quic;
using namespace barrel_p2p::fuzz;
using boost::asio::ip::udp;

std::shared_ptr<const Credentials> credentials() {
  static const auto made = [] {
    const Scratch scratch("certificate");
    const auto certificate = distribution::load_or_create_certificate(scratch.path(), wall_now());
    require(certificate.has_value());
    return Credentials::from_pem(certificate->certificate_pem, certificate->key_pem).value();
  }();
  return made;
}

std::uint8_t pattern(std::size_t at) { return static_cast<std::uint8_t>(at * 31 >> 3U); }

/// Two endpoints; datagrams of the one that dials go through `Hand`.
class Pair {
 public:
  Pair()
      : near_(context_, udp::endpoint(boost::asio::ip::address_v4::loopback(), 0)),
        other_(context_, near_.local_endpoint().protocol()) {
    other_.bind(udp::endpoint(boost::asio::ip::address_v4::loopback(), 0));
    near_.non_blocking(true);
    other_.non_blocking(true);
    EndpointEvents events;
    events.on_accept = [this](std::shared_ptr<Connection> connection) { accept(std::move(connection)); };
    auto opened = Endpoint::open(context_, config(), std::move(events));
    require(opened.has_value());
    server_ = std::move(*opened);
    auto dialling = Endpoint::open(context_, config(), {});
    require(dialling.has_value());
    client_ = std::move(*dialling);
  }

  void run(Input& input) {
    dial();
    constexpr int datagrams_max = 64;
    for (int count = 0; count < datagrams_max && !input.empty(); ++count) {
      poll();
      step(input);
    }
    poll();
    if (dialled_) dialled_->close(0, "");
    if (accepted_) accepted_->close(0, "");
    dialled_.reset();
    accepted_.reset();
    poll();
    to_server_.clear();
    to_client_.clear();
    sink_ = {};
  }

 private:
  static EndpointConfig config() {
    EndpointConfig config;
    config.listen = *Address::make("127.0.0.1", 0);
    config.credentials = credentials();
    config.wide_within_machine = false;
    config.segmentation_offload = false;
    constexpr double unlimited = 1e9;
    config.initials_per_second_max = config.handshakes_per_second_max = unlimited;
    config.half_open_per_address_max = 32;
    config.retry_from = 8;  // some of them have to prove their address
    config.handshake_timeout = std::chrono::milliseconds(200);
    config.streams_bidi_max = 4;
    config.streams_uni_max = 4;
    return config;
  }

  struct Path : DatagramPath {
    explicit Path(std::deque<Bytes>& queue) : to(queue) {}
    void send(ByteView datagram) override { to.emplace_back(datagram.begin(), datagram.end()); }
    std::deque<Bytes>& to;
  };

  void dial() {
    received_ = 0;
    ConnectionEvents events;
    events.on_established = [this] {
      const auto stream = dialled_ ? dialled_->open_bidi() : Result<StreamId>(fail(Errc::overloaded));
      if (!stream) return;
      Bytes bytes(3000);
      for (std::size_t at = 0; at < bytes.size(); ++at) bytes[at] = pattern(at);
      dialled_->write(*stream, SharedBytes(std::move(bytes)), {.fin = true});
    };
    auto made = client_->connect(*Address::make("127.0.0.1", 1), "", std::move(events), [this](DatagramSink sink) {
      sink_ = std::move(sink);
      return Result<std::shared_ptr<DatagramPath>>(std::make_shared<Path>(to_server_));
    });
    require(made.has_value());
    dialled_ = *made;
  }
  void accept(std::shared_ptr<Connection> connection) {
    ConnectionEvents events;
    events.on_stream_data = [this, weak = std::weak_ptr(connection)](StreamId stream, ByteView bytes, bool /*fin*/) {
      const auto alive = weak.lock();
      if (!alive) return;
      alive->consume(stream, bytes.size());
      if (alive != accepted_) return;  // of an earlier input
      for (const auto byte : bytes) require(byte == pattern(received_++));
    };
    connection->set_events(std::move(events));
    accepted_ = std::move(connection);
  }

  /// Until nobody has anything to do at once.
  void poll() {
    for (int round = 0; round < 32; ++round) {
      context_.restart();
      if (context_.poll() == 0 && !take(near_) && !take(other_)) return;
    }
  }
  /// What the server sent.
  bool take(udp::socket& from) {
    std::array<std::uint8_t, 2048> bytes{};
    udp::endpoint sender;
    boost::system::error_code error;
    const auto count = from.receive_from(boost::asio::buffer(bytes), sender, 0, error);
    if (error) return false;
    to_client_.emplace_back(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
    return true;
  }
  void to_server(const Bytes& datagram, bool elsewhere) {
    const udp::endpoint to(boost::asio::ip::address_v4::loopback(), server_->local_address().port());
    boost::system::error_code ignored;
    (elsewhere ? other_ : near_).send_to(boost::asio::buffer(datagram), to, 0, ignored);
  }
  void to_client(const Bytes& datagram) const {
    if (sink_) sink_(datagram);
  }

  void step(Input& input) {
    const auto what = input.byte();
    if ((what & 128U) != 0) {
      const auto bytes = input.piece();
      const Bytes own(bytes.begin(), bytes.end());
      if ((what & 1U) != 0) return to_client(own);
      return to_server(own, false);
    }
    const bool up = !to_server_.empty();
    auto& queue = up ? to_server_ : to_client_;
    if (queue.empty()) return;
    Bytes datagram = std::move(queue.front());
    queue.pop_front();
    bool elsewhere = false;
    int copies = 1;
    switch (what % 8U) {
      case 1: copies = 0; break;
      case 2: {
        const auto where = input.word() % datagram.size();
        datagram[where] = static_cast<std::uint8_t>(datagram[where] ^ input.byte());
        break;
      }
      case 3: copies = 2; break;
      case 4: datagram.resize(input.word() % (datagram.size() + 1)); break;
      case 5: {
        const auto bytes = input.piece();
        std::copy_n(bytes.begin(), std::min(bytes.size(), datagram.size()), datagram.begin());
        break;
      }
      case 6: elsewhere = true; break;
      default: break;
    }
    for (; copies > 0; --copies) up ? to_server(datagram, elsewhere) : to_client(datagram);
  }

  boost::asio::io_context context_{1};
  udp::socket near_;
  udp::socket other_;
  std::deque<Bytes> to_server_;
  std::deque<Bytes> to_client_;
  DatagramSink sink_;
  std::unique_ptr<Endpoint> server_;
  std::unique_ptr<Endpoint> client_;
  std::shared_ptr<Connection> dialled_;
  std::shared_ptr<Connection> accepted_;
  std::size_t received_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Pair pair;
  Input input(data, size);
  pair.run(input);
  return 0;
}
