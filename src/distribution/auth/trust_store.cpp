#include "distribution/auth/trust_store.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>

#include "distribution/auth/files.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view pin_extension = ".pub";
constexpr std::string_view next_extension = ".next";
constexpr std::string_view long_prefix = "sha256-";
constexpr std::size_t file_name_max = 255;  // NAME_MAX of the usual file systems
constexpr std::size_t key_bytes = std::tuple_size_v<PublicKey>;

std::unexpected<Error> as_io_error(const Error& error) { return fail(Errc::io_error, error.context()); }

/// The stem of the file of a long name. Never that of a short one, which has an `@`.
std::string long_stem(const NodeName& name) { return std::string(long_prefix) + to_hex(sha256(as_bytes(name.text()))); }

Bytes content_of(const fs::path& file, const NodeName& name, const PublicKey& key) {
  Bytes content(key.begin(), key.end());
  if (file.stem() == long_stem(name)) content.insert(content.end(), name.text().begin(), name.text().end());
  return content;
}

WallMilliseconds written_at(const fs::path& file) {
  struct stat info{};
  if (::stat(file.c_str(), &info) != 0) return wall_now();
  return static_cast<WallMilliseconds>(info.st_mtim.tv_sec) * 1000 + info.st_mtim.tv_nsec / 1'000'000;
}

}  // namespace

PinReservation::PinReservation(std::shared_ptr<TrustStore> store, NodeName name, const PublicKey& key,
                               MonotonicTime now, WallMilliseconds wall)
    : store_(std::move(store)), name_(std::move(name)), key_(key), now_(now), wall_(wall) {}

Result<void> PinReservation::commit() {
  const auto store = std::exchange(store_, nullptr);
  return store ? store->commit(*name_, key_, now_, wall_) : Result<void>{};
}

TrustStore::TrustStore(const fs::path& key_dir, TrustMode mode, Limits limits, Warn warn)
    : directory_(key_dir.empty() ? fs::path() : key_dir / "trusted"),
      revoked_directory_(key_dir.empty() ? fs::path() : key_dir / "revoked"),
      limits_(limits),
      warn_(std::move(warn)),
      mode_(mode) {}

Result<std::shared_ptr<TrustStore>> TrustStore::open(const fs::path& key_dir, TrustMode mode, Limits limits,
                                                     Warn warn) {
  std::shared_ptr<TrustStore> store(new TrustStore(key_dir, mode, limits, std::move(warn)));
  if (auto made = make_private_directory(store->directory_); !made) return std::unexpected(made.error());
  for (const auto& directory : {store->directory_, store->revoked_directory_}) remove_old_leftovers(directory);
  if (auto read = store->reload(); !read) return std::unexpected(read.error());
  return store;
}

std::shared_ptr<TrustStore> TrustStore::in_memory(TrustMode mode, Limits limits) {
  return std::shared_ptr<TrustStore>(new TrustStore({}, mode, limits, [](const std::string&) {}));
}

// The disk.

fs::path TrustStore::file_of(const NodeName& name, std::string_view extension) const {
  const std::string plain = name.string() + std::string(extension);
  if (plain.size() <= file_name_max) return directory_ / plain;
  return directory_ / (long_stem(name) + std::string(extension));
}

Result<void> TrustStore::save(const NodeName& name, const PublicKey& key, std::string_view extension) const {
  if (directory_.empty()) return {};
  const fs::path file = file_of(name, extension);
  return write_private_file(file, content_of(file, name, key));
}

Result<void> TrustStore::remove(const NodeName& name, std::string_view extension) const {
  if (directory_.empty()) return {};
  const auto removed = remove_durably(file_of(name, extension));
  return removed ? Result<void>{} : std::unexpected(removed.error());
}

Result<PinnedKey> TrustStore::read_file(const fs::path& file) {
  const auto no_pin = [](const std::string& why) { return fail(Errc::corrupt, why); };
  const std::string stem = file.stem().string();
  const auto content = read_small_file(file, key_bytes + NodeName::bytes_max, FileCare::trusted);
  if (!content) return std::unexpected(content.error());
  const bool is_long = stem.starts_with(long_prefix) && stem.find('@') == std::string::npos;
  if (is_long ? content->size() <= key_bytes : content->size() != key_bytes)
    return no_pin("a pin has exactly 32 bytes, without a newline");
  const auto name = NodeName::parse(is_long ? as_text(ByteView(*content).subspan(key_bytes)) : std::string_view(stem));
  if (!name) return no_pin(name.error().context());
  if (is_long && stem != long_stem(*name)) return no_pin("it does not belong to the name in it");
  PinnedKey pin{*name, {}, written_at(file), std::nullopt, false, std::nullopt, false};
  std::copy_n(content->begin(), key_bytes, pin.key.begin());
  if (!is_acceptable(pin.key)) return no_pin("not a key that an honest node can have");
  return pin;
}

Result<TrustStore::Found> TrustStore::read_pins() const {
  Found found;
  std::vector<PinnedKey> next;
  std::error_code error;
  for (fs::directory_iterator at(directory_, error), end; !error && at != end; at.increment(error)) {
    const auto extension = at->path().extension();
    if (extension != pin_extension && extension != next_extension) continue;
    auto pin = read_file(at->path());
    if (!pin) {
      // One that has just been removed is none; its name comes from the listing of a moment ago.
      if (pin.error() != Errc::not_found) found.unreadable.emplace(at->path(), pin.error());
    } else if (extension == next_extension) {
      next.push_back(std::move(*pin));
    } else {
      found.pins.insert_or_assign(pin->name, Pin{*pin, true});
    }
  }
  if (error) return fail(Errc::io_error, "cannot read " + directory_.string() + ": " + error.message());
  for (const auto& pin : next) {
    const auto of = found.pins.find(pin.name);
    if (of == found.pins.end()) {
      found.unreadable.emplace(file_of(pin.name, next_extension),
                               Error(Errc::corrupt, "no key is pinned for the name"));
    } else if (of->second.pinned.key != pin.key) {  // equal: a crash came between the pin and the end of this file
      of->second.pinned.next = pin.key;
    }
  }
  return found;
}

Result<void> TrustStore::read_revoked(Revoked& found) const {
  std::error_code error;
  if (!fs::exists(revoked_directory_, error) && !error) return {};
  if (auto safe = make_private_directory(revoked_directory_); !safe) return std::unexpected(safe.error());
  for (fs::directory_iterator at(revoked_directory_, error), end; !error && at != end; at.increment(error)) {
    if (at->path().extension() != pin_extension) continue;
    const auto content = read_small_file(at->path(), key_bytes, FileCare::trusted);
    if (!content && content.error() == Errc::not_found) continue;  // just removed
    if (!content && content.error() != Errc::limit_exceeded) return std::unexpected(content.error());
    if (!content || content->size() != key_bytes) {
      return fail(Errc::corrupt,
                  at->path().string() +
                      " must have the 32 bytes of a revoked key: replace it by the node.pub of that node, "
                      "or remove it if it revokes nothing");
    }
    PublicKey key{};
    std::ranges::copy(*content, key.begin());
    found.insert(key);
    if (found.size() > revoked_max)
      return fail(Errc::limit_exceeded, "more than " + std::to_string(revoked_max) + " keys are revoked in " +
                                            revoked_directory_.string() + ": remove those that nobody has any more");
  }
  if (error) return fail(Errc::io_error, "cannot read " + revoked_directory_.string() + ": " + error.message());
  return {};
}

Result<void> TrustStore::reload() {
  if (directory_.empty()) return {};
  const std::lock_guard disk_lock(disk_mutex_);
  Revoked revoked;
  const auto complete = read_revoked(revoked);
  if (!complete) {
    const std::lock_guard lock(mutex_);
    revoked_.merge(revoked);
    return complete;
  }
  auto found = read_pins();
  const std::lock_guard lock(mutex_);
  revoked_ = std::move(revoked);
  if (!found) return std::unexpected(found.error());
  for (const auto& [file, why] : found->unreadable) {
    const auto told = unreadable_.find(file);
    if (told == unreadable_.end() || told->second.message() != why.message()) {
      warn_("skipped " + file.string() + ": " + why.context());
    }
  }
  unreadable_ = std::move(found->unreadable);
  for (const auto& [name, pin] : pins_) {
    const auto same = found->pins.find(name);
    if (same == found->pins.end()) {
      // Whoever writes over a file empties it first; the name must not be free for that moment.
      std::error_code ignored;
      if (!pin.saved || fs::exists(file_of(name, pin_extension), ignored)) found->pins.insert_or_assign(name, pin);
    } else if (same->second.pinned.key == pin.pinned.key) {
      const auto next = same->second.pinned.next;
      same->second = pin;
      same->second.saved = true;
      same->second.pinned.next = next;
    }
  }
  pins_ = std::move(found->pins);
  return {};
}

bool TrustStore::has_unread() const {
  const std::lock_guard lock(mutex_);
  return std::ranges::any_of(unreadable_, [](const auto& file) { return file.second == Errc::io_error; });
}

// Questions.

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
  for (const auto& [name, pin] : pins_) {
    pins.push_back(pin.pinned);
    pins.back().revoked = revoked_.contains(pin.pinned.key);
  }
  return pins;
}

bool TrustStore::is_revoked(const PublicKey& key) const {
  const std::lock_guard lock(mutex_);
  return revoked_.contains(key);
}

std::vector<PublicKey> TrustStore::revoked() const {
  const std::lock_guard lock(mutex_);
  return {revoked_.begin(), revoked_.end()};
}

Result<void> TrustStore::judge(const NodeName& name, const PublicKey& key) const {
  const std::lock_guard lock(mutex_);
  return judge_locked(name, key);
}

const Error* TrustStore::unreadable_of(const NodeName& name) const {
  if (unreadable_.empty()) return nullptr;
  const auto found = unreadable_.find(file_of(name, pin_extension));
  return found == unreadable_.end() ? nullptr : &found->second;
}

Result<void> TrustStore::judge_locked(const NodeName& name, const PublicKey& key) const {
  if (revoked_.contains(key)) return fail(Errc::untrusted_key, "the key " + to_hex(fingerprint(key)) + " is revoked");
  const auto found = pins_.find(name);
  if (found == pins_.end()) {
    if (const auto* why = unreadable_of(name)) {
      return fail(Errc::key_mismatch, "the key that is pinned for " + name.string() + " cannot be read: " +
                                          file_of(name, pin_extension).string() + ": " + why->context());
    }
    if (mode_ == TrustMode::tofu) return {};
    return fail(Errc::untrusted_key, "no key is pinned for " + name.string() + ", and the trust mode is strict");
  }
  if (found->second.pinned.key == key || found->second.pinned.next == key) return {};
  return fail(Errc::key_mismatch, "another key is pinned for " + name.string());
}

// Reservations.

Result<PinReservation> TrustStore::reserve(const NodeName& name, const PublicKey& key, MonotonicTime now,
                                           WallMilliseconds wall) {
  const std::lock_guard lock(mutex_);
  if (auto allowed = judge_locked(name, key); !allowed) return std::unexpected(allowed.error());
  const auto found = pins_.find(name);
  if (found != pins_.end() && found->second.pinned.key == key) {
    found->second.pinned.seen = wall;
    return PinReservation();
  }
  if (found == pins_.end()) {  // the next key is an operator's wish, and so not limited
    if (auto room = check_limits_locked(now); !room) return std::unexpected(room.error());
  }
  return PinReservation(shared_from_this(), name, key, now, wall);
}

Result<void> TrustStore::check_limits_locked(MonotonicTime now) {
  if (now - minute_ >= std::chrono::minutes(1)) {
    minute_ = now;
    pins_in_minute_ = 0;
  }
  if (pins_.size() >= limits_.pins_max) return fail(Errc::limit_exceeded, "auth_pins_max is reached");
  if (pins_in_minute_ >= limits_.pins_per_minute_max) {
    return fail(Errc::limit_exceeded, "auth_pins_per_minute_max is reached");
  }
  return {};
}

Result<void> TrustStore::commit(const NodeName& name, const PublicKey& key, MonotonicTime now, WallMilliseconds wall) {
  const std::lock_guard disk_lock(disk_mutex_);  // pins come and go under this lock only
  bool succeeds = false;
  {
    const std::lock_guard lock(mutex_);
    if (auto allowed = judge_locked(name, key); !allowed) return allowed;
    const auto found = pins_.find(name);
    succeeds = found != pins_.end();
    if (succeeds && found->second.pinned.key == key) return {};
    if (!succeeds) {
      if (auto room = check_limits_locked(now); !room) return room;
    }
  }
  // The name is not pinned before the disk has answered.
  const auto saved = save(name, key, pin_extension);
  if (!saved && succeeds) {
    return fail(Errc::auth_failed, "the next key of " + name.string() +
                                       " cannot be pinned, so the one of before counts: " + saved.error().context());
  }
  // It counts no more, whether or not the file goes: it has the key that is pinned.
  if (succeeds) std::ignore = remove(name, next_extension);
  const std::lock_guard lock(mutex_);
  pins_.insert_or_assign(name, Pin{{name, key, wall, wall, true, std::nullopt, false}, saved.has_value()});
  if (!succeeds) ++pins_in_minute_;
  if (saved) return {};
  has_unsaved_ = true;
  return as_io_error(saved.error());
}

bool TrustStore::has_unsaved() const {
  const std::lock_guard lock(mutex_);
  return has_unsaved_;
}

Result<void> TrustStore::save_again() {
  const std::lock_guard disk_lock(disk_mutex_);
  Pins unsaved;
  {
    const std::lock_guard lock(mutex_);
    std::ranges::copy_if(pins_, std::inserter(unsaved, unsaved.end()),
                         [](const auto& pin) { return !pin.second.saved; });
  }
  for (const auto& [name, pin] : unsaved) {
    const fs::path file = file_of(name, pin_extension);
    // What an operator has placed there meanwhile stays.
    const auto made = create_private_file(file, content_of(file, name, pin.pinned.key));
    if (!made) return as_io_error(made.error());
    const std::lock_guard lock(mutex_);
    if (*made) pins_.at(name).saved = true;
  }
  const std::lock_guard lock(mutex_);
  has_unsaved_ = std::ranges::any_of(pins_, [](const auto& pin) { return !pin.second.saved; });
  return {};
}

// What an operator does.

namespace {

Result<void> must_be_acceptable(const PublicKey& key) {
  if (is_acceptable(key)) return {};
  return fail(Errc::invalid_argument, "not a key that an honest node can have");
}

}  // namespace

Result<void> TrustStore::pin(const NodeName& name, const PublicKey& key) {
  if (auto acceptable = must_be_acceptable(key); !acceptable) return acceptable;
  const std::lock_guard disk_lock(disk_mutex_);
  // First what would be accepted beside the new key, if a crash came in between.
  if (auto removed = remove(name, next_extension); !removed) return put_back_next(name), removed;
  if (auto saved = save(name, key, pin_extension); !saved) {
    const auto there = read_file(file_of(name, pin_extension));
    if (!there || there->key != key) put_back_next(name);
    return saved;
  }
  const std::lock_guard lock(mutex_);
  unreadable_.erase(file_of(name, pin_extension));
  pins_.insert_or_assign(name, Pin{{name, key, wall_now(), std::nullopt, false, std::nullopt, false}, true});
  return {};
}

void TrustStore::put_back_next(const NodeName& name) {
  std::optional<PublicKey> next;
  {
    const std::lock_guard lock(mutex_);
    const auto found = pins_.find(name);
    if (found != pins_.end()) next = found->second.pinned.next;
  }
  if (!next || save(name, *next, next_extension)) return;
  warn_("the next key of " + name.string() + " is not on the disk any more: pin it again before this node restarts");
}

Result<void> TrustStore::pin_next(const NodeName& name, const PublicKey& key) {
  if (auto acceptable = must_be_acceptable(key); !acceptable) return acceptable;
  const std::lock_guard disk_lock(disk_mutex_);
  const auto pinned = find(name);
  if (!pinned) return fail(Errc::not_found, "no key is pinned for " + name.string() + ": pin this one");
  if (*pinned == key) return fail(Errc::invalid_argument, "this key is pinned for " + name.string() + " already");
  if (auto saved = save(name, key, next_extension); !saved) return saved;
  const std::lock_guard lock(mutex_);
  pins_.at(name).pinned.next = key;
  return {};
}

Result<void> TrustStore::unpin(const NodeName& name) {
  const std::lock_guard disk_lock(disk_mutex_);
  {
    const std::lock_guard lock(mutex_);
    if (!pins_.contains(name) && unreadable_of(name) == nullptr) {
      return fail(Errc::not_found, "no key is pinned for " + name.string());
    }
  }
  if (auto removed = remove(name, next_extension); !removed) return put_back_next(name), removed;
  if (auto removed = remove(name, pin_extension); !removed) return put_back_next(name), removed;
  const std::lock_guard lock(mutex_);
  unreadable_.erase(file_of(name, pin_extension));
  pins_.erase(name);
  return {};
}

Result<void> TrustStore::revoke(const PublicKey& key) {
  if (auto acceptable = must_be_acceptable(key); !acceptable) return acceptable;
  const std::lock_guard disk_lock(disk_mutex_);
  if (is_revoked(key)) return {};
  if (revoked().size() >= revoked_max)
    return fail(Errc::limit_exceeded, "more than " + std::to_string(revoked_max) + " keys would be revoked");
  if (!revoked_directory_.empty()) {
    if (auto made = make_private_directory(revoked_directory_); !made) return made;
    const auto file = revoked_directory_ / (to_hex(fingerprint(key)) + std::string(pin_extension));
    if (auto saved = write_private_file(file, key); !saved) return saved;
    if (auto durable = sync_directory(revoked_directory_.parent_path()); !durable) return durable;
  }
  const std::lock_guard lock(mutex_);
  revoked_.insert(key);
  return {};
}

Result<void> TrustStore::unrevoke(const PublicKey& key) {
  const std::lock_guard disk_lock(disk_mutex_);
  if (!is_revoked(key)) return fail(Errc::not_found, "the key is not revoked");
  std::error_code error;
  std::vector<fs::path> files;  // an operator may have placed it under any name
  if (!revoked_directory_.empty()) {
    for (fs::directory_iterator at(revoked_directory_, error), end; !error && at != end; at.increment(error)) {
      const auto content = read_small_file(at->path(), key_bytes, FileCare::any);
      if (at->path().extension() == pin_extension && content && std::ranges::equal(*content, key))
        files.push_back(at->path());
    }
  }
  if (error) return fail(Errc::io_error, "cannot read " + revoked_directory_.string() + ": " + error.message());
  for (const auto& file : files) {
    if (const auto removed = remove_durably(file); !removed) return std::unexpected(removed.error());
  }
  const std::lock_guard lock(mutex_);
  revoked_.erase(key);
  return {};
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
