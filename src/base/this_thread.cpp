#include "base/this_thread.hpp"

#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace barrel_p2p {
inline namespace v0 {
namespace {

/// `struct sched_attr` of the kernel, first version: sched_setattr(2). Headers older than the kernel lack it.
struct SchedulingAttributes {
  std::uint32_t size = sizeof(SchedulingAttributes);
  std::uint32_t policy = SCHED_OTHER;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = 0;  ///< With SCHED_OTHER: nanoseconds of a turn; 0: the kernel's own.
  std::uint64_t deadline = 0;
  std::uint64_t period = 0;
};
static_assert(sizeof(SchedulingAttributes) == 48);

constexpr std::uint64_t turn_nanoseconds = 100'000;  // the least that the kernel takes
constexpr std::size_t thread_name_bytes = 16;        // with the zero

}  // namespace

void name_this_thread(const char* name) noexcept {
  std::array<char, thread_name_bytes> cut{};
  std::memcpy(cut.data(), name, std::min(std::strlen(name), cut.size() - 1));
  pthread_setname_np(pthread_self(), cut.data());
}

void prefer_short_turns() noexcept {
  SchedulingAttributes attributes;
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) != 0) return;
  if (attributes.policy != SCHED_OTHER) return;  // whoever started the thread wants something else
  attributes.size = sizeof(attributes);
  attributes.runtime = turn_nanoseconds;
  syscall(SYS_sched_setattr, 0, &attributes, 0);
}

}  // namespace v0
}  // namespace barrel_p2p
