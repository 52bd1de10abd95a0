// `barrel_p2p chaos` as its users run it, for a short while.
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "cluster/command_support.hpp"
#include "support/json.hpp"
#include "support/sanitized.hpp"

namespace barrel_p2p::test {
namespace {

class Chaos : public Command {
 protected:
  /// A good run ends when all is well, however slow the machine is.
  [[nodiscard]] Outcome torment(std::vector<std::string> more) const {
    std::vector<std::string> arguments{BARREL_P2P_COMMAND, "chaos",      "--dir", path("run"),
                                       "--json",           "--patience", "2min"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    Subprocess process(std::move(arguments));
    const int status = process.wait(std::chrono::seconds(280));
    return {status, process.output(), process.errors()};
  }
};

TEST_F(Chaos, five_nodes_that_are_tormented_for_a_while_keep_every_promise) {
  const auto outcome =
      torment({"--duration", sanitized ? "10s" : "20s", "--nodes", sanitized ? "3" : "5", "--seed", "21"});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const auto told = parse_json(outcome.output);
  EXPECT_TRUE(told["violations"].items.empty());
  EXPECT_GT(told["faults"]["kill"].number(), 0);
  EXPECT_GT(told["faults"]["clock"].number(), 0);
  if (outcome.output.find("left_out") == std::string::npos) {
    EXPECT_GT(told["faults"]["disk_full"].number(), 0);
    EXPECT_GT(told["failed"]["put"].number(), 0);
  }
  for (const auto* operation : {"put", "enlist", "elected", "remind", "told", "send", "heard"}) {
    EXPECT_GT(told["operations"][operation].number(), 0) << operation;
  }
  EXPECT_FALSE(std::filesystem::exists(path("run"))) << "nothing is kept of a good run";
}

TEST_F(Chaos, calms_last_long_enough_to_see_a_reminder_told_twice_and_end_before_nodes_do) {
  const auto outcome = torment({"--duration", "1s", "--nodes", "3", "--faults", "clock", "--keep"});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  constexpr std::int64_t lease_and_handover = 4'100'000;
  std::int64_t told = 0;
  bool calm = false;
  std::size_t calms = 0;
  std::ifstream file(path("run") + "/history");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::int64_t time = 0;
    std::string node;
    std::string life;
    std::string word;
    ASSERT_TRUE(words >> time >> node >> life >> word) << line;
    if (word == "calm") {
      calm = true;
      told = 0;
    } else if (word == "told") {
      told = time;
    } else if (word == "trouble" && calm) {
      EXPECT_GT(told, 0) << line;
      EXPECT_GE(time - told, lease_and_handover) << line;
      calm = false;
      ++calms;
    }
    EXPECT_FALSE(calm && word == "killed") << line;
  }
  EXPECT_EQ(calms, 2U);
}

TEST_F(Chaos, a_directory_that_holds_something_is_refused) {
  std::filesystem::create_directories(path("run"));
  std::ofstream(path("run") + "/mine") << "precious";
  const auto outcome = torment({});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_NE(outcome.errors.find("is not empty"), std::string::npos) << outcome.errors;
  EXPECT_TRUE(std::filesystem::exists(path("run") + "/mine"));
}

TEST_F(Chaos, a_fault_that_is_none_is_refused) { EXPECT_EQ(torment({"--faults", "kill,weather"}).status, 2); }

TEST_F(Chaos, a_duration_that_is_none_is_refused) { EXPECT_EQ(torment({"--duration", "soon"}).status, 2); }

}  // namespace
}  // namespace barrel_p2p::test
