#include "distribution/auth/messages.hpp"

#include <algorithm>

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

enum Type : std::uint8_t { hello = 1, challenge = 2, response = 3, ok = 4, failure = 5 };
constexpr std::uint8_t version = 2;
constexpr std::size_t length_bytes = 2;

void put(std::uint64_t value, unsigned size, Bytes& out) {
  for (unsigned byte = size; byte-- > 0;) out.push_back(static_cast<std::uint8_t>(value >> (8U * byte)));
}

std::uint64_t get(ByteView bytes) {
  std::uint64_t value = 0;
  for (const auto byte : bytes) value = value << 8U | byte;
  return value;
}

struct Encoder {
  Bytes& out;
  void operator()(const AuthHello& message) const {
    out.insert(out.end(), {hello, version});
    put(message.name.text().size(), 2, out);
    out.insert(out.end(), message.name.text().begin(), message.name.text().end());
    out.insert(out.end(), message.key.begin(), message.key.end());
  }
  void operator()(const AuthChallenge& message) const {
    out.push_back(challenge);
    out.insert(out.end(), message.nonce.begin(), message.nonce.end());
    put(message.unix_milliseconds, 8, out);
  }
  void operator()(const AuthResponse& message) const {
    out.push_back(response);
    out.insert(out.end(), message.signature.begin(), message.signature.end());
  }
  void operator()(const AuthOk& /*message*/) const { out.push_back(ok); }
  void operator()(const AuthFail& message) const {
    out.push_back(failure);
    put(message.reason.size(), 2, out);
    out.insert(out.end(), message.reason.begin(), message.reason.end());
  }
};

std::unexpected<Error> bad(std::string what) { return fail(Errc::malformed_term, std::move(what)); }

Result<AuthMessage> decode_hello(ByteView rest) {
  if (rest.empty()) return bad("unknown_message_type 1");
  if (rest[0] != version || rest.size() < 3) return bad("unsupported_version " + std::to_string(rest[0]));
  const auto size = static_cast<std::size_t>(get(rest.subspan(1, 2)));
  rest = rest.subspan(3);
  if (rest.size() != size + std::tuple_size_v<PublicKey>) return bad("invalid_hello_payload");
  auto name = NodeName::parse(as_text(rest.first(size)));
  if (!name) return bad("invalid_node_name");
  AuthHello message{std::move(*name), {}};
  std::ranges::copy(rest.subspan(size), message.key.begin());
  return message;
}

}  // namespace

Bytes encode(const AuthMessage& message) {
  Bytes out;
  out.resize(length_bytes);  // constructed with a size, g++ 12 -O2 warns of array bounds, wrongly
  std::visit(Encoder{out}, message);
  const auto size = out.size() - length_bytes;
  out[0] = static_cast<std::uint8_t>(size >> 8U);
  out[1] = static_cast<std::uint8_t>(size);
  return out;
}

Result<AuthMessage> decode_auth_message(ByteView message) {
  if (message.empty()) return bad("malformed_message");
  const auto rest = message.subspan(1);
  switch (message[0]) {
    case hello: return decode_hello(rest);
    case challenge: {
      if (rest.size() != 40) return bad("invalid_challenge_payload");
      AuthChallenge decoded;
      std::ranges::copy(rest.first(32), decoded.nonce.begin());
      decoded.unix_milliseconds = get(rest.subspan(32));
      return decoded;
    }
    case response: {
      if (rest.size() != std::tuple_size_v<Signature>) return bad("invalid_response_payload");
      AuthResponse decoded{};
      std::ranges::copy(rest, decoded.signature.begin());
      return decoded;
    }
    case ok:
      if (!rest.empty()) return bad("unknown_message_type 4");
      return AuthOk{};
    case failure:
      if (rest.size() < 2 || rest.size() - 2 != get(rest.first(2))) return bad("invalid_fail_payload");
      return AuthFail{std::string(as_text(rest.subspan(2)))};
    default: return bad("unknown_message_type " + std::to_string(message[0]));
  }
}

Result<std::optional<Bytes>> AuthFrameReader::next(ByteView& input) {
  while (!input.empty()) {
    const std::size_t size =
        buffer_.size() < length_bytes ? 0 : static_cast<std::size_t>(get(ByteView(buffer_).first(length_bytes)));
    const auto piece = input.first(std::min(input.size(), length_bytes + size - buffer_.size()));
    input = input.subspan(piece.size());
    buffer_.insert(buffer_.end(), piece.begin(), piece.end());
    if (buffer_.size() < length_bytes) continue;
    const auto announced = static_cast<std::size_t>(get(ByteView(buffer_).first(length_bytes)));
    if (announced > message_bytes_max)
      return fail(Errc::limit_exceeded, "a message of " + std::to_string(announced) + " bytes is announced");
    if (buffer_.size() < length_bytes + announced) continue;
    Bytes message(buffer_.begin() + length_bytes, buffer_.end());
    buffer_.clear();
    return message;
  }
  return std::nullopt;
}

std::array<std::uint8_t, 104> signed_text(const AuthChallenge& challenge, const PublicKey& signer,
                                          const Digest& binding) {
  std::array<std::uint8_t, 104> text{};
  auto at = std::ranges::copy(challenge.nonce, text.begin()).out;
  for (unsigned byte = 8; byte-- > 0;) *at++ = static_cast<std::uint8_t>(challenge.unix_milliseconds >> (8U * byte));
  at = std::ranges::copy(signer, at).out;
  std::ranges::copy(binding, at);
  return text;
}

bool matches_any(std::string_view name, const std::vector<std::string>& patterns) {
  const auto split = name.find('@');
  if (split == std::string_view::npos) return false;
  return std::ranges::any_of(patterns, [&](std::string_view pattern) {
    const auto at = pattern.find('@');
    if (at == std::string_view::npos) return false;
    const auto left = pattern.substr(0, at);
    const auto right = pattern.substr(at + 1);
    return (left == "*" || left == name.substr(0, split)) && (right == "*" || right == name.substr(split + 1));
  });
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
