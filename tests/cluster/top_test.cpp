// `barrel_p2p top` on a terminal: a pseudo terminal, whose state must be the same before and after.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cluster/command_support.hpp"

namespace barrel_p2p::test {
namespace {

/// A command whose standard input and output are a terminal of 24 lines and 100 columns.
class OnTerminal {
 public:
  explicit OnTerminal(std::vector<std::string> arguments) : master_(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
    if (master_ < 0 || ::grantpt(master_) != 0 || ::unlockpt(master_) != 0) throw std::runtime_error("no terminal");
    std::array<char, 128> name{};
    if (::ptsname_r(master_, name.data(), name.size()) != 0) throw std::runtime_error("no terminal");
    slave_ = ::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC);
    const winsize size{24, 100, 0, 0};
    ::ioctl(slave_, TIOCSWINSZ, &size);
    std::vector<char*> raw;
    for (auto& argument : arguments) raw.push_back(argument.data());
    raw.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(slave_, STDIN_FILENO);
      ::dup2(slave_, STDOUT_FILENO);
      ::execv(raw[0], raw.data());
      std::_Exit(127);
    }
  }
  ~OnTerminal() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    ::close(slave_);
    ::close(master_);
  }
  OnTerminal(const OnTerminal&) = delete;
  OnTerminal& operator=(const OnTerminal&) = delete;

  void type(const std::string& keys) const { ASSERT_GT(::write(master_, keys.data(), keys.size()), 0); }
  void signal(int number) const { ::kill(pid_, number); }
  [[nodiscard]] tcflag_t modes() const {
    termios state{};
    ::tcgetattr(slave_, &state);
    return state.c_lflag;
  }
  /// Waits until what was drawn since the last time contains the text.
  bool shows(const std::string& text) {
    const auto end = std::chrono::steady_clock::now() + patience;
    for (;;) {
      if (const auto found = drawn_.find(text); found != std::string::npos) {
        drawn_.erase(0, found + text.size());
        return true;
      }
      if (std::chrono::steady_clock::now() > end) return false;
      read_some();
    }
  }
  /// Its exit status; what it still draws is read meanwhile.
  int wait() {
    const auto end = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < end) {
      read_some();
      int status = 0;
      if (::waitpid(pid_, &status, WNOHANG) != pid_) continue;
      pid_ = -1;
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return -1;
  }

 private:
  void read_some() {
    pollfd polled{master_, POLLIN, 0};
    constexpr int look_again_ms = 50;
    if (::poll(&polled, 1, look_again_ms) <= 0) return;
    std::array<char, 4096> bytes{};
    const auto count = ::read(master_, bytes.data(), bytes.size());
    if (count > 0) drawn_.append(bytes.data(), static_cast<std::size_t>(count));
  }

  int master_;
  int slave_ = -1;
  pid_t pid_ = -1;
  std::string drawn_;
};

class Top : public Command {
 protected:
  [[nodiscard]] std::vector<std::string> top() const {
    return {BARREL_P2P_COMMAND, "top",  "a@127.0.0.1",     "--every",        "100",
            "--cookie",         "test", "--discovery-dir", path("discovery")};
  }
  std::unique_ptr<Subprocess> a = start_node("a");
};

TEST_F(Top, it_follows_what_happens_and_leaves_the_terminal_as_it_was) {
  OnTerminal terminal(top());
  ASSERT_TRUE(terminal.shows("members (1)"));
  const auto b = start_node("b", {"--join", "a@127.0.0.1"});
  EXPECT_TRUE(terminal.shows("members (2)"));
  terminal.type("\x1b[B");
  terminal.type("q");
  EXPECT_EQ(terminal.wait(), 0);
  EXPECT_TRUE(terminal.shows("\x1b[?25h\x1b[?1049l")) << "the cursor and the screen of before";
  EXPECT_NE(terminal.modes() & static_cast<tcflag_t>(ICANON), 0U);
  EXPECT_NE(terminal.modes() & static_cast<tcflag_t>(ECHO), 0U);
}

TEST_F(Top, signals_restore_the_terminal_too) {
  for (const int signal : {SIGTERM, SIGHUP}) {
    OnTerminal terminal(top());
    ASSERT_TRUE(terminal.shows("members (1)"));
    EXPECT_EQ(terminal.modes() & static_cast<tcflag_t>(ICANON), 0U) << "keys come at once";
    terminal.signal(signal);
    EXPECT_EQ(terminal.wait(), 0);
    EXPECT_TRUE(terminal.shows("\x1b[?25h\x1b[?1049l"));
    EXPECT_NE(terminal.modes() & static_cast<tcflag_t>(ICANON), 0U);
  }
}

TEST_F(Top, it_says_that_the_node_went_and_still_quits) {
  OnTerminal terminal(top());
  ASSERT_TRUE(terminal.shows("members (1)"));
  a->signal(SIGKILL);
  EXPECT_TRUE(terminal.shows("no answer since"));
  terminal.type("\x03");
  EXPECT_EQ(terminal.wait(), 0);
}

TEST_F(Top, without_a_terminal_it_prints_once) {
  auto what = top();
  what.erase(what.begin());
  const auto outcome = run(what);
  EXPECT_EQ(outcome.status, 0) << outcome.errors;
  EXPECT_NE(outcome.output.find("members (1)"), std::string::npos) << outcome.output;
  EXPECT_EQ(outcome.output.find('\x1b'), std::string::npos) << "no drawing";
}

}  // namespace
}  // namespace barrel_p2p::test
