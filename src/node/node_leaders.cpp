// The part of the public API that is about leaders.
#include <barrel_p2p/node.hpp>
#include <mutex>
#include <tuple>
#include <utility>

#include "node/answer.hpp"
#include "node/awaiting.hpp"
#include "node/parts.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace {

/// What the process of a candidacy shares with its handle.
struct Callbacks {
  std::recursive_mutex mutex;  ///< Held while a callback runs.
  bool active = true;
  Term name;
  OnElected on_elected;
  OnRevoked on_revoked;

  void call(const Term& message) {
    const std::lock_guard running(mutex);
    if (!active || !message.is_tagged("barrel_p2p_leader", 3) || !(message[1] == name)) return;
    const Term& what = message[2];
    const auto fence = what.is_tagged("elected", 2) ? Fence::from(what[1]) : fail(Errc::type_mismatch);
    if (fence && on_elected) on_elected(*fence);
    if (what.is_atom("revoked") && on_revoked) on_revoked();
  }
  void close() {
    const std::lock_guard running(mutex);
    active = false;
  }
};

/// Of a process that stands for callbacks.
Task<> stand_for(Process& self, std::shared_ptr<Callbacks> callbacks) {
  for (;;) {
    const Term message = co_await self.receive();
    if (message.is_atom("resigned")) co_return;
    callbacks->call(message);
  }
}

}  // namespace

Result<Role> Node::lead(const Term& name, const Pid& process, LeadOptions options) {
  return node::await<Role>(parts_->services.get(), [&](auto done) {
    parts_->services->lead(name, process, std::move(options), std::move(done));
  });
}

void Node::lead(const Term& name, const Pid& process, LeadOptions options, std::function<void(Result<Role>)> done) {
  if (!parts_->services) return done(node::no_member());
  parts_->services->lead(name, process, std::move(options), std::move(done));
}

Result<Candidacy> Node::lead(const Term& name, LeadOptions options, OnElected on_elected, OnRevoked on_revoked) {
  if (!parts_->services) return node::no_member();
  auto callbacks = std::make_shared<Callbacks>();
  callbacks->name = name;
  callbacks->on_elected = std::move(on_elected);
  callbacks->on_revoked = std::move(on_revoked);
  process::System& system = *parts_->system;
  const Pid pid = system.spawn([callbacks](Process& self) { return stand_for(self, callbacks); });
  const auto start = [&](std::function<void(Result<Role>)> done) {
    // On the cluster thread: before what comes later.
    const auto told = [&system, pid, name, done = std::move(done)](Result<Role> role) {
      if (role && role->fence) {
        system.send_local(pid, services::to_message({LeaderEvent::Kind::elected, name, *role->fence}));
      }
      done(std::move(role));
    };
    parts_->services->lead(name, pid, std::move(options), told);
  };
  const auto role = node::await<Role>(parts_->services.get(), start);
  if (!role) {
    system.send_local(pid, Atom("resigned"));
    return std::unexpected(role.error());
  }
  auto fence = [gate = parts_->services->gate(), name, pid] {
    return gate->with([&](node::ServicesRunner* services) -> std::optional<Fence> {
      const auto reign = services != nullptr ? services->reign(name) : std::nullopt;
      if (!reign || reign->pid != pid) return std::nullopt;
      return services::fence_of(reign->stamp);
    });
  };
  auto end = [gate = parts_->services->gate(), name, pid, callbacks, &system] {
    callbacks->close();
    gate->with([&](node::ServicesRunner* services) {
      if (services == nullptr) return;
      if (services->is_current()) {
        services->resign(name, pid, {});
      } else {
        std::ignore = node::wait_for<bool>([&](auto done) { services->resign(name, pid, std::move(done)); });
      }
      system.send_local(pid, Atom("resigned"));
    });
  };
  return Candidacy(pid, std::move(fence), std::move(end));
}

bool Node::resign(const Term& name, const std::optional<Pid>& process) {
  return node::await<bool>(parts_->services.get(),
                           [&](auto done) { parts_->services->resign(name, process, std::move(done)); })
      .value_or(false);
}

void Node::resign(const Term& name, const std::optional<Pid>& process, std::function<void(Result<bool>)> done) {
  if (!parts_->services) return done(node::no_member());
  parts_->services->resign(name, process, std::move(done));
}

Result<void> Node::set_priority(const Term& name, const Pid& process, const Term& priority) {
  return node::await<void>(parts_->services.get(), [&](auto done) {
    parts_->services->set_priority(name, process, priority, std::move(done));
  });
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
