#include "quic/address.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <iterator>

namespace barrel_p2p {
inline namespace v0 {
namespace quic {
namespace {

const sockaddr_in& v4(const Address& address) noexcept { return *reinterpret_cast<const sockaddr_in*>(address.data()); }
const sockaddr_in6& v6(const Address& address) noexcept {
  return *reinterpret_cast<const sockaddr_in6*>(address.data());
}

}  // namespace

Result<Address> Address::make(std::string_view host, std::uint16_t port) {
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  const std::string text(host);
  sockaddr_in four{};
  if (inet_pton(AF_INET, text.c_str(), &four.sin_addr) == 1) {
    four.sin_family = AF_INET;
    four.sin_port = htons(port);
    return Address(reinterpret_cast<const sockaddr*>(&four), sizeof(four));
  }
  sockaddr_in6 six{};
  if (inet_pton(AF_INET6, text.c_str(), &six.sin6_addr) == 1) {
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(port);
    return Address(reinterpret_cast<const sockaddr*>(&six), sizeof(six));
  }
  return fail(Errc::invalid_argument, "\"" + text + "\" is not an IP address");
}

std::uint16_t Address::port() const noexcept {
  return ntohs(family() == AF_INET ? v4(*this).sin_port : v6(*this).sin6_port);
}

bool Address::is_unspecified() const noexcept {
  return family() == AF_INET ? v4(*this).sin_addr.s_addr == 0 : IN6_IS_ADDR_UNSPECIFIED(&v6(*this).sin6_addr) != 0;
}

bool Address::is_loopback() const noexcept {
  if (family() == AF_INET) return (ntohl(v4(*this).sin_addr.s_addr) >> 24U) == 127;
  const auto& bytes = v6(*this).sin6_addr;
  return IN6_IS_ADDR_LOOPBACK(&bytes) != 0 || (IN6_IS_ADDR_V4MAPPED(&bytes) != 0 && bytes.s6_addr[12] == 127);
}

std::string Address::host() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (family() == AF_INET) {
    inet_ntop(AF_INET, &v4(*this).sin_addr, text.data(), text.size());
  } else if (IN6_IS_ADDR_V4MAPPED(&v6(*this).sin6_addr) != 0) {
    inet_ntop(AF_INET, &v6(*this).sin6_addr.s6_addr[12], text.data(), text.size());
  } else {
    inet_ntop(AF_INET6, &v6(*this).sin6_addr, text.data(), text.size());
  }
  return text.data();
}

std::string Address::network() const {
  if (family() == AF_INET || IN6_IS_ADDR_V4MAPPED(&v6(*this).sin6_addr) != 0) return host();
  constexpr std::size_t network_bytes = 8;
  sockaddr_in6 six = v6(*this);
  std::fill(std::begin(six.sin6_addr.s6_addr) + network_bytes, std::end(six.sin6_addr.s6_addr), std::uint8_t{0});
  return Address(reinterpret_cast<const sockaddr*>(&six), sizeof(six)).host() + "/64";
}

std::string Address::to_string() const {
  const std::string name = host();
  const bool brackets = name.find(':') != std::string::npos;
  return (brackets ? "[" + name + "]" : name) + ":" + std::to_string(port());
}

Address Address::mapped_to_ipv6() const noexcept {
  if (family() != AF_INET) return *this;
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = v4(*this).sin_port;
  six.sin6_addr.s6_addr[10] = 0xFF;
  six.sin6_addr.s6_addr[11] = 0xFF;
  std::memcpy(&six.sin6_addr.s6_addr[12], &v4(*this).sin_addr, 4);
  return {reinterpret_cast<const sockaddr*>(&six), sizeof(six)};
}

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
