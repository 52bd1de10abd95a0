// What a node keeps of others that came and went: one node lives on while others start, work on it with all that it
// offers, and leave, stop or are killed, again and again. What it holds is read every ten seconds; in the end the
// second quarter of the time is compared with the last one.
//
//   soak_figures [--minutes N] [--svg FILE] [--csv FILE]
//   soak_figures churner ROOT NAME MILLISECONDS SEED   a node that comes and goes; what the first form starts
//
// The status is 1 when something grew. Every node is a process of its own, on loopback.
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/prng.hpp"
#include "cluster/subprocess.hpp"
#include "scratch.hpp"
#include "sim/report.hpp"

namespace {

namespace fs = std::filesystem;
using namespace barrel_p2p;
using namespace std::chrono_literals;
using test::Subprocess;
using Clock = std::chrono::steady_clock;

constexpr auto patience = 10s;
const std::array<Atom, 2> maps{Atom("memory"), Atom("disk")};
const NodeName resident_name("resident@127.0.0.1");

/// Removals are forgotten after a minute, or five while a node is away that did not hear of them, so that what is
/// remembered is as much after ten minutes as ever after.
NodeConfig config_of(const std::string& name, const fs::path& root) {
  NodeConfig config = bench::config_of(name, root);
  config.replication.anti_entropy = 10s;
  config.replication.map_tombstone_ttl = 60s;
  config.replication.map_tombstone_hold = 5min;
  config.replication.reminders.tombstone_ttl = 60s;
  config.replication.service_tombstone_ttl = 60s;
  config.replication.maps = {{"memory", {}}, {"disk", {}}};
  config.replication.maps.back().options.persist = true;
  return config;
}

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message());
  return std::move(*result);
}

// ---- Those that come and go.

/// A process of this node that does nothing but live.
Task<> idle(Process& self) { co_await self.receive(); }

Task<> ask_the_desk(Process& self, Term request) {
  const Ref watch = self.monitor(RemoteName(Atom("desk"), resident_name));
  const Term message = Term::tuple_of(Atom("echo"), self.pid(), request);
  co_await self.send(RemoteName(Atom("desk"), resident_name), message);
  co_await self.receive_for(patience);
  self.demonitor(watch);
}

class Churner {
 public:
  Churner(const std::string& name, const fs::path& root, std::uint64_t seed)
      : name_(name), random_(seed), node_(must(Node::start(config_of(name, root)))) {
    reminders_ = node_.subscribe_reminders([](const ReminderEvent&) {});
    if (auto joined = node_.join(resident_name); !joined) throw std::runtime_error(joined.error().message());
    (void)node_.joined(2, patience);
  }

  /// What the cluster refuses is no matter here: the peers of this node come and go as well.
  void act() {
    switch (random_.below(10)) {
      case 0: return register_one();
      case 1: return end_one();
      case 2:
      case 3: return put();
      case 4: return remove();
      case 5: return ask();
      case 6: return (void)node_.call_function(resident_name, Atom("soak"), Atom("work"), {fresh()}, patience);
      case 7: return (void)node_.remind_after(fresh(), std::chrono::milliseconds(random_.below(3000)), payload());
      case 8: return (void)node_.broadcast(Atom("soak"), payload());
      default: return stream();
    }
  }
  Node& node() { return node_; }
  Prng& random() { return random_; }

 private:
  Term fresh() { return Term::tuple_of(node_.name().atom(), static_cast<std::int64_t>(random_.next() >> 1U)); }
  /// That nobody has heard before.
  Atom new_name() { return Atom(name_ + "-" + std::to_string(random_.next())); }
  Term payload() { return Term(Bytes(random_.below(300))); }
  void register_one() {
    const Pid process = node_.spawn(idle);
    living_.push_back(process);
    (void)node_.register_service(new_name(), process);
    if (random_.chance(0.3)) (void)node_.lead(Term(static_cast<std::int64_t>(random_.below(8))), process);
    if (living_.size() > 20) end_one();
  }
  void end_one() {
    if (living_.empty()) return;
    node_.exit(living_.front(), Atom("done"));
    living_.pop_front();
  }
  void put() {
    keys_.push_back(fresh());
    (void)node_.map_put(maps[random_.below(2)], keys_.back(), payload());
    if (keys_.size() > 50) remove();
  }
  void remove() {
    if (keys_.empty()) return;
    for (const Atom& map : maps) (void)node_.map_remove(map, keys_.front());
    keys_.pop_front();
  }
  void ask() {
    const Term request = new_name();
    node_.spawn([request](Process& self) { return ask_the_desk(self, request); });
  }
  /// Comes back as it went, or is dropped somewhere on its way.
  void stream() {
    auto stream = node_.open_stream(resident_name, "soak", patience);
    if (!stream || !stream->write(Bytes(1 + random_.below(256UL * 1024)), patience)) return;
    if (random_.chance(0.3)) return;
    (void)stream->finish();
    for (;;) {
      const auto bytes = stream->read(patience);
      if (!bytes || bytes->empty() || random_.chance(0.05)) return;
    }
  }

  std::string name_;
  Prng random_;
  Node node_;
  Subscription reminders_;
  std::deque<Pid> living_;
  std::deque<Term> keys_;
};

int run_churner(const std::string& root, const std::string& name, std::chrono::milliseconds life, std::uint64_t seed) {
  Churner churner(name, root, seed);
  for (const auto end = Clock::now() + life; Clock::now() < end;) {
    churner.act();
    std::this_thread::sleep_for(std::chrono::milliseconds(churner.random().below(100)));
  }
  switch (churner.random().below(3)) {
    case 0: return std::raise(SIGKILL);
    case 1: churner.node().leave(); [[fallthrough]];
    default: churner.node().stop(); return 0;
  }
}

// ---- The one that lives on.

Task<> desk(Process& self) {
  for (;;) {
    const Term message = co_await self.receive();
    if (!message.is_tagged("echo", 3) || !message[1].as_pid()) continue;
    const Term answer = message[2];
    co_await self.send(*message[1].as_pid(), answer);
  }
}

Task<> give_back(Process& self, Stream stream) {
  for (;;) {
    auto bytes = co_await stream.read(self, patience);
    if (!bytes || bytes->empty()) break;
    const auto written = co_await stream.write(self, std::move(*bytes), patience);
    if (!written) co_return;
  }
  (void)stream.finish();
}

class Resident {
 public:
  explicit Resident(const fs::path& root) : node_(must(Node::start(config_of("resident", root)))) {
    (void)node_.register_process(Atom("desk"), node_.spawn(desk));
    node_.export_function(Atom("soak"), Atom("work"), [](const std::vector<Term>& arguments) -> Result<Term> {
      return arguments.empty() ? Term() : arguments.front();
    });
    (void)node_.lead(Term(std::int64_t{0}), node_.spawn(idle));
    (void)node_.register_service("resident", node_.spawn(idle));
    acceptor_ = must(node_.accept_streams("soak", StreamProcess(give_back)));
    subscriptions_.push_back(node_.subscribe_reminders([](const ReminderEvent&) {}));
    subscriptions_.push_back(node_.subscribe_broadcast(Atom("soak"), [](const Term&) {}));
    subscriptions_.push_back(node_.subscribe_services([](const ServiceEvent&) {}));
    for (const Atom& map : maps) subscriptions_.push_back(must(node_.subscribe_map(map, [](const MapEvent&) {})));
  }

  /// Removes what nodes left in the maps that are gone.
  void tidy() {
    const auto members = node_.members();
    for (const Atom& map : maps) {
      for (const Term& key : node_.map_keys(map)) {
        const auto owner = key.size() == 2 ? key[0].as_atom() : std::nullopt;
        const bool lives =
            owner && std::ranges::any_of(members, [&](const auto& name) { return name.atom() == *owner; });
        if (!lives) (void)node_.map_remove(map, key);
      }
    }
  }
  Node& node() { return node_; }

 private:
  Node node_;
  StreamAcceptor acceptor_;
  std::vector<Subscription> subscriptions_;
};

// ---- What it holds.

std::size_t files_in(const char* directory) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(directory), fs::directory_iterator()));
}

double resident_mebibytes() {
  std::ifstream file("/proc/self/statm");
  double whole = 0, resident = 0;
  file >> whole >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1024.0 * 1024);
}

double heap_mebibytes() {
  const auto heap = ::mallinfo2();
  return static_cast<double>(heap.uordblks + heap.hblkhd) / (1024.0 * 1024);
}

/// What is read, and by how much more than a tenth it may differ: what is there at one moment depends on who is.
struct Gauge {
  const char* name;
  double slack;
  std::size_t chart;
};
constexpr std::array charts{"MiB", "atoms", "what lives", "what is over and remembered", "the rest"};
constexpr std::array gauges{
    Gauge{"memory, MiB", 2, 0},   Gauge{"heap in use, MiB", 1, 0},
    Gauge{"descriptors", 3, 4},   Gauge{"threads", 1, 4},
    Gauge{"atoms", 100, 1},       Gauge{"processes", 20, 4},
    Gauge{"connections", 5, 4},   Gauge{"members", 1, 4},
    Gauge{"services", 20, 2},     Gauge{"services removed", 100, 3},
    Gauge{"map entries", 100, 2}, Gauge{"map tombstones", 500, 3},
    Gauge{"reminders", 50, 2},    Gauge{"reminders over", 500, 3},
    Gauge{"passive view", 5, 4},
};
using Sample = std::array<double, gauges.size()>;

Sample read(Node& node) {
  const auto count = [](std::size_t number) { return static_cast<double>(number); };
  const NodeStatistics statistics = node.statistics();
  const RegistryAudit registry = must(node.verify_registry());
  const ReminderStatistics reminders = must(node.reminder_statistics());
  std::size_t entries = 0, tombstones = 0;
  for (const Atom& map : maps) {
    const MapStatistics of_map = must(node.map_statistics(map));
    entries += of_map.entries, tombstones += of_map.tombstones;
  }
  return {resident_mebibytes(),
          heap_mebibytes(),
          count(files_in("/proc/self/fd")),
          count(files_in("/proc/self/task")),
          count(statistics.atoms),
          count(statistics.processes),
          count(statistics.connections),
          count(node.members().size()),
          count(registry.entries + registry.hidden),
          count(registry.tombstones),
          count(entries),
          count(tombstones),
          count(reminders.pending),
          count(reminders.tombstones),
          count(node.passive_view().size())};
}

/// Where others come and go, one after the other. Most have been here before; every fourth has a new name.
class Slot {
 public:
  Slot(fs::path root, std::size_t number) : root_(std::move(root)), number_(number), random_(number) {}

  void go_on() {
    if (process_ && process_->wait(0s) < 0) return;
    process_.reset();
    if (!passing_.empty()) fs::remove_all(root_ / std::exchange(passing_, {}));
    ++lives_;
    const bool is_new = lives_ % 4 == 0;
    const std::string name =
        "c" + std::to_string(number_) + "-" + std::to_string(is_new ? lives_ + 1000 : random_.below(16));
    if (is_new) passing_ = name;
    process_ = std::make_unique<Subprocess>(std::vector<std::string>{fs::canonical("/proc/self/exe"), "churner", root_,
                                                                     name, std::to_string(5000 + random_.below(10'000)),
                                                                     std::to_string(random_.next())});
  }
  [[nodiscard]] std::size_t lives() const { return lives_; }

 private:
  fs::path root_;
  std::size_t number_;
  Prng random_;
  std::unique_ptr<Subprocess> process_;
  std::string passing_;  ///< The name of one that does not come back.
  std::size_t lives_ = 0;
};

double median(const std::vector<std::pair<double, double>>& points, double from, double to) {
  std::vector<double> values;
  const auto size = static_cast<double>(points.size());
  for (auto at = static_cast<std::size_t>(size * from); at < static_cast<std::size_t>(size * to); ++at) {
    values.push_back(points[at].second);
  }
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[values.size() / 2];
}

struct Options {
  std::chrono::minutes time{60};
  std::string svg, csv;
};

/// Of at most a hundred samples.
std::vector<sim::Chart> charts_of(const std::vector<sim::Series>& history) {
  std::vector<sim::Chart> drawn;
  for (const char* title : charts) drawn.push_back({title, "minutes", "", {}});
  for (std::size_t gauge = 0; gauge < gauges.size(); ++gauge) {
    const auto& points = history[gauge].points;
    sim::Series thinned{gauges[gauge].name, {}};
    for (std::size_t at = 0; at < points.size(); at += 1 + points.size() / 100) thinned.points.push_back(points[at]);
    drawn[gauges[gauge].chart].series.push_back(std::move(thinned));
  }
  return drawn;
}

/// False when something grew.
bool report(const std::vector<sim::Series>& history, const std::string& title, const Options& options) {
  sim::Report report;
  sim::Table table{title, {"", "at first", "second quarter", "last quarter", "more"}, {}};
  std::vector<std::string> grown;
  for (std::size_t gauge = 0; gauge < gauges.size(); ++gauge) {
    const auto& points = history[gauge].points;
    const double before = median(points, 0.25, 0.5), after = median(points, 0.75, 1);
    if (after > 1.1 * before + gauges[gauge].slack) grown.emplace_back(gauges[gauge].name);
    std::array<char, 16> more{};
    std::snprintf(more.data(), more.size(), "%+.1f %%", before > 0 ? 100 * (after / before - 1) : 0.0);
    table.rows.push_back({gauges[gauge].name, sim::number_text(points.front().second), sim::number_text(before),
                          sim::number_text(after), more.data()});
  }
  report.tables.push_back(std::move(table));
  report.charts = charts_of(history);
  sim::write_text(report, std::cout);
  if (!options.svg.empty()) {
    std::ofstream file(options.svg);
    sim::write_svg(report, file);
  }
  if (!options.csv.empty()) {
    sim::Table samples{title, {"minutes"}, {}};
    for (const Gauge& gauge : gauges) samples.columns.emplace_back(gauge.name);
    for (std::size_t at = 0; at < history.front().points.size(); ++at) {
      samples.rows.push_back({sim::number_text(history.front().points[at].first)});
      for (const auto& series : history) samples.rows.back().push_back(sim::number_text(series.points[at].second));
    }
    std::ofstream file(options.csv);
    sim::write_csv({{std::move(samples)}, {}}, file);
  }
  for (const auto& name : grown) std::cerr << "grew: " << name << '\n';
  return grown.empty();
}

bool soak(const Options& options) {
  const bench::Scratch scratch;
  Resident resident(scratch.root);
  std::vector<std::unique_ptr<Slot>> slots;
  for (std::size_t number = 0; number < 4; ++number) slots.push_back(std::make_unique<Slot>(scratch.root, number));
  std::vector<sim::Series> history(gauges.size());
  const auto start = Clock::now();
  auto next = start;
  while (Clock::now() < start + options.time) {
    for (auto& slot : slots) slot->go_on();
    if (Clock::now() >= next) {
      next += 10s;
      resident.tidy();
      const Sample sample = read(resident.node());
      const double minutes = std::chrono::duration<double, std::ratio<60>>(Clock::now() - start).count();
      for (std::size_t gauge = 0; gauge < gauges.size(); ++gauge)
        history[gauge].points.emplace_back(minutes, sample[gauge]);
    }
    std::this_thread::sleep_for(100ms);
  }
  std::size_t lives = 0;
  for (const auto& slot : slots) lives += slot->lives();
  return report(history, std::to_string(options.time.count()) + " minutes, " + std::to_string(lives) + " nodes came",
                options);
}

Options options_of(const std::vector<std::string>& arguments) {
  Options options;
  for (std::size_t at = 0; at < arguments.size(); at += 2) {
    if (at + 1 == arguments.size()) throw std::runtime_error(arguments[at] + " needs a value");
    const std::string& value = arguments[at + 1];
    if (arguments[at] == "--minutes") {
      options.time = std::chrono::minutes(std::stol(value));
    } else if (arguments[at] == "--svg") {
      options.svg = value;
    } else if (arguments[at] == "--csv") {
      options.csv = value;
    } else {
      throw std::runtime_error("soak_figures [--minutes N] [--svg FILE] [--csv FILE], not " + arguments[at]);
    }
  }
  if (options.time < 1min) throw std::runtime_error("--minutes is 1 at least");
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    if (arguments.size() == 5 && arguments[0] == "churner") {
      return run_churner(arguments[1], arguments[2], std::chrono::milliseconds(std::stol(arguments[3])),
                         std::stoull(arguments[4]));
    }
    return soak(options_of(arguments)) ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
