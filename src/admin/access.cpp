#include "admin/access.hpp"

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/random.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace admin {
namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](char character) {
    return character >= 'A' && character <= 'Z' ? static_cast<char>(character - 'A' + 'a') : character;
  });
  return result;
}

std::string random_hex() {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (int word = 0; word < 4; ++word) {
    std::uint64_t bits = random_uint64();
    for (int digit = 0; digit < 16; ++digit, bits >>= 4U) text += digits[bits & 15U];
  }
  return text;
}

/// The host without its port, and without the brackets of IPv6.
std::string_view host_part(std::string_view host) {
  if (host.starts_with('[')) {
    const auto end = host.find(']');
    return end == std::string_view::npos ? std::string_view() : host.substr(1, end - 1);
  }
  return host.substr(0, host.find(':'));
}

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

}  // namespace

bool same_secret(std::string_view given, std::string_view secret) noexcept {
  if (secret.empty()) return given.empty();
  unsigned different = given.size() == secret.size() ? 0U : 1U;
  for (std::size_t at = 0; at < given.size(); ++at) {
    different |= static_cast<unsigned>(static_cast<std::uint8_t>(given[at]) ^
                                       static_cast<std::uint8_t>(secret[at % secret.size()]));
  }
  return different == 0;
}

Access::Access(std::string token, std::string cookie_name, const std::vector<std::string>& hosts)
    : token_(std::move(token)), cookie_name_(std::move(cookie_name)), cookie_value_(random_hex()) {
  for (const auto& host : hosts) hosts_.push_back(lower(host));
}

bool Access::knows_host(std::string_view host) const {
  const std::string name = lower(host_part(host));
  if (name.empty()) return false;
  if (name == "localhost" || name.ends_with(".localhost")) return true;
  if (std::ranges::find(hosts_, name) != hosts_.end()) return true;
  boost::system::error_code error;
  boost::asio::ip::make_address(name, error);
  return !error;
}

bool Access::allows(std::string_view authorization, std::string_view cookie) const {
  if (!needs_token()) return true;
  constexpr std::string_view scheme = "bearer ";
  if (lower(authorization.substr(0, scheme.size())) == scheme) {
    return is_token(trimmed(authorization.substr(scheme.size())));
  }
  for (std::string_view rest = cookie; !rest.empty();) {
    const auto end = rest.find(';');
    const std::string_view pair = trimmed(rest.substr(0, end));
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    const auto equal = pair.find('=');
    if (equal == std::string_view::npos || pair.substr(0, equal) != cookie_name_) continue;
    if (same_secret(pair.substr(equal + 1), cookie_value_)) return true;
  }
  return false;
}

std::string Access::set_cookie() const {
  return cookie_name_ + "=" + cookie_value_ + "; Path=/; HttpOnly; SameSite=Strict";
}

}  // namespace admin
}  // namespace v0
}  // namespace barrel_p2p
