// Frames of a data stream, and the messages inside of them.
//
//   frame:    length(4) payload(length)                              length 0: a tick, ignored
//   payload:  131 68 0 control [message]                        FRAGMENTS in force: terms without version byte
//             131 69 sequence(8) count(8) 0 control first-part  first of `count`, the whole control tuple in it
//             131 70 sequence(8) left(8) part                   the others; `left` counts down to 1
//             112 131 control [131 message]                     FRAGMENTS not in force ("pass-through")
//
// Which form is used is fixed for a channel by its flags; the other one is malformed, and so is a header that names
// atoms of a cache, which we never agree to. Sources: protocol document 01, sections 6.1 to 6.3; protocol document 08,
// section 2.
//
// Everything here is total: any bytes give a result or an error. One thread at a time.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "distribution/flags.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

/// The first bytes of payloads; 131 is the version byte of terms too.
inline constexpr std::uint8_t envelope_version = 131;
inline constexpr std::uint8_t envelope_whole = 68;
inline constexpr std::uint8_t envelope_first_fragment = 69;
inline constexpr std::uint8_t envelope_next_fragment = 70;
inline constexpr std::uint8_t envelope_pass_through = 112;

/// Bytes in front of every frame.
inline constexpr std::size_t frame_header_bytes = 4;
/// 131 69 sequence count 0 and 131 70 sequence left.
inline constexpr std::size_t first_fragment_header_bytes = 19;
inline constexpr std::size_t next_fragment_header_bytes = 18;

/// The payload of one frame, never empty. `owner` keeps `bytes` alive.
struct FramePayload {
  ByteView bytes;
  std::shared_ptr<const void> owner;
};

/// Cuts the bytes of one stream into frames. The bytes may come in any pieces.
///
/// Memory: at most `frame_bytes_max`, and never more than twice what has arrived of the current frame (64 KiB at
/// least): an announcement alone costs nothing. A frame that lies in one piece is not copied when the piece has an
/// owner.
class FrameReader {
 public:
  explicit FrameReader(std::size_t frame_bytes_max) noexcept : frame_bytes_max_(frame_bytes_max) {}

  /// Appends all frames that are complete to `frames`; ticks are left out. `owner` keeps `piece` alive; without one,
  /// what is kept is copied, once. Error: `limit_exceeded` when a longer frame is announced; close the channel.
  Result<void> feed(ByteView piece, std::vector<FramePayload>& frames,
                    const std::shared_ptr<const void>& owner = nullptr);

  /// Ticks seen so far.
  [[nodiscard]] std::uint64_t ticks() const noexcept { return ticks_; }
  /// Bytes kept for a frame that is not complete.
  [[nodiscard]] std::size_t buffered_bytes() const noexcept { return header_size_ + partial_.size(); }

 private:
  Result<std::size_t> announced(const std::uint8_t* header) const;
  Result<ByteView> continue_partial(ByteView piece, std::vector<FramePayload>& frames);

  std::size_t frame_bytes_max_;
  std::uint64_t ticks_ = 0;
  std::uint8_t header_[frame_header_bytes]{};
  std::size_t header_size_ = 0;  ///< Bytes of header_ that have come; 0: between frames.
  Bytes partial_;                ///< What has come of the payload, once the header is complete.
};

/// A whole message: control tuple and perhaps a payload.
struct WholeMessage {
  ByteView body;              ///< Starts with the control tuple.
  bool version_byte = false;  ///< The payload starts with a version byte (pass-through).
};
struct FirstFragment {
  std::uint64_t sequence = 0;
  std::uint64_t count = 0;  ///< At least 1.
  ByteView body;            ///< Starts with the control tuple.
};
struct NextFragment {
  std::uint64_t sequence = 0;
  std::uint64_t left = 0;  ///< At least 1; 1 is the last one.
  ByteView part;
};
using Envelope = std::variant<WholeMessage, FirstFragment, NextFragment>;

/// Reads the envelope of a frame's payload. The views point into `payload`. Error: `malformed_term`; close the channel.
Result<Envelope> read_envelope(ByteView payload, Flags effective);

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
