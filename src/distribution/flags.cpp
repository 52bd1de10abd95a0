#include "distribution/flags.hpp"

#include <array>
#include <string_view>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

using Named = std::pair<Flags, std::string_view>;

constexpr std::array names{
    Named{flag::published, "PUBLISHED"},
    Named{flag::atom_cache, "ATOM_CACHE"},
    Named{flag::extended_references, "EXTENDED_REFERENCES"},
    Named{flag::dist_monitor, "DIST_MONITOR"},
    Named{flag::fun_tags, "FUN_TAGS"},
    Named{flag::dist_monitor_name, "DIST_MONITOR_NAME"},
    Named{flag::hidden_atom_cache, "HIDDEN_ATOM_CACHE"},
    Named{flag::new_fun_tags, "NEW_FUN_TAGS"},
    Named{flag::extended_pids_ports, "EXTENDED_PIDS_PORTS"},
    Named{flag::export_ptr_tag, "EXPORT_PTR_TAG"},
    Named{flag::bit_binaries, "BIT_BINARIES"},
    Named{flag::new_floats, "NEW_FLOATS"},
    Named{flag::unicode_io, "UNICODE_IO"},
    Named{flag::dist_hdr_atom_cache, "DIST_HDR_ATOM_CACHE"},
    Named{flag::small_atom_tags, "SMALL_ATOM_TAGS"},
    Named{flag::utf8_atoms, "UTF8_ATOMS"},
    Named{flag::map_tag, "MAP_TAG"},
    Named{flag::big_creation, "BIG_CREATION"},
    Named{flag::send_sender, "SEND_SENDER"},
    Named{flag::big_seqtrace_labels, "BIG_SEQTRACE_LABELS"},
    Named{flag::exit_payload, "EXIT_PAYLOAD"},
    Named{flag::fragments, "FRAGMENTS"},
    Named{flag::handshake_23, "HANDSHAKE_23"},
    Named{flag::unlink_id, "UNLINK_ID"},
    Named{flag::mandatory_25_digest, "MANDATORY_25_DIGEST"},
    Named{flag::spawn, "SPAWN"},
    Named{flag::name_me, "NAME_ME"},
    Named{flag::v4_nc, "V4_NC"},
    Named{flag::alias, "ALIAS"},
    Named{flag::altact_sig, "ALTACT_SIG"},
};

std::string name_of(Flags bit, unsigned position) {
  for (const auto& [flag, text] : names) {
    if (flag == bit) return std::string(text);
  }
  return "bit " + std::to_string(position);
}

}  // namespace

std::string flag_names(Flags flags) {
  constexpr unsigned bits = 64;
  std::string text;
  for (unsigned position = 0; position < bits; ++position) {
    const Flags bit = Flags{1} << position;
    if ((flags & bit) == 0) continue;
    if (!text.empty()) text += ", ";
    text += name_of(bit, position);
  }
  return text;
}

std::string degraded_features(Flags effective) {
  constexpr Flags used = flag::dist_monitor | flag::dist_monitor_name | flag::alias | flag::spawn | flag::exit_payload |
                         flag::fragments | flag::published;
  return flag_names(used & ~effective);
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
