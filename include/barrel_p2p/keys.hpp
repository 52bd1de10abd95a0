// Keys of a node and of its peers, as `Node` shows them. docs/keys.md explains what to do with them.
#pragma once

#include <barrel_p2p/node_name.hpp>
#include <barrel_p2p/version.hpp>
#include <chrono>
#include <filesystem>
#include <string>

namespace barrel_p2p {
inline namespace v0 {

/// A key that is pinned for a name.
struct TrustedKey {
  NodeName node;
  std::string key;          ///< Public key, 64 hex digits.
  std::string fingerprint;  ///< SHA-256 of the key, 64 hex digits: what people compare.
  bool learned;             ///< By trust at first use since this start; else placed by an operator or read from disk.
  std::string next;         ///< A key that is accepted too, and takes the place of `key` when it is proven; or empty.
  bool revoked;             ///< `key` is revoked: nobody gets in with it.
};

/// What `Node::rotate_identity` did.
struct RotatedIdentity {
  std::string key;               ///< The new public key, 64 hex digits.
  std::string fingerprint;       ///< Of the new public key.
  std::filesystem::path backup;  ///< The directory with the files of the earlier identity.
};

/// What `Node::rotate_certificate` did.
struct RotatedCertificate {
  std::string fingerprint;  ///< SHA-256 of the certificate that is shown from now on, 64 hex digits.
  std::chrono::system_clock::time_point expires;  ///< Peers do not mind.
  std::filesystem::path backup;  ///< The directory with the earlier pair; empty when nothing was replaced.
};

}  // namespace v0
}  // namespace barrel_p2p
