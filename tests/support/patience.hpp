// How tests wait: for events, and where there are none for conditions, with one bound for all of them.
#pragma once

#include <chrono>
#include <thread>

namespace barrel_p2p::test {

/// For anything that must come: far longer than it takes on a machine that does ten other things. Nobody waits so long
/// but a test that fails.
inline constexpr std::chrono::seconds patience{30};

/// Waits until the condition holds, for what tells nobody that it has changed.
template <class Condition>
bool becomes_true(Condition&& condition, std::chrono::milliseconds limit = patience) {
  constexpr std::chrono::milliseconds pause{5};
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(pause);
  }
  return true;
}

}  // namespace barrel_p2p::test
