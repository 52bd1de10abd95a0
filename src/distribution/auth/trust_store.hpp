// Which key belongs to which node name.
//
// On disk: KEYDIR/trusted/<node name>.pub with the raw 32 bytes, the form of the Erlang library; names too long for a file name are
// kept under their SHA-256 with the name inside. A key is pinned in two steps: `reserve` when the authentication succeeded (in
// memory, the first one wins), `commit` when the distribution handshake did too (on disk). So nobody without the cookie makes pins.
//
// Thread safe. Only `open`, `reload`, `commit`, `pin` and `unpin` touch the disk. Source: protocol document 02, sections 2.2, 7.2 and 15.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/node_config.hpp>
#include <barrel_p2p/node_name.hpp>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/clock.hpp"
#include "distribution/auth/ed25519.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

struct PinnedKey {
  NodeName name;
  PublicKey key;
  WallMilliseconds added = 0;  ///< When it was pinned, or read from disk.
  WallMilliseconds seen = 0;   ///< When it was last proven, or read from disk.
  bool permanent = false;      ///< Placed by an operator, or read from disk.
};

class TrustStore {
 public:
  struct Limits {
    std::size_t pins_max = 10'000;
    std::size_t pins_per_minute_max = 600;
  };
  using Warn = std::function<void(const std::string&)>;

  /// Reads KEYDIR/trusted, which is made when it is absent. Files that are no pins are skipped with a warning.
  static Result<std::shared_ptr<TrustStore>> open(const std::filesystem::path& key_dir, TrustMode mode, Limits limits, Warn warn);
  /// Without a disk, for tests and simulations.
  static std::shared_ptr<TrustStore> in_memory(TrustMode mode, Limits limits);

  [[nodiscard]] TrustMode mode() const;
  void set_mode(TrustMode mode);
  [[nodiscard]] std::optional<PublicKey> find(const NodeName& name) const;
  /// Another name under which this key is pinned.
  [[nodiscard]] std::optional<NodeName> other_name_of(const PublicKey& key, const NodeName& name) const;
  [[nodiscard]] std::vector<PinnedKey> list() const;

  /// Claims a name for a key until `commit` or `release`. Errors: `key_mismatch` (pinned or claimed with another key), `untrusted_key`
  /// (strict and not pinned), `limit_exceeded` (too many pins, or too many in this minute).
  Result<void> reserve(const NodeName& name, const PublicKey& key, MonotonicTime now);
  Result<void> commit(const NodeName& name, const PublicKey& key);
  void release(const NodeName& name, const PublicKey& key);

  /// By an operator: replaces any pin. Errors: `invalid_argument` for a key that cannot be honest, `io_error`.
  Result<void> pin(const NodeName& name, const PublicKey& key);
  /// Errors: `not_found`, `io_error`.
  Result<void> unpin(const NodeName& name);
  /// Reads the directory again.
  Result<void> reload();

 private:
  struct Claim {
    PublicKey key;
    std::size_t holders = 0;
  };
  TrustStore(std::filesystem::path directory, TrustMode mode, Limits limits, Warn warn);
  void read_file(const std::filesystem::path& file);
  Result<void> save(const NodeName& name, const PublicKey& key) const;
  [[nodiscard]] std::filesystem::path file_of(const NodeName& name) const;

  const std::filesystem::path directory_;  ///< Empty: in memory.
  const Limits limits_;
  const Warn warn_;
  mutable std::mutex mutex_;
  TrustMode mode_;
  std::map<NodeName, PinnedKey> pins_;
  std::map<NodeName, Claim> claims_;
  MonotonicTime minute_{};
  std::size_t pins_in_minute_ = 0;
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
