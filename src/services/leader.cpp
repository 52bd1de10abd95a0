#include "services/leader.hpp"

#include <algorithm>
#include <cassert>
#include <functional>
#include <string>
#include <utility>

#include "services/forward.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {
namespace {

using replication::Change;
using replication::Entry;
using replication::Timestamp;

/// Between two looks at what may begin or end a reign by time alone.
constexpr Milliseconds recheck_period{500};
/// Of renewals, after a few: two leaders that have not heard of each other's campaigns yet outbid each other.
constexpr Milliseconds renewal_pause{500};
constexpr int renewals_at_once = 4;
/// After a pause nobody leads for so long: until then what had been waiting is handled.
constexpr Milliseconds wake_delay{200};
/// What arrives sooner after a pause may have been sent before its end.
constexpr Milliseconds stale_for{50};

replication::ReplicaConfig replica_config(const LeaderConfig& config) {
  replication::ReplicaConfig replica;
  replica.own = config.own;
  replica.name = Atom(leader_replica_name);
  replica.seed = config.seed;
  replica.anti_entropy_period = config.anti_entropy_period;
  replica.snapshot_bytes_max = config.snapshot_bytes_max;
  replica.snapshots_of_news = true;
  return replica;
}

}  // namespace

Term to_message(const LeaderEvent& event) {
  Term what = Atom("revoked");
  if (event.kind != LeaderEvent::Kind::revoked) what = Term::tuple({Atom("elected"), event.fence});
  return Term::tuple({Atom("barrel_p2p_leader"), event.name, std::move(what)});
}

Leader::Leader(LeaderConfig config, replication::HybridClock& clock, const Members& members, const Stored& stored,
               const Now& now)
    : config_(std::move(config)),
      clock_(clock),
      members_(members),
      now_(now),
      state_(
          {.own = config_.own,
           .entries_max = config_.candidates_max + config_.fences_max + 2 * config_.candidates_per_node_max,
           .check = [this](const Term& key, const Entry& entry) { return acceptable(key, entry); },
           .offered = [this](const Term& key) { return is_offered(key); }},
          clock, [this] { return now_.wall; },
          [this](const Term& key, Change change, const Entry& entry, const Atom& /*from*/) {
            on_change(key, change, entry);
          }),
      replica_(replica_config(config_), *this, now.monotonic),
      began_{std::max(clock.last().wall, now.wall), 0},
      standings_({.own = config_.own,
                  .forget_after = config_.forget_after,
                  .vouch_for = config_.vouch_for,
                  .expect_for = config_.expect_for},
                 members),
      ticked_at_(now.monotonic),
      announce_at_(now.monotonic) {
  for (const auto& [name, entry] : stored) {
    if (!is_leader_name(name) || !is_fence_entry(entry)) {
      ++counters_.rejected;
      continue;
    }
    remember(name, entry);
  }
}

void Leader::begin(const Now& now, Effects& out) {
  assert(out_ == nullptr);
  now_ = now;
  out_ = &out;
  if (now.monotonic - ticked_at_ > config_.lease) note_pause();
}

void Leader::end() {
  if (paused_until_) end_pause();
  elect_all();
  write_fences();
  forward(replica_effects_, Atom(leader_replica_name), *out_);
  // Told last: what was told must have been written.
  for (const auto& name : std::exchange(changed_, {})) out_->emplace_back(LeaderChanged{name});
  for (auto& happened : std::exchange(happened_, {})) out_->emplace_back(std::move(happened));
  out_ = nullptr;
}

// What the program asks for.

Result<void> Leader::check_campaign(const Term& name, const Pid& pid, const LeadOptions& options) const {
  if (!is_leader_name(name)) {
    return fail(Errc::invalid_argument,
                "a name that is led has at most " + std::to_string(leader_name_bytes_max) + " bytes, encoded");
  }
  if (!is_priority(options.priority)) {
    return fail(Errc::invalid_argument, "the priority of a candidate is an integer of at most " +
                                            std::to_string(priority_bytes_max) + " bytes");
  }
  const auto contest = contests_.find(name);
  if (contest != contests_.end()) {
    const auto& candidates = contest->second.candidates;
    if (std::ranges::find(candidates, pid, &Candidate::pid) != candidates.end()) {
      return fail(Errc::already_candidate, "the process campaigns for " + to_text(name) + " already");
    }
    if (candidates.size() >= config_.queue_max) {
      return fail(Errc::limit_exceeded,
                  std::to_string(candidates.size()) + " processes of this node campaign for " + to_text(name));
    }
  }
  const Term key = candidate_key(name, config_.own);
  const bool is_new = map().find(key) == nullptr || ghosts_.contains(key);
  if (is_new && campaigned() >= config_.candidates_per_node_max) {
    return fail(Errc::limit_exceeded, "this node campaigns for too many names, or did of late");
  }
  return state_.check_put(key);
}

Result<Role> Leader::lead(const Term& name, const Pid& pid, const LeadOptions& options, const Now& now, Effects& out) {
  now_ = now;  // the checks ask for the time
  if (auto checked = check_campaign(name, pid, options); !checked) return std::unexpected(checked.error());
  begin(now, out);
  auto& names = watched_[pid];
  if (names.empty()) out.emplace_back(Watch{pid});
  names.insert(name);
  Contest& contest = contests_[name];
  contest.enqueue({pid, options.priority, options.min_members});
  campaigns_.insert(name);
  publish(name, contest);
  dirty_.insert(name);
  starting_ = {name, pid};
  end();
  starting_.reset();
  Role role;
  if (contest.reign && contest.reign->pid == pid) role.fence = fence_of(contest.reign->stamp);
  return role;
}

Result<void> Leader::set_priority(const Term& name, const Pid& pid, const Term& priority, const Now& now,
                                  Effects& out) {
  if (!is_priority(priority)) return fail(Errc::invalid_argument, "the priority of a candidate is an integer");
  const auto found = contests_.find(name);
  if (found == contests_.end()) return fail(Errc::not_found, "nobody campaigns for " + to_text(name));
  Contest& contest = found->second;
  const auto known = std::ranges::find(contest.candidates, pid, &Candidate::pid);
  if (known == contest.candidates.end()) {
    return fail(Errc::not_found, "the process does not campaign for " + to_text(name));
  }
  if (known->priority == priority) return {};
  begin(now, out);
  Candidate candidate = *known;
  candidate.priority = priority;
  contest.candidates.erase(known);
  contest.enqueue(candidate);
  publish(name, contest);
  dirty_.insert(name);
  end();
  return {};
}

bool Leader::resign(const Term& name, const std::optional<Pid>& pid, const Now& now, Effects& out) {
  const auto found = contests_.find(name);
  if (found == contests_.end()) return false;
  std::vector<Pid> leaving;
  for (const auto& candidate : found->second.candidates) {
    if (!pid || candidate.pid == *pid) leaving.push_back(candidate.pid);
  }
  if (leaving.empty()) return false;
  begin(now, out);
  for (const auto& candidate : leaving) {
    stop_watching(candidate, name);
    withdraw(name, candidate);
  }
  publish(name, found->second);
  end();
  return true;
}

void Leader::process_down(const Pid& pid, const Now& now, Effects& out) {
  const auto watched = watched_.extract(pid);
  if (watched.empty()) return;
  begin(now, out);
  for (const auto& name : watched.mapped()) {
    withdraw(name, pid);
    publish(name, contests_.at(name));
  }
  end();
}

/// Without a word: it knows, or is no more.
void Leader::withdraw(const Term& name, const Pid& pid) {
  Contest& contest = contests_.at(name);
  std::erase_if(contest.candidates, [&](const Candidate& candidate) { return candidate.pid == pid; });
  if (contest.reign && contest.reign->pid == pid) contest.reign.reset();
  if (contest.candidates.empty()) campaigns_.erase(name);
  dirty_.insert(name);
}

/// Writes and tells who of this node stands for election, if that is another than before.
void Leader::publish(const Term& name, const Contest& contest) {
  const Term key = candidate_key(name, config_.own);
  const Term* stored = map().get(key);
  if (contest.candidates.empty() && stored == nullptr) return;
  Result<Term> written;
  if (contest.candidates.empty()) {
    written = state_.remove(key);
  } else {
    const Candidate& first = contest.candidates.front();
    Term value = candidate_value(first.pid, first.priority);
    if (stored != nullptr && *stored == value) return;
    written = state_.put(key, std::move(value));
  }
  if (written) {
    announce({.payload = std::move(*written)});
  } else {
    ++counters_.rejected;  // not reached: what is stored of this node passed the clock
  }
}

void Leader::stop_watching(const Pid& pid, const Term& name) {
  const auto watched = watched_.find(pid);
  if (watched == watched_.end()) return;
  watched->second.erase(name);
  if (!watched->second.empty()) return;
  watched_.erase(watched);
  out_->emplace_back(Unwatch{pid});
}

/// Tells all, at once or as soon as others had their turn, in order: a fence comes after its candidate.
void Leader::announce(Announcement announcement) {
  if (announce_at_ <= now_.monotonic) {
    announce_at_ = now_.monotonic + config_.announce_pause;
    announced_ = 0;
  }
  // What is not told here is found by the digests.
  if (announcements_.size() < config_.candidates_per_node_max) announcements_.push_back(std::move(announcement));
  send_announcements();
}

void Leader::send_announcements() {
  for (; announced_ < config_.announcements_max && !announcements_.empty(); ++announced_) {
    auto [custom, payload] = std::move(announcements_.front());
    announcements_.pop_front();
    if (custom) {
      replica_.broadcast_custom(std::move(payload), replica_effects_);
    } else {
      replica_.broadcast(std::move(payload), replica_effects_);
    }
  }
}

// Elections.

void Leader::elect_all() {
  std::vector<Term> names(dirty_.begin(), dirty_.end());
  dirty_.clear();
  std::ranges::sort(names, TermLess{});  // the order of hashes is another in each process
  for (const auto& name : names) elect(name);
}

void Leader::elect(const Term& name) {
  const auto found = contests_.find(name);
  if (found == contests_.end()) return;
  Contest& contest = found->second;
  const Rival* winner = contest.rivals.winner();
  const Candidate* own = contest.candidates.empty() ? nullptr : &contest.candidates.front();
  const bool wins = winner != nullptr && winner->node == config_.own && own != nullptr && winner->pid == own->pid;
  const auto until = wins ? may_lead_until(*own) : std::nullopt;
  if (contest.reign && (!until || contest.reign->pid != own->pid)) revoke(name, contest);
  if (until) {
    const Entry* known = map().find(fence_key(name));
    const bool begins = !contest.reign;
    const bool renews = !begins && renewal_is_due(*contest.reign, known->stamp());
    const auto stamp = begins || renews ? mint(name) : std::optional(contest.reign->stamp);
    auto paid_until = begins ? MonotonicTime() : contest.reign->renewals_paid_until;
    if (renews) paid_until = std::max(paid_until, now_.monotonic) + renewal_pause;
    if (!stamp && !begins) revoke(name, contest);
    if (stamp) {
      const bool disputed = !begins && !renews && contest.reign->disputed;
      contest.reign = {own->pid, *stamp, disputed, *until, paid_until};
      if (begins || renews) {
        ++(begins ? counters_.elections : counters_.renewals);
        tell(own->pid, begins ? LeaderEvent::Kind::elected : LeaderEvent::Kind::renewed, name, *stamp);
      }
    }
  }
  if (wins && (!contest.reign || contest.reign->until != MonotonicTime::max())) {
    recheck_at_ = std::min(recheck_at_, now_.monotonic + recheck_period);
    if (contest.reign) recheck_at_ = std::min(recheck_at_, contest.reign->until + Milliseconds(1));
  }
  std::optional<Contest::Winner> told;
  if (winner != nullptr && (winner->node != config_.own || contest.reign)) told = {winner->node, winner->pid};
  if (told != contest.told || contest.reign != contest.told_reign) changed_.insert(name);
  contest.told = std::move(told);
  contest.told_reign = contest.reign;
  if (contest.is_over()) contests_.erase(found);
}

/// Whether a token above the leader's is known, and it may have another one now. If not yet, it looks again in time.
bool Leader::renewal_is_due(const Contest::Reign& reign, const Timestamp& greatest) {
  if (!reign.disputed && greatest <= reign.stamp) return false;
  const auto from = reign.renewals_paid_until - (renewals_at_once - 1) * renewal_pause;
  if (from <= now_.monotonic) return true;
  recheck_at_ = std::min(recheck_at_, from);
  return false;
}

/// Nothing: it must not lead now.
std::optional<MonotonicTime> Leader::may_lead_until(const Candidate& candidate) {
  if (left_ || paused_until_) return std::nullopt;
  if (candidate.min_members <= 1) return MonotonicTime::max();
  const auto& heard = others_heard();
  const std::size_t others = candidate.min_members - 1;
  if (heard.size() < others) return std::nullopt;
  const auto until = heard[others - 1] + config_.lease;
  return until < now_.monotonic ? std::nullopt : std::optional(until);
}

/// Asked for with each change of a campaign that must have members: not all of them are looked at each time.
const std::vector<MonotonicTime>& Leader::others_heard() {
  const bool fresh = others_revision_ == members_.revision() && now_.monotonic < others_asked_at_ + recheck_period / 2;
  if (fresh) return others_heard_;
  others_asked_at_ = now_.monotonic;
  others_revision_ = members_.revision();
  others_heard_.clear();
  for (const auto& node : members_.members()) {
    const auto silence = node == config_.own ? std::nullopt : members_.silent_for(node, now_.monotonic);
    if (silence) others_heard_.push_back(now_.monotonic - *silence);
  }
  std::ranges::sort(others_heard_, std::greater());
  return others_heard_;
}

/// A fence above all that are known of the name; nothing when there is none.
std::optional<Timestamp> Leader::mint(const Term& name) {
  const Entry* known = map().find(fence_key(name));
  const Timestamp high_water = known != nullptr ? known->stamp() : Timestamp{};
  const std::size_t fences_with_own = config_.fences_max + config_.candidates_per_node_max;
  if (known == nullptr && !make_room_for_fence(fences_with_own)) {
    ++counters_.out_of_reach;
    return std::nullopt;
  }
  const bool reached = known == nullptr || clock_.observe(high_water, now_.wall).has_value();
  const Timestamp stamp = reached ? clock_.now(now_.wall) : Timestamp{};
  if (stamp <= high_water || !raise(name, stamp, config_.own, fences_with_own)) {
    ++counters_.out_of_reach;
    return std::nullopt;
  }
  announce({.custom = true, .payload = Term::tuple({name, replication::to_term(stamp)})});
  return stamp;
}

void Leader::revoke(const Term& name, Contest& contest) {
  ++counters_.revocations;
  tell(contest.reign->pid, LeaderEvent::Kind::revoked, name, {});
  contest.reign.reset();
}

void Leader::tell(const Pid& pid, LeaderEvent::Kind kind, const Term& name, const Timestamp& stamp) {
  if (kind == LeaderEvent::Kind::elected && starting_ == std::pair(name, pid)) return;  // `lead` returns it
  happened_.push_back({pid, {kind, name, fence_of(stamp)}});
}

/// All of this node's campaigns must be looked at again.
void Leader::review_campaigns() { dirty_.insert(campaigns_.begin(), campaigns_.end()); }

// Pauses.

void Leader::note_pause() {
  ++counters_.pauses;
  ticked_at_ = woke_at_ = now_.monotonic;
  paused_until_ = now_.monotonic + config_.lease;
  replica_.suspect_all(now_.monotonic);
  review_campaigns();
}

/// If it is time to.
void Leader::end_pause() {
  if (now_.monotonic < woke_at_ + wake_delay) return;
  const auto fresh = woke_at_ + stale_for;
  const bool compared = heard_at_ >= fresh || replica_.is_in_sync_since(fresh);
  if (!compared && replica_.has_peers() && now_.monotonic < *paused_until_) return;
  paused_until_.reset();
  review_campaigns();
}

// What happens.

void Leader::neighbour_up(const Atom& node, const Now& now, Effects& out) {
  begin(now, out);
  replica_.peer_up(node, now.monotonic);
  if (std::exchange(left_, false)) review_campaigns();
  // The first ones may be cut off from the rest. Whom none of these reaches learns it from what comes back (ghosts).
  constexpr std::size_t tellings = 3;
  if (began_told_ < tellings) {
    ++began_told_;
    // Three elements: Erlang nodes take a pair for a fence.
    const Term began = Term::tuple({Atom("began"), replication::to_term(began_), config_.own});
    replica_.broadcast_custom(began, replica_effects_);
  }
  end();
}

void Leader::leave(const Now& now, Effects& out) {
  begin(now, out);
  left_ = true;
  replica_.leave();
  review_campaigns();
  end();
}

void Leader::deliver(const Term& payload, const Now& now, Effects& out) {
  begin(now, out);
  replica_.deliver(payload);
  end();
}

void Leader::receive(const Atom& from, const Term& message, const Now& now, Effects& out) {
  begin(now, out);
  replica_.receive(from, message, now.monotonic, replica_effects_);
  end();
}

void Leader::tick(const Now& now, Effects& out) {
  begin(now, out);
  ticked_at_ = now.monotonic;
  if (scan_at_ <= now.monotonic) scan();
  if (recheck_at_ <= now.monotonic) {
    recheck_at_ = MonotonicTime::max();
    review_campaigns();
  }
  if (!announcements_.empty() && announce_at_ <= now.monotonic) {
    announce_at_ = now.monotonic + config_.announce_pause;
    announced_ = 0;
    send_announcements();
  }
  replica_.tick(now.monotonic, replica_effects_);
  end();
}

MonotonicTime Leader::deadline() const noexcept {
  MonotonicTime next = std::min(scan_at_, replica_.deadline().value_or(MonotonicTime::max()));
  next = std::min({next, recheck_at_, ticked_at_ + config_.lease / 2});
  if (!announcements_.empty()) next = std::min(next, announce_at_);
  if (paused_until_) {
    const auto woken = woke_at_ + wake_delay;
    next = std::min(next, now_.monotonic < woken ? woken : *paused_until_);
  }
  return next;
}

// What is known.

LeaderView Leader::view(const Term& name) const {
  const auto found = contests_.find(name);
  return found == contests_.end() ? LeaderView() : LeaderView{found->second.told, found->second.told_reign};
}

std::optional<Contest::Winner> Leader::leader(const Term& name, const Now& now) const {
  LeaderView known = view(name);
  const bool here = known.winner && known.winner->node == config_.own;
  return here && !known.holds(now.monotonic, held_until()) ? std::nullopt : std::move(known.winner);
}

bool Leader::is_leader(const Term& name, const Now& now) const { return view(name).holds(now.monotonic, held_until()); }

std::optional<Fence> Leader::fence(const Term& name, const Now& now) const {
  const LeaderView known = view(name);
  if (!known.holds(now.monotonic, held_until())) return std::nullopt;
  return fence_of(known.reign->stamp);
}

std::vector<Atom> Leader::candidates(const Term& name) const {
  std::vector<Atom> nodes;
  const auto found = contests_.find(name);
  if (found == contests_.end()) return nodes;
  nodes = found->second.rivals.nodes();
  std::ranges::sort(nodes);
  return nodes;
}

std::optional<Fence> Leader::high_water(const Term& name) const {
  const Entry* known = map().find(fence_key(name));
  if (known == nullptr) return std::nullopt;
  return fence_of(known->stamp());
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
