// Where a node can be reached.
//
// A chain of backends is asked in order, the first answer counts: `static` (a table in the configuration), `file`
// (endpoint files in a directory that the nodes of a machine, or of a shared file system, have in common), `dns` (the
// host part of the name, with a port that the configuration gives), and functions of the program under names of their
// own. Erlang nodes read and write the same files:
//
//   DIRECTORY/NAME.endpoint   {"HOST",PORT}.
//
// The node's own file is looked at now and then: it comes back when somebody removed it or its directory, or when
// another node of the same name replaced it.
//
// Behind the answer of the chain comes the address where the node was met last, if that is remembered.
//
// Thread safe. Files are read on a thread of its own, DNS and functions asked on others, so that a name server that
// does not answer holds up nobody whose address the table or a file knows; callbacks come from there, or from the
// caller's. What takes long is asked once for all who want to know it of a node. Source: protocol document 01, sections
// 9 and 17.1 item 18.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/node_name.hpp>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.hpp"
#include "quic/address.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

struct HostPort {
  std::string host;
  std::uint16_t port = 0;
};

/// What an endpoint file says: a term `{Host, Port}` with a full stop; the host as string, binary or address tuple.
/// Error: `malformed_term`.
Result<HostPort> parse_endpoint(std::string_view text);
std::string format_endpoint(const HostPort& endpoint);
/// `host:port`, `[::1]:port`. Error: `invalid_argument`.
Result<HostPort> parse_host_port(std::string_view text);

struct DiscoveredAddress {
  quic::Address address;
  std::string server_name;  ///< The host, when it is a name; empty for an IP literal.
};
/// At least one, in the order in which they should be tried.
using DiscoveredAddresses = std::vector<DiscoveredAddress>;

struct DiscoveryConfig {
  std::vector<std::string> backends{"static", "file", "dns"};
  std::map<std::string, std::string> static_nodes;  ///< Node name to `host:port`.
  std::filesystem::path directory;
  std::uint16_t dns_port = 4433;
  /// Backends of the program, by name: they answer `host:port`, and may block and throw.
  std::map<std::string, std::function<Result<std::string>(const NodeName&)>> functions;
  Milliseconds look_period{5000};  ///< Between two looks at the own endpoint file.
  /// Hears, at most once a minute of each, that the own file was not as it should be and what to do. From any thread.
  std::function<void(const std::string&)> warn;
};

class Discovery {
 public:
  using Callback = std::function<void(Result<DiscoveredAddresses>)>;

  explicit Discovery(DiscoveryConfig config);
  /// Waits for the question that is being asked. Callbacks that have not come yet do not come.
  ~Discovery();
  Discovery(const Discovery&) = delete;
  Discovery& operator=(const Discovery&) = delete;

  /// Errors: `invalid_node_name`; `unreachable`, with what each backend said; `cannot_connect_self` when all that is
  /// known is our own address.
  void resolve(const Atom& node, Callback callback);

  /// Where this node listens. Answers that lead there are refused: nobody dials itself. With an unspecified address
  /// these are its port on any address of this machine.
  void set_own(const quic::Address& listening);
  /// Where nodes were met, as `host:port` by name, in place of what was remembered before. What is no address is left
  /// out.
  void set_remembered(const std::map<std::string, std::string>& addresses);
  /// Where the node was met, for those who cannot wait for the answer to `resolve`.
  [[nodiscard]] std::optional<quic::Address> remembered(const Atom& node) const;
  /// Writes the endpoint file of this node, if `file` is among the backends, and keeps it until `unpublish`. A disk
  /// that is full, or fails, is no error: it is tried again with each look. Errors: `permission_denied`,
  /// `invalid_config`, `not_found`.
  Result<void> publish(const NodeName& node, const HostPort& endpoint);
  /// Removes it, unless somebody else has written another one.
  void unpublish();

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
