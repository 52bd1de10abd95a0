#include <barrel_p2p/error.hpp>

namespace barrel_p2p {
inline namespace v0 {

std::string_view name(Errc code) noexcept {
  switch (code) {
    case Errc::invalid_argument: return "invalid_argument";
    case Errc::invalid_config: return "invalid_config";
    case Errc::invalid_node_name: return "invalid_node_name";
    case Errc::malformed_term: return "malformed_term";
    case Errc::limit_exceeded: return "limit_exceeded";
    case Errc::type_mismatch: return "type_mismatch";
    case Errc::trailing_bytes: return "trailing_bytes";
    case Errc::not_found: return "not_found";
    case Errc::already_registered: return "already_registered";
    case Errc::no_process: return "noproc";
    case Errc::not_connected: return "not_connected";
    case Errc::no_connection: return "noconnection";
    case Errc::connection_refused: return "connection_refused";
    case Errc::unreachable: return "unreachable";
    case Errc::cannot_connect_self: return "cannot_connect_self";
    case Errc::auth_failed: return "auth_failed";
    case Errc::handshake_failed: return "handshake_failed";
    case Errc::closed: return "closed";
    case Errc::cannot_join_self: return "cannot_join_self";
    case Errc::timeout: return "timeout";
    case Errc::cancelled: return "cancelled";
    case Errc::stopped: return "stopped";
    case Errc::overloaded: return "overloaded";
    case Errc::remote_exit: return "remote_exit";
    case Errc::undefined_function: return "undef";
    case Errc::io_error: return "io_error";
    case Errc::permission_denied: return "permission_denied";
    case Errc::corrupt: return "corrupt";
    case Errc::key_mismatch: return "key_mismatch";
    case Errc::untrusted_key: return "untrusted_key";
    case Errc::system_error: return "system_error";
    case Errc::no_such_map: return "no_such_map";
    case Errc::invalid_value: return "invalid_value";
    case Errc::already_candidate: return "already_candidate";
    case Errc::no_leader: return "no_leader";
    case Errc::not_leader: return "not_leader";
    case Errc::reset: return "reset";
    case Errc::peer_disable_migration: return "peer_disable_migration";
    case Errc::not_initiator: return "not_initiator";
    case Errc::not_supported: return "not_supported";
  }
  return "unknown";
}

std::string Error::message() const {
  std::string text(name(code_));
  if (!context_.empty()) text.append(": ").append(context_);
  return text;
}

namespace {
class Category final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "barrel_p2p"; }
  [[nodiscard]] std::string message(int value) const override {
    return std::string(v0::name(static_cast<Errc>(value)));
  }
};
}  // namespace

const std::error_category& error_category() noexcept {
  static const Category category;
  return category;
}

}  // namespace v0
}  // namespace barrel_p2p
