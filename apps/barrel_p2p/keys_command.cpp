#include "keys_command.hpp"

#include <algorithm>
#include <barrel_p2p/node_name.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <ostream>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "command_line.hpp"
#include "complaint.hpp"
#include "directories.hpp"
#include "distribution/auth/ed25519.hpp"
#include "distribution/auth/files.hpp"
#include "distribution/auth/identity.hpp"
#include "distribution/auth/trust_store.hpp"
#include "hex.hpp"
#include "json.hpp"

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
      : command_(command), output_(output), complaints_{errors, "keys", command.json} {}

  Result<void> run() {
    switch (command_.operation) {
      case KeysOperation::show: return show();
      case KeysOperation::make: return make();
      case KeysOperation::list: return list();
      case KeysOperation::pin: return pin();
      case KeysOperation::unpin: return unpin();
      case KeysOperation::fingerprint: return print_fingerprint();
      case KeysOperation::prepare: return prepare();
      case KeysOperation::rotate: return rotate();
      case KeysOperation::revoke: return revoke();
      case KeysOperation::unrevoke: return unrevoke();
      case KeysOperation::revoked: return list_revoked();
    }
    return {};
  }

 private:
  Result<std::shared_ptr<distribution::TrustStore>> store() {
    return distribution::TrustStore::open(command_.key_dir, TrustMode::strict, {}, [this](const std::string& text) {
      complaints_.tell(exit_ok, text);  // a warning
    });
  }
  Result<void> show() {
    const auto identity = existing_identity();
    if (!identity) return std::unexpected(identity.error());
    print(identity->public_key());
    return {};
  }
  Result<void> make() {
    const auto present = distribution::load_identity(command_.key_dir);
    if (present) {
      return fail(Errc::already_registered, "there is an identity in " + command_.key_dir.string() +
                                                " already: `keys show` prints it, `keys rotate` replaces it");
    }
    if (present.error() != Errc::not_found) return std::unexpected(present.error());
    const auto made = distribution::load_or_create_identity(command_.key_dir);
    if (!made) return std::unexpected(made.error());
    print_changed(made->public_key());
    return {};
  }
  /// To print a new one for a directory that was mistyped would have peers pin a key that no node has.
  Result<distribution::PrivateKey> existing_identity() const {
    auto identity = distribution::load_identity(command_.key_dir);
    if (identity || identity.error() != Errc::not_found) return identity;
    return fail(Errc::not_found, identity.error().context() +
                                     ": give the --data or --key-dir of the node; before its first start `keys new` "
                                     "makes one");
  }
  static JsonObject described(const PublicKey& key) {
    return std::move(JsonObject().set("fingerprint", shown(key)).set("key", distribution::to_hex(key)));
  }
  void print(const Json& json) { output_ << json.text() << '\n'; }
  void print(const PublicKey& key) {
    if (command_.json) return print(Json(described(key)));
    output_ << "key         " << distribution::to_hex(key) << '\n' << "fingerprint " << shown(key) << '\n';
  }
  std::string directory() const { return absolute_text(command_.key_dir); }
  void print_directory() { output_ << "directory   " << directory() << '\n'; }
  void print_changed(const PublicKey& key) {
    if (command_.json) return print(described(key).set("directory", directory()));
    print(key);
    print_directory();
  }
  Result<void> list() {
    std::vector<distribution::PinnedKey> pins;
    if (auto there = must_exist(command_.key_dir); !there) return there;
    if (std::filesystem::exists(command_.key_dir / "trusted")) {  // otherwise the store would make it
      const auto opened = store();
      if (!opened) return std::unexpected(opened.error());
      pins = (*opened)->list();
    }
    if (command_.json) {
      std::vector<Json> keys;
      keys.reserve(pins.size());
      for (const auto& pin : pins) {
        keys.push_back(described(pin.key)
                           .set("name", pin.name.text())
                           .set("next", pin.next ? Json(distribution::to_hex(*pin.next)) : Json())
                           .set("revoked", pin.revoked));
      }
      print(JsonObject().set("keys", keys));
      return {};
    }
    for (const auto& pin : pins) {
      output_ << pin.name.text() << ' ' << shown(pin.key) << ' ' << distribution::to_hex(pin.key);
      if (pin.next) output_ << " next " << distribution::to_hex(*pin.next);
      output_ << (pin.revoked ? " revoked\n" : "\n");
    }
    return {};
  }
  Result<void> pin() {
    const auto name = NodeName::parse(command_.node);
    if (!name) return std::unexpected(name.error());
    const auto key = read_key(command_.key);
    if (!key) return std::unexpected(key.error());
    const auto opened = store_to_pin_in();
    if (!opened) return std::unexpected(opened.error());
    auto pinned = command_.next ? (*opened)->pin_next(*name, *key) : (*opened)->pin(*name, *key);
    if (!pinned) return pinned;
    if (command_.json) {
      print(described(*key).set("name", name->text()).set("next", command_.next).set("directory", directory()));
      return {};
    }
    output_ << (command_.next ? "next for    " : "pinned for  ") << name->text() << '\n'
            << "fingerprint " << shown(*key) << '\n';
    print_directory();
    return {};
  }
  Result<void> unpin() {
    const auto name = NodeName::parse(command_.node);
    if (!name) return std::unexpected(name.error());
    const auto opened = existing_store();
    if (!opened) return std::unexpected(opened.error());
    if (auto unpinned = (*opened)->unpin(*name); !unpinned) return unpinned;
    if (command_.json) {
      print(JsonObject().set("name", name->text()).set("unpinned", true).set("directory", directory()));
      return {};
    }
    output_ << "unpinned    " << name->text() << '\n';
    print_directory();
    return {};
  }
  Result<void> print_fingerprint() {
    std::optional<PublicKey> key;
    if (!command_.key.empty()) {
      const auto given = read_key(command_.key);
      if (!given) return std::unexpected(given.error());
      key = *given;
    } else {
      const auto identity = existing_identity();
      if (!identity) return std::unexpected(identity.error());
      key = identity->public_key();
    }
    if (command_.json) {
      print(Json(described(*key)));
    } else {
      output_ << shown(*key) << '\n';
    }
    return {};
  }

  Result<void> prepare() {
    const auto next = distribution::prepare_identity(command_.key_dir);
    if (!next) return std::unexpected(next.error());
    print_changed(next->public_key());
    if (command_.json) return {};
    output_ << "`keys rotate` brings it into force. Before that: barrel_p2p keys pin --next NODE KEY, at each peer.\n";
    return {};
  }
  Result<void> rotate() {
    const auto rotated = distribution::rotate_identity(command_.key_dir, wall_now());
    if (!rotated) return std::unexpected(rotated.error());
    if (command_.json) {
      const auto& backup = rotated->backup;
      print(described(rotated->key.public_key())
                .set("backup", backup ? Json(backup->string()) : Json())
                .set("directory", directory()));
      return {};
    }
    print_changed(rotated->key.public_key());
    if (rotated->backup) output_ << "backup      " << rotated->backup->string() << '\n';
    output_
        << "Peers that were not told of this key before refuse it: barrel_p2p keys pin NODE KEY, at each of them.\n";
    return {};
  }

  /// To revoke keys of a directory that does not exist would keep nobody out.
  Result<std::shared_ptr<distribution::TrustStore>> existing_store() {
    if (auto there = must_exist(command_.key_dir); !there) return std::unexpected(there.error());
    return store();
  }
  /// Before its first start a node has a data directory at most.
  Result<std::shared_ptr<distribution::TrustStore>> store_to_pin_in() {
    if (command_.data_dir.empty() || must_exist(command_.key_dir)) return existing_store();
    if (const auto there = must_exist(command_.data_dir); !there) {
      if (there.error() != Errc::not_found) return std::unexpected(there.error());
      return fail(Errc::not_found, there.error().context() + "; before its first start `keys new` makes it");
    }
    return store();
  }
  /// The key that is meant: that of a name, that with this fingerprint, or the given one.
  Result<PublicKey> meant(const distribution::TrustStore& store) const {
    if (command_.key.find('@') != std::string::npos && !std::filesystem::exists(command_.key)) {
      const auto name = NodeName::parse(command_.key);
      if (!name) return std::unexpected(name.error());
      const auto pinned = store.find(*name);
      if (!pinned) return fail(Errc::not_found, "no key is pinned for " + name->string() + ": give the key itself");
      return *pinned;
    }
    const auto given = read_key(command_.key);
    if (!given) return given;
    const auto has_it = [&](const PublicKey& key) { return distribution::fingerprint(key) == *given; };
    for (const auto& pin : store.list()) {
      if (has_it(pin.key)) return pin.key;
    }
    for (const auto& key : store.revoked()) {
      if (has_it(key)) return key;
    }
    return given;
  }
  void print_revoked(const distribution::TrustStore& store, const PublicKey& key, bool revoked) {
    std::vector<std::string> names;
    for (const auto& pin : store.list()) {
      if (pin.key == key) names.push_back(pin.name.string());
    }
    print(described(key).set("revoked", revoked).set("names", names).set("directory", directory()));
  }
  void print_names(const distribution::TrustStore& store, const PublicKey& key) {
    for (const auto& pin : store.list()) {
      if (pin.key == key) output_ << "pinned for  " << pin.name.text() << '\n';
    }
  }
  Result<void> revoke() {
    const auto opened = existing_store();
    if (!opened) return std::unexpected(opened.error());
    const auto key = meant(**opened);
    if (!key) return std::unexpected(key.error());
    const auto own = distribution::load_identity(command_.key_dir);
    if (own && own->public_key() == *key) {
      return fail(Errc::invalid_argument, "this is the key of this node: rotate it, and revoke it at the peers");
    }
    if (auto revoked = (*opened)->revoke(*key); !revoked) return revoked;
    if (command_.json) {
      print_revoked(**opened, *key, true);
      return {};
    }
    output_ << "revoked     " << shown(*key) << '\n';
    print_names(**opened, *key);
    print_directory();
    output_ << "A node that runs with these keys closes its connections within auth_key_watch_ms (1000).\n";
    return {};
  }
  Result<void> unrevoke() {
    const auto opened = existing_store();
    if (!opened) return std::unexpected(opened.error());
    const auto key = meant(**opened);
    if (!key) return std::unexpected(key.error());
    if (auto unrevoked = (*opened)->unrevoke(*key); !unrevoked) return unrevoked;
    if (command_.json) {
      print_revoked(**opened, *key, false);
      return {};
    }
    output_ << "not revoked " << shown(*key) << '\n';
    print_names(**opened, *key);
    print_directory();
    return {};
  }
  Result<void> list_revoked() {
    const auto opened = existing_store();
    if (!opened) return std::unexpected(opened.error());
    if (command_.json) {
      std::vector<Json> keys;
      for (const auto& key : (*opened)->revoked()) keys.push_back(described(key));
      print(JsonObject().set("keys", keys));
      return {};
    }
    for (const auto& key : (*opened)->revoked()) output_ << shown(key) << ' ' << distribution::to_hex(key) << '\n';
    return {};
  }

  const KeysCommand& command_;
  std::ostream& output_;
  const Complaints complaints_;
};

}  // namespace

int run_keys_command(const KeysCommand& command, std::ostream& output, std::ostream& errors) {
  const auto done = Keys(command, output, errors).run();
  if (done) return exit_ok;
  const bool usage = done.error() == Errc::invalid_argument || done.error() == Errc::invalid_node_name;
  return Complaints{errors, "keys", command.json}.tell(usage ? exit_usage : exit_failed, done.error().message());
}

}  // namespace barrel_p2p::command
