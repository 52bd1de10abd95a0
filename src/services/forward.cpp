#include "services/forward.hpp"

#include <utility>
#include <variant>

namespace barrel_p2p {
inline namespace v0 {
namespace services {

void forward(replication::ReplicaEffects& effects, const Atom& name, Effects& out) {
  for (auto& effect : effects) {
    if (auto* send = std::get_if<replication::ReplicaSend>(&effect)) {
      out.emplace_back(Send{std::move(send->to), name, std::move(send->message)});
    } else {
      out.emplace_back(Broadcast{name, std::move(std::get<replication::ReplicaBroadcast>(effect).payload)});
    }
  }
  effects.clear();
}

std::string too_large_warning(const std::string& what, std::size_t bytes_max) {
  return "the " + what + " takes more than the " + std::to_string(bytes_max) +
         " bytes that one message may have (limits.message_bytes_max): it is not sent to nodes that take it only as a "
         "whole, as Erlang nodes do";
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
