// The nodes that a node had to do with, on disk, so that it finds the cluster again after a restart.
//
//   DATA/peers    barrel_p2p peers 1
//                 NAME@HOST [ADDRESS:PORT]     one line a node, the best one first
//
// Written in one step: a crash leaves the old file or the new one.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/term.hpp>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

/// A node that is worth to be tried.
struct KnownPeer {
  Atom node;
  std::string address;  ///< `host:port` where it was met last; may be empty.
  friend bool operator==(const KnownPeer&, const KnownPeer&) = default;
};

inline constexpr std::size_t known_peers_max = 1024;  ///< Views hold fewer; more lines are not read.

/// Nothing when there is no file. A line that is no peer is skipped; `warn` gets a sentence with file and line. Errors:
/// `io_error`, `permission_denied`, `corrupt` (not such a file), with what to do.
Result<std::vector<KnownPeer>> read_peers(const std::filesystem::path& file,
                                          const std::function<void(const std::string&)>& warn);
/// Makes the directory if need be. Blocks for the disk.
Result<void> write_peers(const std::filesystem::path& file, const std::vector<KnownPeer>& peers);

/// Writes on a thread of its own; of several lists that wait only the last one is written. Thread safe.
class PeersWriter {
 public:
  /// `failed` gets the error of each write that failed after one that did not, on the writer's thread. What could not
  /// be written is tried again after `retry_after`.
  PeersWriter(std::filesystem::path file, std::function<void(const Error&)> failed,
              Milliseconds retry_after = std::chrono::minutes(1));
  /// Writes what waits, once.
  ~PeersWriter();
  PeersWriter(const PeersWriter&) = delete;
  PeersWriter& operator=(const PeersWriter&) = delete;

  void write(std::vector<KnownPeer> peers);

 private:
  void run();

  const std::filesystem::path file_;
  const std::function<void(const Error&)> failed_;
  const Milliseconds retry_after_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<std::vector<KnownPeer>> waiting_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
