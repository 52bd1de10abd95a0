// A replicated type of one's own: a counter that every node may increase, whoever is connected to whom. Written for the
// documents.
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>

using namespace barrel_p2p;
using namespace std::chrono_literals;

// Each node counts for itself; the value is the sum. Of two counts of one node the greater one is newer, so merging in
// any order, and twice, gives the same: a grow-only counter.
class Counter final : public ReplicatedType {
 public:
  explicit Counter(NodeName own) : own_(std::move(own)) {}

  // Returns what the other nodes have to know.
  Term add(std::int64_t amount) {
    const std::lock_guard lock(mutex_);
    return Term::map({{own_.atom(), counts_[own_.string()] += amount}});
  }
  bool await(std::int64_t value, std::chrono::seconds limit) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, [&] { return sum() == value; });
  }

  // A change is a state of one entry: they are merged alike.
  void merge(const NodeName& from, const Term& change) override { merge_state(from, change); }
  void merge_state(const NodeName& /*from*/, const Term& state) override {
    const std::lock_guard lock(mutex_);
    for (const auto& [node, count] : state.pairs()) {
      if (!node.is_atom() || !count.as_int64()) continue;  // whatever came, it is not a count
      auto& known = counts_[node.as_atom()->string()];
      known = std::max(known, *count.as_int64());
    }
    changed_.notify_all();
  }
  std::optional<Term> state() const override {
    const std::lock_guard lock(mutex_);
    std::vector<TermPair> pairs;
    for (const auto& [node, count] : counts_) pairs.emplace_back(Atom(node), count);
    return Term::map(std::move(pairs));
  }

 private:
  std::int64_t sum() const {
    std::int64_t total = 0;
    for (const auto& [node, count] : counts_) total += count;
    return total;
  }
  const NodeName own_;
  mutable std::mutex mutex_;  // the library calls on the cluster thread, the program on its own
  std::condition_variable changed_;
  std::map<std::string, std::int64_t> counts_;
};

NodeConfig config_of(const std::string& name, const std::filesystem::path& root) {
  NodeConfig config;
  config.name = name;
  config.cookie = "a secret that all nodes share";
  config.data_dir = root / name;
  config.discovery_dir = root / "discovery";
  config.log_level = LogLevel::warning;
  return config;
}

int run(const std::filesystem::path& root) {
  auto a = Node::start(config_of("a@127.0.0.1", root));
  auto b = Node::start(config_of("b@127.0.0.1", root));
  if (!a || !b) return 1;
  const auto here = std::make_shared<Counter>(a->name());
  const auto there = std::make_shared<Counter>(b->name());
  const auto first = a->replicate("visits", here);
  const auto second = b->replicate("visits", there);
  if (!first || !second) return 1;
  if (!first->broadcast(here->add(3))) return 1;  // nobody hears it yet
  if (!b->join(a->name())) return 1;              // but the states are exchanged when they meet
  if (!there->await(3, 10s)) return 1;
  if (!second->broadcast(there->add(4))) return 1;
  if (!here->await(7, 10s)) return 1;
  std::cout << "both nodes count 7\n";
  return 0;
}

int main() {
  const auto root =
      std::filesystem::temp_directory_path() / ("barrel_p2p-counter-" + std::to_string(std::random_device{}()));
  const int status = run(root);
  std::filesystem::remove_all(root);
  return status;
}
