#include "replication/store_mark.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <system_error>

#include "distribution/auth/files.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace replication::store {
namespace {

constexpr std::size_t number_bytes = 8;
constexpr off_t slot_distance = 512;
constexpr off_t mark_file_bytes = 4096;
constexpr mode_t mark_file_mode = 0600;

using Slot = std::array<std::uint8_t, 2 * number_bytes>;

void put_number(std::uint8_t* at, std::uint64_t number) {
  constexpr unsigned byte_bits = 8;
  for (std::size_t place = number_bytes; place-- > 0; number >>= byte_bits) at[place] = number & 0xFFU;
}

Slot slot_of(std::int64_t number) {
  Slot slot{};
  put_number(slot.data(), static_cast<std::uint64_t>(number));
  put_number(slot.data() + number_bytes, XXH3_64bits(slot.data(), number_bytes));
  return slot;
}

/// 0: none that is whole.
std::int64_t number_in(const Slot& slot) {
  std::uint64_t number = 0;
  for (std::size_t place = 0; place < number_bytes; ++place) number = number << 8U | slot[place];
  const auto value = static_cast<std::int64_t>(number);
  return value > 0 && slot == slot_of(value) ? value : 0;
}

std::unexpected<Error> mark_failure(const char* what, const std::filesystem::path& file, int error) {
  const auto code = error == ENOENT ? Errc::not_found : error == EACCES ? Errc::permission_denied : Errc::io_error;
  return fail(code, std::string(what) + " " + file.string() + ": " + std::generic_category().message(error));
}

/// 0, or what was wrong.
int take_room(int descriptor, const std::filesystem::path& file) {
  if (const int error = ::posix_fallocate(descriptor, 0, mark_file_bytes); error != 0) return error;
  if (::fsync(descriptor) != 0) return errno;
  const int directory = ::open(file.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return errno;
  const int error = ::fsync(directory) == 0 ? 0 : errno;
  ::close(directory);
  return error;
}

}  // namespace

Result<MarkFile> MarkFile::open(const std::filesystem::path& file, bool writable) {
  const int descriptor = writable ? distribution::open_or_make_file(file, O_RDWR, mark_file_mode)
                                  : ::open(file.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor < 0) return mark_failure("cannot open", file, errno);
  MarkFile mark(descriptor);
  if (writable && ::lseek(descriptor, 0, SEEK_END) < mark_file_bytes) {
    if (const int error = take_room(descriptor, file); error != 0) return mark_failure("no room for", file, error);
  }
  for (std::size_t index = 0; index < mark.numbers_.size(); ++index) {
    Slot slot{};
    const auto got = ::pread(descriptor, slot.data(), slot.size(), static_cast<off_t>(index) * slot_distance);
    if (got < 0) return mark_failure("cannot read", file, errno);
    mark.numbers_.at(index) = number_in(slot);
  }
  return mark;
}

MarkFile::~MarkFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::int64_t MarkFile::number() const noexcept { return std::max(numbers_[0], numbers_[1]); }

Result<void> MarkFile::write(std::int64_t number) {
  if (descriptor_ < 0) return fail(Errc::io_error, "there is no file for the mark");
  if (number <= this->number()) return {};
  const std::size_t index = numbers_[0] <= numbers_[1] ? 0 : 1;
  const Slot slot = slot_of(number);
  const auto at = static_cast<off_t>(index) * slot_distance;
  const auto written = ::pwrite(descriptor_, slot.data(), slot.size(), at);
  if (written != static_cast<ssize_t>(slot.size()) || ::fdatasync(descriptor_) != 0) {
    return fail(Errc::io_error, "cannot write the mark: " + std::generic_category().message(errno));
  }
  numbers_.at(index) = number;
  return {};
}

}  // namespace replication::store
}  // namespace v0
}  // namespace barrel_p2p
