// What the two ends of a copy say to each other on a stream with the tag `barrel_p2p_cp/1`. Numbers are big-endian.
//
//   | type, 1 byte | length of the body, 4 bytes | body |
//
//   1  offer    sender    kind 1, flags 1, mode 2, seconds 8, nanoseconds 4 (when it was modified), size 8,
//                         path 2 + n, name 1 + n
//   2  begin    sender    offset 8
//   3  data     sender    1 byte to 1 MiB of the file
//   4  end      sender    SHA-256 of the whole file 32
//   5  have     receiver  bytes 8, SHA-256 of them 32
//   6  refusal  receiver  code 1, a sentence for a person (up to 512 bytes)
//   7  done     receiver  path 2 + n
//   8  alive    either    nothing: it is busy reading what it has
//
// One file after the other; for each
//
//   sender   offer ------------------>  receiver      what it is and where it is to go
//            <------------------- have                what the receiver has of an earlier attempt, maybe nothing
//            begin ------------------>                after that, if it is the beginning of the same file, or from 0
//            data ... data, end ----->
//            <------------------- done                written, verified, under its name; and where that is
//
// A directory is an offer that is answered with done. A refusal takes the place of any answer, may come at any time,
// and is the receiver's last word. docs/cp.md tells the whole.
//
// Pure: bytes in, messages out; every length is checked before anything is kept, and no more than one message without
// data is kept. Not thread safe.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "node/files/sha256.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace files {

inline constexpr std::string_view copy_tag = "barrel_p2p_cp/1";

inline constexpr std::size_t header_bytes = 5;
inline constexpr std::size_t data_bytes_max = 1024UL * 1024;  ///< Of one message; a bound on what a length may say.
inline constexpr std::size_t body_bytes_max = 2048;           ///< Of all other messages: a path, a name and numbers.
inline constexpr std::size_t refusal_bytes_max = 512;
inline constexpr std::uint16_t mode_max = 0777;
inline constexpr std::int64_t modified_seconds_max = 1LL << 40U;  ///< Some 35,000 years: no file system takes more.

enum class Kind : std::uint8_t { file = 0, directory = 1 };

/// Bits of `Offer::flags`. A receiver refuses bits that it does not know.
inline constexpr std::uint8_t flag_no_clobber = 1;  ///< Leave a file alone that is there.
inline constexpr std::uint8_t flag_force = 2;       ///< Replace even a file that is write-protected.
inline constexpr std::uint8_t flag_into = 4;        ///< The path is a directory; the file goes into it.
inline constexpr std::uint8_t flag_exact = 8;  ///< The path is that of the thing itself, even if a directory is there.
inline constexpr std::uint8_t flags_known = 15;

struct Offer {
  Kind kind = Kind::file;
  std::uint8_t flags = 0;
  std::uint16_t mode = 0;  ///< Permissions only.
  std::int64_t modified_seconds = 0;
  std::uint32_t modified_nanoseconds = 0;
  std::uint64_t size = 0;
  std::string path;  ///< As it came: `components_of` says whether it is one.
  std::string name;  ///< For a path that is a directory.
  bool operator==(const Offer&) const = default;
  [[nodiscard]] bool has(std::uint8_t flag) const noexcept { return (flags & flag) != 0; }
};
struct Begin {
  std::uint64_t from = 0;
  bool operator==(const Begin&) const = default;
};
/// The next bytes of the file: a whole message or a piece of one. A view of what was fed.
struct Data {
  ByteView bytes;
};
struct End {
  Sha256Digest digest{};
  bool operator==(const End&) const = default;
};
struct Have {
  std::uint64_t bytes = 0;
  Sha256Digest digest{};
  bool operator==(const Have&) const = default;
};

enum class RefusalCode : std::uint8_t {
  malformed = 0,  ///< What came is not what this protocol says.
  busy = 1,       ///< Too many transfers, or one of the same file. Later it may be taken.
  path = 2,       ///< Not a path that is taken.
  exists = 3,     ///< There is a file that may not be replaced.
  too_large = 4,
  no_room = 5,
  mismatch = 6,  ///< What was received has another hash. It is gone.
  io = 7,        ///< The disk failed.
  idle = 8,      ///< Nothing came for too long.
};
struct Refusal {
  RefusalCode code = RefusalCode::malformed;
  std::string text;  ///< No control characters: it is printed.
  bool operator==(const Refusal&) const = default;
};
struct Done {
  std::string path;
  bool operator==(const Done&) const = default;
};
struct Alive {
  bool operator==(const Alive&) const = default;
};

using Message = std::variant<Offer, Begin, Data, End, Have, Refusal, Done, Alive>;

/// Of messages without data. Paths, names and texts must keep to the bounds.
Bytes encode(const Message& message);
/// What stands in front of `size` bytes of data.
void put_data_header(std::size_t size, std::span<std::uint8_t, header_bytes> out);

class MessageReader {
 public:
  /// Takes a message, or a piece of data, from the front of `bytes`. Nothing: all was taken, and more has to come.
  /// Error: `invalid_argument`: no message of this protocol; then the reader is of no more use.
  Result<std::optional<Message>> read(ByteView& bytes);
  /// Whether a message has begun that is not whole.
  [[nodiscard]] bool is_inside() const noexcept { return !head_.empty() || data_left_ > 0; }

 private:
  Bytes head_;  ///< Of a message without data: its header, and its body as far as it came.
  std::size_t data_left_ = 0;
};

}  // namespace files
}  // namespace v0
}  // namespace barrel_p2p
