#include "sim/campaigns.hpp"

#include <algorithm>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace sim {
namespace {

constexpr std::int64_t priorities = 4;

Atom name_of(std::size_t number) { return Atom("job" + std::to_string(number)); }

std::size_t number_of(const Term& name) { return std::stoul(name.as_atom()->string().substr(3)); }

}  // namespace

Campaigns::Campaigns(Simulation& simulation, CampaignsConfig config, std::uint64_t seed)
    : simulation_(simulation), services_(*simulation.services()), config_(config), random_(seed), given_(config.names) {
  services_.on_end = [this, before = services_.on_end](NodeIndex node) {
    if (before) before(node);
    std::erase_if(campaigning_, [&](const auto& one) { return one.first.first == node; });
  };
  services_.on_effect = [this, before = services_.on_effect](NodeIndex node, const services::Effect& effect) {
    if (before) before(node, effect);
    if (const auto* what = std::get_if<services::LeaderHappened>(&effect)) happened(node, *what);
  };
}

// Operations.

void Campaigns::next(std::uint64_t run) {
  const auto pause = std::chrono::duration_cast<SimTime>(std::chrono::duration<double>(2 / config_.operations));
  simulation_.engine().call_at(simulation_.engine().now() + uniform(random_, pause), [this, run] {
    if (run != run_) return;
    operate();
    next(run);
  });
}

void Campaigns::operate() {
  const auto node = static_cast<NodeIndex>(random_.below(simulation_.size()));
  const std::size_t name = random_.below(config_.names);
  if (!simulation_.is_running(node)) return;
  switch (random_.below(6)) {
    case 0:
    case 1:
    case 2: return lead(node, name);
    case 3: return resign(node, name);
    case 4: return end_process(node, name);
    default: return set_priority(node, name);
  }
}

void Campaigns::enqueue(std::vector<Campaign>& queue, Campaign campaign) {
  const auto place =
      std::ranges::find_if(queue, [&](const Campaign& other) { return other.priority < campaign.priority; });
  queue.insert(place, std::move(campaign));
}

Campaigns::Campaign* Campaigns::find(NodeIndex node, std::size_t name, const Pid& pid) {
  const auto found = campaigning_.find({node, name});
  if (found == campaigning_.end()) return nullptr;
  const auto campaign = std::ranges::find(found->second, pid, &Campaign::pid);
  return campaign == found->second.end() ? nullptr : &*campaign;
}

Campaigns::Campaign* Campaigns::any_of(NodeIndex node, std::size_t name) {
  const auto found = campaigning_.find({node, name});
  if (found == campaigning_.end() || found->second.empty()) return nullptr;
  return &found->second[random_.below(found->second.size())];
}

void Campaigns::lead(NodeIndex node, std::size_t name) {
  Campaign campaign{services_.spawn(node), static_cast<std::int64_t>(random_.below(priorities)), {}};
  LeadOptions options;
  options.priority = campaign.priority;
  // What must be told is noted before it can be told.
  const Pid pid = campaign.pid;
  enqueue(campaigning_[{node, name}], std::move(campaign));
  const auto role = services_.lead(node, name_of(name), pid, options);
  if (!role) simulation_.fail_at(node, "cannot campaign: " + role.error().message());
  if (role->fence) note(node, name, *find(node, name, pid), *role->fence);
}

void Campaigns::resign(NodeIndex node, std::size_t name) {
  const Campaign* campaign = any_of(node, name);
  if (campaign == nullptr) return;
  const Pid pid = campaign->pid;
  std::erase_if(campaigning_[{node, name}], [&](const Campaign& one) { return one.pid == pid; });
  if (!services_.resign(node, name_of(name), pid)) simulation_.fail_at(node, "has forgotten a candidate");
}

void Campaigns::end_process(NodeIndex node, std::size_t name) {
  const Campaign* campaign = any_of(node, name);
  if (campaign == nullptr) return;
  const Pid pid = campaign->pid;
  std::erase_if(campaigning_[{node, name}], [&](const Campaign& one) { return one.pid == pid; });
  services_.kill(node, pid, Atom("killed"));
}

void Campaigns::set_priority(NodeIndex node, std::size_t name) {
  const Campaign* found = any_of(node, name);
  const auto priority = static_cast<std::int64_t>(random_.below(priorities));
  if (found == nullptr || found->priority == priority) return;
  Campaign campaign = *found;
  campaign.priority = priority;
  auto& queue = campaigning_[{node, name}];
  std::erase_if(queue, [&](const Campaign& one) { return one.pid == campaign.pid; });
  const Pid pid = campaign.pid;
  enqueue(queue, std::move(campaign));
  const auto set = services_.set_lead_priority(node, name_of(name), pid, priority);
  if (!set) simulation_.fail_at(node, "cannot change a priority: " + set.error().message());
}

// What they are told.

void Campaigns::happened(NodeIndex node, const services::LeaderHappened& what) {
  const std::size_t name = number_of(what.event.name);
  Campaign* campaign = find(node, name, what.candidate);
  if (campaign == nullptr) return;  // it resigned or ended a moment before
  const auto must = [&](bool lead) {
    if (campaign->leads.has_value() != lead) simulation_.fail_at(node, "tells a candidate the same twice");
  };
  switch (what.event.kind) {
    case LeaderEvent::Kind::elected: must(false); return note(node, name, *campaign, what.event.fence);
    case LeaderEvent::Kind::renewed:
      must(true);
      ++renewals_;
      return note(node, name, *campaign, what.event.fence);
    case LeaderEvent::Kind::revoked:
      must(true);
      campaign->leads.reset();
      return;
  }
}

void Campaigns::note(NodeIndex node, std::size_t name, Campaign& campaign, const Fence& fence) {
  if (!campaign.leads) ++terms_;
  campaign.leads = fence;
  const Given given{fence, node, services_.life(node), services_.disk_losses(node)};
  const auto [last, first] = last_.try_emplace({node, name}, given);
  const bool kept_disk = !first && last->second.disk_losses == given.disk_losses;
  if (kept_disk && fence <= last->second.fence)
    simulation_.fail_at(node, "gives the fence " + fence.text() + " after " + last->second.fence.text());
  last->second = given;
  given_[name].push_back(given);
}

// What must be true.

void Campaigns::check() {
  const auto members = simulation_.members();
  for (std::size_t name = 0; name < config_.names; ++name) {
    std::erase_if(given_[name], [&](const Given& given) { return !is_remembered(given, name); });
    check_name(name, members);
  }
}

/// The one who gave it runs, or has it on disk. One that died before it wrote has told nobody for long.
bool Campaigns::is_remembered(const Given& given, std::size_t name) const {
  if (!simulation_.is_member(given.node)) return false;
  if (services_.life(given.node) == given.life) return true;
  const std::string collection(services::leader_fences_collection);
  const auto* entry = services_.disk(given.node).find(collection, name_of(name));
  return services_.disk_losses(given.node) == given.disk_losses && entry != nullptr &&
         services::fence_of(entry->stamp()) >= given.fence;
}

void Campaigns::check_name(std::size_t name, const std::vector<NodeIndex>& members) {
  struct Winner {
    NodeIndex node = 0;
    const Campaign* campaign = nullptr;
  };
  std::optional<Winner> winner;
  for (const auto& [where, queue] : campaigning_) {
    if (where.second != name || queue.empty() || !std::ranges::binary_search(members, where.first)) continue;
    const bool wins = !winner || queue.front().priority > winner->campaign->priority ||
                      (queue.front().priority == winner->campaign->priority &&
                       simulation_.name_of(where.first).text() < simulation_.name_of(winner->node).text());
    if (wins) winner = Winner{where.first, &queue.front()};
  }
  const std::string text = name_of(name).string();
  for (const NodeIndex node : members) {
    const auto& leader = services_.machine(node).leader();
    const auto now = services_.now(node);
    const auto seen = leader.leader(name_of(name), now);
    const bool right = winner ? seen && seen->pid == winner->campaign->pid : !seen;
    if (!right) {
      simulation_.fail_at(node, "it holds " + (seen ? to_text(Term(seen->pid)) : "nobody") + " for the leader of " +
                                    text + ", and it is " + (winner ? to_text(Term(winner->campaign->pid)) : "nobody"));
    }
    if (leader.is_leader(name_of(name), now) != (winner && winner->node == node))
      simulation_.fail_at(node, "it is wrong about itself and " + text);
  }
  for (const auto& [where, queue] : campaigning_) {
    if (where.second != name) continue;
    for (const auto& one : queue) {
      if (one.leads.has_value() != (winner && winner->campaign == &one))
        simulation_.fail_at(where.first, "a candidate for " + text + " was told something else than what is");
    }
  }
  if (winner) check_fence(winner->node, name, *winner->campaign->leads);
}

void Campaigns::check_fence(NodeIndex node, std::size_t name, const Fence& fence) {
  if (services_.machine(node).leader().fence(name_of(name), services_.now(node)) != fence)
    simulation_.fail_at(node, "its leader has another fence than it was told");
  for (const auto& given : given_[name]) {
    if (given.fence > fence || (given.fence == fence && given.node != node)) {
      simulation_.fail_at(node, "its leader of " + name_of(name).string() + " has the fence " + fence.text() +
                                    ", and " + simulation_.name_of(given.node).string() + " gave " +
                                    given.fence.text());
    }
  }
}

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
