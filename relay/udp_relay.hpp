// A relay for the datagrams of real nodes, with weather: what a test or `barrel_p2p chaos` puts between a dialler and a
// listener of the loopback interface. It reads nothing of what it carries.
#pragma once

#include <sys/socket.h>

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
namespace relay {

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
  using Socket = boost::asio::ip::udp::socket;
  using Endpoint = boost::asio::ip::udp::endpoint;

 public:
  /// `listener`: its port; 0: not known yet, and what comes is dropped. Throws boost::system::system_error.
  UdpRelay(boost::asio::io_context& io, std::uint16_t listener, std::uint32_t seed = 4711)
      : context_(io), front_(io, Endpoint(boost::asio::ip::address_v4::loopback(), 0)), dice_(seed) {
    aim(listener);
    grow(front_);
    listen(front_, true);
    move();
  }

  /// Where the dialler sends to.
  [[nodiscard]] std::uint16_t port() const { return front_.local_endpoint().port(); }
  /// Where the listener's datagrams come from, as it sees it.
  [[nodiscard]] std::uint16_t outer_port() const { return backs_.back()->local_endpoint().port(); }
  /// From now on the listener is there.
  void aim(std::uint16_t listener) { target_ = Endpoint(boost::asio::ip::address_v4::loopback(), listener); }

  /// From now on the listener sees another port. What it sends to the old one is lost.
  void move() {
    if (!backs_.empty()) backs_.back()->close();
    move_aside();
  }
  /// The same, but the old port stays open, for `move_back`.
  void move_aside() {
    backs_.push_back(std::make_unique<Socket>(context_, Endpoint(boost::asio::ip::address_v4::loopback(), 0)));
    grow(*backs_.back());
    listen(*backs_.back(), false);
  }
  /// To the port before the last `move_aside`, and back again.
  void move_back() { std::swap(backs_.back(), *(backs_.end() - 2)); }

  UdpWeather weather;
  bool keep_inner = false;  ///< Datagrams of a dialler that moved are dropped.
  std::size_t passed = 0;
  std::size_t dropped = 0;
  std::size_t too_large = 0;

 private:
  struct Packet {
    std::vector<std::uint8_t> bytes = std::vector<std::uint8_t>(65'536);
    Endpoint from;
  };

  static void grow(Socket& socket) {
    constexpr int bytes = 4 * 1024 * 1024;
    // Where the kernel gives less, more is lost: weather.
    ::setsockopt(socket.native_handle(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    socket.non_blocking(true);
  }

  void listen(Socket& socket, bool outwards) {
    socket.async_wait(Socket::wait_read, [this, &socket, outwards](auto error) {
      if (error) return;
      boost::system::error_code empty;
      for (;;) {
        const auto size = socket.receive_from(boost::asio::buffer(packet_.bytes), packet_.from, 0, empty);
        if (empty == boost::asio::error::connection_refused) continue;  // nobody is there at the moment
        if (empty) break;
        if (outwards && keep_inner && packet_.from != inner_) continue;
        if (outwards) inner_ = packet_.from;
        arrived({packet_.bytes.begin(), packet_.bytes.begin() + static_cast<std::ptrdiff_t>(size)}, outwards);
      }
      listen(socket, outwards);
    });
  }

  bool chance(double part) { return part > 0 && std::uniform_real_distribution<double>(0, 1)(dice_) < part; }

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
    const auto delay =
        weather.every_for + (chance(weather.held_back) ? weather.held_for : std::chrono::milliseconds(0));
    if (delay.count() == 0) return send(bytes, outwards);
    auto timer = std::make_shared<boost::asio::steady_timer>(context_, delay);
    timer->async_wait([this, timer, outwards, kept = std::move(bytes)](auto error) {
      if (!error) send(kept, outwards);
    });
  }

  void send(const std::vector<std::uint8_t>& bytes, bool outwards) {
    const auto& to = outwards ? target_ : inner_;
    if (to.port() == 0) return;
    boost::system::error_code ignored;
    ++passed;
    (outwards ? *backs_.back() : front_).send_to(boost::asio::buffer(bytes), to, 0, ignored);
  }

  boost::asio::io_context& context_;
  Socket front_;
  std::vector<std::unique_ptr<Socket>> backs_;
  Endpoint target_;
  Endpoint inner_;
  Packet packet_;
  std::mt19937 dice_;
};

}  // namespace relay
}  // namespace v0
}  // namespace barrel_p2p
