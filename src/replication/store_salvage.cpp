#include "replication/store_salvage.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {
namespace replication::store {
namespace {

constexpr std::size_t log_header_size = 32;
constexpr std::size_t frame_header_size = 24;
constexpr std::uint32_t log_version = 3'007'000;
constexpr std::uint32_t log_magic = 0x377f0682;  ///< The lowest bit: checksums over big-endian words.
/// Of transactions whose ends stand in a log behind a break: this many cannot come from a loss of power.
constexpr int ends_of_damage = 2;
/// What a disk writes as a whole.
constexpr std::uint64_t sector_size = 512;
/// Longer records are not written, see store.hpp; a number above it is damage.
constexpr std::uint64_t payload_max = 65UL * 1024 * 1024;

using Page = std::array<std::uint8_t, page_size>;

std::uint32_t word_at(ByteView bytes, std::size_t at) noexcept {
  return (std::uint32_t{bytes[at]} << 24U) | (std::uint32_t{bytes[at + 1]} << 16U) |
         (std::uint32_t{bytes[at + 2]} << 8U) | bytes[at + 3];
}
std::uint32_t short_at(ByteView bytes, std::size_t at) noexcept {
  return (std::uint32_t{bytes[at]} << 8U) | bytes[at + 1];
}

/// The running checksum of the log.
struct LogSum {
  std::uint32_t first = 0;
  std::uint32_t second = 0;
  friend bool operator==(const LogSum&, const LogSum&) noexcept = default;

  void add(ByteView bytes, bool big_endian) noexcept {
    for (std::size_t at = 0; at + 8 <= bytes.size(); at += 8) {
      std::uint32_t left = word_at(bytes, at);
      std::uint32_t right = word_at(bytes, at + 4);
      if (!big_endian) {
        left = __builtin_bswap32(left);
        right = __builtin_bswap32(right);
      }
      first += left + second;
      second += right + first;
    }
  }
  static LogSum noted(ByteView bytes, std::size_t at) noexcept { return {word_at(bytes, at), word_at(bytes, at + 4)}; }
};

}  // namespace

// Files.

RandomReader::RandomReader(int descriptor)
    : descriptor_(new int(descriptor), [](const int* held) {
        if (*held >= 0) ::close(*held);
        delete held;
      }) {}

Result<RandomReader> RandomReader::open(const std::filesystem::path& file) {
  RandomReader reader(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  const auto failed = [&] {
    return fail(errno == EACCES ? Errc::permission_denied : Errc::io_error,
                "cannot read " + file.string() + ": " + std::generic_category().message(errno));
  };
  if (*reader.descriptor_ < 0) {
    if (errno != ENOENT) return failed();
    return reader;
  }
  struct stat info{};
  if (::fstat(*reader.descriptor_, &info) != 0) return failed();
  reader.size_ = static_cast<std::uint64_t>(info.st_size);
  return reader;
}

Result<bool> RandomReader::read(std::uint64_t offset, std::span<std::uint8_t> out) const {
  while (!out.empty()) {
    if (offset >= size_) return false;
    const ssize_t count = ::pread(*descriptor_, out.data(), out.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(Errc::io_error, "cannot read: " + std::generic_category().message(errno));
    if (count == 0) return false;
    offset += static_cast<std::uint64_t>(count);
    out = out.subspan(static_cast<std::size_t>(count));
  }
  return true;
}

// The log: a header (magic, version, page size, checkpoints, two salts, checksum), then frames. A frame is a page with
// a header: page number, size of the database in pages if it ends a transaction or else 0, the salts, the checksum of
// everything from the header of the log to here.

Result<LogFile> LogFile::read(const std::filesystem::path& file) {
  auto bytes = RandomReader::open(file);
  if (!bytes) return std::unexpected(bytes.error());
  LogFile log(std::move(*bytes));
  if (auto scanned = log.scan(); !scanned) return std::unexpected(scanned.error());
  return log;
}

Result<void> LogFile::scan() {
  std::array<std::uint8_t, log_header_size> header{};
  const auto whole = bytes_.read(0, header);
  if (!whole) return std::unexpected(whole.error());
  if (!*whole) return {};
  const bool big_endian = word_at(header, 0) == (log_magic | 1U);
  LogSum sum;
  sum.add(ByteView(header).first(24), big_endian);
  const bool is_header = (word_at(header, 0) & ~1U) == log_magic && sum == LogSum::noted(header, 24);
  const bool header_good = is_header && word_at(header, 8) == page_size;
  // SQLite takes any other for a file that it cannot open, as if this program had no right to.
  if (is_header && word_at(header, 4) != log_version) fault_ = "the write-ahead log is in no format of SQLite 3";
  std::array<std::uint8_t, 8> salts{};
  std::copy_n(header.begin() + 16, salts.size(), salts.begin());

  LogSum before = LogSum::noted(header, 24);
  bool broken = !header_good;
  // The header is on disk before the first frame is written: what breaks it counts as a transaction that ended.
  int ends = header_good ? 0 : 1;                           // behind the first break
  int ends_since = header_good ? ends_of_damage : 1;        // behind the last break; before any it is enough
  std::unordered_map<std::uint32_t, std::uint64_t> images;  // that do not count yet
  std::array<std::uint8_t, frame_header_size + page_size> frame{};
  for (std::uint64_t at = log_header_size; at + frame.size() <= bytes_.size(); at += frame.size()) {
    if (const auto read = bytes_.read(at, frame); !read) return std::unexpected(read.error());
    if (!header_good && at == log_header_size) std::copy_n(frame.begin() + 8, salts.size(), salts.begin());
    LogSum here = std::exchange(before, LogSum::noted(frame, 16));
    here.add(ByteView(frame).first(8), big_endian);
    here.add(ByteView(frame).subspan(frame_header_size), big_endian);
    const bool same_log = std::equal(salts.begin(), salts.end(), frame.begin() + 8);
    const bool good = same_log && here == before;
    if (good) {
      images[word_at(frame, 0)] = at + frame_header_size;
    } else {
      broken = true;
      ends_since = 0;
    }
    // The mark of an end counts in a bad frame as well, but where a torn write can join it to the salts of another one.
    const bool torn = !good && (at + 8) % sector_size == 0;
    if (!same_log || torn || word_at(frame, 4) == 0) continue;
    if (broken) ++ends;
    ++ends_since;
    if (ends >= ends_of_damage) fault_ = "the write-ahead log is broken before its end";
    if (!good || ends_since < ends_of_damage) continue;
    for (const auto& [page, offset] : images) pages_[page] = offset;
    images.clear();
  }
  return {};
}

// Pages.

namespace {

/// The newest images of all pages. They are numbered from 1, and those that a log names need not be near to each other.
class Pages {
 public:
  Pages(const RandomReader& database, const LogFile& log)
      : database_(database), log_(log), in_database_((database.size() + page_size - 1) / page_size) {
    for (const auto& [number, offset] : log.pages()) {
      if (number > in_database_) beyond_.push_back(number);
    }
    std::ranges::sort(beyond_);
  }
  [[nodiscard]] std::uint64_t in_database() const noexcept { return in_database_; }
  /// Those that are in the log alone, behind all others.
  [[nodiscard]] const std::vector<std::uint32_t>& beyond() const noexcept { return beyond_; }
  [[nodiscard]] bool has(std::uint32_t number) const {
    return number > 0 && (number <= in_database_ || log_.pages().contains(number));
  }
  /// More than a record can have.
  [[nodiscard]] std::uint64_t bytes() const noexcept { return (in_database_ + beyond_.size()) * page_size; }
  /// What is missing reads as zeros.
  Result<void> read(std::uint32_t number, Page& page) const {
    page.fill(0);
    const auto at = log_.pages().find(number);
    const auto read = at != log_.pages().end() ? log_.bytes().read(at->second, page)
                                               : database_.read((std::uint64_t{number} - 1) * page_size, page);
    if (!read) return std::unexpected(read.error());
    return {};
  }

 private:
  const RandomReader& database_;
  const LogFile& log_;
  std::uint64_t in_database_ = 0;
  std::vector<std::uint32_t> beyond_;
};

/// Reads numbers from the front of bytes; after one that is not whole everything is 0.
class Cursor {
 public:
  explicit Cursor(ByteView bytes) noexcept : bytes_(bytes) {}
  [[nodiscard]] bool ok() const noexcept { return ok_; }
  [[nodiscard]] std::size_t used() const noexcept { return at_; }

  /// SQLite's: groups of 7 bits, the highest first; the ninth byte has 8.
  std::uint64_t varint() noexcept {
    std::uint64_t value = 0;
    for (int count = 0; count < 9; ++count) {
      const std::uint8_t byte = next();
      if (count == 8) return (value << 8U) | byte;
      value = (value << 7U) | (byte & 0x7FU);
      if ((byte & 0x80U) == 0) break;
    }
    return value;
  }
  /// Big endian, with sign.
  std::int64_t integer(std::size_t bytes) noexcept {
    std::uint64_t value = 0;
    for (std::size_t index = 0; index < bytes; ++index) {
      const std::uint8_t byte = next();
      if (index == 0 && (byte & 0x80U) != 0) value = ~std::uint64_t{0};
      value = (value << 8U) | byte;
    }
    return static_cast<std::int64_t>(value);
  }
  ByteView take(std::uint64_t count) noexcept {
    if (!ok_ || count > bytes_.size() - at_) {
      ok_ = false;
      return {};
    }
    at_ += static_cast<std::size_t>(count);
    return bytes_.subspan(at_ - static_cast<std::size_t>(count), static_cast<std::size_t>(count));
  }

 private:
  std::uint8_t next() noexcept {
    const auto byte = take(1);
    return byte.empty() ? std::uint8_t{0} : byte.front();
  }

  ByteView bytes_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

/// How many bytes of a payload lie on the page itself.
std::size_t bytes_on_page(std::uint64_t payload) noexcept {
  constexpr std::uint64_t most = ((page_size - 12) * 64 / 255) - 23;
  constexpr std::uint64_t least = ((page_size - 12) * 32 / 255) - 23;
  if (payload <= most) return static_cast<std::size_t>(payload);
  const std::uint64_t fitting = least + ((payload - least) % (page_size - 4));
  return static_cast<std::size_t>(fitting <= most ? fitting : least);
}

std::int64_t integer_of(std::uint64_t type, Cursor& body) noexcept {
  constexpr std::array<std::uint8_t, 7> widths{0, 1, 2, 3, 4, 6, 8};
  if (type == 9) return 1;
  return type < widths.size() ? body.integer(widths[static_cast<std::size_t>(type)]) : 0;
}
std::uint64_t length_of(std::uint64_t type) noexcept { return type < 12 ? 0 : (type - 12) / 2; }

/// The record in a payload, if it is one of ours and whole.
std::optional<RecordView> record_in(ByteView payload) noexcept {
  Cursor header(payload);
  const std::uint64_t header_size = header.varint();
  std::array<std::uint64_t, 5> types{};
  for (auto& type : types) type = header.varint();
  if (!header.ok() || header.used() != header_size) return std::nullopt;
  Cursor body(payload.subspan(header.used()));
  RecordView record;
  record.collection = as_text(body.take(length_of(types[0])));
  record.key = body.take(length_of(types[1]));
  record.sequence = integer_of(types[2], body);
  const auto checksum = static_cast<std::uint64_t>(integer_of(types[3], body));
  record.entry = body.take(length_of(types[4]));
  if (!body.ok() || checksum != checksum_of(record)) return std::nullopt;
  return record;
}

/// The payload of the cell that begins at `at`; empty when that cannot be.
Result<Bytes> payload_of(const Pages& pages, const Page& page, std::size_t at) {
  Cursor cell(ByteView(page).subspan(at));
  const std::uint64_t size = cell.varint();
  if (!cell.ok() || size == 0 || size > std::min(payload_max, pages.bytes())) return Bytes{};
  const auto local = cell.take(bytes_on_page(size));
  Bytes payload(local.begin(), local.end());
  if (!cell.ok()) return Bytes{};
  if (payload.size() == size) return payload;
  const auto link = cell.take(4);
  if (!cell.ok()) return Bytes{};
  Page overflow{};
  std::uint32_t next = word_at(link, 0);
  while (payload.size() < size) {
    if (!pages.has(next)) return Bytes{};
    if (auto read = pages.read(next, overflow); !read) return std::unexpected(read.error());
    next = word_at(overflow, 0);
    const auto part = std::min<std::uint64_t>(size - payload.size(), page_size - 4);
    payload.insert(payload.end(), overflow.begin() + 4, overflow.begin() + 4 + static_cast<std::ptrdiff_t>(part));
  }
  return payload;
}

Result<void> harvest_page(const Pages& pages, const Page& page,
                          const std::function<Result<void>(const RecordView&)>& visit) {
  constexpr std::uint8_t interior = 2;
  constexpr std::uint8_t leaf = 10;
  if (page[0] != interior && page[0] != leaf) return {};
  const std::size_t cells_at = page[0] == interior ? 12 : 8;
  // An inner cell begins with the number of its child.
  const std::size_t skipped = page[0] == interior ? 4 : 0;
  const std::size_t count = std::min<std::size_t>(short_at(page, 3), (page_size - cells_at) / 2);
  for (std::size_t index = 0; index < count; ++index) {
    const std::size_t at = short_at(page, cells_at + (2 * index)) + skipped;
    if (at >= page_size) continue;
    const auto payload = payload_of(pages, page, at);
    if (!payload) return std::unexpected(payload.error());
    if (const auto record = record_in(*payload)) {
      if (auto visited = visit(*record); !visited) return visited;
    }
  }
  return {};
}

}  // namespace

Result<void> harvest(const std::filesystem::path& database, const LogFile& log,
                     const std::function<Result<void>(const RecordView&)>& visit) {
  const auto file = RandomReader::open(database);
  if (!file) return std::unexpected(file.error());
  const Pages pages(*file, log);
  Page page{};
  const auto harvest_number = [&](std::uint32_t number) -> Result<void> {
    if (auto read = pages.read(number, page); !read) return read;
    return harvest_page(pages, page, visit);
  };
  // The first page holds the schema only.
  for (std::uint64_t number = 2; number <= pages.in_database(); ++number) {
    if (auto harvested = harvest_number(static_cast<std::uint32_t>(number)); !harvested) return harvested;
  }
  for (const auto number : pages.beyond()) {
    if (auto harvested = harvest_number(number); !harvested) return harvested;
  }
  return {};
}

}  // namespace replication::store
}  // namespace v0
}  // namespace barrel_p2p
