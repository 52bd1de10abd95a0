#include "base/flight_recorder.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace barrel_p2p {
namespace {

using Kind = FlightEntry::Kind;

std::vector<std::string> reasons(const std::vector<FlightEntry>& entries) {
  std::vector<std::string> list;
  for (const auto& entry : entries) list.push_back(entry.reason);
  return list;
}

TEST(FlightRecorder, a_noisy_peer_does_not_push_out_what_happened_to_others) {
  FlightRecorder recorder({.entries_max = 3, .entries_per_peer_max = 2});
  recorder.record(Kind::refused, "quiet@h", "once");
  for (const auto* reason : {"1", "2", "3", "4"}) recorder.record(Kind::dial_failed, "noisy@h", reason);
  EXPECT_EQ(reasons(recorder.of("quiet@h")), (std::vector<std::string>{"once"}));
  EXPECT_EQ(reasons(recorder.of("noisy@h")), (std::vector<std::string>{"3", "4"}));
  EXPECT_EQ(reasons(recorder.all()), (std::vector<std::string>{"once", "2", "3", "4"}));
  EXPECT_EQ(reasons(recorder.after(3)), (std::vector<std::string>{"3", "4"}));
}

TEST(FlightRecorder, the_peer_that_was_quiet_for_longest_is_forgotten_first) {
  FlightRecorder recorder({.entries_max = 1, .peers_max = 2});
  recorder.record(Kind::up, "a@h");
  recorder.record(Kind::up, "b@h");
  recorder.record(Kind::down, "a@h");
  recorder.record(Kind::up, "c@h");
  EXPECT_TRUE(recorder.of("b@h").empty());
  EXPECT_EQ(recorder.of("a@h").size(), 2U);
}

TEST(FlightRecorder, reasons_are_cut) {
  FlightRecorder recorder({.reason_bytes_max = 4});
  recorder.record(Kind::refused, "a@h", "a long story");
  EXPECT_EQ(recorder.of("a@h").front().reason, "a lo");
}

TEST(FlightRecorder, a_line_for_people_has_time_kind_peer_and_reason) {
  FlightEntry entry;
  entry.time = std::chrono::sys_time<std::chrono::milliseconds>(std::chrono::milliseconds(1'700'000'000'042));
  entry.kind = Kind::neighbour_lost;
  entry.peer = "a@h";
  entry.reason = "dropped";
  EXPECT_EQ(to_text(entry), "2023-11-14T22:13:20.042Z neighbour_lost a@h dropped");
}

}  // namespace
}  // namespace barrel_p2p
