// The part of the public API that is about leaders.
#include <atomic>
#include <barrel_p2p/node.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <tuple>
#include <utility>

#include "node/answer.hpp"
#include "node/awaiting.hpp"
#include "node/parts.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace {

/// What the process of a candidacy shares with its handle. Messages only have it look: anybody may send them, and what
/// the program is told is what this node knows.
class Callbacks {
 public:
  /// The fence by which the process leads.
  using Look = std::function<std::optional<Fence>()>;

  Callbacks(OnElected on_elected, OnRevoked on_revoked)
      : on_elected_(std::move(on_elected)), on_revoked_(std::move(on_revoked)) {}
  /// Before the process is.
  void look_by(Look look) { look_ = std::move(look); }

  /// Tells what changed. `term_ended`: somebody says that a term has ended, and another one may have begun since.
  /// False: nobody wants to be told any more.
  bool follow(bool term_ended) {
    const std::lock_guard running(mutex_);
    if (!active_) return false;
    const auto fence = look_();
    if (told_ && (!fence || (term_ended && *fence != *told_))) revoked();
    if (active_ && fence && fence != told_) {
      told_ = fence;
      if (on_elected_) on_elected_(*fence);
    }
    return active_;
  }
  /// The process ends, and with it the term.
  void end() noexcept {
    const std::lock_guard running(mutex_);
    try {
      if (active_ && told_) revoked();
    } catch (...) {
      told_.reset();  // it was told, and what it throws has nobody to go to
    }
    active_ = false;
  }
  /// From here on nothing new is told. Waits for a callback that runs, unless that may wait for the caller.
  void close(bool waits) {
    active_ = false;
    if (!waits) return;
    const std::lock_guard running(mutex_);
  }

 private:
  void revoked() {
    told_.reset();
    if (on_revoked_) on_revoked_();
  }

  std::recursive_mutex mutex_;  ///< Held while a callback runs.
  std::atomic<bool> active_{true};
  std::optional<Fence> told_;
  Look look_;
  OnElected on_elected_;
  OnRevoked on_revoked_;
};

/// Has the callbacks hear of the end, whoever ends the process.
class LastWord {
 public:
  explicit LastWord(Callbacks& callbacks) : callbacks_(callbacks) {}
  ~LastWord() { callbacks_.end(); }
  LastWord(const LastWord&) = delete;
  LastWord& operator=(const LastWord&) = delete;

 private:
  Callbacks& callbacks_;
};

/// Of a process that stands for callbacks.
Task<> stand_for(Process& self, std::shared_ptr<Callbacks> callbacks) {
  const LastWord last_word(*callbacks);
  for (bool goes_on = true; goes_on;) {
    const Term message = co_await self.receive();
    const bool term_ended = message.is_tagged("barrel_p2p_leader", 3) && message[2].is_atom("revoked");
    goes_on = callbacks->follow(term_ended);
  }
}

}  // namespace

Result<Role> Node::lead(const Term& name, const Pid& process, LeadOptions options) {
  return node::await<Role>(
      *parts_, [&](auto done) { parts_->services->lead(name, process, std::move(options), std::move(done)); });
}

void Node::lead(const Term& name, const Pid& process, LeadOptions options, std::function<void(Result<Role>)> done) {
  if (!parts_->services) return node::refuse(*parts_, std::move(done), node::no_member());
  parts_->services->lead(name, process, std::move(options), std::move(done));
}

Result<Candidacy> Node::lead(const Term& name, LeadOptions options, OnElected on_elected, OnRevoked on_revoked) {
  if (!parts_->services) return node::no_member();
  auto callbacks = std::make_shared<Callbacks>(std::move(on_elected), std::move(on_revoked));
  process::System& system = *parts_->system;
  const auto gate = parts_->services->gate();
  // Other nodes can do nothing to this process, whose pid they know.
  const Pid pid = system.spawn_internal([callbacks, gate, name](Process& self) {
    callbacks->look_by([gate, name, own = self.pid()] {
      return gate->with([&](node::ServicesRunner* services) {
        return services != nullptr ? services->term_of(name, own) : std::nullopt;
      });
    });
    return stand_for(self, callbacks);
  });
  const auto look_again = [&system, pid] { system.send_local(pid, Atom("look")); };
  const auto start = [&](std::function<void(Result<Role>)> done) {
    parts_->services->lead(name, pid, std::move(options), [look_again, done = std::move(done)](Result<Role> role) {
      look_again();
      done(std::move(role));
    });
  };
  const auto role = node::await<Role>(*parts_, start);
  if (!role) {
    callbacks->close(true);
    look_again();
    return std::unexpected(role.error());
  }
  auto fence = [gate, name, pid] {
    return gate->with([&](node::ServicesRunner* services) -> std::optional<Fence> {
      const auto reign = services != nullptr ? services->reign(name) : std::nullopt;
      if (!reign || reign->pid != pid) return std::nullopt;
      return services::fence_of(reign->stamp);
    });
  };
  auto end = [gate, name, pid, callbacks, look_again] {
    const bool may_wait =
        gate->with([](const node::ServicesRunner* services) { return services == nullptr || !services->is_current(); });
    callbacks->close(may_wait);
    gate->with([&](node::ServicesRunner* services) {
      if (services == nullptr) return;
      if (services->is_current()) {
        services->resign(name, pid, {});
      } else {
        std::ignore = node::wait_for<bool>([&](auto done) { services->resign(name, pid, std::move(done)); });
      }
      look_again();
    });
  };
  return Candidacy(pid, std::move(fence), std::move(end));
}

bool Node::resign(const Term& name, const std::optional<Pid>& process) {
  return node::await<bool>(*parts_, [&](auto done) { parts_->services->resign(name, process, std::move(done)); })
      .value_or(false);
}

void Node::resign(const Term& name, const std::optional<Pid>& process, std::function<void(Result<bool>)> done) {
  if (!parts_->services) return node::refuse(*parts_, std::move(done), node::no_member());
  parts_->services->resign(name, process, std::move(done));
}

Result<void> Node::set_priority(const Term& name, const Pid& process, const Term& priority) {
  return node::await<void>(
      *parts_, [&](auto done) { parts_->services->set_priority(name, process, priority, std::move(done)); });
}

Result<LeaderLocation> Node::leader(const Term& name) const {
  const auto winner = parts_->services ? parts_->services->leader(name) : std::nullopt;
  if (!winner) return fail(Errc::no_leader, "nobody leads " + to_text(name) + ", as far as this node knows");
  return LeaderLocation{winner->pid, NodeName(winner->node.text()), winner->node == parts_->name.atom()};
}

bool Node::is_leader(const Term& name) const { return parts_->services && parts_->services->reign(name).has_value(); }

Result<Fence> Node::fence(const Term& name) const {
  const auto reign = parts_->services ? parts_->services->reign(name) : std::nullopt;
  if (!reign) return fail(Errc::not_leader, "no process of this node leads " + to_text(name));
  return services::fence_of(reign->stamp);
}

}  // namespace v0
}  // namespace barrel_p2p
