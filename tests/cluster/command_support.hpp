// The barrel_p2p command for tests: started as an operator starts it, with directories that vanish with the test.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cluster/subprocess.hpp"
#include "support/scratch.hpp"

namespace barrel_p2p::test {

struct Outcome {
  int status;
  std::string output;
  std::string errors;
};

class Command : public testing::Test {
 protected:
  Command() { ::setenv("XDG_DATA_HOME", (root / "home").c_str(), 1); }

  [[nodiscard]] std::string path(const std::string& name) const { return (root / name).string(); }

  static Outcome run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), BARREL_P2P_COMMAND);
    Subprocess process(std::move(arguments));
    const int status = process.wait();
    return {status, process.output(), process.errors()};
  }
  [[nodiscard]] std::unique_ptr<Subprocess> start_node(const std::string& name,
                                                       std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments{BARREL_P2P_COMMAND, "node",     "--name",          name + "@127.0.0.1",
                                       "--data",           path(name), "--discovery-dir", path("discovery")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    if (std::ranges::find(more, "--cookie") == more.end()) arguments.insert(arguments.end(), {"--cookie", "test"});
    auto node = std::make_unique<Subprocess>(std::move(arguments));
    if (!node->says("is ready")) throw std::runtime_error("the node does not start: " + node->errors());
    return node;
  }
  [[nodiscard]] Outcome call(const std::string& node, std::vector<std::string> what) const {
    std::vector<std::string> arguments{"call", node + "@127.0.0.1"};
    arguments.insert(arguments.end(), what.begin(), what.end());
    arguments.insert(arguments.end(), {"--discovery-dir", path("discovery"), "--cookie", "test"});
    return run(std::move(arguments));
  }

  const test::ScratchDirectory scratch;
  const std::filesystem::path& root = scratch.path();
};

}  // namespace barrel_p2p::test
