#include "sim/report.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <ostream>
#include <tuple>

namespace barrel_p2p {
inline namespace v0 {
namespace sim {
namespace {

// Sizes in SVG units.
constexpr double chart_width = 720;
constexpr double chart_height = 360;
constexpr double left_margin = 70;
constexpr double right_margin = 150;
constexpr double top_margin = 40;
constexpr double bottom_margin = 50;
constexpr double plot_width = chart_width - left_margin - right_margin;
constexpr double plot_height = chart_height - top_margin - bottom_margin;
constexpr int ticks_wanted = 5;
/// Okabe and Ito's colours, which colour-blind people tell apart, without those that vanish on white or black.
constexpr std::array colours{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f"};

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char letter : text) quoted.append(letter == '"' ? 2 : 1, letter);
  return quoted + '"';
}

std::string xml(const std::string& text) {
  std::string safe;
  for (const char letter : text) {
    switch (letter) {
      case '<': safe += "&lt;"; break;
      case '>': safe += "&gt;"; break;
      case '&': safe += "&amp;"; break;
      default: safe += letter;
    }
  }
  return safe;
}

struct Axis {
  double low = 0;
  double high = 1;
  double step = 1;
};

/// Round numbers around the values.
Axis axis_of(double low, double high) {
  if (high <= low) high = low + 1;
  const double rough = (high - low) / ticks_wanted;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = power;
  for (const double factor : {1.0, 2.0, 5.0, 10.0}) {
    step = factor * power;
    if (step >= rough) break;
  }
  return {std::floor(low / step) * step, std::ceil(high / step) * step, step};
}

std::pair<Axis, Axis> axes_of(const Chart& chart) {
  double x_low = HUGE_VAL;
  double x_high = -HUGE_VAL;
  double y_low = 0;
  double y_high = -HUGE_VAL;
  for (const Series& series : chart.series) {
    for (const auto& [x, y] : series.points) {
      x_low = std::min(x_low, x);
      x_high = std::max(x_high, x);
      y_low = std::min(y_low, y);
      y_high = std::max(y_high, y);
    }
  }
  if (x_low > x_high) return {Axis{}, Axis{}};
  if (chart.bars) {
    x_low -= 1;
    x_high += 1;
  }
  return {axis_of(x_low, x_high), axis_of(y_low, y_high)};
}

class Plot {
 public:
  Plot(const Chart& chart, double top, std::ostream& out) : chart_(chart), top_(top), out_(out) {
    std::tie(x_, y_) = axes_of(chart);
  }
  void draw() {
    label(left_margin, top_ + 24, "start", "class=\"title\"", chart_.title);
    for (double at = y_.low; at <= y_.high + y_.step / 2; at += y_.step) {
      line(left_margin, y_of(at), left_margin + plot_width, y_of(at), "class=\"grid\"");
      label(left_margin - 8, y_of(at) + 4, "end", "", number_text(at));
    }
    for (double at = x_.low; at <= x_.high + x_.step / 2; at += x_.step)
      label(x_of(at), bottom() + 18, "middle", "", number_text(at));
    label(left_margin + plot_width / 2, bottom() + 38, "middle", "", chart_.x_label);
    label(left_margin, top_ + top_margin - 4, "start", "", chart_.y_label);
    line(left_margin, bottom(), left_margin + plot_width, bottom(), "class=\"axis\"");
    chart_.bars ? draw_bars() : draw_lines();
  }

 private:
  [[nodiscard]] double bottom() const { return top_ + top_margin + plot_height; }
  [[nodiscard]] double x_of(double x) const { return left_margin + (x - x_.low) / (x_.high - x_.low) * plot_width; }
  [[nodiscard]] double y_of(double y) const { return bottom() - (y - y_.low) / (y_.high - y_.low) * plot_height; }
  void line(double x1, double y1, double x2, double y2, const char* attributes) {
    out_ << "<line x1=\"" << number_text(x1) << "\" y1=\"" << number_text(y1) << "\" x2=\"" << number_text(x2)
         << "\" y2=\"" << number_text(y2) << "\" " << attributes << "/>\n";
  }
  void label(double x, double y, const char* anchor, const char* attributes, const std::string& text) {
    out_ << "<text x=\"" << number_text(x) << "\" y=\"" << number_text(y) << "\" text-anchor=\"" << anchor << "\" "
         << attributes << '>' << xml(text) << "</text>\n";
  }
  void draw_bars() {
    if (chart_.series.empty()) return;
    const double width = std::max(1.0, plot_width / (x_.high - x_.low) * 0.8);
    for (const auto& [x, y] : chart_.series.front().points) {
      out_ << "<rect x=\"" << number_text(x_of(x) - width / 2) << "\" y=\"" << number_text(y_of(y)) << "\" width=\""
           << number_text(width) << "\" height=\"" << number_text(bottom() - y_of(y)) << "\" fill=\"" << colours[0]
           << "\"/>\n";
    }
  }
  void draw_lines() {
    double legend = top_ + top_margin + 10;
    for (std::size_t number = 0; number < chart_.series.size(); ++number) {
      const Series& series = chart_.series[number];
      const std::string colour = colours[number % colours.size()];
      out_ << "<polyline fill=\"none\" stroke-width=\"2\" stroke=\"" << colour << "\" points=\"";
      for (const auto& [x, y] : series.points) out_ << number_text(x_of(x)) << ',' << number_text(y_of(y)) << ' ';
      out_ << "\"/>\n";
      for (const auto& [x, y] : series.points)
        out_ << "<circle r=\"3\" cx=\"" << number_text(x_of(x)) << "\" cy=\"" << number_text(y_of(y)) << "\" fill=\""
             << colour << "\"/>\n";
      const std::string fill = "style=\"fill:" + colour + "\"";
      label(left_margin + plot_width + 12, legend, "start", fill.c_str(), series.name);
      legend += 18;
    }
  }

  const Chart& chart_;
  double top_;
  std::ostream& out_;
  Axis x_;
  Axis y_;
};

}  // namespace

std::string number_text(double value) {
  std::array<char, 64> text{};
  const int size = std::snprintf(text.data(), text.size(), "%.4f", value);
  std::string number(text.data(), static_cast<std::size_t>(std::max(0, size)));
  number.erase(number.find_last_not_of('0') + 1);
  if (number.ends_with('.')) number.pop_back();
  return number == "-0" ? "0" : number;
}

void write_text(const Report& report, std::ostream& out) {
  for (const Table& table : report.tables) {
    std::vector<std::size_t> widths;
    for (std::size_t column = 0; column < table.columns.size(); ++column) {
      widths.push_back(table.columns[column].size());
      for (const auto& row : table.rows) widths[column] = std::max(widths[column], row[column].size());
    }
    const auto write_row = [&](const std::vector<std::string>& row) {
      for (std::size_t column = 0; column < row.size(); ++column) {
        const std::string fill(widths[column] - row[column].size(), ' ');
        // Names to the left, numbers to the right.
        out << (column == 0 ? "" : "  ") << (column == 0 ? row[column] + fill : fill + row[column]);
      }
      out << '\n';
    };
    out << table.title << '\n';
    write_row(table.columns);
    for (const auto& row : table.rows) write_row(row);
    out << '\n';
  }
}

void write_csv(const Report& report, std::ostream& out) {
  const auto write_row = [&](const std::vector<std::string>& row) {
    for (std::size_t column = 0; column < row.size(); ++column)
      out << (column == 0 ? "" : ",") << csv_cell(row[column]);
    out << '\n';
  };
  for (const Table& table : report.tables) {
    out << "# " << table.title << '\n';
    write_row(table.columns);
    for (const auto& row : table.rows) write_row(row);
  }
}

void write_svg(const Report& report, std::ostream& out) {
  const double height = chart_height * static_cast<double>(std::max<std::size_t>(1, report.charts.size()));
  out << "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " << number_text(chart_width) << ' '
      << number_text(height) << "\" font-family=\"sans-serif\" font-size=\"12\">\n"
      << "<style>text{fill:#7f7f7f}.title{font-size:15px;font-weight:bold}.grid{stroke:#7f7f7f;stroke-opacity:.25}"
         ".axis{stroke:#7f7f7f}</style>\n";
  double top = 0;
  for (const Chart& chart : report.charts) {
    Plot(chart, top, out).draw();
    top += chart_height;
  }
  out << "</svg>\n";
}

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
