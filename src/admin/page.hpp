// The files of the page that is built into the library. A generated source file defines `page_files`; without it there
// are none, and the endpoint says so in plain text.
//
// The page is delivered under the policy `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'
// data:; font-src 'self'; connect-src 'self'`: no inline scripts, no inline styles in HTML, nothing from other hosts.
#pragma once

#include <barrel_p2p/version.hpp>
#include <span>
#include <string_view>

namespace barrel_p2p {
inline namespace v0 {
namespace admin {

struct PageFile {
  std::string_view path;  ///< `/`, `/assets/index-4f2a.js`. What is below /assets/ never changes under its name.
  std::string_view content_type;  ///< `text/html; charset=utf-8`
  std::string_view etag;          ///< With its quotes.
  std::span<const unsigned char> bytes;
};

[[nodiscard]] std::span<const PageFile> page_files() noexcept;

}  // namespace admin
}  // namespace v0
}  // namespace barrel_p2p
