#include "distribution/auth/files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/random.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

namespace fs = std::filesystem;

class File {
 public:
  explicit File(int descriptor) noexcept : descriptor_(descriptor) {}
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] int get() const noexcept { return descriptor_; }
  [[nodiscard]] bool ok() const noexcept { return descriptor_ >= 0; }

 private:
  int descriptor_;
};

std::unexpected<Error> io_error(const std::string& what, const fs::path& file) {
  const int code = errno;
  return fail(code == ENOENT   ? Errc::not_found
              : code == EACCES ? Errc::permission_denied
                               : Errc::io_error,
              what + " " + file.string() + ": " + std::generic_category().message(code));
}

bool write_all(int descriptor, ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace

namespace {

/// What is to be said about something that exists.
Result<void> check_private_directory(const fs::path& directory, const struct stat& info) {
  if (!S_ISDIR(info.st_mode)) return fail(Errc::io_error, directory.string() + " is not a directory");
  if ((info.st_mode & S_IWOTH) == 0) return {};
  return fail(Errc::permission_denied,
              "everybody may write to " + directory.string() + ", which holds keys: chmod 700 " + directory.string());
}

}  // namespace

Result<void> make_private_directory(const fs::path& directory) {
  struct stat info{};
  if (::stat(directory.c_str(), &info) == 0) return check_private_directory(directory, info);
  const fs::path parent = directory.parent_path();
  std::error_code error;
  if (!parent.empty() && !fs::exists(parent, error)) {
    if (auto made = make_private_directory(parent); !made) return made;
  }
  if (::mkdir(directory.c_str(), S_IRWXU) == 0) return {};
  // Another process may have been faster.
  if (errno != EEXIST || ::stat(directory.c_str(), &info) != 0) return io_error("cannot make the directory", directory);
  return check_private_directory(directory, info);
}

namespace {

/// Writes a new file beside `file` and returns its name.
Result<fs::path> write_beside(const fs::path& file, ByteView content) {
  fs::path temporary = file.parent_path() / (".new-" + std::to_string(random_uint64()));
  const File out(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR));
  if (!out.ok()) return io_error("cannot write", temporary);
  if (!write_all(out.get(), content) || ::fsync(out.get()) != 0) {
    auto error = io_error("cannot write", temporary);
    ::unlink(temporary.c_str());
    return error;
  }
  return temporary;
}

Result<void> sync_directory_of(const fs::path& file) {
  const fs::path directory = file.parent_path().empty() ? fs::path(".") : file.parent_path();
  const File parent(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!parent.ok() || ::fsync(parent.get()) != 0) return io_error("cannot make durable", directory);
  return {};
}

}  // namespace

Result<void> write_private_file(const fs::path& file, ByteView content) {
  const auto temporary = write_beside(file, content);
  if (!temporary) return std::unexpected(temporary.error());
  if (::rename(temporary->c_str(), file.c_str()) != 0) {
    auto error = io_error("cannot replace", file);
    ::unlink(temporary->c_str());
    return error;
  }
  return sync_directory_of(file);
}

Result<bool> create_private_file(const fs::path& file, ByteView content) {
  const auto temporary = write_beside(file, content);
  if (!temporary) return std::unexpected(temporary.error());
  // Unlike rename, link never replaces.
  const int linked = ::link(temporary->c_str(), file.c_str());
  if (linked != 0 && errno != EEXIST) {
    auto error = io_error("cannot make", file);
    ::unlink(temporary->c_str());
    return error;
  }
  ::unlink(temporary->c_str());
  if (auto synced = sync_directory_of(file); !synced) return std::unexpected(synced.error());
  return linked == 0;
}

Result<Bytes> read_small_file(const fs::path& file, std::size_t bytes_max, FileCare care) {
  const File in(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // a FIFO must not hold us up
  if (!in.ok()) return io_error("cannot read", file);
  struct stat info{};
  if (::fstat(in.get(), &info) != 0) return io_error("cannot read", file);
  if (!S_ISREG(info.st_mode)) return fail(Errc::io_error, file.string() + " is not a file");
  if (care == FileCare::secret && (info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return fail(Errc::permission_denied,
                file.string() + " holds a secret and others may read it: chmod 600 " + file.string());
  }
  if (care == FileCare::trusted && (info.st_mode & S_IWOTH) != 0) {
    return fail(Errc::permission_denied, "everybody may write " + file.string() + ": chmod 600 " + file.string());
  }
  if (static_cast<std::size_t>(info.st_size) > bytes_max)
    return fail(Errc::limit_exceeded, file.string() + " is too large");
  Bytes content(static_cast<std::size_t>(info.st_size));
  std::size_t at = 0;
  while (at < content.size()) {
    const ssize_t got = ::read(in.get(), content.data() + at, content.size() - at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_error("cannot read", file);
    if (got == 0) break;
    at += static_cast<std::size_t>(got);
  }
  content.resize(at);
  return content;
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
