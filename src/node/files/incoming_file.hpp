// What becomes of an offer on the disk: where it goes, the file that is not whole yet, and the step that makes it one.
//
// Nothing outside of the directory of received files is touched: each component of a path is opened by itself, from the
// directory before it, and a symbolic link is followed nowhere. Devices, pipes and the like are neither written nor
// replaced. A file grows as `.NAME.part`, which its owner alone may read, and takes its name in one step when its hash
// is right and all of it is on the disk. Two transfers cannot write one file: it is locked.
//
// Functions block for the disk. An object is for one thread at a time.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <functional>
#include <span>
#include <string>

#include "node/files/descriptor.hpp"
#include "node/files/messages.hpp"
#include "node/files/sha256.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace files {

/// Why not is what the sender is told.
template <class T>
using Taken = std::expected<T, Refusal>;

/// Where an offer goes.
struct Target {
  Descriptor directory;
  std::string name;  ///< In it.
  std::string path;  ///< From the directory of received files.
};

class ReceiveDirectory {
 public:
  /// Error: `invalid_config`: it cannot be opened, or not be written to.
  static Result<ReceiveDirectory> open(const std::filesystem::path& path);

  /// Finds the place of what is offered. Refuses with `path` and `exists`.
  [[nodiscard]] Taken<Target> resolve(const Offer& offer) const;
  /// Makes the directory that is offered, unless it is there; it is on the disk when this returns. Refuses with
  /// `no_room` and `io`.
  [[nodiscard]] static Taken<void> make_directory(const Target& target, const Offer& offer);
  /// Bytes that may be written until `left_free` are left. Not a promise: others write too.
  [[nodiscard]] std::uint64_t room(std::uint64_t left_free) const;

 private:
  explicit ReceiveDirectory(Descriptor root) noexcept : root_(std::move(root)) {}
  [[nodiscard]] Taken<Descriptor> walk(std::span<const std::string> names) const;
  Descriptor root_;
};

class IncomingFile {
 public:
  /// Opens what an earlier attempt left, or an empty file, and locks it. Refuses with `busy`, `path` and `io`.
  static Taken<IncomingFile> open(Target target, const Offer& offer);
  /// What is there stays, unless it is nothing.
  ~IncomingFile();
  IncomingFile(IncomingFile&&) noexcept = default;
  IncomingFile& operator=(IncomingFile&&) = delete;
  IncomingFile(const IncomingFile&) = delete;
  IncomingFile& operator=(const IncomingFile&) = delete;

  /// Bytes that are there.
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// Reads what is there, so that the hash covers it; calls `working` from time to time, and stops when that is false.
  [[nodiscard]] Taken<Sha256Digest> hash_what_is_there(const std::function<bool()>& working);
  /// Forgets what is there.
  [[nodiscard]] Taken<void> begin_anew();
  /// Behind what is there. Waits for the disk when much is on the way to it. Refuses with `no_room` and `io`.
  [[nodiscard]] Taken<void> write(ByteView bytes);
  /// The last step: all of it is on the disk under its name when this returns. Refuses with `mismatch`, and then it is
  /// gone; `exists`, `no_room`, `io`.
  [[nodiscard]] Taken<void> commit(const Sha256Digest& expected);

 private:
  IncomingFile(Target target, const Offer& offer, Descriptor file, std::uint64_t size);
  [[nodiscard]] Taken<void> sync_behind();
  [[nodiscard]] Taken<void> rename();

  Target target_;
  Offer offer_;
  std::string partial_;
  Descriptor file_;
  std::uint64_t size_ = 0;
  std::uint64_t synced_ = 0;  ///< Bytes whose way to the disk has begun.
  bool settled_ = false;      ///< It has its name, or was removed.
  Sha256 hash_;
};

}  // namespace files
}  // namespace v0
}  // namespace barrel_p2p
