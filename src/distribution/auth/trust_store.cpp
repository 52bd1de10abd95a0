#include "distribution/auth/trust_store.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <string_view>
#include <system_error>
#include <utility>

#include "distribution/auth/files.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view extension = ".pub";
constexpr std::string_view long_prefix = "sha256-";
constexpr std::size_t file_name_max = 255;  // NAME_MAX of the usual file systems
constexpr std::size_t key_bytes = std::tuple_size_v<PublicKey>;

/// The stem of the file of a long name. Never that of a short one, which has an `@`.
std::string long_stem(const NodeName& name) { return std::string(long_prefix) + to_hex(sha256(as_bytes(name.text()))); }

WallMilliseconds written_at(const fs::path& file) {
  struct stat info{};
  if (::stat(file.c_str(), &info) != 0) return wall_now();
  return static_cast<WallMilliseconds>(info.st_mtim.tv_sec) * 1000 + info.st_mtim.tv_nsec / 1'000'000;
}

}  // namespace

PinReservation::PinReservation(std::shared_ptr<TrustStore> store, NodeName name, WallMilliseconds now)
    : store_(std::move(store)), name_(std::move(name)), now_(now) {}

PinReservation::PinReservation(PinReservation&& other) noexcept
    : store_(std::exchange(other.store_, nullptr)), name_(std::exchange(other.name_, std::nullopt)), now_(other.now_) {}

PinReservation& PinReservation::operator=(PinReservation&& other) noexcept {
  if (this == &other) return *this;
  drop();
  store_ = std::exchange(other.store_, nullptr);
  name_ = std::exchange(other.name_, std::nullopt);
  now_ = other.now_;
  return *this;
}

Result<void> PinReservation::commit() {
  const auto store = std::exchange(store_, nullptr);
  return store ? store->commit(*name_, now_) : Result<void>{};
}

void PinReservation::drop() noexcept {
  if (const auto store = std::exchange(store_, nullptr)) {
    const std::lock_guard lock(store->mutex_);
    store->release(*name_);
  }
}

TrustStore::TrustStore(fs::path directory, TrustMode mode, Limits limits, Warn warn)
    : directory_(std::move(directory)), limits_(limits), warn_(std::move(warn)), mode_(mode) {}

Result<std::shared_ptr<TrustStore>> TrustStore::open(const fs::path& key_dir, TrustMode mode, Limits limits,
                                                     Warn warn) {
  const fs::path directory = key_dir / "trusted";
  if (auto made = make_private_directory(directory); !made) return std::unexpected(made.error());
  std::shared_ptr<TrustStore> store(new TrustStore(directory, mode, limits, std::move(warn)));
  if (auto read = store->reload(); !read) return std::unexpected(read.error());
  return store;
}

std::shared_ptr<TrustStore> TrustStore::in_memory(TrustMode mode, Limits limits) {
  return std::shared_ptr<TrustStore>(new TrustStore({}, mode, limits, [](const std::string&) {}));
}

fs::path TrustStore::file_of(const NodeName& name) const {
  const std::string plain = name.string() + std::string(extension);
  if (plain.size() <= file_name_max) return directory_ / plain;
  return directory_ / (long_stem(name) + std::string(extension));
}

Result<void> TrustStore::save(const NodeName& name, const PublicKey& key) const {
  if (directory_.empty()) return {};
  const fs::path file = file_of(name);
  Bytes content(key.begin(), key.end());
  if (file.stem() == long_stem(name)) content.insert(content.end(), name.text().begin(), name.text().end());
  return write_private_file(file, content);
}

void TrustStore::read_file(const fs::path& file, Pins& pins) const {
  const std::string stem = file.stem().string();
  const auto content = read_small_file(file, key_bytes + NodeName::bytes_max, FileCare::trusted);
  if (!content) return warn_("skipped a pin: " + content.error().message());
  const bool is_long = stem.starts_with(long_prefix) && stem.find('@') == std::string::npos;
  if (is_long ? content->size() <= key_bytes : content->size() != key_bytes) {
    return warn_("skipped " + file.string() + ": a pin has exactly 32 bytes, without a newline");
  }
  const auto name = NodeName::parse(is_long ? as_text(ByteView(*content).subspan(key_bytes)) : std::string_view(stem));
  if (!name) return warn_("skipped " + file.string() + ": " + name.error().context());
  if (is_long && stem != long_stem(*name))
    return warn_("skipped " + file.string() + ": it does not belong to the name in it");
  PublicKey key{};
  std::copy_n(content->begin(), key_bytes, key.begin());
  if (!is_acceptable(key)) return warn_("skipped " + file.string() + ": not a key that an honest node can have");
  pins.insert_or_assign(*name, Pin{{*name, key, written_at(file), std::nullopt, false}, true});
}

Result<void> TrustStore::reload() {
  if (directory_.empty()) return {};
  const std::lock_guard disk_lock(disk_mutex_);
  Pins found;
  std::error_code error;
  for (fs::directory_iterator at(directory_, error), end; !error && at != end; at.increment(error)) {
    if (at->path().extension() == extension) read_file(at->path(), found);
  }
  if (error) return fail(Errc::io_error, "cannot read " + directory_.string() + ": " + error.message());
  const std::lock_guard lock(mutex_);
  for (const auto& [name, pin] : pins_) {
    const auto same = found.find(name);
    if (same == found.end() ? !pin.saved : same->second.pinned.key == pin.pinned.key) found.insert_or_assign(name, pin);
  }
  pins_ = std::move(found);
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
  return found == pins_.end() ? std::nullopt : std::optional(found->second.pinned.key);
}

std::optional<NodeName> TrustStore::other_name_of(const PublicKey& key, const NodeName& name) const {
  const std::lock_guard lock(mutex_);
  const auto found =
      std::ranges::find_if(pins_, [&](const auto& pin) { return pin.second.pinned.key == key && pin.first != name; });
  return found == pins_.end() ? std::nullopt : std::optional(found->first);
}

std::vector<PinnedKey> TrustStore::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<PinnedKey> pins;
  pins.reserve(pins_.size());
  for (const auto& [name, pin] : pins_) pins.push_back(pin.pinned);
  return pins;
}

Result<PinReservation> TrustStore::reserve(const NodeName& name, const PublicKey& key, MonotonicTime now,
                                           WallMilliseconds wall) {
  const std::lock_guard lock(mutex_);
  if (const auto found = pins_.find(name); found != pins_.end()) {
    auto& pinned = found->second.pinned;
    if (pinned.key != key) return fail(Errc::key_mismatch, "another key is pinned for " + name.string());
    pinned.seen = wall;
    return PinReservation();
  }
  if (mode_ == TrustMode::strict)
    return fail(Errc::untrusted_key, "no key is pinned for " + name.string() + ", and the trust mode is strict");
  if (const auto claim = claims_.find(name); claim != claims_.end()) {
    if (claim->second.key != key)
      return fail(Errc::key_mismatch, "another key is about to be pinned for " + name.string());
    ++claim->second.holders;
    return PinReservation(shared_from_this(), name, wall);
  }
  if (now - minute_ >= std::chrono::minutes(1)) {
    minute_ = now;
    pins_in_minute_ = 0;
  }
  // Names that are only held count while they are held: whoever never gets past the cookie uses up nothing for good.
  if (pins_.size() + claims_.size() >= limits_.pins_max) return fail(Errc::limit_exceeded, "auth_pins_max is reached");
  if (pins_in_minute_ + claims_.size() >= limits_.pins_per_minute_max) {
    return fail(Errc::limit_exceeded, "auth_pins_per_minute_max is reached");
  }
  claims_.emplace(name, Claim{key, 1});
  return PinReservation(shared_from_this(), name, wall);
}

void TrustStore::release(const NodeName& name) {
  const auto claim = claims_.find(name);
  if (--claim->second.holders == 0) claims_.erase(claim);
}

Result<void> TrustStore::may_commit(const NodeName& name, const PublicKey& key) const {
  const auto found = pins_.find(name);
  if (found != pins_.end() && found->second.pinned.key != key) {
    return fail(Errc::key_mismatch, "another key was pinned for " + name.string());
  }
  if (found == pins_.end() && mode_ == TrustMode::strict) {
    return fail(Errc::untrusted_key, "the trust mode became strict");
  }
  return {};
}

Result<void> TrustStore::commit(const NodeName& name, WallMilliseconds now) {
  const std::lock_guard disk_lock(disk_mutex_);  // pins come and go under this lock only
  PublicKey key{};
  {
    const std::lock_guard lock(mutex_);
    key = claims_.at(name).key;
    auto allowed = may_commit(name, key);
    if (!allowed || pins_.contains(name)) {
      release(name);
      return allowed;
    }
  }
  // The name stays held meanwhile, and is not pinned before the disk has answered.
  auto saved = save(name, key);
  const std::lock_guard lock(mutex_);
  release(name);
  pins_.emplace(name, Pin{{name, key, now, now, true}, saved.has_value()});
  ++pins_in_minute_;
  return saved;
}

Result<void> TrustStore::pin(const NodeName& name, const PublicKey& key) {
  if (!is_acceptable(key)) return fail(Errc::invalid_argument, "not a key that an honest node can have");
  const std::lock_guard disk_lock(disk_mutex_);
  if (auto saved = save(name, key); !saved) return saved;
  const std::lock_guard lock(mutex_);
  pins_.insert_or_assign(name, Pin{{name, key, wall_now(), std::nullopt, false}, true});
  return {};
}

Result<void> TrustStore::unpin(const NodeName& name) {
  const std::lock_guard disk_lock(disk_mutex_);
  if (!find(name)) return fail(Errc::not_found, "no key is pinned for " + name.string());
  std::error_code error;
  if (!directory_.empty()) fs::remove(file_of(name), error);
  if (error) return fail(Errc::io_error, "cannot remove " + file_of(name).string() + ": " + error.message());
  const std::lock_guard lock(mutex_);
  pins_.erase(name);
  return {};
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
