#include "node/observer.hpp"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <condition_variable>
#include <iterator>
#include <map>
#include <tuple>
#include <unordered_set>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace node {

using admin::KnownNode;

namespace {

std::string text_of(const Atom& atom) { return atom.string(); }

std::vector<std::string> texts_of(const std::vector<Atom>& atoms) {
  std::vector<std::string> texts;
  texts.reserve(atoms.size());
  for (const auto& atom : atoms) texts.push_back(text_of(atom));
  std::ranges::sort(texts);
  return texts;
}

KnownNode::Kind kind_of(std::uint32_t creation) {
  return creation == distribution::erlang_creation ? KnownNode::Kind::erlang : KnownNode::Kind::cpp;
}

/// Of a page: long values are cut, with a word.
std::string shown(const Term& term) {
  constexpr std::size_t most = 4096;
  std::string text = to_text(term);
  if (text.size() > most) {
    text.resize(most);
    text += "... (cut)";
  }
  return text;
}

}  // namespace

/// Questions to a thread whether it does its work: one at a time.
struct Observer::Beat {
  std::mutex mutex;
  std::condition_variable answered;
  bool asked = false;
  MonotonicTime last = monotonic_now();
  bool overloaded = false;
  std::size_t unwritten = 0;

  /// False: it is asked already.
  bool begin() {
    const std::lock_guard lock(mutex);
    return !std::exchange(asked, true);
  }
  void end(bool refused = false, std::size_t count = 0) {
    const std::lock_guard lock(mutex);
    asked = false;
    overloaded = refused;
    if (!refused) {
      unwritten = count;
      last = monotonic_now();
    }
    answered.notify_all();
  }
  /// Whether it answered within the time.
  bool wait_until(MonotonicTime end) {
    std::unique_lock lock(mutex);
    return answered.wait_until(lock, end, [&] { return !asked; }) && !overloaded;
  }
  Milliseconds silence() {
    const std::lock_guard lock(mutex);
    return std::chrono::duration_cast<Milliseconds>(monotonic_now() - last);
  }
};

/// What other threads fill in. Late ones find it still there.
struct Observer::Gathering {
  std::mutex mutex;
  std::condition_variable changed;
  std::size_t missing = 0;
  std::optional<quic::EndpointStatistics> endpoint;
  std::vector<distribution::PeerTraffic> traffic;
  std::optional<ClusterReport> report;

  template <class Fill>
  void fill(const Fill& fill_in) {
    const std::lock_guard lock(mutex);
    fill_in();
    if (--missing == 0) changed.notify_all();
  }
};

Observer::Observer(Observed observed)
    : observed_(std::move(observed)),
      views_(*observed_.system),
      transport_beat_(std::make_shared<Beat>()),
      cluster_beat_(std::make_shared<Beat>()) {
  if (!observed_.overlay) return;
  auto& recorder = *observed_.recorder;
  membership_ = observed_.overlay->subscribe([this, &recorder](const MembershipEvent& event) {
    if (event.kind == MembershipEvent::Kind::up) recorder.record(FlightEntry::Kind::neighbour, event.node.text());
    if (event.kind != MembershipEvent::Kind::down) return;
    recorder.record(FlightEntry::Kind::neighbour_lost, event.node.text(), event.reason);
    if (event.reason != "graceful") return;
    const std::lock_guard lock(left_mutex_);
    constexpr std::size_t most = 1024;
    if (left_.size() < most) left_.push_back(event.node.atom());
  });
}

Observer::~Observer() = default;

admin::Source Observer::source() {
  admin::Source source;
  source.health = [this] { return health(); };
  source.snapshot = [this](bool views) { return snapshot(views); };
  source.map = [this](const admin::MapQuery& query) { return map(query); };
  source.log = [this](std::uint64_t number) { return observed_.recorder->after(number); };
  return source;
}

Health Observer::health() { return health(monotonic_now() + patience); }

Health Observer::health(MonotonicTime until) {
  if (transport_beat_->begin()) {
    boost::asio::post(*observed_.context, [beat = transport_beat_] { beat->end(); });
  }
  if (observed_.services && cluster_beat_->begin()) {
    observed_.services->unwritten(
        [beat = cluster_beat_](Result<std::size_t> count) { beat->end(!count, count.value_or(0)); });
  }
  const bool transport = transport_beat_->wait_until(until);
  const bool cluster = !observed_.services || cluster_beat_->wait_until(until);
  Health health;
  health.reasons = reasons(transport, cluster);
  health.live =
      (transport || transport_beat_->silence() < live_within) && (cluster || cluster_beat_->silence() < live_within);
  health.ready = health.reasons.empty();
  return health;
}

std::vector<std::string> Observer::reasons(bool transport, bool cluster) const {
  std::vector<std::string> reasons;
  const auto silent = [](const char* thread, Beat& beat) {
    return std::string("the ") + thread + " thread has not answered for " + std::to_string(beat.silence().count()) +
           " ms";
  };
  if (draining_) reasons.emplace_back("the node is stopping");
  if (!transport) reasons.push_back(silent("network", *transport_beat_));
  if (!cluster) {
    const std::lock_guard lock(cluster_beat_->mutex);
    reasons.emplace_back(cluster_beat_->overloaded
                             ? "the cluster thread has more to do than limits.cluster_queue_bytes_max"
                             : "the cluster thread has not answered for a second");
  }
  if (!observed_.overlay) return reasons;
  if (observed_.overlay->has_contacts() && observed_.overlay->views()->active.empty()) {
    reasons.emplace_back("no node of the cluster is a neighbour: none of contact_nodes could be joined yet");
  }
  const auto members = observed_.services->members();
  if (std::ranges::find(members, Atom(observed_.name)) == members.end()) {
    reasons.emplace_back("this node is no member: it left, or was paused for longer than its lease");
  }
  const std::lock_guard lock(cluster_beat_->mutex);
  if (cluster_beat_->unwritten > 0) {
    reasons.push_back("the disk refuses what should be stored: " + std::to_string(cluster_beat_->unwritten) +
                      " entries wait");
  }
  return reasons;
}

std::shared_ptr<const admin::Snapshot> Observer::snapshot(bool views) {
  const std::lock_guard lock(mutex_);
  const auto now = monotonic_now();
  if (last_ && now - last_at_ < reuse_for && (last_views_ || !views)) return last_;
  last_ = std::make_shared<const admin::Snapshot>(make(views));
  last_at_ = now;
  last_views_ = views;
  return last_;
}

std::shared_ptr<Observer::Gathering> Observer::gather() const {
  auto gathered = std::make_shared<Gathering>();
  gathered->missing = observed_.services ? 3 : 2;
  boost::asio::post(*observed_.context, [gathered, network = observed_.network] {
    gathered->fill([&] { gathered->endpoint = network->endpoint().statistics(); });
  });
  observed_.network->traffic(admin::rows_max, [gathered](std::vector<distribution::PeerTraffic> traffic) {
    gathered->fill([&] { gathered->traffic = std::move(traffic); });
  });
  if (observed_.services) {
    observed_.services->report([gathered](Result<ClusterReport> report) {
      gathered->fill([&] {
        if (report) gathered->report = std::move(*report);
      });
    });
  }
  return gathered;
}

admin::Snapshot Observer::make(bool views) {
  const auto until = monotonic_now() + patience;
  // A thread that hangs is not asked for more and more.
  const bool asked = alive_;
  const auto gathered = asked ? gather() : std::make_shared<Gathering>();
  const Health health = this->health(until);
  alive_ = health.live;
  admin::Snapshot out;
  out.time = wall_now();
  out.started = started_;
  out.uptime = std::chrono::duration_cast<Milliseconds>(monotonic_now() - began_);
  out.name = observed_.name;
  out.port = observed_.port;
  out.health = health;
  std::unique_lock lock(gathered->mutex);
  out.complete = gathered->changed.wait_until(lock, until, [&] { return gathered->missing == 0; }) && asked;
  out.totals = observed_.statistics(gathered->endpoint.value_or(quic::EndpointStatistics()));
  if (observed_.overlay) out.overlay = observed_.overlay->statistics();
  for (auto& peer : gathered->traffic) {
    out.peers.push_back({text_of(peer.node), peer.hidden, std::move(peer.path), peer.queued_bytes});
  }
  std::ranges::sort(out.peers, {}, &admin::PeerRow::name);
  add_nodes(*gathered, views, out);
  if (observed_.services) add_services(*gathered, out);
  return out;
}

void Observer::note_gone(const std::vector<Atom>& members, MonotonicTime now) {
  std::vector<Atom> left;
  {
    const std::lock_guard lock(left_mutex_);
    left.swap(left_);
  }
  const std::unordered_set<Atom> alive(members.begin(), members.end());
  for (const auto& [node, kind] : known_) {
    if (!alive.contains(node) && gone_.size() < admin::rows_max) gone_[node] = {KnownNode::State::down, kind, now};
  }
  for (const auto& node : left) {
    if (const auto found = gone_.find(node); found != gone_.end()) found->second.state = KnownNode::State::left;
  }
  std::erase_if(gone_, [&](const auto& entry) {
    return alive.contains(entry.first) || now - entry.second.since > remember_gone;
  });
  std::unordered_map<Atom, KnownNode::Kind> known;
  for (const auto& node : members) {
    const auto found = known_.find(node);
    known.emplace(node, found == known_.end() ? KnownNode::Kind::unknown : found->second);
  }
  known_ = std::move(known);
}

void Observer::add_nodes(const Gathering& gathered, bool views, admin::Snapshot& out) {
  const auto now = monotonic_now();
  const Atom own(observed_.name);
  const auto members = observed_.services ? observed_.services->members() : std::vector<Atom>{own};
  note_gone(members, now);
  std::unordered_set<Atom> connected;
  std::vector<Atom> to_ask;
  for (const auto& peer : observed_.network->nodes()) {
    if ((peer.flags & distribution::flag::published) == 0) continue;
    connected.insert(peer.node);
    if (const auto found = known_.find(peer.node); found != known_.end()) {
      found->second = kind_of(peer.creation);
      to_ask.push_back(peer.node);
    }
  }
  const auto add = [&](const Atom& name, KnownNode::Kind kind, KnownNode::State state) {
    if (out.nodes.size() == admin::rows_max) return;
    KnownNode node;
    node.name = text_of(name);
    node.kind = kind;
    node.state = state;
    node.self = name == own;
    node.connected = connected.contains(name);
    if (gathered.report) {
      const auto silent = gathered.report->silent.find(name);
      if (silent != gathered.report->silent.end()) node.silent = silent->second;
    }
    if (node.self) {
      node.kind = KnownNode::Kind::cpp;
      if (observed_.overlay) {
        node.active = texts_of(observed_.overlay->views()->active);
        node.passive = texts_of(observed_.overlay->views()->passive);
      }
    } else if (auto view = views_.find(name)) {
      node.active = std::move(view->active);
      node.passive = std::move(view->passive);
      node.age = std::chrono::duration_cast<Milliseconds>(now - view->at);
    }
    out.nodes.push_back(std::move(node));
  };
  for (const auto& [name, kind] : known_) {
    add(name, kind, KnownNode::State::alive);
    if (name != own && !connected.contains(name)) to_ask.push_back(name);
  }
  for (const auto& [name, gone] : gone_) add(name, gone.kind, gone.state);
  std::ranges::sort(out.nodes, {}, &KnownNode::name);
  if (views) views_.ask(to_ask, now);
}

void Observer::add_services(const Gathering& gathered, admin::Snapshot& out) const {
  const auto& services = *observed_.services;
  for (const auto& one : services.registrations(admin::rows_max)) {
    out.services.push_back({to_text(one.name), text_of(one.node), to_text(one.pid), shown(one.meta)});
  }
  const auto order = [](const admin::ServiceRow& row) { return std::tie(row.name, row.node); };
  std::ranges::sort(out.services, {}, order);
  services.placement().read([&](const PlacementView::Placed& placed) {
    std::unordered_map<Atom, std::size_t> places;
    for (const auto& [node, share] : placed.ring.shares()) {
      places.emplace(node, out.placement.members.size());
      out.placement.members.push_back(text_of(node));
    }
    // A page draws no more than that; larger rings are told by their size alone.
    constexpr std::uint32_t drawn_max = 65'536;
    for (std::uint32_t partition = 0; partition < std::min(placed.ring.size(), drawn_max); ++partition) {
      const Atom* const owner = placed.ring.owner(partition);
      out.placement.owners.push_back(owner == nullptr ? std::nullopt : std::optional(places.at(*owner)));
    }
  });
  if (!gathered.report) return;
  out.cluster = gathered.report->figures;
  out.leaders = gathered.report->leaders;
  std::ranges::sort(out.leaders, {}, &admin::LeaderRow::role);
  out.reminders = gathered.report->reminders;
  out.maps = gathered.report->maps;
}

std::optional<admin::MapPage> Observer::map(const admin::MapQuery& query) const {
  const auto name = Atom::make(query.map);
  if (!observed_.services || !name) return std::nullopt;
  const MapViews& maps = observed_.services->maps();
  admin::MapPage page;
  page.size = maps.size(*name);
  // The first ones in the order of their texts, one more than asked for.
  std::map<std::string, Term> first;
  const bool is_open = maps.each(*name, [&](const Term& key, const Term& value) {
    std::string text = to_text(key);
    if (query.after && text <= *query.after) return;
    if (!text.starts_with(query.prefix)) {
      const auto characters = key.as_string();
      if (!characters || !characters->starts_with(query.prefix)) return;
    }
    if (first.size() > query.limit && text > std::prev(first.end())->first) return;
    first.insert_or_assign(std::move(text), value);
    if (first.size() > query.limit + 1) first.erase(std::prev(first.end()));
  });
  if (!is_open) return std::nullopt;
  page.more = first.size() > query.limit;
  for (const auto& [key, value] : first) {
    if (page.entries.size() < query.limit) page.entries.emplace_back(key, shown(value));
  }
  return page;
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
