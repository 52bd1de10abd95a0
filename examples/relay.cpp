// Reaching a node that can only be reached through a relay: an adapter that carries datagrams to a UDP forwarder.
//
// The forwarder is this program's own; a VPN, a TURN server or a WebSocket would take its place. It sees what everybody
// on the way sees: encrypted datagrams. Written for the documents.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace barrel_p2p;
using namespace std::chrono_literals;

/// A UDP socket of the loopback interface.
class UdpSocket {
 public:
  explicit UdpSocket(std::uint16_t peer = 0) : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    const sockaddr_in own = loopback(0);
    const sockaddr_in other = loopback(peer);
    bool works = fd_ >= 0 && ::bind(fd_, reinterpret_cast<const sockaddr*>(&own), sizeof(own)) == 0;
    if (peer != 0) works = works && ::connect(fd_, reinterpret_cast<const sockaddr*>(&other), sizeof(other)) == 0;
    if (!works) throw std::runtime_error("no socket");
  }
  ~UdpSocket() { ::close(fd_); }
  UdpSocket(const UdpSocket&) = delete;
  UdpSocket& operator=(const UdpSocket&) = delete;

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] std::uint16_t port() const {
    sockaddr_in address{};
    socklen_t size = sizeof(address);
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    return ntohs(address.sin_port);
  }
  /// Waits a moment for a datagram; empty: none came.
  Bytes receive(sockaddr_in& from) const {
    Bytes buffer(2048);
    pollfd wait{fd_, POLLIN, 0};
    if (::poll(&wait, 1, 20) <= 0) return {};
    socklen_t size = sizeof(from);
    const auto read = ::recvfrom(fd_, buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
    buffer.resize(read > 0 ? static_cast<std::size_t>(read) : 0);
    return buffer;
  }
  /// What the kernel does not take is lost, like any datagram: QUIC sends it again.
  void send(ByteView datagram) const { (void)::send(fd_, datagram.data(), datagram.size(), 0); }
  void send_to(const sockaddr_in& to, ByteView datagram) const {
    (void)::sendto(fd_, datagram.data(), datagram.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof(to));
  }

 private:
  static sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  int fd_;
};

/// Forwards datagrams of its one client. The first byte says to which of the targets, and from which.
class Forwarder {
 public:
  explicit Forwarder(const std::map<std::uint8_t, std::uint16_t>& targets) {
    for (const auto& [id, port] : targets) {
      auto& socket = *sockets_.emplace(id, std::make_unique<UdpSocket>(port)).first->second;
      threads_.emplace_back([this, target = id, &socket] { answers(target, socket); });
    }
    threads_.emplace_back([this] { questions(); });
  }
  ~Forwarder() {
    ended_ = true;
    for (auto& thread : threads_) thread.join();
  }
  Forwarder(const Forwarder&) = delete;
  Forwarder& operator=(const Forwarder&) = delete;
  [[nodiscard]] std::uint16_t port() const { return front_.port(); }
  [[nodiscard]] bool was_used() const { return forwarded_ > 0; }

 private:
  void questions() {
    while (!ended_) {
      sockaddr_in from{};
      const Bytes bytes = front_.receive(from);
      if (bytes.empty()) continue;
      const auto target = sockets_.find(bytes[0]);
      if (target == sockets_.end()) continue;  // it is no open relay
      {
        const std::lock_guard lock(mutex_);
        client_ = from;
      }
      ++forwarded_;
      target->second->send(ByteView(bytes).subspan(1));
    }
  }
  void answers(std::uint8_t id, const UdpSocket& socket) {
    while (!ended_) {
      sockaddr_in from{};
      Bytes bytes = socket.receive(from);
      if (bytes.empty()) continue;
      bytes.insert(bytes.begin(), id);
      const std::lock_guard lock(mutex_);
      front_.send_to(client_, bytes);
    }
  }

  UdpSocket front_;
  std::map<std::uint8_t, std::unique_ptr<UdpSocket>> sockets_;
  std::mutex mutex_;
  sockaddr_in client_{};
  std::atomic<int> forwarded_{0};
  std::atomic<bool> ended_{false};
  std::vector<std::thread> threads_;
};

/// One connection's way through the forwarder.
class ThroughForwarder : public DatagramPath {
 public:
  ThroughForwarder(std::uint16_t forwarder, std::uint8_t target, DatagramSink sink)
      : target_(target), socket_(forwarder), reader_([this, sink = std::move(sink)] {
          while (!ended_) {
            sockaddr_in from{};
            const Bytes bytes = socket_.receive(from);
            if (!bytes.empty()) sink(ByteView(bytes).subspan(1));
          }
        }) {}
  ~ThroughForwarder() override {
    ended_ = true;
    reader_.join();
  }
  void send(ByteView datagram) override {
    Bytes wrapped{target_};
    wrapped.insert(wrapped.end(), datagram.begin(), datagram.end());
    socket_.send(wrapped);
  }

 private:
  const std::uint8_t target_;
  UdpSocket socket_;
  std::atomic<bool> ended_{false};
  std::thread reader_;
};

/// How to dial a node that stands behind a forwarder as its target.
ConnectOptions through(const Forwarder& forwarder, std::uint8_t target) {
  ConnectOptions options;
  options.via = [port = forwarder.port(), target](DatagramSink sink) -> Result<std::shared_ptr<DatagramPath>> {
    return std::make_shared<ThroughForwarder>(port, target, std::move(sink));
  };
  return options;
}

NodeConfig config_of(const std::filesystem::path& root, const std::string& name) {
  NodeConfig config;
  config.name = name + "@127.0.0.1";
  config.cookie = "a secret that all nodes share";
  config.data_dir = root / name;
  config.discovery_backends = {"static"};  // which knows nobody here
  config.log_level = LogLevel::error;
  return config;
}

/// Whether the node answers to a call.
bool answers(Node& node, const NodeName& name) {
  return node.call_function(name, "erlang", "node", {}, 20s).has_value();
}

int run(const std::filesystem::path& root) {
  auto a = Node::start(config_of(root, "a"));
  auto b = Node::start(config_of(root, "b"));
  if (!a || !b) return 1;
  const Forwarder first({{7, b->port()}});
  const Forwarder second({{7, b->port()}});

  if (!a->connect(b->name())) std::cout << "b cannot be found\n";
  // From the next dial on; the name and the keys are checked as always.
  if (!a->set_connect_options(b->name(), through(first, 7))) return 1;
  if (!a->connect(b->name(), 20s) || !answers(*a, b->name())) return 1;
  if (first.was_used()) std::cout << "b answers through the first forwarder\n";

  // Another relay: what is up stays up until it is disconnected.
  if (!a->set_connect_options(b->name(), through(second, 7))) return 1;
  a->disconnect(b->name());
  if (!a->connect(b->name(), 20s) || !answers(*a, b->name())) return 1;
  if (second.was_used()) std::cout << "b answers through the second forwarder\n";
  return second.was_used() ? 0 : 1;
}

int main() {
  const auto root = std::filesystem::temp_directory_path() / ("relay-" + std::to_string(std::random_device{}()));
  const int status = run(root);
  std::filesystem::remove_all(root);
  return status == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
