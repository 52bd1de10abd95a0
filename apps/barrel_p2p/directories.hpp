// Directories of a node as commands are given them.
#pragma once

#include <barrel_p2p/error.hpp>
#include <filesystem>
#include <string>

namespace barrel_p2p::command {

/// From the root on, so that it tells the directory wherever the command was started.
std::string absolute_text(const std::filesystem::path& directory);
/// That it is there: `not_found` and `permission_denied` say what to do.
Result<void> must_exist(const std::filesystem::path& directory);

}  // namespace barrel_p2p::command
