// Conversions between terms and C++ types. Included by term.hpp; see Term::to and TermCodec there.
#pragma once

#include <barrel_p2p/term.hpp>
#include <cmath>
#include <limits>

namespace barrel_p2p {
inline namespace v0 {

/// Names one member of a struct for `term_fields`.
template <class Struct, class Member>
struct TermField {
  std::string_view name;
  Member Struct::* member;
};
template <class Struct, class Member>
constexpr TermField<Struct, Member> field(std::string_view name, Member Struct::* member) {
  return {name, member};
}

namespace detail {

BARREL_P2P_API std::unexpected<Error> wrong_type(std::string_view expected, const Term& got);
/// Puts a step in front of the path of a type_mismatch: `at "limits"[2]: ...`.
BARREL_P2P_API Error inside(std::string_view step, const Error& error);
/// Rounded to the nearest; infinite beyond the range.
BARREL_P2P_API double nearest_double(const BigInteger& integer) noexcept;

template <class T>
concept HasTermFields = requires { T::term_fields; };
template <class T>
concept TermNumber = std::is_arithmetic_v<T> && !std::is_same_v<T, bool>;
/// The type of the same size and sign that std::in_range takes: it takes no character types.
template <std::integral T>
using PlainInteger = std::conditional_t<std::is_signed_v<T>, std::make_signed_t<T>, std::make_unsigned_t<T>>;

}  // namespace detail

template <detail::HasTermFields T>
struct TermCodec<T> {
  static Term encode(const T& value) {
    std::vector<TermPair> pairs;
    std::apply([&](const auto&... fields) { (pairs.emplace_back(Atom(fields.name), Term(value.*fields.member)), ...); },
               T::term_fields);
    return Term::map(std::move(pairs));
  }
  static Result<T> decode(const Term& term) {
    if (!term.is_map()) return detail::wrong_type("a map", term);
    T value{};
    std::optional<Error> error;
    std::apply([&](const auto&... fields) { (read(term, fields, value, error), ...); }, T::term_fields);
    if (error) return std::unexpected(*error);
    return value;
  }

 private:
  template <class Field>
  static void read(const Term& term, const Field& field, T& value, std::optional<Error>& error) {
    if (error) return;
    using Member = std::remove_cvref_t<decltype(value.*field.member)>;
    auto member = term.get<Member>(Atom(field.name));
    if (member) {
      value.*field.member = std::move(*member);
    } else {
      error = member.error();
    }
  }
};

template <class T>
struct TermCodec<std::vector<T>> {
  static Term encode(const std::vector<T>& values) {
    std::vector<Term> terms(values.begin(), values.end());
    return Term::list(std::move(terms));
  }
  static Result<std::vector<T>> decode(const Term& term) {
    if (!term.is_proper_list()) return detail::wrong_type("a list", term);
    std::vector<T> values;
    values.reserve(term.size());
    for (std::size_t at = 0; at < term.size(); ++at) {
      auto value = term.elements()[at].template to<T>();
      if (!value) return std::unexpected(detail::inside("[" + std::to_string(at) + "]", value.error()));
      values.push_back(std::move(*value));
    }
    return values;
  }
};

/// Bytes are a binary, not a list.
template <>
struct TermCodec<Bytes> {
  static Term encode(const Bytes& bytes) { return Term::binary(bytes); }
  static Result<Bytes> decode(const Term& term) {
    const auto bytes = term.as_binary();
    if (!bytes) return detail::wrong_type("a binary", term);
    return Bytes(bytes->begin(), bytes->end());
  }
};

template <class T, std::size_t N>
struct TermCodec<std::array<T, N>> {
  static Term encode(const std::array<T, N>& values) {
    return Term::list(std::vector<Term>(values.begin(), values.end()));
  }
  static Result<std::array<T, N>> decode(const Term& term) {
    auto list = term.to<std::vector<T>>();
    if (!list) return std::unexpected(list.error());
    if (list->size() != N) return detail::wrong_type("a list of " + std::to_string(N), term);
    std::array<T, N> values;
    for (std::size_t at = 0; at < N; ++at) values[at] = std::move((*list)[at]);
    return values;
  }
};

namespace detail {
template <class Map>
struct MapCodec {
  static Term encode(const Map& values) {
    std::vector<TermPair> pairs;
    pairs.reserve(values.size());
    for (const auto& [key, value] : values) pairs.emplace_back(Term(key), Term(value));
    return Term::map(std::move(pairs));
  }
  static Result<Map> decode(const Term& term) {
    if (!term.is_map()) return wrong_type("a map", term);
    Map values;
    for (const auto& [key, value] : term.pairs()) {
      auto left = key.template to<typename Map::key_type>();
      if (!left) return std::unexpected(inside("key", left.error()));
      auto right = value.template to<typename Map::mapped_type>();
      if (!right) return std::unexpected(inside(to_text(key), right.error()));
      values.emplace(std::move(*left), std::move(*right));
    }
    return values;
  }
};
}  // namespace detail

template <class K, class V, class... Rest>
struct TermCodec<std::map<K, V, Rest...>> : detail::MapCodec<std::map<K, V, Rest...>> {};
template <class K, class V, class... Rest>
struct TermCodec<std::unordered_map<K, V, Rest...>> : detail::MapCodec<std::unordered_map<K, V, Rest...>> {};

template <class... T>
struct TermCodec<std::tuple<T...>> {
  static Term encode(const std::tuple<T...>& values) {
    return std::apply([](const auto&... value) { return Term::tuple({Term(value)...}); }, values);
  }
  static Result<std::tuple<T...>> decode(const Term& term) {
    if (!term.is_tuple(sizeof...(T))) return detail::wrong_type("a tuple of " + std::to_string(sizeof...(T)), term);
    return read(term, std::index_sequence_for<T...>());
  }

 private:
  template <std::size_t... I>
  static Result<std::tuple<T...>> read(const Term& term, std::index_sequence<I...> /*positions*/) {
    auto parts = std::make_tuple(term.elements()[I].template to<T>()...);
    std::optional<Error> error;
    ((!error && !std::get<I>(parts) ? error = detail::inside("[" + std::to_string(I) + "]", std::get<I>(parts).error())
                                    : error),
     ...);
    if (error) return std::unexpected(*error);
    return std::tuple<T...>(std::move(*std::get<I>(parts))...);
  }
};

template <class A, class B>
struct TermCodec<std::pair<A, B>> {
  static Term encode(const std::pair<A, B>& value) { return Term::tuple({Term(value.first), Term(value.second)}); }
  static Result<std::pair<A, B>> decode(const Term& term) {
    auto both = term.to<std::tuple<A, B>>();
    if (!both) return std::unexpected(both.error());
    return std::pair<A, B>(std::move(std::get<0>(*both)), std::move(std::get<1>(*both)));
  }
};

/// Absent is the atom `undefined`.
template <class T>
struct TermCodec<std::optional<T>> {
  static Term encode(const std::optional<T>& value) { return value ? Term(*value) : Term(Atom("undefined")); }
  static Result<std::optional<T>> decode(const Term& term) {
    if (term.is_atom("undefined")) return std::optional<T>();
    auto value = term.to<T>();
    if (!value) return std::unexpected(value.error());
    return std::optional<T>(std::move(*value));
  }
};

/// The first alternative that fits.
template <class... T>
struct TermCodec<std::variant<T...>> {
  static Term encode(const std::variant<T...>& value) {
    return std::visit([](const auto& alternative) { return Term(alternative); }, value);
  }
  static Result<std::variant<T...>> decode(const Term& term) {
    std::optional<std::variant<T...>> found;
    ((found ? void() : attempt<T>(term, found)), ...);
    if (!found) return detail::wrong_type("one of the alternatives", term);
    return std::move(*found);
  }

 private:
  template <class U>
  static void attempt(const Term& term, std::optional<std::variant<T...>>& found) {
    if (auto value = term.to<U>()) found.emplace(std::move(*value));
  }
};

/// Milliseconds.
template <class Rep, class Period>
struct TermCodec<std::chrono::duration<Rep, Period>> {
  using Duration = std::chrono::duration<Rep, Period>;
  static Term encode(const Duration& value) {
    return Term(static_cast<std::int64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(value).count()));
  }
  static Result<Duration> decode(const Term& term) {
    const auto value = term.as_int64();
    if (!value) return detail::wrong_type("an integer", term);
    // A finer unit has a smaller range.
    const std::chrono::duration<long double, Period> wide = std::chrono::milliseconds(*value);
    if (wide < Duration::min() || wide > Duration::max()) return detail::wrong_type("milliseconds that fit", term);
    return std::chrono::duration_cast<Duration>(std::chrono::milliseconds(*value));
  }
};

template <class T>
Result<T> Term::to() const {
  if constexpr (std::is_same_v<T, Term>) {
    return *this;
  } else if constexpr (std::is_same_v<T, bool>) {
    const auto value = as_bool();
    if (!value) return detail::wrong_type("true or false", *this);
    return *value;
  } else if constexpr (std::is_floating_point_v<T>) {
    if (const auto value = as_double()) return static_cast<T>(*value);
    if (const auto whole = as_int64()) return static_cast<T>(*whole);
    if (const auto whole = as_uint64()) return static_cast<T>(*whole);
    const auto large = as_big_integer();
    if (!large) return detail::wrong_type("a number", *this);
    const auto nearest = static_cast<T>(detail::nearest_double(*large));
    if (std::isinf(nearest)) return detail::wrong_type("a number in the range of a float", *this);
    return nearest;
  } else if constexpr (std::is_integral_v<T>) {
    using Plain = detail::PlainInteger<T>;
    if (const auto value = as_int64(); value && std::in_range<Plain>(*value)) return static_cast<T>(*value);
    if (const auto value = as_uint64(); value && std::in_range<Plain>(*value)) return static_cast<T>(*value);
    return detail::wrong_type("an integer from " + std::to_string(std::numeric_limits<Plain>::min()) + " to " +
                                  std::to_string(std::numeric_limits<Plain>::max()),
                              *this);
  } else if constexpr (std::is_same_v<T, std::string>) {
    auto value = as_string();
    if (!value) return detail::wrong_type("text (a binary or iodata)", *this);
    return std::move(*value);
  } else if constexpr (std::is_same_v<T, Atom>) {
    auto value = as_atom();
    if (!value) return detail::wrong_type("an atom", *this);
    return std::move(*value);
  } else if constexpr (std::is_same_v<T, Pid>) {
    if (as_pid() == nullptr) return detail::wrong_type("a pid", *this);
    return *as_pid();
  } else if constexpr (std::is_same_v<T, Ref>) {
    if (as_reference() == nullptr) return detail::wrong_type("a reference", *this);
    return *as_reference();
  } else if constexpr (std::is_same_v<T, BigInteger>) {
    auto value = as_big_integer();
    if (!value) return detail::wrong_type("an integer", *this);
    return std::move(*value);
  } else {
    return TermCodec<T>::decode(*this);
  }
}

template <class T>
Result<T> Term::get(const Term& key) const {
  const Term* value = find(key);
  if (value == nullptr) return fail(Errc::not_found, "no key " + to_text(key));
  auto converted = value->to<T>();
  if (!converted) return std::unexpected(detail::inside(to_text(key), converted.error()));
  return converted;
}

}  // namespace v0
}  // namespace barrel_p2p
