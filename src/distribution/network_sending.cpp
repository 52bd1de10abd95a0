// Signals that leave: through outboxes, which the first one that finds them empty has emptied.
#include <mutex>
#include <utility>

#include "distribution/encode.hpp"
#include "distribution/network_peer.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

bool essential(const Control& control) {
  return !std::holds_alternative<Send>(control) && !std::holds_alternative<SendName>(control) &&
         !std::holds_alternative<SendAlias>(control) && !std::holds_alternative<SpawnRequest>(control);
}

SendOutcome outcome_of(Outbox::Pushed pushed) {
  switch (pushed) {
    case Outbox::Pushed::accepted: return SendOutcome::accepted;
    case Outbox::Pushed::busy: return SendOutcome::busy;
    case Outbox::Pushed::full:
    case Outbox::Pushed::unread: return SendOutcome::full;
    case Outbox::Pushed::stale:
    case Outbox::Pushed::refused: break;
  }
  return SendOutcome::refused;
}

/// What a signal that waits for its channel is taken to weigh.
std::size_t weight(const Signal& signal) {
  constexpr std::size_t control_bytes = 128;
  if (const auto* term = std::get_if<Term>(&signal.payload)) return control_bytes + encoded_size(*term, false);
  if (const auto* encoded = std::get_if<EncodedTerm>(&signal.payload)) return control_bytes + encoded->bytes.size();
  return control_bytes;
}

}  // namespace

std::shared_ptr<Outbox> Network::find_outbox(const Atom& node) const {
  const std::shared_lock lock(table_mutex_);
  const auto found = outboxes_.find(node);
  return found == outboxes_.end() ? nullptr : found->second;
}

/// Who makes one sees to it that the node has a peer, with which it is forgotten.
std::shared_ptr<Outbox> Network::outbox_of(const Atom& node) {
  if (auto known = find_outbox(node)) return known;
  const std::unique_lock lock(table_mutex_);
  auto& outbox = outboxes_[node];
  if (!outbox) outbox = std::make_shared<Outbox>(config_.outbox);
  return outbox;
}

/// What an Erlang node would close the channel for is dropped, as a signal to a process that is gone.
bool Network::may_leave(const Signal& signal, const Atom& node, std::uint32_t peer_creation, Flags flags) {
  const auto allowed = check_outgoing(signal, {settings_.name, node, settings_.creation, peer_creation}, flags);
  if (allowed) return true;
  counters_.signals_dropped += 1;
  logger_->debug("a signal to {} is dropped: {}", node.text(), allowed.error().message());
  return false;
}

/// To the channel of the snapshot. The transport thread hears of what follows.
Outbox::Pushed Network::push(const Atom& node, const std::shared_ptr<Outbox>& outbox, const Outbox::Snapshot& to,
                             const Signal& signal, const Pid& stream_key) {
  if (!may_leave(signal, node, to.peer_creation, to.flags)) return Outbox::Pushed::accepted;
  const bool must = essential(signal.control);
  if (!must && !to.has_room) return Outbox::Pushed::full;
  auto message = encode_message(signal, to.flags, stream_key, outbox->next_sequence());
  const auto pushed = outbox->push(to.epoch, std::move(message), must);
  if (pushed.outcome == Outbox::Pushed::unread) {
    if (pushed.wake) close_unread(node, to.epoch);
  } else if (pushed.wake) {
    wake(node, outbox);
  }
  return pushed.outcome;
}

SendOutcome Network::send(const Atom& node, Signal&& signal, const Pid& stream_key) {
  if (node == settings_.name) return SendOutcome::refused;
  const auto outbox = config_.auto_connect ? outbox_of(node) : find_outbox(node);
  if (!outbox) return SendOutcome::refused;
  const bool must = essential(signal.control);
  if (!is_probe(signal.control)) outbox->mark_used();
  auto pushed = Outbox::Pushed::stale;
  // A channel may come or go between the look and the push; then look again. Bounded: each round needs such a change.
  constexpr int rounds_max = 100;
  // NOLINTBEGIN(bugprone-use-after-move): it is moved from only when it was accepted, and then there is no next round.
  for (int round = 0; pushed == Outbox::Pushed::stale && round < rounds_max; ++round) {
    const auto snapshot = outbox->snapshot(must);
    if (snapshot.state == Outbox::State::up) {
      pushed = push(node, outbox, snapshot, signal, stream_key);
    } else {
      const std::size_t bytes = weight(signal);
      const auto waiting =
          outbox->push_waiting(std::move(signal), stream_key, bytes, must, config_.auto_connect, monotonic_now());
      pushed = waiting.outcome;
      if (waiting.wake) post([this, node] { start_dial(node, false); });
    }
  }
  // NOLINTEND(bugprone-use-after-move)
  return outcome_of(pushed);
}

SendOutcome Network::send_on(const Atom& node, std::uint64_t epoch, const Signal& signal, const Pid& stream_key,
                             bool if_short) {
  const auto outbox = find_outbox(node);
  if (!outbox) return SendOutcome::refused;
  const auto snapshot = outbox->snapshot(essential(signal.control));
  if (snapshot.state != Outbox::State::up || snapshot.epoch != epoch) return SendOutcome::refused;
  if (if_short && outbox->await_room()) return SendOutcome::full;
  outbox->mark_used();
  return outcome_of(push(node, outbox, snapshot, signal, stream_key));
}

void Network::wake(const Atom& node, const std::shared_ptr<Outbox>& outbox) {
  const std::lock_guard lock(woken_mutex_);
  woken_.emplace_back(node, outbox);
  if (emptying_posted_ || (events_.empties_outboxes && events_.empties_outboxes())) return;
  emptying_posted_ = true;
  post([this] {
    {
      const std::lock_guard posted_lock(woken_mutex_);
      emptying_posted_ = false;
    }
    empty_outboxes();
  });
}

void Network::empty_outboxes() {
  std::vector<std::pair<Atom, std::shared_ptr<Outbox>>> woken;
  {
    const std::lock_guard lock(woken_mutex_);
    woken.swap(woken_);
  }
  for (const auto& [node, outbox] : woken) flush(node, outbox);
}

void Network::flush(const Atom& node, const std::shared_ptr<Outbox>& outbox) {
  const auto found = peers_.find(node);
  if (found == peers_.end() || !found->second->up) return;
  const auto channel = found->second->up;
  outbox->take(taken_);
  for (auto& message : taken_) channel->send(std::move(message));
  // The memory is for the next ones, of whichever peer, as long as they are about as many.
  constexpr std::size_t kept_max = 4096;
  constexpr std::size_t kept_always = 64;
  const bool keeps = taken_.capacity() <= std::min(kept_max, kept_always + 8 * taken_.size());
  taken_.clear();
  if (!keeps) taken_.shrink_to_fit();
  if (outbox->set_transport_queue(channel->queued_bytes()) && events_.writable) events_.writable(node);
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
