// Nodes with members and leader election on a network of the test's making: messages are late, lost or doubled, nodes
// stand still, crash, and come back with what their disks had.
#pragma once

#include <barrel_p2p/leader.hpp>
#include <barrel_p2p/term.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "base/prng.hpp"
#include "services/leader.hpp"
#include "services/links.hpp"
#include "services/members.hpp"
#include "services/names.hpp"

namespace barrel_p2p::services::test {

using namespace std::chrono_literals;

/// What a node has on its disk.
struct LeaderDisk {
  std::map<Term, replication::Entry, TermLess> fences;
  WallMilliseconds clock = 0;
};

/// A node and what its candidates were told.
struct LeaderNode {
  LeaderNode(LeaderConfig config, LeaderDisk& disk, const Now& now);

  /// Sorts the effects out; those for others stay in `sent`.
  void note(const Now& now, Effects effects);
  void note(const Pid& pid, const LeaderEvent& event);
  void input(const Now& now, const std::function<void(Effects&)>& use);
  /// Campaigns, and notes the result as the candidate's first word.
  Result<Role> lead(const Term& name, const Pid& pid, const LeadOptions& options, const Now& now);
  void end_campaign(const Term& name, const Pid& pid) { terms.erase({name, pid}); }
  std::string take_told();
  [[nodiscard]] MonotonicTime deadline() const { return std::min(members.deadline(), leader.deadline()); }

  Atom own;
  LeaderDisk& disk;
  replication::HybridClock clock;
  Members members;
  Leader leader;
  Effects sent;
  std::vector<std::string> told;  ///< `elected p1`, `renewed p1`, `revoked p1`.
  std::map<std::pair<Term, Pid>, Fence, std::function<bool(const std::pair<Term, Pid>&, const std::pair<Term, Pid>&)>>
      terms;                                 ///< What each candidate that leads was told last.
  std::map<Term, Fence, TermLess> greatest;  ///< That any candidate here was ever given, by name.
  std::set<Term, TermLess> changed;
  std::set<Pid> watched;
};

class LeaderWorld {
 public:
  explicit LeaderWorld(std::uint64_t seed = 1) : random_(seed) {}

  LeaderNode& add(const std::string& name, Milliseconds anti_entropy = 30s);
  LeaderNode& at(const std::string& name) { return *nodes_.at(Atom(name)); }
  [[nodiscard]] bool is_up(const std::string& name) const { return nodes_.contains(Atom(name)); }
  [[nodiscard]] std::vector<std::string> names() const;
  void link(const std::string& one, const std::string& other);
  void unlink(const std::string& one, const std::string& other);
  /// The process ends without a word; its disk stays.
  void crash(const std::string& name);
  /// The process stands still; what is for it waits.
  void pause(const std::string& name) { paused_.insert(Atom(name)); }
  void wake(const std::string& name) { paused_.erase(Atom(name)); }
  [[nodiscard]] bool is_paused(const std::string& name) const { return paused_.contains(Atom(name)); }

  Result<Role> lead(const std::string& node, const Term& name, const Pid& pid, const LeadOptions& options = {});
  bool resign(const std::string& node, const Term& name, const std::optional<Pid>& pid = std::nullopt);
  void end_process(const std::string& node, const Pid& pid);

  void pass(Milliseconds time);
  [[nodiscard]] const Now& now() const noexcept { return now_; }
  /// Nodes on which somebody leads.
  [[nodiscard]] std::vector<std::string> leaders(const Term& name) const;
  /// `node pid` as the node sees it, or `none`.
  [[nodiscard]] std::string leader_at(const std::string& node, const Term& name) const;

  Milliseconds delay_max{5};
  double loss = 0;
  double doubled = 0;
  std::map<Atom, LeaderDisk> disks;

 private:
  struct Item {
    Atom from;
    Atom to;
    Atom name;
    Term term;
    bool broadcast = false;
  };

  void take(LeaderNode& node);
  void carry(const Item& item);
  void deliver(const Item& item);
  void tick();

  Now now_{MonotonicTime{} + 1h, 1'764'000'000'000};
  Prng random_;
  std::map<Atom, std::unique_ptr<LeaderNode>> nodes_;
  barrel_p2p::test::Links links_;
  std::set<Atom> paused_;
  std::multimap<MonotonicTime, Item> queue_;
};

}  // namespace barrel_p2p::services::test
