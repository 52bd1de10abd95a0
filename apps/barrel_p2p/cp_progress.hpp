// How far a copy is, for people on a terminal and for programs.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>

namespace barrel_p2p::command {

struct CopyProgress {
  std::uint64_t bytes = 0;  ///< At the other node, those of an earlier attempt included.
  std::uint64_t total = 0;
  double rate = 0;  ///< Bytes a second.
};

/// `12.3 MB`: three digits or so, in powers of 1000.
std::string human_bytes(double bytes);
/// One line of at most `width` columns: name, bar, per cent, bytes, rate, time left.
std::string progress_line(std::string_view name, const CopyProgress& progress, std::size_t width);

/// What the command says while it works. Not thread safe.
class CopyReport {
 public:
  enum class Style : std::uint8_t {
    silent,  ///< Errors only.
    bar,     ///< A line that is drawn again and again, on a terminal.
    json,    ///< One object a line.
  };

  CopyReport(Style style, std::ostream& output, std::ostream& errors) noexcept
      : style_(style), output_(output), errors_(errors) {}

  void begin(std::string file, std::uint64_t from, std::uint64_t total);
  /// As often as one likes: what is shown changes five times a second at most.
  void progress(std::uint64_t bytes);
  void done(const std::string& to, const std::string& sha256);
  /// The command tries again after `pause`.
  void retry(const std::string& reason, std::chrono::milliseconds pause);
  void failed(const std::string& file, const std::string& reason);

 private:
  using Clock = std::chrono::steady_clock;
  void show(std::uint64_t bytes);
  void end_line();

  const Style style_;
  std::ostream& output_;
  std::ostream& errors_;
  std::string file_;
  std::uint64_t from_ = 0;
  std::uint64_t total_ = 0;
  std::uint64_t shown_ = 0;
  Clock::time_point since_{};
  Clock::time_point shown_at_{};
  bool line_open_ = false;
};

}  // namespace barrel_p2p::command
