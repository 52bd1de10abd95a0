// Processes of the operating system for tests. Each is stopped by its pid when its handle goes.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/patience.hpp"

namespace barrel_p2p::test {

class Subprocess {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Subprocess(std::vector<std::string> arguments) {
    int out[2];
    int errors[2];
    if (::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(errors, O_CLOEXEC) != 0) throw std::runtime_error("no pipes");
    std::vector<char*> raw;
    for (auto& argument : arguments) raw.push_back(argument.data());
    raw.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("cannot fork");
    if (pid_ == 0) {
      ::dup2(out[1], STDOUT_FILENO);
      ::dup2(errors[1], STDERR_FILENO);
      ::execv(raw[0], raw.data());
      std::_Exit(127);
    }
    ::close(out[1]);
    ::close(errors[1]);
    output_ = {out[0], {}};
    errors_ = {errors[0], {}};
  }
  /// What a sanitizer reported in it fails the test.
  ~Subprocess() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    while (read_some(Clock::now())) {
    }
    for (const auto& pipe : {output_, errors_}) {
      for (const auto* report : {"Sanitizer:", "runtime error:"}) {
        if (pipe.text.find(report) != std::string::npos) ADD_FAILURE() << pipe.text;
      }
    }
    for (const auto& pipe : {output_, errors_}) {
      if (pipe.descriptor >= 0) ::close(pipe.descriptor);
    }
  }
  Subprocess(const Subprocess&) = delete;
  Subprocess& operator=(const Subprocess&) = delete;

  void signal(int number) const { ::kill(pid_, number); }
  /// Freezes it, and returns when it stands still and all that it said has been read; `signal(SIGCONT)` wakes it.
  void freeze() {
    signal(SIGSTOP);
    ::waitpid(pid_, nullptr, WUNTRACED);
    while (read_some(Clock::now())) {
    }
  }
  [[nodiscard]] const std::string& output() const { return output_.text; }
  [[nodiscard]] const std::string& errors() const { return errors_.text; }

  /// Waits until the standard output, or the standard error, contains `text`, and all of the line in which it ends.
  bool says(const std::string& text, std::chrono::seconds limit = patience) {
    const auto end = Clock::now() + limit;
    while (!output_.contains(text) && !errors_.contains(text)) {
      if (!read_some(end) || Clock::now() > end) return false;
    }
    return true;
  }
  /// Reads what it says for so long.
  void listen(std::chrono::milliseconds time) {
    const auto end = Clock::now() + time;
    while (read_some(end)) {
    }
  }
  /// Nobody reads its standard error any more.
  void stop_reading_errors() { ::close(std::exchange(errors_.descriptor, -1)); }
  /// Waits for its end. Returns its exit status, 128 + N if signal N ended it, -1 if it did not end in time.
  int wait(std::chrono::seconds limit = 2 * patience) {
    const auto end = Clock::now() + limit;
    while (read_some(end)) {
    }
    if (output_.descriptor >= 0 || errors_.descriptor >= 0) return -1;
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  struct Pipe {
    int descriptor = -1;
    std::string text;
    [[nodiscard]] bool contains(const std::string& part) const {
      const auto found = text.find(part);
      return found != std::string::npos && text.find('\n', found + part.size() - 1) != std::string::npos;
    }
  };

  /// False at the end of both, or when there is nothing at the end of the time.
  bool read_some(Clock::time_point end) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
    if (output_.descriptor < 0 && errors_.descriptor < 0) return false;
    pollfd polled[2] = {{output_.descriptor, POLLIN, 0}, {errors_.descriptor, POLLIN, 0}};
    if (::poll(polled, 2, static_cast<int>(std::max<std::int64_t>(left, 0))) <= 0) return false;
    if (polled[0].revents != 0) read_from(output_);
    if (polled[1].revents != 0) read_from(errors_);
    return true;
  }
  static void read_from(Pipe& pipe) {
    char bytes[4096];
    const auto count = ::read(pipe.descriptor, bytes, sizeof(bytes));
    if (count > 0) {
      pipe.text.append(bytes, static_cast<std::size_t>(count));
    } else {
      ::close(std::exchange(pipe.descriptor, -1));
    }
  }

  pid_t pid_ = -1;
  Pipe output_;
  Pipe errors_;
};

}  // namespace barrel_p2p::test
