#include "node/overlay_runner.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <iterator>
#include <map>
#include <utility>

#include "base/deadline.hpp"
#include "base/random.hpp"
#include "distribution/control.hpp"
#include "distribution/flags.hpp"
#include "overlay/messages.hpp"
#include "replication/ormap.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

using distribution::DeliverOutcome;
using distribution::SendOutcome;

namespace {

/// What a call counts against the bound of the queue, beside what it carries.
constexpr std::size_t call_bytes = 256;

/// So long a neighbour whose queue is full holds up those who broadcast.
constexpr Milliseconds congestion_max{1000};

// Our data streams: application gossip and the exchange of states have their own, so that they and what else the
// library says never wait behind each other. They are numbered as the processes of id 0, which there are none of.
constexpr std::uint32_t library_stream = 1;
constexpr std::uint32_t application_stream = 2;
constexpr std::uint32_t state_stream = 3;

Pid stream_of(const Atom& own, std::uint32_t creation, const overlay::Message& message) {
  const auto* plumtree = std::get_if<overlay::PlumtreeMessage>(&message);
  const auto* gossip = plumtree != nullptr ? std::get_if<overlay::Gossip>(plumtree) : nullptr;
  const bool application = gossip != nullptr && !overlay::is_library_tag(gossip->tag);
  return {own, 0, application ? application_stream : library_stream, creation};
}

bool is_gossip(const overlay::Message& message) {
  const auto* plumtree = std::get_if<overlay::PlumtreeMessage>(&message);
  return plumtree != nullptr && std::holds_alternative<overlay::Gossip>(*plumtree);
}

std::size_t bytes_of(const distribution::Payload& payload) {
  const auto* encoded = std::get_if<distribution::EncodedTerm>(&payload);
  return call_bytes + (encoded == nullptr ? 0 : encoded->bytes.size());
}

MembershipEvent event_of(MembershipEvent::Kind kind, const Atom& node) {
  return {kind, NodeName(node.text()), "", Error(Errc::no_connection)};
}

/// A process that bears a name and has nothing to do: what other nodes send to the name goes elsewhere.
Task<> name_bearer(Process& self) {
  for (;;) (void)co_await self.receive();
}

}  // namespace

OverlayRunner::OverlayRunner(OverlayRunnerConfig config, SerialExecutor& executor, process::System& system,
                             distribution::Network& network, distribution::Discovery& discovery, Logger logger)
    : config_(std::move(config)),
      executor_(executor),
      system_(system),
      network_(network),
      discovery_(discovery),
      logger_(std::move(logger)),
      log_limit_(20, Milliseconds(1000)),
      strange_limit_(1, Milliseconds(10'000)),
      queue_(config_.queue_bytes_max),
      rates_(config_.messages_per_second_max),
      event_pids_(system, subscriptions_),
      broadcast_pids_(system, subscriptions_),
      machine_(config_.overlay, monotonic_now()),
      alarm_(std::make_unique<SerialExecutor::Alarm>(executor, [this] { tick(); })),
      has_contacts_(!config_.overlay.contacts.contacts.empty()) {
  const auto receiver = [this](bool gossip) {
    return [this, gossip](const Atom& node, std::uint64_t epoch, distribution::Payload&& payload) {
      return receive(node, epoch, gossip, std::move(payload));
    };
  };
  system_.set_receiver(Atom(overlay::bridge_name), receiver(false));
  system_.set_receiver(Atom(overlay::plumtree_name), receiver(true));
  std::map<std::string, std::string> met;
  for (const auto& peer : config_.known) {
    if (peer.address.empty()) continue;
    addresses_[peer.node] = peer.address;
    met.emplace(peer.node.text(), peer.address);
  }
  discovery_.set_remembered(met);
}

OverlayRunner::~OverlayRunner() { stop(); }

void OverlayRunner::start() {
  for (const auto name : {overlay::bridge_name, overlay::plumtree_name}) {
    const Pid bearer = system_.spawn_internal(name_bearer);
    if (!system_.register_name(Atom(name), bearer)) system_.exit(bearer, Atom("kill"));
  }
  if (!config_.peers_file.empty()) {
    writer_ = std::make_unique<PeersWriter>(config_.peers_file, [log = logger_](const Error& error) {
      log->warn("the peers are not remembered for a restart: {}", error.message());
    });
  }
  publish_views();
  executor_.post([this] { tick(); });
}

void OverlayRunner::stop() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(stopped_, true)) return;
  }
  changed_.notify_all();
  queue_.close();
  executor_.stop();
  // The machine belongs to this thread now.
  if (writer_ && machine_.membership().version() > 0) {
    auto nodes = machine_.membership().active_view();
    const auto passive = machine_.membership().passive_view();
    nodes.insert(nodes.end(), passive.begin(), passive.end());
    remember(std::move(nodes));
  }
  writer_.reset();
}

// Into the queue.

void OverlayRunner::wake(Queue::Pushed pushed) {
  if (pushed == Queue::Pushed::wake) executor_.post([this] { run(); });
}

void OverlayRunner::push(Input input) { wake(queue_.push(std::move(input))); }

Result<void> OverlayRunner::push_call(Input input, std::size_t bytes) {
  const auto pushed = queue_.push_if_short(std::move(input), call_bytes + bytes);
  wake(pushed);
  if (pushed == Queue::Pushed::closed) return fail(Errc::stopped, "the node is stopping");
  if (pushed == Queue::Pushed::full) {
    return fail(Errc::overloaded, "limits.cluster_queue_bytes_max is reached: send less, or wait");
  }
  return {};
}

DeliverOutcome OverlayRunner::receive(const Atom& node, std::uint64_t epoch, bool gossip,
                                      distribution::Payload&& payload) {
  const std::size_t bytes = bytes_of(payload);
  const Channel channel{node, epoch};
  // First: who empties the queue looks when the channel is to be read again.
  const bool too_fast = rates_.count(channel, monotonic_now());
  const auto [pushed, outcome] =
      queue_.push_received(Received{node, epoch, gossip, std::move(payload)}, bytes, channel, !too_fast);
  wake(pushed);
  return too_fast ? DeliverOutcome::congested : outcome;
}

void OverlayRunner::link_up(const distribution::PeerInfo& peer) {
  push(LinkUp{peer.node, peer.epoch, peer.by_adapter ? std::string() : peer.address,
              peer.creation == distribution::erlang_creation});
}

void OverlayRunner::link_down(const Atom& node, std::uint64_t epoch) { push(LinkDown{node, epoch}); }

Result<void> OverlayRunner::join(const Atom& node) { return push_call(JoinCall{node}, 0); }

void OverlayRunner::leave() { push(LeaveCall{}); }

Result<void> OverlayRunner::broadcast(Term tag, Term payload) {
  for (const Term* const content : {&tag, &payload}) {
    if (auto shallow = replication::check_depth(*content); !shallow) return shallow;
  }
  const std::size_t bytes = encoded_size(tag, false) + encoded_size(payload, false);
  if (bytes > payload_bytes_max()) {
    return fail(Errc::limit_exceeded, "the broadcast has " + std::to_string(bytes) +
                                          " bytes and gossip.payload_bytes_max is " +
                                          std::to_string(payload_bytes_max()));
  }
  return push_call(BroadcastCall{std::move(tag), std::move(payload)}, bytes);
}

void OverlayRunner::block(std::vector<Atom> nodes) { push(BlockCall{std::move(nodes)}); }

void OverlayRunner::set_contacts(std::vector<Atom> nodes) {
  const std::lock_guard lock(mutex_);  // of two at once the same one counts in both places
  has_contacts_ = !nodes.empty();
  push(ContactsCall{std::move(nodes)});
}

bool OverlayRunner::has_contacts() const {
  const std::lock_guard lock(mutex_);
  return has_contacts_;
}

Subscription OverlayRunner::subscribe(std::function<void(const MembershipEvent&)> callback) {
  auto [subscription, entry] = events_.prepare(std::move(callback));
  push(SubscribeCall{std::move(entry)});
  return std::move(subscription);
}

// What is read.

std::shared_ptr<const Views> OverlayRunner::views() const {
  const std::lock_guard lock(mutex_);
  return views_;
}

bool OverlayRunner::can_spare(const Atom& node) const {
  const std::lock_guard lock(mutex_);
  return natives_.contains(node) && std::ranges::find(views_->active, node) == views_->active.end();
}

std::vector<Atom> OverlayRunner::erlang_neighbours() const {
  const std::lock_guard lock(mutex_);
  std::vector<Atom> nodes;
  std::ranges::copy_if(views_->active, std::back_inserter(nodes),
                       [&](const Atom& node) { return erlangs_.contains(node); });
  std::ranges::sort(nodes);
  return nodes;
}

OverlayStatistics OverlayRunner::statistics() const {
  const std::lock_guard lock(mutex_);
  OverlayStatistics all = statistics_;
  all.active = views_->active.size();
  all.passive = views_->passive.size();
  return all;
}

Result<void> OverlayRunner::joined(std::size_t members_min, Milliseconds limit) {
  if (members_min > config_.members_max) {
    return fail(Errc::invalid_argument, "a node knows at most " + std::to_string(config_.members_max) +
                                            " members (active_size, passive_size and itself)");
  }
  const auto enough = [&] {
    const std::size_t known = 1 + views_->active.size() + views_->passive.size();
    return members_min <= 1 || (!views_->active.empty() && known >= members_min);
  };
  std::unique_lock lock(mutex_);
  const bool came = changed_.wait_until(lock, deadline_after(limit), [&] { return stopped_ || enough(); });
  if (enough()) return {};
  if (came) return fail(Errc::stopped, "the node is stopping");
  return fail(Errc::timeout, "only " + std::to_string(1 + views_->active.size() + views_->passive.size()) +
                                 " members are known after " + std::to_string(limit.count()) + " ms, " +
                                 std::to_string(views_->active.size()) + " of them neighbours");
}

// The cluster thread.

void OverlayRunner::run() {
  for (auto& entry : queue_.take()) {
    std::visit([this](auto& input) { handle(std::move(input)); }, entry.input);
    carry_out();
    for (const auto& channel : queue_.done(entry)) network_.resume_reading(channel.node, channel.epoch);
  }
  if (monotonic_now() >= machine_.deadline()) {
    machine_.tick(monotonic_now(), effects_);
    carry_out();
  }
  publish_statistics();
  set_alarm();
}

void OverlayRunner::tick() {
  for (const auto& channel : rates_.release(monotonic_now())) network_.resume_reading(channel.node, channel.epoch);
  machine_.tick(monotonic_now(), effects_);
  carry_out();
  publish_statistics();
  set_alarm();
}

/// An alarm that comes too early only finds nothing to do.
void OverlayRunner::set_alarm() {
  const auto deadline = std::min(machine_.deadline(), rates_.deadline());
  if (!alarm_->at() || *alarm_->at() > deadline) alarm_->set(deadline);
}

void OverlayRunner::handle(LinkUp&& input) {
  links_[input.node] = {input.epoch, std::move(input.address)};
  {
    const std::lock_guard lock(mutex_);
    if (input.erlang) {
      erlangs_.insert(input.node);
    } else {
      erlangs_.erase(input.node);
    }
  }
  machine_.link_up(input.node, monotonic_now(), effects_, input.erlang);
}

void OverlayRunner::handle(LinkDown&& input) {
  const auto found = links_.find(input.node);
  if (found == links_.end() || found->second.epoch != input.epoch) return;
  // Kept until the next list is written, and then if the node is on it.
  if (addresses_.size() < known_peers_max) addresses_[input.node] = std::move(found->second.address);
  links_.erase(found);
  has_room(input.node);
  {
    const std::lock_guard lock(mutex_);
    natives_.erase(input.node);
    erlangs_.erase(input.node);
  }
  machine_.link_down(input.node, monotonic_now(), effects_);
}

void OverlayRunner::handle(ConnectFailed&& input) {
  auto event = event_of(MembershipEvent::Kind::connect_failed, input.node);
  event.error = std::move(input.error);
  events_.tell(event);
  machine_.connect_failed(input.node, monotonic_now(), effects_);
}

void OverlayRunner::handle(Writable&& input) { has_room(input.node); }

void OverlayRunner::has_room(const Atom& node) {
  if (full_.erase(node) > 0 && listener_.relieved) listener_.relieved();
}

std::optional<MonotonicTime> OverlayRunner::congested_until(MonotonicTime now) const {
  std::optional<MonotonicTime> last;
  for (const auto& [node, until] : full_) {
    if (until > now) last = std::max(last.value_or(until), until);
  }
  return last;
}

void OverlayRunner::handle(Received&& input) {
  const auto link = links_.find(input.node);
  if (link == links_.end() || link->second.epoch != input.epoch) return;  // hidden, or gone
  const auto term = distribution::decode_payload_in_parts(input.payload);
  if (!term) {
    malformed_ += 1;
    return network_.report_malformed(input.node, input.epoch, term.error());
  }
  const auto receive = [&](const auto& message) {
    if (message) {
      machine_.receive(input.node, *message, monotonic_now(), effects_);
    } else {
      malformed_ += 1;
      if (strange_limit_.pass(monotonic_now()))
        logger_->warn("a message of {} is ignored ({} so far, of all nodes): {}", input.node.text(), malformed_,
                      message.error().message());
    }
  };
  if (input.gossip) {
    auto message = overlay::decode_plumtree(*term, input.node);
    if (message) {
      if (auto checked = overlay::check_size(*message, config_.gossip_limits); !checked) {
        message = std::unexpected(checked.error());
      }
    }
    receive(message);
  } else {
    receive(overlay::decode_hyparview(*term, input.node));
  }
  if (link->second.native || !machine_.membership().is_native(input.node)) return;
  link->second.native = true;
  {
    const std::lock_guard lock(mutex_);
    natives_.insert(input.node);
  }
  if (listener_.native) listener_.native(input.node);
}

void OverlayRunner::handle(JoinCall&& input) {
  const auto joined = machine_.join(input.node, monotonic_now(), effects_);
  assert(joined);  // the node's own name was refused before
  (void)joined;
}

void OverlayRunner::handle(LeaveCall&& /*input*/) {
  if (listener_.leaving) listener_.leaving();
  machine_.leave(monotonic_now(), effects_);
}

void OverlayRunner::handle(BroadcastCall&& input) { broadcast_now(std::move(input.tag), std::move(input.payload)); }

void OverlayRunner::handle(BlockCall&& input) { machine_.block(input.nodes, monotonic_now(), effects_); }

void OverlayRunner::handle(ContactsCall&& input) { machine_.set_contacts(input.nodes, monotonic_now()); }

void OverlayRunner::handle(SubscribeCall&& input) {
  std::vector<MembershipEvent> now;
  for (const auto& node : machine_.membership().active_view()) {
    now.push_back(event_of(MembershipEvent::Kind::up, node));
  }
  events_.begin(input.entry, now);
}

// What the machine wants.

void OverlayRunner::carry_out() {
  if (std::exchange(carrying_out_, true)) return;  // what a listener added: its turn comes
  overlay::Effects effects;
  while (!effects_.empty()) {
    // Before anybody is told, so that who hears of a neighbour finds it in the view.
    if (machine_.membership().version() != published_version_) publish_views();
    std::swap(effects, effects_);
    for (auto& effect : effects) {
      std::visit([this](auto& wish) { carry_out(wish); }, effect);
    }
    effects.clear();
  }
  if (machine_.membership().version() != published_version_) publish_views();
  effects_ = std::move(effects);  // for its memory
  carrying_out_ = false;
}

void OverlayRunner::broadcast_now(Term tag, Term payload) {
  constexpr std::size_t id_bytes = 32;
  std::array<std::uint8_t, id_bytes> id{};
  fill_random(id);
  machine_.broadcast(std::move(tag), std::move(payload), Term::binary(id), monotonic_now(), effects_);
  carry_out();
  set_alarm();
}

bool OverlayRunner::send_now(const Atom& node, const Atom& name, Term message) {
  const auto link = links_.find(node);
  if (link == links_.end()) return false;
  const Atom& own = config_.overlay.own;
  const distribution::Signal signal{distribution::SendName{Pid{own, 0, 0, config_.creation}, name}, std::move(message)};
  const auto outcome =
      network_.send_on(node, link->second.epoch, signal, Pid{own, 0, state_stream, config_.creation}, false);
  if (outcome == SendOutcome::accepted || outcome == SendOutcome::busy) return true;
  ++sends_failed_;
  return false;
}

bool OverlayRunner::is_linked(const Atom& node, std::uint64_t epoch) const {
  const auto link = links_.find(node);
  return link != links_.end() && link->second.epoch == epoch;
}

void OverlayRunner::carry_out(overlay::SendMessage& effect) {
  const auto link = links_.find(effect.to);
  auto outcome = SendOutcome::refused;
  if (link != links_.end()) {
    const Atom& own = config_.overlay.own;
    const Pid sender{own, 0, 0, config_.creation};
    const distribution::Signal signal{distribution::SendName{sender, Atom(overlay::receiver_name(effect.message))},
                                      overlay::encode_message(effect.message, config_.record, effect.native)};
    outcome = network_.send_on(effect.to, link->second.epoch, signal, stream_of(own, config_.creation, effect.message),
                               is_gossip(effect.message));
  }
  const bool is_full = outcome == SendOutcome::busy || outcome == SendOutcome::full;
  if (is_full) full_.try_emplace(effect.to, monotonic_now() + congestion_max);
  if (outcome == SendOutcome::accepted || outcome == SendOutcome::busy) return;
  sends_failed_ += 1;
  machine_.send_refused(effect.to, effect.message, monotonic_now());
}

void OverlayRunner::carry_out(overlay::Connect& effect) {
  events_.tell(event_of(MembershipEvent::Kind::dialing, effect.node));
  // The network is stopped before this object goes.
  network_.connect(effect.node, [this, node = effect.node](const Result<void>& result) {
    if (!result) return push(ConnectFailed{node, result.error()});
    // Of others `link_up` has told.
    if ((system_.peers().flags(node) & distribution::flag::published) == 0) {
      push(ConnectFailed{node, Error(Errc::unreachable, "it is a hidden node, which is no member")});
    }
  });
}

void OverlayRunner::carry_out(overlay::MembershipUp& effect) {
  if (log_limit_.pass(monotonic_now())) {
    logger_->info("{} is a neighbour now: {} active, {} passive", effect.node.text(), views_->active.size(),
                  views_->passive.size());
  }
  if (listener_.up) listener_.up(effect.node, machine_.membership().is_native(effect.node));
  tell(event_of(MembershipEvent::Kind::up, effect.node), Term::tuple({Atom("peer_up"), effect.node}));
}

void OverlayRunner::carry_out(overlay::MembershipDown& effect) {
  const auto reason = overlay::name(effect.reason);
  if (log_limit_.pass(monotonic_now())) {
    logger_->info("{} is no neighbour any more: {}; {} active, {} passive", effect.node.text(), reason,
                  views_->active.size(), views_->passive.size());
  }
  auto event = event_of(MembershipEvent::Kind::down, effect.node);
  event.reason = reason;
  if (listener_.down) listener_.down(effect.node);
  tell(event, Term::tuple({Atom("peer_down"), effect.node, Atom(reason)}));
}

void OverlayRunner::carry_out(overlay::MembershipLeft& /*effect*/) {
  logger_->info("left the cluster");
  tell(event_of(MembershipEvent::Kind::left, config_.overlay.own), Atom("left"));
}

void OverlayRunner::carry_out(overlay::Deliver& effect) {
  if (listener_.deliver && listener_.deliver(effect.tag, effect.payload)) return;
  if (overlay::is_library_tag(effect.tag)) return;  // of a part that does not run here
  broadcasts_.tell({effect.tag, effect.payload});
  broadcast_pids_.tell(Term::tuple({Atom("plumtree_broadcast"), Term::tuple({effect.tag, effect.payload})}));
}

void OverlayRunner::carry_out(overlay::GossipLost& effect) {
  if (log_limit_.pass(monotonic_now())) {
    logger_->info("broadcasts between here and {} were lost: what was missed is looked for", effect.node.text());
  }
  if (listener_.gossip_lost) listener_.gossip_lost(effect.node);
}

void OverlayRunner::carry_out(overlay::Remember& effect) { remember(std::move(effect.nodes)); }

void OverlayRunner::tell(const MembershipEvent& event, const Term& message) {
  events_.tell(event);
  event_pids_.tell(Term::tuple({Atom("barrel_p2p_event"), message}));
}

/// Nodes that were met, with the address where that was. A node that is alone keeps what it knew, unless it left.
void OverlayRunner::remember(std::vector<Atom> nodes) {
  if (!writer_ || (nodes.empty() && !machine_.membership().has_left())) return;
  std::vector<KnownPeer> peers;
  std::map<std::string, std::string> met;
  std::unordered_map<Atom, std::string> addresses;
  for (auto& node : nodes) {
    const auto link = links_.find(node);
    std::string address = link != links_.end() ? link->second.address : std::string();
    if (const auto known = addresses_.find(node); address.empty() && known != addresses_.end()) address = known->second;
    if (!address.empty()) {
      addresses.emplace(node, address);
      met.emplace(node.text(), address);
    }
    peers.push_back({std::move(node), std::move(address)});
  }
  addresses_ = std::move(addresses);
  discovery_.set_remembered(met);
  writer_->write(std::move(peers));
}

void OverlayRunner::publish_views() {
  const auto& membership = machine_.membership();
  published_version_ = membership.version();
  auto views = std::make_shared<const Views>(Views{membership.active_view(), membership.passive_view()});
  {
    const std::lock_guard lock(mutex_);
    views_ = std::move(views);
  }
  changed_.notify_all();
}

void OverlayRunner::publish_statistics() {
  OverlayStatistics all;
  const auto& membership = machine_.membership().counters();
  all.joins = membership.joins;
  all.evictions = membership.evictions;
  all.promotions = membership.promotions;
  all.refusals = membership.refusals;
  all.timeouts = membership.timeouts;
  all.shuffles = membership.shuffles;
  all.exchanges = membership.exchanges;
  all.departures = membership.departures;
  const auto& gossip = machine_.gossip().counters();
  all.gossip_sent = gossip.gossip_sent;
  all.gossip_received = gossip.gossip_received;
  all.duplicates = gossip.duplicates;
  all.delivered = gossip.delivered;
  all.announcements_sent = gossip.ihave_sent;
  all.grafts_sent = gossip.graft_sent;
  all.prunes_sent = gossip.prune_sent;
  all.missed = gossip.missed;
  all.congested = gossip.congested;
  all.announcements_dropped = gossip.dropped;
  all.optimised = gossip.optimised;
  all.cached_messages = machine_.gossip().cached_ids();
  const auto peers = machine_.gossip().peers();
  all.eager = peers.eager.size();
  all.lazy = peers.lazy.size();
  all.malformed = malformed_;
  all.held_back = rates_.held_back() + queue_.held_back();
  all.sends_failed = sends_failed_;
  const std::lock_guard lock(mutex_);
  statistics_ = all;
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
