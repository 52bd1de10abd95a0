#include "distribution/auth/reset_secret.hpp"

#include <algorithm>
#include <string>

#include "base/random.hpp"
#include "distribution/auth/files.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

/// One byte more than the secret, so that a file that is too long is told from one that fits.
constexpr std::size_t secret_read_max = std::tuple_size_v<ResetSecret> + 1;

}  // namespace

Result<ResetSecret> load_or_create_reset_secret(const std::filesystem::path& file) {
  auto content = read_small_file(file, secret_read_max, FileCare::secret);
  if (!content && content.error() == Errc::not_found) {
    if (file.has_parent_path()) {
      if (auto made = make_private_directory(file.parent_path()); !made) return std::unexpected(made.error());
    }
    ResetSecret fresh{};
    fill_random(fresh);
    if (auto made = create_private_file(file, fresh); !made) return std::unexpected(made.error());
    content = read_small_file(file, secret_read_max, FileCare::secret);  // that of another process, if it was faster
  }
  if (!content && content.error() == Errc::limit_exceeded) content = Bytes();
  if (!content) return std::unexpected(content.error());
  ResetSecret secret{};
  if (content->size() != secret.size()) {
    return fail(Errc::corrupt, file.string() + " must have exactly 32 bytes: remove it to have a new one made; peers " +
                                   "then notice the next restart of this node by its silence only");
  }
  std::ranges::copy(*content, secret.begin());
  return secret;
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
