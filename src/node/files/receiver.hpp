// Takes files from other nodes into one directory: the other end of `barrel_p2p cp`.
//
// Each stream with the tag of copies has a thread while it lasts, at most `receive.transfers_max` of them. Thread safe.
#pragma once

#include <barrel_p2p/node.hpp>
#include <barrel_p2p/streams.hpp>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.hpp"
#include "node/files/incoming_file.hpp"
#include "node/files/transfer.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace files {

/// Error: `invalid_config`: the directory that peers write to holds something that the node keeps for itself (`data` or
/// one of `own`), or lies in one of `own`: whoever may write among pinned keys pins one. Below `data` is room for it.
Result<void> check_apart(const std::filesystem::path& received, const std::filesystem::path& data,
                         const std::vector<std::filesystem::path>& own);

class FileReceiver {
 public:
  using Accept = std::function<Result<StreamAcceptor>(const std::string& tag, StreamCallback on_stream)>;

  /// Error: `invalid_config`: the directory is not there or cannot be written to.
  static Result<std::unique_ptr<FileReceiver>> open(ReceiveConfig config, Logger logger);
  ~FileReceiver() { stop(); }
  FileReceiver(const FileReceiver&) = delete;
  FileReceiver& operator=(const FileReceiver&) = delete;

  /// Takes streams from now on.
  Result<void> start(const Accept& accept);
  /// Ends all transfers, and returns when their threads have ended. What has arrived stays for the next attempt.
  void stop();
  [[nodiscard]] ReceiveStatistics statistics() const;

 private:
  struct Running {
    explicit Running(Stream own) : stream(std::move(own)) {}
    Stream stream;
    std::thread thread;
    bool ended = false;
  };

  FileReceiver(ReceiveConfig config, ReceiveDirectory directory, Logger logger)
      : config_(std::move(config)), directory_(std::move(directory)), logger_(std::move(logger)) {}
  /// On the network thread.
  void begin(Stream stream);
  void run(Running& running);
  static void refuse_busy(Stream stream);
  /// Takes those that have ended out of the list.
  std::list<Running> reap();

  const ReceiveConfig config_;
  const ReceiveDirectory directory_;
  const Logger logger_;
  RateLimit log_limit_{20, std::chrono::seconds(1)};
  ReceiveCounters counters_;
  std::optional<StreamAcceptor> acceptor_;
  mutable std::mutex mutex_;
  std::list<Running> running_;
  bool stopping_ = false;
};

}  // namespace files
}  // namespace v0
}  // namespace barrel_p2p
