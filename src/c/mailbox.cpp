// Mailboxes: processes whose messages the threads of a C program receive.
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/random.hpp"
#include "c/handles.hpp"

using namespace barrel_p2p;
using c::guarded;

namespace barrel_p2p {
inline namespace v0 {
namespace c {

namespace {

/// What a message takes here: a peer may send many that are nearly empty.
std::size_t cost(const Bytes& message) noexcept {
  constexpr std::size_t overhead_bytes = 64;  // its place in the queue and its piece of memory
  return message.size() + overhead_bytes;
}

}  // namespace

Messages::Messages() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (fd_ < 0) refuse(Errc::io_error, std::string("eventfd: ") + std::strerror(errno));
}

Messages::~Messages() { close(); }

bool Messages::push(Bytes message, Resume resume) {
  const std::lock_guard lock(mutex_);
  if (closed_) return true;
  bytes_ += cost(message);
  messages_.push_back(std::move(message));
  if (messages_.size() == 1) ::eventfd_write(fd_, 1);
  changed_.notify_one();
  if (bytes_ < bytes_max) return true;
  resume_ = std::move(resume);
  return false;
}

void Messages::end() {
  const std::lock_guard lock(mutex_);
  ended_ = true;
  if (!closed_) ::eventfd_write(fd_, 1);
  changed_.notify_all();
}

Result<std::optional<Bytes>> Messages::pop(std::optional<std::chrono::milliseconds> limit) {
  Resume resume;
  Bytes message;
  {
    std::unique_lock lock(mutex_);
    const auto has_come = [&] { return !messages_.empty() || ended_; };
    if (!limit) {
      changed_.wait(lock, has_come);
    } else if (!changed_.wait_for(lock, *limit, has_come)) {
      return std::nullopt;
    }
    if (messages_.empty()) return fail(Errc::closed, "the process of the mailbox has ended");
    message = std::move(messages_.front());
    messages_.pop_front();
    bytes_ -= cost(message);
    eventfd_t count = 0;
    if (messages_.empty() && !ended_) ::eventfd_read(fd_, &count);
    if (bytes_ < bytes_max / 2) resume = std::exchange(resume_, nullptr);
  }
  if (resume) resume();
  return message;
}

void Messages::close() {
  Resume resume;  // goes when the lock has
  const std::lock_guard lock(mutex_);
  if (std::exchange(closed_, true)) return;
  ::close(std::exchange(fd_, -1));
  messages_.clear();
  bytes_ = 0;
  resume = std::exchange(resume_, nullptr);
}

namespace {

/// Says that the process has ended when its function goes, which is with the process.
class Ending {
 public:
  explicit Ending(std::shared_ptr<Messages> messages) : messages_(std::move(messages)) {}
  ~Ending() { messages_->end(); }
  Ending(const Ending&) = delete;
  Ending& operator=(const Ending&) = delete;
  [[nodiscard]] const std::shared_ptr<Messages>& messages() const noexcept { return messages_; }

 private:
  std::shared_ptr<Messages> messages_;
};

Task<> hand_over(Process& self, std::shared_ptr<Ending> ending) {
  const auto wake = self.sender();
  Bytes secret(16);  // references can be guessed, and each mark lets one more message in
  fill_random(secret);
  const Term mark = Term::binary(secret);
  const Matcher is_mark = [mark](const Term& message) { return message == mark; };
  for (;;) {
    const Term message = co_await self.receive();
    Bytes bytes = encode_term(message);
    const bool goes_on = ending->messages()->push(std::move(bytes), [wake, mark] { wake(mark); });
    if (goes_on) continue;
    const MaybeTerm woken = co_await self.receive(is_mark);
    (void)woken;
  }
}

}  // namespace
}  // namespace c
}  // namespace v0
}  // namespace barrel_p2p

int barrel_p2p_mailbox_open(barrel_p2p_node* node, const char* name, barrel_p2p_mailbox** mailbox) {
  return guarded([&] {
    c::required(mailbox, "mailbox") = nullptr;
    Node& at = c::running_node_of(node);
    std::optional<Atom> atom;
    if (name != nullptr) atom = c::atom_of(name, "name");
    auto opened = std::make_unique<barrel_p2p_mailbox>();
    opened->state = node->state;
    opened->messages = std::make_shared<c::Messages>();
    opened->pid = at.spawn(
        [ending = std::make_shared<c::Ending>(opened->messages)](Process& self) { return c::hand_over(self, ending); });
    if (atom) {
      const auto registered = at.register_process(*atom, opened->pid);
      if (!registered) at.exit(opened->pid, Atom("kill"));
      c::value(registered);
      opened->name = atom;
    }
    *mailbox = opened.release();
  });
}

void barrel_p2p_mailbox_free(barrel_p2p_mailbox* mailbox) {
  if (mailbox == nullptr) return;
  const std::unique_ptr<barrel_p2p_mailbox> gone(mailbox);
  (void)guarded([&] {
    gone->messages->close();
    Node& node = gone->state->node;
    // The name is free when this returns; all else goes with the process.
    if (gone->name && node.whereis(*gone->name) == gone->pid) node.unregister_process(*gone->name);
    node.exit(gone->pid, Atom("kill"));
  });
}

int barrel_p2p_mailbox_receive(barrel_p2p_mailbox* mailbox, int64_t limit_ms, barrel_p2p_bytes* message) {
  return guarded([&] {
    const c::Output output(message, "message");
    std::optional<std::chrono::milliseconds> limit;
    if (limit_ms >= 0) limit = c::limit_of(limit_ms);
    const auto received = c::value(c::required(mailbox, "mailbox").messages->pop(limit));
    if (!received) c::refuse(Errc::timeout, "no message within " + std::to_string(limit_ms) + " ms");
    output.give_bytes(*received);
  });
}

int barrel_p2p_mailbox_fd(const barrel_p2p_mailbox* mailbox) {
  return mailbox != nullptr ? mailbox->messages->fd() : -1;
}

int barrel_p2p_mailbox_pid(const barrel_p2p_mailbox* mailbox, barrel_p2p_bytes* pid) {
  return guarded([&] {
    const c::Output output(pid, "pid");
    output.give_term(Term(c::required(mailbox, "mailbox").pid));
  });
}

int barrel_p2p_subscribe(barrel_p2p_mailbox* mailbox, int topic, const char* name) {
  return guarded([&] {
    const auto& box = c::required(mailbox, "mailbox");
    Node& node = c::running(*box.state);
    switch (topic) {
      case BARREL_P2P_TOPIC_MEMBERSHIP: return node.subscribe(box.pid);
      case BARREL_P2P_TOPIC_SERVICES: return node.subscribe_services(box.pid);
      case BARREL_P2P_TOPIC_BROADCASTS: return node.subscribe_broadcast(box.pid);
      case BARREL_P2P_TOPIC_MAP: return c::value(node.subscribe_map(c::atom_of(name, "name"), box.pid));
      case BARREL_P2P_TOPIC_REMINDERS: return node.subscribe_reminders(box.pid);
      default: c::refuse(Errc::invalid_argument, "there is no topic " + std::to_string(topic));
    }
  });
}
