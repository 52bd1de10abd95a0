#include "node/files/path_rules.hpp"

#include "base/printable.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace files {
namespace {

constexpr std::string_view partial_end = ".part";

bool has_controls(std::string_view text) noexcept {
  for (; !text.empty(); text.remove_prefix(1)) {
    if (control_size(text) > 0) return true;
  }
  return false;
}

}  // namespace

Result<void> check_name(std::string_view name) {
  if (name.empty()) return fail(Errc::invalid_argument, "an empty name");
  if (name == "." || name == "..") return fail(Errc::invalid_argument, "names may not be . or ..");
  if (name.size() > name_bytes_max) {
    return fail(Errc::invalid_argument, "a name of more than " + std::to_string(name_bytes_max) + " bytes");
  }
  if (name.contains('/')) return fail(Errc::invalid_argument, "a name with / in it");
  if (has_controls(name)) return fail(Errc::invalid_argument, "a name with control characters");
  if (name.starts_with('.') && name.ends_with(partial_end)) {
    return fail(Errc::invalid_argument, "names like .NAME.part are those of unfinished files");
  }
  return {};
}

Result<std::vector<std::string>> components_of(std::string_view path) {
  std::vector<std::string> names;
  if (path.empty()) return names;
  if (path.size() > path_bytes_max) {
    return fail(Errc::invalid_argument, "a path of more than " + std::to_string(path_bytes_max) + " bytes");
  }
  if (path.front() == '/') return fail(Errc::invalid_argument, "the path must be relative");
  for (;;) {
    const std::size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    if (auto checked = check_name(name); !checked) return std::unexpected(checked.error());
    if (names.size() == path_depth_max) {
      return fail(Errc::invalid_argument, "a path of more than " + std::to_string(path_depth_max) + " names");
    }
    names.emplace_back(name);
    if (slash == std::string_view::npos) return names;
    path.remove_prefix(slash + 1);
  }
}

std::string partial_name(std::string_view name) {
  std::string partial(".");
  partial += name;
  partial += partial_end;
  return partial;
}

}  // namespace files
}  // namespace v0
}  // namespace barrel_p2p
