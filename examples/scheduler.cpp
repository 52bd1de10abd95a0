// A job scheduler of several nodes: what was accepted is done, once, whoever is killed meanwhile.
//
//   example_scheduler a@127.0.0.1 DIRECTORY [CONTACT]     until standard input ends; `in MILLISECONDS WHAT` is a job
//
// A job is a durable reminder. The node that owns it tells the leader, every second until the leader has cancelled it.
// The leader works on a ledger, DIRECTORY/ledger, that all nodes reach. What is not to happen twice is decided there:
// the ledger refuses leaders of earlier terms by their fences, and jobs that stand in it.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <barrel_p2p/await.hpp>
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <mutex>
#include <sstream>
#include <stop_token>
#include <string>
#include <syncstream>
#include <thread>

using namespace barrel_p2p;
using namespace std::chrono_literals;

void say(const std::string& line) { std::osyncstream(std::cout) << line << std::endl; }

/// Stands for whatever the jobs are done to: a file of lines `FENCE NODE JOB`, each written with its fence. A lock that
/// another node holds, and the disk, take their time: that is spent on a thread of its own, for a process that blocked
/// would hold up others.
class Ledger {
 public:
  enum class Outcome { written, known, refused, failed };
  explicit Ledger(const std::filesystem::path& path)
      : path_(path), thread_([this](const std::stop_token& stop) { work(stop); }) {}

  void add(const Fence& fence, const NodeName& node, const std::string& job,
           std::function<void(Result<Outcome>)> done) {
    const std::lock_guard lock(mutex_);
    asked_.push_back([=, this] { done(write(fence, node, job)); });
    more_.notify_one();
  }

 private:
  void work(const std::stop_token& stop) {
    for (std::unique_lock lock(mutex_); more_.wait(lock, stop, [&] { return !asked_.empty(); }); lock.lock()) {
      const auto next = std::move(asked_.front());
      asked_.pop_front();
      lock.unlock();
      next();
    }
  }
  Outcome write(const Fence& fence, const NodeName& node, const std::string& job) {
    // One writer at a time. The lock ends with the descriptor, also when the program is killed.
    const int file = ::open(path_.c_str(), O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
    const Outcome outcome = file >= 0 && ::flock(file, LOCK_EX) == 0 ? decide(file, fence, node, job) : Outcome::failed;
    if (file >= 0) ::close(file);
    return outcome;
  }
  [[nodiscard]] Outcome decide(int file, const Fence& fence, const NodeName& node, const std::string& job) const {
    FenceGuard guard;
    std::ifstream lines(path_);
    for (std::string number, by, done; lines >> number >> by && std::getline(lines >> std::ws, done);) {
      const auto seen = Fence::parse(number);
      if (!seen || !guard.admit(*seen, by)) return Outcome::failed;  // the file is damaged
      if (done == job) return Outcome::known;
    }
    if (!guard.admit(fence, node)) return Outcome::refused;
    const std::string line = fence.text() + ' ' + node.string() + ' ' + job + '\n';
    const bool written = ::write(file, line.data(), line.size()) == static_cast<ssize_t>(line.size());
    return written && ::fdatasync(file) == 0 ? Outcome::written : Outcome::failed;
  }
  std::filesystem::path path_;
  std::mutex mutex_;
  std::condition_variable_any more_;
  std::deque<std::function<void()>> asked_;
  std::jthread thread_;  // the last one: it ends before what it uses
};

const Atom name_of_leader("scheduler");

/// Stands for election, and does jobs while it leads. Whatever happens between two lines of it, somebody else leading
/// included, the ledger is right.
Task<> worker(Process& self, Node& node, Ledger& ledger) {
  for (;;) {
    const Term message = co_await self.receive();
    if (message.is_tagged("barrel_p2p_leader", 3)) say(message[2].is_atom("revoked") ? "revoked" : "leading");
    if (!message.is_tagged("job", 3)) continue;
    const auto fence = node.fence(name_of_leader);
    if (!fence) continue;  // not the leader any more; the next one will be told
    const Term key = message[1];
    const std::string job = to_text(key) + " " + message[2].as_string().value_or("?");
    const auto outcome = co_await awaited<Ledger::Outcome>(
        self, [&](auto done) { ledger.add(*fence, node.name(), job, std::move(done)); });
    if (outcome == Ledger::Outcome::written) say("did " + job);
    if (outcome != Ledger::Outcome::written && outcome != Ledger::Outcome::known) continue;
    const auto cancelled = co_await awaited<void>(self, [&](auto done) { node.cancel_reminder(key, done); });
    if (!cancelled) say("told again, and known: " + job);
  }
}

int run(Node& node, Ledger& ledger) {
  const auto told = node.subscribe_reminders(
      [&node](const ReminderEvent& event) {
        const auto leader = node.leader(name_of_leader);
        const Term job = Term::tuple({Atom("job"), event.key, event.payload});
        if (leader && !node.send(leader->pid, job)) return;  // the next time
      },
      [](const ReminderEvent&) -> std::optional<std::chrono::system_clock::time_point> {
        return std::chrono::system_clock::now() + 1s;
      });
  const Pid process = node.spawn([&](Process& self) { return worker(self, node, ledger); });
  const auto role = node.lead(name_of_leader, process);
  if (!role) return (say(role.error().message()), 1);
  say(role->is_leader() ? "ready and leading" : "ready");

  std::int64_t number = 0;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string in;
    std::string what;
    std::int64_t delay = 0;
    if (!(words >> in >> delay && std::getline(words >> std::ws, what)) || in != "in" || delay < 0) {
      say("in MILLISECONDS WHAT");
      continue;
    }
    // No two jobs have the same key, over restarts too.
    const Term key = Term::tuple({node.name().atom(), node.creation(), ++number});
    const auto kept = node.remind_after(key, std::chrono::milliseconds(delay), what);
    say(kept ? "accepted " + to_text(key) : kept.error().message());  // on disk, and on its way to all nodes
  }
  return 0;
}

int main(int count, char** arguments) {
  if (count < 3) return 2;
  NodeConfig config;
  config.name = arguments[1];
  config.cookie = "a secret that all nodes share";
  config.data_dir = std::string(arguments[2]) + "/" + arguments[1];
  config.discovery_dir = std::string(arguments[2]) + "/discovery";
  config.log_level = LogLevel::error;
  config.replication.heartbeat = 300ms;  // a dead leader is followed within some seconds
  config.replication.lease = 2s;
  if (count > 3) config.membership.contacts = {arguments[3]};
  auto node = Node::start(config);
  if (!node) return (say(node.error().message()), 1);
  if (count > 3 && !node->joined(2)) say("nobody is there yet");
  Ledger ledger(std::filesystem::path(arguments[2]) / "ledger");
  const int status = run(*node, ledger);
  node->stop();  // before the ledger goes
  return status;
}
