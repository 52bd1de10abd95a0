#include "services/router.hpp"

#include <algorithm>
#include <ranges>

#include "services/registry_entry.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {
namespace {

Term error_term(const char* what) { return Term::tuple({Atom("error"), Atom(what)}); }

Term found_term(const Route& route) { return Term::tuple({Atom("found"), route.node, route.pid}); }

/// `{found, Node, Pid}`; nothing for everything else, for every other answer is a no.
std::optional<Route> as_route(const Term& result) {
  if (!result.is_tagged("found", 3) || !result[1].is_atom() || !result[2].is_pid()) return std::nullopt;
  if (!NodeName::parse(result[1].as_atom()->text())) return std::nullopt;
  return Route{*result[1].as_atom(), *result[2].as_pid()};
}

SendPid answer(const Pid& to, const Ref& reference, Term result) {
  return {to, Term::tuple({reference, std::move(result)})};
}

}  // namespace

Router::Router(RouterConfig config, Pid reply_to, Knowledge knowledge)
    : config_(std::move(config)),
      reply_to_(std::move(reply_to)),
      knowledge_(std::move(knowledge)),
      random_(config_.seed) {}

void Router::neighbour_up(const Atom& node) { neighbours_.insert(node); }

void Router::neighbour_down(const Atom& node, const Now& now, Effects& out) {
  neighbours_.erase(node);
  for (auto& [id, search] : searches_) std::erase(search.rest, node);
  std::vector<Ref> lost;
  for (const auto& [reference, asked] : asked_) {
    if (asked.node == node) lost.push_back(reference);
  }
  std::ranges::sort(lost);
  for (const auto& reference : lost) said_no(reference, now, out);
}

std::vector<Atom> Router::unvisited(const std::vector<Atom>& visited, const Atom& source) {
  std::vector<Atom> nodes;
  for (const auto& node : neighbours_) {
    if (node != source && std::ranges::find(visited, node) == visited.end()) nodes.push_back(node);
  }
  random_.shuffle(nodes);
  return nodes;
}

// For this node.

void Router::find(const Term& name, Ticket ticket, MonotonicTime deadline, const Now& now, Effects& out) {
  ++counters_.finds;
  forget_unknown(now);
  if (const auto route = knowledge_.lookup(name)) {
    out.emplace_back(Routed{ticket, *route});
    return;
  }
  if (neighbours_.empty() || unknown_.contains(name)) {
    out.emplace_back(Routed{ticket, fail(Errc::not_found)});
    return;
  }
  if (finds_ >= config_.finds_max) {
    out.emplace_back(Routed{ticket, fail(Errc::overloaded, "too many lookups of this node wait for others")});
    return;
  }
  ++finds_;
  const auto running = own_.find(name);
  if (running != own_.end()) {
    Search& search = searches_.at(running->second);
    search.waiters.push_back({ticket, deadline});
    schedule(running->second, search);
    return;
  }
  Search search;
  search.name = name;
  search.ttl = config_.hops_max;
  search.origin = config_.own;
  search.visited = {config_.own};
  search.rest = unvisited(search.visited, config_.own);
  search.waiters = {{ticket, deadline}};
  own_.emplace(name, last_search_ + 1);
  begin(std::move(search), now, out);
}

// For others.

std::optional<Router::Request> Router::read(const Atom& from, const Term& message) const {
  if (!message.is_tagged("$barrel_p2p_route", 2) || !message[1].is_tagged("route_request", 3)) return std::nullopt;
  const Term& what = message[1][1];
  const Term& where = message[1][2];
  if (!what.is_tagged("route_req", 5) || !where.is_tuple(2)) return std::nullopt;
  const auto ttl = what[2].as_int64();
  const auto* pid = where[0].as_pid();
  const auto* reference = where[1].as_reference();
  if (!ttl || !what[3].is_atom() || pid == nullptr || reference == nullptr) {
    return std::nullopt;
  }
  // The answer goes to who asks: nobody makes us send messages to a third node.
  if (pid->node != from) return std::nullopt;
  if (!what[4].is_proper_list() || what[4].size() > config_.visited_max) return std::nullopt;
  std::vector<Atom> visited;
  for (const auto& node : what[4].elements()) {
    if (!node.is_atom()) return std::nullopt;
    visited.push_back(*node.as_atom());
  }
  return Request{what[1], std::min(*ttl, config_.hops_max), *what[3].as_atom(), std::move(visited), *pid, *reference};
}

void Router::receive(const Atom& from, const Term& message, const Now& now, Effects& out) {
  auto request = read(from, message);
  if (!request) {
    ++counters_.malformed;
    return;
  }
  ++counters_.requests;
  serve(from, std::move(*request), now, out);
}

void Router::serve(const Atom& from, Request request, const Now& now, Effects& out) {
  const auto reply = [&](Term result) {
    out.emplace_back(answer(request.reply_to, request.reference, std::move(result)));
  };
  // An Erlang node waits five seconds for an answer, and asks nobody else meanwhile.
  if (!is_name_to_find(request.name)) return reply(error_term("not_found"));
  if (const auto route = knowledge_.lookup(request.name)) return reply(found_term(*route));
  if (request.ttl <= 0) return reply(error_term("ttl_expired"));
  auto rest = unvisited(request.visited, from);
  // With TTL 0 an Erlang node does not look, and a C++ node knows what we know.
  if (rest.empty() || request.ttl == 1) return reply(error_term("not_found"));
  std::size_t& of_source = serving_of_[from];
  if (serving_ >= config_.in_flight_max || of_source >= config_.in_flight_per_source_max) {
    ++counters_.request_dropped;
    if (of_source == 0) serving_of_.erase(from);
    return reply(error_term("overloaded"));
  }
  ++serving_;
  ++of_source;
  Search search;
  search.name = std::move(request.name);
  search.ttl = request.ttl - 1;
  search.origin = std::move(request.origin);
  search.visited = std::move(request.visited);
  search.visited.insert(search.visited.begin(), config_.own);
  search.rest = std::move(rest);
  search.deadline = now.monotonic + config_.answer_within * (request.ttl + 1);
  search.source = from;
  search.reply_to = std::move(request.reply_to);
  search.reference = std::move(request.reference);
  begin(std::move(search), now, out);
}

// Searches.

void Router::begin(Search search, const Now& now, Effects& out) {
  const SearchId id = ++last_search_;
  search.waiting_max = config_.fan_out;
  search.widen = now.monotonic + config_.patience;
  search.due = MonotonicTime::max();
  due_.emplace(search.due, id);
  Search& begun = searches_.emplace(id, std::move(search)).first->second;
  ask_more(id, begun, out);
  schedule(id, begun);
}

void Router::ask_more(SearchId id, Search& search, Effects& out) {
  const std::size_t room = search.waiting_max - std::min(search.waiting_max, search.references.size());
  const std::size_t count = std::min(room, search.rest.size());
  std::vector<Atom> nodes(search.rest.rbegin(), search.rest.rbegin() + static_cast<std::ptrdiff_t>(count));
  search.rest.resize(search.rest.size() - count);
  search.asked.insert(search.asked.end(), nodes.begin(), nodes.end());
  for (const auto& node : nodes) {
    // Those that are asked besides need not ask each other.
    std::vector<Term> visited{search.visited.front()};
    for (const auto& other : search.asked) {
      if (other != node) visited.emplace_back(other);
    }
    visited.insert(visited.end(), search.visited.begin() + 1, search.visited.end());
    const Ref reference = knowledge_.make_reference();
    Term request =
        Term::tuple({Atom("route_req"), search.name, search.ttl, search.origin, Term::list(std::move(visited))});
    Term message = Term::tuple({Atom("route_request"), std::move(request), Term::tuple({reply_to_, reference})});
    out.emplace_back(Send{node, Atom(router_name), Term::tuple({Atom("$barrel_p2p_route"), std::move(message)})});
    search.references.push_back(reference);
    asked_.emplace(reference, Asked{id, node});
    ++counters_.asked;
  }
}

void Router::reply(const Atom& from, const Term& message, const Now& now, Effects& out) {
  const auto* reference = message.is_tuple(2) ? message[0].as_reference() : nullptr;
  if (reference == nullptr) {
    ++counters_.malformed;
    return;
  }
  const auto asked = asked_.find(*reference);
  if (asked == asked_.end()) {
    ++counters_.answered_late;
    return;
  }
  // References can be guessed.
  if (asked->second.node != from) {
    ++counters_.answered_by_others;
    return;
  }
  const auto route = as_route(message[1]);
  const auto at = searches_.find(asked->second.search);
  // A registration of ours that we do not know any more is one that others have not forgotten yet.
  const bool believed = route && route->node != config_.own && knowledge_.believe(at->second.name, *route);
  if (!believed) return said_no(*reference, now, out);
  end(at, *route, now, out);
}

void Router::said_no(const Ref& reference, const Now& now, Effects& out) {
  const auto asked = asked_.find(reference);
  if (asked == asked_.end()) return;  // its search has ended meanwhile
  const SearchId id = asked->second.search;
  asked_.erase(asked);
  const auto at = searches_.find(id);
  Search& search = at->second;
  std::erase(search.references, reference);
  ask_more(id, search, out);
  if (search.references.empty()) return end(at, fail(Errc::not_found), now, out);
  schedule(id, search);
}

void Router::end(Searches::iterator at, const Result<Route>& result, const Now& now, Effects& out) {
  const Search search = std::move(at->second);
  due_.erase({search.due, at->first});
  searches_.erase(at);
  for (const auto& reference : search.references) asked_.erase(reference);
  if (search.is_ours()) {
    own_.erase(search.name);
    finds_ -= search.waiters.size();
    if (!result && result.error() == Errc::not_found) remember_unknown(search.name, now);
    for (const auto& waiter : search.waiters) out.emplace_back(Routed{waiter.ticket, result});
    return;
  }
  --serving_;
  const auto of_source = serving_of_.find(search.source);
  if (--of_source->second == 0) serving_of_.erase(of_source);
  out.emplace_back(answer(search.reply_to, search.reference, result ? found_term(*result) : error_term("not_found")));
}

// Time.

void Router::schedule(SearchId id, Search& search) {
  MonotonicTime due = search.is_ours() ? MonotonicTime::max() : search.deadline;
  for (const auto& waiter : search.waiters) due = std::min(due, waiter.deadline);
  if (!search.rest.empty()) due = std::min(due, search.widen);
  if (due == search.due) return;
  due_.erase({search.due, id});
  search.due = due;
  due_.emplace(due, id);
}

void Router::tick(const Now& now, Effects& out) {
  forget_unknown(now);
  std::vector<SearchId> due;
  for (const auto& [time, id] : due_) {
    if (time > now.monotonic) break;
    due.push_back(id);
  }
  for (const auto id : due) expire(searches_.find(id), now, out);
}

void Router::expire(Searches::iterator at, const Now& now, Effects& out) {
  Search& search = at->second;
  if (!search.is_ours() && search.deadline <= now.monotonic) return end(at, fail(Errc::timeout), now, out);
  const auto late = std::ranges::stable_partition(
      search.waiters, [&](const Waiter& waiter) { return waiter.deadline > now.monotonic; });
  for (const auto& waiter : late) {
    out.emplace_back(Routed{waiter.ticket, fail(Errc::timeout, "not all nodes that were asked have answered")});
  }
  finds_ -= late.size();
  search.waiters.erase(late.begin(), late.end());
  if (search.is_ours() && search.waiters.empty()) return end(at, fail(Errc::timeout), now, out);
  if (search.widen <= now.monotonic) {
    search.waiting_max += config_.fan_out;
    search.widen = now.monotonic + config_.patience;
    ask_more(at->first, search, out);
  }
  schedule(at->first, search);
}

MonotonicTime Router::deadline() const noexcept { return due_.empty() ? MonotonicTime::max() : due_.begin()->first; }

// Names that nobody has.

void Router::remember_unknown(const Term& name, const Now& now) {
  if (unknown_.size() >= config_.negative_max) return;
  if (unknown_.insert(name).second) unknown_until_.emplace_back(now.monotonic + config_.negative_age, name);
}

void Router::forget_unknown(const Now& now) {
  while (!unknown_until_.empty() && unknown_until_.front().first <= now.monotonic) {
    unknown_.erase(unknown_until_.front().second);
    unknown_until_.pop_front();
  }
}

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
