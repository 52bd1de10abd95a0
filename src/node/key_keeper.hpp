// The keys of a node that runs: its identity, its certificate, the keys that it trusts and those that are revoked. It
// changes them for the program, and looks after their files, which an operator may change with `barrel_p2p keys` and
// `barrel_p2p cert`, or by hand.
//
// Files are looked at (stat) every `watch`; what has changed is read and counts from then on. What cannot be read
// leaves things as they were, with a warning. Nothing of this is done by the network thread: the keeper has a thread of
// its own. Thread safe.
#pragma once

#include <barrel_p2p/keys.hpp>
#include <barrel_p2p/node_config.hpp>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "base/log.hpp"
#include "distribution/auth/certificate.hpp"
#include "distribution/auth/ed25519.hpp"
#include "distribution/auth/trust_store.hpp"
#include "quic/credentials.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

class KeyKeeper {
 public:
  using Credentials = std::shared_ptr<const quic::Credentials>;
  /// To whom it tells changes.
  struct Events {
    std::function<void(const distribution::PrivateKey&)> identity;  ///< Must not wait.
    std::function<void(const Credentials&)> certificate;            ///< Must not wait.
    std::function<void()> revoked;  ///< Returns when the channels of revoked keys are closed. Called without locks.
  };

  /// Loads everything, and makes identity and certificate where there are none. Errors: those of the files.
  static Result<std::unique_ptr<KeyKeeper>> open(const NodeConfig& config, Logger logger);
  ~KeyKeeper() { stop(); }
  KeyKeeper(const KeyKeeper&) = delete;
  KeyKeeper& operator=(const KeyKeeper&) = delete;

  /// From now on changes are told, and the files are looked at.
  void start(Events events);
  /// Ends the thread that looks; afterwards nobody is told of anything new.
  void stop();

  /// Nothing when authentication is off, as is `trust`.
  [[nodiscard]] std::optional<distribution::PrivateKey> identity() const;
  [[nodiscard]] const std::shared_ptr<distribution::TrustStore>& trust() const noexcept { return trust_; }
  [[nodiscard]] Credentials credentials() const;

  // See Node.
  Result<distribution::PublicKey> prepare_identity();
  Result<RotatedIdentity> rotate_identity();
  Result<RotatedCertificate> rotate_certificate();
  Result<void> revoke(const distribution::PublicKey& key);
  Result<void> unrevoke(const distribution::PublicKey& key);
  /// Errors: the first of all.
  Result<void> reload();

 private:
  /// What a look at the files saw; equal when nobody changed them, but for changes within a moment of the last look.
  using Stamp = std::uint64_t;

  KeyKeeper(const NodeConfig& config, Logger logger);
  [[nodiscard]] bool certificate_is_given() const noexcept { return !certificate_file_.empty(); }
  [[nodiscard]] Result<distribution::Certificate> load_certificate() const;
  Result<void> take_identity();
  /// An error with credentials in hand: they could not be made anew.
  Result<void> take_certificate();
  Result<void> use(const distribution::Certificate& certificate);
  void use(distribution::PrivateKey identity);
  Result<void> take_trust();
  void tell_revoked();
  void watch();
  void look();
  /// What the disk refused, as soon as it takes it.
  void save_pins();
  [[nodiscard]] bool is_to_be_renewed(WallMilliseconds now) const;
  [[nodiscard]] Stamp stamp(std::int64_t& newest) const;
  void warn_once(std::string& last, const Result<void>& result) const;

  const bool authenticate_;
  const std::filesystem::path key_dir_;
  const std::filesystem::path certificate_dir_;
  const std::filesystem::path certificate_file_;
  const std::filesystem::path certificate_key_file_;
  const Milliseconds watch_;
  const Logger logger_;
  std::shared_ptr<distribution::TrustStore> trust_;

  std::mutex change_mutex_;  ///< Orders what is done to identity and certificate. Taken before `mutex_`.
  mutable std::mutex mutex_;
  std::optional<distribution::PrivateKey> identity_;
  Credentials credentials_;
  distribution::Digest binding_{};
  WallMilliseconds renew_at_ = 0;  ///< When a certificate of our own is to be made anew; 0: never.
  Events events_;

  // Of the thread that looks.
  std::optional<Stamp> seen_;              ///< Nothing: read the files again, whatever the stamp is.
  std::optional<MonotonicTime> retry_at_;  ///< Something could not be used.
  MonotonicTime save_pins_at_{};
  std::string identity_error_, certificate_error_, trust_error_;
  std::condition_variable stop_wish_;
  bool stopping_ = false;
  std::mutex stop_mutex_;  ///< Of who waits for the thread.
  std::thread thread_;
};

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
