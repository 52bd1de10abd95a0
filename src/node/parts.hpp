// The parts of a node, and how they are put together. Private to the node room.
//
// Threads: docs/architecture.md lists them; the transport thread (one of two at a time) runs the io_context with the
// network, the cluster thread runs overlay and services. Parts are stopped in the order in which they depend on each
// other: the overlay, processes, channels, the thread, and then everything is let go.
#pragma once

#include <atomic>
#include <barrel_p2p/node.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <condition_variable>
#include <exception>
#include <future>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "admin/server.hpp"
#include "base/flight_recorder.hpp"
#include "base/log.hpp"
#include "distribution/network.hpp"
#include "node/files/receiver.hpp"
#include "node/key_keeper.hpp"
#include "node/observer.hpp"
#include "node/overlay_runner.hpp"
#include "node/serial_executor.hpp"
#include "node/service_bridge.hpp"
#include "node/services_runner.hpp"
#include "node/subscribers.hpp"
#include "node/transport_threads.hpp"
#include "process/system.hpp"

namespace barrel_p2p {
inline namespace v0 {

class Node::Parts {
 public:
  explicit Parts(NodeConfig given);
  ~Parts();
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;

  Result<void> start();
  void stop();
  /// Runs the work on the transport thread, and returns when it is done. False: that thread is gone.
  bool on_transport(const std::function<void()>& work);
  [[nodiscard]] NodeStatistics statistics(const quic::EndpointStatistics& endpoint) const;
  /// Asks the transport thread, unless it is the caller or gone.
  [[nodiscard]] quic::EndpointStatistics endpoint_statistics();

  /// Errors: those of `Node::accept_streams`.
  Result<StreamAcceptor> accept_streams(const std::string& tag, StreamCallback on_stream);

  /// Error, `invalid_argument`: the caller is a callback of a thread that others wait for, or that it would wait for
  /// itself.
  [[nodiscard]] Result<void> may_wait() const;
  /// Error, `invalid_argument`, beside: the caller is a process, which would hold the worker that the other one needs.
  [[nodiscard]] Result<void> may_wait_for_process() const;
  /// Runs a function on a process and waits for what it returns. Errors: those of `may_wait`; `invalid_argument`,
  /// `limit_exceeded` (what it throws of that kind), `remote_exit` (a process of this node ended the one that waits),
  /// `stopped`.
  template <class T>
  Result<T> wait_for(std::function<Task<T>(Process&)> function) {
    if (const auto allowed = may_wait(); !allowed) return std::unexpected(allowed.error());
    auto promise = std::make_shared<std::promise<T>>();
    auto future = promise->get_future();
    system->spawn_internal([promise = std::move(promise), function = std::move(function)](Process& self) -> Task<> {
      try {
        T result = co_await function(self);
        promise->set_value(std::move(result));
      } catch (...) {
        promise->set_exception(std::current_exception());
      }
    });
    try {
      return future.get();  // bounded by the limit of what the process waits for
    } catch (const std::invalid_argument& error) {
      return fail(Errc::invalid_argument, error.what());
    } catch (const std::length_error& error) {
      return fail(Errc::limit_exceeded, error.what());
    } catch (const std::future_error&) {
      if (stopping_) return fail(Errc::stopped, "the node is stopping");
      return fail(Errc::remote_exit, "the process that waited for the answer was ended by another one");
    }
  }

  boost::asio::io_context context;  ///< Before everything that lives on it.
  const NodeConfig config;
  const NodeName name;
  Logger logger;
  FlightRecorder recorder;
  std::uint32_t creation = 0;
  std::uint16_t port = 0;
  std::unique_ptr<node::KeyKeeper> keys;
  std::unique_ptr<process::System> system;
  std::unique_ptr<distribution::Discovery> discovery;
  node::SerialExecutor cluster;
  std::unique_ptr<node::OverlayRunner> overlay;    ///< Nothing on a hidden node. Gone after the network.
  std::unique_ptr<node::ServicesRunner> services;  ///< Likewise.
  std::unique_ptr<services::Bridge> bridge;        ///< Likewise.
  std::unique_ptr<distribution::Network> network;
  std::unique_ptr<files::FileReceiver> receiver;  ///< Nothing where no files are taken.
  node::Subscribers<NodeEvent> events;
  node::Subscribers<PathEvent> path_events;
  std::unique_ptr<node::Observer> observer;
  std::unique_ptr<admin::Server> admin;  ///< Nothing where it is not wanted.

 private:
  void start_system();
  Result<void> open_network();
  [[nodiscard]] distribution::NetworkEvents network_events();
  [[nodiscard]] node::KeyKeeper::Events key_events();
  Result<void> publish();
  Result<void> make_overlay();
  Result<void> make_services();
  Result<void> open_maps();
  Result<void> receive_files();
  Result<void> open_admin();
  void start_observer();
  void start_admin();
  [[nodiscard]] Result<std::vector<node::KnownPeer>> load_peers(const std::filesystem::path& file) const;
  void describe() const;

  std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> work_;
  std::optional<node::TransportThreads> transport_;
  std::mutex stop_mutex_;  ///< Of who stops, until it has.
  bool ready_ = false;     ///< `start` came to its end.
  bool stopped_ = false;
  std::mutex posting_mutex_;
  bool posting_closed_ = false;  ///< The transport thread does no work of others any more, ...
  bool transport_gone_ = false;  ///< ... and has ended. Both guarded by posting_mutex_.
  std::condition_variable transport_ended_;
  std::atomic<bool> stopping_{false};  ///< Processes end for that.
  std::string admin_token_;
};

}  // namespace v0
}  // namespace barrel_p2p
