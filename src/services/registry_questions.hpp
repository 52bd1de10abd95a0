// Which Erlang neighbours the registry asks for what they have registered, and when. A part of registry.hpp.
//
// A node is asked when it becomes a neighbour, and when others tell of entries of it; not at once, for a hello may be
// under way that says it is a C++ node, and not again within a pause. Whether there is anything to ask for is the
// registry's to say.
//
// One thread at a time.
#pragma once

#include <barrel_p2p/term.hpp>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "replication/clock.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

class RegistryQuestions {
 public:
  /// The live entries that were known of the node when it was asked. What it registers later is not among them, however
  /// late its answer is.
  using Known = std::vector<std::pair<Term, replication::Timestamp>>;

  void neighbour_up(const Atom& node, MonotonicTime now);
  void neighbour_down(const Atom& node);
  void set_native(const Atom& node);
  void leave() { neighbours_.clear(); }
  /// Others told of its entries. Ignored if it is no Erlang neighbour.
  void doubt(const Atom& node, MonotonicTime now);

  /// Neighbours whose time has come, each once.
  [[nodiscard]] std::vector<Atom> take_due(MonotonicTime now);
  [[nodiscard]] MonotonicTime deadline() const noexcept;

  void asked(const Atom& node, Ref reference, Known known, MonotonicTime now);
  /// Nothing when this node was not asked so: references can be guessed.
  [[nodiscard]] std::optional<Known> answered(const Atom& node, const Ref& reference);

  /// Neighbours that are C++ nodes.
  [[nodiscard]] std::vector<Atom> natives() const;

 private:
  struct Neighbour {
    Atom node;
    bool native = false;
    MonotonicTime ask_at = MonotonicTime::max();
    MonotonicTime not_before{};
    std::optional<Ref> reference{};  ///< Of the question without an answer.
    Known known{};
    std::uint32_t unanswered = 0;
  };
  [[nodiscard]] Neighbour* find(const Atom& node) noexcept;

  std::vector<Neighbour> neighbours_;
};

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
