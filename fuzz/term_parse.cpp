// Any text gives a term or an error; what is parsed survives printing and encoding.
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace {

using namespace barrel_p2p;

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto parsed = parse_term(as_text(ByteView(data, size)));
  if (!parsed) {
    require(!parsed.error().context().empty());
    return 0;
  }
  constexpr std::size_t printed_max = 4'000;  // bounds the depth: sanitizers multiply the stack that a level takes
  if (size > printed_max) return 0;
  const auto text = to_text(*parsed);
  const auto again = parse_term(text);
  if (!again) {
    require(again.error() == Errc::limit_exceeded);  // digits in base 36 become more than 20,000 in base 10
    return 0;
  }
  require(*again == *parsed);
  require(to_text(*again) == text);
  require(phash2(*again) == phash2(*parsed));

  const auto encoded = encode_term(*parsed);
  const auto decoded = decode_term(encoded);
  require(decoded.has_value());
  require(decoded->term == *parsed);
  return 0;
}
