#include "admin/metrics.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <sstream>
#include <string>

namespace barrel_p2p {
namespace {

using admin::Metric;
using admin::metrics;

std::string read(const std::string& file) {
  std::ifstream stream(file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// With one of everything that has a label.
admin::Snapshot snapshot() {
  admin::Snapshot snapshot;
  snapshot.maps.emplace_back();
  snapshot.maps.back().name = "we\"ird\\\nmap";
  snapshot.peers.emplace_back();
  snapshot.peers.back().name = "b@h";
  snapshot.peers.back().path.smoothed_rtt = std::chrono::microseconds(1500);
  snapshot.totals.dials = 7;
  return snapshot;
}

TEST(Metrics, have_names_units_and_help_as_the_conventions_of_prometheus_want) {
  std::set<std::string_view> names;
  for (const Metric& metric : metrics()) {
    EXPECT_TRUE(names.insert(metric.name).second) << metric.name << " is there twice";
    EXPECT_TRUE(std::regex_match(std::string(metric.name), std::regex("barrel_p2p(_[a-z0-9]+)+"))) << metric.name;
    EXPECT_EQ(metric.name.ends_with("_total"), metric.type == Metric::Type::counter) << metric.name;
    EXPECT_TRUE(metric.help.ends_with('.')) << metric.name;
    if (!metric.unit.empty()) {
      EXPECT_NE(metric.name.find("_" + std::string(metric.unit)), std::string_view::npos) << metric.name;
    }
  }
}

TEST(Metrics, every_line_is_of_the_exposition_format_and_every_metric_has_its_help_and_type) {
  const std::string text = admin::exposition(snapshot());
  const std::regex sample(R"re([a-z0-9_]+(\{[a-z]+="(\\.|[^"\\])*"\})? [0-9.e+-]+)re");
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_TRUE(line.starts_with("# HELP ") || line.starts_with("# TYPE ") || std::regex_match(line, sample)) << line;
  }
  for (const Metric& metric : metrics()) {
    EXPECT_NE(text.find("# TYPE " + std::string(metric.name) + " "), std::string::npos) << metric.name;
    EXPECT_TRUE(std::regex_search(text, std::regex("\n" + std::string(metric.name) + "[ {]")))
        << metric.name << " has no value";
  }
  EXPECT_NE(text.find("\nbarrel_p2p_dist_dials_total 7\n"), std::string::npos);
  EXPECT_NE(text.find("\nbarrel_p2p_peer_rtt_seconds{peer=\"b@h\"} 0.0015\n"), std::string::npos);
  EXPECT_NE(text.find(R"({map="we\"ird\\\nmap"})"), std::string::npos);
}

TEST(Metrics, of_peers_are_bounded_in_number_and_leave_visitors_out) {
  admin::Snapshot many;
  for (int number = 0; number < 1000; ++number) {
    many.peers.emplace_back();
    many.peers.back().name = "n" + std::to_string(number) + "@h";
    many.peers.back().hidden = number < 10;
  }
  const std::string text = admin::exposition(many);
  const std::regex series("\nbarrel_p2p_peer_streams\\{");
  const auto count = std::distance(std::sregex_iterator(text.begin(), text.end(), series), std::sregex_iterator());
  EXPECT_EQ(static_cast<std::size_t>(count), admin::peers_told_max);
  EXPECT_EQ(text.find("\"n9@h\""), std::string::npos);
  EXPECT_NE(text.find("\"n10@h\""), std::string::npos);
}

TEST(Metrics, the_document_is_what_the_code_says) {
  const std::string file = BARREL_P2P_DOCS_DIR "/metrics.md";
  if (std::getenv("BARREL_P2P_REWRITE") != nullptr) std::ofstream(file) << admin::metrics_document();
  EXPECT_EQ(read(file), admin::metrics_document()) << "renew it: BARREL_P2P_REWRITE=1 build/release/tests/test_admin";
}

TEST(Metrics, the_board_and_the_alerts_ask_for_metrics_that_there_are) {
  const std::string board = read(BARREL_P2P_DOCS_DIR "/grafana/barrel_p2p.json");
  const std::string alerts = read(BARREL_P2P_DOCS_DIR "/prometheus/alerts.yaml");
  ASSERT_FALSE(board.empty());
  ASSERT_FALSE(alerts.empty());
  const std::string asking = board + alerts;
  const std::regex name("barrel_p2p_[a-z0-9_]+");
  std::size_t asked = 0;
  for (std::sregex_iterator at(asking.begin(), asking.end(), name), end; at != end; ++at, ++asked) {
    EXPECT_TRUE(std::ranges::any_of(metrics(), [&](const Metric& metric) { return metric.name == at->str(); }))
        << at->str();
  }
  EXPECT_GT(asked, 20U);
}

}  // namespace
}  // namespace barrel_p2p
