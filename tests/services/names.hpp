// What the worlds of these tests have in common. `test::` means here what all tests have, and beside it what those of
// services have.
#pragma once

#include "base/clock.hpp"
#include "services/effects.hpp"  // opens the namespace in the inline one; nothing may open it outside before

namespace barrel_p2p::test {}

namespace barrel_p2p::services::test {
using namespace barrel_p2p::test;

inline constexpr WallMilliseconds start_wall = 1'764'000'000'000;
}  // namespace barrel_p2p::services::test
