// Leader election: of the processes of the cluster that campaign for a name, one leads. The leader has a fence, a token
// that is greater than those of the leaders before it, so that what it works on can refuse an old leader.
//
// A partition has a leader on each side: who leads is agreed within a connected part of the cluster. What must not be
// done twice is guarded by fences (`FenceGuard`), and who prefers no leader in a minority sets
// `LeadOptions::min_members`.
#pragma once

#include <array>
#include <barrel_p2p/error.hpp>
#include <barrel_p2p/node_name.hpp>
#include <barrel_p2p/term.hpp>
#include <barrel_p2p/version.hpp>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {

/// A fencing token: a number of up to 96 bits, about 73 of them in use today. Later terms of a name have greater ones,
/// in a connected cluster and across restarts of all of its nodes. Two nodes that never met may have equal ones: a
/// token counts together with its node, see `FenceGuard`.
///
/// It is the hybrid time of the election, `wall * 2^32 + logical`. A value; the default is 0, which nobody is given.
class BARREL_P2P_API Fence {
 public:
  /// Big endian: bytes compare like the tokens, for stores that compare bytes.
  using Packed = std::array<std::uint8_t, 12>;

  constexpr Fence() noexcept = default;
  constexpr Fence(std::uint64_t wall, std::uint32_t logical) noexcept : wall_(wall), logical_(logical) {}

  /// The integer as Erlang programs have it. Error: `type_mismatch`: no integer, or not from 0 to 2^96-1.
  [[nodiscard]] static Result<Fence> from(const Term& integer);
  [[nodiscard]] Term term() const;
  /// Decimal digits. Error: `invalid_argument`: not digits alone, or above 2^96-1.
  [[nodiscard]] static Result<Fence> parse(std::string_view decimal);
  [[nodiscard]] std::string text() const;
  static Fence unpack(const Packed& packed) noexcept;
  [[nodiscard]] Packed pack() const noexcept;

  [[nodiscard]] constexpr std::uint64_t wall() const noexcept { return wall_; }  ///< Unix milliseconds.
  [[nodiscard]] constexpr std::uint32_t logical() const noexcept { return logical_; }

  friend constexpr auto operator<=>(const Fence&, const Fence&) noexcept = default;

 private:
  std::uint64_t wall_ = 0;
  std::uint32_t logical_ = 0;
};

/// In terms a fence is its integer.
template <>
struct TermCodec<Fence> {
  static Term encode(const Fence& fence) { return fence.term(); }
  [[nodiscard]] static Result<Fence> decode(const Term& term) { return Fence::from(term); }
};

/// Stands before a resource and refuses leaders of earlier terms: every request comes with the token and the node of
/// who makes it. Of equal tokens only the node counts that came with it first.
///
/// What it has seen lives as long as it does. A resource that outlives its process stores `highest()` with each change,
/// in the same transaction, and begins with it.
///
/// All functions may be called from any thread.
class BARREL_P2P_API FenceGuard {
 public:
  struct Seen {
    Fence fence;
    NodeName node;
    friend bool operator==(const Seen&, const Seen&) = default;
  };

  FenceGuard() = default;
  explicit FenceGuard(Seen highest) : highest_(std::move(highest)) {}

  /// Whether the request may pass. If so its token is the highest from here on.
  [[nodiscard]] bool admit(const Fence& fence, const NodeName& node);
  /// Nothing: nobody was admitted yet.
  [[nodiscard]] std::optional<Seen> highest() const;

 private:
  mutable std::mutex mutex_;
  std::optional<Seen> highest_;
};

/// Of one campaign.
struct LeadOptions {
  /// An integer of any size; the candidate with the greatest one leads, of equal ones the one whose node has the
  /// smallest name (byte by byte), and there the one that campaigned first.
  Term priority = 0;
  /// The candidate leads only while so many members of the cluster, its own node included, were heard of a moment ago.
  /// With more than half of all that there ever are no second one leads in a minority, and a leader that is cut off
  /// steps down before the others elect. Decided by its own node alone: others hold it for the leader all the same
  /// while it waits. 0: it leads alone too.
  std::size_t min_members = 0;
};

/// What a candidate is.
struct Role {
  std::optional<Fence> fence;  ///< Of the leader.
  [[nodiscard]] bool is_leader() const noexcept { return fence.has_value(); }
};

/// Where the leader is.
struct LeaderLocation {
  Pid pid;
  NodeName node;
  bool local = false;  ///< Of this node.
};

/// What a candidate is told. After `elected` comes `revoked` or the end of the campaign, and before that any number of
/// `renewed`. A candidate that leads from the start is told so by the result of `lead` alone; one that resigned or
/// ended is told nothing.
struct LeaderEvent {
  enum class Kind : std::uint8_t {
    elected,
    /// It leads on with a greater fence: somewhere a greater one than its own had been given, for instance on the other
    /// side of a partition. As a message this is `elected` again.
    renewed,
    revoked,
  };
  Kind kind = Kind::elected;
  Term name{};
  Fence fence{};  ///< Of `elected` and `renewed`.
};

/// The callback face: called with each fence, the first one and greater ones of the same term, and when the term ends.
using OnElected = std::function<void(const Fence& fence)>;
using OnRevoked = std::function<void()>;

/// The campaign of the callback face, which lasts as long as this handle. It may outlive the node, and it ends with the
/// node, whose last word is `revoked`. A movable handle; `fence` and `is_leader` from any thread until it is resigned.
class [[nodiscard]] Candidacy {
 public:
  using ReadFence = std::function<std::optional<Fence>()>;

  Candidacy(Pid candidate, ReadFence fence, std::function<void()> end)
      : pid_(std::move(candidate)), fence_(std::move(fence)), end_(std::move(end)) {}
  Candidacy(Candidacy&& other) noexcept
      : pid_(std::move(other.pid_)),
        fence_(std::exchange(other.fence_, nullptr)),
        end_(std::exchange(other.end_, nullptr)) {}
  Candidacy& operator=(Candidacy&& other) noexcept {
    if (this != &other) {
      resign();
      pid_ = std::move(other.pid_);
      fence_ = std::exchange(other.fence_, nullptr);
      end_ = std::exchange(other.end_, nullptr);
    }
    return *this;
  }
  Candidacy(const Candidacy&) = delete;
  Candidacy& operator=(const Candidacy&) = delete;
  ~Candidacy() { resign(); }

  /// The process that stands for it: what `Node::leader` gives on all nodes while it leads.
  [[nodiscard]] const Pid& pid() const noexcept { return pid_; }
  /// While it leads, as `Node::fence`: ask before each request to what the fence protects.
  [[nodiscard]] std::optional<Fence> fence() const { return fence_ ? fence_() : std::nullopt; }
  [[nodiscard]] bool is_leader() const { return fence().has_value(); }
  /// Ends it. When it returns this node does not lead by it any more, and the callbacks neither run nor will, unless
  /// one of them called it. Blocks for the cluster thread and for a callback that runs; what that uses must not wait
  /// for the caller. Called on the cluster thread, as by a subscriber, it waits for neither: a callback that runs, or
  /// begins just then, goes on, and the term ends a moment later.
  void resign() {
    fence_ = nullptr;
    if (auto call = std::exchange(end_, nullptr)) call();
  }

 private:
  Pid pid_;
  ReadFence fence_;
  std::function<void()> end_;
};

}  // namespace v0
}  // namespace barrel_p2p

template <>
struct std::hash<barrel_p2p::Fence> {
  std::size_t operator()(const barrel_p2p::Fence& fence) const noexcept {
    return std::hash<std::uint64_t>()(fence.wall() * 0x9E3779B97F4A7C15ULL + fence.logical());
  }
};
