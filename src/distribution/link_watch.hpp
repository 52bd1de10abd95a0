// Tells that the addresses, links or routes of this machine have changed. Source: rtnetlink(7).
//
// A change comes as many messages, and is told once. Transport thread only.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>

#include "base/clock.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

class LinkWatch {
 public:
  /// `changed` is called from the context as long as the watch lives.
  LinkWatch(boost::asio::io_context& context, std::function<void()> changed);
  ~LinkWatch();
  LinkWatch(const LinkWatch&) = delete;
  LinkWatch& operator=(const LinkWatch&) = delete;

  /// False where the kernel, or a sandbox, gives no such socket: then nothing is ever told.
  [[nodiscard]] bool works() const noexcept { return works_; }

 private:
  void wait();
  void tell_soon();
  /// Reads what there is. Only that it came counts.
  bool drain();

  /// Routes come after addresses: a question in between would find no way.
  static constexpr Milliseconds pause{20};
  /// Machines with many containers have changes all the time.
  static constexpr Milliseconds period_min{500};

  boost::asio::posix::stream_descriptor socket_;
  boost::asio::steady_timer timer_;
  std::function<void()> changed_;
  bool works_ = false;
  bool pending_ = false;  ///< The timer runs.
  MonotonicTime told_{};
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
