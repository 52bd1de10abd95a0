#include "distribution/refusal_log.hpp"

#include <algorithm>
#include <utility>

#include "base/printable.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

/// A FAIL of the peer is a refusal of its own, and who finds itself under another address has nothing to mend.
bool is_refusal(const ChannelEnd& end) {
  const std::string_view why = end.error.context();
  if (why.starts_with("rejected") || why.find("our own name") != std::string_view::npos) return false;
  return end.cause == ChannelEnd::Cause::authentication || end.cause == ChannelEnd::Cause::handshake ||
         end.cause == ChannelEnd::Cause::protocol;
}

/// Without the name: who writes one that does harm in a shell must not find it in a command.
std::string_view remedy_of(const Error& error) {
  const std::string_view why = error.context();
  if (why.starts_with("wrong_cookie")) return "if it belongs here, give both nodes the same dist_cookie";
  if (why.starts_with("clock_skew")) return "if it belongs here, set the clocks of both machines";
  if (why.starts_with("revoked_key")) return "if it belongs here, it needs a new identity: see docs/keys.md";
  if (error == Errc::untrusted_key) return "if it belongs here: barrel_p2p keys pin NAME KEY --data DIR";
  if (error == Errc::key_mismatch) {
    return "if it has a new key for a good reason: barrel_p2p keys unpin NAME --data DIR, or keys pin NAME KEY where "
           "the trust mode is strict";
  }
  return "see docs/troubleshooting.md";
}

}  // namespace

void RefusalLog::tell(const Logger& logger, std::string_view address, std::string_view name, const ChannelEnd& end,
                      MonotonicTime now) {
  if (!is_refusal(end)) return;
  const std::string_view who = name.empty() ? std::string_view(end.claimed) : name;
  if (!may_write(address.substr(0, address.rfind(':')), who, now)) {
    ++unwritten_;
    return;
  }
  constexpr std::size_t shown_max = 1000;
  const std::string reason = printable(end.error.message(), shown_max);
  const std::string peer = who.empty() ? "a node that has not said its name" : printable(who, shown_max);
  const auto others = std::exchange(unwritten_, 0);
  logger->warn("refused {} from {}: {}; {}{}", peer, address, reason, remedy_of(end.error),
               others == 0 ? "" : " (" + std::to_string(others) + " other refusals are not logged)");
}

bool RefusalLog::may_write(std::string_view host, std::string_view name, MonotonicTime now) {
  std::erase_if(written_, [now](const auto& line) { return now - line.second >= period; });
  const auto of_host = std::ranges::count_if(written_, [host](const auto& line) { return line.first.first == host; });
  if (written_.size() >= lines_max || static_cast<std::size_t>(of_host) >= lines_of_one_host_max) return false;
  return written_.try_emplace({std::string(host), std::string(name)}, now).second;
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
