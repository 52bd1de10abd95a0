#include "distribution/discovery.hpp"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <charconv>
#include <exception>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <variant>

#include "base/log.hpp"
#include "base/this_thread.hpp"
#include "distribution/auth/files.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

constexpr std::size_t endpoint_bytes_max = 4096;
constexpr std::size_t addresses_max = 8;
constexpr Milliseconds warn_period{60'000};

/// An address tuple `{127,0,0,1}` or `{0,0,0,0,0,0,0,1}` as text.
std::optional<std::string> address_text(const Term& tuple) {
  constexpr std::size_t ipv4_parts = 4;
  constexpr std::size_t ipv6_parts = 8;
  constexpr int hexadecimal = 16;
  if (!tuple.is_tuple(ipv4_parts) && !tuple.is_tuple(ipv6_parts)) return std::nullopt;
  const bool ipv4 = tuple.size() == ipv4_parts;
  std::string text;
  for (const auto& part : tuple.elements()) {
    const auto number = part.as_int64();
    if (!number || *number < 0 || *number > (ipv4 ? 0xFF : 0xFFFF)) return std::nullopt;
    std::array<char, 8> digits{};
    const auto [end, error] =
        std::to_chars(digits.data(), digits.data() + digits.size(), *number, ipv4 ? 10 : hexadecimal);
    if (!text.empty()) text += ipv4 ? '.' : ':';
    text.append(digits.data(), end);
  }
  return text;
}

/// What a resolver may be asked for, and what can be written between quotes as it is.
bool may_be_host(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char character) {
    return character > ' ' && character <= '~' && character != '"' && character != '\\';
  });
}

Result<std::uint16_t> parse_port(std::string_view text) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0 || port > UINT16_MAX) {
    return fail(Errc::invalid_argument, "a port is a number from 1 to 65535, not \"" + std::string(text) + "\"");
  }
  return static_cast<std::uint16_t>(port);
}

/// Whether this machine has the address: only then a socket can be bound to it.
bool is_local(const quic::Address& address) {
  const int descriptor = ::socket(address.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return false;
  const auto any_port = quic::Address::make(address.host(), 0);
  const bool bound = any_port && ::bind(descriptor, any_port->data(), any_port->size()) == 0;
  ::close(descriptor);
  return bound;
}

/// Asks the resolver of the machine, which may take long.
Result<DiscoveredAddresses> look_up(const HostPort& where) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_DGRAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  const int code = ::getaddrinfo(where.host.c_str(), std::to_string(where.port).c_str(), &hints, &list);
  if (code != 0) return fail(Errc::unreachable, where.host + ": " + ::gai_strerror(code));
  DiscoveredAddresses found;
  for (const addrinfo* entry = list; entry != nullptr && found.size() < addresses_max; entry = entry->ai_next) {
    found.push_back({quic::Address(entry->ai_addr, entry->ai_addrlen), where.host});
  }
  ::freeaddrinfo(list);
  if (found.empty()) return fail(Errc::unreachable, where.host + ": no address");
  return found;
}

/// Threads that run what is posted to their context.
class Threads {
 public:
  /// Throws as `std::thread` does.
  explicit Threads(std::size_t count) : Threads() {
    threads_.reserve(count);
    while (threads_.size() < count) {
      threads_.emplace_back([this] {
        name_this_thread("bp2p-discovery");
        context_.run();
      });
    }
  }
  ~Threads() { stop(); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

  [[nodiscard]] boost::asio::io_context& context() noexcept { return context_; }
  /// Waits for what they are at; what waits does not run.
  void stop() {
    context_.stop();
    for (auto& thread : std::exchange(threads_, {})) thread.join();
  }

 private:
  Threads() = default;

  boost::asio::io_context context_;
  const boost::asio::executor_work_guard<boost::asio::io_context::executor_type> keep_{context_.get_executor()};
  std::vector<std::thread> threads_;
};

/// What a thread may wait for, in this order: nothing, the disk, name servers and functions of the program.
enum class Waits : std::uint8_t { nothing, disk, anything };

/// What may be otherwise in a while, and no mistake of the configuration.
bool is_of_disk(const std::error_code& code) {
  return code == std::errc::no_space_on_device || code == std::errc::read_only_file_system ||
         code == std::errc::io_error || code.value() == EDQUOT;
}

std::string text_of(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }

/// Whose file it is that has taken the place of ours, as well as it says.
std::string told_by(const Bytes& content) {
  const auto endpoint = parse_endpoint(text_of(content));
  return endpoint ? endpoint->host + ":" + std::to_string(endpoint->port) : "no endpoint";
}

}  // namespace

Result<HostPort> parse_endpoint(std::string_view text) {
  const auto term = parse_term(text);
  if (!term) return std::unexpected(term.error());
  const auto bad = [] { return fail(Errc::malformed_term, "an endpoint is {\"HOST\",PORT}."); };
  if (!term->is_tuple(2)) return bad();
  const auto port = (*term)[1].as_int64();
  if (!port || *port < 1 || *port > UINT16_MAX) return bad();
  const Term& host = (*term)[0];
  auto name = host.is_tuple() ? address_text(host) : host.as_string();
  if (!name || !may_be_host(*name)) return bad();
  return HostPort{std::move(*name), static_cast<std::uint16_t>(*port)};
}

std::string format_endpoint(const HostPort& endpoint) {
  return "{\"" + endpoint.host + "\"," + std::to_string(endpoint.port) + "}.\n";
}

Result<HostPort> parse_host_port(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) {
    return fail(Errc::invalid_argument, "\"" + std::string(text) + "\" is not of the form host:port");
  }
  const auto port = parse_port(text.substr(colon + 1));
  if (!port) return std::unexpected(port.error());
  std::string_view host = text.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return HostPort{std::string(host), *port};
}

struct Discovery::Shared {
  explicit Shared(DiscoveryConfig given) : config(std::move(given)) {}

  /// On its way through the chain.
  struct Question {
    NodeName node;
    Callback callback;
    std::size_t next = 0;  ///< The backend that is to be asked.
    std::string said{};    ///< By those that know no address.
    bool own = false;      ///< One of them knows ours.
  };

  const DiscoveryConfig config;
  mutable std::mutex listening_mutex;
  std::optional<quic::Address> listening;
  std::atomic<bool> stopped{false};
  std::mutex mutex;
  std::map<std::string, quic::Address> remembered;  ///< Guarded by the mutex.
  /// Guarded by the mutex: who waits for an answer that takes long, by node. It is asked for once.
  std::map<NodeName, std::vector<Question>> waiting;
  std::size_t waiting_count = 0;  ///< Of all nodes. Guarded by the mutex.
  /// Four times as many dials as sends may begin at once. They end sooner than a name server gives up.
  static constexpr std::size_t waiting_max = 4096;
  static constexpr std::size_t slow_threads = 4;  ///< A name server that does not answer holds one of them.
  Threads slow{slow_threads};
  Threads disk{1};

  std::mutex publish_mutex;  ///< Held while the own file is looked at and written. Guards what follows.
  std::string published_as;
  std::filesystem::path published;  ///< Empty: nothing.
  std::string content;
  bool unwritten = false;  ///< The disk refused it; then what is there is no surprise.
  boost::asio::steady_timer look_timer{disk.context()};
  RateLimit damaged_limit{1, warn_period};
  RateLimit foreign_limit{1, warn_period};
  RateLimit unwritable_limit{1, warn_period};

  [[nodiscard]] std::filesystem::path file_of(std::string_view node) const {
    return config.directory / (std::string(node) + ".endpoint");
  }

  // What keeps the own file, with `publish_mutex`.

  [[nodiscard]] Result<void> write_own(const std::filesystem::path& file, const std::string& text) const {
    std::error_code code;
    std::filesystem::create_directories(config.directory, code);
    if (code) {
      return fail(
          is_of_disk(code) ? Errc::io_error : Errc::invalid_config,
          "cannot make the directory " + config.directory.string() + ": " + code.message() + "; set discovery_dir");
    }
    const auto* const bytes = reinterpret_cast<const std::uint8_t*>(text.data());
    return write_public_file(file, ByteView(bytes, text.size()));
  }

  void warn(RateLimit& limit, const std::string& text) const {
    if (config.warn && limit.pass(monotonic_now())) config.warn(text);
  }

  /// Whether the own file is as it was written; if not, it is written again.
  void look() {
    const auto there = read_small_file(published, endpoint_bytes_max, FileCare::any);
    if (there && text_of(*there) == content) {
      unwritten = false;
      return;
    }
    if (unwritten) return write_again();
    if (there) {
      warn(foreign_limit, "another node publishes itself as " + published_as + " (" + told_by(*there) + " in " +
                              published.string() +
                              "); this node writes its own address there again. Two nodes must not have one name: stop "
                              "the other one, or give it another name");
    } else {
      const bool gone = there.error() == Errc::not_found;
      warn(damaged_limit, published.string() + (gone ? " was removed" : ": " + there.error().message()) +
                              "; it is written again, for without it others do not find this node. See that nothing "
                              "else writes to discovery_dir, and that nothing empties it while nodes run");
    }
    write_again();
  }

  void write_again() {
    const auto written = write_own(published, content);
    unwritten = !written;
    if (unwritten) warn(unwritable_limit, "others do not find this node: " + written.error().message());
  }

  void look_later() {
    look_timer.expires_after(config.look_period);
    look_timer.async_wait([this](const boost::system::error_code& error) {
      if (error || stopped.load()) return;
      const std::lock_guard lock(publish_mutex);
      if (published.empty()) return;
      look();
      look_later();
    });
  }

  // What answers questions.

  [[nodiscard]] Result<HostPort> ask(const std::string& backend, const NodeName& node) const {
    if (backend == "static") {
      const auto found = config.static_nodes.find(node.string());
      if (found == config.static_nodes.end()) return fail(Errc::not_found, "not in the table");
      return parse_host_port(found->second);
    }
    if (backend == "file") {
      const auto file = file_of(node.text());
      const auto content_now = read_small_file(file, endpoint_bytes_max, FileCare::any);
      if (!content_now) return std::unexpected(content_now.error());
      return parse_endpoint(text_of(*content_now));
    }
    if (backend == "dns") return HostPort{std::string(node.host()), config.dns_port};
    try {
      const auto said = config.functions.at(backend)(node);
      if (!said) return std::unexpected(said.error());
      return parse_host_port(*said);
    } catch (const std::exception& error) {
      return fail(Errc::not_found, error.what());
    } catch (...) {
      return fail(Errc::not_found, "it threw something");
    }
  }

  [[nodiscard]] bool is_own(const quic::Address& address) const {
    const std::lock_guard lock(listening_mutex);
    if (!listening || address.port() != listening->port()) return false;
    return listening->is_unspecified() ? is_local(address) : address == *listening;
  }

  [[nodiscard]] static Waits waits_for(const std::string& backend) {
    if (backend == "static" || backend == "dns") return Waits::nothing;
    return backend == "file" ? Waits::disk : Waits::anything;
  }

  /// What the backends say, from the next one on, or what is to be waited for first.
  [[nodiscard]] std::variant<Waits, Result<DiscoveredAddresses>> ask_on(Question& question, Waits may) const {
    for (; question.next < config.backends.size(); ++question.next) {
      const auto& backend = config.backends[question.next];
      if (const auto needed = waits_for(backend); needed > may) return needed;
      const auto where = ask(backend, question.node);
      Result<DiscoveredAddresses> found = DiscoveredAddresses();
      if (where) {
        if (const auto literal = quic::Address::make(where->host, where->port)) {
          found = DiscoveredAddresses{{*literal, ""}};
        } else if (may < Waits::anything) {
          return Waits::anything;
        } else {
          found = look_up(*where);
        }
      }
      const Error* error = !where ? &where.error() : (!found ? &found.error() : nullptr);
      if (error == nullptr) {
        question.own = std::erase_if(*found, [&](const auto& one) { return is_own(one.address); }) > 0 || question.own;
        if (!found->empty()) return found;
      }
      question.said += (question.said.empty() ? "" : "; ") + backend + ": " +
                       (error != nullptr ? error->message() : "our own address");
    }
    return Result<DiscoveredAddresses>(
        fail(question.own ? Errc::cannot_connect_self : Errc::unreachable,
             "no address is known for " + question.node.string() + " (" + question.said + ")"));
  }

  [[nodiscard]] std::optional<quic::Address> met_at(std::string_view node) {
    std::optional<quic::Address> address;
    {
      const std::lock_guard lock(mutex);
      if (const auto met = remembered.find(std::string(node)); met != remembered.end()) address = met->second;
    }
    return address && !is_own(*address) ? address : std::nullopt;
  }

  void answer(const Question& question, Result<DiscoveredAddresses> found) {
    if (const auto met = met_at(question.node.text())) {
      if (!found) found = DiscoveredAddresses();
      const bool known = std::ranges::any_of(*found, [&](const auto& one) { return one.address == *met; });
      if (!known) found->push_back({*met, ""});
    }
    if (!stopped.load()) question.callback(std::move(found));
  }

  void go_on(Question question, Waits may) {
    if (stopped.load()) return;
    auto result = ask_on(question, may);
    if (auto* found = std::get_if<Result<DiscoveredAddresses>>(&result)) {
      answer(question, std::move(*found));
    } else if (std::get<Waits>(result) == Waits::disk) {
      boost::asio::post(disk.context(), [this, question = std::move(question)] { go_on(question, Waits::disk); });
    } else {
      ask_slowly(std::move(question));
    }
  }

  void ask_slowly(Question question) {
    bool is_first = false;
    {
      const std::lock_guard lock(mutex);
      if (waiting_count < waiting_max) {
        auto& askers = waiting[question.node];
        askers.push_back(question);
        is_first = askers.size() == 1;
        ++waiting_count;
        if (!is_first) return;
      }
    }
    if (!is_first) return answer(question, fail(Errc::overloaded, "too many wait for an answer of discovery"));
    boost::asio::post(slow.context(), [this, first = std::move(question)]() mutable {
      if (stopped.load()) return;
      const auto result = ask_on(first, Waits::anything);
      std::vector<Question> askers;
      {
        const std::lock_guard lock(mutex);
        askers = std::move(waiting.extract(first.node).mapped());
        waiting_count -= askers.size();
      }
      for (const auto& asker : askers) answer(asker, std::get<Result<DiscoveredAddresses>>(result));
    });
  }
};

Discovery::Discovery(DiscoveryConfig config) : shared_(std::make_shared<Shared>(std::move(config))) {}

Discovery::~Discovery() {
  unpublish();
  shared_->stopped.store(true);
  shared_->slow.stop();
  shared_->disk.stop();
}

void Discovery::set_own(const quic::Address& listening) {
  const std::lock_guard lock(shared_->listening_mutex);
  shared_->listening = listening;
}

void Discovery::set_remembered(const std::map<std::string, std::string>& addresses) {
  std::map<std::string, quic::Address> parsed;
  for (const auto& [node, text] : addresses) {
    const auto where = parse_host_port(text);
    if (!where) continue;
    if (const auto address = quic::Address::make(where->host, where->port)) parsed.emplace(node, *address);
  }
  const std::lock_guard lock(shared_->mutex);
  shared_->remembered = std::move(parsed);
}

void Discovery::resolve(const Atom& node, Callback callback) {
  const auto name = NodeName::parse(node.text());
  if (!name) return callback(std::unexpected(name.error()));
  shared_->go_on({*name, std::move(callback)}, Waits::nothing);
}

std::optional<quic::Address> Discovery::remembered(const Atom& node) const { return shared_->met_at(node.text()); }

Result<void> Discovery::publish(const NodeName& node, const HostPort& endpoint) {
  if (std::ranges::find(shared_->config.backends, "file") == shared_->config.backends.end()) return {};
  const std::lock_guard lock(shared_->publish_mutex);
  const auto file = shared_->file_of(node.text());
  std::string content = format_endpoint(endpoint);
  remove_old_leftovers(shared_->config.directory);
  const auto written = shared_->write_own(file, content);
  if (!written && written.error() != Errc::io_error) return written;
  shared_->published_as = node.string();
  shared_->published = file;
  shared_->content = std::move(content);
  shared_->unwritten = !written;
  if (!written) shared_->look();  // what is there may be as it should be
  shared_->look_later();
  return {};
}

void Discovery::unpublish() {
  const std::lock_guard lock(shared_->publish_mutex);
  const auto file = std::exchange(shared_->published, {});
  if (file.empty()) return;
  shared_->look_timer.cancel();
  const auto content = read_small_file(file, endpoint_bytes_max, FileCare::any);
  if (!content || text_of(*content) != shared_->content) return;
  std::error_code ignored;  // a file that stays is stale, nothing worse
  std::filesystem::remove(file, ignored);
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
