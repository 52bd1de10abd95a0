// How long nobody leads when the node of the leader is killed: real processes over loopback, SIGKILL, until a candidate
// on another node has its fence. Clusters of three run beside each other, each with its own directory.
//
//   leader_failover [KILLS] [CLUSTERS]        100 kills in 5 clusters
//   leader_failover node NAME ROOT [CONTACT]  one node; what the first form starts
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "cluster/subprocess.hpp"
#include "scratch.hpp"

namespace {

using namespace barrel_p2p;
using bench::config_of;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;  // of the machine: the same in all processes
using test::Subprocess;

void say(const std::string& text) {
  const std::string line = text + "\n";
  if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) std::_Exit(1);
}

int run_node(const std::string& name, const std::filesystem::path& root, const std::string& contact) {
  auto node = Node::start(config_of(name, root));
  if (!node) return 1;
  if (!contact.empty() && !(node->join(contact + "@127.0.0.1") && node->joined())) return 1;
  // Who campaigns before it knows the leader leads beside it for a moment.
  while (!contact.empty() && !node->leader(Atom("job"))) std::this_thread::sleep_for(10ms);
  const auto candidacy =
      node->lead(Atom("job"), {},
                 [](const Fence& fence) {
                   say("elected " + std::to_string(Clock::now().time_since_epoch().count()) + " " + fence.text());
                 },
                 {});
  if (!candidacy) return 1;
  while (node->members().size() < 2 && !contact.empty()) std::this_thread::sleep_for(10ms);
  say("ready");
  for (;;) ::pause();
}

struct Election {
  Clock::time_point when;
  Fence fence;
};

class Cluster {
 public:
  Cluster(std::string program, std::filesystem::path root) : program_(std::move(program)), root_(std::move(root)) {
    std::filesystem::create_directories(root_);
    for (int count = 0; count < 3; ++count) add();
  }

  /// Kills the leader, the oldest node. How long until the next one had its fence.
  Clock::duration kill_leader() {
    if (!nodes_.front()->says("elected ")) throw std::runtime_error("the oldest node does not lead");
    nodes_.front()->listen(100ms);
    const auto before = election(*nodes_.front());
    const auto killed = Clock::now();
    nodes_.front()->signal(SIGKILL);
    Subprocess& next = *nodes_[1];
    auto after = election(next);
    while (!after || after->when < killed) {
      if (Clock::now() - killed > 60s) throw std::runtime_error("nobody was elected");
      next.listen(20ms);
      after = election(next);
    }
    if (!before || after->fence <= before->fence) throw std::runtime_error("a fence went backwards");
    const auto took = after->when - killed;
    nodes_.pop_front();
    add();
    return took;
  }

 private:
  void add() {
    constexpr int first = 1000;  // names sort by age
    std::vector<std::string> arguments{program_, "node", "n" + std::to_string(first + started_), root_.string()};
    if (started_ > 0) arguments.push_back("n" + std::to_string(first + started_ - 1));
    ++started_;
    nodes_.push_back(std::make_unique<Subprocess>(std::move(arguments)));
    if (!nodes_.back()->says("ready", 60s)) throw std::runtime_error("a node does not start");
  }
  /// The last one that it told in a whole line.
  static std::optional<Election> election(const Subprocess& node) {
    const std::string word = "elected ";
    const std::string lines = node.output().substr(0, node.output().rfind('\n') + 1);
    const auto at = lines.rfind(word);
    if (at == std::string::npos) return std::nullopt;
    std::size_t count = 0;
    const auto ticks = std::stoll(lines.substr(at + word.size()), &count);
    const auto digits = at + word.size() + count + 1;
    return Election{Clock::time_point(Clock::duration(ticks)),
                    Fence::parse(lines.substr(digits, lines.find('\n', digits) - digits)).value()};
  }

  std::string program_;
  std::filesystem::path root_;
  std::deque<std::unique_ptr<Subprocess>> nodes_;
  int started_ = 0;
};

int measure(const std::string& program, std::size_t kills, std::size_t clusters) {
  const auto root = std::filesystem::temp_directory_path() / ("barrel_p2p-failover-" + std::to_string(::getpid()));
  std::mutex mutex;
  std::vector<double> times;
  std::atomic<std::size_t> begun{0};
  std::atomic<bool> failed{false};
  std::vector<std::thread> threads;
  for (std::size_t number = 0; number < clusters; ++number) {
    threads.emplace_back([&, number] {
      try {
        Cluster cluster(program, root / std::to_string(number));
        while (begun.fetch_add(1) < kills) {
          const auto took = std::chrono::duration<double, std::milli>(cluster.kill_leader()).count();
          const std::lock_guard lock(mutex);
          times.push_back(took);
        }
      } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        failed = true;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  std::error_code ignored;
  std::filesystem::remove_all(root, ignored);
  if (times.empty()) return 1;
  std::ranges::sort(times);
  const auto at = [&](double share) {
    return times[static_cast<std::size_t>(share * static_cast<double>(times.size() - 1))];
  };
  const NodeConfig defaults;
  std::printf("heartbeat %lld ms, lease %lld ms, detector %lld ms\n",
              static_cast<long long>(defaults.replication.heartbeat.count()),
              static_cast<long long>(defaults.replication.lease.count()),
              static_cast<long long>((defaults.detector.dead_after + defaults.detector.tick).count()));
  std::printf(
      "%zu kills of a leader's node, until the next one has its fence: min %.0f ms, p50 %.0f, p99 %.0f, max %.0f\n",
      times.size(), times.front(), at(0.5), at(0.99), times.back());
  return failed ? 1 : 0;
}

}  // namespace

int main(int count, char** arguments) {
  const std::vector<std::string> words(arguments, arguments + count);
  if (count >= 4 && words[1] == "node") return run_node(words[2], words[3], count > 4 ? words[4] : "");
  constexpr std::size_t kills = 100;
  constexpr std::size_t clusters = 5;
  return measure(std::filesystem::canonical("/proc/self/exe").string(), count > 1 ? std::stoul(words[1]) : kills,
                 count > 2 ? std::stoul(words[2]) : clusters);
}
