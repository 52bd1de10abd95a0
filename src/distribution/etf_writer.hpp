// Writes the few kinds of terms that control tuples consist of, without building terms. Source: protocol document 08,
// section 1.2. Appends to a buffer of the caller; not for concurrent use.
#pragma once

#include <algorithm>
#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/term.hpp>
#include <concepts>
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
  void u16(std::uint32_t value) { put(static_cast<std::uint16_t>(value), grow(sizeof(std::uint16_t))); }
  void u32(std::uint32_t value) { put(value, grow(sizeof(value))); }
  void u64(std::uint64_t value) { put(value, grow(sizeof(value))); }

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
    const auto text = as_bytes(utf8);
    std::copy_n(text.data(), text.size(), grow(text.size()));
  }
  void atom(const Atom& name) { atom(name.text()); }
  void pid(const Pid& pid) {
    u8(tag::new_pid);
    atom(pid.node);
    std::uint8_t* at = grow(3 * sizeof(std::uint32_t));
    for (const std::uint32_t part : {pid.id, pid.serial, pid.creation}) at = put(part, at);
  }
  void reference(const Ref& reference) {
    u8(tag::newer_reference);
    u16(reference.count);
    atom(reference.node);
    u32(reference.creation);
    for (std::size_t at = 0; at < reference.count; ++at) u32(reference.words[at]);
  }

 private:
  /// So many bytes more, to be written at once.
  std::uint8_t* grow(std::size_t bytes) {
    const std::size_t at = out_.size();
    out_.resize(at + bytes);
    return out_.data() + at;
  }
  /// In network order. Returns what comes after it.
  template <std::unsigned_integral T>
  static std::uint8_t* put(T value, std::uint8_t* at) noexcept {
    for (std::size_t left = sizeof(T); left > 0; --left) *at++ = static_cast<std::uint8_t>(value >> (8U * (left - 1)));
    return at;
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
