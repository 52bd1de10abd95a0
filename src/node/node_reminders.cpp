// The part of the public API that is about reminders.
#include <barrel_p2p/node.hpp>
#include <utility>

#include "node/awaiting.hpp"
#include "node/parts.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace {

/// Never before its time.
WallMilliseconds wall_of(std::chrono::system_clock::time_point due) {
  return std::chrono::ceil<Milliseconds>(due).time_since_epoch().count();
}

}  // namespace

using node::await;
using node::no_member;
using node::refuse;

Result<void> Node::remind(const Term& key, std::chrono::system_clock::time_point due, const Term& payload) {
  return await<void>(*parts_,
                     [&](auto done) { parts_->services->remind(key, wall_of(due), payload, std::move(done)); });
}

void Node::remind(const Term& key, std::chrono::system_clock::time_point due, const Term& payload,
                  std::function<void(Result<void>)> done) {
  if (!parts_->services) return refuse(*parts_, std::move(done), no_member());
  parts_->services->remind(key, wall_of(due), payload, std::move(done));
}

Result<void> Node::remind_after(const Term& key, Duration delay, const Term& payload) {
  return await<void>(*parts_, [&](auto done) { parts_->services->remind_after(key, delay, payload, std::move(done)); });
}

void Node::remind_after(const Term& key, Duration delay, const Term& payload, std::function<void(Result<void>)> done) {
  if (!parts_->services) return refuse(*parts_, std::move(done), no_member());
  parts_->services->remind_after(key, delay, payload, std::move(done));
}

Result<void> Node::cancel_reminder(const Term& key) {
  return await<void>(*parts_, [&](auto done) { parts_->services->cancel_reminder(key, std::move(done)); });
}

void Node::cancel_reminder(const Term& key, std::function<void(Result<void>)> done) {
  if (!parts_->services) return refuse(*parts_, std::move(done), no_member());
  parts_->services->cancel_reminder(key, std::move(done));
}

Result<Reminder> Node::find_reminder(const Term& key) {
  return await<Reminder>(*parts_, [&](auto done) { parts_->services->find_reminder(key, std::move(done)); });
}

Result<ReminderStatistics> Node::reminder_statistics() {
  return await<ReminderStatistics>(*parts_, [&](auto done) { parts_->services->reminder_statistics(std::move(done)); });
}

Subscription Node::subscribe_reminders(std::function<void(const ReminderEvent&)> callback, NextReminder next) {
  if (!parts_->services) return {};
  return parts_->services->subscribe_reminders(std::move(callback), std::move(next));
}

void Node::subscribe_reminders(const Pid& process) {
  if (parts_->services) parts_->services->subscribe_reminders(process);
}

void Node::unsubscribe_reminders(const Pid& process) {
  if (parts_->services) parts_->services->unsubscribe_reminders(process);
}

}  // namespace v0
}  // namespace barrel_p2p
