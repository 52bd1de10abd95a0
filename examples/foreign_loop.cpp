// A node inside of a program with an event loop of its own, here a plain poll(): GLib, Qt, libuv, epoll are the same.
//
// The library runs on threads of its own and calls back on them. An eventfd wakes the loop, which then runs what the
// callbacks have left for it. The loop's thread is the only one that the program sees.
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <barrel_p2p/node.hpp>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iostream>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace barrel_p2p;
using namespace std::chrono_literals;

/// What other threads want done by the thread of the loop. It outlives the subscriptions that use it.
class Inbox {
 public:
  Inbox() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (fd_ < 0) throw std::runtime_error("no eventfd");
  }
  ~Inbox() { ::close(fd_); }
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;

  /// Can be read while there is something to run.
  [[nodiscard]] int fd() const { return fd_; }
  /// From any thread. Does not block.
  void post(std::function<void()> work) {
    {
      const std::lock_guard lock(mutex_);
      waiting_.push_back(std::move(work));
    }
    ::eventfd_write(fd_, 1);
  }
  /// By the loop.
  void run() {
    eventfd_t count = 0;
    ::eventfd_read(fd_, &count);
    std::vector<std::function<void()>> ready;
    {
      const std::lock_guard lock(mutex_);
      ready.swap(waiting_);
    }
    for (const auto& work : ready) work();
  }

 private:
  int fd_;
  std::mutex mutex_;
  std::vector<std::function<void()>> waiting_;
};

NodeConfig config_of(const std::filesystem::path& root, const std::string& name) {
  NodeConfig config;
  config.name = name + "@127.0.0.1";
  config.cookie = "a secret that all nodes share";
  config.data_dir = root / name;
  config.discovery_dir = root / "discovery";
  config.log_level = LogLevel::error;
  return config;
}

int run(const std::filesystem::path& root) {
  Inbox inbox;
  bool over = false;  // touched by the loop only, so it needs no lock
  auto node = Node::start(config_of(root, "a"));
  auto other = Node::start(config_of(root, "b"));  // would be on another machine
  if (!node || !other) return 1;

  // Events: the callback copies what it is given and leaves it to the loop.
  const auto neighbours = node->subscribe([&](const MembershipEvent& event) {
    if (event.kind != MembershipEvent::Kind::up) return;
    inbox.post([&, event] {
      std::cout << event.node.text() << " is there\n";
      // Waits: functions that answer by a callback. The loop goes on meanwhile.
      node->resolve("greeter", 30s, {}, [&](Result<ServiceLocation> found) {
        inbox.post([&, found = std::move(found)] {
          if (!found) return void(over = true);
          std::cout << "the greeter is on " << found->node.text() << '\n';
          if (!node->send(found->pid, "from the loop")) over = true;
        });
      });
    });
  });
  // Messages: a process receives them and hands them on.
  const Pid mailbox = node->spawn([&inbox, &over](Process& self) -> Task<> {
    for (;;) {
      const Term message = co_await self.receive();
      inbox.post([&over, message] {
        std::cout << to_text(message) << '\n';
        over = true;
      });
    }
  });
  const Pid greeter = other->spawn([mailbox](Process& self) -> Task<> {
    const Term message = co_await self.receive();
    const std::string greeting = "hello, " + message.as_string().value_or("?");
    co_await self.send(mailbox, greeting);
  });
  if (!other->register_service("greeter", greeter) || !other->join(node->name())) return 1;

  // The program's own loop, with its own descriptors beside the inbox, and a timer of its own.
  while (!over) {
    pollfd ready[] = {{inbox.fd(), POLLIN, 0}};
    if (::poll(ready, 1, 60'000) == 0) return 1;
    if (ready[0].revents != 0) inbox.run();
  }
  // Before the inbox goes: when it returns no thread of the library runs, and nothing more is posted.
  node->stop();
  other->stop();
  return 0;
}

int main() {
  const auto root = std::filesystem::temp_directory_path() / ("foreign_loop-" + std::to_string(std::random_device{}()));
  const int status = run(root);
  std::filesystem::remove_all(root);
  return status;
}
