// The part of the public API that is about keys.
#include <barrel_p2p/node.hpp>

#include "node/parts.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace {

Result<distribution::PublicKey> parse_key(const std::string& hex) {
  distribution::PublicKey key{};
  const auto digit = [](char character) -> int {
    if (character >= '0' && character <= '9') return character - '0';
    constexpr int ten = 10;
    if (character >= 'a' && character <= 'f') return character - 'a' + ten;
    if (character >= 'A' && character <= 'F') return character - 'A' + ten;
    return -1;
  };
  constexpr unsigned digit_bits = 4;
  bool good = hex.size() == 2 * key.size();
  for (std::size_t at = 0; good && at < key.size(); ++at) {
    const int high = digit(hex[2 * at]);
    const int low = digit(hex[2 * at + 1]);
    good = high >= 0 && low >= 0;
    if (good)
      key[at] = static_cast<std::uint8_t>(static_cast<unsigned>(high) << digit_bits | static_cast<unsigned>(low));
  }
  if (!good) return fail(Errc::invalid_argument, "a public key is 64 hex digits");
  return key;
}

std::unexpected<Error> no_authentication() { return fail(Errc::invalid_config, "authentication is off"); }

std::string shown(const distribution::PublicKey& key) { return distribution::to_hex(distribution::fingerprint(key)); }

}  // namespace

std::string Node::public_key() const {
  const auto key = parts_->keys->identity();
  return key ? distribution::to_hex(key->public_key()) : "";
}

std::string Node::fingerprint() const {
  const auto key = parts_->keys->identity();
  return key ? shown(key->public_key()) : "";
}

std::vector<TrustedKey> Node::keys() const {
  std::vector<TrustedKey> list;
  if (!parts_->keys->trust()) return list;
  for (const auto& pin : parts_->keys->trust()->list()) {
    list.push_back({pin.name, distribution::to_hex(pin.key), shown(pin.key), pin.learned,
                    pin.next ? distribution::to_hex(*pin.next) : "", pin.revoked});
  }
  return list;
}

Result<void> Node::pin(const NodeName& node, const std::string& key) {
  if (!parts_->keys->trust()) return no_authentication();
  const auto parsed = parse_key(key);
  if (!parsed) return std::unexpected(parsed.error());
  return parts_->keys->trust()->pin(node, *parsed);
}

Result<void> Node::pin_next(const NodeName& node, const std::string& key) {
  if (!parts_->keys->trust()) return no_authentication();
  const auto parsed = parse_key(key);
  if (!parsed) return std::unexpected(parsed.error());
  return parts_->keys->trust()->pin_next(node, *parsed);
}

Result<void> Node::unpin(const NodeName& node) {
  if (!parts_->keys->trust()) return no_authentication();
  return parts_->keys->trust()->unpin(node);
}

void Node::set_trust_mode(TrustMode mode) {
  if (parts_->keys->trust()) parts_->keys->trust()->set_mode(mode);
}

TrustMode Node::trust_mode() const {
  const auto trust = parts_->keys->trust();
  return trust ? trust->mode() : parts_->config.authentication.trust_mode;
}

Result<void> Node::revoke(const std::string& key) {
  const auto parsed = parse_key(key);
  if (!parsed) return std::unexpected(parsed.error());
  return parts_->keys->revoke(*parsed);
}

Result<void> Node::unrevoke(const std::string& key) {
  const auto parsed = parse_key(key);
  if (!parsed) return std::unexpected(parsed.error());
  return parts_->keys->unrevoke(*parsed);
}

std::vector<std::string> Node::revoked_keys() const {
  std::vector<std::string> list;
  if (!parts_->keys->trust()) return list;
  for (const auto& key : parts_->keys->trust()->revoked()) list.push_back(distribution::to_hex(key));
  return list;
}

Result<std::string> Node::prepare_identity() {
  const auto next = parts_->keys->prepare_identity();
  if (!next) return std::unexpected(next.error());
  return distribution::to_hex(*next);
}

Result<RotatedIdentity> Node::rotate_identity() { return parts_->keys->rotate_identity(); }

Result<RotatedCertificate> Node::rotate_certificate() { return parts_->keys->rotate_certificate(); }

Result<void> Node::reload_keys() { return parts_->keys->reload(); }

}  // namespace v0
}  // namespace barrel_p2p
