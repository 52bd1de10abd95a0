// The first bytes of a stream that a peer opened: which tag it is for.
//
//   | tag length, 1 byte | tag, 1 to 255 bytes | bytes of the application ... |
//
// The opener sends it once, at offset 0 of its own direction; the other direction has none. A pure machine for the
// streams of one connection: bytes come in, possibly one at a time, and the tag comes out with whatever was behind it.
// Parked bytes belong to this object and so to one connection: nothing of them survives it. Source: protocol document
// 07, sections 1.2, 1.3 and 1.10.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/clock.hpp"
#include "quic/connection.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

inline constexpr std::size_t tag_bytes_max = 255;
/// Tags that begin so are the library's own.
inline constexpr std::string_view reserved_tags = "barrel_p2p:";

/// Reset codes that have a meaning; all others are the application's.
inline constexpr std::uint64_t code_owner_gone = 0;           ///< The owner ended, or gave it up without a code.
inline constexpr std::uint64_t code_refused = 0x100;          ///< Nobody takes streams with this tag.
inline constexpr std::uint64_t code_too_much_unread = 0x101;  ///< The receiver holds too much that nobody reads. Ours.

/// Streams that carry no signals, by their id: protocol document 07, section 1.1.
[[nodiscard]] bool is_user_stream(quic::StreamId id) noexcept;

/// Errors: `invalid_argument`: empty, too long, or reserved.
Result<void> check_tag(std::string_view tag);
/// What the opener of a stream sends first.
Bytes preamble(std::string_view tag);

struct TagLimits {
  std::size_t waiting_max = 64;  ///< Streams of one peer whose tag is not complete: what the Erlang library allows.
  Milliseconds timeout{10'000};  ///< For the whole preamble.
};

class InboundTags {
 public:
  struct Waiting {};
  enum class Reason : std::uint8_t { empty_tag, cut_off, too_many };
  struct Refused {
    Reason reason;
  };
  struct Complete {
    std::string tag;
    ByteView rest;  ///< Of the bytes that were fed.
  };
  using Outcome = std::variant<Waiting, Refused, Complete>;

  explicit InboundTags(TagLimits limits) noexcept : limits_(limits) {}

  /// The next bytes of a stream whose tag is not complete. Of one that is refused, or complete, nothing is kept.
  Outcome feed(quic::StreamId id, ByteView bytes, bool fin, MonotonicTime now);
  [[nodiscard]] bool waits(quic::StreamId id) const { return waiting_.contains(id); }
  /// The peer gave it up. False: it was not waiting.
  bool forget(quic::StreamId id) { return waiting_.erase(id) > 0; }
  /// Streams that have waited for too long; they are forgotten.
  std::vector<quic::StreamId> expire(MonotonicTime now);
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_.size(); }

 private:
  struct Parked {
    Bytes bytes;  ///< At most the length and a tag.
    MonotonicTime since{};
  };
  const TagLimits limits_;
  std::unordered_map<quic::StreamId, Parked> waiting_;
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
