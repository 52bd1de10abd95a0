// The durable store on the disk below the temporary directory (TMPDIR).
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <memory>
#include <semaphore>
#include <stdexcept>
#include <string>

#include "replication/store.hpp"

namespace {

using namespace barrel_p2p;
using namespace barrel_p2p::replication;

class Directory {
 public:
  Directory()
      : path_(std::filesystem::temp_directory_path() / ("barrel_p2p-store-bench-" + std::to_string(::getpid()))) {}
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  [[nodiscard]] std::unique_ptr<DurableStore> open() const {
    auto store = DurableStore::open({.directory = path_});
    if (!store) throw std::runtime_error(store.error().message());
    return std::move(*store);
  }

 private:
  std::filesystem::path path_;
};

WriteBatch one_put(std::uint64_t key) {
  static const Term value = std::string(100, 'v');
  WriteBatch batch;
  batch.put("map:bench", key, Entry::value(value, {{static_cast<WallMilliseconds>(key), 0}, Atom("a@host")}));
  return batch;
}

/// Puts of 100 bytes, each durable before the next one of the same writer; range: writers in flight.
void durable_put(benchmark::State& state) {
  const Directory directory;
  const auto store = directory.open();
  constexpr std::ptrdiff_t writers_max = 100'000;
  std::counting_semaphore<writers_max> free(state.range(0));
  std::uint64_t key = 0;
  for (auto _ : state) {
    free.acquire();
    auto taken = store->write(one_put(key++ % 100'000), [&](const Result<void>&) { free.release(); });
    if (!taken) state.SkipWithError(taken.error().message().c_str());
  }
  store->flush();
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
  const auto statistics = store->statistics();
  state.counters["puts_per_fsync"] = static_cast<double>(statistics.batches) /
                                     static_cast<double>(std::max<std::uint64_t>(1, statistics.transactions));
}
BENCHMARK(durable_put)->Arg(1)->Arg(10)->Arg(100)->Arg(1000)->Arg(10'000)->UseRealTime()->MinTime(1.0);

void fill(const Directory& directory, std::uint64_t records) {
  const auto store = directory.open();
  for (std::uint64_t key = 0; key < records; ++key) {
    while (!store->write(one_put(key))) store->flush();
  }
}

/// Opening checks every record; range: records.
void open_store(benchmark::State& state) {
  const Directory directory;
  fill(directory, static_cast<std::uint64_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(directory.open());
  state.SetItemsProcessed(state.range(0) * static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(open_store)->Arg(100'000)->UseRealTime()->Unit(benchmark::kMillisecond);

/// Loading an open store into memory; range: records.
void load_collection(benchmark::State& state) {
  const Directory directory;
  fill(directory, static_cast<std::uint64_t>(state.range(0)));
  const auto store = directory.open();
  for (auto _ : state) {
    auto loaded = store->load("map:bench", [](Term&& key, Entry&& entry) {
      benchmark::DoNotOptimize(key);
      benchmark::DoNotOptimize(entry);
    });
    if (!loaded) state.SkipWithError(loaded.error().message().c_str());
  }
  state.SetItemsProcessed(state.range(0) * static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(load_collection)->Arg(100'000)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
