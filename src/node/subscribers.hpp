// Callbacks that users subscribe, behind the handles that they hold.
#pragma once

#include <algorithm>
#include <barrel_p2p/subscription.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {
namespace node {

/// Thread safe. Handles may outlive it. A callback may subscribe and cancel, itself too.
template <class Event>
class Subscribers {
 public:
  using Callback = std::function<void(const Event&)>;
  struct Entry {
    explicit Entry(Callback function) : callback(std::move(function)) {}
    std::recursive_mutex mutex;
    bool active = true;
    const Callback callback;
  };

  Subscription add(Callback callback) {
    auto [subscription, entry] = prepare(std::move(callback));
    begin(entry, {});
    return std::move(subscription);
  }
  /// A subscriber that hears nothing until `begin`.
  std::pair<Subscription, std::shared_ptr<Entry>> prepare(Callback callback) {
    auto entry = std::make_shared<Entry>(std::move(callback));
    Subscription subscription([list = std::weak_ptr<List>(list_), entry] {
      {
        // Waits for the callback, if it runs on another thread.
        const std::lock_guard running(entry->mutex);
        entry->active = false;
      }
      if (const auto all = list.lock()) {
        const std::lock_guard locked(all->mutex);
        std::erase(all->entries, entry);
      }
    });
    return {std::move(subscription), std::move(entry)};
  }
  /// Tells it `first`, and everything that is told after this call began.
  void begin(const std::shared_ptr<Entry>& entry, const std::vector<Event>& first) {
    const std::lock_guard running(entry->mutex);
    for (const auto& event : first) {
      if (entry->active) entry->callback(event);
    }
    if (!entry->active) return;
    const std::lock_guard lock(list_->mutex);
    list_->entries.push_back(entry);
  }

  [[nodiscard]] bool empty() const {
    const std::lock_guard lock(list_->mutex);
    return list_->entries.empty();
  }

  void tell(const Event& event) const {
    std::vector<std::shared_ptr<Entry>> entries;
    {
      const std::lock_guard lock(list_->mutex);
      entries = list_->entries;
    }
    for (const auto& entry : entries) {
      const std::lock_guard running(entry->mutex);
      if (entry->active) entry->callback(event);
    }
  }

 private:
  struct List {
    std::mutex mutex;
    std::vector<std::shared_ptr<Entry>> entries;
  };
  std::shared_ptr<List> list_ = std::make_shared<List>();
};

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
