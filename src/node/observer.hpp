// Looks at a node for those who operate it: gathers what its threads know, and judges its health. Implements the source
// of the HTTP endpoint.
//
// What another thread must be asked for is waited for at most `patience`; an answer that comes later, or not at all, is
// left out, and the health says so.
#pragma once

#include <atomic>
#include <barrel_p2p/node.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "admin/source.hpp"
#include "base/flight_recorder.hpp"
#include "distribution/network.hpp"
#include "node/overlay_runner.hpp"
#include "node/remote_views.hpp"
#include "node/services_runner.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

/// What it looks at. All of it must outlive the observer; nullptr: a hidden node has none.
struct Observed {
  std::string name;
  std::uint16_t port = 0;
  boost::asio::io_context* context = nullptr;
  distribution::Network* network = nullptr;
  process::System* system = nullptr;
  OverlayRunner* overlay = nullptr;
  ServicesRunner* services = nullptr;
  FlightRecorder* recorder = nullptr;
  std::function<NodeStatistics(const quic::EndpointStatistics& endpoint)> statistics;
};

/// Thread safe.
class Observer {
 public:
  explicit Observer(Observed observed);
  ~Observer();
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;

  [[nodiscard]] Health health();
  void set_draining() noexcept { draining_ = true; }
  /// Not younger than the call by more than `reuse_for`.
  [[nodiscard]] std::shared_ptr<const admin::Snapshot> snapshot(bool views);
  [[nodiscard]] std::optional<admin::MapPage> map(const admin::MapQuery& query) const;
  /// The observer must outlive it.
  [[nodiscard]] admin::Source source();

 private:
  static constexpr Milliseconds patience{1000};
  static constexpr Milliseconds reuse_for{500};
  /// A thread that was silent for so long hangs: nothing that it does takes a tenth of it.
  static constexpr Milliseconds live_within{10'000};
  static constexpr Milliseconds remember_gone{600'000};

  struct Beat;
  struct Gathering;
  struct Gone {
    admin::KnownNode::State state = admin::KnownNode::State::down;
    admin::KnownNode::Kind kind = admin::KnownNode::Kind::unknown;
    MonotonicTime since{};
  };

  [[nodiscard]] Health health(MonotonicTime until);
  [[nodiscard]] std::shared_ptr<Gathering> gather() const;
  [[nodiscard]] admin::Snapshot make(bool views);
  void add_nodes(const Gathering& gathered, bool views, admin::Snapshot& out);
  void add_services(const Gathering& gathered, admin::Snapshot& out) const;
  void note_gone(const std::vector<Atom>& members, MonotonicTime now);
  [[nodiscard]] std::vector<std::string> reasons(bool transport, bool cluster) const;

  const Observed observed_;
  const MonotonicTime began_ = monotonic_now();
  const WallMilliseconds started_ = wall_now();
  std::atomic<bool> draining_{false};
  RemoteViews views_;
  const std::shared_ptr<Beat> transport_beat_, cluster_beat_;

  std::mutex mutex_;  ///< Of those who gather: one at a time.
  std::shared_ptr<const admin::Snapshot> last_;
  MonotonicTime last_at_{};
  bool last_views_ = false;
  bool alive_ = true;                                       ///< Its threads were, when they were last asked.
  std::unordered_map<Atom, admin::KnownNode::Kind> known_;  ///< Members, when they were last looked at.
  std::unordered_map<Atom, Gone> gone_;

  std::mutex left_mutex_;
  std::vector<Atom> left_;  ///< Neighbours that said goodbye, since this was last looked at.
  Subscription membership_;
};

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
