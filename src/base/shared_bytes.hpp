// Bytes inside of a buffer that somebody keeps alive.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <memory>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {

struct SharedBytes {
  ByteView view;
  std::shared_ptr<const void> owner;

  SharedBytes() = default;
  SharedBytes(ByteView bytes, std::shared_ptr<const void> keeper) : view(bytes), owner(std::move(keeper)) {}
  /// Takes the bytes over.
  explicit SharedBytes(Bytes&& bytes) {
    auto own = std::make_shared<const Bytes>(std::move(bytes));
    view = *own;
    owner = std::move(own);
  }
  [[nodiscard]] SharedBytes slice(std::size_t from, std::size_t count) const {
    return {view.subspan(from, count), owner};
  }
};

}  // namespace v0
}  // namespace barrel_p2p
