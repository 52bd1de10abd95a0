// Serves `Pages` over HTTP/1.1, on a thread of its own.
//
// Everything has a bound: connections (a newcomer takes the place of the one that has kept us waiting for its request
// for longest), the bytes and the time of a request, the time that an answer may take, the connections that get events.
//
// Server-sent events (HTML standard, 9.2): `state`, the whole of /api/state, at once and then once a second when
// something changed; `log`, decisions about peers, the last 200 at once. A client that reads slowly gets fewer states,
// and is closed when it takes nothing for a while. A comment every 15 s keeps proxies from closing the connection.
#pragma once

#include <barrel_p2p/error.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "admin/pages.hpp"
#include "base/clock.hpp"
#include "base/log.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace admin {

struct ServerConfig {
  std::string listen = "127.0.0.1";  ///< An IP address.
  std::uint16_t port = 0;            ///< 0: any.
  std::size_t connections_max = 64;  ///< A browser opens six, a scraper one.
  std::size_t events_max = 16;       ///< Of these, with events: each costs a copy of the state a second.
  std::size_t header_bytes_max = 16UL * 1024;
  Milliseconds request_timeout{10'000};  ///< For a whole request, and for the next one on an open connection.
  Milliseconds write_timeout{30'000};    ///< For one answer, or one event.
  Milliseconds events_period{1000};
  Milliseconds comment_period{15'000};
  std::size_t log_first_max = 200;  ///< Decisions that a new client gets.
};

class Server {
 public:
  /// Binds. Error: `io_error`, `invalid_argument`: no address.
  static Result<std::unique_ptr<Server>> open(const ServerConfig& config, Logger logger);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Once. What connected before waits until then.
  void start(Pages pages);
  /// Closes everything and ends the thread. The source is not called any more. Any thread, and several at once: each
  /// returns when it is done.
  void stop();
  [[nodiscard]] std::uint16_t port() const noexcept;

 private:
  class Core;
  explicit Server(std::unique_ptr<Core> core) noexcept;
  std::unique_ptr<Core> core_;
};

}  // namespace admin
}  // namespace v0
}  // namespace barrel_p2p
