#include "distribution/auth/identity.hpp"

#include <algorithm>
#include <string>

#include "distribution/auth/files.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

namespace fs = std::filesystem;

/// One byte more than a key, so that a file that is too long is told from one that fits.
constexpr std::size_t read_bytes_max = std::tuple_size_v<Seed> + 1;
static_assert(std::tuple_size_v<Seed> == std::tuple_size_v<PublicKey>);

Result<PrivateKey> load_key(const fs::path& file) {
  auto content = read_small_file(file, read_bytes_max, FileCare::secret);
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

}  // namespace

Result<PrivateKey> load_identity(const fs::path& key_dir) {
  const fs::path public_file = key_dir / "node.pub";
  auto key = load_key(key_dir / "node.key");
  if (!key && key.error() != Errc::not_found) return key;
  const auto stored = read_small_file(public_file, read_bytes_max, FileCare::any);
  if (!stored && stored.error() != Errc::not_found && stored.error() != Errc::limit_exceeded)
    return std::unexpected(stored.error());
  const bool absent = !stored && stored.error() == Errc::not_found;
  if (!key) {
    if (absent) return fail(Errc::not_found, "there is no identity in " + key_dir.string());
    return fail(Errc::corrupt,
                public_file.string() +
                    " exists without node.key: restore node.key from a backup, or remove node.pub to begin " +
                    "as a new node, which peers must then be told of");
  }
  if (absent) {
    if (auto written = write_private_file(public_file, key->public_key()); !written)
      return std::unexpected(written.error());
  } else if (!stored || !std::ranges::equal(*stored, key->public_key())) {
    return fail(Errc::corrupt, "node.key and node.pub in " + key_dir.string() +
                                   " do not belong together (keypair_mismatch): restore both " +
                                   "from one backup, or remove node.pub if node.key is the right one");
  }
  return key;
}

Result<PrivateKey> load_or_create_identity(const fs::path& key_dir) {
  if (auto made = make_private_directory(key_dir); !made) return std::unexpected(made.error());
  auto loaded = load_identity(key_dir);
  if (loaded || loaded.error() != Errc::not_found) return loaded;
  // A crash after this file leaves an identity whose node.pub is written at the next start.
  if (auto made = create_private_file(key_dir / "node.key", PrivateKey::generate().seed()); !made)
    return std::unexpected(made.error());
  return load_identity(key_dir);
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
