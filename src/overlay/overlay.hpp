// The overlay of one node as one machine without I/O: HyParView, Plumtree, the contacts, and what is remembered on
// disk. The node runs it on real channels, the simulator on virtual ones.
//
// Threads: one at a time (the cluster thread).
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.hpp"
#include "overlay/contacts.hpp"
#include "overlay/hyparview.hpp"
#include "overlay/messages.hpp"
#include "overlay/plumtree.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace overlay {

struct OverlayConfig {
  Atom own;
  std::uint64_t seed = 0;             ///< Of all random choices.
  HyParViewConfig hyparview;          ///< `own` and `seed` are taken from above.
  PlumtreeConfig plumtree;            ///< `seed` is taken from above.
  ContactsConfig contacts;            ///< `own` and `seed` are taken from above.
  Milliseconds remember_delay{2000};  ///< Changes of the views are gathered for so long before they are written.
};

struct SendMessage {
  Atom to;
  Message message;
  bool native = false;  ///< For `encode_message`.
};
/// Make a channel; answered by `link_up` or `connect_failed`.
struct Connect {
  Atom node;
};
struct MembershipUp {
  Atom node;
};
struct MembershipDown {
  Atom node;
  DownReason reason = DownReason::nodedown;
};
struct MembershipLeft {};
struct Deliver {
  Term tag;
  Term payload;
  std::uint32_t round = 0;
};
/// Broadcasts were lost between us and this neighbour, as `PlumtreeLost`.
struct GossipLost {
  Atom node;
};
/// Write these names to disk, in place of what was written before; they come back as `OverlayConfig::contacts`.
struct Remember {
  std::vector<Atom> nodes;
};
using Effect =
    std::variant<SendMessage, Connect, MembershipUp, MembershipDown, MembershipLeft, Deliver, GossipLost, Remember>;
using Effects = std::vector<Effect>;

class Overlay {
 public:
  Overlay(OverlayConfig config, MonotonicTime now);
  ~Overlay() = default;
  Overlay(const Overlay&) = delete;
  Overlay& operator=(const Overlay&) = delete;

  // What the program asks for.
  /// Errors: `cannot_connect_self`.
  Result<void> join(const Atom& node, MonotonicTime now, Effects& out);
  void leave(MonotonicTime now, Effects& out);
  /// `id`: 32 random bytes of the caller, or any term that no other message has.
  void broadcast(Term tag, Term payload, MessageId id, MonotonicTime now, Effects& out);
  void block(const std::vector<Atom>& nodes, MonotonicTime now, Effects& out);
  /// Other `contact_nodes`, as `Contacts::replace`. The deadline may be sooner after it.
  void set_contacts(const std::vector<Atom>& nodes, MonotonicTime now);

  // What happens. Channels of hidden nodes are not told.
  void link_up(const Atom& node, MonotonicTime now, Effects& out, bool erlang = false);
  void link_down(const Atom& node, MonotonicTime now, Effects& out);
  void connect_failed(const Atom& node, MonotonicTime now, Effects& out);
  void receive(const Atom& from, const Message& message, MonotonicTime now, Effects& out);
  /// A `SendMessage` could not be queued.
  void send_refused(const Atom& to, const Message& message, MonotonicTime now);
  void tick(MonotonicTime now, Effects& out);
  [[nodiscard]] MonotonicTime deadline() const noexcept;

  [[nodiscard]] const HyParView& membership() const noexcept { return hyparview_; }
  [[nodiscard]] const Plumtree& gossip() const noexcept { return plumtree_; }

 private:
  [[nodiscard]] NewPeer kind_of(const HyParViewUp& up) const noexcept;
  /// Runs what HyParView wants: tells Plumtree and the contacts.
  void absorb(MonotonicTime now, Effects& out);

  OverlayConfig config_;
  HyParView hyparview_;
  Plumtree plumtree_;
  Contacts contacts_;
  HyParViewEffects from_hyparview_;  ///< Scratch, to save allocations.
  PlumtreeEffects from_plumtree_;
  std::uint64_t remembered_version_ = 0;
  std::optional<MonotonicTime> remember_at_;
};

}  // namespace overlay
}  // namespace v0
}  // namespace barrel_p2p
