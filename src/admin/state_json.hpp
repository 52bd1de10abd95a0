// The answers of the endpoint as JSON. docs/operations.md has their forms.
#pragma once

#include <string>

#include "admin/snapshot.hpp"
#include "admin/source.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace admin {

[[nodiscard]] std::string state_json(const Snapshot& snapshot);
[[nodiscard]] std::string map_json(const std::string& name, const MapPage& page);
[[nodiscard]] std::string log_json(const FlightEntry& entry);
/// `field`: `live` or `ready`. Reasons are told to those who may see the rest only.
[[nodiscard]] std::string health_json(const char* field, bool well, const Health& health, bool with_reasons);

}  // namespace admin
}  // namespace v0
}  // namespace barrel_p2p
