#include "cp_progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <ostream>
#include <utility>

#include "command_line.hpp"
#include "complaint.hpp"
#include "json.hpp"

namespace barrel_p2p::command {
namespace {

using namespace std::chrono_literals;

constexpr auto show_period = 200ms;

std::size_t terminal_width() {
  constexpr std::size_t usual = 80;
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : usual;
}

template <class... Values>
std::string print(const char* format, Values... values) {
  std::array<char, 64> text{};
  const int size = std::snprintf(text.data(), text.size(), format, values...);
  return {text.data(), static_cast<std::size_t>(std::clamp(size, 0, static_cast<int>(text.size()) - 1))};
}

std::string time_left(double seconds) {
  constexpr double most = 99 * 3600.0;
  if (!(seconds < most)) return "--:--";
  constexpr int minute = 60;
  constexpr int hour = 3600;
  const auto left = static_cast<int>(std::ceil(seconds));
  if (left < hour) return print("%02d:%02d", left / minute, left % minute);
  return print("%d:%02d:%02d", left / hour, left % hour / minute, left % minute);
}

}  // namespace

std::string human_bytes(double bytes) {
  constexpr std::array<const char*, 6> units{"B", "kB", "MB", "GB", "TB", "PB"};
  constexpr double step = 1000;
  std::size_t unit = 0;
  // What would be printed as 1000 is 1.0 of the next unit.
  constexpr double almost = 999.5;
  while (bytes >= almost && unit + 1 < units.size()) {
    bytes /= step;
    ++unit;
  }
  constexpr double two_digits = 99.95;
  return print(unit == 0 || bytes >= two_digits ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

std::string progress_line(std::string_view name, const CopyProgress& progress, std::size_t width) {
  const double part = progress.total == 0
                          ? 1.0
                          : std::min(1.0, static_cast<double>(progress.bytes) / static_cast<double>(progress.total));
  const auto left = static_cast<double>(progress.total - std::min(progress.bytes, progress.total));
  const bool whole = progress.bytes >= progress.total;
  constexpr double hundred = 100;
  const std::string figures =
      print(" %3.0f%%  %8s  %8s/s  ", std::floor(hundred * part),
            human_bytes(static_cast<double>(progress.bytes)).c_str(), human_bytes(progress.rate).c_str()) +
      (whole ? time_left(0) : time_left(progress.rate > 0 ? left / progress.rate : HUGE_VAL));
  if (width <= figures.size() + 1) return figures.substr(0, width);
  std::size_t space = width - figures.size();
  constexpr std::size_t name_columns_max = 32;
  std::string line(name.substr(0, std::min(space, name_columns_max)));
  space -= line.size();
  constexpr std::size_t bar_columns_min = 8;
  constexpr std::size_t bar_columns_max = 40;
  constexpr std::size_t frame_columns = 3;  // a blank and two brackets
  if (space >= bar_columns_min + frame_columns) {
    const std::size_t columns = std::min(space - frame_columns, bar_columns_max);
    const auto filled = static_cast<std::size_t>(part * static_cast<double>(columns));
    line += " [" + std::string(filled, '#') + std::string(columns - filled, '.') + "]";
  }
  return line + figures;
}

void CopyReport::begin(std::string file, std::uint64_t from, std::uint64_t total) {
  file_ = std::move(file);
  from_ = shown_ = from;
  total_ = total;
  since_ = shown_at_ = Clock::now();
}

void CopyReport::progress(std::uint64_t bytes) {
  if (style_ == Style::silent || bytes == shown_ || Clock::now() - shown_at_ < show_period) return;
  show(bytes);
}

void CopyReport::show(std::uint64_t bytes) {
  shown_ = bytes;
  shown_at_ = Clock::now();
  const double seconds = std::chrono::duration<double>(shown_at_ - since_).count();
  const double rate = seconds > 0 ? static_cast<double>(bytes - std::min(from_, bytes)) / seconds : 0;
  if (style_ == Style::json) {
    output_ << R"({"event":"progress","file":)" << json_string(file_) << R"(,"bytes":)" << bytes << R"(,"total":)"
            << total_ << R"(,"rate":)" << static_cast<std::uint64_t>(rate) << '}' << std::endl;  // NOLINT: read at once
    return;
  }
  const std::size_t slash = file_.rfind('/');
  const std::string_view name =
      slash == std::string::npos ? std::string_view(file_) : std::string_view(file_).substr(slash + 1);
  // Behind it the rest of a longer line is erased; the last column stays free, or terminals begin a new line.
  errors_ << '\r' << progress_line(name, {bytes, total_, rate}, terminal_width() - 1) << "\x1b[K" << std::flush;
  line_open_ = true;
}

void CopyReport::end_line() {
  if (std::exchange(line_open_, false)) errors_ << '\n' << std::flush;
}

void CopyReport::done(const std::string& to, const std::string& sha256) {
  if (style_ == Style::bar) show(total_);
  end_line();
  if (style_ != Style::json) return;
  const auto time = std::chrono::duration<double>(Clock::now() - since_).count();
  output_ << R"({"event":"done","file":)" << json_string(file_) << R"(,"to":)" << json_string(to) << R"(,"bytes":)"
          << total_ << R"(,"resumed_from":)" << from_ << R"(,"sha256":")" << sha256 << R"(","seconds":)"
          << print("%.3f", time) << '}' << std::endl;  // NOLINT: read at once
}

void CopyReport::retry(const std::string& reason, std::chrono::milliseconds pause) {
  end_line();
  if (style_ == Style::json) {
    output_ << R"({"event":"retry","reason":)" << json_string(reason) << R"(,"pause_ms":)" << pause.count() << '}'
            << std::endl;  // NOLINT: read at once
  } else if (style_ == Style::bar) {
    errors_ << "barrel_p2p cp: " << reason << ": trying again\n";
  }
}

void CopyReport::failed(const std::string& file, const std::string& reason) {
  end_line();
  if (style_ == Style::json) {
    output_ << R"({"event":"error","file":)" << json_string(file) << R"(,"reason":)" << json_string(reason) << '}'
            << std::endl;  // NOLINT: read at once
  }
  const Complaints complaints{errors_, "cp", style_ == Style::json};
  complaints.tell(exit_failed, (file.empty() ? "" : file + ": ") + reason);
  errors_ << std::flush;
}

}  // namespace barrel_p2p::command
