// Plays the interaction scripts of overlay and gossip (story.hpp), and of the services on top (services_story.hpp).
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "sim/services_story.hpp"
#include "sim/story.hpp"
#include "support/script.hpp"

namespace barrel_p2p::sim {
namespace {

/// Those of the machines alone are played where these are tested.
std::vector<std::string> scripts() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(BARREL_P2P_INTERACTIONS_DIR)) {
    const std::string name = entry.path().stem().string();
    if (!name.starts_with("hyparview_")) names.push_back(name);
  }
  std::ranges::sort(names);
  return names;
}

class Interaction : public testing::TestWithParam<std::string> {};

TEST_P(Interaction, goes_as_the_script_tells) {
  const std::string name = GetParam() + ".txt";
  std::ifstream script(std::filesystem::path(BARREL_P2P_INTERACTIONS_DIR) / name);
  const bool overlay_alone = name.starts_with("overlay_") || name.starts_with("gossip_");
  const std::unique_ptr<Story> story = overlay_alone ? std::make_unique<Story>() : std::make_unique<ServicesStory>();
  test::compare_with_script(name, story->replay(script));
}
INSTANTIATE_TEST_SUITE_P(Scripts, Interaction, testing::ValuesIn(scripts()),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace barrel_p2p::sim
