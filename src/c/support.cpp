#include "c/support.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace c {
namespace {

/// A message that is longer is cut: it is for people.
using Message = std::array<char, 1024>;
constinit thread_local Message* message_buffer = nullptr;
constinit thread_local const char* last_message = "";

struct Cleaner {
  Cleaner() = default;
  ~Cleaner() {
    last_message = "";
    delete std::exchange(message_buffer, nullptr);
    gone = true;
  }
  Cleaner(const Cleaner&) = delete;
  Cleaner& operator=(const Cleaner&) = delete;
  bool gone = false;
};
thread_local Cleaner cleaner;

void* allocate(std::size_t size) {
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

// The numbers are part of the ABI.
template <class T>
constexpr bool same(T here, Errc there) {
  return static_cast<int>(here) == static_cast<int>(there);
}
static_assert(same(BARREL_P2P_INVALID_ARGUMENT, Errc::invalid_argument));
static_assert(same(BARREL_P2P_INVALID_CONFIG, Errc::invalid_config));
static_assert(same(BARREL_P2P_INVALID_NODE_NAME, Errc::invalid_node_name));
static_assert(same(BARREL_P2P_MALFORMED_TERM, Errc::malformed_term));
static_assert(same(BARREL_P2P_LIMIT_EXCEEDED, Errc::limit_exceeded));
static_assert(same(BARREL_P2P_TYPE_MISMATCH, Errc::type_mismatch));
static_assert(same(BARREL_P2P_TRAILING_BYTES, Errc::trailing_bytes));
static_assert(same(BARREL_P2P_NOT_FOUND, Errc::not_found));
static_assert(same(BARREL_P2P_ALREADY_REGISTERED, Errc::already_registered));
static_assert(same(BARREL_P2P_NO_PROCESS, Errc::no_process));
static_assert(same(BARREL_P2P_NOT_CONNECTED, Errc::not_connected));
static_assert(same(BARREL_P2P_NO_CONNECTION, Errc::no_connection));
static_assert(same(BARREL_P2P_CONNECTION_REFUSED, Errc::connection_refused));
static_assert(same(BARREL_P2P_UNREACHABLE, Errc::unreachable));
static_assert(same(BARREL_P2P_CANNOT_CONNECT_SELF, Errc::cannot_connect_self));
static_assert(same(BARREL_P2P_AUTH_FAILED, Errc::auth_failed));
static_assert(same(BARREL_P2P_HANDSHAKE_FAILED, Errc::handshake_failed));
static_assert(same(BARREL_P2P_CLOSED, Errc::closed));
static_assert(same(BARREL_P2P_CANNOT_JOIN_SELF, Errc::cannot_join_self));
static_assert(same(BARREL_P2P_TIMEOUT, Errc::timeout));
static_assert(same(BARREL_P2P_CANCELLED, Errc::cancelled));
static_assert(same(BARREL_P2P_STOPPED, Errc::stopped));
static_assert(same(BARREL_P2P_OVERLOADED, Errc::overloaded));
static_assert(same(BARREL_P2P_REMOTE_EXIT, Errc::remote_exit));
static_assert(same(BARREL_P2P_UNDEFINED_FUNCTION, Errc::undefined_function));
static_assert(same(BARREL_P2P_IO_ERROR, Errc::io_error));
static_assert(same(BARREL_P2P_PERMISSION_DENIED, Errc::permission_denied));
static_assert(same(BARREL_P2P_CORRUPT, Errc::corrupt));
static_assert(same(BARREL_P2P_KEY_MISMATCH, Errc::key_mismatch));
static_assert(same(BARREL_P2P_UNTRUSTED_KEY, Errc::untrusted_key));
static_assert(same(BARREL_P2P_SYSTEM_ERROR, Errc::system_error));
static_assert(same(BARREL_P2P_NO_SUCH_MAP, Errc::no_such_map));
static_assert(same(BARREL_P2P_INVALID_VALUE, Errc::invalid_value));
static_assert(same(BARREL_P2P_ALREADY_CANDIDATE, Errc::already_candidate));
static_assert(same(BARREL_P2P_NO_LEADER, Errc::no_leader));
static_assert(same(BARREL_P2P_NOT_LEADER, Errc::not_leader));
static_assert(same(BARREL_P2P_RESET, Errc::reset));
static_assert(same(BARREL_P2P_PEER_DISABLE_MIGRATION, Errc::peer_disable_migration));
static_assert(same(BARREL_P2P_NOT_INITIATOR, Errc::not_initiator));
static_assert(same(BARREL_P2P_NOT_SUPPORTED, Errc::not_supported));

}  // namespace

void refuse(Errc code, std::string context) { throw Refused{Error(code, std::move(context))}; }

int failed(int code, const char* message) noexcept {
  last_message = "what failed cannot be told: there is no memory for it, or the thread ends";
  if (message_buffer == nullptr && !cleaner.gone) message_buffer = new (std::nothrow) Message;
  if (message_buffer == nullptr) return code;
  const std::size_t size = std::min(std::strlen(message), message_buffer->size() - 1);
  std::memcpy(message_buffer->data(), message, size);
  (*message_buffer)[size] = '\0';
  last_message = message_buffer->data();
  return code;
}

int failed(const Error& error) noexcept {
  const int code = static_cast<int>(error.code());
  try {
    return failed(code, error.message().c_str());
  } catch (...) {
    return failed(code, barrel_p2p_error_name(code));
  }
}

std::string text_of(const char* text, const char* what) { return &required(text, what); }

Atom atom_of(const char* text, const char* what) {
  Result<Atom> atom = Atom::make(text_of(text, what));
  if (!atom) refuse(Errc::invalid_argument, std::string(what) + ": " + atom.error().message());
  return std::move(*atom);
}

NodeName node_name_of(const char* text, const char* what) { return value(NodeName::parse(text_of(text, what))); }

ByteView bytes_of(const void* data, std::size_t size, const char* what) {
  if (data == nullptr && size != 0) refuse(Errc::invalid_argument, std::string(what) + " is NULL");
  return {static_cast<const std::uint8_t*>(data), size};
}

Term term_of(const void* data, std::size_t size, const char* what) {
  if (data == nullptr) refuse(Errc::invalid_argument, std::string(what) + " is NULL");
  Result<Decoded> decoded = decode_term(bytes_of(data, size, what));
  if (!decoded) throw Refused{Error(decoded.error().code(), std::string(what) + ": " + decoded.error().context())};
  return std::move(decoded->term);
}

std::chrono::milliseconds limit_of(std::int64_t limit_ms) {
  constexpr std::int64_t century_ms = 100LL * 366 * 24 * 3'600'000;  // times do not overflow when it is added
  if (limit_ms < 0) refuse(Errc::invalid_argument, "limit_ms is negative");
  return std::chrono::milliseconds(std::min(limit_ms, century_ms));
}

Output::Output(barrel_p2p_bytes* target, const char* what, Need need) : target_(target) {
  if (need == Need::required) required(target, what);
  if (target_ != nullptr) *target_ = {nullptr, 0};
}

void Output::give_bytes(ByteView bytes) const {
  if (target_ == nullptr) return;
  auto* data = static_cast<std::uint8_t*>(allocate(bytes.size() + 1));
  if (!bytes.empty()) std::memcpy(data, bytes.data(), bytes.size());
  data[bytes.size()] = 0;
  *target_ = {data, bytes.size()};
}

void Output::give_term(const Term& term) const {
  if (target_ != nullptr) give_bytes(encode_term(term));
}

void give_names(const std::vector<std::string>& names, char*** target) {
  std::size_t size = (names.size() + 1) * sizeof(char*);
  for (const auto& name : names) size += name.size() + 1;
  auto** list = static_cast<char**>(allocate(size));
  char* text = reinterpret_cast<char*>(list + names.size() + 1);
  for (std::size_t at = 0; at < names.size(); ++at) {
    std::memcpy(text, names[at].c_str(), names[at].size() + 1);
    list[at] = text;
    text += names[at].size() + 1;
  }
  list[names.size()] = nullptr;
  *target = list;
}

}  // namespace c
}  // namespace v0
}  // namespace barrel_p2p

using namespace barrel_p2p;

const char* barrel_p2p_error_name(int error) {
  if (error == BARREL_P2P_OK) return "ok";
  if (error == BARREL_P2P_OUT_OF_MEMORY) return "out_of_memory";
  if (error == BARREL_P2P_INTERNAL_ERROR) return "internal_error";
  if (error < 0 || error > static_cast<int>(Errc::not_supported)) return "unknown";
  return name(static_cast<Errc>(error)).data();  // of literals, so a 0 stands behind it
}

const char* barrel_p2p_error_message(void) { return c::last_message; }

const char* barrel_p2p_version(void) { return BARREL_P2P_VERSION; }

void barrel_p2p_bytes_clear(barrel_p2p_bytes* bytes) {
  if (bytes == nullptr) return;
  std::free(bytes->data);
  *bytes = {nullptr, 0};
}

void barrel_p2p_names_free(char** names) { std::free(static_cast<void*>(names)); }
