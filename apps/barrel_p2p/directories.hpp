// Directories of a node as commands are given them.
#pragma once

#include <filesystem>
#include <string>

namespace barrel_p2p::command {

/// From the root on, so that it tells the directory wherever the command was started.
std::string absolute_text(const std::filesystem::path& directory);

}  // namespace barrel_p2p::command
