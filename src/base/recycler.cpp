#include "base/recycler.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <mutex>
#include <new>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace recycler {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;
#elif defined(__has_feature)
constexpr bool sanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool sanitized = false;
#endif

// The sizes are those that glibc has, so that nothing is lost by rounding: 24, 40, 56, ... bytes.
constexpr std::size_t least_bytes = 24;
constexpr std::size_t step_bytes = 16;
constexpr std::size_t sizes = (piece_bytes_max - least_bytes) / step_bytes + 1;
constexpr std::uint32_t batch_pieces = 32;
/// Of each size, what a thread keeps of what it gave back for itself: a process that sends to a neighbour for a whole
/// turn and the neighbour, which takes it in the next one, need no lock then.
constexpr std::size_t at_hand_bytes_max = 16UL * 1024;

constexpr std::size_t index_of(std::size_t bytes) noexcept {
  return bytes <= least_bytes ? 0 : (bytes - least_bytes + step_bytes - 1) / step_bytes;
}
constexpr std::size_t bytes_of(std::size_t index) noexcept { return least_bytes + index * step_bytes; }
constexpr std::size_t full_max_of(std::size_t index) noexcept {
  return std::max<std::size_t>(at_hand_bytes_max / (batch_pieces * bytes_of(index)), 1);
}
static_assert(index_of(piece_bytes_max) == sizes - 1 && bytes_of(sizes - 1) == piece_bytes_max);

/// What stands in a piece that nobody uses.
struct Free {
  Free* next = nullptr;        ///< In its batch.
  Free* next_batch = nullptr;  ///< Of the first piece of a batch.
};
static_assert(sizeof(Free) <= least_bytes);

void free_list(Free* list) noexcept {
  while (list != nullptr) ::operator delete(std::exchange(list, list->next));
}

/// Whole batches, which any thread may take.
class Shelf {
 public:
  /// False: the shelf is full.
  bool put(Free* batch, std::size_t index) noexcept {
    const std::lock_guard lock(mutex_);
    if ((count_ + 1) * batch_pieces * bytes_of(index) > kept_bytes_max) return false;
    batch->next_batch = std::exchange(first_, batch);
    ++count_;
    return true;
  }
  Free* take() noexcept {
    const std::lock_guard lock(mutex_);
    if (first_ == nullptr) return nullptr;
    --count_;
    return std::exchange(first_, first_->next_batch);
  }
  std::size_t pieces() noexcept {
    const std::lock_guard lock(mutex_);
    return count_ * batch_pieces;
  }

 private:
  std::mutex mutex_;
  Free* first_ = nullptr;
  std::size_t count_ = 0;
};

/// Never destroyed: objects of the program that live longer than everything else give pieces back, too.
std::array<Shelf, sizes>& shelves() {
  static auto& all = *new std::array<Shelf, sizes>;
  return all;
}

/// What a thread has at hand of one size: a batch that is used up or fills, and whole ones.
struct Hand {
  Free* first = nullptr;
  /// What hangs at `first`. A whole batch and no first: never used, or not any more.
  std::uint32_t count = batch_pieces;
  std::uint32_t full_count = 0;
  Free* full = nullptr;  ///< Whole batches, the one that was filled last first.

  void put_full(Free* batch) noexcept {
    batch->next_batch = std::exchange(full, batch);
    ++full_count;
  }
  /// There is one.
  Free* take_full() noexcept {
    --full_count;
    return std::exchange(full, full->next_batch);
  }
};

using Hands = std::array<Hand, sizes>;

/// What a thread has that needed none of its own yet, or that ends. Nobody writes to it.
constinit Hands empty_hands{};
/// Always something to look at. Who fills it asks for `Cleaner`.
constinit thread_local Hands* hands = &empty_hands;
constinit thread_local bool gone = false;  ///< This thread ends, and has given up what it had at hand.

struct Cleaner {
  Cleaner() = default;
  ~Cleaner();
  Cleaner(const Cleaner&) = delete;
  Cleaner& operator=(const Cleaner&) = delete;
  void needed() noexcept { used = true; }
  bool used = false;
};
thread_local Cleaner cleaner;

void put_away(Free* batch, std::size_t index) noexcept {
  if (!shelves()[index].put(batch, index)) free_list(batch);
}

Cleaner::~Cleaner() {
  gone = true;
  Hands* const had = std::exchange(hands, &empty_hands);
  if (had == &empty_hands) return;
  for (std::size_t index = 0; index < sizes; ++index) {
    Hand& hand = (*had)[index];
    free_list(hand.first);
    while (hand.full_count > 0) put_away(hand.take_full(), index);
  }
  delete had;
}

/// What this thread has at hand; nothing when there is no memory for it, or when the thread ends.
Hands* own_hands() noexcept {
  if (gone) return nullptr;
  if (hands == &empty_hands) {
    auto* const made = new (std::nothrow) Hands{};
    if (made == nullptr) return nullptr;
    hands = made;
    cleaner.needed();
  }
  return hands;
}

void* pop(Hand& hand) noexcept {
  --hand.count;
  Free* const piece = std::exchange(hand.first, hand.first->next);
  __builtin_prefetch(hand.first);  // another core wrote it last, and the next call reads it
  return piece;
}

void push(Hand& hand, void* piece) noexcept {
  hand.first = new (piece) Free{hand.first, nullptr};
  ++hand.count;
}

[[gnu::noinline]] void* allocate_from_shelf(std::size_t index) {
  if (Hands* const own = own_hands()) {
    Hand& hand = (*own)[index];
    Free* const batch = hand.full_count > 0 ? hand.take_full() : shelves()[index].take();
    if (batch != nullptr) {
      hand.first = batch;
      hand.count = batch_pieces;
      return pop(hand);
    }
  }
  return ::operator new(bytes_of(index));
}

[[gnu::noinline]] void deallocate_to_shelf(void* piece, std::size_t index) noexcept {
  Hands* const own = own_hands();
  if (own == nullptr) return ::operator delete(piece);
  Hand& hand = (*own)[index];
  if (hand.first != nullptr) {
    if (hand.full_count == full_max_of(index)) put_away(hand.take_full(), index);
    hand.put_full(std::exchange(hand.first, nullptr));
  }
  hand.count = 0;
  push(hand, piece);
}

}  // namespace

void* allocate(std::size_t bytes) {
  if (sanitized || bytes > piece_bytes_max) return ::operator new(bytes);
  const std::size_t index = index_of(bytes);
  Hand& hand = (*hands)[index];
  return hand.first != nullptr ? pop(hand) : allocate_from_shelf(index);
}

void deallocate(void* piece, std::size_t bytes) noexcept {
  if (sanitized || bytes > piece_bytes_max) return ::operator delete(piece);
  const std::size_t index = index_of(bytes);
  Hand& hand = (*hands)[index];
  if (hand.count == batch_pieces) return deallocate_to_shelf(piece, index);
  push(hand, piece);
}

std::size_t kept_bytes() noexcept {
  std::size_t all = 0;
  for (std::size_t index = 0; index < sizes; ++index) all += shelves()[index].pieces() * bytes_of(index);
  return all;
}

}  // namespace recycler
}  // namespace v0
}  // namespace barrel_p2p
