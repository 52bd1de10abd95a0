#include "distribution/streams/user_streams.hpp"

#include <algorithm>
#include <utility>
#include <variant>

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

using quic::StreamId;

// What an Erlang peer needs: protocol document 07, sections 1.8 to 1.10.
/// Bytes that reach it before its handshake is done are lost among the signals.
constexpr Milliseconds erlang_settle{100};
/// Between the arrival of the preamble and the first payload: its hand-over takes a while, and reorders what comes
/// meanwhile. It refuses within 8 to 13 ms.
constexpr Milliseconds erlang_pause{50};
/// While its connection is younger than this a refusal may mean that it is not ready.
constexpr Milliseconds erlang_ready_within{5000};
constexpr Milliseconds retry_min{25};
constexpr Milliseconds retry_max{1000};

/// What may be under way when a sender comes to the part of the window that it leaves to signals.
constexpr std::size_t unread_slack_bytes = 1024UL * 1024;

Milliseconds age(MonotonicTime since) { return std::chrono::duration_cast<Milliseconds>(monotonic_now() - since); }

}  // namespace

struct UserStreams::Opening {
  Opening(std::string wanted, Opened callback) : tag(std::move(wanted)), done(std::move(callback)) {}
  const std::string tag;
  Opened done;
  Milliseconds pause = retry_min;
};

UserStreams::UserStreams(std::shared_ptr<StreamShared> shared, std::shared_ptr<quic::Connection> connection, Peer peer,
                         After after)
    : shared_(std::move(shared)),
      connection_(std::move(connection)),
      peer_(std::move(peer)),
      after_(std::move(after)),
      tags_(shared_->limits.tags) {
  // An Erlang node credits what arrives, read or not, and its window becomes smaller than the reserve.
  if (!peer_.erlang) connection_->set_bulk_reserve(message_reserve_bytes);
}

UserStreams::~UserStreams() { lost(Error(Errc::no_connection, "the connection is gone")); }

bool UserStreams::is_own(StreamId id) const noexcept { return ((id & 1) == 0) == connection_->is_initiator(); }

UserStreams::Entry& UserStreams::add(StreamId id, std::string tag, bool opened_here) {
  auto notify = [gate = shared_, weak = weak_from_this(), id] {
    gate->gate.post([weak, id] {
      if (const auto self = weak.lock()) self->work(id);
    });
  };
  Entry& entry = entries_[id];
  entry.core =
      std::make_shared<StreamCore>(StreamCore::Identity{peer_.name, peer_.epoch, id, std::move(tag), opened_here},
                                   shared_->limits.send_bytes_max, std::move(notify));
  entry.counted = true;
  ++open_;
  shared_->counters.open += 1;
  if (!opened_here) connection_->set_urgency(id, quic::Urgency::bulk);
  return entry;
}

// Opening.

void UserStreams::open(std::string tag, Opened done) {
  if (lost_) return done(std::unexpected(*lost_));
  auto opening = std::make_shared<Opening>(std::move(tag), std::move(done));
  openings_.insert(opening);
  const auto old = age(since_);
  if (!peer_.erlang || old >= erlang_settle || !after_) return attempt(opening);
  after_(erlang_settle - old, [weak = weak_from_this(), opening = std::weak_ptr<Opening>(opening)] {
    const auto self = weak.lock();
    if (const auto waiting = opening.lock(); self && waiting) self->attempt(waiting);
  });
}

void UserStreams::attempt(const std::shared_ptr<Opening>& opening) {
  const auto id = connection_->open_bidi();
  if (!id) return finish(opening, std::unexpected(id.error()));
  Entry& entry = add(*id, opening->tag, true);
  Bytes first = preamble(opening->tag);
  entry.preamble_bytes = first.size();
  connection_->write(*id, SharedBytes(std::move(first)), {.fin = false, .own_packet = peer_.erlang});
  connection_->bulk_from_here(*id);  // the tag passes what waits for readers of other streams
  if (peer_.erlang && after_) {
    entry.opening = opening;
  } else {
    finish(opening, entry.core);
  }
}

/// The peer's QUIC has the preamble.
void UserStreams::confirm(StreamId id) {
  after_(erlang_pause, [weak = weak_from_this(), id] {
    const auto self = weak.lock();
    if (!self) return;
    const auto found = self->entries_.find(id);
    if (found == self->entries_.end() || !found->second.opening) return;
    const auto opening = std::exchange(found->second.opening, nullptr);
    self->finish(opening, found->second.core);
  });
}

void UserStreams::refused(const std::shared_ptr<Opening>& opening) {
  if (age(since_) >= erlang_ready_within) {
    return finish(opening, fail(Errc::connection_refused, peer_.name.string() + " takes no streams with this tag"));
  }
  after_(opening->pause, [weak = weak_from_this(), opening = std::weak_ptr<Opening>(opening)] {
    const auto self = weak.lock();
    if (const auto waiting = opening.lock(); self && waiting) self->attempt(waiting);
  });
  opening->pause = std::min(2 * opening->pause, retry_max);
}

void UserStreams::finish(const std::shared_ptr<Opening>& opening, Result<std::shared_ptr<StreamCore>> result) {
  if (openings_.erase(opening) == 0) return;
  if (result) shared_->counters.opened += 1;
  opening->done(std::move(result));
}

// What the connection tells.

void UserStreams::data(StreamId id, ByteView bytes, bool fin) {
  if (const auto found = entries_.find(id); found != entries_.end()) {
    if (found->second.core) return deliver(id, found->second, bytes, fin);
    return connection_->consume(id, bytes.size());
  }
  if (lost_ || is_own(id)) return connection_->consume(id, bytes.size());
  auto outcome = tags_.feed(id, bytes, fin, monotonic_now());
  if (auto* complete = std::get_if<InboundTags::Complete>(&outcome)) {
    connection_->consume(id, bytes.size() - complete->rest.size());
    return begin(id, std::move(*complete), fin);
  }
  connection_->consume(id, bytes.size());
  const auto* refusal = std::get_if<InboundTags::Refused>(&outcome);
  if (refusal == nullptr) return;
  auto& counters = shared_->counters;
  (refusal->reason == InboundTags::Reason::too_many ? counters.refused_waiting : counters.refused_tag) += 1;
  refuse(id);
}

void UserStreams::begin(StreamId id, InboundTags::Complete&& complete, bool fin) {
  auto& counters = shared_->counters;
  const auto acceptor = shared_->acceptors.find(complete.tag);
  if (!acceptor) {
    counters.refused_tag += 1;
    connection_->consume(id, complete.rest.size());
    return refuse(id);
  }
  Entry& entry = add(id, std::move(complete.tag), false);
  const auto core = entry.core;
  // Before anybody has it: what follows comes behind.
  deliver(id, entry, complete.rest, fin);
  if (core->reset_code()) return;  // too much of the peer's waits already
  if (acceptor->offer(core)) {
    counters.accepted += 1;
    return;
  }
  counters.refused_busy += 1;
  core->ended_by_reset(code_refused);
  if (const auto found = entries_.find(id); found != entries_.end()) give_up(id, found->second);
  refuse(id);
}

void UserStreams::deliver(StreamId id, Entry& entry, ByteView bytes, bool fin) {
  shared_->counters.bytes_received += bytes.size();
  entry.unread += bytes.size();
  unread_ += bytes.size();
  const auto core = entry.core;
  if (!core->deliver(bytes, fin)) {
    entry.unread -= bytes.size();
    unread_ -= bytes.size();
    return connection_->consume(id, bytes.size());
  }
  if (unread_ <= shared_->limits.unread_bytes_max + unread_slack_bytes) return;
  shared_->counters.reset_unread += 1;
  core->ended_by_reset(code_too_much_unread);
  connection_->reset(id, code_too_much_unread);
  if (peer_.erlang) connection_->replace_credit(id);
  give_up(id, entry);
}

/// It stays known until QUIC is done with it.
void UserStreams::refuse(StreamId id) {
  connection_->reset(id, code_refused);
  // An Erlang node never finishes what was reset.
  if (peer_.erlang) connection_->replace_credit(id);
  entries_.try_emplace(id);
}

void UserStreams::reset(StreamId id, std::uint64_t code) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) {
    tags_.forget(id);
    if (!is_own(id)) connection_->reset(id, code_owner_gone);
    return;
  }
  Entry& entry = found->second;
  if (!entry.core) return;
  const auto core = entry.core;
  const auto opening = std::exchange(entry.opening, nullptr);
  // Else an Erlang node would keep a piece of the stream for ever.
  connection_->reset(id, code_owner_gone);
  give_up(id, entry);
  core->ended_by_reset(code);
  if (!opening) {
    shared_->counters.reset_by_peer += 1;
  } else if (code == code_refused) {
    refused(opening);
  } else {
    finish(opening, fail(Errc::reset, "the stream was reset with code " + std::to_string(code)));
  }
}

void UserStreams::acknowledged(StreamId id, std::uint64_t bytes) {
  const auto found = entries_.find(id);
  if (found == entries_.end() || !found->second.core || bytes < found->second.preamble_bytes) return;
  if (found->second.opening) return confirm(id);
  const auto core = found->second.core;
  core->acknowledge(bytes - found->second.preamble_bytes);
}

void UserStreams::stopped(StreamId id) {
  const auto found = entries_.find(id);
  if (found == entries_.end() || !found->second.core) return;
  const auto core = found->second.core;
  core->ended_by_stop();
}

void UserStreams::closed(StreamId id) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  const auto core = entry.core;
  entry.quic_closed = true;
  if (entry.unread == 0) {
    uncount(entry);
    entries_.erase(found);
  }
  // Nothing more goes out, whether the program had finished or the peer did not want it.
  if (core) core->ended_by_stop();
}

void UserStreams::tick(MonotonicTime now) {
  for (const StreamId id : tags_.expire(now)) {
    shared_->counters.refused_late += 1;
    refuse(id);
  }
}

void UserStreams::lost(const Error& error) {
  if (lost_) return;
  lost_ = error;
  auto entries = std::exchange(entries_, {});
  unread_ = 0;
  for (auto& [id, entry] : entries) {
    uncount(entry);
    if (!entry.core) continue;
    shared_->counters.lost += 1;
    entry.core->lost(error);
  }
  for (const auto& opening : std::exchange(openings_, {})) opening->done(std::unexpected(error));
}

// What programs want.

void UserStreams::work(StreamId id) {
  const auto found = entries_.find(id);
  if (found == entries_.end() || !found->second.core) return;
  Entry& entry = found->second;
  auto work = entry.core->take_work();
  const std::size_t consumed = std::min(work.consumed, entry.unread);
  entry.unread -= consumed;
  unread_ -= consumed;
  connection_->consume(id, consumed);
  for (auto& bytes : work.bytes) {
    shared_->counters.bytes_sent += bytes.view.size();
    connection_->write(id, std::move(bytes));
  }
  if (work.finish) connection_->write(id, SharedBytes(), {.fin = true, .own_packet = false});
  if (work.reset) {
    connection_->reset(id, *work.reset);
  } else if (work.stop_reading) {
    connection_->stop_reading(id, code_owner_gone);
  } else {
    if (entry.quic_closed && entry.unread == 0) {
      uncount(entry);
      entries_.erase(found);
    }
    return;
  }
  if (peer_.erlang && !entry.quic_closed) connection_->replace_credit(id);
  give_up(id, entry);
}

void UserStreams::give_up(StreamId id, Entry& entry) {
  connection_->consume(id, entry.unread);
  unread_ -= std::exchange(entry.unread, 0);
  entry.core.reset();
  uncount(entry);
  if (entry.quic_closed) entries_.erase(id);
}

void UserStreams::uncount(Entry& entry) {
  if (!std::exchange(entry.counted, false)) return;
  --open_;
  shared_->counters.open -= 1;
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
