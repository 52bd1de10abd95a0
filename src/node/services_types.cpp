// Replicated types of the program's own.
#include <utility>

#include "node/services_runner.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

void ServicesRunner::add_type(const Atom& name, std::shared_ptr<ReplicatedType> type, Done done) {
  const auto take = [this, name](const Atom& node, std::uint64_t epoch, distribution::Payload&& payload) {
    return receive({name, node, epoch, std::move(payload)});
  };
  // What was taken when the gate closed is given back by nobody.
  const bool stops = gate_->with([](const ServicesRunner* self) { return self == nullptr; });
  if (stops) return done(fail(Errc::stopped, "the node is stopping"));
  if (!system_.set_receiver(name, take)) {
    return done(fail(Errc::already_registered, "messages to the name " + name.string() + " are taken"));
  }
  auto answer = std::make_shared<Answer<void>>([this, name, done = std::move(done)](Result<void> added) {
    if (!added) system_.remove_receiver(name);
    done(std::move(added));
  });
  // Moved on, so that nothing but the machine holds the type when the answer is given.
  call(0, answer, [this, answer, name, type = std::move(type)]() mutable {
    auto added = machine_.types().add(name, std::move(type), now(), effects_);
    carry_out();
    answer->give(std::move(added));
  });
}

void ServicesRunner::remove_type(const Atom& name, Done done) {
  auto answer = std::make_shared<Answer<void>>(std::move(done));
  system_.remove_receiver(name);
  wake(queue_.push(Call([this, answer, name] {
    machine_.types().remove(name);
    answer->give({});
  })));
}

Result<void> ServicesRunner::broadcast_change(const Atom& name, Term change) {
  if (auto shallow = replication::check_depth(change); !shallow) return shallow;
  // As the replica broadcasts it: others refuse what is larger.
  const Term sent = Term::tuple({Atom("custom"), config_.services.own, change});
  if (encoded_size(Term(name), false) + encoded_size(sent, false) > overlay_.payload_bytes_max()) {
    return fail(Errc::limit_exceeded, "a change has at most gossip.payload_bytes_max, with its tag and its sender");
  }
  const std::size_t bytes = call_bytes + encoded_size(change, false);
  const auto pushed = queue_.push_if_short(
      Call([this, name, change = std::move(change)] { machine_.types().broadcast(name, change, effects_); }), bytes);
  wake(pushed);
  if (pushed == Queue::Pushed::closed) return fail(Errc::stopped, "the node is stopping");
  if (pushed == Queue::Pushed::full) {
    return fail(Errc::overloaded, "limits.cluster_queue_bytes_max is reached: send less, or wait");
  }
  return {};
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
