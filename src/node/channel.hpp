// What inputs of peers are held back by.
#pragma once

#include <barrel_p2p/term.hpp>
#include <cstdint>

namespace barrel_p2p {
inline namespace v0 {
namespace node {

/// A connection to a node, told apart from those before and after it.
struct Channel {
  Atom node;
  std::uint64_t epoch = 0;
};

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
