// `barrel_p2p top`: what a node knows, live. On a terminal a page that is drawn anew every second; elsewhere it
// prints once what `status` prints.
#pragma once

#include <chrono>
#include <cstddef>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "node_state.hpp"
#include "remote.hpp"

namespace barrel_p2p::command {

struct TopCommand : RemoteOptions {
  std::chrono::milliseconds period{1000};
  bool once = false;
};

/// Bytes a second since `earlier`, in the order of the peers of `now`; nothing where they cannot be told.
struct Rate {
  std::optional<double> sent;
  std::optional<double> received;
};
std::vector<Rate> rates(const NodeState& earlier, const NodeState& now);

/// One page of a screen: `rows` lines of at most `columns` characters, from line `offset` of the state on. `trouble`:
/// why there is nothing newer; empty: all is well.
std::vector<std::string> screen(const NodeState& state, const std::vector<Rate>& rates, const std::string& trouble,
                                std::size_t offset, std::size_t rows, std::size_t columns);
/// The greatest offset that makes sense.
std::size_t last_offset(const NodeState& state, const std::vector<Rate>& rates, std::size_t rows);

/// `terminal`: the descriptor of the one that is drawn on and read from, -1: none. It is as it was when this returns,
/// however it ends. Returns as `run_status_command`.
int run_top_command(const TopCommand& command, int terminal, std::ostream& output, std::ostream& errors);

}  // namespace barrel_p2p::command
