// What `barrel_p2p chaos` does to its nodes and to the network between them, and when: drawn from a seed.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
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
    clock,      ///< The wall clocks of `nodes` are set wrong by `step`, and right again at the end.
    disk_full,  ///< `nodes` are stopped and start again; from then to the end their disks have no room.
  };
  Kind kind = Kind::kill;
  std::chrono::milliseconds begin{};  ///< Since the start of the trouble.
  std::chrono::milliseconds end{};
  std::vector<std::size_t> nodes{};  ///< Ascending; none for `bad_links`.
  std::chrono::milliseconds step{};  ///< Of `clock`: ahead, and behind below 0.
  bool killed = false;               ///< Of `disk_full`: SIGKILL at the end, and a start before there is room.
  double lost = 0;                   ///< Of `bad_links`, as the rest.
  double repeated = 0;
  double held_back = 0;
  std::chrono::milliseconds delay{};

  friend bool operator==(const ChaosFault&, const ChaosFault&) = default;
};

inline constexpr std::array chaos_fault_kinds{
    ChaosFault::Kind::kill,      ChaosFault::Kind::freeze, ChaosFault::Kind::split,    ChaosFault::Kind::one_way,
    ChaosFault::Kind::bad_links, ChaosFault::Kind::clock,  ChaosFault::Kind::disk_full};

/// Whether a node has a file system of its own, which can be full: every second one, so that the others wait for the
/// disk of the machine.
constexpr bool has_own_disk(std::size_t node) noexcept { return node % 2 == 0; }

/// `kill`, `bad_links`.
std::string word_of(ChaosFault::Kind kind);
std::optional<ChaosFault::Kind> fault_kind_of(std::string_view word);
/// For a person, on one line.
std::string to_text(const ChaosFault& fault);

/// In the order of their begins, all of them over at `length`, and of `kinds`, of which there is one at least. A node
/// has one fault of its own at a time and one wrong clock, and the network one of each kind; all of these at the same
/// time.
std::vector<ChaosFault> plan_chaos(Prng& random, std::size_t nodes, std::chrono::milliseconds length,
                                   std::span<const ChaosFault::Kind> kinds = chaos_fault_kinds);

}  // namespace barrel_p2p::command
