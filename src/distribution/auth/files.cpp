#include "distribution/auth/files.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <string>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>

#include "base/random.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t backup_file_bytes_max = 1024 * 1024;  // of what `back_up` copies: a long chain has some 10 KiB

constexpr std::string_view new_prefix = ".new-";  // of files that have no name yet

std::atomic<FileStep> told_of_steps{nullptr};  // NOLINT: a seam for tests of crashes

void step(std::string_view name) {
  if (const auto told = told_of_steps.load(std::memory_order_relaxed)) told(name);
}

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

fs::path directory_of(const fs::path& file) { return file.parent_path().empty() ? fs::path(".") : file.parent_path(); }

/// Of root, who may be at work for a node of another user: what was made in the directory gets its owner and group.
/// Where the system does not let even root do so it stays as it is made.
void give_to_owner_of(const fs::path& directory, int made) noexcept {
  if (::geteuid() != 0) return;
  struct stat owner{};
  struct stat info{};
  if (::stat(directory.c_str(), &owner) != 0 || owner.st_uid == 0) return;
  if (::fstat(made, &info) != 0 || info.st_uid == owner.st_uid) return;
  std::ignore = ::fchown(made, owner.st_uid, owner.st_gid);
}

/// False: see errno.
bool make_directory(const fs::path& directory) {
  if (::mkdir(directory.c_str(), S_IRWXU) != 0) return false;
  const File made(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (made.ok()) give_to_owner_of(directory_of(directory), made.get());
  return true;
}

/// What is to be said about something that exists.
Result<void> check_private_directory(const fs::path& directory, const struct stat& info) {
  if (!S_ISDIR(info.st_mode)) return fail(Errc::io_error, directory.string() + " is not a directory");
  if ((info.st_mode & S_IWOTH) == 0) return {};
  return fail(Errc::permission_denied,
              "everybody may write to " + directory.string() + ", which holds keys: chmod 700 " + directory.string());
}

}  // namespace

int make_file(const fs::path& file, int flags, mode_t mode) noexcept {
  const int made = ::open(file.c_str(), flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
  if (made >= 0) give_to_owner_of(directory_of(file), made);
  return made;
}

int open_or_make_file(const fs::path& file, int flags, mode_t mode) noexcept {
  const int made = make_file(file, flags, mode);
  return made >= 0 || errno != EEXIST ? made : ::open(file.c_str(), flags | O_NOFOLLOW | O_CLOEXEC);
}

Result<void> make_private_directory(const fs::path& directory) {
  struct stat info{};
  if (::stat(directory.c_str(), &info) == 0) return check_private_directory(directory, info);
  const fs::path parent = directory.parent_path();
  std::error_code error;
  if (!parent.empty() && !fs::exists(parent, error)) {
    if (auto made = make_private_directory(parent); !made) return made;
  }
  if (make_directory(directory)) return {};
  // Another process may have been faster.
  if (errno != EEXIST || ::stat(directory.c_str(), &info) != 0) return io_error("cannot make the directory", directory);
  return check_private_directory(directory, info);
}

namespace {

constexpr mode_t own_only = S_IRUSR | S_IWUSR;
constexpr mode_t for_all_to_read = own_only | S_IRGRP | S_IROTH;

/// Writes a new file beside `file` and returns its name.
Result<fs::path> write_beside(const fs::path& file, ByteView content, mode_t mode) {
  fs::path temporary = file.parent_path() / (std::string(new_prefix) + std::to_string(random_uint64()));
  const File out(make_file(temporary, O_WRONLY, mode));
  if (!out.ok()) return io_error("cannot write", temporary);
  step("made the new file");
  if (!write_all(out.get(), content) || ::fsync(out.get()) != 0) {
    auto error = io_error("cannot write", temporary);
    ::unlink(temporary.c_str());
    return error;
  }
  step("wrote the new file");
  return temporary;
}

}  // namespace

Result<void> sync_directory(const fs::path& directory) {
  const File opened(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!opened.ok() || ::fsync(opened.get()) != 0) return io_error("cannot make durable", directory);
  step("synced the directory");
  return {};
}

namespace {

Result<void> replace_file(const fs::path& file, ByteView content, mode_t mode) {
  const auto temporary = write_beside(file, content, mode);
  if (!temporary) return std::unexpected(temporary.error());
  if (::rename(temporary->c_str(), file.c_str()) != 0) {
    auto error = io_error("cannot replace", file);
    ::unlink(temporary->c_str());
    return error;
  }
  step("renamed the new file");
  return {};
}

}  // namespace

Result<void> write_private_file(const fs::path& file, ByteView content) {
  if (auto written = replace_file(file, content, own_only); !written) return written;
  return sync_directory(directory_of(file));
}

Result<void> write_public_file(const fs::path& file, ByteView content) {
  return replace_file(file, content, for_all_to_read);
}

Result<bool> create_private_file(const fs::path& file, ByteView content) {
  const auto temporary = write_beside(file, content, own_only);
  if (!temporary) return std::unexpected(temporary.error());
  // Unlike rename, link never replaces.
  const int linked = ::link(temporary->c_str(), file.c_str());
  if (linked != 0 && errno != EEXIST) {
    auto error = io_error("cannot make", file);
    ::unlink(temporary->c_str());
    return error;
  }
  step("linked the new file");
  ::unlink(temporary->c_str());
  if (auto synced = sync_directory(directory_of(file)); !synced) return std::unexpected(synced.error());
  return linked == 0;
}

Result<void> rename_durably(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return io_error("cannot replace", to);
  step("renamed");
  return sync_directory(directory_of(to));
}

Result<bool> remove_durably(const fs::path& file) {
  if (::unlink(file.c_str()) != 0) {
    if (errno == ENOENT) return false;
    return io_error("cannot remove", file);
  }
  step("removed");
  if (auto synced = sync_directory(directory_of(file)); !synced) return std::unexpected(synced.error());
  return true;
}

namespace {

/// `20261128T131500Z`, as the backups of Erlang nodes are named.
std::string stamp_of(WallMilliseconds now) {
  const auto seconds = static_cast<std::time_t>(now / 1000);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%Y%m%dT%H%M%SZ", &parts)};
}

Result<fs::path> make_backup_directory(const fs::path& parent, WallMilliseconds now) {
  constexpr int rotations_in_a_second_max = 1000;
  const auto stamp = stamp_of(now);
  for (int number = 1; number <= rotations_in_a_second_max; ++number) {
    fs::path made = parent / (number == 1 ? stamp : stamp + "-" + std::to_string(number));
    if (make_directory(made)) return made;
    if (errno != EEXIST) return io_error("cannot make the directory", made);
  }
  return fail(Errc::io_error, "there are too many backups of this second in " + parent.string());
}

}  // namespace

Result<std::optional<fs::path>> back_up(const fs::path& directory, const std::vector<std::string_view>& names,
                                        WallMilliseconds now) {
  std::vector<std::pair<std::string_view, Bytes>> found;
  for (const auto name : names) {
    auto content = read_small_file(directory / name, backup_file_bytes_max, FileCare::any);
    if (content) found.emplace_back(name, std::move(*content));
    if (!content && content.error() != Errc::not_found) return std::unexpected(content.error());
  }
  if (found.empty()) return std::nullopt;
  const fs::path parent = directory / "backups";
  if (auto made = make_private_directory(parent); !made) return std::unexpected(made.error());
  const auto backup = make_backup_directory(parent, now);
  if (!backup) return std::unexpected(backup.error());
  step("made the backup directory");
  for (const auto& [name, content] : found) {
    if (auto written = write_private_file(*backup / name, content); !written) return std::unexpected(written.error());
  }
  for (const auto& changed : {parent, directory}) {
    if (auto synced = sync_directory(changed); !synced) return std::unexpected(synced.error());
  }
  return *backup;
}

Result<DirectoryLock> DirectoryLock::take(const fs::path& directory) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::seconds held_max{30};  // whoever holds it writes some small files, on a disk that may be slow
  constexpr std::chrono::milliseconds pause{5};
  const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return io_error("cannot open the directory", directory);
  DirectoryLock lock(descriptor);
  for (const auto end = Clock::now() + held_max; ::flock(descriptor, LOCK_EX | LOCK_NB) != 0;) {
    if (errno != EWOULDBLOCK && errno != EINTR) break;  // no locks here
    if (Clock::now() > end) {
      return fail(Errc::timeout,
                  "another process is at work in " + directory.string() + " and does not come to an end");
    }
    std::this_thread::sleep_for(pause);
  }
  return lock;
}

DirectoryLock::DirectoryLock(DirectoryLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

DirectoryLock::~DirectoryLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void remove_leftovers(const DirectoryLock& /*held*/, const fs::path& directory) noexcept {
  std::error_code ignored;
  for (fs::directory_iterator at(directory, ignored), end; !ignored && at != end; at.increment(ignored)) {
    if (at->path().filename().string().starts_with(new_prefix)) ::unlink(at->path().c_str());
  }
}

void remove_old_leftovers(const fs::path& directory) noexcept {
  constexpr std::time_t settled_seconds = 60;
  const std::time_t now = std::time(nullptr);
  std::error_code ignored;
  for (fs::directory_iterator at(directory, ignored), end; !ignored && at != end; at.increment(ignored)) {
    const auto name = at->path().filename().string();
    if (!name.starts_with(new_prefix)) continue;
    const bool number = name.find_first_not_of("0123456789", new_prefix.size()) == std::string::npos;
    struct stat info{};
    if (!number || ::lstat(at->path().c_str(), &info) != 0) continue;
    if (S_ISREG(info.st_mode) && now - info.st_mtim.tv_sec > settled_seconds) ::unlink(at->path().c_str());
  }
}

void on_file_step(FileStep told) noexcept { told_of_steps.store(told, std::memory_order_relaxed); }

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
