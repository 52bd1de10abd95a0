#include "services/replicated_types.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "services/forward.hpp"

namespace barrel_p2p {
inline namespace v0 {

void ReplicatedType::node_gone(const NodeName& /*node*/) {}

namespace services {
namespace {

/// As many are kept for whoever asks.
constexpr std::size_t complaints_max = 16;

replication::ReplicaConfig replica_config(const ReplicatedTypesConfig& config, const Atom& name, std::uint64_t seed,
                                          std::shared_ptr<TokenBucket> snapshot_rate) {
  replication::ReplicaConfig replica;
  replica.own = config.own;
  replica.name = name;
  replica.seed = seed;
  replica.anti_entropy_period = config.anti_entropy_period;
  replica.snapshot_bytes_max = config.snapshot_bytes_max;
  replica.snapshot_rate = std::move(snapshot_rate);
  return replica;
}

}  // namespace

/// One type, as the replica driver sees it.
class ReplicatedTypes::Instance final : public replication::ReplicatedState {
 public:
  Instance(ReplicatedTypes& owner, const Atom& name, std::shared_ptr<ReplicatedType> type, MonotonicTime now)
      : owner_(owner),
        name_(name),
        type_(std::move(type)),
        replica_(replica_config(owner.config_, name, owner.seeds_.next(), owner.snapshot_rate_), *this, now) {}

  [[nodiscard]] replication::Replica& replica() noexcept { return replica_; }
  [[nodiscard]] const Atom& name() const noexcept { return name_; }

  /// Calls the program, which may throw.
  template <class Call>
  void guarded(const Call& call) const noexcept {
    try {
      call(*type_);
    } catch (const std::exception& error) {
      complain(error.what());
    } catch (...) {
      complain("something that is no std::exception");
    }
  }

  bool merge(const Atom& from, const Term& entries) override {
    guarded([&](ReplicatedType& type) { type.merge(NodeName(from.text()), entries); });
    return true;
  }
  bool apply_snapshot(const Atom& from, const Term& snapshot) override {
    guarded([&](ReplicatedType& type) { type.merge_state(NodeName(from.text()), snapshot); });
    return true;
  }
  [[nodiscard]] std::optional<Term> snapshot() const override {
    std::optional<Term> state;
    guarded([&](const ReplicatedType& type) { state = type.state(); });
    return state;
  }
  void merge_custom(const Atom& from, const Term& payload) override { merge(from, payload); }
  [[nodiscard]] const replication::DigestTree* digests() const noexcept override { return nullptr; }
  [[nodiscard]] Term entry(const Term& /*key*/) const override { return {}; }

 private:
  void complain(const char* what) const {
    if (owner_.complaints_.size() >= complaints_max) return;
    owner_.complaints_.push_back("the replicated type " + name_.string() + " threw: " + what);
  }

  ReplicatedTypes& owner_;
  const Atom name_;
  const std::shared_ptr<ReplicatedType> type_;
  replication::Replica replica_;
};

ReplicatedTypes::ReplicatedTypes(ReplicatedTypesConfig config) : config_(std::move(config)), seeds_(config_.seed) {}
ReplicatedTypes::~ReplicatedTypes() = default;

Result<void> ReplicatedTypes::add(const Atom& name, std::shared_ptr<ReplicatedType> type, const Now& now,
                                  Effects& out) {
  if (types_.contains(name)) return fail(Errc::already_registered, "a replicated type has this name");
  if (types_.size() >= config_.types_max) {
    return fail(Errc::limit_exceeded, "a node has at most " + std::to_string(config_.types_max) + " replicated types");
  }
  auto& instance =
      *types_.emplace(name, std::make_unique<Instance>(*this, name, std::move(type), now.monotonic)).first->second;
  // What was said before it came: neighbours are asked, and greet who is new to them.
  for (const auto& [node, native] : neighbours_) {
    instance.replica().peer_up(node, now.monotonic);
    if (native) instance.replica().set_native(node);
    out.emplace_back(Send{node, name, replication::request_sync(config_.own)});
  }
  return {};
}

void ReplicatedTypes::remove(const Atom& name) { types_.erase(name); }

void ReplicatedTypes::broadcast(const Atom& name, Term change, Effects& out) {
  const auto found = types_.find(name);
  if (found == types_.end()) return;
  replication::ReplicaEffects effects;
  found->second->replica().broadcast_custom(std::move(change), effects);
  forward(effects, name, out);
}

void ReplicatedTypes::neighbour_up(const Atom& node, const Now& now) {
  if (std::ranges::find(neighbours_, node, &std::pair<Atom, bool>::first) == neighbours_.end()) {
    neighbours_.emplace_back(node, false);
  }
  for (auto& [name, instance] : types_) instance->replica().peer_up(node, now.monotonic);
}

void ReplicatedTypes::neighbour_down(const Atom& node) {
  std::erase_if(neighbours_, [&](const auto& neighbour) { return neighbour.first == node; });
  for (auto& [name, instance] : types_) instance->replica().peer_down(node);
}

void ReplicatedTypes::set_native(const Atom& node) {
  for (auto& [neighbour, native] : neighbours_) native = native || neighbour == node;
  for (auto& [name, instance] : types_) instance->replica().set_native(node);
}

void ReplicatedTypes::leave() {
  neighbours_.clear();
  for (auto& [name, instance] : types_) instance->replica().leave();
}

void ReplicatedTypes::liveness(const Liveness& change) {
  if (change.alive) return;
  for (auto& [name, instance] : types_) {
    instance->guarded([&](ReplicatedType& type) { type.node_gone(NodeName(change.node.text())); });
  }
}

void ReplicatedTypes::deliver(const Atom& name, const Term& payload) {
  const auto found = types_.find(name);
  if (found != types_.end()) found->second->replica().deliver(payload);
}

void ReplicatedTypes::receive(const Atom& name, const Atom& from, const Term& message, const Now& now, Effects& out) {
  const auto found = types_.find(name);
  if (found == types_.end()) return;
  replication::ReplicaEffects effects;
  found->second->replica().receive(from, message, now.monotonic, effects);
  forward(effects, name, out);
}

void ReplicatedTypes::tick(const Now& now, Effects& out) {
  replication::ReplicaEffects effects;
  for (auto& [name, instance] : types_) {
    instance->replica().tick(now.monotonic, effects);
    forward(effects, name, out);
  }
}

MonotonicTime ReplicatedTypes::deadline() const noexcept {
  MonotonicTime next = MonotonicTime::max();
  for (const auto& [name, instance] : types_) {
    if (const auto at = instance->replica().deadline()) next = std::min(next, *at);
  }
  return next;
}

std::vector<std::string> ReplicatedTypes::take_complaints() { return std::exchange(complaints_, {}); }

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
