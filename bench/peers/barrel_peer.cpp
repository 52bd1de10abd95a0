// Our side of the whole-process comparison: two nodes with authentication and encryption, as they are by default.
//
//   barrel_peer server DIRECTORY [NAME]                 prints `ready PORT`, serves until it is killed
//   barrel_peer client DIRECTORY PORT DIVISOR [ONLY]    runs the work against the server, prints one JSON line a figure
//   barrel_peer maps DIRECTORY DIVISOR                  the same of a map of three nodes: this, the server, and the
//                                                       server called third@127.0.0.1
//   barrel_peer memory DIRECTORY                        the same of what a node, a process and a connection take:
//                                                       looks at each line on its standard input
//   barrel_peer peers DIRECTORY PORT                    connects so many nodes to that one as each line says
//
// DIRECTORY is empty at first: keys and certificates are made in it, and nodes are found beside it. DIVISOR makes the
// work smaller. ONLY, for profiles: round_trip, one_way_64, one_way_1024, one_way_65536, one_way_1048576, bulk,
// stream, local_send, spawns or connects.
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <atomic>
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace barrel_p2p;
using Clock = std::chrono::steady_clock;

constexpr const char* server_name = "server@127.0.0.1";
constexpr const char* third_name = "third@127.0.0.1";
constexpr std::uint64_t bulk_bytes = 1024UL * 1024 * 1024;
constexpr std::size_t bulk_message_bytes = 65'536;
constexpr std::size_t stream_block_bytes = 262'144;
constexpr std::chrono::seconds patience(60);

/// Atoms are looked up once, as a program would.
struct Words {
  Atom bench{"bench"}, ping{"ping"}, pong{"pong"}, check{"check"}, sum{"sum"}, sink{"sink"}, ready{"ready"};
  Atom data{"data"}, done{"done"};
};
const Words& words() {
  static const Words all;
  return all;
}

void figure(const std::string& name, double value, const char* unit) {
  std::printf("{\"figure\":\"%s\",\"value\":%.6g,\"unit\":\"%s\"}\n", name.c_str(), value, unit);
  std::fflush(stdout);
}

double nanoseconds_since(Clock::time_point start) {
  return static_cast<double>(std::chrono::nanoseconds(Clock::now() - start).count());
}

Bytes pattern(std::size_t size) {
  constexpr std::size_t step = 167;
  constexpr std::size_t first = 13;
  Bytes bytes(size);
  for (std::size_t at = 0; at < size; ++at) bytes[at] = static_cast<std::uint8_t>(at * step + first);
  return bytes;
}

std::uint64_t checksum(ByteView bytes) { return crc32(0, bytes.data(), static_cast<unsigned>(bytes.size())); }

std::uint64_t ends_of(ByteView bytes) { return std::uint64_t{bytes.front()} + bytes.back(); }

// The server.

/// Takes `count` messages `{data, Binary}` and tells what came, and in how many nanoseconds.
Task<> sink(Process& self, Pid to, std::uint64_t count) {
  Term ready = Term::tuple_of(words().ready, self.pid());
  co_await self.send(to, std::move(ready));
  const auto start = Clock::now();
  std::uint64_t bytes = 0;
  std::uint64_t sum = 0;
  for (std::uint64_t left = count; left > 0; --left) {
    const Term message = co_await self.receive();
    if (!message.is_tagged("data", 2)) throw std::runtime_error("not a message for a sink");
    const auto binary = message[1].as_binary().value();
    bytes += binary.size();
    sum += ends_of(binary);
  }
  const auto nanoseconds = static_cast<std::uint64_t>(nanoseconds_since(start));
  Term done = Term::tuple_of(words().done, bytes, sum, nanoseconds);
  co_await self.send(to, std::move(done));
}

Task<> serve(Process& self) {
  for (;;) {
    const Term message = co_await self.receive();
    const Pid from = *message[1].as_pid();
    if (message.is_tagged("ping", 3)) {
      Term pong = Term::tuple_of(words().pong, message[2]);
      co_await self.send(from, std::move(pong));
    } else if (message.is_tagged("check", 3)) {
      Term sum = Term::tuple_of(words().sum, checksum(message[2].as_binary().value()));
      co_await self.send(from, std::move(sum));
    } else if (message.is_tagged("sink", 3)) {
      const std::uint64_t count = message[2].as_uint64().value();
      self.spawn([from, count](Process& other) { return sink(other, from, count); });
    }
  }
}

// The client.

struct Work {
  RemoteName server{words().bench, NodeName(server_name)};
  std::uint64_t divisor;
  std::string only;
  Work(std::uint64_t smaller, std::string part) : divisor(smaller), only(std::move(part)) {}
  [[nodiscard]] bool has(const std::string& part) const { return only.empty() || only == part; }
};

Task<double> one_ping(Process& self, const Work& work, const Term& data) {
  Term ping = Term::tuple_of(words().ping, self.pid(), data);
  const auto start = Clock::now();
  co_await self.send(work.server, std::move(ping));
  const MaybeTerm pong = co_await self.receive(tagged("pong", 2));
  const double time = nanoseconds_since(start);
  if ((*pong)[1] != data) throw std::runtime_error("a ping came back changed");
  co_return time;
}

double percentile(std::vector<double>& times, double part) {
  std::sort(times.begin(), times.end());
  const auto at = static_cast<std::size_t>(static_cast<double>(times.size()) * part);
  return times.at(std::min(at, times.size() - 1)) / 1e3;
}

Task<> round_trip(Process& self, const Work& work) {
  const Term data = Term::binary(pattern(64));
  const int rounds = static_cast<int>(20'000 / work.divisor);
  std::vector<double> times;
  for (int round = -rounds / 10; round < rounds; ++round) {
    const double time = co_await one_ping(self, work, data);
    if (round >= 0) times.push_back(time);
  }
  figure("round_trip_64_p50", percentile(times, 0.5), "us");
  figure("round_trip_64_p99", percentile(times, 0.99), "us");
}

/// Asks for a sink; the sink answers `{ready, Pid}`.
Task<Pid> open_sink(Process& self, const Work& work, std::uint64_t count) {
  Term request = Term::tuple_of(words().sink, self.pid(), count);
  co_await self.send(work.server, std::move(request));
  const MaybeTerm ready = co_await self.receive(tagged("ready", 2));
  co_return *(*ready)[1].as_pid();
}

/// The seconds that the sink took; throws when something else came than was sent.
double seconds_of(const Term& done, std::uint64_t count, ByteView data) {
  if (done[1].as_uint64() != count * data.size() || done[2].as_uint64() != count * ends_of(data)) {
    throw std::runtime_error("not everything arrived as it was sent");
  }
  return static_cast<double>(done[3].as_uint64().value()) / 1e9;
}

Task<> one_way(Process& self, const Work& work, std::size_t size, std::uint64_t full_count) {
  const Bytes bytes = pattern(size);
  const Term data = Term::binary(bytes);
  Term check = Term::tuple_of(words().check, self.pid(), data);
  co_await self.send(work.server, std::move(check));
  const MaybeTerm sum = co_await self.receive(tagged("sum", 2));
  if ((*sum)[1].as_uint64() != checksum(bytes)) throw std::runtime_error("a message arrived changed");

  const std::uint64_t count = full_count / work.divisor;
  const Pid to = co_await open_sink(self, work, count);
  const Term message = Term::tuple_of(words().data, data);
  for (std::uint64_t sent = 0; sent < count; ++sent) co_await self.send(to, message);
  const MaybeTerm done = co_await self.receive(tagged("done", 4));
  const double seconds = seconds_of(*done, count, bytes);
  figure("one_way_" + std::to_string(size) + "_messages", static_cast<double>(count) / seconds, "1/s");
  figure("one_way_" + std::to_string(size) + "_bytes", static_cast<double>(size * count) / seconds / 1e6, "MB/s");
}

Task<> send_bulk(Process& self, Pid to, std::uint64_t count) {
  const Term message = Term::tuple_of(words().data, Term::binary(pattern(bulk_message_bytes)));
  for (std::uint64_t sent = 0; sent < count; ++sent) co_await self.send(to, message);
}

Task<> bulk_and_ping(Process& self, const Work& work) {
  const std::uint64_t count = bulk_bytes / bulk_message_bytes / work.divisor;
  const Pid to = co_await open_sink(self, work, count);
  self.spawn_link([to, count](Process& other) { return send_bulk(other, to, count); });
  const Term data = Term::binary(pattern(64));
  std::vector<double> times;
  MaybeTerm done;
  while (!done) {
    const double time = co_await one_ping(self, work, data);
    times.push_back(time);
    done = co_await self.receive(tagged("done", 4), Process::Duration(0));
  }
  const double seconds = seconds_of(*done, count, pattern(bulk_message_bytes));
  figure("ping_under_bulk_p50", percentile(times, 0.5), "us");
  figure("ping_under_bulk_p99", percentile(times, 0.99), "us");
  figure("bulk_under_ping_bytes", static_cast<double>(count * bulk_message_bytes) / seconds / 1e6, "MB/s");
}

Task<> take(Process& self, Pid to, std::uint64_t count) {
  std::uint64_t sum = 0;
  for (std::uint64_t left = count; left > 0; --left) {
    const Term message = co_await self.receive();
    sum += message[1].as_uint64().value();
  }
  Term done = Term::tuple_of(words().done, sum);
  co_await self.send(to, std::move(done));
}

Task<> local_send(Process& self, const Work& work) {
  const std::uint64_t count = 1'000'000 / work.divisor;
  const Pid own = self.pid();
  const Pid to = self.spawn([own, count](Process& other) { return take(other, own, count); });
  const auto start = Clock::now();
  for (std::uint64_t number = 1; number <= count; ++number) {
    Term message = Term::tuple_of(words().data, number);
    co_await self.send(to, std::move(message));
  }
  const Term done = co_await self.receive();
  const double seconds = nanoseconds_since(start) / 1e9;
  if (done[1].as_uint64() != count * (count + 1) / 2) throw std::runtime_error("a local message was lost");
  figure("local_send", static_cast<double>(count) / seconds, "1/s");
}

Task<> nothing(Process& /*self*/) { co_return; }

Task<> spawns(Process& self, const Work& work) {
  const std::uint64_t count = 100'000 / work.divisor;
  const auto start = Clock::now();
  for (std::uint64_t number = 0; number < count; ++number) {
    const auto watched = self.spawn_monitor(nothing);
    const Term down = co_await self.receive();
    if (!down.is_tagged("DOWN", 5) || down[1] != Term(watched.second)) throw std::runtime_error("not this process");
  }
  figure("spawn_and_exit", static_cast<double>(count) / (nanoseconds_since(start) / 1e9), "1/s");
}

Task<> all_work(Process& self, const Work& work) {
  struct Flow {
    std::size_t size;
    std::uint64_t count;
  };
  static constexpr Flow flows[] = {{64, 400'000}, {1024, 200'000}, {65'536, 4'000}, {1'048'576, 250}};
  if (work.has("round_trip")) co_await round_trip(self, work);
  for (const Flow& flow : flows) {
    if (work.has("one_way_" + std::to_string(flow.size))) co_await one_way(self, work, flow.size, flow.count);
  }
  if (work.has("bulk")) co_await bulk_and_ping(self, work);
  if (work.has("local_send")) co_await local_send(self, work);
  if (work.has("spawns")) co_await spawns(self, work);
}

/// Connects, which includes authentication on both sides, and disconnects; only the connecting is timed.
bool connects(Node& node, std::uint64_t divisor) {
  const NodeName server(server_name);
  const std::uint64_t count = std::max<std::uint64_t>(200 / divisor, 20);
  double nanoseconds = 0;
  for (std::uint64_t number = 0; number < count; ++number) {
    node.disconnect(server);
    // The other side needs a moment to see that we are gone; Erlang's refuses us until then.
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    const auto start = Clock::now();
    if (const auto connected = node.connect(server); !connected) {
      std::fprintf(stderr, "connect: %s\n", connected.error().message().c_str());
      return false;
    }
    nanoseconds += nanoseconds_since(start);
  }
  figure("connects", static_cast<double>(count) / (nanoseconds / 1e9), "1/s");
  return true;
}

NodeConfig config_of(const std::string& name, const std::string& directory) {
  NodeConfig config;
  config.name = name;
  config.listen = "127.0.0.1";
  config.cookie = "bench";
  config.data_dir = directory;
  config.discovery_dir = std::filesystem::path(directory).parent_path() / "found";
  config.discovery_backends = {"static", "file"};
  config.log_level = LogLevel::error;
  return config;
}

/// Tells the client when so many puts of a round were seen; values are `{Round, Count, Client}`.
Result<Subscription> count_puts(Node& node) {
  const Atom map = words().bench;
  if (const auto opened = node.new_map(map); !opened) return std::unexpected(opened.error());
  auto seen = std::make_shared<std::map<std::string, std::uint64_t>>();
  return node.subscribe_map(map, [&node, seen](const MapEvent& event) {
    if (event.kind != MapEvent::Kind::put || !event.value.is_tuple(3)) return;
    if (++(*seen)[to_text(event.value[0])] != event.value[1].as_uint64()) return;
    (void)node.send(*event.value[2].as_pid(), Term::tuple_of(Atom("seen"), event.value[0]));
  });
}

/// Reads the stream to its end and answers with the number of bytes that were right.
void drain(Stream stream) {
  const Bytes block = pattern(stream_block_bytes);
  std::uint64_t right = 0;
  for (;;) {
    const auto bytes = stream.read(patience);
    if (!bytes) return;
    if (bytes->empty()) break;
    ByteView rest(*bytes);
    while (!rest.empty()) {
      const ByteView wanted = ByteView(block).subspan(right % block.size());
      const auto part = rest.first(std::min(rest.size(), wanted.size()));
      if (!std::ranges::equal(part, wanted.first(part.size()))) return;
      right += part.size();
      rest = rest.subspan(part.size());
    }
  }
  Bytes answer;
  for (const char digit : std::to_string(right)) answer.push_back(static_cast<std::uint8_t>(digit));
  if (stream.write(std::move(answer), patience)) (void)stream.finish();
}

/// One stream of the same amount as one transfer of ngtcp2's example.
bool stream(Node& node, std::uint64_t divisor) {
  const std::uint64_t blocks = bulk_bytes / stream_block_bytes / divisor;
  const Bytes block = pattern(stream_block_bytes);
  auto opened = node.open_stream(NodeName(server_name), "bench", patience);
  if (!opened) return false;
  const auto start = Clock::now();
  for (std::uint64_t number = 0; number < blocks; ++number) {
    if (!opened->write(block, patience)) return false;
  }
  if (!opened->finish()) return false;
  const auto answer = opened->read(patience);
  if (!answer || std::stoull(std::string(as_text(*answer))) != blocks * block.size()) return false;
  figure("stream_bytes", static_cast<double>(blocks * block.size()) / (nanoseconds_since(start) / 1e9) / 1e6, "MB/s");
  return true;
}

int serve_until_killed(const std::string& directory, const std::string& name) {
  auto node = Node::start(config_of(name, directory));
  if (!node) return std::fprintf(stderr, "%s\n", node.error().message().c_str()), 1;
  const Pid server = node->spawn(serve);
  if (!node->register_process(words().bench, server)) return 1;
  const auto counting = count_puts(*node);
  auto streams = node->accept_streams("bench");
  if (!counting || !streams) return 1;
  std::printf("ready %d\n", node->port());
  std::fflush(stdout);
  for (;;) {
    if (auto next = streams->next(patience)) drain(std::move(*next));
  }
}

/// Counts the words of the other nodes.
struct Heard {
  std::mutex mutex;
  std::condition_variable more;
  int words = 0;
  bool await(int wanted) {
    std::unique_lock lock(mutex);
    return more.wait_for(lock, std::chrono::seconds(60), [&] { return words >= wanted; });
  }
};

int maps(const std::string& directory, std::uint64_t divisor) {
  auto node = Node::start(config_of("client@127.0.0.1", directory));
  if (!node) return std::fprintf(stderr, "%s\n", node.error().message().c_str()), 1;
  for (const auto* other : {server_name, third_name}) {
    if (!node->connect(NodeName(other)) || !node->join(NodeName(other))) return 1;
  }
  if (!node->new_map(words().bench) || !node->joined(3)) return 1;
  Heard heard;
  const Pid listener = node->spawn([&heard](Process& self) -> Task<> {
    for (;;) {
      (void)co_await self.receive();
      const std::lock_guard lock(heard.mutex);
      ++heard.words;
      heard.more.notify_all();
    }
  });
  const auto put_all = [&](const Atom& round, std::uint64_t count) {
    const Term value = Term::tuple_of(round, count, listener);
    for (std::uint64_t key = 0; key < count; ++key) {
      if (!node->map_put(words().bench, Term::tuple_of(round, key), value)) return false;
    }
    return true;
  };
  if (!put_all(Atom("warm"), 10) || !heard.await(2)) return 1;
  const std::uint64_t count = 50'000 / divisor;
  auto start = Clock::now();
  if (!put_all(Atom("counted"), count) || !heard.await(4)) return 1;
  figure("map_puts", static_cast<double>(count) / (nanoseconds_since(start) / 1e9), "1/s");
  std::vector<double> times;
  for (int round = 1; round <= 500; ++round) {
    start = Clock::now();
    if (!put_all(Atom("single " + std::to_string(round)), 1) || !heard.await(4 + 2 * round)) return 1;
    times.push_back(nanoseconds_since(start));
  }
  figure("map_put_seen_p50", percentile(times, 0.5), "us");
  figure("map_put_seen_p99", percentile(times, 0.99), "us");
  node->stop();
  return 0;
}

/// What the process has in memory, with the pages of shared libraries.
double resident_bytes() {
  std::uint64_t pages = 0;
  std::ifstream statm("/proc/self/statm");
  statm >> pages >> pages;
  return static_cast<double>(pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)));
}

int memory(const std::string& directory) {
  auto node = Node::start(config_of("node@127.0.0.1", directory + "/node"));
  if (!node) return std::fprintf(stderr, "%s\n", node.error().message().c_str()), 1;
  std::this_thread::sleep_for(std::chrono::seconds(1));
  figure("idle_node", resident_bytes(), "B");

  constexpr int processes = 200'000;
  const double before = resident_bytes();
  std::atomic<int> waiting{0};
  for (int number = 0; number < processes; ++number) {
    node->spawn([&waiting](Process& self) -> Task<> {
      ++waiting;
      (void)co_await self.receive();
    });
  }
  while (waiting < processes) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  figure("idle_process", (resident_bytes() - before) / processes, "B");

  // Peers come when they are asked for: each line that is read is answered with what was there then.
  std::printf("ready %d\n", node->port());
  std::fflush(stdout);
  std::optional<std::pair<double, std::size_t>> first;
  for (std::string line; std::getline(std::cin, line);) {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    const double bytes = resident_bytes();
    const std::size_t connections = node->peers().size();
    if (first) {
      figure("idle_connection", (bytes - first->first) / static_cast<double>(connections - first->second), "B");
    } else {
      first.emplace(bytes, connections);
    }
    std::printf("ready\n");
    std::fflush(stdout);
  }
  return 0;
}

/// Nodes that connect to another one and do nothing, so many more for each line that is read.
int peers(const std::string& directory, const std::string& port) {
  std::vector<Node> nodes;
  std::size_t wanted = 0;
  for (std::string line; std::getline(std::cin, line);) {
    wanted += std::stoul(line);
    while (nodes.size() < wanted) {
      const std::string name = "peer" + std::to_string(nodes.size());
      NodeConfig config = config_of(name + "@127.0.0.1", directory + "/" + name);
      config.workers = 1;
      config.static_nodes = {{"node@127.0.0.1", "127.0.0.1:" + port}};
      auto node = Node::start(config);
      if (!node) return std::fprintf(stderr, "%s\n", node.error().message().c_str()), 1;
      if (const auto connected = node->connect(NodeName("node@127.0.0.1")); !connected) {
        return std::fprintf(stderr, "%s\n", connected.error().message().c_str()), 1;
      }
      nodes.push_back(std::move(*node));
    }
    std::printf("ready\n");
    std::fflush(stdout);
  }
  return 0;
}

int work(const std::string& directory, const std::string& port, const Work& all) {
  NodeConfig config = config_of("client@127.0.0.1", directory);
  config.static_nodes = {{server_name, "127.0.0.1:" + port}};
  auto node = Node::start(config);
  if (!node) return std::fprintf(stderr, "%s\n", node.error().message().c_str()), 1;
  if (!node->connect(NodeName(server_name))) return 1;
  std::promise<bool> ended;
  node->spawn([&](Process& self) -> Task<> {
    bool good = true;
    try {
      co_await all_work(self, all);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      good = false;
    }
    ended.set_value(good);
  });
  if (!ended.get_future().get()) return 1;
  if (all.has("stream") && !stream(*node, all.divisor)) return 1;
  return !all.has("connects") || connects(*node, all.divisor) ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if ((arguments.size() == 2 || arguments.size() == 3) && arguments[0] == "server") {
    return serve_until_killed(arguments[1], arguments.size() == 3 ? arguments[2] : server_name);
  }
  if (arguments.size() == 2 && arguments[0] == "memory") return memory(arguments[1]);
  if (arguments.size() == 3 && arguments[0] == "peers") return peers(arguments[1], arguments[2]);
  if (arguments.size() == 3 && arguments[0] == "maps") return maps(arguments[1], std::stoull(arguments[2]));
  if (arguments.size() >= 4 && arguments.size() <= 5 && arguments[0] == "client") {
    const Work all(std::stoull(arguments[3]), arguments.size() == 5 ? arguments[4] : "");
    return work(arguments[1], arguments[2], all);
  }
  std::fputs(
      "usage: barrel_peer server DIRECTORY [NAME] | client DIRECTORY PORT DIVISOR [ONLY] | maps DIRECTORY DIVISOR | "
      "memory DIRECTORY | peers DIRECTORY PORT\n",
      stderr);
  return 2;
}
