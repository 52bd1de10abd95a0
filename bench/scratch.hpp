// Where the nodes of a bench keep what they have, and how they are set up.
#pragma once

#include <unistd.h>

#include <barrel_p2p/node_config.hpp>
#include <filesystem>
#include <string>
#include <system_error>

namespace barrel_p2p::bench {

/// Of a node on loopback that measures nothing but what it is asked: one worker, no log. Its data is below `root`.
inline NodeConfig config_of(const std::string& name, const std::filesystem::path& root) {
  NodeConfig config;
  config.name = name + "@127.0.0.1";
  config.cookie = "figures";
  config.data_dir = root / name;
  config.discovery_dir = root / "discovery";
  config.discovery_backends = {"file"};
  config.workers = 1;
  config.log_level = LogLevel::off;
  return config;
}

/// A directory of this process, removed at the end.
class Scratch {
 public:
  Scratch() { std::filesystem::create_directories(root); }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(root, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  [[nodiscard]] NodeConfig config(const std::string& name) const { return config_of(name, root); }

  const std::filesystem::path root =
      std::filesystem::temp_directory_path() / ("barrel_p2p-figures-" + std::to_string(::getpid()));
};

}  // namespace barrel_p2p::bench
