// The tags of streams under any bytes on any streams in any pieces: no crash, bounded memory, and the same outcome as
// that of a reader who has all bytes of a stream at once.
//
//   input: how many may wait(1), then steps: stream(1), what(1), length(1) bytes
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <variant>

#include "distribution/streams/tags.hpp"

namespace {

using namespace barrel_p2p;
using namespace barrel_p2p::distribution;
using quic::StreamId;
using Waiting = InboundTags::Waiting;
using Refused = InboundTags::Refused;
using Complete = InboundTags::Complete;
using Reason = InboundTags::Reason;

void require(bool holds) {
  if (!holds) std::abort();
}

constexpr std::uint8_t waiting_mask = 7;
constexpr std::uint8_t fin_bit = 1;
constexpr std::uint8_t forget_bit = 2;
constexpr std::uint8_t expire_bit = 4;
constexpr Milliseconds step{1000};

class Watched {
 public:
  explicit Watched(std::size_t waiting_max) : waiting_max_(waiting_max), tags_({waiting_max, Milliseconds(10'000)}) {}

  void feed(StreamId id, ByteView bytes, bool fin) {
    const auto known = parked_.find(id);
    Bytes whole = known == parked_.end() ? Bytes() : known->second.bytes;
    whole.insert(whole.end(), bytes.begin(), bytes.end());
    const bool first = whole.size() == bytes.size();
    const auto outcome = tags_.feed(id, bytes, fin, now_);
    if (const auto* complete = std::get_if<Complete>(&outcome)) {
      Bytes again = preamble(complete->tag);
      again.insert(again.end(), complete->rest.begin(), complete->rest.end());
      require(again == whole && !complete->tag.empty() && complete->tag.size() <= tag_bytes_max);
      parked_.erase(id);
    } else if (const auto* refused = std::get_if<Refused>(&outcome)) {
      switch (refused->reason) {
        case Reason::empty_tag: require(!whole.empty() && whole[0] == 0); break;
        case Reason::cut_off: require(fin && (whole.empty() || is_part(whole))); break;
        case Reason::too_many: require(first && is_part(whole) && parked_.size() == waiting_max_); break;
      }
      parked_.erase(id);
    } else {
      require(!fin && (whole.empty() || is_part(whole)));
      if (!whole.empty()) parked_.try_emplace(id, Parked{{}, now_}).first->second.bytes = whole;
    }
    check();
  }
  void forget(StreamId id) {
    require(tags_.forget(id) == (parked_.erase(id) == 1));
    check();
  }
  void let_time_pass() {
    now_ += step;
    for (const StreamId id : tags_.expire(now_)) {
      require(parked_.contains(id) && now_ - parked_[id].since >= Milliseconds(10'000));
      parked_.erase(id);
    }
    for (const auto& [id, parked] : parked_) require(now_ - parked.since < Milliseconds(10'000));
    check();
  }

 private:
  struct Parked {
    Bytes bytes;
    MonotonicTime since{};
  };
  /// The beginning of a preamble whose end has not come.
  static bool is_part(const Bytes& bytes) { return bytes[0] != 0 && bytes.size() < 1U + bytes[0]; }
  void check() const {
    require(tags_.waiting() == parked_.size() && parked_.size() <= waiting_max_);
    for (const auto& [id, parked] : parked_) require(tags_.waits(id) && is_part(parked.bytes));
  }

  const std::size_t waiting_max_;
  InboundTags tags_;
  std::map<StreamId, Parked> parked_;
  MonotonicTime now_{};
};

void check_tag_of(ByteView bytes) {
  const std::string tag(as_text(bytes));
  const bool good = !tag.empty() && tag.size() <= tag_bytes_max && !tag.starts_with(reserved_tags);
  require(check_tag(tag).has_value() == good);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t head = 3;
  ByteView input(data, size);
  if (input.empty()) return 0;
  check_tag_of(input.subspan(1));
  Watched machine(1U + (input[0] & waiting_mask));
  input = input.subspan(1);
  while (input.size() >= head) {
    const StreamId id = 4 * StreamId{input[0]} + 1;
    require(is_user_stream(id) == (id > 61));
    const std::uint8_t what = input[1];
    const std::size_t length = input[2];
    input = input.subspan(head);
    const auto piece = input.first(length < input.size() ? length : input.size());
    input = input.subspan(piece.size());
    if ((what & forget_bit) != 0) machine.forget(id);
    if ((what & expire_bit) != 0) machine.let_time_pass();
    machine.feed(id, piece, (what & fin_bit) != 0);
  }
  return 0;
}
