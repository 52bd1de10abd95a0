// What all functions of the C interface do: check what they are given, give what they make, and let nothing escape.
//
// Inside of this room a refusal is an exception, so that a function reads as what it does. `guarded` is the only place
// where one is caught, and each function of the interface is one `guarded`.
#pragma once

#include <barrel_p2p/c.h>

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/error.hpp>
#include <barrel_p2p/node_name.hpp>
#include <barrel_p2p/term.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {
namespace c {

struct Refused {
  Error error;
};
[[noreturn]] void refuse(Errc code, std::string context);

/// Keeps the message for this thread. Returns the code.
int failed(int code, const char* message) noexcept;
int failed(const Error& error) noexcept;

template <class Body>
int guarded(const Body& body) noexcept {
  try {
    body();
    return BARREL_P2P_OK;
  } catch (const Refused& refused) {
    return failed(refused.error);
  } catch (const std::bad_alloc&) {
    return failed(BARREL_P2P_OUT_OF_MEMORY, "out of memory");
  } catch (const std::invalid_argument& error) {
    return failed(BARREL_P2P_INVALID_ARGUMENT, error.what());
  } catch (const std::length_error& error) {
    return failed(BARREL_P2P_LIMIT_EXCEEDED, error.what());
  } catch (const std::exception& error) {
    return failed(BARREL_P2P_INTERNAL_ERROR, error.what());
  } catch (...) {
    return failed(BARREL_P2P_INTERNAL_ERROR, "unknown exception");
  }
}

/// The value of a result, or the end of the function.
template <class T>
T value(Result<T> result) {
  if (!result) throw Refused{result.error()};
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

// What comes in. `what` names the argument in messages.
template <class T>
T& required(T* pointer, const char* what) {
  if (pointer == nullptr) refuse(Errc::invalid_argument, std::string(what) + " is NULL");
  return *pointer;
}
std::string text_of(const char* text, const char* what);
Atom atom_of(const char* text, const char* what);
NodeName node_name_of(const char* text, const char* what);
ByteView bytes_of(const void* data, std::size_t size, const char* what);
Term term_of(const void* data, std::size_t size, const char* what);
/// From 0; what is longer than anybody lives counts as that.
std::chrono::milliseconds limit_of(std::int64_t limit_ms);

/// Bytes that go out. They are empty unless the function gives some.
class Output {
 public:
  enum class Need : std::uint8_t { required, optional };
  Output(barrel_p2p_bytes* target, const char* what, Need need = Need::required);
  void give_bytes(ByteView bytes) const;
  void give_term(const Term& term) const;
  void give_text(std::string_view text) const { give_bytes(as_bytes(text)); }

 private:
  barrel_p2p_bytes* target_;
};

/// Names that go out, as one block of memory.
void give_names(const std::vector<std::string>& names, char*** target);

}  // namespace c
}  // namespace v0
}  // namespace barrel_p2p
