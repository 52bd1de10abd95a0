// What a member sends to the membership and to gossip, as any term: no crash, bounds hold, and what is taken is the
// same when it is encoded and read again.
//
//   input: which of the two(1), then a term in the external format
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <variant>

#include "overlay/messages.hpp"

namespace {

using namespace barrel_p2p;
using namespace barrel_p2p::overlay;

void require(bool holds) {
  if (!holds) std::abort();
}

void check_bounds(const HyParViewMessage& message) {
  if (const auto* walk = std::get_if<ForwardJoin>(&message)) require(walk->ttl <= ttl_max);
  if (const auto* shuffle = std::get_if<Shuffle>(&message)) {
    require(shuffle->ttl <= ttl_max && shuffle->sample.size() <= sample_max);
  }
  if (const auto* reply = std::get_if<ShuffleReply>(&message)) require(reply->sample.size() <= sample_max);
}

void check_bounds(const PlumtreeMessage& message) {
  if (const auto* ihave = std::get_if<IHave>(&message)) {
    require(!ihave->announcements.empty() && ihave->announcements.size() <= ids_max);
  }
  if (const auto* graft = std::get_if<Graft>(&message)) require(graft->ids.size() <= ids_max);
}

/// `decode` is the reader of these messages.
template <class Decode>
void check(const Term& term, const Atom& from, Decode decode) {
  const auto message = decode(term, from);
  if (!message) return;
  check_bounds(*message);
  OwnRecord own;
  own.node = from;
  const Term first = encode_message(Message(*message), own, true);
  const auto again = decode(first, from);
  require(again.has_value());
  require(encode_message(Message(*again), own, true) == first);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto term = decode_term(ByteView(data + 1, size - 1));
  if (!term) return 0;
  const Atom from("a@h");
  if ((data[0] & 1U) == 0) {
    check(term->term, from, decode_hyparview);
  } else {
    check(term->term, from, decode_plumtree);
  }
  return 0;
}
