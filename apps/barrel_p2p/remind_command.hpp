// `barrel_p2p remind`: durable reminders of the cluster, through one of its nodes.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>

#include "remote.hpp"

namespace barrel_p2p::command {

enum class RemindOperation : std::uint8_t {
  set,     ///< At a time.
  after,   ///< After a while.
  cancel,  ///< Of a key that is not there: success.
  list,    ///< Time, key, payload, the earliest first. C++ nodes tell.
};

struct RemindCommand : RemoteOptions {
  RemindOperation operation = RemindOperation::list;
  std::string key;   ///< Erlang terms as text, or plain text with --string.
  std::string when;  ///< See `parse_time` and `parse_duration`.
  std::string payload = "[]";
  bool as_text = false;
  std::uint64_t count = 100;  ///< Of list.
};

/// Milliseconds since 1970: digits, or `2026-11-28T18:00:00Z`, with or without milliseconds.
std::optional<std::int64_t> parse_time(std::string_view text);
/// Milliseconds: a number with ms, s, min, h or d, for instance `90s`.
std::optional<std::int64_t> parse_duration(std::string_view text);

/// Returns exit_ok when it is on the disk of the node, exit_failed, exit_usage, exit_connect_failed or
/// exit_not_answered.
int run_remind_command(const RemindCommand& command, std::ostream& output, std::ostream& errors);

}  // namespace barrel_p2p::command
