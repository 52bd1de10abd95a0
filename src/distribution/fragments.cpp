#include "distribution/fragments.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "base/buffer_pool.hpp"
#include "base/shared_bytes.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

namespace {

/// What the control tuple of a message takes while its fragments come. Only the options of a spawn request have no
/// fixed size; once decoded they may take some times their encoding. The others are bounded by the number of sequences.
std::size_t kept_bytes(const Control& control) {
  constexpr std::size_t decoded_per_byte = 16;
  const auto* spawn = std::get_if<SpawnRequest>(&control);
  return spawn == nullptr ? 0 : decoded_per_byte * encoded_size(spawn->options, false);
}

/// Whoever keeps a payload keeps its frame, and counts the payload. No control tuple of an honest message is larger,
/// but for elements that nobody looks at and options of spawn requests: then the payload gets memory of its own.
constexpr std::size_t shared_control_bytes_max = 1024;

}  // namespace

Result<void> Reassembler::append(Open& open, ByteView part) {
  if (part.size() > limits_.message_bytes_max - open.message.payload.size()) {
    return fail(Errc::limit_exceeded, "a message in fragments is larger than limits.message_bytes_max");
  }
  if (part.size() > limits_.open_bytes_max - open_bytes_) {
    return fail(Errc::limit_exceeded, "the messages that are not complete are larger than what a peer may have open");
  }
  Bytes& payload = open.message.payload;
  const std::size_t size = payload.size() + part.size();
  if (payload.capacity() < size) {
    // Room for what is announced, but never more than some times what has come.
    Bytes larger = BufferPool::shared().take(std::max(size, std::min(open.expected, growth_max * size)));
    larger.insert(larger.end(), payload.begin(), payload.end());
    BufferPool::shared().give_back(std::exchange(payload, std::move(larger)));
  }
  payload.insert(payload.end(), part.begin(), part.end());
  open_bytes_ += part.size();
  return {};
}

Result<std::optional<Reassembler::Complete>> Reassembler::first(std::uint64_t stream, const FirstFragment& fragment,
                                                                DecodedControl&& decoded) {
  const Key key{stream, fragment.sequence};
  if (open_.contains(key)) return fail(Errc::malformed_term, "a first fragment that was there already");
  if (open_.size() >= limits_.open_sequences_max) return fail(Errc::limit_exceeded, "too many messages in fragments");
  if (fragment.count > limits_.message_bytes_max / limits_.fragment_bytes_least) {
    return fail(Errc::limit_exceeded, "a message of " + std::to_string(fragment.count) + " fragments");
  }
  Open open;
  open.left = fragment.count - 1;
  open.expected = std::min(static_cast<std::size_t>(fragment.count) * fragment.body.size(), limits_.message_bytes_max);
  open.message.wanted = decoded.control.has_value();
  if (decoded.control) open.message.control = std::move(*decoded.control);
  const std::size_t kept = kept_bytes(open.message.control);
  if (kept > limits_.open_bytes_max - open_bytes_) {
    return fail(Errc::limit_exceeded, "the messages that are not complete are larger than what a peer may have open");
  }
  open_bytes_ += kept;
  if (auto appended = append(open, fragment.body.subspan(decoded.used)); !appended) {
    return std::unexpected(appended.error());
  }
  if (open.left == 0) {
    open_bytes_ -= kept + open.message.payload.size();
    return std::move(open.message);
  }
  open_.emplace(key, std::move(open));
  return std::nullopt;
}

Result<std::optional<Reassembler::Complete>> Reassembler::next(std::uint64_t stream, const NextFragment& fragment) {
  const auto found = open_.find(Key{stream, fragment.sequence});
  if (found == open_.end()) return fail(Errc::malformed_term, "a fragment without its first one");
  Open& open = found->second;
  if (fragment.left != open.left) return fail(Errc::malformed_term, "a fragment out of turn");
  if (auto appended = append(open, fragment.part); !appended) return std::unexpected(appended.error());
  --open.left;
  if (open.left > 0) return std::nullopt;
  Complete complete = std::move(open.message);
  open_bytes_ -= kept_bytes(complete.control) + complete.payload.size();
  open_.erase(found);
  return complete;
}

void MessageReader::drop(std::string_view why) noexcept {
  ++dropped_;
  dropped_because_ = why;
}

Result<std::optional<Signal>> MessageReader::whole(const WholeMessage& message, FramePayload&& frame) {
  auto decoded = control_.decode(message.body);
  if (!decoded) return std::unexpected(decoded.error());
  if (!decoded->control) return drop(decoded->dropped), std::nullopt;
  Signal signal{std::move(*decoded->control), {}};
  if (decoded->reason) {
    signal.payload = std::move(*decoded->reason);
  } else if (decoded->payload_follows) {
    ByteView rest = message.body.subspan(decoded->used);
    if (message.version_byte && !rest.empty()) {
      if (rest.front() != envelope_version) return fail(Errc::malformed_term, "a payload without a version byte");
      rest = rest.subspan(1);
    }
    if (rest.empty()) return fail(Errc::malformed_term, "a message whose payload is missing");
    if (decoded->used > shared_control_bytes_max) {
      auto alone = SharedBytes::copy_of(rest);
      signal.payload = EncodedTerm{alone.view, std::move(alone.owner)};
    } else {
      signal.payload = EncodedTerm{rest, std::move(frame.owner)};
    }
  }
  return signal;
}

Result<std::optional<Signal>> MessageReader::assembled(Result<std::optional<Reassembler::Complete>>&& complete) {
  if (!complete) return std::unexpected(complete.error());
  if (!*complete) return std::nullopt;
  Reassembler::Complete message = std::move(**complete);
  if (!message.wanted) return drop("a message in fragments that means nothing here"), std::nullopt;
  Signal signal{std::move(message.control), {}};
  if (needs_payload(signal.control)) {
    if (message.payload.empty()) return fail(Errc::malformed_term, "a message whose payload is missing");
    const auto owner = BufferPool::shared().lend(std::move(message.payload));
    signal.payload = EncodedTerm{*owner, owner};
  }
  return signal;
}

Result<std::optional<Signal>> MessageReader::read(std::uint64_t stream, FramePayload&& frame) {
  const auto envelope = read_envelope(frame.bytes, effective_);
  if (!envelope) return std::unexpected(envelope.error());
  if (const auto* message = std::get_if<WholeMessage>(&*envelope)) return whole(*message, std::move(frame));
  if (const auto* fragment = std::get_if<NextFragment>(&*envelope))
    return assembled(fragments_.next(stream, *fragment));
  const auto& fragment = std::get<FirstFragment>(*envelope);
  auto decoded = control_.decode(fragment.body);
  if (!decoded) return std::unexpected(decoded.error());
  if (decoded->reason) {
    return fail(Errc::malformed_term, "a message in fragments whose reason is in the control tuple");
  }
  return assembled(fragments_.first(stream, fragment, std::move(*decoded)));
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
