// What streams give: bytes per second of one stream each way and of both at once, checked at the other end; what a bulk
// stream does to the round trips of small messages; what it takes to open one; what a reader that stops for a minute
// costs; how evenly a thousand streams share a connection.
//
//   stream_figures [--quick]
//   stream_figures writer ROOT MEBIBYTES   the node that writes to a reader that stops; what the first form starts
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
#include <fstream>
#include <functional>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/prng.hpp"
#include "cluster/subprocess.hpp"
#include "scratch.hpp"

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
  /// At the end.
  void stop_reader() { b().stop(); }

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

/// Bytes of a stream that differ from place to place, and their hash (FNV-1a over words of eight).
class Sequence {
 public:
  Bytes next(std::size_t size) {
    Bytes bytes(size);
    for (std::size_t at = 0; at + 8 <= size; at += 8) {
      const auto word = prng_.next();
      std::memcpy(bytes.data() + at, &word, 8);
    }
    return bytes;
  }

 private:
  Prng prng_{1};
};

class Hash {
 public:
  void add(ByteView bytes) {
    for (const auto byte : bytes) value_ = (value_ ^ byte) * 0x100000001b3ULL;
  }
  [[nodiscard]] std::uint64_t value() const noexcept { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325ULL;
};

double resident_mebibytes() {
  std::size_t all = 0;
  std::size_t resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return static_cast<double>(resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE))) / mebibyte;
}

/// The other process: writes as fast as it may, and tells how much it has in memory and what it wrote.
int run_writer(const std::filesystem::path& root, std::size_t total) {
  auto node = Node::start(bench::config_of("w", root));
  if (!node) return 1;
  while (!node->connect(NodeName("r@127.0.0.1"), patience)) std::this_thread::sleep_for(100ms);
  auto stream = node->open_stream(NodeName("r@127.0.0.1"), "figures", patience).value();
  const double before = resident_mebibytes();
  double most = before;
  Sequence sequence;
  Hash hash;
  for (std::size_t at = 0; at < total; at += mebibyte) {
    auto bytes = sequence.next(mebibyte);
    hash.add(bytes);
    if (!stream.write(std::move(bytes), 2 * patience)) return 1;
    most = std::max(most, resident_mebibytes());
  }
  if (!stream.finish()) return 1;
  std::printf("wrote %016llx %.0f %.0f\n", static_cast<unsigned long long>(hash.value()), before, most);
  std::fflush(stdout);
  for (;;) ::pause();
}

void stopped_reader(const std::string& program, std::size_t total, std::chrono::seconds pause) {
  const bench::Scratch scratch;
  auto node = Node::start(scratch.config("r")).value();
  auto acceptor = node.accept_streams("figures").value();
  test::Subprocess writer({program, "writer", scratch.root.string(), std::to_string(total / mebibyte)});
  auto stream = acceptor.next(patience).value();
  Hash hash;
  std::size_t got = 0;
  const double before = resident_mebibytes();
  double most = before;
  const auto read = [&] {
    const auto bytes = stream.read(patience);
    if (!bytes) throw std::runtime_error(bytes.error().message());
    hash.add(*bytes);
    got += bytes->size();
    most = std::max(most, resident_mebibytes());
    return !bytes->empty();
  };
  while (got < 16 * mebibyte) read();
  const auto end = Clock::now() + pause;
  while (Clock::now() < end) {
    std::this_thread::sleep_for(100ms);
    most = std::max(most, resident_mebibytes());
  }
  const std::size_t waiting = stream.unread_bytes();
  const double while_stopped = most;
  const auto start = Clock::now();
  while (read()) {
  }
  const double rest = seconds(Clock::now() - start);
  if (!writer.says("wrote ", patience)) throw std::runtime_error("the writer does not end");
  unsigned long long written = 0;
  double writer_before = 0;
  double writer_most = 0;
  if (std::sscanf(writer.output().c_str(), "wrote %llx %lf %lf", &written, &writer_before, &writer_most) != 3 ||
      written != hash.value() || got != total) {
    throw std::runtime_error("other bytes were read than written");
  }
  std::printf("a reader that stops for %lld s, of %zu MiB that are offered:\n", static_cast<long long>(pause.count()),
              total / mebibyte);
  std::printf("  %-32s %9.1f MiB\n", "arrived and not read", static_cast<double>(waiting) / mebibyte);
  std::printf("  %-32s %9.0f MiB before, %.0f while stopped, %.0f at most\n", "memory of the reader", before,
              while_stopped, most);
  std::printf("  %-32s %9.0f MiB before, %.0f at most\n", "memory of the writer", writer_before, writer_most);
  std::printf("  %-32s %9.1f s, the hashes agree\n", "the rest after it reads again", rest);
}

/// What arrived by each of the streams. All of it belongs to the network thread of the reader.
struct Shares {
  std::vector<std::shared_ptr<Stream>> streams;
  std::vector<std::size_t> got, at_start, at_end;
  std::size_t begun = 0, total = 0, total_at_start = 0;
  std::promise<void> measured;

  void read_on(std::size_t number, std::size_t measure) {
    streams[number]->read([this, number, measure](const Result<Bytes>& result) {
      if (!result || result->empty()) return;
      if (got[number] == 0) ++begun;
      got[number] += result->size();
      total += result->size();
      if (begun == got.size() && at_start.empty()) at_start = got, total_at_start = total;
      if (!at_start.empty() && at_end.empty() && total - total_at_start > measure) {
        at_end = got;
        measured.set_value();
      }
      read_on(number, measure);
    });
  }
};

void shares(Pair& pair, std::size_t count, std::size_t each) {
  const auto all = std::make_shared<Shares>();
  const std::size_t measure = count * each / 2;
  const auto taker = pair.b().accept_streams("shares", StreamCallback([&, all](Stream stream) {
                                               all->streams.push_back(std::make_shared<Stream>(std::move(stream)));
                                               all->got.push_back(0);
                                               all->read_on(all->streams.size() - 1, measure);
                                             }));
  if (!taker) throw std::runtime_error(taker.error().message());
  std::vector<Stream> opened;
  for (std::size_t number = 0; number < count; ++number) {
    opened.push_back(pair.a().open_stream(pair.b().name(), "shares", patience).value());
  }
  // On the network thread, so that all are begun before much is sent.
  opened.front().flush([&opened, each](const Result<void>& /*flushed*/) {
    for (auto& stream : opened) stream.write(Bytes(each), [](const Result<void>& /*result*/) {});
  });
  if (all->measured.get_future().wait_for(patience) != std::future_status::ready) throw std::runtime_error("too slow");
  pair.stop_reader();
  std::vector<std::size_t> share(count);
  std::ranges::transform(all->at_end, all->at_start, share.begin(), std::minus<>());
  const auto [least, most] = std::ranges::minmax(share);
  std::printf("%zu streams on a connection, most to least %6.3f (%zu to %zu KiB)\n", count,
              static_cast<double>(most) / static_cast<double>(least), least / 1024, most / 1024);
}

}  // namespace

int main(int argc, char** argv) {
  const bool quick = argc > 1 && std::strcmp(argv[1], "--quick") == 0;
  const std::size_t total = (quick ? 64 : 1024) * mebibyte;
  try {
    if (argc == 4 && std::strcmp(argv[1], "writer") == 0) return run_writer(argv[2], std::stoul(argv[3]) * mebibyte);
    Pair pair;
    auto at_b = pair.b().accept_streams("figures").value();
    auto at_a = pair.a().accept_streams("figures").value();
    throughput(pair.a(), pair.b(), at_b, false, "one stream, to who was dialled", total);
    throughput(pair.b(), pair.a(), at_a, false, "one stream, to who dialled", total);
    throughput(pair.a(), pair.b(), at_b, true, "one stream, both ways at once", total);
    latency(pair, at_b, quick ? 1s : 10s);
    open_and_close(pair, at_b, quick ? 200 : 2000);
    stopped_reader(std::filesystem::canonical("/proc/self/exe").string(), total, quick ? 2s : 60s);
    shares(pair, 1000, quick ? 128UL * 1024 : 512UL * 1024);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
