// What a client sends to the endpoint of a node, as any bytes in two pieces over a real connection: it answers and
// ends, each answer is HTTP with the headers that keep browsers from harm, and who does not show the token learns
// nothing.
//
//   input: bytes of the first piece(1), then the bytes
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "admin/server.hpp"
#include "input.hpp"

namespace {

using namespace barrel_p2p;
using namespace barrel_p2p::fuzz;

constexpr std::string_view token = "a-token-of-32-characters-in-all!";
constexpr std::string_view secret = "node-that-only-some-know";

admin::Source source() {
  admin::Source source;
  source.health = [] {
    Health health;
    health.live = true;
    health.reasons = {std::string(secret)};
    return health;
  };
  source.snapshot = [](bool /*views*/) {
    auto snapshot = std::make_shared<admin::Snapshot>();
    snapshot->name = std::string(secret) + "@h";
    return std::shared_ptr<const admin::Snapshot>(std::move(snapshot));
  };
  source.map = [](const admin::MapQuery& query) -> std::optional<admin::MapPage> {
    if (query.map != "config") return std::nullopt;
    admin::MapPage page;
    page.entries.emplace_back(query.prefix + query.after.value_or("-") + std::to_string(query.limit), secret);
    page.more = true;
    return page;
  };
  source.log = [](std::uint64_t number) {
    FlightEntry entry;
    entry.number = 1;
    entry.peer = secret;
    return number == 0 ? std::vector<FlightEntry>{entry} : std::vector<FlightEntry>{};
  };
  return source;
}

admin::Server& server() {
  static const std::unique_ptr<admin::Server> running = [] {
    auto opened = admin::Server::open({}, make_null_logger());
    require(opened.has_value());
    (*opened)->start(admin::Pages(source(), admin::Access(std::string(token), "fuzz", {"fuzz.example"})));
    return std::move(*opened);
  }();
  return *running;
}

class Client {
 public:
  Client() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server().port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval patience{.tv_sec = 8, .tv_usec = 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    // Each from another address: a port that was used cannot be used with the same one for a minute.
    static std::uint32_t last = 0;
    sockaddr_in own = address;
    own.sin_port = 0;
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (1U << 16U) + (++last & 0xFFFFU));
    require(::bind(socket_, reinterpret_cast<const sockaddr*>(&own), sizeof own) == 0);
    require(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  }
  ~Client() { ::close(socket_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void send(ByteView bytes) const { (void)::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  void end() const { ::shutdown(socket_, SHUT_WR); }
  /// All that comes until the connection ends. It must, in time.
  [[nodiscard]] std::string receive() const {
    std::string text;
    std::array<char, 65'536> part{};
    for (;;) {
      const auto count = ::recv(socket_, part.data(), part.size(), 0);
      if (count < 0 && errno == EINTR) continue;  // libFuzzer looks at the time
      require(count >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK));
      if (count <= 0) return text;
      text.append(part.data(), static_cast<std::size_t>(count));
    }
  }

 private:
  int socket_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  const ByteView first = input.take(input.byte());
  const ByteView rest = input.rest();
  const Client client;
  client.send(first);
  client.send(rest);
  client.end();
  const std::string answer = client.receive();
  require(answer.empty() || answer.starts_with("HTTP/1.1 "));
  require(answer.empty() || answer.find("X-Content-Type-Options: nosniff\r\n") != std::string::npos);
  const std::string_view asked(reinterpret_cast<const char*>(data), size);
  if (asked.find("token") == std::string_view::npos) require(answer.find(secret) == std::string::npos);
  return 0;
}
