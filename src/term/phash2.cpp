// erlang:phash2/1,2. Source: protocol document 06, section 4.
#include <bit>
#include <stdexcept>

#include "term/box.hpp"
#include "term/hash_mix.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace {

using detail::Box;
using detail::box;
using detail::Kind;
using hash_mix::hash_one;
using hash_mix::hash_two;
using hash_mix::k;
using hash_mix::mix;

std::uint32_t little_endian(ByteView bytes, std::size_t at, std::size_t count) noexcept {
  std::uint32_t value = 0;
  for (std::size_t index = 0; index < count && at + index < bytes.size(); ++index)
    value |= static_cast<std::uint32_t>(bytes[at + index]) << (8 * index);
  return value;
}

std::uint32_t hash_block(ByteView bytes, std::uint32_t initial) noexcept {
  std::uint32_t a = k(1);
  std::uint32_t b = k(1);
  std::uint32_t c = initial;
  const auto total = static_cast<std::uint32_t>(bytes.size());
  while (bytes.size() >= 12) {
    a += little_endian(bytes, 0, 4), b += little_endian(bytes, 4, 4), c += little_endian(bytes, 8, 4);
    mix(a, b, c);
    bytes = bytes.subspan(12);
  }
  c += total;
  a += little_endian(bytes, 0, 4), b += little_endian(bytes, 4, 4), c += little_endian(bytes, 8, 3) << 8U;
  mix(a, b, c);
  return c;
}

std::uint32_t hash_atom(std::string_view text) noexcept {
  std::uint32_t hash = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    std::uint32_t value = static_cast<std::uint8_t>(text[at]);
    if ((value == 0xC2 || value == 0xC3) && at + 1 < text.size() &&
        (static_cast<std::uint8_t>(text[at + 1]) & 0xC0U) == 0x80) {
      value = (value << 6U & 0xFFU) | (static_cast<std::uint8_t>(text[++at]) & 0x3FU);
    }
    hash = hash * 16 + value;
    if (const std::uint32_t high = hash & 0xF0000000U; high != 0) hash = hash ^ (high >> 24U) ^ high;
  }
  return hash;
}

std::uint32_t feed(std::uint32_t hash, const Term& term) noexcept;

std::uint32_t feed_integer(std::uint32_t hash, std::int64_t value) noexcept {
  constexpr std::int64_t small = std::int64_t{1} << 27U;
  const bool negative = value < 0;
  const std::uint64_t size = negative ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
  if (value >= -small && value < small) {
    if (negative) hash = hash_one(hash, static_cast<std::uint32_t>(size), k(1));
    return hash_one(hash, static_cast<std::uint32_t>(value), k(1));
  }
  return hash_two(hash, static_cast<std::uint32_t>(size), static_cast<std::uint32_t>(size >> 32U),
                  negative ? k(10) : k(11));
}

std::uint32_t feed_big(std::uint32_t hash, const BigInteger& big) noexcept {
  for (std::size_t at = 0; at < big.magnitude.size(); at += 8) {
    hash = hash_two(hash, little_endian(big.magnitude, at, 4), little_endian(big.magnitude, at + 4, 4),
                    big.negative ? k(10) : k(11));
  }
  return hash;
}

std::uint32_t feed_bits(std::uint32_t hash, ByteView view, std::size_t bits) noexcept {
  const std::uint32_t start = k(13) + hash;
  if (bits == 0) return start;
  const std::size_t trailing = bits % 8;
  hash = hash_block(view.first(bits / 8), start);
  if (trailing != 0) {
    const auto value = static_cast<std::uint32_t>(view.back()) >> (8 - trailing);
    hash = hash_two(hash, static_cast<std::uint32_t>(trailing), value, k(15));
  }
  return hash;
}

std::uint32_t feed_list(std::uint32_t hash, const Term& list) noexcept {
  std::uint32_t run = 0;
  std::size_t collected = 0;
  for (const auto& element : list.elements()) {
    const auto value = element.as_int64();
    if (value && *value >= 0 && *value <= 255) {
      run = run << 8U | static_cast<std::uint32_t>(*value);
      if (++collected % 4 == 0) hash = hash_one(hash, std::exchange(run, 0), k(4));
      continue;
    }
    if (collected % 4 != 0) hash = hash_one(hash, run, k(4));
    run = 0, collected = 0;
    hash = feed(hash, element);
  }
  if (collected % 4 != 0) hash = hash_one(hash, run, k(4));
  return feed(hash, list.tail());
}

std::uint32_t feed_local_fun(std::uint32_t hash, const detail::LocalFunBox& fun) noexcept {
  hash = hash_two(hash, static_cast<std::uint32_t>(fun.free.size()), hash_atom(fun.module.text()), k(1));
  hash = hash_two(hash, static_cast<std::uint32_t>(fun.index), static_cast<std::uint32_t>(fun.old_unique), k(1));
  for (const auto& free : fun.free) hash = feed(hash, free);
  return hash;
}

std::uint32_t feed(std::uint32_t hash, const Term& term) noexcept {
  switch (Box::kind_of(term)) {
    case Kind::nil: return hash == 0 ? 3468870702U : hash_one(hash, 2, k(2));
    case Kind::integer: return feed_integer(hash, Box::integer_of(term));
    case Kind::big: return feed_big(hash, box<detail::BigBox>(term).value);
    case Kind::floating: {
      const double value = Box::floating_of(term);
      const auto bits = std::bit_cast<std::uint64_t>(value == 0.0 ? 0.0 : value);
      return hash_two(hash, static_cast<std::uint32_t>(bits >> 32U), static_cast<std::uint32_t>(bits), k(12));
    }
    case Kind::atom: {
      const std::uint32_t atom = hash_atom(Box::atom_text(term));
      return hash == 0 ? atom : hash_one(hash, atom, k(3));
    }
    case Kind::pid: return hash_one(hash, term.as_pid()->id, k(5));
    case Kind::port: {
      const std::uint64_t id = term.as_port()->id;
      return hash_two(hash, static_cast<std::uint32_t>(id), static_cast<std::uint32_t>(id >> 32U), k(6));
    }
    case Kind::reference: return hash_one(hash, term.as_reference()->words[0], k(7));
    case Kind::external_fun: {
      const auto& fun = *term.as_external_fun();
      hash = hash_two(hash, fun.arity, hash_atom(fun.module.text()), k(1));
      return hash_one(hash, hash_atom(fun.function.text()), k(14));
    }
    case Kind::local_fun: return feed_local_fun(hash, box<detail::LocalFunBox>(term));
    case Kind::tuple:
      hash = hash_one(hash, static_cast<std::uint32_t>(term.size()), k(9));
      for (const auto& element : term.elements()) hash = feed(hash, element);
      return hash;
    case Kind::list: return feed_list(hash, term);
    case Kind::map: {
      hash = hash_one(hash, static_cast<std::uint32_t>(term.size()), k(16));
      if (term.size() == 0) return hash;
      std::uint32_t all = 0;
      for (const auto& [key, value] : term.pairs()) all ^= feed(feed(0, key), value);
      return hash_one(hash, all, k(19));
    }
    case Kind::bitstring: return feed_bits(hash, box<detail::BitsBox>(term).view(), term.bit_size());
  }
  return hash;
}

std::uint32_t reduce(std::uint32_t hash, std::uint64_t range) {
  constexpr std::uint64_t range_max = std::uint64_t{1} << 32U;
  if (range < 1 || range > range_max) throw std::invalid_argument("the range of phash2 is 1 to 2^32");
  return static_cast<std::uint32_t>(hash % range);
}

}  // namespace

std::uint32_t phash2(const Term& term) noexcept { return feed(0, term) & 0x7FFFFFFU; }
std::uint32_t phash2(const Term& term, std::uint64_t range) { return reduce(feed(0, term), range); }
std::uint32_t phash2_of_binary(ByteView bytes, std::uint64_t range) {
  return reduce(feed_bits(0, bytes, bytes.size() * 8), range);
}

}  // namespace v0
}  // namespace barrel_p2p
