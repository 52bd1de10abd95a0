#include "base/recycler.hpp"

#include <gtest/gtest.h>

#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

namespace barrel_p2p {
namespace {

class Pieces {
 public:
  Pieces() = default;
  ~Pieces() {
    for (const auto& [piece, bytes] : all_) recycler::deallocate(piece, bytes);
  }
  Pieces(const Pieces&) = delete;
  Pieces& operator=(const Pieces&) = delete;

  void add(std::size_t bytes) {
    void* piece = recycler::allocate(bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(piece) % alignof(std::max_align_t), 0U);
    std::memset(piece, static_cast<int>(all_.size() % 251), bytes);
    all_.emplace_back(piece, bytes);
  }
  /// Nobody else wrote into them.
  void expect_untouched() const {
    for (std::size_t index = 0; index < all_.size(); ++index) {
      const auto* bytes = static_cast<const std::uint8_t*>(all_[index].first);
      for (std::size_t at = 0; at < all_[index].second; ++at) ASSERT_EQ(bytes[at], index % 251) << index;
    }
  }

 private:
  std::vector<std::pair<void*, std::size_t>> all_;
};

TEST(Recycler, gives_pieces_of_every_size_that_do_not_overlap) {
  for (int round = 0; round < 3; ++round) {  // the later ones from what came back
    Pieces pieces;
    for (std::size_t bytes = 0; bytes <= recycler::piece_bytes_max + 100; ++bytes) pieces.add(bytes);
    pieces.expect_untouched();
  }
}

TEST(Recycler, takes_back_from_one_thread_what_another_one_took_and_keeps_a_bounded_amount) {
  constexpr int rounds = 200;
  constexpr std::size_t in_a_round = 1000;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::unique_ptr<Pieces>> passed;
  bool over = false;
  std::thread consumer([&] {
    for (;;) {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return over || !passed.empty(); });
      if (passed.empty()) return;
      const auto all = std::exchange(passed, {});
      lock.unlock();
      for (const auto& pieces : all) pieces->expect_untouched();
    }
  });
  for (int round = 0; round < rounds; ++round) {
    auto pieces = std::make_unique<Pieces>();
    for (std::size_t number = 0; number < in_a_round; ++number) pieces->add(24 + number % 480);
    const std::lock_guard lock(mutex);
    passed.push_back(std::move(pieces));
    changed.notify_one();
  }
  {
    const std::lock_guard lock(mutex);
    over = true;
  }
  changed.notify_one();
  consumer.join();
  constexpr std::size_t sizes = 31;
  EXPECT_LE(recycler::kept_bytes(), sizes * recycler::kept_bytes_max);
}

TEST(Recycler, a_thread_that_gave_back_what_a_turn_takes_finds_it_at_hand) {
  constexpr std::size_t pieces = 256;
  constexpr std::size_t bytes = 56;
  std::thread([] {
    std::vector<void*> taken(pieces);
    const auto take = [&taken] {
      for (auto& piece : taken) piece = recycler::allocate(bytes);
    };
    const auto give_back = [&taken] {
      for (auto* piece : taken) recycler::deallocate(piece, bytes);
    };
    take();
    give_back();
    const std::size_t kept = recycler::kept_bytes();
    take();
    EXPECT_EQ(recycler::kept_bytes(), kept) << "nothing comes from what all threads share";
    give_back();
    EXPECT_EQ(recycler::kept_bytes(), kept) << "and nothing goes there";
  }).join();
}

TEST(Recycler, serves_objects_and_shared_arrays) {
  struct Object : Recycled {
    std::uint64_t value = 0;
  };
  std::vector<std::unique_ptr<Object>> objects;
  std::set<const Object*> places;
  for (std::uint64_t number = 0; number < 100; ++number) {
    objects.push_back(std::make_unique<Object>());
    objects.back()->value = number;
    places.insert(objects.back().get());
  }
  EXPECT_EQ(places.size(), objects.size());
  for (std::uint64_t number = 0; number < 100; ++number) EXPECT_EQ(objects[number]->value, number);
  const auto array = std::allocate_shared<std::uint8_t[]>(RecyclingAllocator<std::uint8_t>(), 100);
  EXPECT_EQ(array[99], 0);
}

}  // namespace
}  // namespace barrel_p2p
