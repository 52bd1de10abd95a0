// From frames to signals: envelopes, control tuples, and messages that come in fragments.
//
// Source: protocol document 08, sections 2.3 and 4; protocol document 01, section 6.3. One thread at a time.
#pragma once

#include <barrel_p2p/error.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "distribution/control.hpp"
#include "distribution/framing.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

/// What one peer may make us keep.
struct FragmentLimits {
  std::size_t message_bytes_max = 128UL * 1024 * 1024;  ///< One message put together.
  /// All messages that are not complete: two of the largest. The channel adds what has come of whole ones.
  std::size_t open_bytes_max = 256UL * 1024 * 1024;
  std::size_t open_sequences_max = 4096;    ///< Each sending process of the peer may have one.
  std::size_t fragment_bytes_least = 1024;  ///< Of the average fragment: bounds the count that is announced.
};

/// Puts the fragments of messages together. A sequence is known by its stream and its number: Erlang nodes use a number
/// again on another stream. The control tuple of a message is decoded by whoever reads the first fragment.
class Reassembler {
 public:
  explicit Reassembler(FragmentLimits limits = {}) noexcept : limits_(limits) {}

  struct Complete {
    Control control;
    bool wanted = true;  ///< False: the control message is to be dropped.
    Bytes payload;
  };

  /// Whether a first fragment with this count may come. Errors: `malformed_term` (the sequence is open already),
  /// `limit_exceeded`. `decoded` is what the first fragment's tuple says, `part` what follows it.
  Result<std::optional<Complete>> first(std::uint64_t stream, const FirstFragment& fragment, DecodedControl&& decoded);
  /// Errors: `malformed_term` (no such sequence, a gap, a repetition), `limit_exceeded`.
  Result<std::optional<Complete>> next(std::uint64_t stream, const NextFragment& fragment);

  [[nodiscard]] std::size_t open_sequences() const noexcept { return open_.size(); }
  [[nodiscard]] std::size_t open_bytes() const noexcept { return open_bytes_; }

 private:
  struct Open {
    std::uint64_t left = 0;    ///< Fragments that are still to come.
    std::size_t expected = 0;  ///< Bytes of the payload, by the first fragment; a guess.
    Complete message;
  };
  using Key = std::pair<std::uint64_t, std::uint64_t>;

  /// An announcement alone costs little: at most this many times the memory of what has come is reserved.
  static constexpr std::size_t growth_max = 16;

  Result<void> append(Open& open, ByteView part);

  FragmentLimits limits_;
  std::map<Key, Open> open_;
  std::size_t open_bytes_ = 0;
};

/// Turns the frames of one channel into signals.
class MessageReader {
 public:
  MessageReader(ChannelNodes nodes, Flags effective, FragmentLimits limits = {})
      : effective_(effective), control_(std::move(nodes)), fragments_(limits) {}

  /// A signal; or nothing, when the frame was a fragment or a message that means nothing here (`dropped` counts these);
  /// or an error (`malformed_term`, `limit_exceeded`): close the channel. The payload of the signal stays encoded.
  Result<std::optional<Signal>> read(std::uint64_t stream, FramePayload&& frame);

  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }
  /// Why the last message was dropped; static text.
  [[nodiscard]] std::string_view dropped_because() const noexcept { return dropped_because_; }
  [[nodiscard]] const Reassembler& fragments() const noexcept { return fragments_; }

 private:
  Result<std::optional<Signal>> whole(const WholeMessage& message, FramePayload&& frame);
  Result<std::optional<Signal>> assembled(Result<std::optional<Reassembler::Complete>>&& complete);
  void drop(std::string_view why) noexcept;

  Flags effective_;
  ControlDecoder control_;
  Reassembler fragments_;
  std::uint64_t dropped_ = 0;
  std::string_view dropped_because_;
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
