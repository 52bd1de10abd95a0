// Processes of one node: messages to and fro, messages in one direction, and how long a process takes to come and go.
#include <benchmark/benchmark.h>

#include <future>
#include <memory>

#include "process/system.hpp"

namespace {

using namespace barrel_p2p;

class Local {
 public:
  explicit Local(unsigned workers) : system_(config(workers)) { system_.start(); }
  ~Local() { system_.stop(); }
  Local(const Local&) = delete;
  Local& operator=(const Local&) = delete;

  Pid spawn(ProcessFunction function) { return system_.spawn(std::move(function)); }
  /// Runs `function` as a process and waits until it is through.
  void run(std::function<Task<>(Process&)> function) {
    auto done = std::make_shared<std::promise<void>>();
    auto through = done->get_future();
    system_.spawn([function = std::move(function), done](Process& self) -> Task<> {
      co_await function(self);
      done->set_value();
    });
    through.wait();
  }

 private:
  static process::SystemConfig config(unsigned workers) {
    process::SystemConfig config;
    config.node = Atom("bench@127.0.0.1");
    config.workers = workers;
    return config;
  }
  process::System system_;
};

Task<> echo(Process& self) {
  for (;;) {
    const Term message = co_await self.receive();
    const Term answer = message[1];
    const Pid to = *message[0].as_pid();
    co_await self.send(to, answer);
  }
}

Task<> ping(Process& self, Pid other, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    Term message = Term::tuple_of(self.pid(), round);
    co_await self.send(other, std::move(message));
    Term answer = co_await self.receive();
    benchmark::DoNotOptimize(answer);
  }
}

void ping_pong(benchmark::State& state) {
  constexpr int rounds = 10'000;
  Local local(static_cast<unsigned>(state.range(0)));
  const Pid other = local.spawn(echo);
  for (auto _ : state) local.run([other](Process& self) { return ping(self, other, rounds); });
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * rounds);
}
BENCHMARK(ping_pong)->Arg(1)->Arg(2)->UseRealTime()->MinTime(0.3);

Task<> take(Process& self, Pid to, int count) {
  for (int left = count; left > 0; --left) {
    Term message = co_await self.receive();
    benchmark::DoNotOptimize(message);
  }
  co_await self.send(to, Atom("done"));
}

Task<> give(Process& self, int count) {
  const Atom data("data");
  const Pid own = self.pid();
  const Pid sink = self.spawn([own, count](Process& other) { return take(other, own, count); });
  for (int number = 0; number < count; ++number) {
    Term message = Term::tuple_of(data, number);
    co_await self.send(sink, std::move(message));
  }
  Term done = co_await self.receive();
  benchmark::DoNotOptimize(done);
}

void one_way(benchmark::State& state) {
  constexpr int count = 200'000;
  Local local(static_cast<unsigned>(state.range(0)));
  for (auto _ : state) local.run([](Process& self) { return give(self, count); });
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * count);
}
BENCHMARK(one_way)->Arg(1)->Arg(2)->UseRealTime()->MinTime(0.3);

Task<> nothing(Process& /*self*/) { co_return; }

Task<> spawn_many(Process& self, int count) {
  for (int number = 0; number < count; ++number) {
    const auto [pid, ref] = self.spawn_monitor(nothing);
    Term down = co_await self.receive();
    benchmark::DoNotOptimize(down);
  }
}

void spawn_and_exit(benchmark::State& state) {
  constexpr int count = 20'000;
  Local local(static_cast<unsigned>(state.range(0)));
  for (auto _ : state) local.run([](Process& self) { return spawn_many(self, count); });
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * count);
}
BENCHMARK(spawn_and_exit)->Arg(1)->Arg(2)->UseRealTime()->MinTime(0.3);

}  // namespace
