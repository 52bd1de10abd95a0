// The sending end of copies: one stream to a node that takes files, and the conversation about each of them.
#pragma once

#include <barrel_p2p/node.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>

#include "cp_source.hpp"
#include "node/files/messages.hpp"
#include "node/files/sha256.hpp"

namespace barrel_p2p::command {

/// Why something was not copied.
struct CopyFailure {
  enum class Kind : std::uint8_t {
    file,   ///< Because of this file: others may succeed, over another stream.
    node,   ///< The node takes no files, or the disk is full: others would fail alike.
    again,  ///< The connection was lost, or the node is busy: it may succeed later.
  };
  Kind kind;
  std::string text;
};

template <class T>
using CopyOutcome = std::expected<T, CopyFailure>;

struct Copied {
  std::string path;  ///< Where it is now, from the receiver's directory on.
  std::uint64_t from = 0;
  files::Sha256Digest digest{};
};

/// Told of how much is there, at least five times a second.
struct CopyWatcher {
  std::function<void(std::uint64_t from)> begin;
  std::function<void(std::uint64_t bytes)> progress;
};

/// After a failure it is of no more use. For one thread.
class CopySender {
 public:
  /// `bytes_per_second`: at most, 0: as fast as it goes.
  static CopyOutcome<CopySender> open(Node& node, const NodeName& target, std::chrono::milliseconds limit,
                                      std::uint64_t bytes_per_second);
  ~CopySender();
  CopySender(CopySender&&) noexcept = default;
  CopySender& operator=(CopySender&&) noexcept = default;
  CopySender(const CopySender&) = delete;
  CopySender& operator=(const CopySender&) = delete;

  /// Offers the file as `offer` says and sends what the node does not have of it.
  CopyOutcome<Copied> send_file(const CopySource& source, files::Offer offer, const CopyWatcher& watcher);
  /// Has the directory made, and returns its path.
  CopyOutcome<std::string> make_directory(const files::Offer& offer);

 private:
  class Line;
  CopySender(std::shared_ptr<Line> line, std::uint64_t bytes_per_second) noexcept;
  CopyOutcome<void> send_data(const CopySource& source, std::uint64_t from, files::Sha256& hash,
                              const CopyWatcher& watcher);
  /// The hash of the first bytes of the file.
  CopyOutcome<files::Sha256> hash_beginning(const CopySource& source, std::uint64_t bytes);

  std::shared_ptr<Line> line_;
  std::uint64_t bytes_per_second_ = 0;
};

}  // namespace barrel_p2p::command
