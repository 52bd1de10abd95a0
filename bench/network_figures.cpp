// What a stream between two nodes carries over a network that is slow, that loses and that reorders, and how long a
// message takes to the other node and back; beside TCP of the same kernel over the same path.
//
//   network_figures [--quick]
//
// Two network namespaces on one machine (tests/support/lan.hpp): needs root. The path itself is a program that handles
// each packet, so that "nothing" is no measure of a fast network.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <future>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "scratch.hpp"
#include "support/lan.hpp"

namespace {

using namespace barrel_p2p;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using test::Host;
using test::Lan;
using test::LinkWeather;

constexpr auto patience = 60s;

struct Path {
  const char* name;
  LinkWeather weather;
};

LinkWeather weather(double loss, std::chrono::microseconds delay, std::chrono::microseconds jitter = {},
                    double reorder = 0) {
  LinkWeather one;
  one.loss = loss;
  one.delay = delay;
  one.jitter = jitter;
  one.reorder = reorder;
  return one;
}

double mebibytes_per_second(std::uint64_t bytes, Clock::duration time) {
  return static_cast<double>(bytes) / (1024 * 1024) / std::chrono::duration<double>(time).count();
}

struct Trips {
  double p50 = 0;
  double p99 = 0;
};

Trips trips_of(std::vector<double> all) {
  std::ranges::sort(all);
  return {all[all.size() / 2], all[all.size() * 99 / 100]};
}

double trip(Node& from, Node& to) {
  const auto took = from.ping(to.name(), patience);
  if (!took) throw std::runtime_error(took.error().message());
  return static_cast<double>(took->count()) / 1000;
}

/// Milliseconds.
Trips trips(Node& from, Node& to, int count) {
  std::vector<double> all;
  for (int number = 0; number < count; ++number) all.push_back(trip(from, to));
  return trips_of(std::move(all));
}

struct Bulk {
  double rate = 0;  ///< MiB that arrived in a second.
  Trips beside;     ///< Of messages meanwhile.
};

Bulk over_stream(Node& from, Node& to, Clock::duration time) {
  auto acceptor = to.accept_streams("bulk");
  if (!acceptor) throw std::runtime_error(acceptor.error().message());
  std::atomic<std::uint64_t> received{0};
  std::thread reader([&] {
    auto stream = acceptor->next(patience);
    while (stream) {
      const auto bytes = stream->read(patience);
      if (!bytes || bytes->empty()) return;
      received += bytes->size();
    }
  });
  auto stream = from.open_stream(to.name(), "bulk");
  if (!stream) throw std::runtime_error(stream.error().message());
  const auto start = Clock::now();
  std::thread writer([&] {
    while (Clock::now() - start < time) {
      if (!stream->write(Bytes(256UL * 1024), patience)) break;
    }
  });
  std::vector<double> beside;
  while (Clock::now() - start < time) beside.push_back(trip(from, to));
  const auto got = received.load();
  const auto took = Clock::now() - start;
  writer.join();
  stream->reset();
  reader.join();
  return {mebibytes_per_second(got, took), trips_of(std::move(beside))};
}

sockaddr_in address_of(const Host& host) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(7001);
  ::inet_pton(AF_INET, host.address().c_str(), &address.sin_addr);
  return address;
}

double over_tcp(const Host& from, const Host& to, Clock::duration time) {
  const sockaddr_in address = address_of(to);
  const auto* target = reinterpret_cast<const sockaddr*>(&address);
  int listener = -1;
  int sender = -1;
  to.run([&] {
    listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int yes = 1;
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (::bind(listener, target, sizeof address) != 0 || ::listen(listener, 1) != 0) {
      throw std::runtime_error("TCP cannot listen");
    }
  });
  from.run([&] {
    sender = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(sender, target, sizeof address) != 0) throw std::runtime_error("TCP cannot connect");
  });
  const int receiver = ::accept(listener, nullptr, nullptr);
  std::atomic<std::uint64_t> received{0};
  std::thread reader([&] {
    std::vector<char> buffer(256UL * 1024);
    for (;;) {
      const auto size = ::read(receiver, buffer.data(), buffer.size());
      if (size <= 0) return;
      received += static_cast<std::uint64_t>(size);
    }
  });
  const timeval limit{1, 0};
  ::setsockopt(sender, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  const std::vector<char> piece(256UL * 1024);
  const auto start = Clock::now();
  while (Clock::now() - start < time) {
    [[maybe_unused]] const auto written = ::write(sender, piece.data(), piece.size());
  }
  const auto got = received.load();
  const auto took = Clock::now() - start;
  const linger at_once{1, 0};
  ::setsockopt(sender, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  ::close(sender);
  ::shutdown(receiver, SHUT_RDWR);
  reader.join();
  ::close(receiver);
  ::close(listener);
  return mebibytes_per_second(got, took);
}

class Pair {
 public:
  Pair() : left(lan.add_host(1)), right(lan.add_host(2)) {
    a.emplace(start(left, "a"));
    b.emplace(start(right, "b"));
  }
  void set_weather(const LinkWeather& each_way) const {
    left.set_weather(each_way);
    right.set_weather(each_way);
  }

  Lan lan;
  bench::Scratch scratch;
  Host& left;
  Host& right;
  std::optional<Node> a;
  std::optional<Node> b;

 private:
  Node start(const Host& host, const std::string& name) const {
    std::optional<Node> node;
    host.run([&] {
      NodeConfig config = scratch.config(name);
      config.name = name + "@" + host.address();
      config.listen = "0.0.0.0";
      auto started = Node::start(config);
      if (!started) throw std::runtime_error(started.error().message());
      node.emplace(std::move(*started));
    });
    return std::move(*node);
  }
};

/// So that what a path was like before does not count.
void reconnect(Pair& pair) {
  pair.a->disconnect(pair.b->name());
  const auto end = Clock::now() + patience;
  while (!pair.a->connect(pair.b->name(), patience)) {
    if (Clock::now() > end) throw std::runtime_error("they do not connect");
    std::this_thread::sleep_for(100ms);
  }
}

void table(Pair& pair, Clock::duration time, int trip_count) {
  const std::array<Path, 8> paths{{{"nothing", {}},
                                   {"1 % lost", weather(0.01, 0us)},
                                   {"5 % lost", weather(0.05, 0us)},
                                   {"10 ms each way", weather(0, 10ms)},
                                   {"50 ms each way", weather(0, 50ms)},
                                   {"50 ms, 1 % lost", weather(0.01, 50ms)},
                                   {"50 ms, 5 % lost", weather(0.05, 50ms)},
                                   {"10 ms +- 5 ms, 10 % overtake", weather(0, 10ms, 5ms, 0.1)}}};
  std::printf(
      "| path, each way | stream | TCP | ratio | there and back p50 | p99 | beside the stream p50 | p99 |\n"
      "|---|---|---|---|---|---|---|---|\n");
  for (const auto& path : paths) {
    pair.set_weather(path.weather);
    reconnect(pair);
    const auto [p50, p99] = trips(*pair.a, *pair.b, trip_count);
    const auto [stream, beside] = over_stream(*pair.a, *pair.b, time);
    const double tcp = over_tcp(pair.left, pair.right, time);
    std::printf("| %s | %.1f MiB/s | %.1f MiB/s | %.2f | %.1f ms | %.1f ms | %.1f ms | %.1f ms |\n", path.name, stream,
                tcp, stream / tcp, p50, p99, beside.p50, beside.p99);
    std::fflush(stdout);
  }
}

/// The link is gone for so long: when both are down, and when a ping passes again.
void cut(Pair& pair, Clock::duration length) {
  pair.set_weather({});
  if (!pair.a->join(pair.b->name()) || !pair.a->joined(2, patience)) throw std::runtime_error("they do not join");
  std::promise<Clock::time_point> down;
  std::promise<Clock::time_point> up;
  std::atomic<int> events{0};
  const auto watch = pair.a->monitor_nodes([&](const NodeEvent& event) {
    const int number = events++;
    if (number == 0 && event.kind == NodeEvent::Kind::down) down.set_value(Clock::now());
    if (number == 1 && event.kind == NodeEvent::Kind::up) up.set_value(Clock::now());
  });
  LinkWeather gone;
  gone.cut = true;
  const auto start = Clock::now();
  pair.set_weather(gone);
  std::this_thread::sleep_until(start + length);
  pair.set_weather({});
  const auto healed = Clock::now();
  const std::chrono::duration<double> noticed = down.get_future().get() - start;
  const std::chrono::duration<double> back = up.get_future().get() - healed;
  std::printf("\nlink cut for %.0f s: noticed after %.2f s; connected again %.2f s after it was back\n",
              std::chrono::duration<double>(length).count(), noticed.count(), back.count());
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const bool quick = argc > 1 && std::string_view(argv[1]) == "--quick";
    if (const auto refusal = Lan::refusal(); !refusal.empty()) {
      std::fprintf(stderr, "network_figures: it needs network namespaces and /dev/net/tun (root): %s\n",
                   refusal.c_str());
      return 2;
    }
    Pair pair;
    table(pair, quick ? Clock::duration(3s) : Clock::duration(10s), quick ? 20 : 200);
    cut(pair, 10s);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "network_figures: %s\n", error.what());
    return 1;
  }
}
