#include "directories.hpp"

#include <system_error>

namespace barrel_p2p::command {

std::string absolute_text(const std::filesystem::path& directory) {
  std::error_code error;
  const auto absolute = std::filesystem::absolute(directory, error);
  return (error ? directory : absolute.lexically_normal()).string();
}

Result<void> must_exist(const std::filesystem::path& directory) {
  std::error_code error;
  if (std::filesystem::is_directory(directory, error)) return {};
  if (error == std::errc::permission_denied) {
    return fail(Errc::permission_denied,
                absolute_text(directory) + " is not for this user to see: be the user of the node, or root");
  }
  return fail(Errc::not_found, absolute_text(directory) + " does not exist: give the --data or --key-dir of the node");
}

}  // namespace barrel_p2p::command
