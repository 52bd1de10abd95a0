#include "distribution/auth/identity.hpp"

#include <algorithm>
#include <string>
#include <system_error>
#include <tuple>

#include "distribution/auth/files.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

namespace fs = std::filesystem;

/// One byte more than a key, so that a file that is too long is told from one that fits.
constexpr std::size_t seed_read_max = std::tuple_size_v<Seed> + 1;
static_assert(std::tuple_size_v<Seed> == std::tuple_size_v<PublicKey>);

Result<PrivateKey> load_key(const fs::path& file) {
  auto content = read_small_file(file, seed_read_max, FileCare::secret);
  if (!content && content.error() == Errc::limit_exceeded) content = Bytes();
  if (!content) return std::unexpected(content.error());
  Seed seed{};
  if (content->size() != seed.size()) {
    return fail(Errc::corrupt, file.string() + " must have exactly 32 bytes: restore it from a backup");
  }
  std::ranges::copy(*content, seed.begin());
  PrivateKey key(seed);
  wipe(seed);
  wipe(*content);
  return key;
}

/// What a look at the files may have found in the middle of a rotation, and `may_repair` with the lock held has not.
struct Look {
  Result<PrivateKey> key;
  bool unclear = false;  ///< node.pub is missing, or is of another key.
};

Look look_at(const fs::path& key_dir, bool may_repair) {
  const fs::path public_file = key_dir / "node.pub";
  auto key = load_key(key_dir / "node.key");
  if (!key && key.error() != Errc::not_found) return {std::unexpected(key.error())};
  const auto stored = read_small_file(public_file, seed_read_max, FileCare::any);
  if (!stored && stored.error() != Errc::not_found && stored.error() != Errc::limit_exceeded)
    return {std::unexpected(stored.error())};
  const bool absent = !stored && stored.error() == Errc::not_found;
  if (!key) {
    if (absent) return {fail(Errc::not_found, "there is no identity in " + key_dir.string())};
    return {fail(Errc::corrupt,
                 public_file.string() +
                     " exists without node.key: restore node.key from a backup, or remove node.pub to begin " +
                     "as a new node, which peers must then be told of")};
  }
  if (!absent && stored && std::ranges::equal(*stored, key->public_key())) return {std::move(key)};
  if (absent && may_repair) {
    if (auto written = write_private_file(public_file, key->public_key()); !written)
      return {std::unexpected(written.error())};
    return {std::move(key)};
  }
  return {fail(Errc::corrupt, "node.key and node.pub in " + key_dir.string() +
                                  " do not belong together (keypair_mismatch): restore both " +
                                  "from one backup, or remove node.pub if node.key is the right one"),
          true};
}

/// Of who holds the lock.
Result<PrivateKey> prepare_locked(const fs::path& key_dir) {
  const fs::path file = key_dir / "next.key";
  auto next = load_key(file);
  if (next || next.error() != Errc::not_found) return next;
  PrivateKey made = PrivateKey::generate();
  if (auto written = write_private_file(file, made.seed()); !written) return std::unexpected(written.error());
  return made;
}

}  // namespace

Result<PrivateKey> load_identity(const fs::path& key_dir) {
  auto seen = look_at(key_dir, false);
  if (!seen.unclear) return std::move(seen.key);
  // Somebody may be rotating it just now.
  const auto lock = DirectoryLock::take(key_dir);
  if (!lock) return std::unexpected(lock.error());
  return look_at(key_dir, true).key;
}

Result<PrivateKey> load_or_create_identity(const fs::path& key_dir) {
  if (auto made = make_private_directory(key_dir); !made) return std::unexpected(made.error());
  auto loaded = load_identity(key_dir);
  if (loaded || loaded.error() != Errc::not_found) return loaded;
  const auto lock = DirectoryLock::take(key_dir);
  if (!lock) return std::unexpected(lock.error());
  remove_leftovers(*lock, key_dir);
  // A crash after this file leaves an identity whose node.pub is written at the next start.
  if (auto made = create_private_file(key_dir / "node.key", PrivateKey::generate().seed()); !made)
    return std::unexpected(made.error());
  return look_at(key_dir, true).key;
}

Result<PrivateKey> prepare_identity(const fs::path& key_dir) {
  const auto lock = DirectoryLock::take(key_dir);
  if (!lock) return std::unexpected(lock.error());
  remove_leftovers(*lock, key_dir);
  if (auto present = look_at(key_dir, true).key; !present) return present;
  return prepare_locked(key_dir);
}

Result<IdentityRotation> rotate_identity(const fs::path& key_dir, WallMilliseconds now) {
  const auto lock = DirectoryLock::take(key_dir);
  if (!lock) return std::unexpected(lock.error());
  remove_leftovers(*lock, key_dir);
  if (const auto present = look_at(key_dir, true).key; !present) return std::unexpected(present.error());
  auto backup = back_up(key_dir, {"node.key", "node.pub"}, now);
  if (!backup) return std::unexpected(backup.error());
  auto next = prepare_locked(key_dir);
  if (!next) return std::unexpected(next.error());
  if (const auto removed = remove_durably(key_dir / "node.pub"); !removed) return std::unexpected(removed.error());
  std::error_code error;
  const auto renamed = rename_durably(key_dir / "next.key", key_dir / "node.key");
  if (!renamed && (fs::exists(key_dir / "next.key", error) || error)) return std::unexpected(renamed.error());
  // It is the new one, whatever the disk says from here on: a missing node.pub is written again, and a crash that takes
  // the renaming back leaves the earlier key with the new one prepared.
  std::ignore = write_private_file(key_dir / "node.pub", next->public_key());
  return IdentityRotation{std::move(*next), std::move(*backup)};
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
