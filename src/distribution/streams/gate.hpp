// The way from any thread to the transport thread, for what may outlive the network.
#pragma once

#include <barrel_p2p/version.hpp>
#include <functional>
#include <mutex>
#include <shared_mutex>

namespace boost::asio {
class io_context;
}

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

/// Thread safe.
class TransportGate {
 public:
  explicit TransportGate(boost::asio::io_context& context) noexcept : context_(&context) {}
  /// Runs the work on the transport thread, later. False: the network has stopped, and it does not run. Work that was
  /// taken may still be dropped, unrun, when the network stops.
  bool post(std::function<void()> work);
  void close();

 private:
  std::shared_mutex mutex_;
  boost::asio::io_context* context_;
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
