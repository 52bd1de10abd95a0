#include "distribution/own_challenges.hpp"

#include <utility>

#include "base/random.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

OwnChallenges::Drawn::Drawn(std::shared_ptr<OwnChallenges> owner, std::uint32_t value) noexcept
    : owner_(std::move(owner)), value_(value) {}

OwnChallenges::Drawn::Drawn(Drawn&& other) noexcept
    : owner_(std::exchange(other.owner_, nullptr)), value_(other.value_) {}

OwnChallenges::Drawn& OwnChallenges::Drawn::operator=(Drawn&& other) noexcept {
  if (this == &other) return *this;
  release();
  owner_ = std::exchange(other.owner_, nullptr);
  value_ = other.value_;
  return *this;
}

void OwnChallenges::Drawn::release() noexcept {
  if (const auto owner = std::exchange(owner_, nullptr)) {
    const std::lock_guard lock(owner->mutex_);
    owner->drawn_.erase(value_);
  }
}

OwnChallenges::Drawn OwnChallenges::draw() {
  const std::lock_guard lock(mutex_);
  std::uint32_t value = random_uint32();
  while (!drawn_.insert(value).second) value = random_uint32();
  return {shared_from_this(), value};
}

bool OwnChallenges::contains(std::uint32_t challenge) const {
  const std::lock_guard lock(mutex_);
  return drawn_.contains(challenge);
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
