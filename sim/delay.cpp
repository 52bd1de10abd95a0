#include "sim/delay.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace barrel_p2p {
inline namespace v0 {
namespace sim {
namespace {

SimTime scaled(SimTime span, double factor) {
  return SimTime(static_cast<SimTime::rep>(static_cast<double>(span.count()) * factor));
}

/// In (0, 1]: good for a logarithm.
double positive_unit(Prng& random) { return 1.0 - random.unit(); }

double standard_normal(Prng& random) {
  const double radius = std::sqrt(-2.0 * std::log(positive_unit(random)));
  return radius * std::cos(2.0 * std::numbers::pi * random.unit());
}

}  // namespace

SimTime uniform(Prng& random, SimTime span) { return scaled(span, random.unit()); }

SimTime Delay::draw(Prng& random) const {
  switch (kind) {
    case Kind::constant: return low;
    case Kind::uniform: return low + uniform(random, high - low);
    case Kind::exponential: return low + scaled(high - low, -std::log(positive_unit(random)));
    case Kind::log_normal: return std::max(low, scaled(high, std::exp(sigma * standard_normal(random))));
  }
  return low;
}

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
