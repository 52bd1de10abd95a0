#include "node/key_keeper.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <system_error>
#include <utility>

#include "base/this_thread.hpp"
#include "distribution/auth/identity.hpp"
#include "node/validate.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {
namespace {

namespace fs = std::filesystem;
using distribution::Certificate;
using distribution::PrivateKey;

/// The clock of files moves in steps; a file that was changed twice within one looks as after the first change.
constexpr std::int64_t unsettled_ns = 2'000'000'000;
/// What could not be used is tried again without a change too: it may have been the disk.
constexpr std::chrono::seconds retry_after{60};
/// A certificate of our own is made anew when it ends within 30 days (`load_or_create_certificate`); a day later will
/// do as well.
constexpr WallMilliseconds renew_before = 29 * 86'400'000LL;

fs::path directory_of(const NodeConfig& config, const fs::path& given, const char* name) {
  return given.empty() ? config.data_dir / name : given;
}

/// FNV-1a over 64-bit words: tells files that have changed from those that have not; nobody has an interest to deceive
/// it who cannot write the files themselves.
class Mixer {
 public:
  void add(std::uint64_t word) noexcept {
    constexpr std::uint64_t prime = 0x100000001b3;
    value_ = (value_ ^ word) * prime;
    value_ ^= value_ >> 29U;
  }
  [[nodiscard]] std::uint64_t value() const noexcept { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325;
};

std::int64_t nanoseconds(const timespec& time) {
  constexpr std::int64_t second = 1'000'000'000;
  return static_cast<std::int64_t>(time.tv_sec) * second + time.tv_nsec;
}

/// What this thread has had of the processor.
std::chrono::nanoseconds time_of_this_thread() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::nanoseconds(nanoseconds(time));
}

void add_file(Mixer& mixer, const fs::path& file, std::int64_t& newest) {
  struct stat info{};
  if (::stat(file.c_str(), &info) != 0) return mixer.add(1);
  mixer.add(info.st_ino);
  mixer.add(static_cast<std::uint64_t>(info.st_size));
  mixer.add(static_cast<std::uint64_t>(nanoseconds(info.st_mtim)));
  mixer.add(static_cast<std::uint64_t>(nanoseconds(info.st_ctim)));
  newest = std::max(newest, nanoseconds(info.st_ctim));
}

/// Each file too: one that is written over does not change its directory.
void add_directory(Mixer& mixer, const fs::path& directory, std::int64_t& newest) {
  add_file(mixer, directory, newest);
  std::error_code error;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    add_file(mixer, at->path(), newest);
  }
}

std::unexpected<Error> no_authentication() { return fail(Errc::invalid_config, "authentication is off"); }

std::string shown(const distribution::PublicKey& key) { return distribution::to_hex(distribution::fingerprint(key)); }

}  // namespace

KeyKeeper::KeyKeeper(const NodeConfig& config, Logger logger)
    : authenticate_(config.authentication.enabled),
      key_dir_(directory_of(config, config.authentication.key_dir, "keys")),
      certificate_dir_(directory_of(config, config.certificate_dir, "quic")),
      certificate_file_(config.certificate_file),
      certificate_key_file_(config.certificate_key_file),
      watch_(config.authentication.key_watch),
      logger_(std::move(logger)) {}

Result<std::unique_ptr<KeyKeeper>> KeyKeeper::open(const NodeConfig& config, Logger logger) {
  std::unique_ptr<KeyKeeper> keeper(new KeyKeeper(config, std::move(logger)));
  if (keeper->authenticate_) {
    auto identity = distribution::load_or_create_identity(keeper->key_dir_);
    if (!identity) return std::unexpected(identity.error());
    keeper->identity_ = std::move(*identity);
    distribution::TrustStore::Limits limits;
    limits.pins_max = config.authentication.pins_max;
    limits.pins_per_minute_max = config.authentication.pins_per_minute_max;
    auto store =
        distribution::TrustStore::open(keeper->key_dir_, config.authentication.trust_mode, limits,
                                       [log = keeper->logger_](const std::string& text) { log->warn("{}", text); });
    if (!store) return std::unexpected(store.error());
    keeper->trust_ = std::move(*store);
    if (keeper->trust_->is_revoked(keeper->identity_->public_key()))
      keeper->logger_->warn("the key of this node is revoked in its own files: peers may refuse it, rotate it");
  }
  const auto taken = keeper->take_certificate();
  if (!taken && !keeper->credentials_) return std::unexpected(taken.error());
  if (!taken) {
    keeper->logger_->warn("the certificate in {} ends soon and cannot be made anew, which is tried again: {}",
                          keeper->certificate_dir_.string(), taken.error().message());
  }
  return keeper;
}

void KeyKeeper::start(Events events) {
  {
    const std::lock_guard lock(mutex_);
    events_ = std::move(events);
  }
  if (watch_.count() == 0) return;
  thread_ = std::thread([this] {
    name_this_thread("bp2p-keys");
    watch();
  });
}

void KeyKeeper::stop() {
  const std::lock_guard waiting(stop_mutex_);
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    events_ = {};
    stop_wish_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

std::optional<PrivateKey> KeyKeeper::identity() const {
  const std::lock_guard lock(mutex_);
  return identity_;
}

KeyKeeper::Credentials KeyKeeper::credentials() const {
  const std::lock_guard lock(mutex_);
  return credentials_;
}

// Identity.

Result<void> KeyKeeper::take_identity() {
  auto loaded = distribution::load_identity(key_dir_);
  if (!loaded) return std::unexpected(loaded.error());
  use(std::move(*loaded));
  return {};
}

void KeyKeeper::use(PrivateKey identity) {
  const std::lock_guard lock(mutex_);
  if (identity_->public_key() == identity.public_key()) return;
  logger_->info("the key of this node is {} (SHA-256) from now on", shown(identity.public_key()));
  identity_ = std::move(identity);
  if (events_.identity) events_.identity(*identity_);
}

Result<distribution::PublicKey> KeyKeeper::prepare_identity() {
  if (!authenticate_) return no_authentication();
  const auto next = distribution::prepare_identity(key_dir_);
  if (!next) return std::unexpected(next.error());
  return next->public_key();
}

Result<RotatedIdentity> KeyKeeper::rotate_identity() {
  if (!authenticate_) return no_authentication();
  const std::lock_guard changing(change_mutex_);
  auto rotated = distribution::rotate_identity(key_dir_, wall_now());
  if (!rotated) return std::unexpected(rotated.error());
  const auto key = rotated->key.public_key();
  use(std::move(rotated->key));
  return RotatedIdentity{distribution::to_hex(key), shown(key), rotated->backup.value_or(fs::path())};
}

// Certificate.

Result<Certificate> KeyKeeper::load_certificate() const {
  return certificate_is_given() ? given_certificate(certificate_file_, certificate_key_file_)
                                : distribution::load_or_create_certificate(certificate_dir_, wall_now());
}

Result<void> KeyKeeper::take_certificate() {
  const auto certificate = load_certificate();
  if (!certificate) return std::unexpected(certificate.error());
  if (auto used = use(*certificate); !used || !certificate->not_renewed) return used;
  return std::unexpected(*certificate->not_renewed);
}

Result<void> KeyKeeper::use(const Certificate& certificate) {
  auto credentials = quic::Credentials::from_pem(certificate.certificate_pem, certificate.key_pem);
  if (!credentials) return std::unexpected(credentials.error());
  const std::lock_guard lock(mutex_);
  renew_at_ = certificate.own && !certificate_is_given() ? certificate.expires - renew_before : 0;
  if (credentials_ && binding_ == certificate.binding) return {};
  if (certificate.expires < wall_now()) {
    logger_->warn("the certificate in {} has expired; peers do not mind, but replace it",
                  certificate_is_given() ? certificate_file_.string() : certificate_dir_.string());
  }
  if (credentials_) {
    logger_->info("new connections use the certificate {} (SHA-256) from now on",
                  distribution::to_hex(certificate.binding));
  }
  credentials_ = std::move(*credentials);
  binding_ = certificate.binding;
  if (events_.certificate) events_.certificate(credentials_);
  return {};
}

Result<RotatedCertificate> KeyKeeper::rotate_certificate() {
  const std::lock_guard changing(change_mutex_);
  std::optional<fs::path> backup;
  if (!certificate_is_given()) {
    auto rotated = distribution::rotate_certificate(certificate_dir_, wall_now());
    if (!rotated) return std::unexpected(rotated.error());
    backup = std::move(rotated->backup);
  }
  const auto certificate = load_certificate();
  if (!certificate) return std::unexpected(certificate.error());
  if (auto used = use(*certificate); !used) return std::unexpected(used.error());
  return RotatedCertificate{distribution::to_hex(certificate->binding),
                            std::chrono::system_clock::time_point(Milliseconds(certificate->expires)),
                            backup.value_or(fs::path())};
}

// Trust.

void KeyKeeper::tell_revoked() {
  std::function<void()> told;
  {
    const std::lock_guard lock(mutex_);
    told = events_.revoked;
  }
  if (told) told();
}

Result<void> KeyKeeper::revoke(const distribution::PublicKey& key) {
  if (!authenticate_) return no_authentication();
  if (identity()->public_key() == key)
    return fail(Errc::invalid_argument, "this is the key of this node: rotate it, and revoke it at the peers");
  if (auto revoked = trust_->revoke(key); !revoked) return revoked;
  logger_->warn("the key {} (SHA-256) is revoked", shown(key));
  tell_revoked();
  return {};
}

Result<void> KeyKeeper::unrevoke(const distribution::PublicKey& key) {
  if (!authenticate_) return no_authentication();
  auto unrevoked = trust_->unrevoke(key);
  if (unrevoked) logger_->warn("the key {} (SHA-256) is not revoked any more", shown(key));
  return unrevoked;
}

Result<void> KeyKeeper::take_trust() {
  const auto before = trust_->revoked();
  auto read = trust_->reload();
  const auto now = trust_->revoked();
  for (const auto& key : now) {
    if (!std::ranges::binary_search(before, key)) logger_->warn("the key {} (SHA-256) is revoked", shown(key));
  }
  // Whether or not somebody is new: an earlier look may have ended between reading and telling.
  if (!now.empty()) tell_revoked();
  return read;
}

Result<void> KeyKeeper::reload() {
  Result<void> first;
  const auto keep = [&](Result<void> result) {
    if (first && !result) first = std::move(result);
  };
  if (authenticate_) keep(take_trust());
  if (authenticate_) keep(trust_->save_again());
  const std::lock_guard changing(change_mutex_);
  if (authenticate_) keep(take_identity());
  keep(take_certificate());
  return first;
}

// Looking after the files.

KeyKeeper::Stamp KeyKeeper::stamp(std::int64_t& newest) const {
  Mixer mixer;
  if (authenticate_) {
    add_file(mixer, key_dir_ / "node.key", newest);
    add_directory(mixer, key_dir_ / "trusted", newest);
    add_directory(mixer, key_dir_ / "revoked", newest);
  }
  add_file(mixer, certificate_is_given() ? certificate_file_ : certificate_dir_ / "node.crt", newest);
  add_file(mixer, certificate_is_given() ? certificate_key_file_ : certificate_dir_ / "node.key", newest);
  return mixer.value();
}

void KeyKeeper::warn_once(std::string& last, const Result<void>& result) const {
  std::string text = result ? std::string() : result.error().message();
  if (!text.empty() && text != last) logger_->warn("key files have changed and cannot be used: {}", text);
  last = std::move(text);
}

bool KeyKeeper::is_to_be_renewed(WallMilliseconds now) const {
  const std::lock_guard lock(mutex_);
  return renew_at_ != 0 && now >= renew_at_;
}

void KeyKeeper::save_pins() {
  const auto now = monotonic_now();
  if (!authenticate_ || !trust_->has_unsaved() || now < save_pins_at_) return;
  if (trust_->save_again() && !trust_->has_unsaved()) {
    logger_->info("keys that were pinned in memory only are on the disk");
  } else {
    save_pins_at_ = now + retry_after;
  }
}

void KeyKeeper::look() {
  save_pins();
  const auto now = wall_now();
  std::int64_t newest = 0;
  const auto seen = stamp(newest);
  const bool changed = seen_ != seen;
  if (!changed && (retry_at_ ? monotonic_now() < *retry_at_ : !is_to_be_renewed(now))) return;
  if (authenticate_) warn_once(trust_error_, take_trust());
  const std::lock_guard changing(change_mutex_);
  if (authenticate_) warn_once(identity_error_, take_identity());
  warn_once(certificate_error_, take_certificate());
  // What was changed a moment ago may be changed once more without a trace.
  constexpr std::int64_t ns_in_ms = 1'000'000;
  const std::int64_t age = now * ns_in_ms - newest;
  const bool settled = age > unsettled_ns || age < -unsettled_ns;
  const bool in_order = trust_error_.empty() && identity_error_.empty() && certificate_error_.empty() &&
                        !(authenticate_ && trust_->has_unread());
  seen_ = settled ? std::optional(seen) : std::nullopt;
  retry_at_ = in_order ? std::nullopt : std::optional(monotonic_now() + retry_after);
}

void KeyKeeper::watch() {
  // However many files there are, looking at them takes less than a fiftieth of one core. A disk that keeps it waiting
  // takes none of it.
  constexpr int share = 50;
  Milliseconds pause = watch_;
  std::unique_lock lock(mutex_);
  while (!stop_wish_.wait_for(lock, pause, [this] { return stopping_; })) {
    lock.unlock();
    const auto from = time_of_this_thread();
    look();
    const auto took = std::chrono::ceil<Milliseconds>(time_of_this_thread() - from);
    pause = std::max(watch_, took.count() > 1 ? share * took : watch_);
    lock.lock();
  }
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
