// UDP addresses.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <barrel_p2p/error.hpp>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace barrel_p2p {
inline namespace v0 {
namespace quic {

/// An IPv4 or IPv6 address and a port. A value; compares by bytes.
class Address {
 public:
  Address() noexcept { std::memset(&storage_, 0, sizeof(storage_)); }
  Address(const sockaddr* address, socklen_t size) noexcept : Address() {
    size_ = size <= sizeof(storage_) ? size : 0;
    std::memcpy(&storage_, address, size_);
  }
  /// `host` must be an IP literal, an IPv6 one with or without brackets.
  static Result<Address> make(std::string_view host, std::uint16_t port);

  [[nodiscard]] const sockaddr* data() const noexcept { return reinterpret_cast<const sockaddr*>(&storage_); }
  [[nodiscard]] socklen_t size() const noexcept { return size_; }
  [[nodiscard]] int family() const noexcept { return storage_.ss_family; }
  [[nodiscard]] std::uint16_t port() const noexcept;
  [[nodiscard]] bool is_unspecified() const noexcept;
  [[nodiscard]] bool is_loopback() const noexcept;
  /// Without port; an IPv4 address that is mapped into IPv6 is shown as IPv4.
  [[nodiscard]] std::string host() const;
  /// `host`, but of an IPv6 address the first 64 bits: the least that one customer of a network has for himself.
  [[nodiscard]] std::string network() const;
  /// `127.0.0.1:4433` or `[::1]:4433`.
  [[nodiscard]] std::string to_string() const;
  /// The form in which a dual-stack socket names it.
  [[nodiscard]] Address mapped_to_ipv6() const noexcept;

  friend bool operator==(const Address& left, const Address& right) noexcept {
    return left.size_ == right.size_ && std::memcmp(&left.storage_, &right.storage_, left.size_) == 0;
  }

 private:
  sockaddr_storage storage_;
  socklen_t size_ = 0;
};

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
