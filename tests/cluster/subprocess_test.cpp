#include "cluster/subprocess.hpp"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

namespace barrel_p2p::test {
namespace {

TEST(Subprocesses, that_a_sanitizer_reports_on_fail_the_test) {
  EXPECT_NONFATAL_FAILURE(
      {
        Subprocess process({"/bin/echo", "ERROR: AddressSanitizer: heap-use-after-free"});
        EXPECT_EQ(process.wait(), 0);
      },
      "heap-use-after-free");
}

TEST(Subprocesses, that_are_stopped_before_their_end_fail_the_test_too) {
  EXPECT_NONFATAL_FAILURE(
      {
        Subprocess process(
            {"/bin/sh", "-c", "echo 'a.cpp:1:1: runtime error: overflow' >&2; echo said; exec sleep 60"});
        EXPECT_TRUE(process.says("said"));
      },
      "overflow");
}

}  // namespace
}  // namespace barrel_p2p::test
