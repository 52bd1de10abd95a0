#include "cp_source.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace barrel_p2p::command {
namespace {

std::unexpected<std::string> system_failure() { return std::unexpected(std::generic_category().message(errno)); }

}  // namespace

std::expected<CopySource, std::string> CopySource::open(const std::filesystem::path& file) {
  // O_NONBLOCK: a pipe without a writer is refused, not waited for.
  files::Descriptor descriptor(::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!descriptor.is_open()) return system_failure();
  struct stat status{};
  if (::fstat(descriptor.get(), &status) != 0) return system_failure();
  if (S_ISDIR(status.st_mode)) return std::unexpected(std::string("is a directory"));
  if (!S_ISREG(status.st_mode)) return std::unexpected(std::string("is no regular file"));
  ::posix_fadvise(descriptor.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  return CopySource(std::move(descriptor), static_cast<std::uint64_t>(status.st_size), status.st_mode, status.st_mtim);
}

void CopySource::describe(files::Offer& offer) const {
  offer.size = size_;
  offer.mode = static_cast<std::uint16_t>(mode_ & files::mode_max);
  offer.modified_seconds = modified_.tv_sec;
  offer.modified_nanoseconds = static_cast<std::uint32_t>(modified_.tv_nsec);
}

std::expected<void, std::string> CopySource::read(std::uint64_t at, std::span<std::uint8_t> out) const {
  while (!out.empty()) {
    const auto got = ::pread(descriptor_.get(), out.data(), out.size(), static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_failure();
    if (got == 0) return std::unexpected(std::string("became shorter while it was copied"));
    at += static_cast<std::uint64_t>(got);
    out = out.subspan(static_cast<std::size_t>(got));
  }
  return check_unchanged();
}

std::expected<void, std::string> CopySource::check_unchanged() const {
  struct stat status{};
  if (::fstat(descriptor_.get(), &status) != 0) return system_failure();
  if (static_cast<std::uint64_t>(status.st_size) == size_ && status.st_mtim.tv_sec == modified_.tv_sec &&
      status.st_mtim.tv_nsec == modified_.tv_nsec) {
    return {};
  }
  return std::unexpected(std::string("changed while it was copied: run the command again"));
}

}  // namespace barrel_p2p::command
