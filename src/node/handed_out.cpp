#include "node/handed_out.hpp"

#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace node {
namespace {

services::PidLivenessConfig config_of(const process::System& system) {
  services::PidLivenessConfig config;
  config.own = system.config().node;
  return config;
}

services::Now now() { return {monotonic_now(), wall_now()}; }

}  // namespace

HandedOut::HandedOut(process::System& system, std::function<void(std::function<void()>)> post)
    : system_(system),
      post_(std::move(post)),
      liveness_(config_of(system)),
      watched_(system, post_, [this](const Pid& pid, const Term& reason) {
        liveness_.down(pid, reason, now(), effects_);
        if (liveness_.has_ended(pid)) ended_.set(pid, true);
        carry_out();
      }) {}

void HandedOut::start() { watched_.start(); }

bool HandedOut::has_ended(const Pid& pid) const {
  bool ended = false;
  ended_.read(pid, [&](bool value) { ended = value; });
  return ended;
}

void HandedOut::use(const Pid& pid) {
  if (pid.node == system_.config().node) return;
  bool known = false;
  ended_.read(pid, [&](bool /*ended*/) { known = true; });
  if (known) return;
  ended_.set(pid, false);
  post_([this, pid] {
    liveness_.used(pid, now(), effects_);
    // Its end may have become known between the look and the note above.
    if (liveness_.has_ended(pid)) ended_.set(pid, true);
    carry_out();
  });
}

void HandedOut::tick(const services::Now& now) {
  liveness_.tick(now, effects_);
  carry_out();
}

void HandedOut::carry_out() {
  for (const auto& effect : effects_) {
    const auto* watch = std::get_if<services::Watch>(&effect);
    if (watch != nullptr) {
      watched_.watch(watch->pid);
    } else {
      const Pid& pid = std::get<services::Unwatch>(effect).pid;
      watched_.unwatch(pid);
      ended_.erase(pid);
    }
  }
  effects_.clear();
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
