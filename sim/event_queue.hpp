// What will happen, in order: by time, and at one time in the order in which it was decided.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "sim/delay.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace sim {

enum class EventKind : std::uint8_t {
  deliver,      ///< A parcel arrives at the end `end` of a link.
  process,      ///< The same, after the time that a slow node needs.
  timer,        ///< Of a node.
  handshake,    ///< A dial has come to its last step, or tries it again.
  dial_failed,  ///< A dial is given up.
  detect,       ///< The end `end` of a link has heard nothing for too long.
  disowned,     ///< The end `end` of a link is told that the other end is gone.
  idle,         ///< A link may have been idle for too long.
  call,         ///< A function of the program.
};

/// Typed and small: ten thousand nodes have some hundred thousand of them at a time.
struct Event {
  SimTime time{};
  std::uint64_t sequence = 0;
  std::uint32_t subject = 0;     ///< Link, node or function.
  std::uint32_t generation = 0;  ///< Of the subject: if it is another one by now, the event is void.
  std::uint32_t detail = 0;      ///< Parcel, or number of a silence.
  EventKind kind = EventKind::call;
  std::uint8_t end = 0;  ///< 0 or 1.
};
static_assert(sizeof(Event) == 32);

/// A heap with four children a node: half as deep as a binary one. One thread at a time.
class EventQueue {
 public:
  void push(Event event) {
    event.sequence = next_sequence_++;
    heap_.push_back(event);
    std::size_t at = heap_.size() - 1;
    while (at > 0 && before(event, heap_[parent(at)])) {
      heap_[at] = heap_[parent(at)];
      at = parent(at);
    }
    heap_[at] = event;
  }

  [[nodiscard]] bool empty() const noexcept { return heap_.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return heap_.size(); }
  [[nodiscard]] SimTime next_time() const noexcept { return heap_.front().time; }

  /// Requires that it is not empty.
  Event pop() {
    assert(!heap_.empty());
    const Event first = heap_.front();
    const Event last = heap_.back();
    heap_.pop_back();
    if (!heap_.empty()) sink(last);
    return first;
  }

 private:
  static constexpr std::size_t fan = 4;
  static std::size_t parent(std::size_t at) noexcept { return (at - 1) / fan; }
  static bool before(const Event& left, const Event& right) noexcept {
    return left.time != right.time ? left.time < right.time : left.sequence < right.sequence;
  }
  void sink(const Event& event) {
    std::size_t at = 0;
    for (;;) {
      const std::size_t first = at * fan + 1;
      if (first >= heap_.size()) break;
      std::size_t least = first;
      const std::size_t end = std::min(first + fan, heap_.size());
      for (std::size_t child = first + 1; child < end; ++child) {
        if (before(heap_[child], heap_[least])) least = child;
      }
      if (!before(heap_[least], event)) break;
      heap_[at] = heap_[least];
      at = least;
    }
    heap_[at] = event;
  }

  std::vector<Event> heap_;
  std::uint64_t next_sequence_ = 0;
};

}  // namespace sim
}  // namespace v0
}  // namespace barrel_p2p
