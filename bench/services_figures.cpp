// What services and maps cost a cluster: rates and times until every node knows, of nodes over loopback in one process;
// bytes of anti-entropy and of a join, and memory, of the machines alone.
//
//   services_figures [--quick] [rates | join | repair | overwrites]
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "services/maps.hpp"

namespace {

using namespace barrel_p2p;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

bool quick = false;
const Atom table("table");

double seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }
double milliseconds(Clock::duration time) { return 1000 * seconds(time); }

/// Of times in milliseconds.
double percentile(std::vector<double> times, double share) {
  if (times.empty()) return 0;
  std::ranges::sort(times);
  return times[static_cast<std::size_t>(share * static_cast<double>(times.size() - 1))];
}

// ---- Nodes.

class Cluster {
 public:
  explicit Cluster(int count)
      : root_(std::filesystem::temp_directory_path() / ("barrel_p2p-figures-" + std::to_string(::getpid()))) {
    for (int index = 0; index < count; ++index) add();
    const auto end = Clock::now() + 60s;
    while (!std::ranges::all_of(nodes, [&](const auto& node) { return node->members().size() == nodes.size(); })) {
      if (Clock::now() > end) throw std::runtime_error("the cluster does not form");
      std::this_thread::sleep_for(10ms);
    }
  }
  ~Cluster() {
    nodes.clear();
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  Node& add() {
    NodeConfig config;
    config.name = "n" + std::to_string(nodes.size()) + "@127.0.0.1";
    config.cookie = "figures";
    config.data_dir = root_ / config.name;
    config.discovery_dir = root_ / "discovery";
    config.discovery_backends = {"file"};
    config.workers = 1;
    config.log_level = LogLevel::off;
    auto node = Node::start(config);
    if (!node) throw std::runtime_error(node.error().message());
    nodes.push_back(std::make_unique<Node>(std::move(*node)));
    if (nodes.size() > 1 && !nodes.back()->join(nodes.front()->name())) throw std::runtime_error("cannot join");
    return *nodes.back();
  }

  std::vector<std::unique_ptr<Node>> nodes;

 private:
  std::filesystem::path root_;
};

/// Counts what each node has seen, and notes when the last one did.
class Arrivals {
 public:
  Arrivals(std::size_t nodes, std::size_t items) : seen_(items), done_(items), nodes_(nodes) {}
  void seen(std::size_t item) {
    if (item >= seen_.size() || seen_[item].fetch_add(1) + 1 != nodes_) return;
    done_[item] = Clock::now();
    if (complete_.fetch_add(1) + 1 != seen_.size()) return;
    const std::lock_guard lock(mutex_);
    all_.notify_all();
  }
  bool await(std::chrono::seconds limit) {
    std::unique_lock lock(mutex_);
    return all_.wait_for(lock, limit, [&] { return complete_ == seen_.size(); });
  }
  [[nodiscard]] Clock::time_point when(std::size_t item) const { return done_[item]; }
  [[nodiscard]] std::size_t complete() const { return complete_; }

 private:
  std::vector<std::atomic<std::size_t>> seen_;
  std::vector<Clock::time_point> done_;
  std::size_t nodes_;
  std::atomic<std::size_t> complete_{0};
  std::mutex mutex_;
  std::condition_variable all_;
};

/// `count` puts by the first node, `under_way` at a time at most; until the last node has the last one.
void measure_puts(Cluster& cluster, std::size_t count, std::size_t under_way) {
  Arrivals arrivals(cluster.nodes.size(), count);
  std::vector<Subscription> subscriptions;
  for (auto& node : cluster.nodes) {
    if (!node->new_map(table)) throw std::runtime_error("no map");
    auto subscription = node->subscribe_map(table, [&](const MapEvent& event) {
      if (event.kind == MapEvent::Kind::put) arrivals.seen(event.value.as_uint64().value_or(count));
    });
    subscriptions.push_back(std::move(*subscription));
  }
  std::vector<Clock::time_point> sent(count);
  const auto from = Clock::now();
  for (std::size_t item = 0; item < count; ++item) {
    while (item - std::min(item, arrivals.complete()) >= under_way) std::this_thread::yield();
    sent[item] = Clock::now();
    cluster.nodes.front()->map_put(table, under_way * count + item, item, [](const Result<void>& put) {
      if (!put) std::fprintf(stderr, "%s\n", put.error().message().c_str());
    });
  }
  if (!arrivals.await(60s)) throw std::runtime_error("not all puts arrived");
  const auto took = Clock::now() - from;
  std::vector<double> times;
  for (std::size_t item = 0; item < count; ++item) times.push_back(milliseconds(arrivals.when(item) - sent[item]));
  std::printf("map_put, %2zu nodes, %4zu under way     %9.0f /s    seen on all: p50 %7.2f ms, p99 %7.2f ms\n",
              cluster.nodes.size(), under_way, static_cast<double>(count) / seconds(took), percentile(times, 0.5),
              percentile(times, 0.99));
}

void measure_registrations(Cluster& cluster, std::size_t count) {
  Arrivals arrivals(cluster.nodes.size(), count);
  std::vector<Subscription> subscriptions;
  for (auto& node : cluster.nodes) {
    subscriptions.push_back(node->subscribe_services([&](const ServiceEvent& event) {
      if (event.kind == ServiceEvent::Kind::registered) arrivals.seen(std::stoul(std::string(event.name.text())));
    }));
  }
  Node& first = *cluster.nodes.front();
  const Pid pid = first.spawn([](Process& self) -> Task<> { (void)co_await self.receive(); });
  std::vector<Clock::time_point> sent(count);
  const auto from = Clock::now();
  for (std::size_t item = 0; item < count; ++item) {
    sent[item] = Clock::now();
    if (!first.register_service(std::to_string(item), pid)) throw std::runtime_error("not registered");
  }
  const auto took = Clock::now() - from;
  if (!arrivals.await(60s)) throw std::runtime_error("not all registrations arrived");
  std::vector<double> times;
  for (std::size_t item = 0; item < count; ++item) times.push_back(milliseconds(arrivals.when(item) - sent[item]));
  std::printf("register_service, %2zu nodes             %9.0f /s    seen on all: p50 %7.2f ms, p99 %7.2f ms\n",
              cluster.nodes.size(), static_cast<double>(count) / seconds(took), percentile(times, 0.5),
              percentile(times, 0.99));
  first.exit(pid, Atom("kill"));
}

std::size_t heap_bytes() { return ::mallinfo2().uordblks + ::mallinfo2().hblkhd; }

/// Round trips of 64 bytes between processes of two nodes, one after the other, until it is asked for them.
class Pinging {
 public:
  Pinging(Node& from, Node& to) {
    const Pid echo = to.spawn([](Process& self) -> Task<> {
      for (;;) {
        const Term message = co_await self.receive();
        co_await self.send(*message[0].as_pid(), message[1]);
      }
    });
    from.spawn([this, echo](Process& self) { return ping(self, echo); });
  }
  ~Pinging() {
    stopped_ = true;
    ended_.get_future().wait();
  }
  Pinging(const Pinging&) = delete;
  Pinging& operator=(const Pinging&) = delete;

  /// In milliseconds, since this was last asked.
  std::vector<double> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(times_, {});
  }

 private:
  Task<> ping(Process& self, Pid echo) {
    const Term message = Term::tuple({self.pid(), std::string(64, 'x')});
    while (!stopped_) {
      const auto from = Clock::now();
      co_await self.send(echo, message);
      co_await self.receive();
      const double took = milliseconds(Clock::now() - from);
      const std::lock_guard lock(mutex_);
      times_.push_back(took);
    }
    ended_.set_value();
  }

  std::atomic<bool> stopped_{false};
  std::promise<void> ended_;
  std::mutex mutex_;
  std::vector<double> times_;
};

/// A map of many entries on one node, and a node that joins it, while the first one and a third one talk.
void measure_join(std::size_t entries) {
  Cluster cluster(1);
  Node& first = *cluster.nodes.front();
  if (!first.new_map(table)) throw std::runtime_error("no map");
  const auto before = heap_bytes();
  const auto from = Clock::now();
  for (std::size_t key = 0; key < entries;) {
    std::vector<TermPair> pairs;
    for (std::size_t at = 0; at < 10'000 && key < entries; ++at, ++key) pairs.emplace_back(key, key);
    if (!first.map_put_many(table, std::move(pairs))) throw std::runtime_error("not put");
  }
  const auto filled = Clock::now() - from;
  const auto size = static_cast<double>(heap_bytes() - before) / static_cast<double>(entries);
  Node& bystander = cluster.add();
  Pinging pinging(first, bystander);
  std::this_thread::sleep_for(quick ? 500ms : 5s);
  const auto idle = pinging.take();
  Node& second = cluster.add();
  if (!second.new_map(table)) throw std::runtime_error("no map");
  const auto joined = Clock::now();
  while (second.map_size(table) < entries) {
    if (Clock::now() - joined > 120s) throw std::runtime_error("the map does not arrive");
    std::this_thread::sleep_for(5ms);
  }
  std::printf(
      "a map of %zu entries: put_many %.0f /s, %.0f bytes an entry on its node, readers' copy included;\n"
      "  a new node has it after %.2f s\n",
      entries, static_cast<double>(entries) / seconds(filled), size, seconds(Clock::now() - joined));
  const auto meanwhile = pinging.take();
  for (const auto& [when, times] : {std::pair("before", &idle), std::pair("meanwhile", &meanwhile)}) {
    std::printf("  64 bytes to a third node and back, %s: p50 %.3f ms, p99 %.2f ms, longest %.1f ms (%zu times)\n",
                when, percentile(*times, 0.5), percentile(*times, 0.99), percentile(*times, 1), times->size());
  }
}

// ---- Machines alone: what two replicas say to each other.

class Pair {
 public:
  Pair() {
    for (int side = 0; side < 2; ++side) {
      services::MembersConfig members;
      members.own = names_[side];
      clocks_.push_back(std::make_unique<replication::HybridClock>());
      members_.push_back(std::make_unique<services::Members>(members, *clocks_.back(), now_));
      services::MapsConfig maps;
      maps.own = names_[side];
      maps.seed = static_cast<std::uint64_t>(side) + 1;
      maps_.push_back(std::make_unique<services::Maps>(maps, *clocks_.back(), *members_.back(), now_));
      services::Effects effects;
      if (!maps_.back()->open(table, {}, {}, now_, effects)) throw std::runtime_error("no map");
    }
  }
  void put(int side, const Term& key, const Term& value) {
    services::Effects effects;
    now_.monotonic += 1us;
    if (!maps_[side]->put(table, key, value, 0, now_, effects)) throw std::runtime_error("not put");
  }
  void link() {
    for (int side = 0; side < 2; ++side) {
      services::Effects effects;
      maps_[side]->neighbour_up(names_[1 - side], now_, effects);
      maps_[side]->set_native(names_[1 - side]);
      pass(side, effects);
    }
    run(2s);
  }
  /// Lets time pass; returns the bytes of the messages.
  std::size_t run(std::chrono::milliseconds time) {
    bytes_ = 0;
    const auto end = now_.monotonic + time;
    for (;;) {
      const auto next = std::min(maps_[0]->deadline(), maps_[1]->deadline());
      if (next > end) break;
      advance(std::max(next, now_.monotonic));
      for (int side = 0; side < 2; ++side) {
        services::Effects effects;
        maps_[side]->tick(now_, effects);
        pass(side, effects);
      }
    }
    advance(end);
    return bytes_;
  }
  [[nodiscard]] std::size_t size(int side) const { return maps_[side]->find(table)->live_count(); }
  [[nodiscard]] bool is_equal(const Term& key) const {
    const Term* const one = maps_[0]->find(table)->get(key);
    const Term* const other = maps_[1]->find(table)->get(key);
    return one != nullptr && other != nullptr && *one == *other;
  }

 private:
  void advance(MonotonicTime to) {
    now_.wall += std::chrono::duration_cast<Milliseconds>(to - now_.monotonic).count();
    now_.monotonic = to;
  }
  void pass(int from, services::Effects& effects) {
    for (auto& effect : effects) {
      auto* send = std::get_if<services::Send>(&effect);
      if (send == nullptr) continue;
      bytes_ += encoded_size(send->message, false);
      services::Effects answer;
      maps_[1 - from]->receive(send->name, names_[from], send->message, now_, answer);
      pass(1 - from, answer);
    }
  }

  services::Now now_{MonotonicTime{} + 1h, 1'764'000'000'000};
  const Atom names_[2] = {Atom("a@host"), Atom("b@host")};
  std::vector<std::unique_ptr<replication::HybridClock>> clocks_;
  std::vector<std::unique_ptr<services::Members>> members_;
  std::vector<std::unique_ptr<services::Maps>> maps_;
  std::size_t bytes_ = 0;
};

void measure_anti_entropy(std::size_t entries) {
  Pair pair;
  const auto before = heap_bytes();
  for (std::size_t key = 0; key < entries; ++key) pair.put(0, key, key);
  std::printf("memory of the map alone: %.0f bytes an entry (integer to integer)\n",
              static_cast<double>(heap_bytes() - before) / static_cast<double>(entries));
  pair.link();
  const auto joined = pair.run(0ms);
  (void)joined;
  for (int round = 0; round < 200 && pair.size(1) < entries; ++round) pair.run(1s);
  std::printf("anti-entropy over %zu entries (here one whole round of both sides, 60 s):\n", entries);
  for (const std::size_t differences : {std::size_t{0}, std::size_t{10}, std::size_t{10'000}}) {
    std::vector<std::size_t> keys;
    for (std::size_t at = 0; at < differences; ++at) keys.push_back(at * 97 % entries);
    const std::string value = "of " + std::to_string(differences);
    for (std::size_t at = 0; at < differences; ++at) pair.put(static_cast<int>(at % 2), keys[at], value);
    const std::size_t bytes = pair.run(60s);
    const auto left = std::ranges::count_if(keys, [&](std::size_t key) { return !pair.is_equal(key); });
    std::printf("  %6zu differences: %10zu bytes, %zu left\n", differences, bytes, static_cast<std::size_t>(left));
  }
}

void measure_overwrites(std::size_t count) {
  Pair pair;
  const auto before = heap_bytes();
  for (std::size_t at = 0; at < count; ++at) pair.put(static_cast<int>(at % 2), "key", at);
  std::printf("%zu overwrites of one key leave %zu bytes\n", count, heap_bytes() - before);
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::string_view only;
  for (const std::string_view argument : std::span(argv, static_cast<std::size_t>(argc)).subspan(1)) {
    if (argument == "--quick") {
      quick = true;
    } else {
      only = argument;
    }
  }
  const std::size_t share = quick ? 20 : 1;
  const auto measures = [&](std::string_view part) { return only.empty() || only == part; };
  for (const int count : {1, 3, 10}) {
    if (!measures("rates")) break;
    Cluster cluster(count);
    measure_puts(cluster, 2000 / share, 1);
    measure_puts(cluster, 40'000 / share, 1000);
    measure_registrations(cluster, 4000 / share);
  }
  if (measures("join")) measure_join(1'000'000 / share);
  if (measures("repair")) measure_anti_entropy(1'000'000 / share);
  if (measures("overwrites")) measure_overwrites(200'000 / share);
}
