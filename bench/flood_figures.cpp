// What a flood of strangers leaves of the messages between two nodes that are connected, and what it costs in memory.
//
//   flood_figures [--quick]
//   flood_figures sender ROOT       the node that sends; what the first form starts
//   flood_figures flood KIND PORT   as many datagrams as one core makes; the same
//
// The node that receives is this process, the one that sends is another, and so is the flooder. A machine with few
// cores gives the flooder one that the nodes would use: each flood is therefore played against another socket too,
// which nobody reads, and that is what the figures are compared with.
#include <arpa/inet.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "cluster/subprocess.hpp"
#include "quic/flood.hpp"
#include "scratch.hpp"

namespace {

using namespace barrel_p2p;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using test::Subprocess;

constexpr auto patience = 60s;

void say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

int run_sender(const std::filesystem::path& root) {
  auto node = Node::start(bench::config_of("a", root));
  if (!node) return 1;
  const NodeName receiver("b@127.0.0.1");
  const RemoteName sink(Atom("sink"), receiver);
  while (!node->connect(receiver, patience)) std::this_thread::sleep_for(100ms);
  node->spawn([sink](Process& self) -> Task<> {
    const Term message(Bytes(64));
    for (;;) co_await self.send(sink, message);
  });
  say("ready");
  for (;;) ::pause();
}

int run_flood(const std::string& kind, std::uint16_t port) {
  std::uint64_t count = 0;
  auto second = Clock::now() + 1s;
  say("ready");
  const auto tell = [&] {
    if (Clock::now() < second) return;
    second += 1s;
    say("rate " + std::to_string(std::exchange(count, 0)));
  };
  if (kind == "answered") {
    boost::asio::io_context context;
    test::HalfOpener opener(context, port);
    for (std::uint64_t before = 0;;) {
      opener.dial();
      context.poll();
      count += opener.answered() - std::exchange(before, opener.answered());
      tell();
    }
  }
  const auto what = kind == "garbage"  ? test::FloodKind::garbage
                    : kind == "hellos" ? test::FloodKind::hellos
                                       : test::FloodKind::followers;
  for (test::Flooder flooder(what, port);;) {
    count += flooder.send();
    tell();
  }
}

/// Takes datagrams as a node does, and nobody reads them.
class Elsewhere {
 public:
  Elsewhere() : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    ::bind(socket_, reinterpret_cast<const sockaddr*>(&address), size);
    ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  }
  ~Elsewhere() { ::close(socket_); }
  Elsewhere(const Elsewhere&) = delete;
  Elsewhere& operator=(const Elsewhere&) = delete;
  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }

 private:
  int socket_;
  std::uint16_t port_ = 0;
};

double processor_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

std::size_t resident_bytes() {
  std::size_t all = 0;
  std::size_t resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

long descriptors() {
  const std::filesystem::directory_iterator files("/proc/self/fd");
  return std::distance(begin(files), end(files));
}

struct Figures {
  double messages = 0;   ///< A second.
  double processor = 0;  ///< Seconds for each second.
  double flood = 0;      ///< Datagrams, or handshakes, a second.
  double read = 0;       ///< Datagrams that the node took from its socket, a second.
  std::size_t resident = 0;
  std::size_t half_open = 0;
  long descriptors = 0;
  bool stayed = true;  ///< The pair was connected all the time.
};

class Victim {
 public:
  explicit Victim(std::string program) : program_(std::move(program)), node_(start()) {
    const Pid sink = node_->spawn([this](Process& self) -> Task<> {
      for (;;) {
        const Term message = co_await self.receive();
        if (message.is_binary()) ++received_;
      }
    });
    if (!node_->register_process(Atom("sink"), sink)) throw std::runtime_error("no name");
    sender_ = std::make_unique<Subprocess>(std::vector<std::string>{program_, "sender", scratch_.root.string()});
    if (!sender_->says("ready", patience)) throw std::runtime_error("the sender does not start");
  }
  ~Victim() {
    sender_.reset();
    node_.reset();
  }
  Victim(const Victim&) = delete;
  Victim& operator=(const Victim&) = delete;

  /// `kind` empty: nobody floods. `elsewhere`: the flood goes by.
  Figures measure(const std::string& kind, bool elsewhere, std::chrono::milliseconds time) {
    std::optional<Subprocess> flooder;
    if (!kind.empty()) {
      const auto port = elsewhere ? elsewhere_.port() : node_->port();
      flooder.emplace(std::vector<std::string>{program_, "flood", kind, std::to_string(port)});
      if (!flooder->says("rate ", patience)) throw std::runtime_error("no flood");
    }
    std::this_thread::sleep_for(1s);
    Figures figures;
    const auto begin = Clock::now();
    const auto before = node_->statistics();
    const std::uint64_t received = received_;
    const double processor = processor_seconds();
    while (Clock::now() - begin < time) {
      std::this_thread::sleep_for(50ms);
      figures.resident = std::max(figures.resident, resident_bytes());
      figures.descriptors = std::max(figures.descriptors, descriptors());
      figures.half_open = std::max(figures.half_open, node_->statistics().half_open);
      figures.stayed = figures.stayed && !node_->nodes().empty();
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    figures.messages = static_cast<double>(received_ - received) / seconds;
    figures.processor = (processor_seconds() - processor) / seconds;
    figures.read = static_cast<double>(node_->statistics().datagrams_received - before.datagrams_received) / seconds;
    if (flooder) {
      flooder->listen(10ms);
      const auto& said = flooder->output();
      figures.flood = std::stod(said.substr(said.rfind("rate ", said.rfind('\n')) + 5));
    }
    flooder.reset();
    const auto end = Clock::now() + patience;
    while (node_->statistics().half_open > 0 && Clock::now() < end) std::this_thread::sleep_for(50ms);
    return figures;
  }

 private:
  std::optional<Node> start() const {
    auto made = Node::start(scratch_.config("b"));
    if (!made) throw std::runtime_error(made.error().message());
    return std::move(*made);
  }

  std::string program_;
  bench::Scratch scratch_;
  Elsewhere elsewhere_;
  std::atomic<std::uint64_t> received_{0};
  std::optional<Node> node_;
  std::unique_ptr<Subprocess> sender_;
};

struct Row {
  const char* name;
  const char* kind;
  bool elsewhere;
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

int measure(const std::string& program, bool quick) {
  const std::vector<Row> rows{{"nothing", "", false},
                              {"spoofed Initials, elsewhere", "garbage", true},
                              {"spoofed Initials", "garbage", false},
                              {"ClientHellos that are not gone on with, elsewhere", "hellos", true},
                              {"ClientHellos that are not gone on with", "hellos", false},
                              {"the same from addresses that answer a Retry", "answered", false},
                              {"packets of connections that do not exist, elsewhere", "followers", true},
                              {"packets of connections that do not exist", "followers", false}};
  Victim victim(program);
  std::map<std::string, std::vector<Figures>> all;
  for (int round = 0; round < (quick ? 1 : 3); ++round) {
    for (const auto& row : rows) all[row.name].push_back(victim.measure(row.kind, row.elsewhere, quick ? 2s : 5s));
  }
  std::printf(
      "| flood | made | messages | for 1 s of its processor time | datagrams read | half-open | memory | descriptors "
      "|\n");
  std::printf("|---|---|---|---|---|---|---|---|\n");
  for (const auto& row : rows) {
    const auto& rounds = all[row.name];
    const auto of = [&](auto value) {
      std::vector<double> values;
      for (const auto& one : rounds) values.push_back(static_cast<double>(value(one)));
      return median(values);
    };
    const bool stayed = std::ranges::all_of(rounds, [](const Figures& one) { return one.stayed; });
    std::printf("| %s | %.0f k/s | %.1f k/s%s | %.1f k | %.1f k/s | %.0f | %.0f MiB | %.0f |\n", row.name,
                of([](const Figures& one) { return one.flood / 1e3; }),
                of([](const Figures& one) { return one.messages / 1e3; }), stayed ? "" : " (disconnected)",
                of([](const Figures& one) { return one.messages / one.processor / 1e3; }),
                of([](const Figures& one) { return one.read / 1e3; }),
                of([](const Figures& one) { return one.half_open; }),
                of([](const Figures& one) { return one.resident / 1048576; }),
                of([](const Figures& one) { return one.descriptors; }));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv, argv + argc);
  try {
    if (words.size() == 3 && words[1] == "sender") return run_sender(words[2]);
    if (words.size() == 4 && words[1] == "flood") {
      return run_flood(words[2], static_cast<std::uint16_t>(std::stoul(words[3])));
    }
    return measure(std::filesystem::canonical("/proc/self/exe").string(), words.size() > 1 && words[1] == "--quick");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "flood_figures: %s\n", error.what());
    return 1;
  }
}
