// Writes the few kinds of terms that control tuples consist of, without building terms. Source: protocol document 08,
// section 1.2. Appends to a buffer of the caller; not for concurrent use.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

#include "term/tags.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

class EtfWriter {
 public:
  explicit EtfWriter(Bytes& out) noexcept : out_(out) {}

  void u8(std::uint8_t value) { out_.push_back(value); }
  void u16(std::uint32_t value) { big_endian(value, 2); }
  void u32(std::uint32_t value) { big_endian(value, 4); }
  void u64(std::uint64_t value) { big_endian(value, 8); }

  /// `arity` < 256.
  void tuple(std::uint8_t arity) {
    u8(tag::small_tuple);
    u8(arity);
  }
  void integer(std::uint64_t value) {
    if (value <= std::numeric_limits<std::uint8_t>::max()) {
      u8(tag::small_integer);
      u8(static_cast<std::uint8_t>(value));
    } else if (value <= std::numeric_limits<std::int32_t>::max()) {
      u8(tag::integer);
      u32(static_cast<std::uint32_t>(value));
    } else {
      big(value);
    }
  }
  void atom(std::string_view utf8) {
    if (utf8.size() <= std::numeric_limits<std::uint8_t>::max()) {
      u8(tag::small_atom_utf8);
      u8(static_cast<std::uint8_t>(utf8.size()));
    } else {
      u8(tag::atom_utf8);
      u16(static_cast<std::uint32_t>(utf8.size()));
    }
    out_.insert(out_.end(), utf8.begin(), utf8.end());
  }
  void atom(const Atom& name) { atom(name.text()); }
  void pid(const Pid& pid) {
    u8(tag::new_pid);
    atom(pid.node);
    u32(pid.id);
    u32(pid.serial);
    u32(pid.creation);
  }
  void reference(const Ref& reference) {
    u8(tag::newer_reference);
    u16(reference.count);
    atom(reference.node);
    u32(reference.creation);
    for (std::size_t at = 0; at < reference.count; ++at) u32(reference.words[at]);
  }

 private:
  void big_endian(std::uint64_t value, unsigned bytes) {
    for (unsigned left = bytes; left > 0; --left) u8(static_cast<std::uint8_t>(value >> (8U * (left - 1))));
  }
  void big(std::uint64_t value) {
    std::uint8_t digits = 0;
    for (std::uint64_t rest = value; rest != 0; rest >>= 8U) ++digits;
    u8(tag::small_big);
    u8(digits);
    u8(0);  // positive
    for (std::uint64_t rest = value; rest != 0; rest >>= 8U) u8(static_cast<std::uint8_t>(rest));
  }

  Bytes& out_;
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
