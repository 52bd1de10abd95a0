// The part of the services' runner that is about reminders.
#include <algorithm>
#include <limits>
#include <utility>

#include "node/key_text.hpp"
#include "node/services_runner.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

using services::Ticket;

namespace {

/// Both ends of the range stand for never and for long ago.
WallMilliseconds saturated_sum(WallMilliseconds time, Milliseconds delay) {
  using Limits = std::numeric_limits<WallMilliseconds>;
  if (delay.count() > Limits::max() - time) return Limits::max();
  return time + std::max(delay.count(), -time);
}

}  // namespace

Result<void> ServicesRunner::load_reminders() {
  auto& reminders = machine_.reminders();
  reminders.reserve(store_->size(services::reminder_collection));
  const auto loaded = store_->load(services::reminder_collection, [&](const Term& key, replication::Entry&& entry) {
    reminders.restore(key, std::move(entry));
  });
  if (!loaded) return std::unexpected(loaded.error());
  reminders.set_next([this](const ReminderEvent& previous) {
    std::optional<WallMilliseconds> next;
    recurrences_.tell({previous, next});
    return next;
  });
  reminders.start(now());
  return {};
}

void ServicesRunner::remind(Term key, WallMilliseconds due, Term payload, Done done) {
  auto answer = std::make_shared<Answer<void>>(std::move(done));
  const std::size_t bytes = encoded_size(key, false) + encoded_size(payload, false);
  call(bytes, answer, [this, answer, key = std::move(key), due, payload = std::move(payload)] {
    ticketed(*answer,
             [&](Ticket ticket) { return machine_.reminders().remind(key, due, payload, ticket, now(), effects_); });
  });
}

void ServicesRunner::remind_after(Term key, Milliseconds delay, Term payload, Done done) {
  auto answer = std::make_shared<Answer<void>>(std::move(done));
  const std::size_t bytes = encoded_size(key, false) + encoded_size(payload, false);
  call(bytes, answer, [this, answer, key = std::move(key), delay, payload = std::move(payload)] {
    ticketed(*answer, [&](Ticket ticket) {
      const auto time = now();
      return machine_.reminders().remind(key, saturated_sum(time.wall, delay), payload, ticket, time, effects_);
    });
  });
}

void ServicesRunner::cancel_reminder(Term key, Done done) {
  auto answer = std::make_shared<Answer<void>>(std::move(done));
  const std::size_t bytes = encoded_size(key, false);
  call(bytes, answer, [this, answer, key = std::move(key)] {
    ticketed(*answer, [&](Ticket ticket) { return machine_.reminders().cancel(key, ticket, now(), effects_); });
  });
}

void ServicesRunner::find_reminder(Term key, Answer<Reminder>::Function done) {
  auto answer = std::make_shared<Answer<Reminder>>(std::move(done));
  call(0, answer, [this, answer, key = std::move(key)] {
    auto found = machine_.reminders().find(key);
    if (found) return answer->give(std::move(*found));
    answer->give(fail(Errc::not_found, "this node knows no reminder of the key " + key_text(key)));
  });
}

void ServicesRunner::reminder_statistics(Answer<ReminderStatistics>::Function done) {
  auto answer = std::make_shared<Answer<ReminderStatistics>>(std::move(done));
  call(0, answer, [this, answer] { answer->give(machine_.reminders().statistics()); });
}

Subscription ServicesRunner::subscribe_reminders(std::function<void(const ReminderEvent&)> callback,
                                                 NextReminder next) {
  struct Both {
    Subscription recurrence;
    Subscription events;
  };
  auto both = std::make_shared<Both>();
  if (next) {
    both->recurrence = recurrences_.add([next = std::move(next)](const Recurrence& asked) {
      try {
        const auto due = next(asked.previous);
        if (!due) return;
        const auto time = std::chrono::ceil<Milliseconds>(*due).time_since_epoch().count();
        asked.next = std::min(asked.next.value_or(time), time);
      } catch (...) {
        return;  // the program's: it is done
      }
    });
  }
  both->events = reminder_events_.add(std::move(callback));
  wake(queue_.push(Call([this] { note_reminder_subscribers(); })));
  return Subscription([both] {
    both->events.cancel();
    both->recurrence.cancel();
  });
}

void ServicesRunner::subscribe_reminders(const Pid& pid) {
  reminder_pids_.add(pid);
  wake(queue_.push(Call([this] { note_reminder_subscribers(); })));
}

Result<void> ServicesRunner::subscribe_reminders_for_peer(const Pid& pid) {
  if (auto added = reminder_pids_.add_for_peer(pid); !added) return added;
  wake(queue_.push(Call([this] { note_reminder_subscribers(); })));
  return {};
}

/// Before anything can fire: a subscriber may have gone.
void ServicesRunner::note_reminder_subscribers() {
  machine_.reminders().set_subscribed(!reminder_events_.empty() || !reminder_pids_.empty());
}

void ServicesRunner::carry_out(services::ReminderFired& effect) {
  reminder_events_.tell(effect.event);
  if (!reminder_pids_.empty()) reminder_pids_.tell(services::message_of(effect.event));
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
