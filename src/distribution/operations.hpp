// Numbers of the control operations. Source: protocol document 08, section 4.1.
#pragma once

#include <barrel_p2p/version.hpp>
#include <cstdint>

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace operation {

inline constexpr std::uint8_t link = 1;
inline constexpr std::uint8_t send = 2;
inline constexpr std::uint8_t exit = 3;
inline constexpr std::uint8_t unlink = 4;     ///< Obsolete: closes the connection since OTP 26.
inline constexpr std::uint8_t node_link = 5;  ///< Unused: closes the connection.
inline constexpr std::uint8_t reg_send = 6;
inline constexpr std::uint8_t group_leader = 7;
inline constexpr std::uint8_t exit2 = 8;
inline constexpr std::uint8_t send_tt = 12;  ///< `_tt`: with a trace token.
inline constexpr std::uint8_t exit_tt = 13;
inline constexpr std::uint8_t reg_send_tt = 16;
inline constexpr std::uint8_t exit2_tt = 18;
inline constexpr std::uint8_t monitor_p = 19;
inline constexpr std::uint8_t demonitor_p = 20;
inline constexpr std::uint8_t monitor_p_exit = 21;
inline constexpr std::uint8_t send_sender = 22;
inline constexpr std::uint8_t send_sender_tt = 23;
inline constexpr std::uint8_t payload_exit = 24;
inline constexpr std::uint8_t payload_exit_tt = 25;
inline constexpr std::uint8_t payload_exit2 = 26;
inline constexpr std::uint8_t payload_exit2_tt = 27;
inline constexpr std::uint8_t payload_monitor_p_exit = 28;
inline constexpr std::uint8_t spawn_request = 29;
inline constexpr std::uint8_t spawn_request_tt = 30;
inline constexpr std::uint8_t spawn_reply = 31;
inline constexpr std::uint8_t spawn_reply_tt = 32;
inline constexpr std::uint8_t alias_send = 33;
inline constexpr std::uint8_t alias_send_tt = 34;
inline constexpr std::uint8_t unlink_id = 35;
inline constexpr std::uint8_t unlink_id_ack = 36;
inline constexpr std::uint8_t altact_sig_send = 37;

/// Flags in the tuple of `altact_sig_send` (OTP 28).
inline constexpr std::uint32_t altact_token = 2;
inline constexpr std::uint32_t altact_alias = 4;
inline constexpr std::uint32_t altact_name = 8;
inline constexpr std::uint32_t altact_exit = 16;

}  // namespace operation
}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
