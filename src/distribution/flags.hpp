// Capability flags of the distribution handshake.
//
// Each side offers a set; in force on a channel is what both offer. The set in force decides which control messages are
// sent and which form every message has. Sources: protocol document 01, section 5.2; protocol document 08, section 3.
// Pure functions, thread safe.
#pragma once

#include <barrel_p2p/version.hpp>
#include <cstdint>
#include <string>

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

using Flags = std::uint64_t;

namespace flag {
inline constexpr Flags published = 0x1;
inline constexpr Flags atom_cache = 0x2;  ///< Obsolete, never offered.
inline constexpr Flags extended_references = 0x4;
inline constexpr Flags dist_monitor = 0x8;
inline constexpr Flags fun_tags = 0x10;
inline constexpr Flags dist_monitor_name = 0x20;
inline constexpr Flags hidden_atom_cache = 0x40;  ///< Obsolete, never offered.
inline constexpr Flags new_fun_tags = 0x80;
inline constexpr Flags extended_pids_ports = 0x100;
inline constexpr Flags export_ptr_tag = 0x200;
inline constexpr Flags bit_binaries = 0x400;
inline constexpr Flags new_floats = 0x800;
inline constexpr Flags unicode_io = 0x1000;
inline constexpr Flags dist_hdr_atom_cache = 0x2000;  ///< Never offered: the cache needs one ordered stream.
inline constexpr Flags small_atom_tags = 0x4000;
inline constexpr Flags utf8_atoms = 0x1'0000;
inline constexpr Flags map_tag = 0x2'0000;
inline constexpr Flags big_creation = 0x4'0000;
inline constexpr Flags send_sender = 0x8'0000;
inline constexpr Flags big_seqtrace_labels = 0x10'0000;
inline constexpr Flags exit_payload = 0x40'0000;
inline constexpr Flags fragments = 0x80'0000;
inline constexpr Flags handshake_23 = 0x100'0000;
inline constexpr Flags unlink_id = 0x200'0000;
inline constexpr Flags mandatory_25_digest = 0x400'0000;  ///< Stands for `mandatory_25`.
inline constexpr Flags spawn = 0x1'0000'0000;
inline constexpr Flags name_me = 0x2'0000'0000;  ///< Asks for a name; never offered.
inline constexpr Flags v4_nc = 0x4'0000'0000;
inline constexpr Flags alias = 0x8'0000'0000;
inline constexpr Flags altact_sig = 0x20'0000'0000;  ///< OTP 28; not offered.
}  // namespace flag

/// What a node of OTP 25 must have. A peer that sets `mandatory_25_digest` has all of them.
inline constexpr Flags mandatory_25 =
    flag::extended_references | flag::fun_tags | flag::new_fun_tags | flag::extended_pids_ports | flag::export_ptr_tag |
    flag::bit_binaries | flag::new_floats | flag::utf8_atoms | flag::map_tag | flag::big_creation | flag::handshake_23;
/// What a node of OTP 26 and 27 must have, and what we ask of every peer.
inline constexpr Flags mandatory_27 = mandatory_25 | flag::unlink_id | flag::v4_nc;
/// What we offer: exactly the offer of an Erlang node of this cluster.
inline constexpr Flags offered_flags = mandatory_27 | flag::published | flag::dist_monitor | flag::dist_monitor_name |
                                       flag::unicode_io | flag::small_atom_tags | flag::send_sender |
                                       flag::big_seqtrace_labels | flag::exit_payload | flag::fragments |
                                       flag::mandatory_25_digest | flag::spawn | flag::alias;

static_assert(mandatory_27 == 0x4'0307'0f94);
static_assert(offered_flags == 0xd'07df'5fbd);
static_assert((offered_flags &
               (flag::dist_hdr_atom_cache | flag::atom_cache | flag::hidden_atom_cache | flag::name_me)) == 0);

/// `offer` with what its abbreviation stands for.
constexpr Flags expand(Flags offer) noexcept {
  return (offer & flag::mandatory_25_digest) != 0 ? offer | mandatory_25 : offer;
}
/// What is in force between two nodes with these offers.
constexpr Flags effective_flags(Flags ours, Flags theirs) noexcept { return expand(ours) & expand(theirs); }
/// What a peer with this offer lacks; 0 when it may connect.
constexpr Flags missing_mandatory(Flags offer, Flags mandatory = mandatory_27) noexcept {
  return mandatory & ~expand(offer);
}

/// Monitors exist only when both of their flags are in force.
constexpr bool has_monitors(Flags effective) noexcept {
  return (effective & flag::dist_monitor) != 0 && (effective & flag::dist_monitor_name) != 0;
}

/// For log lines: `UNLINK_ID, V4_NC`; bits without a name as `bit 40`. Empty for 0.
std::string flag_names(Flags flags);

/// What is worth a warning when it is not in force: `DIST_MONITOR` (no monitors, no calls), `ALIAS`, `SPAWN`, ... Empty
/// when nothing that this library uses is missing.
std::string degraded_features(Flags effective);

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
