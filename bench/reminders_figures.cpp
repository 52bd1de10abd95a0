// What reminders cost: many that are due in a minute, told in time by nodes over loopback in one process. What those
// that wait cost: start_figures.
//
//   reminders_figures [--quick]
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <future>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "scratch.hpp"

namespace {

using namespace barrel_p2p;
using bench::Scratch;
using namespace std::chrono_literals;
using std::chrono::system_clock;
using Clock = std::chrono::steady_clock;

double seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

Node started(const NodeConfig& config) {
  auto node = Node::start(config);
  if (!node) throw std::runtime_error(node.error().message());
  return std::move(*node);
}

/// Those that count, as all nodes told them.
struct Told {
  std::mutex mutex;
  std::condition_variable complete;
  std::vector<double> lateness_ms;
  std::size_t wanted = 0;
};

void measure_minute(const Scratch& scratch, int count_of_nodes, std::size_t count, std::chrono::seconds minute) {
  std::vector<std::unique_ptr<Node>> nodes;
  for (int index = 0; index < count_of_nodes; ++index) {
    const auto name = "m" + std::to_string(count_of_nodes) + "-" + std::to_string(index);
    nodes.push_back(std::make_unique<Node>(started(scratch.config(name))));
    if (index > 0 && !nodes.back()->join(nodes.front()->name())) throw std::runtime_error("cannot join");
  }
  const auto limit = Clock::now() + 60s;
  const auto is_ready = [&](const auto& node) {
    return node->members().size() == nodes.size() && !node->reminder_statistics()->held;
  };
  while (!std::ranges::all_of(nodes, is_ready)) {
    if (Clock::now() > limit) throw std::runtime_error("the cluster does not form");
    std::this_thread::sleep_for(10ms);
  }
  Told told;
  told.wanted = count;
  std::vector<Subscription> subscriptions;
  for (auto& node : nodes) {
    subscriptions.push_back(node->subscribe_reminders([&](const ReminderEvent& event) {
      const std::chrono::duration<double, std::milli> late = system_clock::now() - event.due;
      const std::lock_guard lock(told.mutex);
      told.lateness_ms.push_back(late.count());
      if (told.lateness_ms.size() == told.wanted) told.complete.notify_all();
    }));
  }
  std::atomic<std::size_t> durable{0};
  std::promise<void> all_durable;
  const auto from = Clock::now();
  const auto first = system_clock::now() + minute / 2;
  for (std::size_t key = 0; key < count; ++key) {
    while (key - std::min<std::size_t>(key, durable) >= 10'000) std::this_thread::yield();
    const auto due = first + std::chrono::duration_cast<system_clock::duration>(minute) * key / count;
    nodes[key % nodes.size()]->remind(key, due, "0123456789abcdef", [&](const Result<void>& set) {
      if (!set) std::fprintf(stderr, "%s\n", set.error().message().c_str());
      if (++durable == count) all_durable.set_value();
    });
  }
  all_durable.get_future().wait();
  const auto set = Clock::now() - from;
  std::unique_lock lock(told.mutex);
  if (!told.complete.wait_for(lock, 2 * minute + 60s, [&] { return told.lateness_ms.size() >= count; })) {
    throw std::runtime_error("only " + std::to_string(told.lateness_ms.size()) + " were told");
  }
  auto& late = told.lateness_ms;
  std::ranges::sort(late);
  const auto share = [&](double of) {
    return late[static_cast<std::size_t>(of * static_cast<double>(late.size() - 1))];
  };
  std::printf("%zu set on %d nodes, durable: %.0f /s; due within %lld s: late by p50 %.1f, p99 %.1f, max %.1f ms\n",
              count, count_of_nodes, static_cast<double>(count) / seconds(set), static_cast<long long>(minute.count()),
              share(0.5), share(0.99), late.back());
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const bool quick = argc > 1 && std::strcmp(argv[1], "--quick") == 0;
  const Scratch scratch;
  for (const int nodes : {1, 3}) measure_minute(scratch, nodes, quick ? 5'000 : 100'000, quick ? 10s : 60s);
}
