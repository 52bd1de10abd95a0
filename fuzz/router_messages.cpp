// Lookups through the overlay, asked and answered by peers that say anything in any order: no crash; whoever asks gets
// one answer, from the node itself and to the node that asked; requests go to neighbours only and end in time.
//
//   input: steps of kind(1) peer(1) and what the kind takes
//   kind:  0 a message to the router, 1 a message to the process of its answers: a term, length(2) before it
//          2 a request: name(1) ttl(1) reply to(1) number of visited(1) visited(1)...
//          3 the answer to one of our questions: which(1) what(1), and for some of these a term
//          4 a lookup of ours: name(1) limit in 10 ms(1)   5 a neighbour comes   6 goes   7 time passes: 10 ms(1)
#include "services/router.hpp"

#include <array>
#include <barrel_p2p/term.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "input.hpp"

namespace {

using namespace barrel_p2p;
using namespace barrel_p2p::services;
using namespace barrel_p2p::fuzz;

const Atom own("own@h");
const std::array<Atom, 6> peers{Atom("a@h"), Atom("b@h"), Atom("c@h"), Atom("d@h"), Atom("gone@h"), Atom("own@h")};

const std::array<Term, 4>& names() {
  static const std::array<Term, 4> all{Term(Atom("here")), Term(Atom("there")), Term("nowhere"), Term(Atom("web"))};
  return all;
}

Pid pid_at(const Atom& node) { return {node, 7, 0, 4}; }
Term error(const char* what) { return Term::tuple({Atom("error"), Atom(what)}); }

class Machine {
 public:
  explicit Machine(Input& input)
      : input_(input),
        router_(config(), pid_at(own),
                {[](const Term& name) { return lookup(name); },
                 [](const Term& /*name*/, const Route& route) { return route.node != peers[4]; },
                 [this] { return Ref{own, 4, 3, {++references_, 0, 0, 0, 0}}; }}) {
    for (std::size_t peer = 0; peer < 2; ++peer) come(peers[peer]);
  }

  void step() {
    const auto kind = input_.byte();
    const Atom& peer = peers[input_.byte() % peers.size()];
    switch (kind & 7U) {
      case 0: return receive_any(peer);
      case 1: return reply_any(peer);
      case 2: return request(peer);
      case 3: return answer(peer);
      case 4: return find();
      case 5: return come(peer);
      case 6: return go(peer);
      default: return pass(std::chrono::milliseconds(10L * input_.byte()));
    }
  }

  /// Everything that was begun ends when nobody says anything any more.
  void end() {
    pass(std::chrono::hours(1));
    require(router_.deadline() == MonotonicTime::max() && router_.searches() == 0);
    require(waiting_.empty());
    require(router_.counters().requests == answered_);
  }

 private:
  static RouterConfig config() {
    RouterConfig config;
    config.own = own;
    config.seed = 1;
    config.in_flight_max = 8;
    config.in_flight_per_source_max = 4;
    config.finds_max = 8;
    config.negative_max = 4;
    config.visited_max = 8;
    return config;
  }
  static std::optional<Route> lookup(const Term& name) {
    if (name == names()[0]) return Route{own, pid_at(own)};
    if (name == names()[1]) return Route{peers[1], pid_at(peers[1])};
    return std::nullopt;
  }

  void receive_any(const Atom& from) {
    if (const auto term = decode_term(input_.piece())) receive(from, term->term);
  }
  void receive(const Atom& from, const Term& message) {
    askers_.insert(from);
    router_.receive(from, message, now_, out_);
    settle();
  }
  void reply_any(const Atom& from) {
    if (const auto term = decode_term(input_.piece())) router_.reply(from, term->term, now_, out_);
    settle();
  }
  void request(const Atom& from) {
    const Term& name = names()[input_.byte() % names().size()];
    const auto ttl = static_cast<std::int8_t>(input_.byte());
    const auto to = input_.byte();
    std::vector<Term> visited;
    for (std::size_t count = input_.byte() % 12U; count > 0; --count)
      visited.emplace_back(peers[input_.byte() % peers.size()]);
    const Pid reply_to = pid_at(to < peers.size() ? peers[to] : from);
    const Ref reference{reply_to.node, 4, 3, {++theirs_, 0, 0, 0, 0}};
    Term what = Term::tuple({Atom("route_req"), name, ttl, peers[0], Term::list(std::move(visited))});
    Term whole = Term::tuple({Atom("route_request"), std::move(what), Term::tuple({reply_to, reference})});
    receive(from, Term::tuple({Atom("$barrel_p2p_route"), std::move(whole)}));
  }
  void answer(const Atom& from) {
    if (asked_.empty()) return;
    const auto& [reference, node] = asked_[input_.byte() % asked_.size()];
    const auto what = input_.byte();
    Term result = error("not_found");
    if ((what & 3U) == 1) result = error("overloaded");
    if ((what & 3U) == 2) result = Term::tuple({Atom("found"), from, pid_at(from)});
    if ((what & 3U) == 3) {
      const auto term = decode_term(input_.piece());
      if (term) result = term->term;
    }
    const Term message = Term::tuple({reference, std::move(result)});
    router_.reply((what & 4U) == 0 ? node : from, message, now_, out_);
    settle();
  }
  void find() {
    const Term& name = names()[input_.byte() % names().size()];
    const auto limit = std::chrono::milliseconds(10L * input_.byte());
    waiting_.insert(++last_ticket_);
    router_.find(name, last_ticket_, now_.monotonic + limit, now_, out_);
    settle();
  }
  void come(const Atom& peer) {
    if (peer == own) return;
    neighbours_.insert(peer);
    router_.neighbour_up(peer);
  }
  void go(const Atom& peer) {
    neighbours_.erase(peer);
    router_.neighbour_down(peer, now_, out_);
    settle();
  }
  void pass(MonotonicTime::duration time) {
    const auto end = now_.monotonic + time;
    for (int ticks = 0; router_.deadline() <= end; ++ticks) {
      require(ticks < 10'000);
      now_.monotonic = std::max(now_.monotonic, router_.deadline());
      router_.tick(now_, out_);
      settle();
    }
    now_.monotonic = end;
  }

  void settle() {
    require(router_.searches() <= 8 + 8);
    for (const auto& effect : out_) {
      if (const auto* sent = std::get_if<Send>(&effect)) {
        require(neighbours_.contains(sent->to) && sent->name == router_name);
        const Term& request = sent->message[1];
        require(*request[1][2].as_int64() <= 4 && *request[1][2].as_int64() >= 0);
        asked_.emplace_back(*request[2][1].as_reference(), sent->to);
      } else if (const auto* reply = std::get_if<SendPid>(&effect)) {
        require(askers_.contains(reply->to.node));
        ++answered_;
      } else {
        require(waiting_.erase(std::get<Routed>(effect).ticket) == 1);
      }
    }
    out_.clear();
  }

  Input& input_;
  Now now_{MonotonicTime(std::chrono::hours(1)), 0};
  std::uint32_t references_ = 0;
  std::uint32_t theirs_ = 0;
  Ticket last_ticket_ = 0;
  std::set<Atom> neighbours_;
  std::set<Ticket> waiting_;
  std::vector<std::pair<Ref, Atom>> asked_;
  std::uint64_t answered_ = 0;
  std::set<Atom> askers_;
  Effects out_;
  Router router_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  Machine machine(input);
  constexpr int steps_max = 64;
  for (int step = 0; step < steps_max && !input.empty(); ++step) machine.step();
  machine.end();
  return 0;
}
