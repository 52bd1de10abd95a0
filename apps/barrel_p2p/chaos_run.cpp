#include "chaos_run.hpp"

#include <sys/wait.h>

#include <algorithm>
#include <barrel_p2p/leader.hpp>
#include <csignal>
#include <optional>
#include <ostream>
#include <stdexcept>
#include <thread>
#include <utility>

#include "chaos_worker.hpp"
#include "services/reminders.hpp"

namespace barrel_p2p::command {
namespace {

using std::chrono::milliseconds;
using Violations = std::vector<ChaosViolation>;

constexpr milliseconds trouble_max{12'000};  ///< Of one round: then all must be well again.
constexpr milliseconds look_pause{250};      ///< Between two looks at what all nodes know.
constexpr int calm_operations = 5;           ///< Broadcasts, reminders and writes of each node in a calm.

std::string seconds_text(std::chrono::nanoseconds time) {
  const auto tenths = std::chrono::duration_cast<milliseconds>(time).count() / 100;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

std::string ending(int status) {
  return WIFEXITED(status) ? "status " + std::to_string(WEXITSTATUS(status))
                           : "signal " + std::to_string(WTERMSIG(status));
}

}  // namespace

ChaosRun::ChaosRun(const ChaosCommand& command, std::filesystem::path directory, std::ostream* progress)
    : command_(command),
      directory_(std::move(directory)),
      progress_(progress),
      random_(command.seed),
      signals_(io_, SIGINT, SIGTERM),
      kinds_(command.faults),
      network_(io_, command.nodes, command.seed),
      members_(command.nodes),
      history_file_(directory_ / "history") {
  signals_.async_wait([this](const auto& error, int) { interrupted_ = !error; });
}

std::vector<ChaosViolation> ChaosRun::run() {
  if (std::ranges::find(kinds_, ChaosFault::Kind::disk_full) != kinds_.end()) {
    figures_.disks_refused = disks_.mount(directory_, members_.size());
    if (!figures_.disks_refused.empty()) {
      tell("disk_full is left out: " + figures_.disks_refused);
      std::erase(kinds_, ChaosFault::Kind::disk_full);
    }
  }
  if (kinds_.empty()) throw std::runtime_error("no faults are left: " + figures_.disks_refused);
  write_peers();
  for (std::size_t node = 0; node < members_.size(); ++node) start(node);
  Violations violations = rounds();
  for (const auto& member : members_) {
    if (member.process) figures_.memory_kib_max = std::max(figures_.memory_kib_max, member.process->memory_kib());
  }
  if (violations.empty()) violations = stop();
  figures_.events = history_.size();
  figures_.datagrams = network_.passed();
  figures_.datagrams_dropped = network_.dropped();
  return violations;
}

void ChaosRun::close(bool keep) {
  for (auto& member : members_) member.process.reset();
  disks_.unmount(keep);
}

// Nodes.

void ChaosRun::write_peers() const {
  for (std::size_t node = 0; node < members_.size(); ++node) {
    std::ofstream file(directory_ / ("n" + std::to_string(node) + ".peers"));
    for (std::size_t other = 0; other < members_.size(); ++other) {
      if (other == node) continue;
      file << 'n' << other << "@127.0.0.1 127.0.0.1:" << network_.port(node, other) << '\n';
    }
    if (!file.flush()) throw std::runtime_error("cannot write to " + directory_.string());
  }
}

void ChaosRun::start(std::size_t node) {
  Member& member = members_[node];
  const auto life = member.life + 1;
  const bool full = member.full;
  member = Member{};
  member.life = life;
  member.full = full;
  ++figures_.starts;
  note(node, ChaosDid::start);
  const std::string index = std::to_string(node);
  std::vector<std::string> arguments{command_.executable.string(),
                                     "chaos",
                                     "--worker",
                                     index + "/" + std::to_string(life) + "/" + std::to_string(clock_of(node).count()),
                                     "--nodes",
                                     std::to_string(command_.nodes),
                                     "--seed",
                                     std::to_string(command_.seed),
                                     "--dir",
                                     directory_.string()};
  member.process =
      std::make_unique<ChaosProcess>(io_, std::move(arguments), directory_ / ("n" + index + ".log"),
                                     ChaosProcess::Events{[this, node](const std::string& line) { take(node, line); },
                                                          [this, node](int status) { ended(node, status); }});
}

void ChaosRun::kill(std::size_t node) {
  Member& member = members_[node];
  if (!member.process) return;
  member.killed = true;
  member.restart = false;  // it may still be stopping
  member.process->signal(SIGKILL);
  const auto gone = [&] { return !member.process; };
  if (!run_until(monotonic_now() + command_.patience, gone)) throw std::runtime_error("a killed process does not end");
}

/// It starts again when it has.
void ChaosRun::stop(std::size_t node) {
  Member& member = members_[node];
  member.stopping = true;
  member.restart = true;
  if (member.process) member.process->end_input();
}

void ChaosRun::ended(std::size_t node, int status) {
  Member& member = members_[node];
  const bool expected = ended_as_told(status, member.killed, member.stopping);
  if (expected) {
    note(node, ChaosDid::killed);
  } else {
    note(node, ChaosDid::ended, words_of(ending(status)));
  }
  network_.aim(node, 0);
  member.ready = false;
  boost::asio::post(io_, [dead = std::shared_ptr<ChaosProcess>(std::move(member.process))] {});
  if (!expected || !member.restart) return;
  const bool fill = member.fill;
  start(node);
  member.fill = fill;
}

void ChaosRun::take(std::size_t node, const std::string& line) {
  Member& member = members_[node];
  if (auto event = parse_event(line)) {
    const std::string word(word_of(event->did));
    if (word.ends_with("_ok")) ++figures_.operations[word.substr(0, word.size() - 3)];
    if (event->did == ChaosDid::told || event->did == ChaosDid::heard || event->did == ChaosDid::elected)
      ++figures_.operations[word];
    if (word.ends_with("_failed")) ++figures_.failed[word.substr(0, word.size() - 7)];
    if (event->did == ChaosDid::told) note_stamp(*event);
    if (event->did == ChaosDid::clock) member.clock = milliseconds(std::stoll(event->arguments[0]));
    return record(std::move(*event));
  }
  if (line.starts_with("ready ")) {
    network_.aim(node, static_cast<std::uint16_t>(std::stoul(line.substr(6))));
    member.ready = true;
    if (std::exchange(member.full, false)) make_room(node);
    if (std::exchange(member.fill, false)) {
      disks_.fill(node);
      note(node, ChaosDid::full);
    }
    if (working_) member.process->say("work");
  } else if (line == "rested") {
    member.rested = true;
  } else if (line == "=") {
    member.report = std::exchange(member.coming, std::nullopt);
    if (!member.report) member.report = ChaosReport{.node = node, .life = member.life};
  } else {
    if (!member.coming) member.coming = ChaosReport{.node = node, .life = member.life};
    if (!line.starts_with("= ") || !member.coming->take(line.substr(2)))
      throw std::runtime_error("n" + std::to_string(node) + " says: " + line);
  }
}

void ChaosRun::note_stamp(const ChaosEvent& told) {
  const auto fence = Fence::parse(told.arguments[1]);
  if (!fence) return;
  const auto now = std::stoll(told.arguments[2]) - members_[told.node].clock.count();
  const auto ahead = static_cast<std::int64_t>(fence->wall()) - now;
  figures_.stamps_ahead_max = std::max(figures_.stamps_ahead_max, milliseconds(ahead));
}

void ChaosRun::say(const std::string& line) {
  for (auto& member : members_) {
    if (member.process) member.process->say(line);
  }
}

void ChaosRun::note(std::size_t node, ChaosDid did, std::vector<std::string> arguments) {
  const auto now = std::chrono::duration_cast<std::chrono::microseconds>(monotonic_now().time_since_epoch());
  record({now, node, members_[node].life, did, std::move(arguments)});
}

void ChaosRun::record(ChaosEvent event) {
  history_file_ << to_text(event) << '\n';
  if (checking_) return arrived_.push_back(std::move(event));
  insert(std::move(event));
}

/// In the order of the times, which is nearly that in which they come.
void ChaosRun::insert(ChaosEvent event) {
  const auto place = std::ranges::upper_bound(history_, event.time, {}, &ChaosEvent::time);
  history_.insert(place, std::move(event));
}

// Time.

bool ChaosRun::run_until(MonotonicTime end, const std::function<bool()>& done) {
  while (!interrupted_ && (!done || !done())) {
    const auto left = end - monotonic_now();
    if (left <= std::chrono::nanoseconds(0)) return !done;
    io_.run_one_for(left);
  }
  if (interrupted_) throw std::runtime_error("interrupted");
  return true;
}

void ChaosRun::await(const char* what, const std::function<bool(const Member&)>& done) {
  const auto all = [&] {
    return std::ranges::all_of(members_, [&](const Member& member) { return !member.process || done(member); });
  };
  if (!run_until(monotonic_now() + command_.patience, all))
    throw std::runtime_error(std::string("a node is not ") + what + " in time");
}

void ChaosRun::tell(const std::string& text) const {
  if (progress_ != nullptr) *progress_ << text << std::endl;  // NOLINT: somebody watches
}

// Phases.

std::vector<ChaosViolation> ChaosRun::rounds() {
  Violations violations = settle();
  // From here on: nodes that start at once may form two clusters, which take up to a minute to find each other.
  const auto end = monotonic_now() + command_.duration;
  while (violations.empty() && monotonic_now() < end) {
    ++figures_.rounds;
    const auto left = std::chrono::ceil<milliseconds>(end - monotonic_now());
    trouble(std::min(trouble_max, left));
    violations = settle();
  }
  return violations;
}

void ChaosRun::trouble(milliseconds length) {
  note(0, ChaosDid::trouble);
  working_ = true;
  say("work");
  const auto plan = plan_chaos(random_, members_.size(), length, kinds_);
  const auto start = monotonic_now();
  auto next = plan.begin();
  while (next != plan.end() || !active_.empty()) {
    const auto first = std::ranges::min_element(active_, {}, &ChaosFault::end);
    const bool begins = next != plan.end() && (first == active_.end() || next->begin < first->end);
    run_until(start + (begins ? next->begin : first->end));
    if (begins) {
      begin(*next++);
    } else {
      const ChaosFault over = std::move(*first);
      active_.erase(first);
      finish(over);
    }
  }
  run_until(start + length);
}

void ChaosRun::begin(const ChaosFault& fault) {
  ++figures_.faults[word_of(fault.kind)];
  note(0, ChaosDid::fault, words_of(to_text(fault)));
  active_.push_back(fault);
  network_.set(active_);
  for (const auto node : fault.nodes) begin(fault, node);
}

void ChaosRun::begin(const ChaosFault& fault, std::size_t node) {
  const auto& process = members_[node].process;
  switch (fault.kind) {
    case ChaosFault::Kind::kill: return kill(node);
    case ChaosFault::Kind::freeze:
      if (process) process->signal(SIGSTOP);
      return;
    case ChaosFault::Kind::clock:
      if (process) process->say("clock " + std::to_string(fault.step.count()));
      return;
    case ChaosFault::Kind::disk_full:
      // A log that was long already has room for much that is new; after a stop it is short.
      stop(node);
      members_[node].fill = true;
      return;
    case ChaosFault::Kind::split:
    case ChaosFault::Kind::one_way:
    case ChaosFault::Kind::bad_links: return;
  }
}

void ChaosRun::finish(const ChaosFault& fault) {
  network_.set(active_);
  for (const auto node : fault.nodes) finish(fault, node);
}

void ChaosRun::finish(const ChaosFault& fault, std::size_t node) {
  const auto& process = members_[node].process;
  switch (fault.kind) {
    case ChaosFault::Kind::kill: return start(node);
    case ChaosFault::Kind::freeze:
      if (process) process->signal(SIGCONT);
      return;
    case ChaosFault::Kind::clock:
      if (process) process->say("clock 0");
      return;
    case ChaosFault::Kind::disk_full:
      if (std::exchange(members_[node].fill, false)) return;  // it was not ready in time
      if (!fault.killed) return make_room(node);
      kill(node);
      start(node);
      members_[node].full = true;
      return;
    case ChaosFault::Kind::split:
    case ChaosFault::Kind::one_way:
    case ChaosFault::Kind::bad_links: return;
  }
}

void ChaosRun::make_room(std::size_t node) {
  disks_.make_room(node);
  note(node, ChaosDid::room);
}

/// How far it is to be wrong now.
milliseconds ChaosRun::clock_of(std::size_t node) const {
  for (const auto& fault : active_) {
    if (fault.kind == ChaosFault::Kind::clock && std::ranges::binary_search(fault.nodes, node)) return fault.step;
  }
  return milliseconds(0);
}

std::vector<ChaosReport> ChaosRun::reports() {
  for (auto& member : members_) member.report.reset();
  say("report");
  await("reporting", [](const Member& member) { return member.report.has_value(); });
  std::vector<ChaosReport> all;
  all.reserve(members_.size());
  for (auto& member : members_) {
    if (member.report) all.push_back(*member.report);
  }
  return all;
}

/// What is wrong with the history as it is now. On a thread of its own: a long one takes its time, and what the nodes
/// send each other must not wait for it.
ChaosRun::Checked ChaosRun::check(const std::vector<ChaosReport>& all) {
  std::optional<Checked> checked;
  checking_ = true;
  const std::jthread checker([&] {
    Checked found{check_always(history_), check_calm(history_, all)};
    boost::asio::post(io_, [&checked, found = std::move(found)]() mutable { checked = std::move(found); });
  });
  while (!checked) io_.run_one();
  checking_ = false;
  for (auto& event : std::exchange(arrived_, {})) insert(std::move(event));
  return std::move(*checked);
}

/// All that has to come true has, or what has not in time.
std::vector<ChaosViolation> ChaosRun::wait_for_promises(const char* what) {
  const auto start = monotonic_now();
  for (;;) {
    auto [at_any_time, by_now] = check(reports());
    if (!at_any_time.empty()) return at_any_time;
    const auto taken = monotonic_now() - start;
    if (by_now.empty()) {
      figures_.settled_max = std::max(figures_.settled_max, std::chrono::duration_cast<milliseconds>(taken));
      tell(std::string("  ") + what + " after " + seconds_text(taken));
      return {};
    }
    if (taken > command_.patience) return by_now;
    run_until(monotonic_now() + look_pause);
  }
}

std::vector<ChaosViolation> ChaosRun::settle() {
  await("ready", [](const Member& member) { return member.ready; });
  working_ = false;
  for (auto& member : members_) member.rested = false;
  say("rest");
  await("at rest", [](const Member& member) { return member.rested; });
  std::string faults;
  for (const auto& [word, count] : figures_.faults) faults += " " + word + " " + std::to_string(count);
  tell("round " + std::to_string(figures_.rounds) + ", faults so far:" + (faults.empty() ? " none" : faults));
  if (auto violations = wait_for_promises("all agree"); !violations.empty()) return violations;
  note(0, ChaosDid::calm);
  say("calm " + std::to_string(calm_operations));
  if (auto violations = wait_for_promises("broadcasts and reminders are told"); !violations.empty()) return violations;
  for (const auto& member : members_) {
    if (member.report && !member.report->fence.empty()) note(0, ChaosDid::agreed, {member.report->fence});
  }
  // Who holds the teller of a reminder for gone tells it again: after a lease, and when word of it could have come.
  run_until(monotonic_now() + chaos_lease + services::RemindersConfig().handover);
  return check(reports()).at_any_time;
}

std::vector<ChaosViolation> ChaosRun::stop() {
  note(0, ChaosDid::trouble);  // that nodes end changes owners
  for (auto& member : members_) {
    member.stopping = true;
    if (member.process) member.process->end_input();
  }
  const auto ended = [&] {
    return std::ranges::none_of(members_, [](const Member& one) { return one.process != nullptr; });
  };
  if (!run_until(monotonic_now() + command_.patience, ended)) return {{"processes", "a node does not stop"}};
  return check_always(history_);
}

}  // namespace barrel_p2p::command
