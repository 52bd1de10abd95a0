// In place of the generated file, where the page is not built in.
#include "admin/page.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace admin {

std::span<const PageFile> page_files() noexcept { return {}; }

}  // namespace admin
}  // namespace v0
}  // namespace barrel_p2p
