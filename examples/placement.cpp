// Two nodes in one program that share work by its keys: each does what it owns, and takes over what the other had.
#include <barrel_p2p/node.hpp>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <mutex>
#include <random>
#include <set>
#include <string>

using namespace barrel_p2p;

/// The partitions of a node, as they come and go: what a program loads and unloads with them.
class Shards {
 public:
  explicit Shards(Node& node)
      : subscription_(node.subscribe_shard([this](const ShardEvent& event) {
          const std::lock_guard lock(mutex_);
          if (event.kind == ShardEvent::Kind::acquired) {
            owned_.insert(event.partition);  // load what belongs to it
          } else {
            owned_.erase(event.partition);  // stop, and store it
          }
          changed_.notify_all();
        })) {}
  std::size_t await(const std::function<bool(std::size_t count)>& wanted) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return wanted(owned_.size()); });
    return owned_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::uint32_t> owned_;
  Subscription subscription_;  ///< The first to go.
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
  const std::size_t all = a->ring_size();
  Shards of_a(*a);
  Shards of_b(*b);
  if (of_a.await([&](std::size_t count) { return count == all; }) == 0 || !b->join(a->name())) return 1;
  of_a.await([&](std::size_t count) { return count < all; });
  of_b.await([&](std::size_t count) { return count < all; });

  // Who is to do it? Every node gives the same answer, and one of them is it.
  const Term key = Term::tuple({Atom("order"), 4711});
  const auto owner = a->place(key);
  const bool mine = a->is_owner(key);
  std::cout << "both name the same owner: " << (owner == b->place(key) ? "yes" : "no")
            << ", and one of them is it: " << (mine != b->is_owner(key) ? "yes" : "no") << '\n';

  // What would move if b were gone?
  const auto moves = a->placement_diff({a->name()});
  // It goes, and says so: a takes over at once.
  b->stop();
  const std::size_t count = of_a.await([&](std::size_t owned) { return owned == all; });
  std::cout << "a owns all " << count << " partitions, " << (moves.empty() ? "none" : "some") << " of which were b's\n";
  return 0;
}

int main() {
  const auto root =
      std::filesystem::temp_directory_path() / ("barrel_p2p-placement-" + std::to_string(std::random_device()()));
  const int status = run(root);
  std::filesystem::remove_all(root);
  return status;
}
