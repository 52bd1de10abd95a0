// Who takes the streams that peers open, by their tag.
//
// One table a node. Thread safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
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
  using Wake = std::function<void()>;
  /// Never 0 for one that waits.
  using Waiter = std::uint64_t;

  /// Without a handler streams queue, at most `backlog_max`.
  TagAcceptor(Handler handler, std::size_t backlog_max) noexcept
      : handler_(std::move(handler)), backlog_max_(backlog_max) {}

  /// False: closed, or too many wait already.
  bool offer(const std::shared_ptr<StreamCore>& stream);
  /// The stream that has waited longest; nullptr when none waits.
  std::shared_ptr<StreamCore> next();
  /// Calls `wake` once, when a stream is there for it or the acceptor is closed: at once, or later on another thread.
  /// Of several the one that came first has the first stream; it may still find that somebody else took it. Returns
  /// what `forget` takes.
  Waiter await(Wake wake);
  /// Whoever gives up waiting. False: its function was called already, or is being called; a stream that it leaves is
  /// then for the next one.
  bool forget(Waiter waiter);
  [[nodiscard]] bool closed() const;
  /// Streams that wait are reset with code 0.
  void close();

 private:
  /// The function of who has waited longest, who waits no more; an empty one when nobody does. With `mutex_` locked.
  Wake take_first_waiter();

  const Handler handler_;
  const std::size_t backlog_max_;
  std::recursive_mutex running_;  ///< Held while the handler runs.
  mutable std::mutex mutex_;
  bool closed_ = false;
  std::deque<std::shared_ptr<StreamCore>> waiting_;
  Waiter last_waiter_ = 0;
  std::map<Waiter, Wake> waiters_;  ///< In the order in which they came.
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
