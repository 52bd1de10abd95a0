// Lookups through the overlay, as a machine without I/O: asks neighbours for a service that is not known here, and
// answers those that ask us.
//
//   request, to the process barrel_p2p_router:
//     {'$barrel_p2p_route', {route_request, {route_req, Name, TTL, Origin, Visited}, {ReplyPid, Ref}}}
//   reply, to ReplyPid:
//     {Ref, {found, Node, Pid} | {error, not_found | ttl_expired | overloaded}}
//
// C++ nodes hold the registrations of all nodes, so they rarely need it; an Erlang node knows what it was told while it
// was listening, and finds the rest this way. What differs from an Erlang node, and is understood by it: a name is
// looked up before the TTL is tested; registrations of others are answered for, too; several neighbours are asked at
// once, and each is told who else was; a request is answered in less time the fewer hops it has left, so that an answer
// from far away meets a relay that still waits for it.
//
// Source: protocol document 05, sections 5 and 11. One thread at a time.
#pragma once

#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "base/prng.hpp"
#include "services/effects.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

inline constexpr std::string_view router_name = "barrel_p2p_router";

struct RouterConfig {
  Atom own;
  std::uint64_t seed = 0;
  std::int64_t hops_max = 4;   ///< That a request goes. Erlang nodes: the same.
  std::size_t fan_out = 3;     ///< Neighbours that are asked at once; the others when these said no.
  Milliseconds patience{400};  ///< After so long without an answer as many again are asked.
  /// A request with TTL t is answered within (t + 1) times this: 4 s with the greatest TTL, and Erlang nodes wait 5 s.
  Milliseconds answer_within{800};
  std::size_t in_flight_max = 256;             ///< `router_max_in_flight`: requests of others that wait for others.
  std::size_t in_flight_per_source_max = 128;  ///< Of these, of one neighbour: two cannot shut out all others.
  std::size_t finds_max = 10'000;              ///< Lookups of this node that wait, about 200 bytes each.
  Milliseconds negative_age{1000};             ///< A name that nobody had is not asked for again so soon.
  std::size_t negative_max = 10'000;           ///< Names of which that is remembered.
  std::size_t visited_max = 256;               ///< Nodes in the path of a request: more is no path of a few hops.
};

struct RouterCounters {
  std::uint64_t requests = 0;            ///< Of others, well formed.
  std::uint64_t request_dropped = 0;     ///< Answered with `overloaded`. Erlang's `barrel_p2p.router.request_dropped`.
  std::uint64_t malformed = 0;           ///< Requests, and replies to us.
  std::uint64_t answered_by_others = 0;  ///< Replies of a node to what another one was asked: not believed.
  std::uint64_t answered_late = 0;       ///< Replies that nobody waited for any more.
  std::uint64_t finds = 0;
  std::uint64_t asked = 0;  ///< Requests that were sent, for us and for others.
};

class Router {
 public:
  /// Where the name is, as far as this node knows: its own registration, else that of a node that is alive.
  using Lookup = std::function<std::optional<Route>(const Term& name)>;
  /// Whether this node does not know better than the one that gave this answer: that the service was removed, or that
  /// its node is gone.
  using Believe = std::function<bool(const Term& name, const Route& route)>;
  /// A reference that was never used.
  using MakeReference = std::function<Ref()>;
  struct Knowledge {
    Lookup lookup;
    Believe believe;
    MakeReference make_reference;
  };

  /// `reply_to`: the process whose messages go to `reply`.
  Router(RouterConfig config, Pid reply_to, Knowledge knowledge);

  // The overlay tells: whom to ask.
  void neighbour_up(const Atom& node);
  void neighbour_down(const Atom& node, const Now& now, Effects& out);

  /// Asks the neighbours for a name that is not known here. Answered once, by `Routed`: a route; `not_found`: all
  /// answered, none has it; `timeout`: not all answered before `deadline`; `overloaded`.
  void find(const Term& name, Ticket ticket, MonotonicTime deadline, const Now& now, Effects& out);

  /// A message to the name `barrel_p2p_router`, from the node that its channel proved.
  void receive(const Atom& from, const Term& message, const Now& now, Effects& out);
  /// A message to `reply_to`, from the node that its channel proved.
  void reply(const Atom& from, const Term& message, const Now& now, Effects& out);
  void tick(const Now& now, Effects& out);
  [[nodiscard]] MonotonicTime deadline() const noexcept;

  [[nodiscard]] const RouterCounters& counters() const noexcept { return counters_; }
  /// Searches of this node and for others.
  [[nodiscard]] std::size_t searches() const noexcept { return searches_.size(); }

 private:
  using SearchId = std::uint64_t;
  struct Request {
    Term name;
    std::int64_t ttl = 0;
    Atom origin;
    std::vector<Atom> visited;  ///< The newest first.
    Pid reply_to;
    Ref reference;
  };
  struct Waiter {
    Ticket ticket = 0;
    MonotonicTime deadline;
  };
  struct Search {
    Term name;
    std::int64_t ttl = 0;  ///< That the neighbours are asked with.
    Atom origin;
    std::vector<Atom> visited;  ///< As it came, with this node in front.
    std::vector<Atom> asked;
    std::vector<Atom> rest;       ///< Not asked yet; the next one last.
    std::vector<Ref> references;  ///< Of what was asked and not answered.
    std::size_t waiting_max = 0;
    MonotonicTime widen;     ///< When more are asked, if nobody answers.
    MonotonicTime due;       ///< Its place in `due_`.
    MonotonicTime deadline;  ///< Of a request.
    Atom source;             ///< Of a request; empty when it is ours.
    Pid reply_to;
    Ref reference;
    std::vector<Waiter> waiters;  ///< When it is ours.
    [[nodiscard]] bool is_ours() const noexcept { return source.text().empty(); }
  };
  using Searches = std::map<SearchId, Search>;
  struct Asked {
    SearchId search = 0;
    Atom node;
  };

  [[nodiscard]] std::optional<Request> read(const Atom& from, const Term& message) const;
  void serve(const Atom& from, Request request, const Now& now, Effects& out);
  [[nodiscard]] std::vector<Atom> unvisited(const std::vector<Atom>& visited, const Atom& source);
  void begin(Search search, const Now& now, Effects& out);
  void ask_more(SearchId id, Search& search, Effects& out);
  void said_no(const Ref& reference, const Now& now, Effects& out);
  void end(Searches::iterator at, const Result<Route>& result, const Now& now, Effects& out);
  void expire(Searches::iterator at, const Now& now, Effects& out);
  void schedule(SearchId id, Search& search);
  void remember_unknown(const Term& name, const Now& now);
  void forget_unknown(const Now& now);

  RouterConfig config_;
  Pid reply_to_;
  Knowledge knowledge_;
  Prng random_;
  std::set<Atom> neighbours_;
  SearchId last_search_ = 0;
  Searches searches_;
  std::set<std::pair<MonotonicTime, SearchId>> due_;
  std::unordered_map<Ref, Asked> asked_;
  std::unordered_map<Term, SearchId> own_;  ///< By name: one search serves all who look for it.
  std::size_t finds_ = 0;                   ///< Waiters of all.
  std::size_t serving_ = 0;
  std::unordered_map<Atom, std::size_t> serving_of_;
  std::unordered_set<Term> unknown_;
  std::deque<std::pair<MonotonicTime, Term>> unknown_until_;  ///< In the order of the time.
  RouterCounters counters_;
};

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
