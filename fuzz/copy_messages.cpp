// What the two ends of a copy say, as any bytes in any pieces: no crash, bounded memory, the same messages whatever the
// pieces, each of which is encoded to the bytes that it was; and paths that are refused or stay below their directory.
//
//   input: size of the pieces(1), then the stream
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <variant>
#include <vector>

#include "node/files/messages.hpp"
#include "node/files/path_rules.hpp"

namespace {

using namespace barrel_p2p;
using namespace barrel_p2p::files;

void require(bool holds) {
  if (!holds) std::abort();
}

void check_path(const std::string& path) {
  const auto names = components_of(path);
  if (!names) return;
  require(path.size() <= path_bytes_max && names->size() <= path_depth_max && !path.starts_with('/'));
  std::string again;
  for (const auto& name : *names) {
    require(check_name(name).has_value());
    require(name != ".." && name != "." && !name.empty() && name.find('/') == std::string::npos);
    require(name.find('\0') == std::string::npos && partial_name(name).size() <= 255);
    again += (again.empty() ? "" : "/") + name;
  }
  require(again == path);
}

struct Seen {
  Bytes bytes;  ///< All messages, encoded again; of data the bytes only.
  std::size_t messages = 0;
  bool refused = false;
};

Seen read_all(ByteView stream, std::size_t piece_bytes) {
  Seen seen;
  MessageReader reader;
  while (!stream.empty()) {
    ByteView piece = stream.first(std::min(piece_bytes, stream.size()));
    stream = stream.subspan(piece.size());
    for (;;) {
      const std::size_t before = piece.size();
      const auto message = reader.read(piece);
      if (!message) {
        seen.refused = true;
        return seen;
      }
      if (!*message) break;
      require(piece.size() < before);
      if (const auto* data = std::get_if<Data>(&**message)) {
        require(!data->bytes.empty() && data->bytes.size() <= data_bytes_max);
        seen.bytes.insert(seen.bytes.end(), data->bytes.begin(), data->bytes.end());
        continue;
      }
      ++seen.messages;
      const Bytes encoded = encode(**message);
      require(encoded.size() <= header_bytes + body_bytes_max);
      MessageReader second;
      ByteView view = encoded;
      const auto again = second.read(view);
      require(again && *again && view.empty() && !second.is_inside() && encode(**again) == encoded);
      if (const auto* offer = std::get_if<Offer>(&**message)) {
        check_path(offer->path);
        check_path(offer->name);
      }
      seen.bytes.insert(seen.bytes.end(), encoded.begin(), encoded.end());
    }
    require(piece.empty());
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteView stream(data + 1, size - 1);
  check_path(std::string(as_text(stream)));
  const Seen pieces = read_all(stream, 1U + data[0]);
  const Seen whole = read_all(stream, std::max<std::size_t>(stream.size(), 1));
  require(pieces.refused == whole.refused && pieces.messages == whole.messages);
  require(pieces.refused || pieces.bytes == whole.bytes);
  return 0;
}
