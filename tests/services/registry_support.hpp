// Nodes with members and a registry on a network of the test's making: messages are late, lost or doubled as the test
// wants.
#pragma once

#include <barrel_p2p/term.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "base/prng.hpp"
#include "services/links.hpp"
#include "services/members.hpp"
#include "services/names.hpp"
#include "services/registry.hpp"

namespace barrel_p2p::services::test {

using namespace std::chrono_literals;

inline constexpr MonotonicTime start_time = MonotonicTime{} + 1h;

std::string to_text(const ServiceEvent& event);

/// A process of a node, in its given incarnation.
Pid process(const std::string& node, std::uint32_t id, std::uint32_t creation = 1);

/// A node and what it told.
struct Machine {
  Machine(RegistryConfig config, const Now& now);

  /// Sorts the effects out; those for others stay in `sent`.
  void note(const Now& now, Effects effects);
  std::string take_events();
  /// `name@node ...` of all that is visible, in order.
  [[nodiscard]] std::string visible() const;

  Atom own;
  replication::HybridClock clock;
  Members members;
  Registry registry;
  Effects sent;
  std::vector<std::string> events;
  std::set<Term, TermLess> changed;  ///< Names, since it was last cleared.
  std::set<Pid> watched;
  std::map<Ticket, std::string> completed;  ///< Ticket to the name of the error, or `ok`.
};

struct Weather {
  Milliseconds delay_max{5};
  double loss = 0;
  double doubled = 0;
};

class World {
 public:
  explicit World(std::uint64_t seed = 1) : random_(seed) {}

  Machine& add(const std::string& name);
  Machine& add(RegistryConfig config);
  Machine& at(const std::string& name) { return *machines_.at(Atom(name)); }
  [[nodiscard]] bool is_up(const std::string& name) const { return machines_.contains(Atom(name)); }
  [[nodiscard]] std::vector<std::string> names() const;
  /// Neighbours that are C++ nodes.
  void link(const std::string& one, const std::string& other);
  void unlink(const std::string& one, const std::string& other);
  [[nodiscard]] bool are_linked(const std::string& one, const std::string& other) const;
  /// The process of the node ends without a word.
  void crash(const std::string& name);

  bool add_service(const std::string& node, const Term& name, const Pid& pid, const Term& meta = Term::map({}),
                   Ticket ticket = 0, Milliseconds limit = 5s);
  bool remove_service(const std::string& node, const Term& name);
  void end_process(const std::string& node, const Pid& pid, const Term& reason);

  void pass(Milliseconds time);
  [[nodiscard]] const Now& now() const noexcept { return now_; }

  Weather weather;
  std::size_t messages = 0;
  std::size_t broadcasts = 0;
  /// Whether a message may pass; empty: all may.
  std::function<bool(const Atom& from, const Atom& to, const Term& message)> filter;

 private:
  struct Item {
    Atom from;
    Atom to;
    Atom name;
    Term term;
    bool broadcast = false;
  };

  void take(Machine& machine);
  void carry(Item item);
  void deliver(const Item& item);
  void tick();

  Now now_{start_time, start_wall};
  Prng random_;
  std::map<Atom, std::unique_ptr<Machine>> machines_;
  barrel_p2p::test::Links links_;
  std::multimap<MonotonicTime, Item> queue_;
};

}  // namespace barrel_p2p::services::test
