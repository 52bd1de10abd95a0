#include "distribution/streams/gate.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

bool TransportGate::post(std::function<void()> work) {
  const std::shared_lock lock(mutex_);
  if (context_ == nullptr) return false;
  boost::asio::post(*context_, std::move(work));
  return true;
}

void TransportGate::close() {
  const std::unique_lock lock(mutex_);
  context_ = nullptr;
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
