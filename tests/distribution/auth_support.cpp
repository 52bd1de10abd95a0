#include "distribution/auth_support.hpp"

#include <stdlib.h>
#include <sys/stat.h>

#include <fstream>
#include <iterator>

namespace barrel_p2p::test {

using namespace distribution;
namespace fs = std::filesystem;

PrivateKey key_of(std::uint8_t byte) {
  Seed seed{};
  seed.fill(byte);
  return PrivateKey(seed);
}

Nonce nonce_of(std::uint8_t byte) {
  Nonce nonce{};
  nonce.fill(byte);
  return nonce;
}

Digest binding_of(std::uint8_t byte) { return nonce_of(byte); }

AuthNow test_now(Milliseconds after) {
  return {MonotonicTime(std::chrono::hours(1)) + after, test_wall + after.count()};
}

AuthSide::AuthSide(AuthRole its_role, NodeName name, std::uint8_t key_byte, TrustMode mode)
    : role(its_role), key(key_of(key_byte)), trust(TrustStore::in_memory(mode, {})) {
  settings.own_name = name;
  nonce = nonce_of(static_cast<std::uint8_t>(key_byte ^ 0x80U));
}

AuthEffects AuthSide::start(AuthNow now) {
  ++nonce[0];
  exchange = std::make_unique<Authentication>(role, settings, key, *trust, dialled, binding, nonce);
  return exchange->start(now);
}

AuthSide initiator(NodeName name, std::uint8_t key_byte, NodeName peer, TrustMode mode) {
  AuthSide side(AuthRole::initiator, name, key_byte, mode);
  side.dialled = peer;
  return side;
}

AuthSide responder(NodeName name, std::uint8_t key_byte, TrustMode mode) {
  return AuthSide(AuthRole::responder, name, key_byte, mode);
}

std::string kind_of(const AuthMessage& message) {
  struct Kinds {
    std::string operator()(const AuthHello& /*message*/) const { return "HELLO"; }
    std::string operator()(const AuthChallenge& /*message*/) const { return "CHALLENGE"; }
    std::string operator()(const AuthResponse& /*message*/) const { return "RESPONSE"; }
    std::string operator()(const AuthOk& /*message*/) const { return "OK"; }
    std::string operator()(const AuthFail& message) const { return "FAIL(" + message.reason + ")"; }
  };
  return std::visit(Kinds{}, message);
}

void AuthTotal::add(AuthEffects&& effects) {
  for (auto& effect : effects) {
    if (outcomes > 0) throw std::runtime_error("an effect after the outcome");
    if (auto* send = std::get_if<AuthSend>(&effect)) {
      if (finished_stream) throw std::runtime_error("bytes after the end of the stream");
      sent.insert(sent.end(), send->bytes.begin(), send->bytes.end());
      auto message = decode_auth_message(ByteView(send->bytes).subspan(2));
      if (!message) throw std::runtime_error("sent what cannot be decoded");
      messages.push_back(std::move(*message));
    } else if (std::holds_alternative<AuthFinish>(effect)) {
      finished_stream = true;
    } else if (auto* success = std::get_if<AuthSucceeded>(&effect)) {
      succeeded = std::move(*success);
      ++outcomes;
    } else {
      failed = std::get<AuthFailed>(effect);
      ++outcomes;
    }
  }
}

std::string AuthTotal::outcome() const {
  if (succeeded) return "success";
  return failed ? std::string(name(failed->failure)) : "nothing";
}

std::string AuthTotal::story() const {
  std::string text;
  for (const auto& message : messages) text += (text.empty() ? "" : " ") + kind_of(message);
  return text;
}

AuthResult run_exchange(AuthSide& from, AuthSide& to, AuthNow now) {
  AuthResult result;
  result.responder.add(to.start(now));
  result.initiator.add(from.start(now));
  std::size_t to_read = 0;
  std::size_t from_read = 0;
  while (to_read < result.initiator.sent.size() || from_read < result.responder.sent.size()) {
    const Bytes there(result.initiator.sent.begin() + static_cast<std::ptrdiff_t>(to_read),
                      result.initiator.sent.end());
    to_read += there.size();
    result.responder.add(to.exchange->receive(there, now));
    const Bytes back(result.responder.sent.begin() + static_cast<std::ptrdiff_t>(from_read),
                     result.responder.sent.end());
    from_read += back.size();
    result.initiator.add(from.exchange->receive(back, now));
  }
  return result;
}

void write_file(const fs::path& file, ByteView content, unsigned mode) {
  {
    std::ofstream out(file, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
    if (!out) throw std::runtime_error("cannot write " + file.string());
  }
  fs::permissions(file, static_cast<fs::perms>(mode));
}

Bytes read_file(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + file.string());
  return Bytes(std::istreambuf_iterator<char>(in), {});
}

unsigned mode_of(const fs::path& file) {
  struct stat info{};
  if (::stat(file.c_str(), &info) != 0) throw std::runtime_error("no " + file.string());
  return info.st_mode & 07777U;
}

}  // namespace barrel_p2p::test
