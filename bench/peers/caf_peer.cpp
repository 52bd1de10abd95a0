// The C++ Actor Framework's side of the whole-process comparison: the same work with remote actors over plain TCP.
//
//   caf_peer server PORT           serves until it is told to stop
//   caf_peer client PORT           runs the work against the server, prints one JSON line a figure
#include <algorithm>
#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace {

using ping_message = caf::atom_constant<caf::atom("ping")>;
using begin_message = caf::atom_constant<caf::atom("begin")>;
using data_message = caf::atom_constant<caf::atom("data")>;
using stop_message = caf::atom_constant<caf::atom("stop")>;

using Clock = std::chrono::steady_clock;
using Data = std::vector<std::uint8_t>;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void figure(const std::string& name, double value, const char* unit) {
  std::printf("{\"figure\":\"%s\",\"value\":%.6g,\"unit\":\"%s\"}\n", name.c_str(), value, unit);
}

struct SinkState {
  std::uint64_t left = 0;
  std::uint64_t bytes = 0;
  std::uint64_t sum = 0;
  caf::response_promise done;
};

caf::behavior server(caf::stateful_actor<SinkState>* self) {
  return {
      [](ping_message, const Data& data) { return data; },
      [self](begin_message, std::uint64_t count) -> caf::result<std::uint64_t, std::uint64_t> {
        self->state = SinkState{count, 0, 0, self->make_response_promise()};
        return self->state.done;
      },
      [self](data_message, const Data& data) {
        auto& state = self->state;
        state.bytes += data.size();
        state.sum += data.back();
        if (--state.left == 0) state.done.deliver(state.bytes, state.sum);
      },
      [self](stop_message) { self->quit(); },
  };
}

void round_trip(caf::scoped_actor& self, const caf::actor& peer) {
  const Data data(64, 7);
  std::vector<double> times;
  for (int round = 0; round < 22'000; ++round) {
    const auto start = Clock::now();
    self->request(peer, caf::infinite, ping_message::value, data)
        .receive(
            [&](const Data& back) {
              if (back != data) std::abort();
            },
            [](const caf::error&) { std::abort(); });
    if (round >= 2000) times.push_back(seconds_since(start) * 1e6);
  }
  std::sort(times.begin(), times.end());
  figure("round_trip_64_p50", times[times.size() / 2], "us");
  figure("round_trip_64_p99", times[times.size() * 99 / 100], "us");
}

void one_way(caf::scoped_actor& self, const caf::actor& peer, std::size_t size, std::uint64_t count) {
  const Data data(size, 7);
  const auto message = caf::make_message(data_message::value, data);
  const auto start = Clock::now();
  auto handle = self->request(peer, caf::infinite, begin_message::value, count);
  for (std::uint64_t sent = 0; sent < count; ++sent) self->send(peer, message);
  handle.receive(
      [&](std::uint64_t bytes, std::uint64_t sum) {
        if (bytes != size * count || sum != 7 * count) std::abort();
      },
      [](const caf::error&) { std::abort(); });
  const double seconds = seconds_since(start);
  const auto name = "one_way_" + std::to_string(size);
  figure(name + "_messages", static_cast<double>(count) / seconds, "1/s");
  figure(name + "_bytes", static_cast<double>(size * count) / seconds / 1e6, "MB/s");
}

caf::behavior local_sink(caf::stateful_actor<SinkState>* self) {
  return {
      [self](begin_message, std::uint64_t count) -> caf::result<std::uint64_t, std::uint64_t> {
        self->state = SinkState{count, 0, 0, self->make_response_promise()};
        return self->state.done;
      },
      [self](data_message, std::uint64_t) {
        if (--self->state.left == 0) self->state.done.deliver(std::uint64_t{0}, std::uint64_t{0});
      },
  };
}

void local_send(caf::actor_system& system, caf::scoped_actor& self) {
  constexpr std::uint64_t count = 2'000'000;
  const auto sink = system.spawn(local_sink);
  const auto message = caf::make_message(data_message::value, std::uint64_t{1});
  const auto start = Clock::now();
  auto handle = self->request(sink, caf::infinite, begin_message::value, count);
  for (std::uint64_t sent = 0; sent < count; ++sent) self->send(sink, message);
  handle.receive([](std::uint64_t, std::uint64_t) {}, [](const caf::error&) { std::abort(); });
  figure("local_send", static_cast<double>(count) / seconds_since(start), "1/s");
}

int run(const std::string& role, std::uint16_t port) {
  caf::actor_system_config config;
  config.load<caf::io::middleman>();
  config.add_message_type<Data>("data");
  caf::actor_system system(config);
  caf::scoped_actor self(system);
  if (role == "server") {
    const auto actor = system.spawn(server);
    if (!system.middleman().publish(actor, port, "127.0.0.1", true)) return 1;
    std::puts("ready");
    std::fflush(stdout);
    self->wait_for(actor);
    return 0;
  }
  auto peer = system.middleman().remote_actor("127.0.0.1", port);
  if (!peer) return 1;
  round_trip(self, *peer);
  one_way(self, *peer, 64, 400'000);
  one_way(self, *peer, 1024, 200'000);
  one_way(self, *peer, 65'536, 8'000);
  one_way(self, *peer, 1'048'576, 600);
  local_send(system, self);
  self->send(*peer, stop_message::value);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: caf_peer server|client PORT\n", stderr);
    return 2;
  }
  return run(argv[1], static_cast<std::uint16_t>(std::stoi(argv[2])));
}
