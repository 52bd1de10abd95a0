// Metrics in the text format of Prometheus (exposition format 0.0.4), which OpenMetrics collectors read as well.
//
// One table describes every metric; `/metrics` and docs/metrics.md are written from it. Where document 07 of the
// protocol has an instrument for the same thing, its name is kept: `barrel_p2p.plumtree.graft.sent` is
// `barrel_p2p_plumtree_graft_sent_total`.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "admin/snapshot.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace admin {

/// Metrics of single peers are told of so many peers, those with a connection, by name: each value is a series that the
/// collector keeps for weeks.
inline constexpr std::size_t peers_told_max = 128;

struct Metric {
  enum class Type : std::uint8_t { counter, gauge };
  /// Takes one value; `label`: of the metric's label, empty when it has none.
  using Tell = std::function<void(std::string_view label, double value)>;

  std::string_view name;  ///< Of a counter with `_total` at its end.
  Type type;
  std::string_view unit;   ///< `bytes`, `seconds`, `ratio`; empty: a count.
  std::string_view label;  ///< `peer`, `reason`, ...; empty: none.
  std::string_view help;   ///< One sentence.
  void (*collect)(const Snapshot& snapshot, const Tell& tell);
};

[[nodiscard]] std::span<const Metric> metrics() noexcept;
/// The answer to /metrics.
[[nodiscard]] std::string exposition(const Snapshot& snapshot);
/// docs/metrics.md.
[[nodiscard]] std::string metrics_document();

}  // namespace admin
}  // namespace v0
}  // namespace barrel_p2p
