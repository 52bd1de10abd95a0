// Any bytes give a term or an error; what is decoded survives encoding, printing and hashing.
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

namespace {

using namespace barrel_p2p;

void require(bool holds) {
  if (!holds) std::abort();
}

void check_same(const Term& left, const Term& right) {
  require(left == right);
  require(equals(left, right));
  require(compare(left, right) == 0);
  require(left.hash() == right.hash());
  require(phash2(left) == phash2(right));
}

void check_round_trips(const Term& term) {
  const Bytes encoded = encode_term(term);
  require(encoded.size() == encoded_size(term));
  const auto again = decode_term(encoded);
  require(again.has_value() && again->used == encoded.size());
  check_same(again->term, term);
  require(encode_term(again->term) == encoded);

  const Bytes packed = encode_term(term, {.version_byte = true, .compression = 1});
  const auto unpacked = decode_term(packed);
  require(unpacked.has_value());
  check_same(unpacked->term, term);

  // A local fun is opaque: its text names it for people, and nobody can read it back.
  const std::string text = to_text(term);
  if (text.find("#Fun<") != std::string::npos) return;
  const auto parsed = parse_term(text);
  if (!parsed) {
    require(parsed.error() == Errc::limit_exceeded);  // integers in text have at most 20,000 digits
    return;
  }
  check_same(*parsed, term);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input(data, size);
  DecodeOptions options;
  options.limits.memory_bytes_max = 16 * 1024 * 1024;
  options.limits.depth_max = 2'000;  // sanitizers multiply the stack that a level takes
  options.allow_trailing = true;
  const auto decoded = decode_term(input, options);

  // The bytes may be shared instead of copied: the same outcome.
  const auto owner = std::make_shared<const Bytes>(input.begin(), input.end());
  const auto shared = decode_term(ByteView(*owner), owner, options);
  require(shared.has_value() == decoded.has_value());

  options.allow_trailing = false;
  const auto whole = decode_term(input, options);
  if (!decoded) {
    require(!whole);
    return 0;
  }
  require(decoded->used <= size);
  require(whole.has_value() == (decoded->used == size));
  check_same(shared->term, decoded->term);
  check_round_trips(decoded->term);

  // One byte less is never the same term.
  options.allow_trailing = true;
  const auto cut = decode_term(input.first(decoded->used - 1), options);
  require(!cut || cut->used < decoded->used);
  return 0;
}
