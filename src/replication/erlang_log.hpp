// What an Erlang node keeps on disk of a replicated map, to be taken over: a snapshot and a log.
//
//   NAME.snapshot   the whole map, one term in external format, perhaps compressed
//   NAME.log        an Erlang disk_log in its internal format:
//
//       01 02 03 04  STATUS          STATUS: 06 07 08 09 open or not closed, 63 58 4D 0B closed
//       SIZE  62 57 4C 41  TERM      SIZE: 4 bytes, big endian, bytes of TERM: a map of some entries
//       SIZE  62 57 4C 41  MD5 TERM  from 65528 bytes on; the 16 bytes are the MD5 of SIZE
//
// There is no checksum of the content. More is saved here than Erlang saves: after damage the next record is searched
// for in closed logs too, and snapshot and log do not depend on each other. What could not be used is counted.
//
// Source: protocol documents 04, section 5, and 06, section 7. Pure: the caller reads the files.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "replication/ormap.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace replication {

/// Names of both files of a map begin with this; the name of the map follows.
inline constexpr std::string_view erlang_map_prefix = "barrel_p2p_map_store$";
/// The name of both files of the reminders.
inline constexpr std::string_view erlang_reminders_name = "barrel_p2p_reminder";
inline constexpr std::string_view erlang_snapshot_suffix = ".snapshot";
inline constexpr std::string_view erlang_log_suffix = ".log";

/// The map that a file of this name is of; nothing for other files.
[[nodiscard]] std::optional<std::string> erlang_map_of_file(std::string_view file_name);

struct ErlangMap {
  OrMap entries;
  std::uint64_t records = 0;        ///< Of the log, that could be read.
  std::uint64_t rejected = 0;       ///< Entries that are none, or whose stamps Erlang nodes let pass and we do not.
  std::uint64_t skipped_bytes = 0;  ///< Of the log, that are no records. A crash in the middle of a write leaves some.
  bool snapshot_damaged = false;
  bool log_damaged = false;  ///< It does not begin as a log: nothing of it was used.
};

/// Nothing: there is no such file. `memory_bytes_max` bounds what one term may take.
[[nodiscard]] ErlangMap read_erlang_map(const std::optional<ByteView>& snapshot, const std::optional<ByteView>& log,
                                        std::size_t memory_bytes_max = 16UL * 1024 * 1024 * 1024);

}  // namespace replication
}  // namespace v0
}  // namespace barrel_p2p
