// Expected output that people read: text files in tests/interactions.
#pragma once

#include <string>

namespace barrel_p2p::test {

/// Fails the running test unless `text` is what tests/interactions/NAME holds. With BARREL_P2P_REWRITE set in the
/// environment it writes the file instead: read the difference before you commit it.
void compare_with_script(const std::string& name, const std::string& text);

}  // namespace barrel_p2p::test
