// What placement gives and costs: balance, what moves when a node comes or goes, how long a hand-over takes, planned
// and not, and what a question for an owner costs.
//
//   placement_figures [--quick]
//   placement_figures --node NAME DIRECTORY CONTACT      a node until it is killed: used by the first form
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "scratch.hpp"
#include "services/placement.hpp"

namespace {

using namespace barrel_p2p;
using bench::config_of;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

bool quick = false;

double milliseconds(Clock::duration time) { return std::chrono::duration<double, std::milli>(time).count(); }

/// Of times in milliseconds.
double percentile(std::vector<double> times, double share) {
  if (times.empty()) return 0;
  std::ranges::sort(times);
  return times[static_cast<std::size_t>(share * static_cast<double>(times.size() - 1))];
}

// ---- The ring alone.

std::vector<Atom> names(std::size_t count, std::size_t first = 0) {
  std::vector<Atom> members;
  for (std::size_t node = first; node < first + count; ++node) {
    members.emplace_back("app@db" + std::to_string(node) + ".example.net");
  }
  std::ranges::sort(members);
  return members;
}

services::Ring ring_of(const std::vector<Atom>& members, std::uint32_t size) {
  services::Ring ring(size);
  ring.set_members(members);
  return ring;
}

/// Means over clusters with other names.
void print_balance() {
  constexpr std::size_t clusters = 20;
  std::printf("partitions of a member: the most / the mean, and how many members have none\n  ring_size");
  const std::vector<std::size_t> counts{3, 10, 100};
  for (const auto count : counts) std::printf("     %3zu nodes", count);
  std::printf("\n");
  for (const std::uint32_t size : {64U, 256U, 1024U, 4096U, 16384U, 65536U}) {
    std::printf("  %9u", size);
    for (const auto count : counts) {
      double ratio = 0;
      double idle = 0;
      for (std::size_t cluster = 0; cluster < clusters; ++cluster) {
        std::uint32_t most = 0;
        for (const auto& [node, share] : ring_of(names(count, 1000 * cluster), size).shares()) {
          most = std::max(most, share);
          idle += share == 0 ? 1.0 / clusters : 0;
        }
        ratio += static_cast<double>(most) * static_cast<double>(count) / size / clusters;
      }
      std::printf("   %5.2f %5.1f", ratio, idle);
    }
    std::printf("\n");
  }
}

void print_disruption() {
  constexpr std::uint32_t size = 65536;
  std::printf("partitions that move when one of N leaves, or comes back, of ring_size %u: over all N\n", size);
  for (const std::size_t count : {std::size_t{3}, std::size_t{10}, std::size_t{100}}) {
    const auto members = names(count);
    const auto ring = ring_of(members, size);
    std::vector<double> shares;
    std::size_t needless = 0;  // that are not the leaver's
    for (const auto& leaver : members) {
      auto rest = members;
      std::erase(rest, leaver);
      const auto moves = ring.diff(rest);
      shares.push_back(static_cast<double>(moves.size()) / size);
      for (const auto& move : moves) needless += move.from == NodeName(leaver.text()) ? 0 : 1;
    }
    const auto [least, most] = std::ranges::minmax(shares);
    std::printf("  %3zu nodes: %.5f to %.5f, ideal %.5f, needless moves %zu\n", count, least, most,
                1.0 / static_cast<double>(count), needless);
  }
}

// ---- Nodes.

int run_node(const std::string& name, const std::filesystem::path& root, const std::string& contact) {
  auto config = config_of(name, root);
  config.membership.contacts = {contact};
  auto node = Node::start(config);
  if (!node) {
    std::fprintf(stderr, "%s\n", node.error().message().c_str());
    return 1;
  }
  for (;;) std::this_thread::sleep_for(1h);
}

class Directory {
 public:
  Directory() : path(std::filesystem::temp_directory_path() / ("barrel_p2p-placement-" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(path);
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  const std::filesystem::path path;
};

/// What some nodes own by what they are told, and when that last changed.
class Owned {
 public:
  void follow(Node& node) {
    subscriptions_.push_back(node.subscribe_shard([this](const ShardEvent& event) {
      const std::lock_guard lock(mutex_);
      const bool acquired = event.kind == ShardEvent::Kind::acquired;
      acquired ? owned_.insert(event.partition) : owned_.erase(owned_.find(event.partition));
      last_ = Clock::now();
      changed_.notify_all();
    }));
  }
  /// When they own all together.
  Clock::time_point await(std::size_t count) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, 60s, [&] { return owned_.size() == count; })) {
      throw std::runtime_error("no hand-over: " + std::to_string(owned_.size()));
    }
    return last_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::multiset<std::uint32_t> owned_;
  Clock::time_point last_;
  std::vector<Subscription> subscriptions_;
};

void await_members(const Node& node, std::size_t count) {
  const auto end = Clock::now() + 60s;
  while (node.members().size() != count) {
    if (Clock::now() > end) throw std::runtime_error("the cluster does not form");
    std::this_thread::sleep_for(5ms);
  }
}

Node start(const NodeConfig& config) {
  auto node = Node::start(config);
  if (!node) throw std::runtime_error(node.error().message());
  return std::move(*node);
}

void print_times(const char* what, const std::vector<double>& times) {
  std::printf("  %-34s %3zu times: p50 %8.1f ms, p99 %8.1f ms, max %8.1f ms\n", what, times.size(),
              percentile(times, 0.5), percentile(times, 0.99), percentile(times, 1));
}

/// One of five nodes leaves and comes back, again and again.
void measure_planned(std::size_t rounds) {
  const Directory root;
  std::vector<std::unique_ptr<Node>> nodes;
  for (int index = 0; index < 5; ++index) {
    nodes.push_back(std::make_unique<Node>(start(config_of("n" + std::to_string(index), root.path))));
    if (index > 0 && !nodes.back()->join(nodes.front()->name())) throw std::runtime_error("cannot join");
  }
  for (const auto& node : nodes) await_members(*node, nodes.size());
  Node& leaver = *nodes.back();
  std::vector<double> leave;
  std::vector<double> stop;
  Owned others;
  for (std::size_t index = 0; index + 1 < nodes.size(); ++index) others.follow(*nodes[index]);
  for (std::size_t round = 0; round < rounds; ++round) {
    await_members(leaver, nodes.size());
    while (leaver.owned_partitions().empty()) std::this_thread::sleep_for(5ms);
    const auto from = Clock::now();
    leaver.leave();
    leave.push_back(milliseconds(others.await(leaver.ring_size()) - from));
    if (!leaver.join(nodes.front()->name())) throw std::runtime_error("cannot join");
  }
  print_times("leave()", leave);
  for (std::size_t round = 0; round < rounds / 4 + 1; ++round) {
    await_members(*nodes.back(), nodes.size());
    const auto from = Clock::now();
    nodes.back()->stop();
    stop.push_back(milliseconds(others.await(nodes.front()->ring_size()) - from));
    nodes.back().reset();
    nodes.back() = std::make_unique<Node>(start(config_of("n4", root.path)));
    if (!nodes.back()->join(nodes.front()->name())) throw std::runtime_error("cannot join");
  }
  print_times("stop()", stop);
}

/// A process of its own is killed.
void measure_unplanned(std::size_t rounds) {
  const Directory root;
  Node first = start(config_of("n0", root.path));
  Node second = start(config_of("n1", root.path));
  if (!second.join(first.name())) throw std::runtime_error("cannot join");
  await_members(first, 2);
  await_members(second, 2);
  Owned both;
  both.follow(first);
  both.follow(second);
  std::vector<double> times;
  for (std::size_t round = 0; round < rounds; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::execl("/proc/self/exe", "placement_figures", "--node", "victim", root.path.c_str(),
              first.name().string().c_str(), nullptr);
      ::_exit(1);
    }
    await_members(first, 3);
    await_members(second, 3);
    std::this_thread::sleep_for(std::chrono::milliseconds(300 + 377 * round % 2000));  // anywhere between two beats
    const auto from = Clock::now();
    ::kill(child, SIGKILL);
    times.push_back(milliseconds(both.await(first.ring_size()) - from));
    ::waitpid(child, nullptr, 0);
  }
  print_times("SIGKILL, lease 6 s", times);
}

// ---- Questions.

template <class Question>
void measure_questions(const char* what, const Question& question) {
  for (const unsigned threads : {1U, 2U}) {
    std::atomic<std::uint64_t> asked{0};
    std::atomic<bool> over{false};
    std::vector<std::thread> workers;
    const auto from = Clock::now();
    for (unsigned thread = 0; thread < threads; ++thread) {
      workers.emplace_back([&] {
        std::uint64_t count = 0;
        while (!over.load(std::memory_order_relaxed)) {
          question(count);
          ++count;
        }
        asked += count;
      });
    }
    std::this_thread::sleep_for(quick ? 200ms : 2s);
    over = true;
    for (auto& worker : workers) worker.join();
    const double took = std::chrono::duration<double>(Clock::now() - from).count();
    std::printf("  %-34s %u threads: %6.2f million a second\n", what, threads, static_cast<double>(asked) / took / 1e6);
  }
}

void measure_reads() {
  const Directory root;
  const Node node = start(config_of("n0", root.path));
  std::atomic<std::uint64_t> yes{0};
  measure_questions("is_owner(integer)", [&](std::uint64_t key) {
    if (!node.is_owner(key)) ++yes;
  });
  measure_questions("place(integer)", [&](std::uint64_t key) {
    if (!node.place(key)) ++yes;
  });
  if (yes != 0) throw std::runtime_error("a node alone owns everything");
}

}  // namespace

int main(int count, char** arguments) {
  try {
    if (count == 5 && std::strcmp(arguments[1], "--node") == 0) {
      return run_node(arguments[2], arguments[3], arguments[4]);
    }
    quick = count > 1 && std::strcmp(arguments[1], "--quick") == 0;
    print_balance();
    print_disruption();
    std::printf("hand-over: until the other nodes own all partitions\n");
    measure_planned(quick ? 3 : 100);
    measure_unplanned(quick ? 1 : 20);
    std::printf("questions\n");
    measure_reads();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
