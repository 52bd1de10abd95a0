// Lines about peers that this node refuses: who, why, and what to do.
//
// Strangers cause them, so their number is bounded: one a minute of each address and name, some of one address, some in
// all. The next line that is written says how many were not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "base/clock.hpp"
#include "base/log.hpp"
#include "distribution/channel.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

/// One thread at a time.
class RefusalLog {
 public:
  /// Of a channel that a peer dialled and that never was up. `name`: that of the handshake, if it came so far. Says
  /// nothing of ends that are no refusal of ours: lost connections, what the peer ended, attempts that gave way.
  void tell(const Logger& logger, std::string_view address, std::string_view name, const ChannelEnd& end,
            MonotonicTime now);

  static constexpr Milliseconds period{60'000};
  static constexpr std::size_t lines_max = 64;  ///< In a period.
  static constexpr std::size_t lines_of_one_host_max = 8;

 private:
  bool may_write(std::string_view host, std::string_view name, MonotonicTime now);

  std::map<std::pair<std::string, std::string>, MonotonicTime> written_;  ///< By host and name, of the last period.
  std::uint64_t unwritten_ = 0;                                           ///< Since the last line.
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
