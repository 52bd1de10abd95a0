#include "support/script.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace barrel_p2p::test {

void compare_with_script(const std::string& name, const std::string& text) {
  const auto path = std::filesystem::path(BARREL_P2P_INTERACTIONS_DIR) / name;
  if (std::getenv("BARREL_P2P_REWRITE") != nullptr) {
    std::ofstream(path) << text;
    return;
  }
  std::stringstream expected;
  expected << std::ifstream(path).rdbuf();
  EXPECT_EQ(expected.str(), text) << "to accept it: BARREL_P2P_REWRITE=1, then read the difference of " << path;
}

}  // namespace barrel_p2p::test
