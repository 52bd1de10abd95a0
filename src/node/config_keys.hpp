// The keys that a configuration file may have.
#pragma once

#include <barrel_p2p/version.hpp>
#include <string>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {
namespace node {

/// `name`, or `table.name`.
std::vector<std::string> config_keys();

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
