// One registration as it stands in the replicated map of the registry, and what peers may write there.
//
//   key {Name, Node}   value {service_entry, Name, Pid, Node, Meta}
//
// Source: protocol document 05, sections 2.1 and 3.5; stricter than Erlang nodes, which take entries that do not belong
// to their key.
#pragma once

#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <optional>
#include <string_view>

#include "replication/ormap.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

/// Bytes of a binary name, or of an atom's text: an atom has at most 255 code points of four bytes.
inline constexpr std::size_t service_name_bytes_max = 1024;

inline constexpr std::string_view service_entry_tag = "service_entry";

[[nodiscard]] Term service_key(const Term& name, const Atom& node);
[[nodiscard]] Term service_value(const Term& name, const Pid& pid, const Atom& node, const Term& meta);

[[nodiscard]] bool is_service_name(const Term& name) noexcept;
/// What may be looked for: Erlang nodes have services of any name, for instance `{worker, Node}`. Those of other shapes
/// are as large as binary names, encoded.
[[nodiscard]] bool is_name_to_find(const Term& name);

/// Whether it is a name and the name of a node.
[[nodiscard]] bool is_service_key(const Term& key);
// Of a well-formed key.
[[nodiscard]] inline const Term& name_of(const Term& key) { return key[0]; }
[[nodiscard]] inline Atom node_of(const Term& key) { return *key[1].as_atom(); }

/// Whether the value is an entry that belongs to the key, with metadata of at most so many bytes.
[[nodiscard]] bool is_service_value(const Term& value, const Term& key, std::size_t meta_bytes_max);
// Of a well-formed value.
[[nodiscard]] inline const Pid& pid_of(const Term& value) { return *value[2].as_pid(); }
[[nodiscard]] inline const Term& meta_of(const Term& value) { return value[4]; }

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
