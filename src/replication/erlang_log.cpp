#include "replication/erlang_log.hpp"

#include <algorithm>
#include <array>
#include <boost/endian/conversion.hpp>
#include <limits>

namespace barrel_p2p {
inline namespace v0 {
namespace replication {
namespace {

constexpr std::array<std::uint8_t, 4> file_magic{0x01, 0x02, 0x03, 0x04};
constexpr std::array<std::uint8_t, 4> status_open{0x06, 0x07, 0x08, 0x09};
constexpr std::array<std::uint8_t, 4> status_closed{0x63, 0x58, 0x4D, 0x0B};
constexpr std::array<std::uint8_t, 4> record_magic{0x62, 0x57, 0x4C, 0x41};
constexpr std::size_t header_bytes = file_magic.size() + status_open.size();
constexpr std::size_t size_bytes = 4;
constexpr std::size_t record_header_bytes = size_bytes + record_magic.size();
constexpr std::size_t large_record_bytes = 65'528;
constexpr std::size_t md5_bytes = 16;

bool begins_with(ByteView bytes, ByteView start) {
  return bytes.size() >= start.size() && std::ranges::equal(bytes.first(start.size()), start);
}

struct Record {
  Term term;
  std::size_t bytes = 0;  ///< With its header.
};

class Reader {
 public:
  explicit Reader(std::size_t memory_bytes_max) {
    options_.limits.memory_bytes_max = memory_bytes_max;
    options_.limits.atoms_max = std::numeric_limits<std::size_t>::max();  // each entry names some, always the same ones
  }

  void snapshot(ByteView bytes) {
    const auto decoded = decode_term(bytes, options_);
    if (decoded && decoded->term.is_map()) {
      add(decoded->term);
    } else {
      map_.snapshot_damaged = true;
    }
  }

  void log(ByteView bytes) {
    const auto status = begins_with(bytes, file_magic) ? bytes.subspan(file_magic.size()) : ByteView();
    if (!begins_with(status, status_open) && !begins_with(status, status_closed)) {
      map_.log_damaged = true;
      return;
    }
    for (ByteView rest = bytes.subspan(header_bytes); !rest.empty();) {
      if (const auto record = record_at(rest)) {
        ++map_.records;
        add(record->term);
        rest = rest.subspan(record->bytes);
      } else {
        const std::size_t next = next_record(rest);
        map_.skipped_bytes += next;
        rest = rest.subspan(next);
      }
    }
  }

  ErlangMap take() { return std::move(map_); }

 private:
  [[nodiscard]] std::optional<Record> record_at(ByteView bytes) const {
    if (bytes.size() < record_header_bytes || !begins_with(bytes.subspan(size_bytes), record_magic)) return {};
    const std::size_t size = boost::endian::load_big_u32(bytes.data());
    const std::size_t start = record_header_bytes + (size >= large_record_bytes ? md5_bytes : 0);
    if (bytes.size() < start || bytes.size() - start < size) return {};
    auto decoded = decode_term(bytes.subspan(start, size), options_);
    if (!decoded) return {};
    return Record{std::move(decoded->term), start + size};
  }

  /// How far away the next thing is that looks like a record: not here, where something does not.
  static std::size_t next_record(ByteView bytes) {
    if (bytes.size() <= record_header_bytes) return bytes.size();
    const auto magic = std::ranges::search(bytes.subspan(size_bytes + 1), record_magic);
    return magic.empty() ? bytes.size() : static_cast<std::size_t>(magic.begin() - bytes.begin()) - size_bytes;
  }

  void add(const Term& entries) {
    if (!entries.is_map()) ++map_.rejected;
    for (const auto& [key, value] : entries.pairs()) {
      if (const auto entry = entry_of(value)) {
        map_.entries.merge(key, *entry);
      } else {
        ++map_.rejected;
      }
    }
  }

  DecodeOptions options_;
  ErlangMap map_;
};

}  // namespace

std::optional<std::string> erlang_map_of_file(std::string_view file_name) {
  if (!file_name.starts_with(erlang_map_prefix)) return std::nullopt;
  file_name.remove_prefix(erlang_map_prefix.size());
  for (const auto suffix : {erlang_snapshot_suffix, erlang_log_suffix}) {
    if (!file_name.ends_with(suffix)) continue;
    file_name.remove_suffix(suffix.size());
    return std::string(file_name);
  }
  return std::nullopt;
}

ErlangMap read_erlang_map(const std::optional<ByteView>& snapshot, const std::optional<ByteView>& log,
                          std::size_t memory_bytes_max) {
  Reader reader(memory_bytes_max);
  if (snapshot) reader.snapshot(*snapshot);
  if (log) reader.log(*log);
  return reader.take();
}

}  // namespace replication
}  // namespace v0
}  // namespace barrel_p2p
