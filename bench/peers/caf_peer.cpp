// The C++ Actor Framework's side of the whole-process comparison: the same work with remote actors over plain TCP.
//
//   caf_peer server                      prints `ready PORT`, serves until it is killed
//   caf_peer client PORT DIVISOR         runs the work against the server, prints one JSON line a figure
//
// CAF does not hold a fast sender back, so the sender here waits while more than `window_bytes` are on their way.
#include <zlib.h>

#include <algorithm>
#include <atomic>
#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

namespace {

using ping_message = caf::atom_constant<caf::atom("ping")>;
using check_message = caf::atom_constant<caf::atom("check")>;
using open_message = caf::atom_constant<caf::atom("open")>;
using ready_message = caf::atom_constant<caf::atom("ready")>;
using data_message = caf::atom_constant<caf::atom("data")>;
using taken_message = caf::atom_constant<caf::atom("taken")>;
using done_message = caf::atom_constant<caf::atom("done")>;

using Clock = std::chrono::steady_clock;
using Data = std::vector<std::uint8_t>;

constexpr std::uint64_t window_bytes = 16UL * 1024 * 1024;
constexpr std::uint64_t bulk_bytes = 1024UL * 1024 * 1024;
constexpr std::size_t bulk_message_bytes = 65'536;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void figure(const std::string& name, double value, const char* unit) {
  std::printf("{\"figure\":\"%s\",\"value\":%.6g,\"unit\":\"%s\"}\n", name.c_str(), value, unit);
  std::fflush(stdout);
}

[[noreturn]] void give_up(const char* why) {
  std::fprintf(stderr, "%s\n", why);
  std::exit(1);
}

Data pattern(std::size_t size) {
  Data data(size);
  for (std::size_t at = 0; at < size; ++at) data[at] = static_cast<std::uint8_t>(at * 167 + 13);
  return data;
}

std::uint64_t checksum(const Data& data) { return crc32(0, data.data(), static_cast<unsigned>(data.size())); }

std::uint64_t ends_of(const Data& data) { return std::uint64_t{data.front()} + data.back(); }

// The server.

struct SinkState {
  std::uint64_t left = 0;
  std::uint64_t bytes = 0;
  std::uint64_t sum = 0;
  std::uint64_t told = 0;  // of `bytes`
  Clock::time_point start;
};

caf::behavior sink(caf::stateful_actor<SinkState>* self, const caf::actor& to, std::uint64_t count) {
  self->state.left = count;
  self->state.start = Clock::now();
  self->send(to, ready_message::value, caf::actor_cast<caf::actor>(self));
  return {[self, to](data_message, const Data& data) {
    auto& state = self->state;
    state.bytes += data.size();
    state.sum += ends_of(data);
    if (--state.left == 0) {
      const auto nanoseconds = static_cast<std::uint64_t>(seconds_since(state.start) * 1e9);
      self->send(to, done_message::value, state.bytes, state.sum, nanoseconds);
      self->quit();
    } else if (state.bytes - state.told >= window_bytes / 4) {
      state.told = state.bytes;
      self->send(to, taken_message::value, state.told);
    }
  }};
}

caf::behavior server(caf::event_based_actor* self) {
  return {
      [](ping_message, const Data& data) { return data; },
      [](check_message, const Data& data) { return checksum(data); },
      [self](open_message, const caf::actor& to, std::uint64_t count) { self->spawn(sink, to, count); },
  };
}

// The client.

double one_ping(caf::scoped_actor& self, const caf::actor& peer, const Data& data) {
  const auto start = Clock::now();
  self->request(peer, caf::infinite, ping_message::value, data)
      .receive(
          [&](const Data& back) {
            if (back != data) give_up("a ping came back changed");
          },
          [](const caf::error&) { give_up("a ping failed"); });
  return seconds_since(start) * 1e6;
}

double percentile(std::vector<double>& times, double part) {
  std::sort(times.begin(), times.end());
  return times.at(std::min(static_cast<std::size_t>(static_cast<double>(times.size()) * part), times.size() - 1));
}

void round_trip(caf::scoped_actor& self, const caf::actor& peer, int rounds) {
  const Data data = pattern(64);
  std::vector<double> times;
  for (int round = -rounds / 10; round < rounds; ++round) {
    const double time = one_ping(self, peer, data);
    if (round >= 0) times.push_back(time);
  }
  figure("round_trip_64_p50", percentile(times, 0.5), "us");
  figure("round_trip_64_p99", percentile(times, 0.99), "us");
}

/// Sends `count` messages to a new sink; returns the seconds that the sink took.
double flow(caf::scoped_actor& self, const caf::actor& peer, const Data& data, std::uint64_t count) {
  self->send(peer, open_message::value, caf::actor_cast<caf::actor>(self), count);
  caf::actor to;
  self->receive([&](ready_message, const caf::actor& actor) { to = actor; });
  const auto message = caf::make_message(data_message::value, data);
  std::uint64_t taken = 0;
  double seconds = -1;
  const auto await = [&] {
    self->receive([&](taken_message, std::uint64_t bytes) { taken = bytes; },
                  [&](done_message, std::uint64_t bytes, std::uint64_t sum, std::uint64_t nanoseconds) {
                    if (bytes != count * data.size() || sum != count * ends_of(data)) give_up("something was lost");
                    seconds = static_cast<double>(nanoseconds) / 1e9;
                  });
  };
  for (std::uint64_t sent = 0; sent < count; ++sent) {
    while (sent * data.size() > taken + window_bytes) await();
    self->send(to, message);
  }
  while (seconds < 0) await();
  return seconds;
}

void one_way(caf::scoped_actor& self, const caf::actor& peer, std::size_t size, std::uint64_t count) {
  const Data data = pattern(size);
  self->request(peer, caf::infinite, check_message::value, data)
      .receive(
          [&](std::uint64_t sum) {
            if (sum != checksum(data)) give_up("a message arrived changed");
          },
          [](const caf::error&) { give_up("a check failed"); });
  const double seconds = flow(self, peer, data, count);
  const auto name = "one_way_" + std::to_string(size);
  figure(name + "_messages", static_cast<double>(count) / seconds, "1/s");
  figure(name + "_bytes", static_cast<double>(size * count) / seconds / 1e6, "MB/s");
}

void bulk_and_ping(caf::actor_system& system, caf::scoped_actor& self, const caf::actor& peer, std::uint64_t divisor) {
  const std::uint64_t count = bulk_bytes / bulk_message_bytes / divisor;
  std::atomic<bool> done{false};
  double seconds = 0;
  std::thread bulk([&] {
    caf::scoped_actor sender(system);
    seconds = flow(sender, peer, pattern(bulk_message_bytes), count);
    done = true;
  });
  const Data data = pattern(64);
  std::vector<double> times;
  while (!done) times.push_back(one_ping(self, peer, data));
  bulk.join();
  figure("ping_under_bulk_p50", percentile(times, 0.5), "us");
  figure("ping_under_bulk_p99", percentile(times, 0.99), "us");
  figure("bulk_under_ping_bytes", static_cast<double>(count * bulk_message_bytes) / seconds / 1e6, "MB/s");
}

struct TakeState {
  std::uint64_t left = 0;
  std::uint64_t sum = 0;
};

caf::behavior take(caf::stateful_actor<TakeState>* self, const caf::actor& to, std::uint64_t count) {
  self->state.left = count;
  return {[self, to](data_message, std::uint64_t number) {
    self->state.sum += number;
    if (--self->state.left > 0) return;
    self->send(to, done_message::value, self->state.sum);
    self->quit();
  }};
}

caf::behavior give(caf::event_based_actor* self, const caf::actor& to, std::uint64_t count) {
  for (std::uint64_t number = 1; number <= count; ++number) self->send(to, data_message::value, number);
  self->quit();
  return {};
}

void local_send(caf::actor_system& system, caf::scoped_actor& self, std::uint64_t count) {
  const auto to = system.spawn(take, caf::actor_cast<caf::actor>(self), count);
  const auto start = Clock::now();
  system.spawn(give, to, count);
  self->receive([&](done_message, std::uint64_t sum) {
    if (sum != count * (count + 1) / 2) give_up("a local message was lost");
  });
  figure("local_send", static_cast<double>(count) / seconds_since(start), "1/s");
}

void spawns(caf::scoped_actor& self, std::uint64_t count) {
  const auto start = Clock::now();
  for (std::uint64_t number = 0; number < count; ++number) {
    self->spawn<caf::monitored>([](caf::event_based_actor*) {});
    self->receive([](const caf::down_msg&) {});
  }
  figure("spawn_and_exit", static_cast<double>(count) / seconds_since(start), "1/s");
}

int serve(caf::actor_system& system) {
  caf::scoped_actor self(system);
  const auto actor = system.spawn(server);
  const auto port = system.middleman().publish(actor, 0, "127.0.0.1", true);
  if (!port) return 1;
  std::printf("ready %d\n", static_cast<int>(*port));
  std::fflush(stdout);
  self->wait_for(actor);
  return 0;
}

int work(caf::actor_system& system, std::uint16_t port, std::uint64_t divisor) {
  caf::scoped_actor self(system);
  const auto peer = system.middleman().remote_actor("127.0.0.1", port);
  if (!peer) return 1;
  round_trip(self, *peer, static_cast<int>(20'000 / divisor));
  one_way(self, *peer, 64, 400'000 / divisor);
  one_way(self, *peer, 1024, 200'000 / divisor);
  one_way(self, *peer, 65'536, 4'000 / divisor);
  one_way(self, *peer, 1'048'576, 250 / divisor);
  bulk_and_ping(system, self, *peer, divisor);
  local_send(system, self, 1'000'000 / divisor);
  spawns(self, 100'000 / divisor);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  caf::actor_system_config config;
  config.load<caf::io::middleman>();
  config.add_message_type<Data>("data");
  caf::actor_system system(config);
  if (arguments.size() == 1 && arguments[0] == "server") return serve(system);
  if (arguments.size() == 3 && arguments[0] == "client") {
    // Without the orderly end, which would wait for what the server keeps open.
    const int status = work(system, static_cast<std::uint16_t>(std::stoi(arguments[1])), std::stoull(arguments[2]));
    std::fflush(stdout);
    std::_Exit(status);
  }
  std::fputs("usage: caf_peer server | client PORT DIVISOR\n", stderr);
  return 2;
}
