#include "admin/pages.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>

#include "admin/metrics.hpp"
#include "admin/page.hpp"
#include "admin/state_json.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace admin {
namespace {

constexpr std::string_view maps_path = "/api/maps/";
constexpr std::size_t map_entries_max = 1000;  ///< In one answer.

Response refusal(unsigned status, std::string text) {
  Response response;
  response.status = status;
  response.body = std::move(text) + "\n";
  return response;
}

Response json(std::string text) {
  Response response;
  response.content_type = "application/json";
  response.body = std::move(text);
  return response;
}

int hex_digit(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

std::optional<std::string> decoded(std::string_view text, bool plus_is_space) {
  std::string result;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '%') {
      if (at + 2 >= text.size()) return std::nullopt;
      const int high = hex_digit(text[at + 1]);
      const int low = hex_digit(text[at + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      result += static_cast<char>(high * 16 + low);
      at += 2;
    } else {
      result += plus_is_space && text[at] == '+' ? ' ' : text[at];
    }
  }
  return result;
}

Response page_file(const PageFile& file, const Request& request) {
  Response response;
  response.content_type = file.content_type;
  response.headers.emplace_back("ETag", file.etag);
  response.headers.emplace_back("Cache-Control", file.path.starts_with("/assets/")
                                                     ? "private, max-age=31536000, immutable"
                                                     : "private, no-cache");
  if (request.if_none_match == file.etag) {
    response.status = 304;
    return response;
  }
  response.body.assign(file.bytes.begin(), file.bytes.end());
  return response;
}

/// The token out of the address line, where history and logs would keep it.
Response to_cookie(const Access& access, const std::string& path) {
  Response response = refusal(303, "see " + path);
  response.headers.emplace_back("Location", path);
  response.headers.emplace_back("Set-Cookie", access.set_cookie());
  response.headers.emplace_back("Cache-Control", "no-store");
  return response;
}

}  // namespace

std::optional<Target> parse_target(std::string_view target) {
  if (!target.starts_with('/') || target.starts_with("//")) return std::nullopt;
  const auto question = target.find('?');
  Target parsed;
  auto path = decoded(target.substr(0, question), false);
  if (!path) return std::nullopt;
  parsed.path = std::move(*path);
  if (question == std::string_view::npos) return parsed;
  for (std::string_view rest = target.substr(question + 1); !rest.empty();) {
    const auto end = rest.find('&');
    const std::string_view pair = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    const auto equal = pair.find('=');
    auto name = decoded(pair.substr(0, equal), true);
    auto value = decoded(equal == std::string_view::npos ? std::string_view() : pair.substr(equal + 1), true);
    if (!name || !value) return std::nullopt;
    parsed.parameters.insert_or_assign(std::move(*name), std::move(*value));
  }
  return parsed;
}

std::string security_headers() {
  return "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
         "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
         "X-Content-Type-Options: nosniff\r\n"
         "X-Frame-Options: DENY\r\n"
         "Referrer-Policy: no-referrer\r\n"
         "Cross-Origin-Resource-Policy: same-origin\r\n"
         "Cross-Origin-Opener-Policy: same-origin\r\n";
}

Response Pages::answer(const Request& request) const {
  if (!access_.knows_host(request.host)) {
    return refusal(421,
                   "this node does not answer to that name: call it by its address, or add the name to admin.hosts");
  }
  if (request.method != "GET" && request.method != "HEAD") {
    Response response = refusal(405, "only GET and HEAD: nothing can be changed here");
    response.headers.emplace_back("Allow", "GET, HEAD");
    return response;
  }
  const auto target = parse_target(request.target);
  if (!target) return refusal(400, "the address is not one of this node");
  const bool allowed = access_.allows(request.authorization, request.cookie);
  if (target->path == "/health/live" || target->path == "/health/ready") return health(target->path, allowed);
  if (const auto token = target->parameters.find("token"); token != target->parameters.end()) {
    if (access_.is_token(token->second)) return to_cookie(access_, "/");
    if (access_.needs_token()) return refusal(401, "the token is another one");
  }
  if (!allowed) {
    Response response =
        refusal(401, "a token is needed: send \"Authorization: Bearer TOKEN\", or open /?token=TOKEN in a browser");
    response.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"barrel_p2p\"");
    return response;
  }
  return route(*target, request);
}

Response Pages::route(const Target& target, const Request& request) const {
  const std::string& path = target.path;
  if (path == "/api/state") return json(state_json(*source_.snapshot(true)));
  if (path == "/metrics") {
    Response response;
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    response.body = exposition(*source_.snapshot(false));
    return response;
  }
  if (path == "/api/events") {
    Response response;
    response.content_type = "text/event-stream";
    response.events = true;
    return response;
  }
  if (path.starts_with(maps_path)) return map(path.substr(maps_path.size()), target);
  const auto files = page_files();
  const auto file = std::ranges::find(files, path, &PageFile::path);
  if (file != files.end()) return page_file(*file, request);
  if (path == "/") {
    return refusal(200,
                   "This is a node of barrel_p2p. Its page is not built in. There are /api/state, /api/events,\n"
                   "/api/maps/NAME, /metrics, /health/live and /health/ready.");
  }
  return refusal(404, "there is nothing at this address");
}

Response Pages::health(const std::string& path, bool allowed) const {
  const Health health = source_.health();
  const bool live = path == "/health/live";
  const bool well = live ? health.live : health.ready;
  Response response = json(health_json(live ? "live" : "ready", well, health, allowed));
  response.status = well ? 200 : 503;
  return response;
}

Response Pages::map(const std::string& name, const Target& target) const {
  MapQuery query;
  query.map = name;
  for (const auto& [parameter, value] : target.parameters) {
    if (parameter == "prefix") {
      query.prefix = value;
    } else if (parameter == "after") {
      query.after = value;
    } else if (parameter == "limit") {
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), query.limit);
      if (error != std::errc() || end != value.data() + value.size() || query.limit == 0) {
        return refusal(400, "limit must be a number from 1");
      }
    } else {
      return refusal(400, "there are prefix, after and limit");
    }
  }
  query.limit = std::min(query.limit, map_entries_max);
  const auto page = source_.map(query);
  if (!page) return refusal(404, "no such map is open on this node");
  return json(map_json(name, *page));
}

}  // namespace admin
}  // namespace v0
}  // namespace barrel_p2p
