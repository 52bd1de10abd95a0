#include "watch.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <ostream>
#include <utility>

#include "command_line.hpp"
#include "interrupts.hpp"
#include "json.hpp"

namespace barrel_p2p::command {
namespace {

/// Messages on their way from a process to the thread of the command.
class Inbox {
 public:
  /// Beyond it events are dropped, and counted: the output is read too slowly.
  static constexpr std::size_t messages_max = 100'000;
  struct Taken {
    std::deque<Term> messages;
    std::size_t dropped = 0;
    bool ended = false;  ///< Nothing more will come.
  };

  Inbox() : descriptor_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~Inbox() { ::close(descriptor_); }
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;

  void put(Term message) {
    {
      const std::lock_guard lock(mutex_);
      if (messages_.size() < messages_max) {
        messages_.push_back(std::move(message));
      } else {
        ++dropped_;
      }
    }
    ring();
  }
  void end() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    ring();
  }
  /// All that came.
  Taken take() {
    std::uint64_t rung = 0;
    (void)!::read(descriptor_, &rung, sizeof(rung));
    const std::lock_guard lock(mutex_);
    return {std::exchange(messages_, {}), std::exchange(dropped_, 0), ended_};
  }
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }

 private:
  void ring() const {
    const std::uint64_t one = 1;
    (void)!::write(descriptor_, &one, sizeof(one));
  }

  std::mutex mutex_;
  std::deque<Term> messages_;
  std::size_t dropped_ = 0;
  bool ended_ = false;
  int descriptor_;
};

}  // namespace

void tell_ready(const Complaints& complaints, const std::string& node) {
  const std::string text = complaints.json ? JsonObject().set("watching", node).text() : "watching " + node;
  complaints.errors << text << std::endl;  // NOLINT: somebody waits
}

int run_watch(const RemoteOptions& options, const Watch& watch, const Complaints& complaints, std::ostream& output) {
  const Interrupts interrupts;
  auto inbox = std::make_shared<Inbox>();
  auto remote = Remote::open(options);
  if (!remote) return complaints.tell(remote.error().status, remote.error().text);
  const Pid subscriber = remote->visitor().spawn([inbox, node = remote->name()](Process& self) -> Task<> {
    self.monitor_node(node);
    for (;;) {
      Term message = co_await self.receive();
      if (message.is_tagged("nodedown", 2)) {
        inbox->end();
      } else {
        inbox->put(std::move(message));
      }
    }
  });
  std::vector<Term> arguments = watch.arguments;
  arguments.emplace_back(subscriber);
  if (const auto subscribed = remote->ask(watch.function, std::move(arguments)); !subscribed) {
    return complaints.tell(Remote::status_of(subscribed.error()), remote->text_of(subscribed.error(), watch.function));
  }
  tell_ready(complaints, remote->name().string());
  std::uint64_t printed = 0;
  for (;;) {
    std::array<pollfd, 2> polled{pollfd{interrupts.descriptor(), POLLIN, 0}, pollfd{inbox->descriptor(), POLLIN, 0}};
    ::poll(polled.data(), polled.size(), -1);
    if (interrupts.take() != 0) return exit_ok;
    const auto taken = inbox->take();
    for (const auto& message : taken.messages) {
      const auto line = watch.line(message);
      if (!line) continue;
      output << *line << std::endl;  // NOLINT: each line at once
      if (!output) return exit_failed;
      if (++printed == watch.count) return exit_ok;
    }
    if (taken.dropped > 0) {
      complaints.tell(exit_failed,
                      std::to_string(taken.dropped) + " events were dropped: the output is read too slowly");
    }
    if (taken.ended) return complaints.tell(exit_failed, "the connection to " + remote->name().string() + " was lost");
  }
}

}  // namespace barrel_p2p::command
