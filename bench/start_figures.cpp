// What a node needs that starts with much on disk: a million reminders that wait, a map of a million entries. Times and
// memory, each of a process of its own, so that nothing is left of the writing.
//
//   start_figures [--quick] [rounds]
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "replication/store.hpp"
#include "scratch.hpp"
#include "services/maps.hpp"
#include "services/reminders.hpp"

namespace {

using namespace barrel_p2p;
using bench::Scratch;
using Clock = std::chrono::steady_clock;
using replication::Entry;
using replication::Timestamp;

const Atom table("table");

std::size_t heap_bytes() {
  const auto used = ::mallinfo2();
  return used.uordblks + used.hblkhd;
}

/// Of this process: what it would take on a machine that has nothing else to do.
double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

/// In a child: memory and threads are those of a fresh process.
void apart(const std::function<void()>& work) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("cannot fork");
  if (child == 0) {
    int status = EXIT_SUCCESS;
    try {
      work();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      status = EXIT_FAILURE;
    }
    std::fflush(stdout);
    ::_exit(status);
  }
  int status = 0;
  if (::waitpid(child, &status, 0) != child || status != 0) throw std::runtime_error("a measurement failed");
}

using Fill = std::function<void(replication::WriteBatch& batch, std::int64_t number)>;

void write(const NodeConfig& config, std::int64_t count, const Fill& fill) {
  constexpr std::int64_t batch_size = 10'000;
  auto store = replication::DurableStore::open({.directory = config.data_dir / "store"});
  if (!store) throw std::runtime_error(store.error().message());
  for (std::int64_t number = 0; number < count; number += batch_size) {
    replication::WriteBatch batch;
    for (std::int64_t at = number; at < std::min(count, number + batch_size); ++at) fill(batch, at);
    if (const auto written = (*store)->write(std::move(batch)); !written) {
      throw std::runtime_error(written.error().message());
    }
    (*store)->flush();
  }
}

void start(const NodeConfig& config, const char* what, std::int64_t count,
           const std::function<std::size_t(Node& node)>& size) {
  const auto before = heap_bytes();
  const auto cpu_from = cpu_seconds();
  const auto from = Clock::now();
  auto node = Node::start(config);
  if (!node) throw std::runtime_error(node.error().message());
  const std::chrono::duration<double> took = Clock::now() - from;
  const auto cpu = cpu_seconds() - cpu_from;
  if (size(*node) != static_cast<std::size_t>(count)) throw std::runtime_error("some are missing");
  std::printf("%lld %s: the node starts in %.2f s, with %.2f s of processor time; %.0f bytes each\n",
              static_cast<long long>(count), what, took.count(), cpu,
              static_cast<double>(heap_bytes() - before) / static_cast<double>(count));
}

/// The payload is 16 bytes, the key a word with a number.
Fill reminders_of(const NodeConfig& config) {
  return [now = wall_now(), own = Atom(config.name)](replication::WriteBatch& batch, std::int64_t number) {
    const Timestamp version{now - 10'000'000 + number, 0};
    const Term value = Term::tuple({now + 3'600'000 + number, "0123456789abcdef", to_term(version)});
    batch.put(services::reminder_collection, "user-" + std::to_string(number),
              Entry::value(value, {{version.wall, 1}, own}));
  };
}

/// Integer to integer.
Fill entries_of(const NodeConfig& config) {
  return [now = wall_now(), own = Atom(config.name), collection = services::map_collection(table)](
             replication::WriteBatch& batch, std::int64_t number) {
    batch.put(collection, number, Entry::value(number, {{now - 10'000'000 + number, 1}, own}));
  };
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const bool quick = argc > 1 && std::string_view(argv[1]) == "--quick";
  const int rounds = argc > (quick ? 2 : 1) ? std::atoi(argv[quick ? 2 : 1]) : 1;
  const std::int64_t count = quick ? 50'000 : 1'000'000;
  const Scratch scratch;
  const auto reminders = scratch.config("reminders");
  auto entries = scratch.config("entries");
  entries.replication.maps.push_back({.name = table.string()});
  entries.replication.maps.back().options.persist = true;
  apart([&] { write(reminders, count, reminders_of(reminders)); });
  apart([&] { write(entries, count, entries_of(entries)); });
  for (int round = 0; round < rounds; ++round) {
    apart(
        [&] { start(reminders, "reminders", count, [](Node& node) { return node.reminder_statistics()->pending; }); });
    apart([&] { start(entries, "entries of a map", count, [](Node& node) { return node.map_size(table); }); });
  }
}
