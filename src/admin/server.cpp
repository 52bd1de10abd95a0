#include "admin/server.hpp"

#include <algorithm>
#include <array>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/status.hpp>
#include <exception>
#include <list>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "admin/state_json.hpp"
#include "base/this_thread.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace admin {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::asio::ip::tcp;
using ErrorCode = boost::system::error_code;

std::string event_text(std::string_view name, std::string_view json) {
  return "event: " + std::string(name) + "\ndata: " + std::string(json) + "\n\n";
}

std::string header_text(const Response& response, bool keep_alive) {
  std::string text = "HTTP/1.1 " + std::to_string(response.status) + " ";
  text += std::string_view(http::obsolete_reason(static_cast<http::status>(response.status)));
  text += "\r\nContent-Type: " + response.content_type + "\r\n";
  bool cached = false;
  for (const auto& [name, value] : response.headers) {
    text.append(name).append(": ").append(value).append("\r\n");
    cached = cached || name == "Cache-Control";
  }
  if (!cached) text += "Cache-Control: no-store\r\n";
  if (!response.events) text += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
  if (!keep_alive) text += "Connection: close\r\n";
  return text + security_headers() + "\r\n";
}

constexpr Milliseconds linger_time{1000};
constexpr std::size_t drained_max = 256UL * 1024;

/// What those who get events share: the state as it was told last.
struct Feed {
  std::shared_ptr<const std::string> state;  ///< As an event.
};

}  // namespace

class Server::Core {
 public:
  Core(const ServerConfig& config, Logger logger)
      : config_(config), logger_(std::move(logger)), acceptor_(context_), accept_timer_(context_), timer_(context_) {}

  Result<void> listen();
  void start(Pages pages);
  void stop();
  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }

 private:
  class Session;

  void accept();
  void make_room();
  void erase(const Session& session);
  [[nodiscard]] std::size_t events_count() const;
  /// Answers, whatever the source throws.
  [[nodiscard]] Response answer(const Request& request) const;
  void feed();
  /// `always`: for somebody who has heard nothing yet.
  void renew_state(bool always);

  const ServerConfig config_;
  std::optional<Pages> pages_;  ///< From `start` on.
  Logger logger_;
  asio::io_context context_{1};
  tcp::acceptor acceptor_;
  asio::steady_timer accept_timer_;  ///< After accepting failed.
  asio::steady_timer timer_;         ///< Of events.
  std::uint16_t port_ = 0;
  std::list<std::shared_ptr<Session>> sessions_;  ///< In the order in which they came.
  Feed feed_;
  std::string told_;  ///< The state without what changes by itself.
  bool feeding_ = false;
  std::optional<asio::executor_work_guard<asio::io_context::executor_type>> work_;
  std::mutex stop_mutex_;  ///< Of who stops, until it has.
  std::thread thread_;
};

class Server::Core::Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Core& core, tcp::socket socket)
      : core_(core), stream_(std::move(socket)), buffer_(core.config_.header_bytes_max) {}

  void read();
  /// Ends it; it is erased when its operations have ended.
  void close();
  [[nodiscard]] bool is_waiting() const noexcept { return state_ == State::reading; }
  [[nodiscard]] bool has_events() const noexcept { return state_ == State::events; }
  [[nodiscard]] bool is_closed() const noexcept { return state_ == State::closed; }
  /// Of those with events: sends what is new, unless the last word is still on its way.
  void pump();

 private:
  enum class State : std::uint8_t { reading, writing, events, closed };

  void took(const ErrorCode& error);
  void respond(Response response, bool head, bool keep_alive);
  void begin_events();
  void watch_end();
  /// Says that no more comes, and takes what the client still sends for a moment: a connection that is closed with
  /// unread bytes is reset, and the client loses the answer.
  void linger();
  void drain();
  void finish();

  Core& core_;
  boost::beast::tcp_stream stream_;
  boost::beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::empty_body>> parser_;
  State state_ = State::reading;
  std::string head_, body_;           ///< Of the answer that is being sent.
  std::array<char, 4096> ignored_{};  ///< What a client says when there is nothing to say any more.
  std::size_t drained_ = 0;

  bool sending_ = false;
  std::shared_ptr<const std::string> told_;
  std::uint64_t told_log_ = 0;
  bool told_first_log_ = false;
  MonotonicTime said_{};
};

void Server::Core::Session::read() {
  state_ = State::reading;
  parser_.emplace();
  parser_->header_limit(static_cast<std::uint32_t>(core_.config_.header_bytes_max));
  parser_->body_limit(0);
  stream_.expires_after(core_.config_.request_timeout);
  http::async_read(stream_, buffer_, *parser_,
                   [self = shared_from_this()](const ErrorCode& error, std::size_t /*bytes*/) { self->took(error); });
}

void Server::Core::Session::took(const ErrorCode& error) {
  if (is_closed()) return finish();
  const bool lost = error && error.category() == asio::error::get_system_category();
  if (lost || error == http::error::end_of_stream || error == boost::beast::error::timeout ||
      error == asio::error::eof) {
    return finish();
  }
  if (error) {
    Response response;
    const bool large = error == http::error::header_limit || error == http::error::buffer_overflow;
    const bool body = error == http::error::unexpected_body || error == http::error::body_limit;
    response.status = large ? 431 : body ? 413 : 400;
    response.body = large  ? "the header is too large\n"
                    : body ? "there is nothing to send a body to\n"
                           : "this is not HTTP\n";
    return respond(std::move(response), false, false);
  }
  const auto& message = parser_->get();
  Request request;
  const auto field = [&](http::field name) { return std::string(std::string_view(message[name])); };
  request.method = std::string(std::string_view(message.method_string()));
  request.target = std::string(std::string_view(message.target()));
  request.host = message.count(http::field::host) == 1 ? field(http::field::host) : "";
  request.authorization = field(http::field::authorization);
  request.cookie = field(http::field::cookie);
  request.if_none_match = field(http::field::if_none_match);
  respond(core_.answer(request), request.method == "HEAD", message.keep_alive());
}

void Server::Core::Session::respond(Response response, bool head, bool keep_alive) {
  if (response.events && !head && core_.events_count() >= core_.config_.events_max) {
    response = {};
    response.status = 503;
    response.body = "too many are listening already\n";
  }
  const bool events = response.events && !head;
  if (response.events) keep_alive = false;
  state_ = State::writing;
  head_ = header_text(response, keep_alive);
  body_ = head || events ? "" : std::move(response.body);
  const std::array<asio::const_buffer, 2> parts{asio::buffer(head_), asio::buffer(body_)};
  stream_.expires_after(core_.config_.write_timeout);
  asio::async_write(stream_, parts,
                    [self = shared_from_this(), events, keep_alive](const ErrorCode& error, std::size_t /*bytes*/) {
                      if (error || self->is_closed()) return self->finish();
                      if (events) return self->begin_events();
                      if (keep_alive) return self->read();
                      self->linger();
                    });
}

void Server::Core::Session::begin_events() {
  if (core_.events_count() >= core_.config_.events_max) return finish();
  state_ = State::events;
  watch_end();
  core_.renew_state(true);
  pump();
  core_.feed();
}

void Server::Core::Session::watch_end() {
  stream_.expires_never();
  stream_.async_read_some(asio::buffer(ignored_),
                          [self = shared_from_this()](const ErrorCode& error, std::size_t /*bytes*/) {
                            // Nobody who is served well says anything more.
                            (void)error;
                            self->finish();
                          });
}

void Server::Core::Session::pump() {
  if (state_ != State::events || sending_) return;
  const auto time = monotonic_now();
  body_.clear();
  if (core_.feed_.state != told_ && core_.feed_.state) {
    told_ = core_.feed_.state;
    body_ += *told_;
  }
  auto entries = core_.pages_->source().log(told_log_);
  const std::size_t most = core_.config_.log_first_max;
  if (!std::exchange(told_first_log_, true) && entries.size() > most) {
    entries.erase(entries.begin(), entries.end() - static_cast<std::ptrdiff_t>(most));
  }
  for (const auto& entry : entries) {
    told_log_ = entry.number;
    body_ += event_text("log", log_json(entry));
  }
  if (body_.empty() && time - said_ >= core_.config_.comment_period) body_ = ": still here\n\n";
  if (body_.empty()) return;
  said_ = time;
  sending_ = true;
  stream_.expires_after(core_.config_.write_timeout);
  asio::async_write(stream_, asio::buffer(body_),
                    [self = shared_from_this()](const ErrorCode& error, std::size_t /*bytes*/) {
                      self->sending_ = false;
                      if (error || self->is_closed()) self->finish();
                    });
}

void Server::Core::Session::linger() {
  ErrorCode ignored;
  ignored = stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
  stream_.expires_after(linger_time);
  drain();
}

void Server::Core::Session::drain() {
  stream_.async_read_some(asio::buffer(ignored_),
                          [self = shared_from_this()](const ErrorCode& error, std::size_t bytes) {
                            self->drained_ += bytes;
                            if (error || self->is_closed() || self->drained_ > drained_max) return self->finish();
                            self->drain();
                          });
}

void Server::Core::Session::close() {
  state_ = State::closed;
  ErrorCode ignored;
  ignored = stream_.socket().shutdown(tcp::socket::shutdown_both, ignored);
  stream_.close();
}

void Server::Core::Session::finish() {
  if (!is_closed()) close();
  core_.erase(*this);
}

Result<void> Server::Core::listen() {
  ErrorCode error;
  const auto address = asio::ip::make_address(config_.listen, error);
  if (error) return fail(Errc::invalid_argument, "admin.listen: no IP address: " + config_.listen);
  const tcp::endpoint endpoint(address, config_.port);
  const auto failed = [&](const char* what) {
    const bool taken = error == boost::system::errc::address_in_use;
    const bool absent = error == boost::system::errc::address_not_available;
    return fail(Errc::io_error, std::string("admin.port: cannot ") + what + " TCP " + config_.listen + " port " +
                                    std::to_string(config_.port) + ": " + error.message() +
                                    (taken    ? "; stop what has it, or set admin.port to another one"
                                     : absent ? "; set admin.listen to an address of this machine"
                                              : ""));
  };
  if (acceptor_.open(endpoint.protocol(), error)) return failed("open");
  if (acceptor_.set_option(tcp::acceptor::reuse_address(true), error)) return failed("set up");
  if (acceptor_.bind(endpoint, error)) return failed("bind");
  if (acceptor_.listen(asio::socket_base::max_listen_connections, error)) return failed("listen on");
  port_ = acceptor_.local_endpoint().port();
  return {};
}

void Server::Core::start(Pages pages) {
  pages_.emplace(std::move(pages));
  work_.emplace(context_.get_executor());
  accept();
  thread_ = std::thread([this] {
    name_this_thread("bp2p-admin");
    context_.run();
  });
}

void Server::Core::stop() {
  const std::lock_guard stopping(stop_mutex_);
  if (!thread_.joinable()) return;
  asio::post(context_, [this] {
    ErrorCode ignored;
    ignored = acceptor_.close(ignored);
    accept_timer_.cancel();
    timer_.cancel();
    for (const auto& session : std::list(sessions_)) session->close();
    work_.reset();
  });
  thread_.join();
  sessions_.clear();
}

void Server::Core::accept() {
  acceptor_.async_accept([this](const ErrorCode& error, tcp::socket socket) {
    if (error == asio::error::operation_aborted || !acceptor_.is_open()) return;
    if (!error) {
      make_room();
      if (sessions_.size() < config_.connections_max) {
        sessions_.push_back(std::make_shared<Session>(*this, std::move(socket)));
        sessions_.back()->read();
      }
      return accept();
    }
    // No descriptors are left, say: it is no use to ask again at once.
    accept_timer_.expires_after(std::chrono::milliseconds(100));
    accept_timer_.async_wait([this](const ErrorCode& stopped) {
      if (!stopped) accept();
    });
  });
}

void Server::Core::make_room() {
  if (sessions_.size() < config_.connections_max) return;
  const auto waiting = std::ranges::find_if(sessions_, [](const auto& session) { return session->is_waiting(); });
  if (waiting == sessions_.end()) return;
  const auto session = std::move(*waiting);
  sessions_.erase(waiting);
  session->close();
}

void Server::Core::erase(const Session& session) {
  std::erase_if(sessions_, [&](const auto& one) { return one.get() == &session; });
}

std::size_t Server::Core::events_count() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(sessions_, [](const auto& session) { return session->has_events(); }));
}

Response Server::Core::answer(const Request& request) const {
  try {
    return pages_->answer(request);
  } catch (const std::exception& error) {
    logger_->error("admin: no answer to {}: {}", request.target, error.what());
    Response response;
    response.status = 500;
    response.body = "the node cannot answer, its log says why\n";
    return response;
  }
}

void Server::Core::renew_state(bool always) {
  const auto snapshot = pages_->source().snapshot(true);
  Snapshot still = *snapshot;
  still.time = 0;
  still.uptime = {};
  for (auto& node : still.nodes) node.age = {};
  std::string now = state_json(still);
  if (!always && now == told_) return;
  told_ = std::move(now);
  feed_.state = std::make_shared<const std::string>(event_text("state", state_json(*snapshot)));
}

void Server::Core::feed() {
  if (std::exchange(feeding_, true)) return;
  timer_.expires_after(config_.events_period);
  timer_.async_wait([this](const ErrorCode& stopped) {
    feeding_ = false;
    if (stopped || events_count() == 0) return;
    renew_state(false);
    for (const auto& session : std::list(sessions_)) session->pump();
    feed();
  });
}

Server::Server(std::unique_ptr<Core> core) noexcept : core_(std::move(core)) {}
Server::~Server() { stop(); }

Result<std::unique_ptr<Server>> Server::open(const ServerConfig& config, Logger logger) {
  auto core = std::make_unique<Core>(config, std::move(logger));
  if (auto listening = core->listen(); !listening) return std::unexpected(listening.error());
  return std::unique_ptr<Server>(new Server(std::move(core)));
}

void Server::start(Pages pages) { core_->start(std::move(pages)); }
void Server::stop() { core_->stop(); }
std::uint16_t Server::port() const noexcept { return core_->port(); }

}  // namespace admin
}  // namespace v0
}  // namespace barrel_p2p
