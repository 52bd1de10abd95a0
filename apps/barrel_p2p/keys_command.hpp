// `barrel_p2p keys`: the identity of a node and the keys that it trusts, on disk. A node that runs learns of changes
// when it starts the next time.
#pragma once

#include <barrel_p2p/error.hpp>
#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <string>

namespace barrel_p2p::command {

enum class KeysOperation : std::uint8_t {
  show,         ///< Our own public key and fingerprint; makes an identity where there is none.
  list,         ///< Pinned keys, one a line: name, fingerprint, key.
  pin,          ///< Pins `key` for `node`.
  unpin,        ///< Forgets the key of `node`.
  fingerprint,  ///< Of our own key, or of `key`.
};

struct KeysCommand {
  KeysOperation operation = KeysOperation::show;
  std::filesystem::path key_dir;
  std::string node;
  std::string key;  ///< 64 hex digits, or a file with the raw 32 bytes.
};

/// Returns exit_ok, exit_failed or exit_usage.
int run_keys_command(const KeysCommand& command, std::ostream& output, std::ostream& errors);

}  // namespace barrel_p2p::command
