#include "distribution/streams/tags.hpp"

#include <algorithm>

#include "distribution/stream_choice.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

bool is_user_stream(quic::StreamId id) noexcept {
  constexpr quic::StreamId step = 4;  // ids of one kind grow by four
  // The pool of data streams is 4 to 64 and 1 to 61.
  constexpr quic::StreamId first_of_initiator = step * (quic::StreamId{data_stream_count} + 1);
  constexpr quic::StreamId first_of_acceptor = 1 + step * quic::StreamId{data_stream_count};
  if ((id & 2) != 0) return false;
  return id >= ((id & 1) != 0 ? first_of_acceptor : first_of_initiator);
}

Result<void> check_tag(std::string_view tag) {
  if (tag.empty() || tag.size() > tag_bytes_max) {
    return fail(Errc::invalid_argument, "the tag of a stream has 1 to 255 bytes, not " + std::to_string(tag.size()));
  }
  if (tag.starts_with(reserved_tags)) {
    return fail(Errc::invalid_argument, "tags that begin with barrel_p2p: are the library's: choose another one");
  }
  return {};
}

Bytes preamble(std::string_view tag) {
  Bytes bytes;
  bytes.reserve(1 + tag.size());
  bytes.push_back(static_cast<std::uint8_t>(tag.size()));
  const ByteView view = as_bytes(tag);
  bytes.insert(bytes.end(), view.begin(), view.end());
  return bytes;
}

InboundTags::Outcome InboundTags::feed(quic::StreamId id, ByteView bytes, bool fin, MonotonicTime now) {
  const auto found = waiting_.find(id);
  const ByteView head = found == waiting_.end() ? bytes : ByteView(found->second.bytes);
  const std::size_t parked = found == waiting_.end() ? 0 : head.size();
  if (parked == 0 && bytes.empty()) {
    if (!fin) return Waiting{};
    waiting_.erase(id);
    return Refused{Reason::cut_off};
  }
  const std::size_t length = parked > 0 ? head[0] : bytes[0];
  if (length == 0) {
    waiting_.erase(id);
    return Refused{Reason::empty_tag};
  }
  const std::size_t missing = 1 + length - parked;
  if (bytes.size() >= missing) {
    std::string tag(as_text(parked > 0 ? head.subspan(1) : ByteView()));
    tag += as_text(bytes.first(missing).subspan(parked > 0 ? 0 : 1));
    waiting_.erase(id);
    return Complete{std::move(tag), bytes.subspan(missing)};
  }
  if (fin) {
    waiting_.erase(id);
    return Refused{Reason::cut_off};
  }
  if (found == waiting_.end()) {
    if (waiting_.size() >= limits_.waiting_max) return Refused{Reason::too_many};
    Parked& fresh = waiting_[id];
    fresh.since = now;
    fresh.bytes.assign(bytes.begin(), bytes.end());
  } else {
    found->second.bytes.insert(found->second.bytes.end(), bytes.begin(), bytes.end());
  }
  return Waiting{};
}

std::vector<quic::StreamId> InboundTags::expire(MonotonicTime now) {
  std::vector<quic::StreamId> late;
  for (const auto& [id, parked] : waiting_) {
    if (now - parked.since >= limits_.timeout) late.push_back(id);
  }
  std::ranges::sort(late);
  for (const auto id : late) waiting_.erase(id);
  return late;
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
