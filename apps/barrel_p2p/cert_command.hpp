// `barrel_p2p cert`: the TLS certificate of a node, on disk. A node that runs takes what has changed within
// `auth_key_watch_ms`, for new connections.
#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>

namespace barrel_p2p::command {

enum class CertOperation : std::uint8_t {
  show,      ///< Fingerprint, subject, dates, who made it; checks that the key belongs to it.
  generate,  ///< Makes one where there is none, as a node does when it starts, and shows it.
  rotate,    ///< Replaces one that a node made, with its key.
};

struct CertCommand {
  CertOperation operation = CertOperation::show;
  std::filesystem::path certificate_dir;
  std::filesystem::path certificate;  ///< With `key`: to be shown, instead of what is in the directory.
  std::filesystem::path key;
  bool json = false;
};

/// Returns exit_ok, exit_failed or exit_usage.
int run_cert_command(const CertCommand& command, std::ostream& output, std::ostream& errors);

}  // namespace barrel_p2p::command
