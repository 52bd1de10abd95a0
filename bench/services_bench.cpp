// Services and maps of one node: what readers and writers of one process see. The cluster's figures: services_figures.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <barrel_p2p/node.hpp>
#include <filesystem>
#include <memory>
#include <semaphore>
#include <stdexcept>
#include <string>

namespace {

using namespace barrel_p2p;

constexpr int keys = 100'000;
const Atom table("table");
const Atom durable("durable");

/// One node for all benchmarks, with a map of `keys` keys and as many services.
class Host {
 public:
  static Host& get() {
    static Host host;
    return host;
  }
  Node& node() { return *node_; }

 private:
  Host()
      : directory_(std::filesystem::temp_directory_path() /
                   ("barrel_p2p-services-bench-" + std::to_string(::getpid()))) {
    NodeConfig config;
    config.name = "bench@127.0.0.1";
    config.cookie = "bench";
    config.data_dir = directory_;
    config.log_level = LogLevel::off;
    auto node = Node::start(config);
    if (!node) throw std::runtime_error(node.error().message());
    node_ = std::make_unique<Node>(std::move(*node));
    std::vector<TermPair> pairs;
    pairs.reserve(keys);
    for (int key = 0; key < keys; ++key) pairs.emplace_back(key, key);
    MapOptions options;
    options.persist = true;
    const bool made = node_->new_map(table) && node_->new_map(durable, options) && node_->map_put_many(table, pairs);
    if (!made) throw std::runtime_error("no maps");
    pid_ = node_->spawn([](Process& self) -> Task<> {
      for (;;) (void)co_await self.receive();
    });
    for (int key = 0; key < keys / 10; ++key) {
      if (!node_->register_service("service " + std::to_string(key), pid_)) throw std::runtime_error("no service");
    }
  }
  ~Host() {
    node_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  std::filesystem::path directory_;
  std::unique_ptr<Node> node_;
  Pid pid_;
};

/// Random keys; each thread has its own.
void map_get(benchmark::State& state) {
  Node& node = Host::get().node();
  std::uint64_t key = static_cast<std::uint64_t>(state.thread_index()) * 7919;
  for (auto _ : state) {
    key = key * 6364136223846793005ULL + 1442695040888963407ULL;
    benchmark::DoNotOptimize(node.map_get(table, static_cast<std::int64_t>((key >> 33) % keys)));
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(map_get)->Threads(1)->Threads(2)->UseRealTime();

/// All threads read one key.
void map_get_same_key(benchmark::State& state) {
  Node& node = Host::get().node();
  for (auto _ : state) benchmark::DoNotOptimize(node.map_get(table, 42));
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(map_get_same_key)->Threads(1)->Threads(2)->UseRealTime();

/// Names are made beforehand, as programs do; each thread reads its own ones.
void whereis_service(benchmark::State& state) {
  Node& node = Host::get().node();
  std::vector<ServiceName> names;
  for (int name = 0; name < 1000; ++name) {
    names.emplace_back("service " + std::to_string(name + 1000 * state.thread_index()));
  }
  std::size_t at = 0;
  for (auto _ : state) benchmark::DoNotOptimize(node.whereis_service(names[++at % names.size()]));
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(whereis_service)->Threads(1)->Threads(2)->UseRealTime();

/// One after the other: each waits for the cluster thread, and for the disk if the map is persistent.
void map_put(benchmark::State& state, const Atom& map) {
  Node& node = Host::get().node();
  std::int64_t key = 0;
  for (auto _ : state) {
    ++key;
    if (!node.map_put(map, key % keys, key)) state.SkipWithError("refused");
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK_CAPTURE(map_put, in_memory, table)->UseRealTime();
BENCHMARK_CAPTURE(map_put, persistent, durable)->UseRealTime();

/// With callbacks, 1000 under way.
void map_put_pipelined(benchmark::State& state, const Atom& map) {
  Node& node = Host::get().node();
  constexpr std::ptrdiff_t under_way = 1000;
  std::counting_semaphore<under_way> free(under_way);
  std::int64_t key = 0;
  for (auto _ : state) {
    free.acquire();
    ++key;
    node.map_put(map, key % keys, key, [&](const Result<void>&) { free.release(); });
  }
  for (std::ptrdiff_t at = 0; at < under_way; ++at) free.acquire();
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK_CAPTURE(map_put_pipelined, in_memory, table)->UseRealTime();
BENCHMARK_CAPTURE(map_put_pipelined, persistent, durable)->UseRealTime();

/// 1000 pairs at a time.
void map_put_many(benchmark::State& state, const Atom& map) {
  Node& node = Host::get().node();
  constexpr std::int64_t batch = 1000;
  std::int64_t key = 0;
  for (auto _ : state) {
    std::vector<TermPair> pairs;
    pairs.reserve(batch);
    for (std::int64_t at = 0; at < batch; ++at, ++key) pairs.emplace_back(key % keys, key);
    if (!node.map_put_many(map, std::move(pairs))) state.SkipWithError("refused");
  }
  state.SetItemsProcessed(batch * static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK_CAPTURE(map_put_many, in_memory, table)->UseRealTime();
BENCHMARK_CAPTURE(map_put_many, persistent, durable)->UseRealTime();

void register_and_unregister(benchmark::State& state) {
  Node& node = Host::get().node();
  const Pid pid = node.spawn([](Process& self) -> Task<> { (void)co_await self.receive(); });
  for (auto _ : state) {
    if (!node.register_service("bench", pid) || !node.unregister_service("bench")) state.SkipWithError("refused");
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()));
}
BENCHMARK(register_and_unregister)->UseRealTime();

}  // namespace
