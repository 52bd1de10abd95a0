// What the blocking functions of the public API have in common.
#pragma once

#include <barrel_p2p/error.hpp>

#include "node/answer.hpp"
#include "node/services_runner.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

inline std::unexpected<Error> no_member() {
  return fail(Errc::invalid_config, "a hidden node is no member of the cluster: start it with hidden = false");
}

/// Starts a call and waits for its answer. `services` is nullptr on a hidden node.
template <class T, class Start>
Result<T> await(ServicesRunner* services, const Start& start) {
  if (services == nullptr) return no_member();
  if (services->is_current()) {
    return fail(Errc::invalid_argument,
                "a callback of the cluster thread would wait for itself: use the function that takes a callback");
  }
  const ServicesRunner::DoneHere here;
  return wait_for<T>(start);
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
