// A cache that all nodes share: each serves its own clients from memory, and a write is on all nodes a moment later.
//
//   example_cache a@127.0.0.1 DIRECTORY PORT [CONTACT]
//
// Clients speak lines over TCP, on loopback: SET KEY SECONDS VALUE, GET KEY, DEL KEY, SIZE. Answers: OK, VALUE ...,
// NONE, SIZE N, ERROR ... PORT 0 is any. The program ends with its standard input.
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <barrel_p2p/node.hpp>
#include <chrono>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

using namespace barrel_p2p;
using namespace std::chrono_literals;

class Cache {
 public:
  explicit Cache(Node& node) : node_(node) {}

  std::string answer(const std::string& line) {
    std::istringstream words(line);
    std::string verb;
    std::string key;
    words >> verb >> key;
    if (verb == "SIZE") return "SIZE " + std::to_string(node_.map_size(map_));
    if (verb == "GET") return get(key);
    if (verb == "DEL") return done(node_.map_remove(map_, key));
    std::int64_t seconds = 0;
    std::string value;
    const bool good = verb == "SET" && words >> seconds && seconds > 0 && seconds <= seconds_max &&
                      std::getline(words >> std::ws, value);
    if (!good) return "ERROR SET KEY SECONDS VALUE, GET KEY, DEL KEY or SIZE";
    return done(node_.map_put(map_, key, Entry{now() + seconds * 1000, value}));
  }

  /// Each key is cleared away by one node, the one that owns it. A value that another node sets in the same moment may
  /// go with it, which a cache can bear.
  void sweep() {
    for (const auto& [key, value] : node_.map_to_list(map_)) {
      const auto entry = value.to<Entry>();
      if ((!entry || std::get<0>(*entry) <= now()) && node_.is_owner(key)) {
        if (const auto removed = node_.map_remove(map_, key); !removed) std::cerr << removed.error().message() << '\n';
      }
    }
  }

 private:
  /// When it ends, in Unix milliseconds; and the value.
  using Entry = std::tuple<std::int64_t, std::string>;
  static constexpr std::int64_t seconds_max = 365LL * 24 * 3600;

  static std::int64_t now() {
    return std::chrono::ceil<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  }
  static std::string done(const Result<void>& result) { return result ? "OK" : "ERROR " + result.error().message(); }
  std::string get(const std::string& key) const {
    const auto entry = node_.map_get<Entry>(map_, key);  // a copy in this process: no other thread or node is asked
    return entry && std::get<0>(*entry) > now() ? "VALUE " + std::get<1>(*entry) : "NONE";
  }

  Node& node_;
  Atom map_{"cache"};
};

/// One thread for all clients. Ends when standard input does.
void serve_clients(int listener, Cache& cache) {
  std::map<int, std::string> clients;  // what each has sent of its next line
  auto next_sweep = std::chrono::steady_clock::now();
  for (;;) {
    std::vector<pollfd> wait{{STDIN_FILENO, POLLIN, 0}, {listener, POLLIN, 0}};
    for (const auto& [socket, line] : clients) wait.push_back({socket, POLLIN, 0});
    ::poll(wait.data(), wait.size(), 250);
    char bytes[4096];
    for (const auto& ready : wait) {
      if (ready.revents == 0) continue;
      if (ready.fd == listener) {
        if (const int client = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC); client >= 0) clients[client];
        continue;
      }
      const auto count = ::read(ready.fd, bytes, sizeof(bytes));
      if (ready.fd == STDIN_FILENO && count > 0) continue;
      if (ready.fd == STDIN_FILENO) return;
      std::string& text = clients[ready.fd];
      if (count > 0) text.append(bytes, static_cast<std::size_t>(count));
      for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n')) {
        const std::string answer = cache.answer(text.substr(0, end)) + "\n";
        text.erase(0, end + 1);
        // A client that does not read its answers is not waited for: it has lost them.
        (void)!::send(ready.fd, answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      }
      if (count <= 0 || text.size() > 1024UL * 1024) {
        ::close(ready.fd);
        clients.erase(ready.fd);
      }
    }
    if (std::chrono::steady_clock::now() < next_sweep) continue;
    cache.sweep();
    next_sweep = std::chrono::steady_clock::now() + 1s;
  }
}

int listen_on(std::uint16_t port) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* raw = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener, raw, size) != 0 || ::listen(listener, 64) != 0 || ::getsockname(listener, raw, &size) != 0) {
    return -1;
  }
  std::cout << "listening on " << ntohs(address.sin_port) << std::endl;
  return listener;
}

int main(int count, char** arguments) {
  if (count < 4) return 2;
  NodeConfig config;
  config.name = arguments[1];
  config.cookie = "a secret that all nodes share";
  config.data_dir = std::string(arguments[2]) + "/" + arguments[1];
  config.discovery_dir = std::string(arguments[2]) + "/discovery";
  config.log_level = LogLevel::error;
  if (count > 4) config.membership.contacts = {arguments[4]};
  auto node = Node::start(config);
  if (!node) return (std::cerr << node.error().message() << '\n', 1);
  if (const auto opened = node->new_map("cache"); !opened) return 1;
  Cache cache(*node);
  const int listener = listen_on(static_cast<std::uint16_t>(std::stoi(arguments[3])));
  if (listener < 0) return (std::cerr << "cannot listen\n", 1);
  serve_clients(listener, cache);
  return 0;
}
