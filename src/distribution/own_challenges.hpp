// The challenges of a node's own handshakes that wait for their digest.
//
// The digest that proves the cookie has no name, role or connection in it, and a node that dials answers first. So a
// peer without the cookie could have the node answer its own challenge: it takes one on one connection and puts it to
// the node on another. A node refuses a challenge that is one of its own, which an honest peer draws once in four
// thousand million times. Source: protocol document 01, section 5.1.
//
// As many as there are connections on their way in or out. Thread safe.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_set>

#include <barrel_p2p/version.hpp>

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

class OwnChallenges : public std::enable_shared_from_this<OwnChallenges> {
 public:
  /// One that is in use for as long as this lives. A movable handle; one thread at a time. Keeps the table alive.
  class Drawn {
   public:
    Drawn() noexcept = default;
    Drawn(Drawn&& other) noexcept;
    Drawn& operator=(Drawn&& other) noexcept;
    Drawn(const Drawn&) = delete;
    Drawn& operator=(const Drawn&) = delete;
    ~Drawn() { release(); }
    /// No digest for it will be taken any more.
    void release() noexcept;
    [[nodiscard]] std::uint32_t value() const noexcept { return value_; }

   private:
    friend class OwnChallenges;
    Drawn(std::shared_ptr<OwnChallenges> owner, std::uint32_t value) noexcept;
    std::shared_ptr<OwnChallenges> owner_;
    std::uint32_t value_ = 0;
  };

  /// A new one from the random device, unlike all others that are in use.
  [[nodiscard]] Drawn draw();
  /// Whether it is in use.
  [[nodiscard]] bool contains(std::uint32_t challenge) const;

 private:
  mutable std::mutex mutex_;
  std::unordered_set<std::uint32_t> drawn_;
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
