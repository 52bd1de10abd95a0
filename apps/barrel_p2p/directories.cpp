#include "directories.hpp"

#include <system_error>

namespace barrel_p2p::command {

std::string absolute_text(const std::filesystem::path& directory) {
  std::error_code error;
  const auto absolute = std::filesystem::absolute(directory, error);
  return (error ? directory : absolute.lexically_normal()).string();
}

}  // namespace barrel_p2p::command
