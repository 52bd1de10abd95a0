// What is answered to which request: no sockets here.
//
//   /health/live, /health/ready   200 or 503; no token is asked for, but reasons are told with one only
//   /metrics                      for Prometheus, see metrics.hpp
//   /api/state                    what the node knows, as JSON
//   /api/maps/NAME                entries of a map: ?prefix=TEXT&after=KEY&limit=N
//   /api/events                   server-sent events, see server.hpp
//   /, /assets/...                the page
//
// Nothing here changes anything: GET and HEAD only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "admin/access.hpp"
#include "admin/source.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace admin {

struct Request {
  std::string method;
  std::string target;  ///< Path and query, as they came.
  std::string host, authorization, cookie, if_none_match;
};

struct Response {
  unsigned status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;  ///< Others than those of every answer.
  bool events = false;  ///< No body: events follow until somebody closes the connection.
};

/// A path and the parameters of its query, with `%41` and `+` decoded. Nothing: it is no `/...`, or cannot be decoded.
struct Target {
  std::string path;
  std::map<std::string, std::string> parameters;
};
[[nodiscard]] std::optional<Target> parse_target(std::string_view target);

/// Headers of every answer: what a browser must not do with it.
[[nodiscard]] std::string security_headers();

class Pages {
 public:
  Pages(Source source, Access access) : source_(std::move(source)), access_(std::move(access)) {}

  [[nodiscard]] Response answer(const Request& request) const;
  [[nodiscard]] const Source& source() const noexcept { return source_; }

 private:
  [[nodiscard]] Response route(const Target& target, const Request& request) const;
  [[nodiscard]] Response health(const std::string& path, bool allowed) const;
  [[nodiscard]] Response map(const std::string& name, const Target& target) const;

  Source source_;
  Access access_;
};

}  // namespace admin
}  // namespace v0
}  // namespace barrel_p2p
