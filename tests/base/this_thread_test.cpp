#include "base/this_thread.hpp"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include <array>
#include <string>
#include <thread>

namespace barrel_p2p {
namespace {

std::string name_of_this_thread() {
  std::array<char, 16> name{};
  EXPECT_EQ(pthread_getname_np(pthread_self(), name.data(), name.size()), 0);
  return name.data();
}

TEST(ThisThread, has_the_name_that_it_was_given_and_long_ones_are_cut_off) {
  std::string usual;
  std::string longer;
  std::thread([&] {
    name_this_thread("bp2p-network");
    usual = name_of_this_thread();
    name_this_thread("a name that the kernel has no room for");
    longer = name_of_this_thread();
  }).join();
  EXPECT_EQ(usual, "bp2p-network");
  EXPECT_EQ(longer, "a name that the");
}

TEST(ThisThread, keeps_its_policy_and_its_niceness_when_it_wants_short_turns) {
  int policy = -1;
  int niceness = -1;
  const int before = getpriority(PRIO_PROCESS, 0);
  std::thread([&] {
    prefer_short_turns();
    policy = sched_getscheduler(0);
    niceness = getpriority(PRIO_PROCESS, 0);
  }).join();
  EXPECT_EQ(policy, SCHED_OTHER);
  EXPECT_EQ(niceness, before);
}

TEST(ThisThread, leaves_another_policy_alone) {
  int policy = -1;
  std::thread([&] {
    const sched_param idle{};
    ASSERT_EQ(sched_setscheduler(0, SCHED_BATCH, &idle), 0);
    prefer_short_turns();
    policy = sched_getscheduler(0);
  }).join();
  EXPECT_EQ(policy, SCHED_BATCH);
}

}  // namespace
}  // namespace barrel_p2p
