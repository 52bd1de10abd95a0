// What streams give: bytes per second of one stream each way and of both at once, checked at the other end; what a bulk
// stream does to the round trips of small messages; what it takes to open one.
//
//   stream_figures [--quick]
//
// Both nodes are in one process and talk over loopback.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace barrel_p2p;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto patience = 120s;
constexpr std::size_t mebibyte = 1024UL * 1024;

double seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }
/// Of this process: what it would take on a machine that has nothing else to do.
double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

class Pair {
 public:
  Pair() : root_(std::filesystem::temp_directory_path() / ("stream-figures-" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(root_);
    for (const char* name : {"a", "b"}) {
      NodeConfig config;
      config.name = std::string(name) + "@127.0.0.1";
      config.cookie = "figures";
      config.data_dir = root_ / name;
      config.discovery_dir = root_ / "discovery";
      config.log_level = LogLevel::error;
      auto node = Node::start(config);
      if (!node) throw std::runtime_error(node.error().message());
      nodes_.push_back(std::move(*node));
    }
    if (auto connected = a().connect(b().name(), patience); !connected) throw std::runtime_error("no connection");
  }
  ~Pair() {
    nodes_.clear();
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;
  Node& a() { return nodes_[0]; }
  Node& b() { return nodes_[1]; }

 private:
  std::filesystem::path root_;
  std::vector<Node> nodes_;
};

void write_all(Stream& stream, std::size_t total) {
  for (std::size_t at = 0; at < total; at += mebibyte) {
    if (!stream.write(Bytes(mebibyte, static_cast<std::uint8_t>(at / mebibyte)), patience)) {
      throw std::runtime_error("a write failed");
    }
  }
  if (!stream.finish()) throw std::runtime_error("it cannot finish");
}

/// Every byte is looked at. Returns how many came.
std::size_t read_all(Stream& stream) {
  std::size_t total = 0;
  for (;;) {
    const auto bytes = stream.read(patience);
    if (!bytes) throw std::runtime_error(bytes.error().message());
    if (bytes->empty()) return total;
    for (const auto byte : *bytes) {
      if (byte != static_cast<std::uint8_t>(total++ / mebibyte)) throw std::runtime_error("a byte is wrong");
    }
  }
}

void throughput(Node& from, Node& to, StreamAcceptor& acceptor, bool both, const char* what, std::size_t total) {
  auto here = from.open_stream(to.name(), "figures", patience).value();
  auto there = acceptor.next(patience).value();
  const auto start = Clock::now();
  const double cpu = cpu_seconds();
  std::thread writer([&] { write_all(here, total); });
  std::thread back_writer([&] {
    if (both) write_all(there, total);
  });
  std::thread back_reader([&] {
    if (both && read_all(here) != total) throw std::runtime_error("bytes are missing");
  });
  if (read_all(there) != total) throw std::runtime_error("bytes are missing");
  writer.join(), back_writer.join(), back_reader.join();
  const double moved = static_cast<double>(total * (both ? 2 : 1)) / static_cast<double>(mebibyte);
  const double time = seconds(Clock::now() - start);
  std::printf("%-34s %9.0f MiB/s %9.2f s CPU per GiB\n", what, moved / time, (cpu_seconds() - cpu) * 1024 / moved);
}

struct RoundTrips {
  double median_us = 0;
  double p99_us = 0;
  std::size_t count = 0;
};

/// Messages of 64 bytes there and back, one after the other.
RoundTrips round_trips(Node& from, const Pid& echo, std::chrono::milliseconds time) {
  auto promise = std::make_shared<std::promise<std::vector<double>>>();
  auto future = promise->get_future();
  from.spawn([promise, echo, time](Process& self) -> Task<> {
    std::vector<double> times;
    const Term payload(Bytes(64));
    const auto end = Clock::now() + time;
    while (Clock::now() < end) {
      const auto start = Clock::now();
      const Term message = Term::tuple_of(Atom("echo"), self.pid(), payload);
      co_await self.send(echo, message);
      const Term back = co_await self.receive();
      times.push_back(seconds(Clock::now() - start) * 1e6);
    }
    promise->set_value(std::move(times));
  });
  auto times = future.get();
  std::ranges::sort(times);
  return {times[times.size() / 2], times[times.size() * 99 / 100], times.size()};
}

void latency(Pair& pair, StreamAcceptor& acceptor, std::chrono::milliseconds time) {
  const Pid echo = pair.b().spawn([](Process& self) -> Task<> {
    for (;;) {
      const Term message = co_await self.receive();
      co_await self.send(*message[1].as_pid(), message);
    }
  });
  const auto print = [](const char* what, const RoundTrips& trips) {
    std::printf("%-34s %9.0f us median %9.0f us p99 %9zu round trips\n", what, trips.median_us, trips.p99_us,
                trips.count);
  };
  round_trips(pair.a(), echo, time / 5);
  const auto idle = round_trips(pair.a(), echo, time);
  print("64-byte messages, idle", idle);
  auto here = pair.a().open_stream(pair.b().name(), "figures", patience).value();
  auto there = acceptor.next(patience).value();
  std::atomic<bool> over = false;
  std::atomic<std::uint64_t> moved = 0;
  std::thread writer([&] {
    while (!over && here.write(Bytes(mebibyte), patience)) {
    }
    here.reset();
  });
  std::thread reader([&] {
    for (;;) {
      const auto bytes = there.read(patience);
      if (!bytes || bytes->empty()) return;
      moved += bytes->size();
    }
  });
  round_trips(pair.a(), echo, time / 5);
  const auto start = Clock::now();
  const std::uint64_t before = moved;
  const auto busy = round_trips(pair.a(), echo, time);
  const double rate =
      static_cast<double>(moved - before) / seconds(Clock::now() - start) / static_cast<double>(mebibyte);
  over = true;
  writer.join(), reader.join();
  print("64-byte messages beside a stream", busy);
  std::printf("%-34s %9.0f MiB/s\n%-34s %9.1f x idle\n", "the stream meanwhile", rate, "p99 beside a stream",
              busy.p99_us / idle.p99_us);
}

void open_and_close(Pair& pair, StreamAcceptor& acceptor, int count) {
  const auto start = Clock::now();
  for (int number = 0; number < count; ++number) {
    auto here = pair.a().open_stream(pair.b().name(), "figures", patience);
    auto there = acceptor.next(patience);
    if (!here || !there) throw std::runtime_error("no stream");
  }
  std::printf("%-34s %9.0f us\n", "a stream opened, taken, dropped", seconds(Clock::now() - start) * 1e6 / count);
}

}  // namespace

int main(int argc, char** argv) {
  const bool quick = argc > 1 && std::strcmp(argv[1], "--quick") == 0;
  const std::size_t total = (quick ? 64 : 1024) * mebibyte;
  try {
    Pair pair;
    auto at_b = pair.b().accept_streams("figures").value();
    auto at_a = pair.a().accept_streams("figures").value();
    throughput(pair.a(), pair.b(), at_b, false, "one stream, to who was dialled", total);
    throughput(pair.b(), pair.a(), at_a, false, "one stream, to who dialled", total);
    throughput(pair.a(), pair.b(), at_b, true, "one stream, both ways at once", total);
    latency(pair, at_b, quick ? 1s : 10s);
    open_and_close(pair, at_b, quick ? 200 : 2000);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
