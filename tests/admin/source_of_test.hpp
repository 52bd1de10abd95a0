// A node that is not there, for tests of the endpoint.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "admin/source.hpp"

namespace barrel_p2p::test {

/// Thread safe: the test changes what the endpoint's thread reads.
class FakeNode {
 public:
  FakeNode() {
    snapshot_.name = "a@h";
    snapshot_.health.live = snapshot_.health.ready = true;
    health_.live = health_.ready = true;
  }
  void set_health(bool live, bool ready, std::vector<std::string> reasons) {
    const std::lock_guard lock(mutex_);
    health_.live = live;
    health_.ready = ready;
    health_.reasons = std::move(reasons);
  }
  void add_peer(const std::string& name) {
    const std::lock_guard lock(mutex_);
    snapshot_.peers.emplace_back();
    snapshot_.peers.back().name = name;
  }
  void decide(const std::string& peer) {
    const std::lock_guard lock(mutex_);
    FlightEntry entry;
    entry.number = log_.size() + 1;
    entry.kind = FlightEntry::Kind::refused;
    entry.peer = peer;
    entry.reason = "because";
    log_.push_back(entry);
  }
  admin::Source source() {
    admin::Source source;
    source.health = [this] {
      const std::lock_guard lock(mutex_);
      return health_;
    };
    source.snapshot = [this](bool /*views*/) {
      const std::lock_guard lock(mutex_);
      return std::make_shared<const admin::Snapshot>(snapshot_);
    };
    source.map = [](const admin::MapQuery& query) -> std::optional<admin::MapPage> {
      if (query.map != "config") return std::nullopt;
      admin::MapPage page;
      page.size = 3;
      page.entries.emplace_back(query.prefix + "|" + query.after.value_or("-") + "|" + std::to_string(query.limit),
                                "1");
      page.more = true;
      return page;
    };
    source.log = [this](std::uint64_t number) {
      const std::lock_guard lock(mutex_);
      return std::vector<FlightEntry>(log_.begin() + static_cast<std::ptrdiff_t>(number), log_.end());
    };
    return source;
  }

 private:
  std::mutex mutex_;
  admin::Snapshot snapshot_;
  Health health_;
  std::vector<FlightEntry> log_;
};

}  // namespace barrel_p2p::test
