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

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
