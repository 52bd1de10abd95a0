// `barrel_p2p keys`: the identity of a node and the keys that it trusts, on disk. A node that runs takes what has
// changed within `auth_key_watch_ms`.
#pragma once

#include <barrel_p2p/error.hpp>
#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <string>

namespace barrel_p2p::command {

enum class KeysOperation : std::uint8_t {
  show,         ///< Our own public key and fingerprint.
  make,         ///< Makes an identity where there is none, and shows it.
  list,         ///< Pinned keys, one a line: name, fingerprint, key, and `next KEY` or `revoked` where it is so.
  pin,          ///< Pins `key` for `node`; with `next`, as the one that may take the place of the pinned one.
  unpin,        ///< Forgets the keys of `node`.
  fingerprint,  ///< Of our own key, or of `key`.
  prepare,      ///< Makes the key of the next rotation, and shows it.
  rotate,       ///< Replaces our own key.
  revoke,       ///< `key`, which may also be the name of a node with a pinned key, or a fingerprint of one.
  unrevoke,     ///< The same.
  revoked,      ///< Revoked keys, one a line: fingerprint, key.
};

struct KeysCommand {
  KeysOperation operation = KeysOperation::show;
  std::filesystem::path key_dir;
  std::filesystem::path
      data_dir;  ///< In which `pin` may make `key_dir`, for a node before its first start; empty: none.
  std::string node;
  std::string key;  ///< 64 hex digits, or a file with the raw 32 bytes.
  bool next = false;
  bool json = false;
};

/// Returns exit_ok, exit_failed or exit_usage.
int run_keys_command(const KeysCommand& command, std::ostream& output, std::ostream& errors);

}  // namespace barrel_p2p::command
