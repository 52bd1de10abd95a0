#include "quic/connection_memory.hpp"

#include <cstdlib>
#include <limits>

namespace barrel_p2p {
inline namespace v0 {
namespace quic {
namespace {

ConnectionMemory::Header* header_of(void* block) noexcept { return static_cast<ConnectionMemory::Header*>(block) - 1; }

constexpr std::size_t size_max = std::numeric_limits<std::size_t>::max() - sizeof(ConnectionMemory::Header);

}  // namespace

ConnectionMemory::ConnectionMemory() noexcept : blocks_head_{&blocks_head_, &blocks_head_}, allocator_{} {
  allocator_.user_data = this;
  allocator_.malloc = [](std::size_t size, void* self) {
    return static_cast<ConnectionMemory*>(self)->take(size, false);
  };
  allocator_.calloc = [](std::size_t count, std::size_t size, void* self) -> void* {
    if (size != 0 && count > size_max / size) return nullptr;
    return static_cast<ConnectionMemory*>(self)->take(count * size, true);
  };
  allocator_.realloc = [](void* block, std::size_t size, void* self) {
    return static_cast<ConnectionMemory*>(self)->resize(block, size);
  };
  allocator_.free = [](void* block, void* self) { static_cast<ConnectionMemory*>(self)->give_back(block); };
}

ConnectionMemory::~ConnectionMemory() {
  while (blocks_head_.next != &blocks_head_) give_back(blocks_head_.next + 1);
}

void* ConnectionMemory::take(std::size_t size, bool zeroed) noexcept {
  if (size > size_max) return nullptr;
  void* const memory = zeroed ? std::calloc(1, sizeof(Header) + size) : std::malloc(sizeof(Header) + size);
  if (memory == nullptr) return nullptr;
  auto* const header = static_cast<Header*>(memory);
  link(header);
  return header + 1;
}

void* ConnectionMemory::resize(void* block, std::size_t size) noexcept {
  if (block == nullptr) return take(size, false);
  if (size > size_max) return nullptr;
  Header* const header = header_of(block);
  unlink(header);
  void* const memory = std::realloc(header, sizeof(Header) + size);
  auto* const moved = memory == nullptr ? header : static_cast<Header*>(memory);
  link(moved);
  return memory == nullptr ? nullptr : moved + 1;
}

void ConnectionMemory::give_back(void* block) noexcept {
  if (block == nullptr) return;
  Header* const header = header_of(block);
  unlink(header);
  std::free(header);
}

void ConnectionMemory::link(Header* header) noexcept {
  header->previous = blocks_head_.previous;
  header->next = &blocks_head_;
  blocks_head_.previous->next = header;
  blocks_head_.previous = header;
  ++blocks_;
}

void ConnectionMemory::unlink(Header* header) noexcept {
  header->previous->next = header->next;
  header->next->previous = header->previous;
  --blocks_;
}

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
