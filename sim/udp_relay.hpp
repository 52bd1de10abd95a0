// A relay for the datagrams of real nodes, with weather: what a test or `barrel_p2p chaos` puts between a dialler and a
// listener of the loopback interface. It reads nothing of what it carries.
#pragma once

#include <barrel_p2p/version.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <utility>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

/// What happens to datagrams on the way, in both directions.
struct UdpWeather {
  double lost = 0;
  double repeated = 0;
  double held_back = 0;                    ///< Delivered after others that were sent later.
  std::chrono::milliseconds held_for{3};   ///< How long those are kept.
  std::chrono::milliseconds every_for{0};  ///< How long all of them are kept.
  std::size_t largest = 65'535;            ///< Larger ones are dropped without a word.
  bool silent = false;
  bool outwards_silent = false;  ///< Towards the listener.
  bool inwards_silent = false;
};

/// Stands between a dialler and a listener of IPv4 loopback, as a NAT does: the listener sees the relay's address. On
/// the thread of its context, which must be run no more once the relay has gone.
class UdpRelay {
 public:
  using udp = boost::asio::ip::udp;

  /// `listener`: its port; 0: not known yet, and what comes is dropped. Throws boost::system::system_error.
  UdpRelay(boost::asio::io_context& io, std::uint16_t listener, std::uint32_t seed = 4711)
      : context(io), front(io, udp::endpoint(boost::asio::ip::address_v4::loopback(), 0)), dice(seed) {
    aim(listener);
    grow(front);
    listen(front, true);
    move();
  }

  /// Where the dialler sends to.
  [[nodiscard]] std::uint16_t port() const { return front.local_endpoint().port(); }
  /// Where the listener's datagrams come from, as it sees it.
  [[nodiscard]] std::uint16_t outer_port() const { return backs.back()->local_endpoint().port(); }
  /// From now on the listener is there.
  void aim(std::uint16_t listener) { target = udp::endpoint(boost::asio::ip::address_v4::loopback(), listener); }

  /// From now on the listener sees another port. What it sends to the old one is lost.
  void move() {
    if (!backs.empty()) backs.back()->close();
    backs.push_back(std::make_unique<udp::socket>(context, udp::endpoint(boost::asio::ip::address_v4::loopback(), 0)));
    grow(*backs.back());
    listen(*backs.back(), false);
  }

  UdpWeather weather;
  bool keep_inner = false;  ///< Datagrams of a dialler that moved are dropped.
  std::size_t passed = 0;
  std::size_t dropped = 0;
  std::size_t too_large = 0;

 private:
  struct Packet {
    std::vector<std::uint8_t> bytes = std::vector<std::uint8_t>(65'536);
    udp::endpoint from;
  };

  static void grow(udp::socket& socket) {
    constexpr int bytes = 4 * 1024 * 1024;
    boost::system::error_code ignored;
    socket.set_option(boost::asio::socket_base::receive_buffer_size(bytes), ignored);
    socket.non_blocking(true);
  }

  void listen(udp::socket& socket, bool outwards) {
    socket.async_wait(udp::socket::wait_read, [this, &socket, outwards](auto error) {
      if (error) return;
      boost::system::error_code empty;
      for (;;) {
        const auto size = socket.receive_from(boost::asio::buffer(packet.bytes), packet.from, 0, empty);
        if (empty == boost::asio::error::connection_refused) continue;  // nobody is there at the moment
        if (empty) break;
        if (outwards && keep_inner && packet.from != inner) continue;
        if (outwards) inner = packet.from;
        arrived({packet.bytes.begin(), packet.bytes.begin() + static_cast<std::ptrdiff_t>(size)}, outwards);
      }
      listen(socket, outwards);
    });
  }

  bool chance(double part) { return part > 0 && std::uniform_real_distribution<double>(0, 1)(dice) < part; }

  [[nodiscard]] bool is_silent(bool outwards) const {
    return weather.silent || (outwards ? weather.outwards_silent : weather.inwards_silent);
  }

  void arrived(std::vector<std::uint8_t> bytes, bool outwards) {
    if (bytes.size() > weather.largest) ++too_large;
    if (is_silent(outwards) || bytes.size() > weather.largest || chance(weather.lost)) {
      ++dropped;
      return;
    }
    if (chance(weather.repeated)) send(bytes, outwards);
    const auto delay = weather.every_for + (chance(weather.held_back) ? weather.held_for : std::chrono::milliseconds(0));
    if (delay.count() == 0) return send(bytes, outwards);
    auto timer = std::make_shared<boost::asio::steady_timer>(context, delay);
    timer->async_wait([this, timer, outwards, kept = std::move(bytes)](auto error) {
      if (!error) send(kept, outwards);
    });
  }

  void send(const std::vector<std::uint8_t>& bytes, bool outwards) {
    const auto& to = outwards ? target : inner;
    if (to.port() == 0) return;
    boost::system::error_code ignored;
    ++passed;
    (outwards ? *backs.back() : front).send_to(boost::asio::buffer(bytes), to, 0, ignored);
  }

  boost::asio::io_context& context;
  udp::socket front;
  std::vector<std::unique_ptr<udp::socket>> backs;
  udp::endpoint target;
  udp::endpoint inner;
  Packet packet;
  std::mt19937 dice;
};

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
