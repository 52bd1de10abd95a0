// What this process has at the moment.
#pragma once

#include <malloc.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <string>

#include "support/sanitized.hpp"

namespace barrel_p2p::test {

struct Resources {
  std::int64_t heap_bytes = 0;  ///< In use; nothing in builds with sanitizers, which bring a heap of their own.
  std::int64_t descriptors = 0;
};

inline Resources resources() {
  Resources now;
  if (!sanitized) {
    const auto heap = mallinfo2();
    now.heap_bytes = static_cast<std::int64_t>(heap.uordblks + heap.hblkhd);
  }
  const std::filesystem::directory_iterator files("/proc/self/fd");
  now.descriptors = std::distance(begin(files), end(files));
  return now;
}

inline void report(const std::string& when, const Resources& what) {
  std::printf("  %s: heap %lld KiB, %lld descriptors\n", when.c_str(), static_cast<long long>(what.heap_bytes / 1024),
              static_cast<long long>(what.descriptors));
}

}  // namespace barrel_p2p::test
