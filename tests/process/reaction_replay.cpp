#include "process/reaction_replay.hpp"

#include <algorithm>
#include <barrel_p2p/server.hpp>
#include <chrono>
#include <future>
#include <stdexcept>

#include "distribution/flags.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p::process {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;
using distribution::Signal;
using test::from_hex;
using test::text_of;

/// Never allotted in the vectors.
constexpr std::uint32_t nobody_id = 9999;

Term tuple_of(const Signal& signal) {
  Bytes bytes;
  encode_control_to(signal, distribution::offered_flags, bytes);
  const auto decoded = decode_term(bytes, {.version_byte = false});
  return decoded ? decoded->term : Term("undecodable");
}

distribution::FramePayload frame_of(const std::string& hex) {
  auto owner = std::make_shared<const Bytes>(from_hex(hex));
  return {*owner, owner};
}

std::string text(const Spoken& spoken) { return to_text(spoken.control) + " + " + to_text(spoken.payload); }

/// `term` with what `change` makes of each pid and reference in it.
template <class Change>
Term rebuilt(const Term& term, const Change& change) {
  if (term.is_pid() || term.is_reference()) return change(term);
  if (term.is_map()) {
    std::vector<TermPair> pairs;
    for (const auto& [key, value] : term.pairs()) pairs.emplace_back(rebuilt(key, change), rebuilt(value, change));
    return Term::map(std::move(pairs));
  }
  if (!term.is_tuple() && term.type() != TermType::list) return term;
  std::vector<Term> elements;
  for (const auto& element : term.elements()) elements.push_back(rebuilt(element, change));
  if (term.is_tuple()) return Term::tuple(std::move(elements));
  return Term::list(std::move(elements), rebuilt(term.tail(), change));
}

/// `{From, What}` is answered with `{Self, What}`.
Task<> echo(Process& self) {
  for (;;) {
    const Term message = co_await self.receive();
    if (!message.is_tuple(2)) continue;
    const Term answer = Term::tuple_of(self.pid(), message[1]);
    if (const auto* pid = message[0].as_pid()) co_await self.send(*pid, answer);
    if (const auto* alias = message[0].as_reference()) co_await self.send(*alias, answer);
  }
}

/// Dies of `die`.
Task<> target(Process& self) {
  for (;;) {
    const Term message = co_await self.receive();
    if (message.is_atom("die")) throw ExitProcess{Atom("oops")};
  }
}

struct EchoServer : Server {
  Task<std::optional<Term>> handle_call(Process& /*self*/, Term request, CallFrom from) override {
    co_return std::optional<Term>(Term::tuple_of(Atom("echo"), request, Term::tuple_of(from.pid, from.tag)));
  }
  [[nodiscard]] Term state() const override { return Term::map(std::vector<TermPair>{}); }
};

/// `io:format/2` towards the group leader of the process, which lives on the other node.
Task<Result<Term>> io_format(Process& self, std::vector<Term> arguments) {
  const Pid leader = self.group_leader();
  const Ref ref = self.monitor(leader);
  const Term request =
      Term::tuple_of(Atom("put_chars"), Atom("unicode"), Atom("io_lib"), Atom("format"), Term::list(arguments));
  co_await self.send(leader, Term::tuple_of(Atom("io_request"), self.pid(), ref, request));
  const Term answer = co_await self.receive();
  const Term where = Term::list_of(Term::tuple_of(Atom("io"), Atom("format"), Term::list(arguments), Term()));
  if (answer.is_tagged("DOWN", 5)) throw ErrorTerm(Atom("terminated"), where);
  self.demonitor(ref);
  if (!answer[2].is_atom("ok")) throw ErrorTerm(Atom("badarg"), where);
  co_return answer[2];
}

}  // namespace

ReactionReplay::ReactionReplay(const json::value& row)
    : row_(row),
      own_(text_of(row, "peer_node")),
      other_(text_of(row, "our_node")),
      flags_(std::stoull(text_of(row, "flags"), nullptr, 16)),
      nodes_{own_, other_, row.at("peer_creation").to_number<std::uint32_t>(),
             row.at("our_creation").to_number<std::uint32_t>()},
      reader_(nodes_, flags_),
      system_(config_of(row)) {
  RemotePort port;
  port.send = [this](const Atom& node, Signal&& signal, const Pid& /*key*/) {
    if (node != other_) return distribution::SendOutcome::refused;
    sent(std::move(signal));
    return distribution::SendOutcome::accepted;
  };
  port.report_malformed = [this](const Atom& /*node*/, std::uint64_t /*epoch*/, const Error& why) {
    const std::lock_guard lock(mutex_);
    closed_ = why.message();
  };
  system_.set_remote(std::move(port));
  system_.start();
  export_functions();
  start_servers();
  system_.node_up(other_, 1, nodes_.peer_creation, flags_);
}

ReactionReplay::~ReactionReplay() { system_.stop(); }

SystemConfig ReactionReplay::config_of(const json::value& row) {
  SystemConfig config;
  config.node = Atom(text_of(row, "peer_node"));
  config.creation = row.at("peer_creation").to_number<std::uint32_t>();
  config.workers = 1;  // `settle` counts on it
  return config;
}

void ReactionReplay::export_functions() {
  const auto value = [this](const char* name, std::function<Term(const Term&)> function) {
    system_.export_function(
        "erlang", Atom(name),
        [function = std::move(function)](Process& /*self*/, std::vector<Term> arguments) -> Task<Result<Term>> {
          co_return function(arguments.at(0));
        });
  };
  value("abs", [](const Term& number) { return Term(std::abs(*number.as_int64())); });
  value("exit", [](const Term& reason) -> Term { throw ExitProcess{reason}; });
  value("throw", [](const Term& thrown) -> Term { throw ThrowTerm{thrown}; });
  value("error", [](const Term& reason) -> Term {
    throw ErrorTerm(reason, Term::list({Term::tuple({Atom("erlang"), Atom("error"), Term::list({reason}), Term()})}));
  });
  system_.export_function("io", "format", io_format);
}

void ReactionReplay::start_servers() {
  constexpr std::uint32_t server_id = 87;
  constexpr std::uint32_t echo_id = 88;
  const Pid server = system_.spawn(serve([] { return std::make_unique<EchoServer>(); }));
  const Pid echoing = system_.spawn(echo);
  if (!system_.register_name("shsrv", server) || !system_.register_name("shecho", echoing)) {
    throw std::runtime_error("a name is taken");
  }
  pids_.emplace(Pid{own_, server_id, 0, nodes_.own_creation}, server);
  pids_.emplace(Pid{own_, echo_id, 0, nodes_.own_creation}, echoing);
  targets_ = {server, echoing};
}

bool ReactionReplay::ours(const Atom& node, std::uint32_t creation) const {
  return node == own_ && creation == nodes_.own_creation;
}

// What the two sides say.

void ReactionReplay::sent(Signal&& signal) {
  if (const auto* name = std::get_if<distribution::SendName>(&signal.control); name != nullptr) {
    if (name->name == "logger_proxy") return;
  }
  Spoken one = spoken(signal);
  const std::lock_guard lock(mutex_);
  if (!check_outgoing(signal, nodes_, distribution::offered_flags)) {
    ++withheld_;
    return;
  }
  sent_.push_back(std::move(one));
  changed_.notify_all();
}

Spoken ReactionReplay::spoken(const Signal& signal) const {
  const auto payload = distribution::decode_payload(signal.payload);
  return {tuple_of(signal), payload ? *payload : Term("undecodable")};
}

Term ReactionReplay::translated(const Term& term) const {
  return rebuilt(term, [this](const Term& one) {
    if (const auto* pid = one.as_pid()) {
      const auto found = pids_.find(*pid);
      return found == pids_.end() ? one : Term(found->second);
    }
    const auto found = references_.find(*one.as_reference());
    return found == references_.end() ? one : Term(found->second);
  });
}

Signal ReactionReplay::translated(Signal&& signal) const {
  distribution::ControlDecoder decoder(nodes_);
  const Bytes control = encode_term(translated(tuple_of(signal)), {.version_byte = false});
  Signal result{*decoder.decode(control)->control, std::move(signal.payload)};
  const auto payload = distribution::decode_payload(result.payload);
  if (payload && std::holds_alternative<distribution::EncodedTerm>(result.payload)) {
    const auto bytes = std::make_shared<Bytes>(encode_term(translated(*payload), {.version_byte = false}));
    result.payload = distribution::EncodedTerm{*bytes, bytes};
  }
  return result;
}

bool ReactionReplay::unify(const Term& stated, const Term& seen) {
  if (const auto* pid = stated.as_pid(); pid != nullptr && ours(pid->node, pid->creation) && pid->id != nobody_id) {
    const auto* actual = seen.as_pid();
    if (actual == nullptr || !ours(actual->node, actual->creation)) return false;
    return pids_.try_emplace(*pid, *actual).first->second == *actual;
  }
  if (const auto* ref = stated.as_reference(); ref != nullptr && ours(ref->node, ref->creation)) {
    const auto* actual = seen.as_reference();
    if (actual == nullptr || !ours(actual->node, actual->creation)) return false;
    return references_.try_emplace(*ref, *actual).first->second == *actual;
  }
  if (stated.type() != seen.type() || stated.size() != seen.size()) return false;
  if (!stated.is_tuple() && stated.type() != TermType::list) return stated == seen;
  // Where in its source `io:format` failed concerns nobody else.
  if (stated.is_tagged("io", 4)) return seen.is_tagged("io", 4);
  // What a process shows of itself in `sys:get_status` has a common head only.
  const std::size_t compared = stated.is_tagged("status", 4) ? 3 : stated.size();
  for (std::size_t at = 0; at < compared; ++at) {
    if (!unify(stated[at], seen[at])) return false;
  }
  return unify(stated.is_tuple() ? Term() : stated.tail(), seen.is_tuple() ? Term() : seen.tail());
}

bool ReactionReplay::unify_all(const std::vector<Term>& stated, const std::vector<Term>& seen) {
  const auto pids = pids_;
  const auto references = references_;
  for (std::size_t at = 0; at < stated.size(); ++at) {
    if (unify(stated[at], seen[at])) continue;
    pids_ = pids;
    references_ = references;
    return false;
  }
  return true;
}

// The exchange.

void ReactionReplay::start(Actor actor) {
  actor_ = system_.spawn([this, actor = std::move(actor)](Process& self) { return actor(self, *this); });
}

void ReactionReplay::make_targets(const Term& control) {
  for (const auto& element : control.elements()) {
    const auto* pid = element.as_pid();
    if (pid == nullptr || !ours(pid->node, pid->creation) || pid->id == nobody_id || pids_.contains(*pid)) continue;
    const Pid made = system_.spawn(target);
    targets_.push_back(made);
    pids_.emplace(*pid, made);
  }
}

void ReactionReplay::hear(const std::string& hex) {
  auto read = reader_.read(0, frame_of(hex));
  if (!read) {
    const std::lock_guard lock(mutex_);
    closed_ = read.error().message();
    return;
  }
  if (!*read) return;
  make_targets(tuple_of(**read));
  (void)system_.deliver(other_, 1, translated(std::move(**read)));
}

std::string ReactionReplay::expect(const std::vector<Spoken>& stated, bool over) {
  if (over) settle();
  std::vector<Spoken> seen;
  {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, 20s, [&] { return over || sent_.size() >= stated.size() || closed_; });
    seen.assign(sent_.begin(), sent_.end());
    sent_.clear();
  }
  // Between two processes the order counts; what a dying process tells several others has none.
  for (const auto& one : stated) {
    bool found = false;
    for (auto at = seen.begin(); at != seen.end() && !found; ++at) {
      found = unify_all({one.control, one.payload}, {at->control, at->payload});
      if (!found) continue;
      if (one.control[0] == Term(31) && at != seen.begin()) return "late: " + text(*at);
      seen.erase(at);
      break;
    }
    if (found) continue;
    std::string all = "not said: " + text(one);
    for (const auto& other : seen) all += "\n  said: " + text(other);
    return all;
  }
  const std::lock_guard lock(mutex_);
  sent_.insert(sent_.begin(), seen.begin(), seen.end());
  return "";
}

std::string ReactionReplay::surplus() {
  settle();
  std::string all;
  const std::lock_guard lock(mutex_);
  for (const auto& one : sent_) all += "too much: " + text(one) + "\n";
  sent_.clear();
  return all;
}

std::string ReactionReplay::run() {
  const auto& events = row_.at("exchange").as_array();
  distribution::MessageReader others({other_, own_, nodes_.peer_creation, nodes_.own_creation}, flags_);
  const auto is_ours = [](const json::value& event) { return text_of(event, "dir") == "from_otp"; };
  // The name that this one monitors is that of the process which it tells to die afterwards.
  if (text_of(row_, "name") == "monitor_name_then_exits") {
    distribution::MessageReader ahead(nodes_, flags_);
    const auto last = ahead.read(0, frame_of(text_of(events.at(1), "frame_hex")));
    make_targets(tuple_of(**last));
    system_.register_name("tmpreg", targets_.back()).value();
  }
  std::size_t at = 0;
  while (at < events.size()) {
    for (; at < events.size() && !is_ours(events[at]); ++at) hear(text_of(events[at], "frame_hex"));
    std::vector<Spoken> stated;
    for (; at < events.size() && is_ours(events[at]); ++at) {
      auto read = others.read(0, frame_of(text_of(events[at], "frame_hex")));
      if (!read || !*read) return "the vector cannot be read";
      const auto* named = std::get_if<distribution::SendName>(&(**read).control);
      if (named != nullptr && named->name == "logger_proxy") continue;  // we log what we run ourselves
      stated.push_back(spoken(**read));
    }
    const bool over = at == events.size() && actor_.has_value();
    if (over) finish();
    if (auto missing = expect(stated, over); !missing.empty()) return missing;
  }
  return surplus();
}

void ReactionReplay::disconnect() { (void)system_.node_down(other_, 1); }

void ReactionReplay::settle() {
  // One worker runs the processes in turn: what was caused before a round began has happened after it, and what that
  // caused after the next. No exchange has a longer chain than this.
  constexpr int rounds = 8;
  for (int round = 0; round < rounds; ++round) {
    auto done = std::make_shared<std::promise<void>>();
    system_.spawn([done](Process& /*self*/) -> Task<> {
      done->set_value();
      co_return;
    });
    if (done->get_future().wait_for(20s) != std::future_status::ready) throw std::runtime_error("the worker hangs");
  }
}

void ReactionReplay::finish() {
  if (!actor_) return;
  auto ended = std::make_shared<std::promise<void>>();
  system_.spawn([ended, actor = *actor_](Process& self) -> Task<> {
    self.monitor(actor);
    co_await self.send(actor, Atom("finish"));
    co_await self.receive();
    ended->set_value();
  });
  if (ended->get_future().wait_for(20s) != std::future_status::ready) throw std::runtime_error("the actor hangs");
}

void ReactionReplay::note(const std::string& text) {
  const std::lock_guard lock(mutex_);
  notes_ += (notes_.empty() ? "" : " ") + text;
}
std::string ReactionReplay::notes() {
  const std::lock_guard lock(mutex_);
  return notes_;
}
std::optional<std::string> ReactionReplay::closed() {
  const std::lock_guard lock(mutex_);
  return closed_;
}
std::size_t ReactionReplay::withheld() {
  const std::lock_guard lock(mutex_);
  return withheld_;
}
bool ReactionReplay::targets_alive() {
  return std::ranges::all_of(targets_, [this](const Pid& pid) { return system_.is_alive(pid); });
}

}  // namespace barrel_p2p::process
