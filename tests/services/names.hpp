// `test::` means here what all tests have, and beside it what those of services have.
#pragma once

namespace barrel_p2p::test {}

namespace barrel_p2p::services::test {
using namespace barrel_p2p::test;
}
