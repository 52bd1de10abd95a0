// Processes that are killed (SIGKILL) at a step of what they do to files, see `on_file_step`.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <stdexcept>
#include <string_view>

#include "distribution/auth/files.hpp"

namespace barrel_p2p::test {

/// From now on the process is killed when it comes to the step of this number, counted from zero.
inline void die_at(int step) {
  static std::atomic<int> steps_left;
  steps_left = step;
  distribution::on_file_step([](std::string_view /*step*/) {
    if (steps_left-- == 0) ::kill(::getpid(), SIGKILL);
  });
}

/// Runs the work in a process of its own that dies at the step. False: the work came to its end before. Throws (and so
/// fails the test) when the work fails.
inline bool killed_at(int step, const std::function<bool()>& work) {
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("cannot fork");
  if (child == 0) {
    die_at(step);
    ::_exit(work() ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return true;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) throw std::runtime_error("the work failed");
  return false;
}

/// Has the work killed at each of its steps in turn, and looks at what is left each time; the last time nobody was
/// killed. Returns the number of steps.
inline int kill_at_each_step(const std::function<void()>& prepare, const std::function<bool()>& work,
                             const std::function<void(int step)>& look) {
  for (int step = 0;; ++step) {
    prepare();
    const bool killed = killed_at(step, work);
    look(step);
    if (!killed || testing::Test::HasFailure()) return step;
  }
}

}  // namespace barrel_p2p::test
