#include "replication/store_directory.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "distribution/auth/files.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace replication::store {
namespace {

namespace fs = std::filesystem;

constexpr mode_t private_mode = S_IRUSR | S_IWUSR;

std::unexpected<Error> failure(const std::string& what, const fs::path& file) {
  const int code = errno;
  return fail(code == ENOENT                    ? Errc::not_found
              : code == EACCES || code == EPERM ? Errc::permission_denied
                                                : Errc::io_error,
              what + " " + file.string() + ": " + std::generic_category().message(code));
}

bool has_entry(const fs::path& file) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(file, ignored));
}

Result<void> sync_directory(const fs::path& directory) {
  const fs::path name = directory.empty() ? fs::path(".") : directory;
  const int descriptor = ::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return failure("cannot open", name);
  const int synced = ::fsync(descriptor);
  auto error = synced == 0 ? Result<void>() : Result<void>(failure("cannot make durable", name));
  ::close(descriptor);
  return error;
}

/// Nothing is overwritten.
Result<void> move_aside(const fs::path& from, const fs::path& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return {};
  if (errno != EINVAL) return failure("cannot rename to " + to.string() + " the file", from);
  // A file system without that flag. Unlike rename, link never replaces.
  if (::link(from.c_str(), to.c_str()) != 0 || ::unlink(from.c_str()) != 0) {
    return failure("cannot rename to " + to.string() + " the file", from);
  }
  return {};
}

fs::path with_suffix(const fs::path& file, const char* suffix) { return file.string() + suffix; }

}  // namespace

Result<void> StoreDirectory::make() const {
  fs::path known = directory_;
  while (!known.empty() && !has_entry(known)) known = known.parent_path();
  if (auto made = distribution::make_private_directory(directory_); !made) return made;
  for (fs::path child = directory_; child != known && !child.empty(); child = child.parent_path()) {
    if (auto synced = sync_directory(child.parent_path()); !synced) return synced;
  }
  return {};
}

Result<void> StoreDirectory::make_fresh() const {
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
    std::error_code error;
    fs::remove(with_suffix(fresh(), suffix), error);
  }
  const int descriptor = distribution::make_file(fresh(), O_WRONLY, private_mode);
  if (descriptor < 0) return failure("cannot make", fresh());
  ::close(descriptor);
  return {};
}

Result<void> StoreDirectory::adopt_fresh() const {
  if (auto moved = move_aside(fresh(), database()); !moved) return moved;
  return sync();
}

fs::path StoreDirectory::ready(Reason reason) const {
  switch (reason) {
    case Reason::damaged: return directory_ / "store.db.salvaged";
    case Reason::old: return directory_ / "store.db.migrated";
  }
  return {};
}

Result<fs::path> StoreDirectory::replace(Reason reason) const {
  if (::rename(fresh().c_str(), ready(reason).c_str()) != 0) return failure("cannot rename", fresh());
  if (auto synced = sync(); !synced) return std::unexpected(synced.error());
  return put_in_place(reason);
}

Result<fs::path> StoreDirectory::put_in_place(Reason reason) const {
  const std::string stem = (directory_ / (reason == Reason::damaged ? "store.db.damaged-" : "store.db.old-")).string();
  int number = 1;
  fs::path aside = stem + "1";
  while (has_entry(aside) || has_entry(with_suffix(aside, "-wal"))) aside = stem + std::to_string(++number);
  // After an interruption the database may already be aside, and its log is not.
  if (!has_entry(database()) && number > 1 && !has_entry(stem + std::to_string(number - 1) + "-wal")) {
    aside = stem + std::to_string(number - 1);
  }
  if (has_entry(database())) {
    if (auto moved = move_aside(database(), aside); !moved) return std::unexpected(moved.error());
  }
  if (has_entry(log())) {
    if (auto moved = move_aside(log(), with_suffix(aside, "-wal")); !moved) return std::unexpected(moved.error());
  }
  if (auto synced = sync(); !synced) return std::unexpected(synced.error());
  if (::rename(ready(reason).c_str(), database().c_str()) != 0) return failure("cannot rename", ready(reason));
  if (auto synced = sync(); !synced) return std::unexpected(synced.error());
  return aside;
}

Result<void> StoreDirectory::finish_replacement() const {
  for (const Reason reason : {Reason::damaged, Reason::old}) {
    if (!has_entry(ready(reason))) continue;
    if (auto placed = put_in_place(reason); !placed) return std::unexpected(placed.error());
  }
  return {};
}

Result<void> StoreDirectory::sync() const { return sync_directory(directory_); }

// The lock.

Result<StoreLock> StoreLock::take(const fs::path& directory) {
  const fs::path file = directory / "store.lock";
  StoreLock lock(distribution::open_or_make_file(file, O_RDWR, private_mode));
  if (lock.descriptor_ < 0 && errno == ENOENT)
    return fail(Errc::not_found, "there is no store in " + directory.string());
  if (lock.descriptor_ < 0) return failure("cannot open", file);
  std::array<char, 32> text{};
  if (::flock(lock.descriptor_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return failure("cannot lock", file);
    const auto count = ::pread(lock.descriptor_, text.data(), text.size() - 1, 0);
    std::string holder(text.data(), count > 0 ? static_cast<std::size_t>(count) : 0);
    while (!holder.empty() && holder.back() == '\n') holder.pop_back();
    return fail(Errc::already_registered, directory.string() + " is in use by process " +
                                              (holder.empty() ? "(unknown)" : holder) +
                                              ": one process at a time may use a store");
  }
  const int length = std::snprintf(text.data(), text.size(), "%d\n", static_cast<int>(::getpid()));
  // On a full disk the lock holds all the same, only without a name.
  if (::ftruncate(lock.descriptor_, 0) == 0 && length > 0) {
    [[maybe_unused]] const auto written = ::pwrite(lock.descriptor_, text.data(), static_cast<std::size_t>(length), 0);
  }
  return lock;
}

StoreLock::~StoreLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace replication::store
}  // namespace v0
}  // namespace barrel_p2p
