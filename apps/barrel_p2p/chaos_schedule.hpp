// What `barrel_p2p chaos` does to its nodes and to the network between them, and when: drawn from a seed.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/prng.hpp"

namespace barrel_p2p::command {

struct ChaosFault {
  enum class Kind : std::uint8_t {
    kill,       ///< SIGKILL to `nodes`; at the end they start again, with what is on their disks.
    freeze,     ///< SIGSTOP to `nodes`, and SIGCONT at the end.
    split,      ///< `nodes` and the others do not reach each other.
    one_way,    ///< What `nodes` send to the others is lost.
    bad_links,  ///< All links lose, repeat, delay and reorder datagrams.
  };
  Kind kind = Kind::kill;
  std::chrono::milliseconds begin{};  ///< Since the start of the trouble.
  std::chrono::milliseconds end{};
  std::vector<std::size_t> nodes{};  ///< Ascending; none for `bad_links`.
  double lost = 0;                   ///< Of `bad_links`, as the rest.
  double repeated = 0;
  double held_back = 0;
  std::chrono::milliseconds delay{};

  friend bool operator==(const ChaosFault&, const ChaosFault&) = default;
};

inline constexpr std::size_t chaos_fault_kinds = 5;

/// `kill`, `bad_links`.
std::string word_of(ChaosFault::Kind kind);
/// For a person, on one line.
std::string to_text(const ChaosFault& fault);

/// In the order of their begins, all of them over at `length`. A node has one fault of its own at a time, and so has
/// the network of each kind; nodes and networks have theirs at the same time.
std::vector<ChaosFault> plan_chaos(Prng& random, std::size_t nodes, std::chrono::milliseconds length);

}  // namespace barrel_p2p::command
