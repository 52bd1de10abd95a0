// Bytes inside of a buffer that somebody keeps alive.
#pragma once

#include <algorithm>
#include <barrel_p2p/bytes.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/recycler.hpp"

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
  /// For what is small: one piece of memory, which another thread may give back.
  [[nodiscard]] static SharedBytes copy_of(ByteView bytes) {
    auto own = std::allocate_shared_for_overwrite<std::uint8_t[]>(RecyclingAllocator<std::uint8_t>(), bytes.size());
    std::copy_n(bytes.data(), bytes.size(), own.get());  // g++ 12 makes a loop over bytes of std::ranges::copy
    const ByteView view(own.get(), bytes.size());
    return {view, std::move(own)};
  }
  [[nodiscard]] SharedBytes slice(std::size_t from, std::size_t count) const {
    return {view.subspan(from, count), owner};
  }
};

}  // namespace v0
}  // namespace barrel_p2p
