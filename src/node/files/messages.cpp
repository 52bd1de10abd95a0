#include "node/files/messages.hpp"

#include <algorithm>
#include <concepts>
#include <type_traits>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace files {
namespace {

constexpr unsigned byte_bits = 8;

enum Type : std::uint8_t {
  type_offer = 1,
  type_begin = 2,
  type_data = 3,
  type_end = 4,
  type_have = 5,
  type_refusal = 6,
  type_done = 7,
  type_alive = 8,
};

std::unexpected<Error> malformed(const char* what) { return fail(Errc::invalid_argument, what); }

template <std::integral Number>
void put(Number value, Bytes& out) {
  using Unsigned = std::make_unsigned_t<Number>;
  for (std::size_t at = sizeof(Number); at-- > 0;) {
    out.push_back(static_cast<std::uint8_t>(static_cast<Unsigned>(value) >> (byte_bits * at)));
  }
}
void put(ByteView bytes, Bytes& out) { out.insert(out.end(), bytes.begin(), bytes.end()); }

/// Takes numbers and bytes from the front; `good` says whether there were enough.
class Cursor {
 public:
  explicit Cursor(ByteView bytes) noexcept : rest_(bytes) {}
  template <std::integral Number>
  Number number() {
    std::make_unsigned_t<Number> value = 0;
    for (const unsigned byte : take(sizeof(Number))) {
      value = static_cast<std::make_unsigned_t<Number>>(static_cast<std::uint64_t>(value) << byte_bits | byte);
    }
    return static_cast<Number>(value);
  }
  std::string text(std::size_t size) { return std::string(as_text(take(size))); }
  Sha256Digest digest() {
    Sha256Digest digest{};
    std::ranges::copy(take(digest.size()), digest.begin());
    return digest;
  }
  /// All was there, and nothing is left.
  [[nodiscard]] bool is_done() const noexcept { return good_ && rest_.empty(); }
  [[nodiscard]] std::size_t left() const noexcept { return rest_.size(); }

 private:
  ByteView take(std::size_t size) {
    if (size > rest_.size()) {
      good_ = false;
      return {};
    }
    const ByteView taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
  }
  ByteView rest_;
  bool good_ = true;
};

Result<Message> read_offer(Cursor& body) {
  Offer offer;
  const auto kind = body.number<std::uint8_t>();
  offer.kind = static_cast<Kind>(kind);
  offer.flags = body.number<std::uint8_t>();
  offer.mode = body.number<std::uint16_t>();
  offer.modified_seconds = body.number<std::int64_t>();
  offer.modified_nanoseconds = body.number<std::uint32_t>();
  offer.size = body.number<std::uint64_t>();
  offer.path = body.text(body.number<std::uint16_t>());
  offer.name = body.text(body.number<std::uint8_t>());
  constexpr std::uint32_t second = 1'000'000'000;
  if (!body.is_done()) return malformed("an offer with a wrong length");
  if (kind > static_cast<std::uint8_t>(Kind::directory)) return malformed("an offer of an unknown kind");
  if ((offer.flags & ~flags_known) != 0) return malformed("an offer with unknown flags");
  if (offer.has(flag_no_clobber) && offer.has(flag_force)) return malformed("an offer with flags that contradict");
  if (offer.has(flag_into) && offer.has(flag_exact)) return malformed("an offer with flags that contradict");
  if (offer.mode > mode_max) return malformed("an offer with more than permissions");
  if (offer.modified_nanoseconds >= second || offer.modified_seconds > modified_seconds_max ||
      offer.modified_seconds < -modified_seconds_max) {
    return malformed("an offer with an impossible time");
  }
  if (offer.kind == Kind::directory && offer.size != 0) return malformed("a directory with a size");
  return Message(std::move(offer));
}

Result<Message> read_refusal(Cursor& body) {
  const auto code = body.number<std::uint8_t>();
  if (code > static_cast<std::uint8_t>(RefusalCode::idle)) return malformed("a refusal with an unknown code");
  if (body.left() > refusal_bytes_max) return malformed("a refusal that is too long");
  Refusal refusal{static_cast<RefusalCode>(code), body.text(body.left())};
  constexpr unsigned char space = 0x20;
  constexpr unsigned char rubout = 0x7f;
  // It is printed: bytes that a terminal may obey are none of its business.
  std::ranges::replace_if(
      refusal.text,
      [](char character) {
        const auto byte = static_cast<unsigned char>(character);
        return byte < space || byte >= rubout;
      },
      '?');
  return Message(std::move(refusal));
}

/// The length of a body that a header may announce, or an error.
Result<std::size_t> body_size(ByteView header) {
  Cursor cursor(header);
  const auto type = cursor.number<std::uint8_t>();
  const std::size_t size = cursor.number<std::uint32_t>();
  if (type < type_offer || type > type_alive) return malformed("an unknown message");
  if (type == type_data) {
    if (size == 0 || size > data_bytes_max) return malformed("data of no length, or of too much");
  } else if (size > body_bytes_max) {
    return malformed("a message that is too long");
  }
  return size;
}

Result<Message> read_message(ByteView whole) {
  Cursor body(whole.subspan(header_bytes));
  switch (static_cast<Type>(whole[0])) {
    case type_offer: return read_offer(body);
    case type_begin: {
      const Begin begin{body.number<std::uint64_t>()};
      if (!body.is_done()) return malformed("a begin with a wrong length");
      return Message(begin);
    }
    case type_data: break;  // is read piece by piece
    case type_end: {
      const End end{body.digest()};
      if (!body.is_done()) return malformed("an end with a wrong length");
      return Message(end);
    }
    case type_have: {
      Have have;
      have.bytes = body.number<std::uint64_t>();
      have.digest = body.digest();
      if (!body.is_done()) return malformed("a have with a wrong length");
      return Message(have);
    }
    case type_refusal: return read_refusal(body);
    case type_done: {
      Done done{body.text(body.number<std::uint16_t>())};
      if (!body.is_done()) return malformed("a done with a wrong length");
      return Message(std::move(done));
    }
    case type_alive:
      if (!body.is_done()) return malformed("an alive with a body");
      return Message(Alive{});
  }
  return malformed("an unknown message");
}

struct Encoder {
  Bytes& out;
  Type operator()(const Offer& offer) const {
    put(static_cast<std::uint8_t>(offer.kind), out);
    put(offer.flags, out);
    put(offer.mode, out);
    put(offer.modified_seconds, out);
    put(offer.modified_nanoseconds, out);
    put(offer.size, out);
    put(static_cast<std::uint16_t>(offer.path.size()), out);
    put(as_bytes(offer.path), out);
    put(static_cast<std::uint8_t>(offer.name.size()), out);
    put(as_bytes(offer.name), out);
    return type_offer;
  }
  Type operator()(const Begin& begin) const {
    put(begin.from, out);
    return type_begin;
  }
  Type operator()(const Data& data) const {
    put(data.bytes, out);
    return type_data;
  }
  Type operator()(const End& end) const {
    put(end.digest, out);
    return type_end;
  }
  Type operator()(const Have& have) const {
    put(have.bytes, out);
    put(have.digest, out);
    return type_have;
  }
  Type operator()(const Refusal& refusal) const {
    put(static_cast<std::uint8_t>(refusal.code), out);
    put(as_bytes(std::string_view(refusal.text).substr(0, refusal_bytes_max)), out);
    return type_refusal;
  }
  Type operator()(const Done& done) const {
    put(static_cast<std::uint16_t>(done.path.size()), out);
    put(as_bytes(done.path), out);
    return type_done;
  }
  Type operator()(const Alive& /*alive*/) const { return type_alive; }
};

void put_header(Type type, std::size_t size, std::span<std::uint8_t, header_bytes> out) {
  out[0] = type;
  for (std::size_t at = 1; at < header_bytes; ++at) {
    out[at] = static_cast<std::uint8_t>(size >> (byte_bits * (header_bytes - 1 - at)));
  }
}

}  // namespace

Bytes encode(const Message& message) {
  Bytes out(header_bytes);
  const Type type = std::visit(Encoder{out}, message);
  put_header(type, out.size() - header_bytes, std::span(out).first<header_bytes>());
  return out;
}

void put_data_header(std::size_t size, std::span<std::uint8_t, header_bytes> out) { put_header(type_data, size, out); }

Result<std::optional<Message>> MessageReader::read(ByteView& bytes) {
  const auto take = [&](std::size_t wanted) {
    const std::size_t size = std::min(wanted, bytes.size());
    const ByteView taken = bytes.first(size);
    bytes = bytes.subspan(size);
    return taken;
  };
  if (data_left_ == 0) {
    if (head_.size() < header_bytes) put(take(header_bytes - head_.size()), head_);
    if (head_.size() < header_bytes) return std::optional<Message>();
    const auto size = body_size(head_);
    if (!size) return std::unexpected(size.error());
    if (head_[0] == type_data) {
      data_left_ = *size;
      head_.clear();
    } else {
      put(take(header_bytes + *size - head_.size()), head_);
      if (head_.size() < header_bytes + *size) return std::optional<Message>();
      auto message = read_message(head_);
      head_.clear();
      if (!message) return std::unexpected(message.error());
      return std::optional<Message>(std::move(*message));
    }
  }
  if (bytes.empty()) return std::optional<Message>();
  const ByteView piece = take(data_left_);
  data_left_ -= piece.size();
  return std::optional<Message>(Data{piece});
}

}  // namespace files
}  // namespace v0
}  // namespace barrel_p2p
