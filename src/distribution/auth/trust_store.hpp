// Which key belongs to which node name.
//
// On disk: KEYDIR/trusted/<node name>.pub with the raw 32 bytes, the form of the Erlang library. Names too long for a
// file name are kept as sha256-<SHA-256 of the name>.pub: key, then name. Two things of our own, which Erlang nodes
// ignore: KEYDIR/trusted/<node name>.next with the key that the node may have from now on, and KEYDIR/revoked/*.pub
// with keys that nobody gets in with, whatever is pinned; we name these after their fingerprint.
//
// A next key takes the place of the pinned one when its owner proves it the first time. A revoked key stays pinned
// where it was, so that nobody else takes the name; an operator pins the new one.
//
// A key is pinned in two steps: `reserve` when the authentication succeeded, `PinReservation::commit` when the
// distribution handshake did too (on disk). Several keys may be reserved for a name: the first one that is committed
// has it, and the others are refused when they are. So nobody without the cookie makes pins, or keeps a name or a
// place within the limits from those who have it: a reservation is a note that its connection carries. A name counts
// as pinned when the disk has the pin: whoever comes before that with the same key waits for it too.
//
// Thread safe. Only `open`, `reload`, `save_again`, `commit` and what an operator does touch the disk, and block for it
// (two fsync a pin, at first contact only). Source: protocol document 02, sections 2.2, 7.2 and 15 (A5, A6, A8, A11,
// A17, A18).
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/node_config.hpp>
#include <barrel_p2p/node_name.hpp>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "distribution/auth/ed25519.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

struct PinnedKey {
  NodeName name;
  PublicKey key;
  WallMilliseconds added = 0;            ///< When it was pinned; of a file: when that was written.
  std::optional<WallMilliseconds> seen;  ///< When a peer last proved it to this process.
  bool learned = false;                  ///< By tofu, in this process. Else placed by an operator, or read from disk.
  std::optional<PublicKey> next;         ///< Accepted too, and pinned when it is proven.
  bool revoked = false;
};

class TrustStore;

/// A key that is to be pinned for a name. Keeps nobody else from the name before the commit. Movable; one thread at a
/// time. Keeps the store alive. Of a name that was pinned before, or of a default constructed one, it holds nothing.
class PinReservation {
 public:
  PinReservation() noexcept = default;
  PinReservation(PinReservation&& other) noexcept = default;
  PinReservation& operator=(PinReservation&& other) noexcept = default;
  PinReservation(const PinReservation&) = delete;
  PinReservation& operator=(const PinReservation&) = delete;
  ~PinReservation() = default;

  /// Pins. Errors, with which the channel is to be closed: `key_mismatch` when another key was pinned in the meantime,
  /// since its owner was first to prove the cookie or by an operator; `untrusted_key` when an operator went over to
  /// strict or revoked the key; `limit_exceeded` when others took the last place; `auth_failed` when the disk refuses a
  /// next key, so that the one of before stays pinned. `io_error`: pinned in memory, but not on disk, whatever the disk
  /// said; go on, and tell the operator. Later calls do nothing.
  Result<void> commit();
  void drop() noexcept { store_.reset(); }
  [[nodiscard]] bool holds() const noexcept { return store_ != nullptr; }

 private:
  friend class TrustStore;
  PinReservation(std::shared_ptr<TrustStore> store, NodeName name, const PublicKey& key, MonotonicTime now,
                 WallMilliseconds wall);
  std::shared_ptr<TrustStore> store_;
  std::optional<NodeName> name_;
  PublicKey key_{};
  MonotonicTime now_{};
  WallMilliseconds wall_ = 0;
};

class TrustStore : public std::enable_shared_from_this<TrustStore> {
 public:
  /// What tofu may make. Bounds files and memory against floods of new names.
  struct Limits {
    std::size_t pins_max = 10'000;
    std::size_t pins_per_minute_max = 600;
  };
  /// Receives sentences for the operator's log. Must not call the store.
  using Warn = std::function<void(const std::string&)>;

  /// Reads KEYDIR/trusted, which is made when it is absent, and KEYDIR/revoked. Files in `trusted` that are no pins are
  /// skipped with a warning; the name whose pin cannot be read is nobody's until it can, or the file is gone. A file in
  /// `revoked` that cannot be read is an error: `corrupt`, `permission_denied`, `limit_exceeded`.
  static Result<std::shared_ptr<TrustStore>> open(const std::filesystem::path& key_dir, TrustMode mode, Limits limits,
                                                  Warn warn);
  /// Without a disk, for tests and simulations.
  static std::shared_ptr<TrustStore> in_memory(TrustMode mode, Limits limits);

  [[nodiscard]] TrustMode mode() const;
  /// Counts for every exchange that has not been decided yet.
  void set_mode(TrustMode mode);
  [[nodiscard]] std::optional<PublicKey> find(const NodeName& name) const;
  /// Whether this key would be let in for this name, if it is proven. Errors: `key_mismatch` (another one
  /// is pinned, or one that cannot be read), `untrusted_key` (it is revoked, or none is pinned and the mode is strict).
  [[nodiscard]] Result<void> judge(const NodeName& name, const PublicKey& key) const;
  [[nodiscard]] bool is_revoked(const PublicKey& key) const;
  [[nodiscard]] std::vector<PublicKey> revoked() const;
  /// Another name under which this key is pinned. Looks at every pin.
  [[nodiscard]] std::optional<NodeName> other_name_of(const PublicKey& key, const NodeName& name) const;
  /// In the order of the names.
  [[nodiscard]] std::vector<PinnedKey> list() const;

  /// The decision about a proven key, as far as it can be made before the cookie is proven. Errors: those of `judge`;
  /// `limit_exceeded` (too many pins, or too many in this minute).
  Result<PinReservation> reserve(const NodeName& name, const PublicKey& key, MonotonicTime now, WallMilliseconds wall);

  // By an operator. What these change is on the disk when they return; with an `io_error` nothing has changed.
  /// Replaces any pin and next key, whatever the limits. Errors: `invalid_argument` for a key that cannot be honest.
  Result<void> pin(const NodeName& name, const PublicKey& key);
  /// Accepts this key too, until it is proven, and then only this one. Errors: `not_found` (nothing is pinned for the
  /// name), `invalid_argument`.
  Result<void> pin_next(const NodeName& name, const PublicKey& key);
  /// The next key too. Errors: `not_found`. Channels that are up stay up.
  Result<void> unpin(const NodeName& name);
  /// From now on the key lets nobody in. Channels that are up are for the caller to close. Errors: `invalid_argument`,
  /// `limit_exceeded` (`revoked_max`).
  Result<void> revoke(const PublicKey& key);
  /// Errors: `not_found`.
  Result<void> unrevoke(const PublicKey& key);
  /// Reads the directories again: what an operator placed or removed there counts from now on. With an error what was
  /// revoked stays revoked, whatever else was found to be revoked is too, and pins are as before. A pin
  /// whose file is there and cannot be read stays. What was told of a file is not told again before it is read.
  Result<void> reload();
  /// The disk failed when a pin was read: it may be worth to reload although no file has changed.
  [[nodiscard]] bool has_unread() const;
  /// The disk refused a pin that counts.
  [[nodiscard]] bool has_unsaved() const;
  /// Writes what it refused. Error: `io_error`, with the first that it refuses again.
  Result<void> save_again();
  /// Revocations are never forgotten by themselves; at 100 a day this is a year.
  static constexpr std::size_t revoked_max = 36'500;

 private:
  friend class PinReservation;
  struct Pin {
    PinnedKey pinned;
    bool saved = true;  ///< False: the disk refused it; `reload` keeps it, `save_again` writes it.
  };
  using Pins = std::map<NodeName, Pin>;

  using Revoked = std::set<PublicKey>;

  TrustStore(const std::filesystem::path& key_dir, TrustMode mode, Limits limits, Warn warn);
  /// What a look at the directory of pins found.
  struct Found {
    Pins pins;
    std::map<std::filesystem::path, Error> unreadable;  ///< By file: what is wrong with it.
  };
  /// Error: what is wrong with the file. `not_found`: it is gone.
  static Result<PinnedKey> read_file(const std::filesystem::path& file);
  Result<Found> read_pins() const;
  /// What it has found when it comes to an error is in `found` too.
  Result<void> read_revoked(Revoked& found) const;
  Result<void> save(const NodeName& name, const PublicKey& key, std::string_view extension) const;
  Result<void> remove(const NodeName& name, std::string_view extension) const;
  /// What else was to be done has failed, so the next key that was removed counts on.
  void put_back_next(const NodeName& name);
  [[nodiscard]] std::filesystem::path file_of(const NodeName& name, std::string_view extension) const;
  /// What is wrong with the pin of the name, if that is known.
  [[nodiscard]] const Error* unreadable_of(const NodeName& name) const;
  [[nodiscard]] Result<void> judge_locked(const NodeName& name, const PublicKey& key) const;
  /// Whether one more name may be pinned.
  Result<void> check_limits_locked(MonotonicTime now);
  Result<void> commit(const NodeName& name, const PublicKey& key, MonotonicTime now, WallMilliseconds wall);

  const std::filesystem::path directory_;          ///< Of pins. Empty: in memory.
  const std::filesystem::path revoked_directory_;  ///< Likewise.
  const Limits limits_;
  const Warn warn_;
  std::mutex disk_mutex_;  ///< Orders what is done to the directory. Taken before `mutex_`.
  mutable std::mutex mutex_;
  TrustMode mode_;
  Pins pins_;
  std::map<std::filesystem::path, Error> unreadable_;
  Revoked revoked_;
  MonotonicTime minute_{};
  std::size_t pins_in_minute_ = 0;
  bool has_unsaved_ = false;
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
