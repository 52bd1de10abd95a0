#include "keys_command.hpp"

#include <algorithm>
#include <barrel_p2p/node_name.hpp>
#include <optional>
#include <ostream>

#include "command_line.hpp"
#include "distribution/auth/ed25519.hpp"
#include "distribution/auth/files.hpp"
#include "distribution/auth/identity.hpp"
#include "distribution/auth/trust_store.hpp"
#include "hex.hpp"

namespace barrel_p2p::command {
namespace {

using distribution::PublicKey;

Result<PublicKey> read_key(const std::string& text) {
  auto bytes = from_hex(text);
  PublicKey key{};
  if (!bytes || bytes->size() != key.size())
    bytes = distribution::read_small_file(text, key.size(), distribution::FileCare::any);
  if (!bytes || bytes->size() != key.size()) {
    return fail(Errc::invalid_argument,
                "a public key is 64 hex digits, or a file of 32 bytes; \"" + text + "\" is neither");
  }
  std::ranges::copy(*bytes, key.begin());
  return key;
}

std::string shown(const PublicKey& key) { return distribution::to_hex(distribution::fingerprint(key)); }

class Keys {
 public:
  Keys(const KeysCommand& command, std::ostream& output, std::ostream& errors)
      : command_(command), output_(output), errors_(errors) {}

  Result<void> run() {
    switch (command_.operation) {
      case KeysOperation::show: return show();
      case KeysOperation::list: return list();
      case KeysOperation::pin: return pin();
      case KeysOperation::unpin: return unpin();
      case KeysOperation::fingerprint: return print_fingerprint();
    }
    return {};
  }

 private:
  Result<std::shared_ptr<distribution::TrustStore>> store() {
    return distribution::TrustStore::open(command_.key_dir, TrustMode::strict, {}, [this](const std::string& text) {
      errors_ << "barrel_p2p keys: " << text << '\n';
    });
  }
  Result<void> show() {
    const auto identity = distribution::load_or_create_identity(command_.key_dir);
    if (!identity) return std::unexpected(identity.error());
    output_ << "key         " << distribution::to_hex(identity->public_key()) << '\n'
            << "fingerprint " << shown(identity->public_key()) << '\n';
    return {};
  }
  Result<void> list() {
    const auto opened = store();
    if (!opened) return std::unexpected(opened.error());
    for (const auto& pin : (*opened)->list()) {
      output_ << pin.name.text() << ' ' << shown(pin.key) << ' ' << distribution::to_hex(pin.key) << '\n';
    }
    return {};
  }
  Result<void> pin() {
    const auto name = NodeName::parse(command_.node);
    if (!name) return std::unexpected(name.error());
    const auto key = read_key(command_.key);
    if (!key) return std::unexpected(key.error());
    const auto opened = store();
    if (!opened) return std::unexpected(opened.error());
    return (*opened)->pin(*name, *key);
  }
  Result<void> unpin() {
    const auto name = NodeName::parse(command_.node);
    if (!name) return std::unexpected(name.error());
    const auto opened = store();
    if (!opened) return std::unexpected(opened.error());
    return (*opened)->unpin(*name);
  }
  Result<void> print_fingerprint() {
    std::optional<PublicKey> key;
    if (!command_.key.empty()) {
      const auto given = read_key(command_.key);
      if (!given) return std::unexpected(given.error());
      key = *given;
    } else {
      const auto identity = distribution::load_identity(command_.key_dir);
      if (!identity) return std::unexpected(identity.error());
      key = identity->public_key();
    }
    output_ << shown(*key) << '\n';
    return {};
  }

  const KeysCommand& command_;
  std::ostream& output_;
  std::ostream& errors_;
};

}  // namespace

int run_keys_command(const KeysCommand& command, std::ostream& output, std::ostream& errors) {
  const auto done = Keys(command, output, errors).run();
  if (done) return exit_ok;
  errors << "barrel_p2p keys: " << done.error().message() << '\n';
  const bool usage = done.error() == Errc::invalid_argument || done.error() == Errc::invalid_node_name;
  return usage ? exit_usage : exit_failed;
}

}  // namespace barrel_p2p::command
