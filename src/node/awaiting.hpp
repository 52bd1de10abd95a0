// What the blocking functions of the public API have in common.
#pragma once

#include <barrel_p2p/error.hpp>
#include <functional>
#include <memory>
#include <utility>

#include "node/answer.hpp"
#include "node/services_runner.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

inline std::unexpected<Error> no_member() {
  return fail(Errc::invalid_config, "a hidden node is no member of the cluster: start it with hidden = false");
}

/// Answers on the network thread, as the caller may hold what the callback wants; when that thread is gone, here.
template <class T, class Parts>
void refuse(const Parts& parts, std::function<void(Result<T>)> done, const std::unexpected<Error>& why) {
  const auto answer = std::make_shared<Answer<T>>(std::move(done));
  const auto give = [answer, why] { answer->give(why); };
  if (!parts.network->streams()->gate.post(give)) give();
}

/// Starts a call of the cluster thread and waits for its answer. `Parts` are those of a node, which are its own.
template <class T, class Parts, class Start>
Result<T> await(const Parts& parts, const Start& start) {
  if (!parts.services) return no_member();
  if (const auto allowed = parts.may_wait(); !allowed) return std::unexpected(allowed.error());
  const ServicesRunner::DoneHere here;
  return wait_for<T>(start);
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
