// What a replica driver wants, as effects of this room.
#pragma once

#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <string>

#include "replication/replica.hpp"
#include "services/effects.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

/// Moves all of them; `name` is that of the instance.
void forward(replication::ReplicaEffects& effects, const Atom& name, Effects& out);

/// `ReplicaCounters::snapshots_too_large` is not 0.
[[nodiscard]] std::string too_large_warning(const std::string& what, std::size_t bytes_max);

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
