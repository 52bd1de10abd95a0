// Who may ask, and by which name.
//
// A token, where there is one, is shown as `Authorization: Bearer TOKEN`. A person opens `/?token=TOKEN` once: the
// answer sets a cookie, HttpOnly and SameSite=Strict, that stands for the token as long as the node runs, and leads to
// the address without it.
//
// The Host header must be an IP address, localhost, or one of the names that are known: with any other name a page of
// somebody else's that had its DNS record pointed to us (DNS rebinding) would ask in the name of a browser's user.
#pragma once

#include <barrel_p2p/error.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {
namespace admin {

/// Equal, in a time that tells nothing of where they differ.
[[nodiscard]] bool same_secret(std::string_view given, std::string_view secret) noexcept;

/// Immutable.
class Access {
 public:
  /// An empty token: all may. `cookie_name` differs between nodes of one host: cookies know no ports.
  Access(std::string token, std::string cookie_name, const std::vector<std::string>& hosts);

  /// With or without a port.
  [[nodiscard]] bool knows_host(std::string_view host) const;
  [[nodiscard]] bool needs_token() const noexcept { return !token_.empty(); }
  /// By the values of these headers.
  [[nodiscard]] bool allows(std::string_view authorization, std::string_view cookie) const;
  [[nodiscard]] bool is_token(std::string_view token) const { return needs_token() && same_secret(token, token_); }
  /// For `Set-Cookie`.
  [[nodiscard]] std::string set_cookie() const;

 private:
  std::string token_;
  std::string cookie_name_;
  std::string cookie_value_;  ///< Random: the token itself is stored in no browser.
  std::vector<std::string> hosts_;
};

}  // namespace admin
}  // namespace v0
}  // namespace barrel_p2p
