// `barrel_p2p term`: terms as a filter. Each line of input gives exactly one line of output, at once, so that another
// program can hold a conversation with it; a line that is not understood gives `error: REASON`.
//
//   decode   hex of the external term format     ->  Erlang text
//   encode   Erlang text                         ->  hex of the external term format
//   phash2   Erlang text, or hex that decodes    ->  number
#pragma once

#include <cstdint>
#include <iosfwd>

namespace barrel_p2p::command {

enum class TermOperation : std::uint8_t { decode, encode, phash2 };

struct TermCommand {
  TermOperation operation = TermOperation::decode;
  std::uint64_t range = std::uint64_t{1} << 27U;  ///< Of phash2, 1 to 2^32; the default is that of erlang:phash2/1.
  bool json = false;  ///< Each line is an object: `{"result":...}`, a number of phash2, or `{"error":...}`.
};

/// Reads until the end of the input. Returns exit_ok, or exit_failed when a line was bad or the output could not be
/// written.
int run_term_command(const TermCommand& command, std::istream& input, std::ostream& output);

}  // namespace barrel_p2p::command
