// Small pieces of memory that one thread takes and another one gives back.
//
// What a node does all day is that: the network thread makes the signals that workers consume, and workers make the
// messages that the network thread sends. An allocator that keeps a heap for each thread has both of them wait for one
// lock then, for each piece. Here each thread keeps what it gives back for itself, and hands it on by the batch.
//
// Pieces of more than `piece_bytes_max`, and all of them in builds with sanitizers, which want to see each, are left to
// `operator new`.
#pragma once

#include <cstddef>

namespace barrel_p2p {
inline namespace v0 {
namespace recycler {

constexpr std::size_t piece_bytes_max = 504;
/// Kept for use by all threads, of each of 31 sizes: about what a busy node has under way at a time.
constexpr std::size_t kept_bytes_max = 512UL * 1024;

/// Aligned as `operator new` does it, and throws what it throws. Thread safe, as is:
void* allocate(std::size_t bytes);
/// `bytes`: as many as were asked for.
void deallocate(void* piece, std::size_t bytes) noexcept;
/// Bytes that are kept for use by all threads now.
std::size_t kept_bytes() noexcept;

}  // namespace recycler

/// A class whose objects are made and destroyed by different threads.
struct Recycled {
  static void* operator new(std::size_t bytes) { return recycler::allocate(bytes); }
  static void* operator new(std::size_t /*bytes*/, void* place) noexcept { return place; }
  static void operator delete(void* piece, std::size_t bytes) noexcept { recycler::deallocate(piece, bytes); }
};

/// For `std::allocate_shared` and containers.
template <class T>
struct RecyclingAllocator {
  using value_type = T;

  RecyclingAllocator() = default;
  template <class U>
  explicit(false) RecyclingAllocator(const RecyclingAllocator<U>& /*other*/) noexcept {}
  T* allocate(std::size_t count) {
    static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);
    return static_cast<T*>(recycler::allocate(count * sizeof(T)));
  }
  void deallocate(T* piece, std::size_t count) noexcept { recycler::deallocate(piece, count * sizeof(T)); }
  friend bool operator==(const RecyclingAllocator& /*a*/, const RecyclingAllocator& /*b*/) noexcept { return true; }
};

}  // namespace v0
}  // namespace barrel_p2p
