// One stream of a sender of files, from its first offer to its end. Blocks for the network and the disk, so it has a
// thread of its own.
#pragma once

#include <atomic>
#include <barrel_p2p/node_config.hpp>
#include <barrel_p2p/streams.hpp>
#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <string>

#include "node/files/incoming_file.hpp"
#include "node/files/messages.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace files {

/// Since start. Read from any thread.
struct ReceiveCounters {
  std::atomic<std::uint64_t> files{0};
  std::atomic<std::uint64_t> bytes{0};    ///< Written, of whole files and others.
  std::atomic<std::uint64_t> refused{0};  ///< With a word.
  std::atomic<std::uint64_t> broken{0};   ///< The sender went in the middle of a file.
};

class Transfer {
 public:
  /// Told of each thing that is there now: its path and its bytes.
  using OnTaken = std::function<void(const std::string& path, std::uint64_t bytes)>;
  using OnRefused = std::function<void(const Refusal& refusal)>;

  Transfer(Stream& stream, const ReceiveConfig& config, const ReceiveDirectory& directory, ReceiveCounters& counters)
      : stream_(stream), config_(config), directory_(directory), counters_(counters) {}

  /// Returns when the sender has finished, is gone, or was refused; or when somebody resets the stream.
  void run(const OnTaken& taken, const OnRefused& refused);

 private:
  /// Why the conversation is over: a refusal that the sender is to be told, or nothing more to say.
  using Ending = std::optional<Refusal>;
  template <class T>
  using Step = std::expected<T, Ending>;

  /// The path of what is there now.
  Step<std::string> take(const Offer& offer);
  Step<std::string> take_file(Target target, const Offer& offer);
  Step<void> receive(IncomingFile& file, const Offer& offer);
  /// The next message that says something.
  Step<Message> next();
  template <class Wanted>
  Step<Wanted> expect();
  Step<void> say(const Message& message);
  /// The sender has to read it before the stream ends.
  void say_refusal(const Refusal& refusal);

  Stream& stream_;
  const ReceiveConfig& config_;
  const ReceiveDirectory& directory_;
  ReceiveCounters& counters_;
  MessageReader reader_;
  Bytes buffer_;
  ByteView rest_;  ///< Of the buffer.
};

}  // namespace files
}  // namespace v0
}  // namespace barrel_p2p
