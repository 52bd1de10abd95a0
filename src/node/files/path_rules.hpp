// Which paths of other nodes are taken, as text: what is left names something below the directory of received files,
// provided that no component is followed that is a symbolic link. Pure.
#pragma once

#include <barrel_p2p/error.hpp>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {
namespace files {

inline constexpr std::size_t path_bytes_max = 1024;
inline constexpr std::size_t path_depth_max = 32;  ///< Components: as many directories are open while a path is walked.
/// A file system takes 255 bytes, and `.NAME.part` has to fit.
inline constexpr std::size_t name_bytes_max = 249;

/// One component of a path. Error: `invalid_argument`: empty, `.`, `..`, too long, with `/` or control characters, or
/// the name of an unfinished file.
Result<void> check_name(std::string_view name);
/// The components of a relative path; none for the empty path, which is the directory itself. Error:
/// `invalid_argument`: absolute, too long, too deep, or a component that `check_name` refuses.
Result<std::vector<std::string>> components_of(std::string_view path);
/// Where a file is until it is whole.
std::string partial_name(std::string_view name);

}  // namespace files
}  // namespace v0
}  // namespace barrel_p2p
