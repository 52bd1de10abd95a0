#include "distribution/auth/trust_store.hpp"

#include <algorithm>
#include <system_error>

#include "distribution/auth/files.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view extension = ".pub";
constexpr std::string_view long_prefix = "sha256-";  ///< No node name begins so: it would need an @.
constexpr std::size_t file_name_max = 255;

}  // namespace

TrustStore::TrustStore(fs::path directory, TrustMode mode, Limits limits, Warn warn)
    : directory_(std::move(directory)), limits_(limits), warn_(std::move(warn)), mode_(mode) {}

Result<std::shared_ptr<TrustStore>> TrustStore::open(const fs::path& key_dir, TrustMode mode, Limits limits, Warn warn) {
  if (auto made = make_private_directory(key_dir); !made) return std::unexpected(made.error());
  std::shared_ptr<TrustStore> store(new TrustStore(key_dir / "trusted", mode, limits, std::move(warn)));
  if (auto made = make_private_directory(store->directory_); !made) return std::unexpected(made.error());
  if (auto read = store->reload(); !read) return std::unexpected(read.error());
  return store;
}

std::shared_ptr<TrustStore> TrustStore::in_memory(TrustMode mode, Limits limits) {
  return std::shared_ptr<TrustStore>(new TrustStore({}, mode, limits, [](const std::string&) {}));
}

fs::path TrustStore::file_of(const NodeName& name) const {
  const std::string plain = name.string() + std::string(extension);
  if (plain.size() <= file_name_max) return directory_ / plain;
  return directory_ / (std::string(long_prefix) + to_hex(sha256(as_bytes(name.text()))) + std::string(extension));
}

Result<void> TrustStore::save(const NodeName& name, const PublicKey& key) const {
  if (directory_.empty()) return {};
  const fs::path file = file_of(name);
  Bytes content(key.begin(), key.end());
  if (file.filename().string().starts_with(long_prefix)) content.insert(content.end(), name.text().begin(), name.text().end());
  return write_private_file(file, content);
}

void TrustStore::read_file(const fs::path& file) {
  const std::string base = file.stem().string();
  const auto content = read_small_file(file, sizeof(PublicKey) + NodeName::bytes_max, false);
  if (!content) return warn_(content.error().message());
  const bool long_name = base.starts_with(long_prefix);
  const bool fits = long_name ? content->size() > sizeof(PublicKey) : content->size() == sizeof(PublicKey);
  if (!fits) return warn_("skipped " + file.string() + ": a pin is a file of exactly 32 bytes (no newline)");
  const auto name = NodeName::parse(long_name ? std::string_view(reinterpret_cast<const char*>(content->data()) + sizeof(PublicKey), content->size() - sizeof(PublicKey)) : base);
  if (!name) return warn_("skipped " + file.string() + ": " + name.error().context());
  PublicKey key{};
  std::copy_n(content->begin(), key.size(), key.begin());
  if (!is_acceptable(key)) return warn_("skipped " + file.string() + ": not a key that an honest node can have");
  const auto now = wall_now();
  pins_.insert_or_assign(*name, PinnedKey{*name, key, now, now, true});
}

Result<void> TrustStore::reload() {
  const std::lock_guard lock(mutex_);
  if (directory_.empty()) return {};
  pins_.clear();
  std::error_code error;
  for (fs::directory_iterator at(directory_, error), end; !error && at != end; at.increment(error)) {
    if (at->path().extension() == extension) read_file(at->path());
  }
  if (error) return fail(Errc::io_error, "cannot read " + directory_.string() + ": " + error.message());
  return {};
}

TrustMode TrustStore::mode() const {
  const std::lock_guard lock(mutex_);
  return mode_;
}
void TrustStore::set_mode(TrustMode mode) {
  const std::lock_guard lock(mutex_);
  mode_ = mode;
}

std::optional<PublicKey> TrustStore::find(const NodeName& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = pins_.find(name);
  return found == pins_.end() ? std::nullopt : std::optional(found->second.key);
}

std::optional<NodeName> TrustStore::other_name_of(const PublicKey& key, const NodeName& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find_if(pins_, [&](const auto& pin) { return pin.second.key == key && pin.first != name; });
  return found == pins_.end() ? std::nullopt : std::optional(found->first);
}

std::vector<PinnedKey> TrustStore::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<PinnedKey> pins;
  for (const auto& [name, pin] : pins_) pins.push_back(pin);
  return pins;
}

Result<void> TrustStore::reserve(const NodeName& name, const PublicKey& key, MonotonicTime now) {
  const std::lock_guard lock(mutex_);
  if (const auto pin = pins_.find(name); pin != pins_.end()) {
    if (pin->second.key != key) return fail(Errc::key_mismatch, "the pinned key differs");
    pin->second.seen = wall_now();
    return {};
  }
  if (mode_ == TrustMode::strict) return fail(Errc::untrusted_key, "no pin, and the trust mode is strict");
  if (const auto claim = claims_.find(name); claim != claims_.end()) {
    if (claim->second.key != key) return fail(Errc::key_mismatch, "another key is claiming this name at the moment");
    ++claim->second.holders;
    return {};
  }
  if (now - minute_ >= std::chrono::minutes(1)) {
    minute_ = now;
    pins_in_minute_ = 0;
  }
  if (pins_.size() + claims_.size() >= limits_.pins_max) return fail(Errc::limit_exceeded, "auth_pins_max is reached");
  if (++pins_in_minute_ > limits_.pins_per_minute_max) return fail(Errc::limit_exceeded, "auth_pins_per_minute_max is reached");
  claims_[name] = {key, 1};
  return {};
}

Result<void> TrustStore::commit(const NodeName& name, const PublicKey& key) {
  {
    const std::lock_guard lock(mutex_);
    const auto claim = claims_.find(name);
    if (claim == claims_.end()) return {};  // it was pinned before, or another channel committed it
    if (--claim->second.holders == 0) claims_.erase(claim);
    const auto now = wall_now();
    if (const auto [pin, added] = pins_.try_emplace(name, PinnedKey{name, key, now, now, false}); !added) {
      return pin->second.key == key ? Result<void>{} : fail(Errc::key_mismatch, "the pinned key differs");
    }
  }
  return save(name, key);
}

void TrustStore::release(const NodeName& name, const PublicKey& key) {
  const std::lock_guard lock(mutex_);
  const auto claim = claims_.find(name);
  if (claim == claims_.end() || claim->second.key != key) return;
  if (--claim->second.holders == 0) claims_.erase(claim);
}

Result<void> TrustStore::pin(const NodeName& name, const PublicKey& key) {
  if (!is_acceptable(key)) return fail(Errc::invalid_argument, "not a key that an honest node can have");
  if (auto saved = save(name, key); !saved) return saved;
  const std::lock_guard lock(mutex_);
  const auto now = wall_now();
  pins_.insert_or_assign(name, PinnedKey{name, key, now, now, true});
  return {};
}

Result<void> TrustStore::unpin(const NodeName& name) {
  const std::lock_guard lock(mutex_);
  if (pins_.erase(name) == 0) return fail(Errc::not_found, "no key is pinned for " + name.string());
  if (directory_.empty()) return {};
  std::error_code error;
  fs::remove(file_of(name), error);
  if (error) return fail(Errc::io_error, "cannot remove " + file_of(name).string() + ": " + error.message());
  return {};
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
