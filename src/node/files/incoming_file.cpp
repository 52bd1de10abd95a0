#include "node/files/incoming_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>
#include <vector>

#include "node/files/path_rules.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace files {
namespace {

/// Of a file, before the disk is waited for: what is on its way never takes long, and no more than two of these are.
constexpr std::uint64_t sync_step_bytes = 16UL * 1024 * 1024;
constexpr std::size_t read_bytes = 256UL * 1024;
/// Bytes that are hashed between two words that we are busy: a fifth of a second or so of a slow disk.
constexpr std::uint64_t working_step_bytes = 32UL * 1024 * 1024;

std::unexpected<Refusal> refuse(RefusalCode code, std::string text) {
  return std::unexpected(Refusal{code, std::move(text)});
}

std::unexpected<Refusal> failed(const std::string& what, int error) {
  const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  return refuse(full ? RefusalCode::no_room : RefusalCode::io, what + ": " + std::generic_category().message(error));
}

struct Entry {
  bool exists = false;
  struct stat status{};
  [[nodiscard]] bool is_directory() const { return exists && S_ISDIR(status.st_mode); }
  [[nodiscard]] bool is_file() const { return exists && S_ISREG(status.st_mode); }
};

Taken<Entry> look(const Descriptor& directory, const std::string& name) {
  Entry entry;
  if (::fstatat(directory.get(), name.c_str(), &entry.status, AT_SYMLINK_NOFOLLOW) == 0) {
    entry.exists = true;
    return entry;
  }
  if (errno == ENOENT) return entry;
  return failed(name, errno);
}

Taken<Descriptor> enter(const Descriptor& directory, const std::string& name) {
  Descriptor inner(::openat(directory.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (inner.is_open()) return inner;
  switch (errno) {
    case ENOENT: return refuse(RefusalCode::path, "there is no directory " + name);
    case ENOTDIR: return refuse(RefusalCode::path, name + " is no directory, or a symbolic link");
    case ELOOP: return refuse(RefusalCode::path, name + " is a symbolic link, which is not followed");
    default: return failed(name, errno);
  }
}

/// Whether a file may take the place of what is there.
Taken<void> check_replace(const Entry& entry, const Offer& offer, const std::string& path) {
  if (!entry.exists) return {};
  if (!entry.is_file()) return refuse(RefusalCode::path, path + " is there and is no file");
  if (offer.has(flag_no_clobber)) return refuse(RefusalCode::exists, path + " is there already");
  if ((entry.status.st_mode & S_IWUSR) == 0 && !offer.has(flag_force)) {
    return refuse(RefusalCode::exists, path + " is there and is write-protected; --force replaces it");
  }
  return {};
}

std::string joined(const std::vector<std::string>& names) {
  std::string path;
  for (const auto& name : names) path += (path.empty() ? "" : "/") + name;
  return path;
}

}  // namespace

Result<ReceiveDirectory> ReceiveDirectory::open(const std::filesystem::path& path) {
  Descriptor root(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.is_open()) {
    return fail(Errc::invalid_config,
                "receive.dir: cannot open " + path.string() + ": " + std::generic_category().message(errno));
  }
  if (::faccessat(root.get(), ".", W_OK | X_OK, AT_EACCESS) != 0) {
    return fail(Errc::invalid_config,
                "receive.dir: cannot write to " + path.string() + ": " + std::generic_category().message(errno));
  }
  return ReceiveDirectory(std::move(root));
}

Taken<Descriptor> ReceiveDirectory::walk(std::span<const std::string> names) const {
  Descriptor directory(::openat(root_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.is_open()) return failed("the directory of received files", errno);
  for (const auto& name : names) {
    auto inner = enter(directory, name);
    if (!inner) return inner;
    directory = std::move(*inner);
  }
  return directory;
}

Taken<Target> ReceiveDirectory::resolve(const Offer& offer) const {
  auto names = components_of(offer.path);
  if (!names) return refuse(RefusalCode::path, names.error().context());
  if (auto checked = check_name(offer.name); !checked) return refuse(RefusalCode::path, checked.error().context());
  Target target;
  bool into = names->empty() || offer.has(flag_into);
  if (!into) {
    auto parent = walk(std::span(*names).first(names->size() - 1));
    if (!parent) return std::unexpected(parent.error());
    const auto entry = look(*parent, names->back());
    if (!entry) return std::unexpected(entry.error());
    into = entry->is_directory() && !offer.has(flag_exact);
    if (!into) {
      target.directory = std::move(*parent);
      target.name = names->back();
    }
  }
  if (into) {
    auto directory = walk(*names);
    if (!directory) return std::unexpected(directory.error());
    target.directory = std::move(*directory);
    target.name = offer.name;
    names->push_back(offer.name);
  }
  target.path = joined(*names);
  const auto entry = look(target.directory, target.name);
  if (!entry) return std::unexpected(entry.error());
  if (offer.kind == Kind::directory) {
    if (entry->exists && !entry->is_directory()) {
      return refuse(RefusalCode::path, target.path + " is there and is no directory");
    }
  } else if (auto checked = check_replace(*entry, offer, target.path); !checked) {
    return std::unexpected(checked.error());
  }
  return target;
}

Taken<void> ReceiveDirectory::make_directory(const Target& target, const Offer& offer) {
  // Its owner must be able to put files into it.
  const mode_t mode = (offer.mode & 0755U) | S_IRWXU;
  if (::mkdirat(target.directory.get(), target.name.c_str(), mode) != 0 && errno != EEXIST) {
    return failed(target.path, errno);
  }
  // Also one that is there: an earlier attempt may have ended before it was on the disk.
  if (::fsync(target.directory.get()) != 0) return failed(target.path, errno);
  return {};
}

std::uint64_t ReceiveDirectory::room(std::uint64_t left_free) const {
  struct statvfs status{};
  if (::fstatvfs(root_.get(), &status) != 0) return 0;
  const std::uint64_t available = static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
  return available > left_free ? available - left_free : 0;
}

IncomingFile::IncomingFile(Target target, const Offer& offer, Descriptor file, std::uint64_t size)
    : target_(std::move(target)),
      offer_(offer),
      partial_(partial_name(target_.name)),
      file_(std::move(file)),
      size_(size) {}

IncomingFile::~IncomingFile() {
  // While it is locked, so that it is nobody else's.
  if (file_.is_open() && size_ == 0 && !settled_) ::unlinkat(target_.directory.get(), partial_.c_str(), 0);
}

Taken<IncomingFile> IncomingFile::open(Target target, const Offer& offer) {
  const std::string partial = partial_name(target.name);
  constexpr mode_t own_only = 0600;
  // O_NONBLOCK: a pipe that somebody put there must not hold us up.
  Descriptor file(::openat(target.directory.get(), partial.c_str(),
                           O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, own_only));
  if (!file.is_open()) {
    if (errno == ELOOP) return refuse(RefusalCode::path, partial + " is a symbolic link, which is not followed");
    return failed(partial, errno);
  }
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return failed(partial, errno);
  if (!S_ISREG(status.st_mode) || status.st_nlink > 1) {
    return refuse(RefusalCode::path, partial + " is there and is not ours to write");
  }
  const auto busy = [&] { return refuse(RefusalCode::busy, "another transfer writes " + target.path); };
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) return busy();
  // Until we had the lock another transfer may have finished: then this is the finished file.
  const auto entry = look(target.directory, partial);
  if (!entry) return std::unexpected(entry.error());
  if (!entry->exists || entry->status.st_ino != status.st_ino || entry->status.st_dev != status.st_dev) return busy();
  if (::fstat(file.get(), &status) != 0) return failed(partial, errno);
  return IncomingFile(std::move(target), offer, std::move(file), static_cast<std::uint64_t>(status.st_size));
}

Taken<Sha256Digest> IncomingFile::hash_what_is_there(const std::function<bool()>& working) {
  std::vector<std::uint8_t> block(read_bytes);
  std::uint64_t since_word = 0;
  for (std::uint64_t at = 0; at < size_;) {
    const std::size_t wanted = static_cast<std::size_t>(std::min<std::uint64_t>(block.size(), size_ - at));
    const auto got = ::pread(file_.get(), block.data(), wanted, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(partial_, errno);
    if (got == 0) return refuse(RefusalCode::io, partial_ + " became shorter");
    hash_.add(ByteView(block).first(static_cast<std::size_t>(got)));
    at += static_cast<std::uint64_t>(got);
    since_word += static_cast<std::uint64_t>(got);
    if (since_word < working_step_bytes) continue;
    since_word = 0;
    if (!working()) return refuse(RefusalCode::idle, "the sender is gone");
  }
  synced_ = size_;
  return hash_.digest();
}

Taken<void> IncomingFile::begin_anew() {
  if (::ftruncate(file_.get(), 0) != 0) return failed(partial_, errno);
  size_ = synced_ = 0;
  hash_ = Sha256();
  return {};
}

Taken<void> IncomingFile::write(ByteView bytes) {
  hash_.add(bytes);
  while (!bytes.empty()) {
    const auto written = ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(size_));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failed(target_.path, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    size_ += static_cast<std::uint64_t>(written);
  }
  return sync_behind();
}

/// A slow disk holds the sender up, step by step, instead of filling the memory of the machine and making the last step
/// long: the way to the disk begins for each step when it is full, and its end is awaited when the next one is.
Taken<void> IncomingFile::sync_behind() {
  if (size_ - synced_ < sync_step_bytes) return {};
  const auto length = static_cast<off_t>(size_ - synced_);
  const auto from = static_cast<off_t>(synced_);
  if (from >= length) {
    const int waited =
        ::sync_file_range(file_.get(), from - length, length,
                          SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
    // Others than these: this file system cannot do it, and the last step does it all.
    if (waited != 0 && (errno == EIO || errno == ENOSPC || errno == EDQUOT)) return failed(target_.path, errno);
  }
  ::sync_file_range(file_.get(), from, length, SYNC_FILE_RANGE_WRITE);
  synced_ = size_;
  return {};
}

Taken<void> IncomingFile::commit(const Sha256Digest& expected) {
  if (hash_.digest() != expected) {
    ::unlinkat(target_.directory.get(), partial_.c_str(), 0);
    settled_ = true;
    return refuse(RefusalCode::mismatch, "what arrived is not what was sent: it was removed");
  }
  const std::array<timespec, 2> times{
      {{0, UTIME_OMIT},
       {static_cast<time_t>(offer_.modified_seconds), static_cast<long>(offer_.modified_nanoseconds)}}};
  // Writable for nobody else, whatever it was on the other machine. Not every file system keeps times and permissions.
  (void)::fchmod(file_.get(), offer_.mode & 0755U);
  (void)::futimens(file_.get(), times.data());
  if (::fsync(file_.get()) != 0) return failed(target_.path, errno);
  if (auto renamed = rename(); !renamed) return renamed;
  if (::fsync(target_.directory.get()) != 0) return failed(target_.path, errno);
  return {};
}

Taken<void> IncomingFile::rename() {
  const int directory = target_.directory.get();
  const auto entry = look(target_.directory, target_.name);
  if (!entry) return std::unexpected(entry.error());
  // Time has passed since the offer.
  if (auto checked = check_replace(*entry, offer_, target_.path); !checked) return checked;
  const unsigned flags = offer_.has(flag_no_clobber) ? RENAME_NOREPLACE : 0U;
  int status = ::renameat2(directory, partial_.c_str(), directory, target_.name.c_str(), flags);
  // A file system that cannot refuse to replace: what was looked at a moment ago has to do.
  if (status != 0 && errno == EINVAL) status = ::renameat(directory, partial_.c_str(), directory, target_.name.c_str());
  settled_ = status == 0;
  if (settled_) return {};
  if (errno == EEXIST) return refuse(RefusalCode::exists, target_.path + " is there already");
  return failed(target_.path, errno);
}

}  // namespace files
}  // namespace v0
}  // namespace barrel_p2p
