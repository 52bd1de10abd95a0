// The memory of one connection of ngtcp2: whatever the library still holds when it ends is freed then.
//
// ngtcp2 forgets pieces of streams: one that was made for many parts and lost some of them, as when it is sent again,
// is taken for one of its pool and never freed (`ngtcp2_frame_chain_objalloc_del` of 0.12). So a peer that loses
// packets would make us grow with each of its connections.
#pragma once

#include <cstddef>

#include "quic/ngtcp2_compat.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace quic {

/// Lives on the thread of its connection, and longer than it.
class ConnectionMemory {
 public:
  ConnectionMemory() noexcept;
  ~ConnectionMemory();
  ConnectionMemory(const ConnectionMemory&) = delete;
  ConnectionMemory& operator=(const ConnectionMemory&) = delete;

  [[nodiscard]] const ngtcp2_mem* allocator() const noexcept { return &allocator_; }
  [[nodiscard]] std::size_t blocks() const noexcept { return blocks_; }

  /// Before each block that is handed out.
  struct alignas(std::max_align_t) Header {
    Header* previous;
    Header* next;
  };

 private:
  void* take(std::size_t size, bool zeroed) noexcept;
  void* resize(void* block, std::size_t size) noexcept;
  void give_back(void* block) noexcept;
  void link(Header* header) noexcept;
  void unlink(Header* header) noexcept;

  Header blocks_head_;  ///< Of a ring.
  std::size_t blocks_ = 0;
  ngtcp2_mem allocator_;
};

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
