// What a configuration must satisfy to work at all.
#pragma once

#include <barrel_p2p/node_config.hpp>

#include "distribution/detector.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

/// Error: `invalid_config`, with the key, what is wrong with it and what to write instead.
Result<void> validate(const NodeConfig& config);

/// What the detector of the network is made with.
distribution::DetectorConfig detector_config(const FailureDetectorConfig& config);

/// From `token_file` or `token`; empty when there is none. Errors: `invalid_config` (too short), and those of the file.
Result<std::string> admin_token(const AdminConfig& config);

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
