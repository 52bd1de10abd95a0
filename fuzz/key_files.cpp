// The files of keys, certificates, pins, revocations and secrets of a node, with any bytes in them: no crash, errors
// that say which file, nobody trusted beyond what the pins say, and a rotation of what could be read.
//
//   input: what(1), then files: name(1) content, a piece of length(2). A name below 128 gets the content; of one from
//          128 on the content is a change to what a good file has: pairs of offset(1) and what is added there(1)
//   what:  bit 0 identity and pins, bit 1 certificates, bit 2 the secret of resets, bit 3 a certificate alone
#include <algorithm>
#include <array>
#include <barrel_p2p/node_name.hpp>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "distribution/auth/certificate.hpp"
#include "distribution/auth/identity.hpp"
#include "distribution/auth/reset_secret.hpp"
#include "distribution/auth/trust_store.hpp"
#include "input.hpp"
#include "scratch.hpp"

namespace {

using namespace barrel_p2p;
using namespace barrel_p2p::distribution;
using namespace barrel_p2p::fuzz;

constexpr WallMilliseconds now = 1'790'000'000'000;

/// The first ones can be good; of the others the name is wrong, or somebody else's.
constexpr std::array<std::string_view, 16> names{"keys/node.key",           "keys/node.pub",
                                                 "keys/next.key",           "keys/trusted/a@h.pub",
                                                 "keys/trusted/a@h.next",   "keys/trusted/b@h.pub",
                                                 "keys/revoked/one.pub",    "reset",
                                                 "cert/node.crt",           "cert/node.key",
                                                 "keys/revoked/two.pub",    "keys/trusted/b@h.next",
                                                 "keys/trusted/nobody.pub", "keys/trusted/sha256-00.pub",
                                                 "keys/trusted/@.next",     "keys/revoked/README"};

/// Files that are as they should be.
class Good {
 public:
  Good() : scratch_("good-keys") {
    constexpr WallMilliseconds then = now - 1000;
    const auto key = load_or_create_identity(scratch_.path() / "keys");
    const auto certificate = load_or_create_certificate(scratch_.path() / "cert", then);
    const auto secret = load_or_create_reset_secret(scratch_.path() / "reset");
    require(key && certificate && secret && prepare_identity(scratch_.path() / "keys"));
    for (std::size_t name = 0; name < names.size(); ++name) content_[name] = scratch_.read(std::string(names[name]));
    for (auto& content : content_) {
      if (content.empty()) content = content_[1];
    }
  }
  [[nodiscard]] const Bytes& content(std::size_t name) const { return content_[name]; }

 private:
  Scratch scratch_;
  std::array<Bytes, names.size()> content_;
};

Bytes changed(Bytes content, ByteView changes) {
  for (; changes.size() >= 2; changes = changes.subspan(2)) {
    // Files are longer than an offset says: each change counts at several places, or at one of the short ones.
    for (std::size_t at = changes[0]; at < content.size(); at += 256)
      content[at] = static_cast<std::uint8_t>(content[at] + changes[1]);
  }
  return content;
}

void write_files(Input& input, const Scratch& scratch) {
  static const Good good;
  while (!input.empty()) {
    const auto which = input.byte();
    const auto piece = input.piece();
    const std::size_t name = which % names.size();
    const bool is_change = which >= 128;
    const Bytes content = is_change ? changed(good.content(name), piece) : Bytes(piece.begin(), piece.end());
    scratch.write(std::string(names[name]), content);
  }
}

template <class Value>
bool is_good(const Result<Value>& result) {
  require(result || !result.error().context().empty());
  return result.has_value();
}

void check_identity(const std::filesystem::path& keys) {
  if (const auto loaded = load_identity(keys); is_good(loaded)) {
    if (const auto rotated = rotate_identity(keys, now); is_good(rotated)) {
      const auto again = load_identity(keys);
      require(again && again->public_key() == rotated->key.public_key());
      require(rotated->backup.has_value());
    }
  }
}

void check_pins(const std::filesystem::path& keys) {
  const NodeName node = *NodeName::parse("a@h");
  const auto store =
      TrustStore::open(keys, TrustMode::strict, {}, [](const std::string& text) { require(!text.empty()); });
  if (!is_good(store)) return;
  for (const auto& pin : (*store)->list()) {
    const bool revoked = (*store)->is_revoked(pin.key);
    require(pin.revoked == revoked && (*store)->judge(pin.name, pin.key).has_value() == !revoked);
    require((*store)->find(pin.name) == pin.key);
  }
  const auto stranger = PrivateKey(Seed{1}).public_key();
  const bool pinned = std::ranges::any_of((*store)->list(), [&](const auto& pin) {
    return pin.name == node && (pin.key == stranger || pin.next == stranger);
  });
  require(pinned || !(*store)->judge(node, stranger));
  require((*store)->reload().has_value());
}

void check_certificates(const std::filesystem::path& directory) {
  const auto loaded = load_certificate(directory / "node.crt", directory / "node.key");
  if (is_good(loaded)) (void)made_by_cpp_node(loaded->leaf_der);
  const auto own = load_or_create_certificate(directory, now);
  if (!is_good(own)) return;
  require(load_certificate(directory / "node.crt", directory / "node.key").has_value());
  const auto rotated = rotate_certificate(directory, now);
  require(is_good(rotated) == own->own);
}

void check_secret(const std::filesystem::path& file) {
  const auto secret = load_or_create_reset_secret(file);
  if (is_good(secret)) require(load_or_create_reset_secret(file) == *secret);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Scratch scratch("keys");
  Input input(data, size);
  const auto what = input.byte();
  if ((what & 8U) != 0) {
    (void)made_by_cpp_node(input.rest());
    return 0;
  }
  scratch.empty();
  write_files(input, scratch);
  const auto keys = scratch.path() / "keys";
  if ((what & 1U) != 0) {
    check_pins(keys);
    check_identity(keys);
  }
  if ((what & 2U) != 0) check_certificates(scratch.path() / "cert");
  if ((what & 4U) != 0) check_secret(scratch.path() / "reset");
  return 0;
}
