// The way into the cluster, as a machine without I/O: which contact to join when, for ever.
//
// While the active view is empty the contacts are tried one after the other: first those that are remembered, then the
// configured ones, both in random order. The next one is tried `stagger` after the last one began, or at once when that
// failed. When all have been tried, a new round begins after a pause that grows with each round, with jitter, up to
// `retry_max`. Neighbours that are there for less than `retry_max` interrupt a round and do not begin another one: a
// contact that has left takes nobody in, and is not asked again and again.
//
// A configured contact that was never reached since the start, or since the node left, is tried now and then even when
// there are neighbours: it may be the seed of another part of the cluster that nobody here has ever met. Soon at first,
// for nodes that start together may have found each other in pairs, and then less and less often.
//
// Source: protocol document 03, sections 9 and 13. One thread at a time.
#pragma once

#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/clock.hpp"
#include "base/prng.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace overlay {

struct ContactsConfig {
  Atom own;
  std::uint64_t seed = 0;
  std::vector<Atom> contacts;    ///< `contact_nodes`. The own name is left out.
  std::vector<Atom> remembered;  ///< From disk: neighbours of the last run. They come before the contacts.
  Milliseconds stagger{250};     ///< Between the starts of two attempts.
  Milliseconds retry_min{500};   ///< After the first round of attempts ...
  Milliseconds retry_max{5000};  ///< `contact_retry_ms`: ... doubled up to this. All with a jitter of 20 %.
  /// Contacts that were never reached, while there are neighbours: after this ...
  Milliseconds unreached_retry_min{1000};
  Milliseconds unreached_retry_max{60'000};  ///< ... doubled up to this. With the same jitter.
};

class Contacts {
 public:
  Contacts(ContactsConfig config, MonotonicTime now);

  /// The node was reached, whoever began, or an attempt failed. Other nodes than contacts are ignored.
  void reached(const Atom& node);
  void failed(const Atom& node, MonotonicTime now);
  /// After `leave` nothing is tried until `resume`. What resumes has the first try, the contacts come `stagger` later.
  void pause();
  void resume(MonotonicTime now);
  /// Other `contact_nodes` from now on. Those that were there before keep what was reached. New ones are tried at once
  /// while nobody is there, and else as any that was never reached: soon, and then less and less often. Those that are
  /// gone are tried no more, unless they are remembered. After `leave` nothing is tried all the same.
  void replace(const std::vector<Atom>& configured, std::size_t neighbours, MonotonicTime now);
  /// Nodes to join now. `neighbours`: size of the active view.
  std::vector<Atom> tick(std::size_t neighbours, MonotonicTime now);
  /// The view became empty: a new round, but not sooner than `retry_min` after the last attempt; or the last one goes
  /// on.
  void alone(MonotonicTime now);
  /// When `tick` must be called at the latest.
  [[nodiscard]] std::optional<MonotonicTime> deadline() const noexcept { return next_; }

 private:
  struct Contact {
    Atom node;
    bool configured = false;
    bool reached = false;
  };
  void add(const Atom& node, bool configured);
  /// Makes these the configured ones, and returns those that were not.
  std::vector<Atom> take(const std::vector<Atom>& configured);
  void begin(MonotonicTime now);
  void start_round();
  void in_company(MonotonicTime now);
  Atom try_next(MonotonicTime now);
  std::optional<Atom> random_unreached();
  void plan_unreached(MonotonicTime now);
  [[nodiscard]] Contact* find(const Atom& node) noexcept;
  [[nodiscard]] bool is_remembered(const Atom& node) const noexcept;

  ContactsConfig config_;
  Prng random_;
  std::vector<Contact> contacts_;
  std::vector<Atom> round_;     ///< Who is still to be tried, the next one last.
  std::optional<Atom> trying_;  ///< By the current round.
  std::optional<MonotonicTime> tried_at_;
  Milliseconds pause_;            ///< After this round.
  Milliseconds unreached_pause_;  ///< Before the next contact that was never reached.
  bool alone_ = true;
  bool paused_ = false;
  std::optional<MonotonicTime> in_company_since_;
  std::optional<MonotonicTime> next_;  ///< What must be done next, whatever it is.
  MonotonicTime try_at_{};             ///< The next attempt of the round.
};

}  // namespace overlay
}  // namespace v0
}  // namespace barrel_p2p
