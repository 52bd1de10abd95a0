// What a configuration must satisfy to work at all.
#pragma once

#include <barrel_p2p/node_config.hpp>
#include <filesystem>

#include "distribution/auth/certificate.hpp"
#include "distribution/detector.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

/// Error: `invalid_config`, with the key, what is wrong with it and what to write instead.
Result<void> validate(const NodeConfig& config);

/// Whether the files and directories that have to be there before a node starts are there, and can be used: `cert_file`
/// and `key_file`, `admin.token_file`, `receive.dir`. Makes nothing. Blocks for the disk. Errors name the key:
/// `invalid_config`, and those of the files.
Result<void> check_files(const NodeConfig& config);

/// Error: `invalid_config`: `receive.dir` and what the node keeps for itself are not apart.
Result<void> check_received_apart(const NodeConfig& config);

/// The pair of `cert_file` and `key_file`. Errors: those of `distribution::load_certificate`, with the key.
Result<distribution::Certificate> given_certificate(const std::filesystem::path& certificate_file,
                                                    const std::filesystem::path& key_file);

/// What the detector of the network is made with.
distribution::DetectorConfig detector_config(const FailureDetectorConfig& config);

/// From `token_file` or `token`; empty when there is none. Errors: `invalid_config` (too short), and those of the file.
Result<std::string> admin_token(const AdminConfig& config);

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
