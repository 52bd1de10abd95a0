// The file that is copied: read from its beginning to its end, and seen to stay what it was.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <cstdint>
#include <ctime>
#include <expected>
#include <filesystem>
#include <span>
#include <string>
#include <utility>

#include "node/files/descriptor.hpp"
#include "node/files/messages.hpp"

namespace barrel_p2p::command {

class CopySource {
 public:
  /// A regular file, or a link to one. Why not is a sentence for the user.
  static std::expected<CopySource, std::string> open(const std::filesystem::path& file);

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// Size, permissions and time of the offer.
  void describe(files::Offer& offer) const;
  /// Fills all of `out` from `at` on. Also fails when the file is another one than when it was opened.
  std::expected<void, std::string> read(std::uint64_t at, std::span<std::uint8_t> out) const;
  /// Whether size and time are those that it had when it was opened.
  [[nodiscard]] std::expected<void, std::string> check_unchanged() const;

 private:
  CopySource(files::Descriptor descriptor, std::uint64_t size, std::uint32_t mode, timespec modified) noexcept
      : descriptor_(std::move(descriptor)), size_(size), mode_(mode), modified_(modified) {}
  files::Descriptor descriptor_;
  std::uint64_t size_;
  std::uint32_t mode_;
  timespec modified_;
};

}  // namespace barrel_p2p::command
