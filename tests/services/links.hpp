// Which nodes of a test are neighbours, and whom a broadcast of one of them reaches.
#pragma once

#include <barrel_p2p/term.hpp>

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

namespace barrel_p2p::test {

class Links {
 public:
  /// False: they are neighbours already.
  bool add(const Atom& one, const Atom& other) { return pairs_.insert(std::minmax(one, other)).second; }
  /// False: they are none.
  bool remove(const Atom& one, const Atom& other) { return pairs_.erase(std::minmax(one, other)) > 0; }
  [[nodiscard]] bool contains(const Atom& one, const Atom& other) const {
    return pairs_.contains(std::minmax(one, other));
  }
  [[nodiscard]] std::vector<Atom> of(const Atom& node) const {
    std::vector<Atom> neighbours;
    for (const auto& [one, other] : pairs_) {
      if (one == node) neighbours.push_back(other);
      if (other == node) neighbours.push_back(one);
    }
    return neighbours;
  }
  /// The node itself among them.
  [[nodiscard]] std::set<Atom> reachable(const Atom& from) const {
    std::set<Atom> found{from};
    std::vector<Atom> open{from};
    while (!open.empty()) {
      const Atom node = open.back();
      open.pop_back();
      for (const auto& neighbour : of(node)) {
        if (found.insert(neighbour).second) open.push_back(neighbour);
      }
    }
    return found;
  }

 private:
  std::set<std::pair<Atom, Atom>> pairs_;
};

}  // namespace barrel_p2p::test
