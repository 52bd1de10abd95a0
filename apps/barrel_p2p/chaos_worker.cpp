#include "chaos_worker.hpp"

#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <fstream>
#include <functional>
#include <istream>
#include <map>
#include <mutex>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "base/prng.hpp"
#include "chaos_history.hpp"
#include "command_line.hpp"

namespace barrel_p2p::command {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t own_keys = 20;     ///< That only this node writes.
constexpr std::size_t shared_keys = 20;  ///< That all nodes write.
constexpr std::size_t service_names = 5;
constexpr milliseconds act_pause_max{60};  ///< Between two operations of a thread.
constexpr milliseconds due_max{5000};      ///< Of reminders.
constexpr milliseconds calm_due_max{1000};
constexpr std::string_view host_suffix = "@127.0.0.1";

std::string short_name(std::size_t node) { return "n" + std::to_string(node); }
std::string short_name(const NodeName& node) { return node.string().substr(0, node.string().find('@')); }
std::string text_of(const Pid& pid) {
  return std::to_string(pid.id) + "." + std::to_string(pid.serial) + "." + std::to_string(pid.creation);
}
std::string text_in(const Term& term) { return term.to<std::string>().value_or("?"); }

/// Lines on the standard output, whole ones, from any thread. A pipe keeps them when the process is killed.
class Teller {
 public:
  Teller(std::size_t node, std::uint64_t life) : node_(node), life_(life) {}

  void tell(ChaosDid did, std::vector<std::string> arguments = {}) {
    const std::lock_guard lock(mutex_);
    write_event(did, std::move(arguments));
  }
  void say(const std::string& line) {
    const std::lock_guard lock(mutex_);
    write(line);
  }
  /// Tells with the wall clock behind the rest: with one of before or after a step, as the lines are.
  void tell_time(ChaosDid did, std::vector<std::string> arguments) {
    const std::lock_guard lock(mutex_);
    arguments.push_back(std::to_string(wall_now()));
    write_event(did, std::move(arguments));
  }
  /// Steps the wall clock.
  void set_clock(milliseconds offset) {
    const std::lock_guard lock(mutex_);
    set_wall_offset(offset);
    write_event(ChaosDid::clock, {std::to_string(offset.count())});
  }

 private:
  void write_event(ChaosDid did, std::vector<std::string> arguments) const {
    const auto now = std::chrono::duration_cast<std::chrono::microseconds>(monotonic_now().time_since_epoch());
    write(to_text(ChaosEvent{now, node_, life_, did, std::move(arguments)}));
  }
  static void write(std::string line) {
    line += '\n';
    std::string_view left = line;
    while (!left.empty()) {
      const auto written = ::write(STDOUT_FILENO, left.data(), left.size());
      if (written <= 0) return;
      left.remove_prefix(static_cast<std::size_t>(written));
    }
  }
  std::mutex mutex_;
  std::size_t node_;
  std::uint64_t life_;
};

/// A thread that does one thing after the other while it is told to work.
class Hand {
 public:
  Hand(std::uint64_t seed, std::function<void(Prng&)> act)
      : act_(std::move(act)), random_(seed), thread_([this](const std::stop_token& stop) { run(stop); }) {}

  void work() {
    const std::lock_guard lock(mutex_);
    wanted_ = true;
    changed_.notify_all();
  }
  /// Returns when it does nothing any more.
  void rest() {
    std::unique_lock lock(mutex_);
    wanted_ = false;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !acting_; });
  }

 private:
  void run(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (changed_.wait(lock, stop, [this] { return wanted_; })) {
      acting_ = true;
      lock.unlock();
      act_(random_);
      lock.lock();
      acting_ = false;
      changed_.notify_all();
      const milliseconds pause(random_.below(static_cast<std::size_t>(act_pause_max.count())));
      changed_.wait_for(lock, stop, pause, [this] { return !wanted_; });
    }
  }

  std::function<void(Prng&)> act_;
  Prng random_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool wanted_ = false;
  bool acting_ = false;
  std::jthread thread_;  ///< The last one: it ends before what it uses.
};

NodeConfig config_of(const ChaosWorker& worker) {
  constexpr std::size_t neighbours = 3;  // fewer than there are nodes, so that word goes by way of others
  NodeConfig config;
  config.name = short_name(worker.node).append(host_suffix);
  config.listen = "127.0.0.1";
  config.data_dir = worker.root / short_name(worker.node);
  config.discovery_backends = {"static"};
  config.publish = false;
  config.cookie = "chaos " + std::to_string(worker.seed);
  config.membership.active_size = neighbours;
  config.replication.heartbeat = milliseconds(1000);
  config.replication.lease = chaos_lease;
  config.replication.anti_entropy = milliseconds(5000);
  config.replication.maps = {{"chaos", {}}};
  config.replication.maps.front().options.persist = true;
  std::ifstream peers(worker.root / (short_name(worker.node) + ".peers"));
  for (std::string name, address; peers >> name >> address;) {
    config.static_nodes[name] = address;
    config.membership.contacts.push_back(name);
  }
  return config;
}

class Work {
 public:
  Work(const ChaosWorker& worker, Node& node, Teller& teller)
      : node_(node),
        teller_(teller),
        prefix_(std::to_string(worker.node) + "/" + std::to_string(worker.life) + "/"),
        own_("own/" + std::to_string(worker.node) + "/"),
        shards_(node.subscribe_shard([this](const ShardEvent&) { teller_.tell(ChaosDid::shard); })),
        broadcasts_(
            node.subscribe_broadcast(tag_, [this](const Term& id) { teller_.tell(ChaosDid::heard, {text_in(id)}); })),
        reminders_(node.subscribe_reminders([this](const ReminderEvent& event) {
          teller_.tell_time(ChaosDid::told, {text_in(event.key), event.fence.text()});
        })),
        calm_random_(worker.seed + 7 * worker.node + 13 * worker.life),
        writer_(seed_of(worker, 1), [this](Prng& random) { write(random); }),
        other_(seed_of(worker, 2), [this](Prng& random) { do_other(random); }) {
    campaign();
  }

  void work() {
    writer_.work();
    other_.work();
  }
  void rest() {
    writer_.rest();
    other_.rest();
  }
  /// While it rests.
  void calm(std::size_t count) {
    for (std::size_t round = 0; round < count; ++round) {
      broadcast();
      remind(calm_random_, calm_due_max);
      write(calm_random_);
    }
  }
  void report() {
    const auto line = [this](const std::string& text) { teller_.say("= " + text); };
    for (const auto& member : node_.members()) line("member " + short_name(member));
    for (const auto& neighbour : node_.active_view()) line("neighbour " + short_name(neighbour));
    if (const auto leader = node_.leader(role_)) line("leader " + short_name(leader->node));
    if (const auto fence = node_.fence(role_)) line("fence " + fence->text());
    for (const auto& [key, value] : node_.map_to_list(map_)) line("entry " + text_in(key) + " " + text_in(value));
    for (const auto& name : node_.list_services()) {
      const auto entries = node_.lookup(name);
      if (!entries) continue;
      for (const auto& entry : *entries) {
        line("service " + std::string(name.text()) + " " + short_name(entry.node) + " " + text_of(entry.pid));
      }
    }
    line("ring " + std::to_string(node_.ring_size()));
    for (const auto partition : node_.owned_partitions()) line("owns " + std::to_string(partition));
    teller_.say("=");
  }

 private:
  static std::uint64_t seed_of(const ChaosWorker& worker, std::uint64_t hand) {
    Prng mixed(worker.seed ^ (worker.node << 32U) ^ (worker.life << 8U) ^ hand);
    return mixed.next();
  }
  std::string next_id() { return prefix_ + std::to_string(++last_id_); }

  void write(Prng& random) {
    const bool shared = random.chance(0.3);
    const std::string key =
        shared ? "shared/" + std::to_string(random.below(shared_keys)) : own_ + std::to_string(random.below(own_keys));
    const bool removes = !shared && random.chance(0.1);
    const std::string value = removes ? "-" : next_id();
    teller_.tell(ChaosDid::put, {key, value});
    const auto done = removes ? node_.map_remove(map_, key) : node_.map_put(map_, key, value);
    teller_.tell(done ? ChaosDid::put_ok : ChaosDid::put_failed, {key, value});
  }

  void do_other(Prng& random) {
    const std::size_t dice = random.below(100);
    if (dice < 30) return change_service(random);
    if (dice < 60) return remind(random, due_max);
    if (dice < 97) return broadcast();
    candidacy_.reset();  // resigns
    campaign();
  }

  void change_service(Prng& random) {
    const std::string name = "service" + std::to_string(random.below(service_names));
    const auto found = services_.find(name);
    if (found == services_.end()) {
      const Pid pid = node_.spawn([](Process& self) -> Task<> {
        for (;;) (void)co_await self.receive();
      });
      teller_.tell(ChaosDid::enlist, {name, text_of(pid)});
      const auto done = node_.register_service(name, pid);
      teller_.tell(done ? ChaosDid::enlist_ok : ChaosDid::enlist_failed, {name, text_of(pid)});
      services_.emplace(name, pid);
      return;
    }
    teller_.tell(ChaosDid::delist, {name});
    // Taken back, or its process ends; the name can be taken again at once in either case.
    if (random.chance(0.5) && !node_.unregister_service(name)) teller_.tell(ChaosDid::delist_failed, {name});
    node_.exit(found->second, Atom("kill"));
    while (node_.lookup_local(name)) std::this_thread::sleep_for(milliseconds(1));
    services_.erase(found);
  }

  /// By a right clock, whatever this node's is.
  void remind(Prng& random, milliseconds longest) {
    const std::string key = next_id();
    const auto due = std::chrono::time_point_cast<milliseconds>(std::chrono::system_clock::now()) +
                     milliseconds(random.below(static_cast<std::size_t>(longest.count())));
    teller_.tell(ChaosDid::remind, {key, std::to_string(due.time_since_epoch().count())});
    const auto done = node_.remind(key, due, "payload");
    teller_.tell(done ? ChaosDid::remind_ok : ChaosDid::remind_failed, {key});
  }

  void broadcast() {
    const std::string id = next_id();
    teller_.tell(ChaosDid::send, {id});
    const auto done = node_.broadcast(tag_, id);
    teller_.tell(done ? ChaosDid::send_ok : ChaosDid::send_failed, {id});
  }

  void campaign() {
    auto campaign = node_.lead(
        role_, {}, [this](const Fence& fence) { teller_.tell(ChaosDid::elected, {fence.text()}); },
        [this] { teller_.tell(ChaosDid::revoked); });
    if (!campaign) return teller_.tell(ChaosDid::lead_failed, {std::string(name(campaign.error().code()))});
    candidacy_ = std::move(*campaign);
  }

  Node& node_;
  Teller& teller_;
  const Atom map_{"chaos"};
  const Term role_{Atom("chaos")};
  const Term tag_{Atom("chaos")};
  const std::string prefix_;
  const std::string own_;
  std::atomic<std::uint64_t> last_id_{0};
  std::map<std::string, Pid> services_;
  std::optional<Candidacy> candidacy_;
  Subscription shards_;
  Subscription broadcasts_;
  Subscription reminders_;
  Prng calm_random_;
  Hand writer_;
  Hand other_;
};

void obey(std::istream& input, Work& work, Teller& teller) {
  for (std::string line; std::getline(input, line);) {
    const auto words = words_of(line);
    if (line == "work") {
      work.work();
    } else if (line == "rest") {
      work.rest();
      teller.say("rested");
    } else if (line == "report") {
      work.report();
    } else if (words.size() == 2 && words[0] == "calm") {
      work.calm(std::stoul(words[1]));
    } else if (words.size() == 2 && words[0] == "clock") {
      teller.set_clock(milliseconds(std::stoll(words[1])));
    }
  }
}

}  // namespace

int run_chaos_worker(const ChaosWorker& worker, std::istream& input, std::ostream& errors) {
  // Whoever started this process kills it; should he be killed himself nobody is left behind.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  Teller teller(worker.node, worker.life);
  if (worker.clock.count() != 0) teller.set_clock(worker.clock);
  auto node = Node::start(config_of(worker));
  if (!node) {
    errors << "barrel_p2p chaos: " << node.error().message() << '\n';
    return exit_failed;
  }
  {
    Work work(worker, *node, teller);
    teller.say("ready " + std::to_string(node->port()));
    obey(input, work, teller);
    work.rest();
  }
  node->stop();
  return exit_ok;
}

}  // namespace barrel_p2p::command
