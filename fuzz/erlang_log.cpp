// The files of an Erlang node with any bytes in them: no crash, and what was read is read again from a snapshot of it.
//
//   input: size of the snapshot (2 bytes), the snapshot, the log
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>

#include "replication/erlang_log.hpp"

namespace {

using namespace barrel_p2p;
using namespace barrel_p2p::replication;

void require(bool holds) {
  if (!holds) std::abort();
}

constexpr std::size_t memory_bytes_max = 16UL * 1024 * 1024;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t head = 2;
  if (size < head) return 0;
  const ByteView input(data + head, size - head);
  const std::size_t cut = std::size_t{data[0]} << 8U | data[1];
  if (cut > input.size()) return 0;
  const auto map = read_erlang_map(input.first(cut), input.subspan(cut), memory_bytes_max);
  require(map.skipped_bytes <= input.size() - cut);
  const Bytes snapshot = encode_term(map.entries.to_term());
  const auto again = read_erlang_map(snapshot, std::nullopt, memory_bytes_max);
  require(!again.snapshot_damaged && again.rejected == 0);
  require(encode_term(again.entries.to_term()) == snapshot);
  return 0;
}
