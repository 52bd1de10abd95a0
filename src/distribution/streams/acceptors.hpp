// Who takes the streams that peers open, by their tag.
//
// One table a node. Thread safe.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "distribution/streams/stream_core.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

/// Takes the streams of one tag: by a function, or into a queue of bounded length.
class TagAcceptor {
 public:
  /// Called on the transport thread, not after `close` has returned, unless it was the handler that closed.
  using Handler = std::function<void(std::shared_ptr<StreamCore>)>;

  /// Without a handler streams queue, at most `backlog_max`.
  TagAcceptor(Handler handler, std::size_t backlog_max) noexcept
      : handler_(std::move(handler)), backlog_max_(backlog_max) {}

  /// False: closed, or too many wait already.
  bool offer(const std::shared_ptr<StreamCore>& stream);
  /// The stream that has waited longest; nullptr when none waits.
  std::shared_ptr<StreamCore> next();
  /// Calls `wake` once, when a stream waits or the acceptor is closed: at once, or later on another thread.
  void await(std::function<void()> wake);
  /// False: it was called already, or is being called.
  bool forget();
  [[nodiscard]] bool closed() const;
  /// Streams that wait are reset with code 0.
  void close();

 private:
  const Handler handler_;
  const std::size_t backlog_max_;
  std::recursive_mutex running_;  ///< Held while the handler runs.
  mutable std::mutex mutex_;
  bool closed_ = false;
  std::deque<std::shared_ptr<StreamCore>> waiting_;
  std::function<void()> wake_;
};

class TagAcceptors {
 public:
  /// Errors: `invalid_argument` (the tag), `already_registered`, `stopped`.
  Result<std::shared_ptr<TagAcceptor>> add(const std::string& tag, TagAcceptor::Handler handler,
                                           std::size_t backlog_max);
  /// Closes the acceptor; streams with its tag are refused from then on.
  void remove(const std::string& tag, const std::shared_ptr<TagAcceptor>& acceptor);
  [[nodiscard]] std::shared_ptr<TagAcceptor> find(const std::string& tag) const;
  /// Closes all, and takes no new ones.
  void close();

 private:
  mutable std::shared_mutex mutex_;
  bool closed_ = false;
  std::unordered_map<std::string, std::shared_ptr<TagAcceptor>> acceptors_;
};

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
