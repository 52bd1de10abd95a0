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
// any order, and twice, gives the same: a grow-only counter. A node that starts again counts anew beside what others
// still know of its earlier life: its creation, another one after each start, tells the two apart.
class Counter final : public ReplicatedType {
 public:
  explicit Counter(const Node& node) : own_(to_text(Term::tuple({node.name().atom(), node.creation()}))) {}

  // Returns what the other nodes have to know.
  Term add(std::int64_t amount) {
    const std::lock_guard lock(mutex_);
    return Term::map({{own_, counts_[own_] += amount}});
  }
  bool await(std::int64_t value, std::chrono::seconds limit) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, [&] { return sum() == value; });
  }

  // A change is a state of one entry: they are merged alike.
  void merge(const NodeName& from, const Term& change) override { merge_state(from, change); }
  void merge_state(const NodeName& /*from*/, const Term& state) override {
    const std::lock_guard lock(mutex_);
    for (const auto& [life, count] : state.pairs()) {
      if (!life.as_string() || !count.as_int64()) continue;  // whatever came, it is not a count
      auto& known = counts_[*life.as_string()];
      known = std::max(known, *count.as_int64());
    }
    changed_.notify_all();
  }
  std::optional<Term> state() const override {
    const std::lock_guard lock(mutex_);
    std::vector<TermPair> pairs;
    for (const auto& [life, count] : counts_) pairs.emplace_back(life, count);
    return Term::map(std::move(pairs));
  }

 private:
  std::int64_t sum() const {
    std::int64_t total = 0;
    for (const auto& [life, count] : counts_) total += count;
    return total;
  }
  const std::string own_;
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
  auto here = std::make_shared<Counter>(*a);
  const auto there = std::make_shared<Counter>(*b);
  auto first = a->replicate("visits", here);
  const auto second = b->replicate("visits", there);
  if (!first || !second) return 1;
  if (!first->broadcast(here->add(3))) return 1;  // nobody hears it yet
  if (!b->join(a->name())) return 1;              // but the states are exchanged when they meet
  if (!there->await(3, 10s)) return 1;
  if (!second->broadcast(there->add(4))) return 1;
  if (!here->await(7, 10s)) return 1;
  std::cout << "both nodes count 7\n";

  // What a counted before is known to b only, while a starts with nothing, and counts.
  a = fail(Errc::stopped);
  a = Node::start(config_of("a@127.0.0.1", root));
  if (!a) return 1;
  here = std::make_shared<Counter>(*a);
  first = a->replicate("visits", here);
  if (!first || !first->broadcast(here->add(1)) || !a->join(b->name())) return 1;
  if (!there->await(8, 30s) || !here->await(8, 30s)) return 1;
  std::cout << "after a restart of one both count 8\n";
  return 0;
}

int main() {
  const auto root =
      std::filesystem::temp_directory_path() / ("barrel_p2p-counter-" + std::to_string(std::random_device{}()));
  const int status = run(root);
  std::filesystem::remove_all(root);
  return status;
}
