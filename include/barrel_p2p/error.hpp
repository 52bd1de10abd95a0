// Errors as values.
//
// `Result<T>` is what every function returns that can fail in normal operation. `Error` is a small code plus a sentence
// that says what went wrong and what to do. The names of the codes are the reasons of the Erlang library, so that a log
// line, an exit reason and an error code all say the same word. All types here are values; they are as thread safe as
// `int`.
#pragma once

#include <barrel_p2p/version.hpp>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {

/// What can go wrong. Values are stable within a major version.
enum class Errc : std::uint8_t {
  // Arguments and configuration.
  invalid_argument = 1,  ///< A value outside of its documented range.
  invalid_config,        ///< The configuration cannot work as written.
  invalid_node_name,     ///< Not of the form `name@host`.
  // Terms.
  malformed_term,  ///< Bytes or text that are not a term.
  limit_exceeded,  ///< A bound (depth, size, count) was reached.
  type_mismatch,   ///< A term does not have the shape that was asked for.
  trailing_bytes,  ///< More input than one term.
  // Lookup.
  not_found,  ///< No such thing.
  already_registered,
  no_process,  ///< `noproc`: no such process, or it has ended.
  // Nodes and channels.
  not_connected,
  no_connection,       ///< `noconnection`: the channel ended or could not be made.
  connection_refused,  ///< Nobody listens, or the peer refused.
  unreachable,         ///< No address is known for the node.
  cannot_connect_self,
  auth_failed,
  handshake_failed,
  closed,
  cannot_join_self,  ///< A node is not its own contact.
  // Waiting.
  timeout,
  cancelled,
  stopped,  ///< The node is shutting down or has stopped.
  overloaded,
  // Remote calls.
  remote_exit,  ///< The remote side ended with a reason, see the context.
  undefined_function,
  // Storage and system.
  io_error,
  permission_denied,
  corrupt,
  key_mismatch,   ///< A key differs from the pinned one.
  untrusted_key,  ///< Strict trust and no pin, or a key that is revoked.
  system_error,
  // Services.
  no_such_map,
  invalid_value,      ///< The validator of a map refused it.
  already_candidate,  ///< The process campaigns for the name already.
  no_leader,          ///< Nobody campaigns for the name, or nobody who may lead.
  not_leader,         ///< Another one leads, or nobody.
  // Streams.
  reset,  ///< The peer gave the stream up, or wants nothing more on it; `Stream::reset_code` says how.
  // Paths.
  peer_disable_migration,  ///< The peer lets nobody move (`disable_active_migration`).
  not_initiator,           ///< The peer dialled: only it may move the connection.
  not_supported,           ///< Not with what is in use here; the text says with what.
};

BARREL_P2P_API const std::error_category& error_category() noexcept;
/// The stable lower-case name of a code, for instance `not_found`.
BARREL_P2P_API std::string_view name(Errc code) noexcept;
inline std::error_code make_error_code(Errc code) noexcept { return {static_cast<int>(code), error_category()}; }

/// A code and a sentence for a person. Copyable, comparable by code.
class [[nodiscard]] Error {
 public:
  /// An Errc is an Error without context.
  Error(Errc code) noexcept : code_(code) {}  // NOLINT(google-explicit-constructor)
  Error(Errc code, std::string context) noexcept : code_(code), context_(std::move(context)) {}

  [[nodiscard]] Errc code() const noexcept { return code_; }
  /// What exactly went wrong and what to do about it; may be empty.
  [[nodiscard]] const std::string& context() const noexcept { return context_; }
  /// `name: context`.
  [[nodiscard]] BARREL_P2P_API std::string message() const;
  [[nodiscard]] std::error_code error_code() const noexcept { return make_error_code(code_); }

  friend bool operator==(const Error& left, const Error& right) noexcept { return left.code_ == right.code_; }
  friend bool operator==(const Error& left, Errc right) noexcept { return left.code_ == right; }

 private:
  Errc code_;
  std::string context_;
};

template <class T>
using Result = std::expected<T, Error>;

/// `return fail(Errc::not_found, "...")` in a function that returns a Result.
inline std::unexpected<Error> fail(Errc code, std::string context = {}) {
  return std::unexpected<Error>(Error(code, std::move(context)));
}

}  // namespace v0
}  // namespace barrel_p2p

template <>
struct std::is_error_code_enum<barrel_p2p::Errc> : std::true_type {};
