// Results of a run: tables and charts, as text, CSV and SVG.
#pragma once

#include <iosfwd>
#include <string>
#include <utility>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

/// At most four digits behind the point, without zeros at the end.
std::string number_text(double value);

struct Table {
  std::string title;
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;  ///< As long as `columns`.
};

struct Series {
  std::string name;
  std::vector<std::pair<double, double>> points;
};

struct Chart {
  std::string title;
  std::string x_label;
  std::string y_label;
  std::vector<Series> series;
  bool bars = false;  ///< A histogram; takes the first series.
};

struct Report {
  std::vector<Table> tables;
  std::vector<Chart> charts;
};

void write_text(const Report& report, std::ostream& out);
/// One block per table: a line `# title`, the names of the columns, the rows.
void write_csv(const Report& report, std::ostream& out);
/// All charts below each other in one picture that is readable on light and on dark ground.
void write_svg(const Report& report, std::ostream& out);

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
