// The stage of the demo: the processes that play in it, what they say, and what the narrator says between.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace demo {

using Clock = std::chrono::steady_clock;

inline std::string milliseconds(Clock::duration time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(time).count()) + " ms";
}

class Actor {
 public:
  Actor(std::string role, const std::string& directory) : role_(std::move(role)) {
    int in[2];
    int out[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) throw std::runtime_error("no pipes");
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("cannot fork");
    if (pid_ == 0) {
      ::dup2(in[0], STDIN_FILENO);
      ::dup2(out[1], STDOUT_FILENO);
      ::execl("/proc/self/exe", "demo", role_.c_str(), directory.c_str(), static_cast<char*>(nullptr));
      std::_Exit(1);
    }
    ::close(in[0]);
    ::close(out[1]);
    cues_ = in[1];
    lines_ = out[0];
  }
  ~Actor() {
    if (cues_ >= 0) ::close(cues_);
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    ::close(lines_);
  }
  Actor(const Actor&) = delete;
  Actor& operator=(const Actor&) = delete;

  void cue(const std::string& text) const {
    const std::string line = text + "\n";
    if (::write(cues_, line.data(), line.size()) < 0) throw std::runtime_error(role_ + " does not listen");
  }
  void signal(int number) const { ::kill(pid_, number); }
  /// Closes its standard input, which ends it, and returns its exit status.
  int end() {
    ::close(std::exchange(cues_, -1));
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  [[nodiscard]] int descriptor() const { return lines_; }
  [[nodiscard]] const std::string& role() const { return role_; }
  std::string heard;             ///< The beginning of a line.
  std::deque<std::string> said;  ///< What nobody has waited for yet.

 private:
  std::string role_;
  pid_t pid_ = -1;
  int cues_ = -1;
  int lines_ = -1;
};

class Story {
 public:
  Story() : began_(Clock::now()) {
    directory_ = (std::filesystem::temp_directory_path() / "barrel_p2p-demo-XXXXXX").string();
    if (::mkdtemp(directory_.data()) == nullptr) throw std::runtime_error("no temporary directory");
  }
  ~Story() {
    actors_.clear();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  Story(const Story&) = delete;
  Story& operator=(const Story&) = delete;

  /// What comes next.
  void tell(const std::string& text) const { std::cout << "\n" << text << std::endl; }
  /// On what has just happened.
  void remark(const std::string& text) const { std::cout << "          " << text << std::endl; }
  Actor& enter(const std::string& role) {
    auto& actor = actors_[role];
    actor = std::make_unique<Actor>(role, directory_);
    await(*actor, "ready");
    return *actor;
  }
  void leave(Actor& actor) {
    const std::string role = actor.role();
    if (actor.end() != 0) throw std::runtime_error(role + " did not end well");
    actors_.erase(role);
  }
  /// It was killed.
  void remove(Actor& actor) { actors_.erase(std::string(actor.role())); }

  /// Prints what all say until `actor` says something that contains `text`, and returns that line.
  std::string await(Actor& actor, const std::string& text, std::chrono::seconds limit = std::chrono::seconds(10)) {
    return await_all(actor, {text}, limit).front();
  }
  /// The same for several lines, which may come in any order.
  std::vector<std::string> await_all(Actor& actor, const std::vector<std::string>& texts,
                                     std::chrono::seconds limit = std::chrono::seconds(10)) {
    const auto from = Clock::now();
    std::vector<std::string> lines(texts.size());
    for (std::size_t found = 0; found < texts.size();) {
      if (actor.said.empty()) {
        if (Clock::now() - from > limit) {
          throw std::runtime_error(actor.role() + " did not say \"" + texts.back() + "\" within " +
                                   milliseconds(limit));
        }
        listen();
        continue;
      }
      const std::string line = actor.said.front();
      actor.said.pop_front();
      if (line.starts_with("cannot start") || line.starts_with("cannot: ")) {
        throw std::runtime_error(actor.role() + " " + line);
      }
      for (std::size_t index = 0; index < texts.size(); ++index) {
        if (!lines[index].empty() || line.find(texts[index]) == std::string::npos) continue;
        lines[index] = line;
        ++found;
      }
    }
    return lines;
  }

 private:
  /// Prints what the actor has said to the end of a line.
  void print(Actor& actor) const {
    for (auto end = actor.heard.find('\n'); end != std::string::npos; end = actor.heard.find('\n')) {
      actor.said.push_back(actor.heard.substr(0, end));
      actor.heard.erase(0, end + 1);
      const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began_).count();
      std::printf("  %2ld.%03ld  %-12s %s\n", static_cast<long>(now / 1000), static_cast<long>(now % 1000),
                  (actor.role() + ":").c_str(), actor.said.back().c_str());
    }
    std::fflush(stdout);
  }
  void listen() {
    std::vector<pollfd> polled;
    for (const auto& [role, actor] : actors_) polled.push_back({actor->descriptor(), POLLIN, 0});
    if (::poll(polled.data(), polled.size(), 100) <= 0) return;
    std::size_t at = 0;
    for (const auto& [role, actor] : actors_) {
      if (polled[at++].revents == 0) continue;
      char bytes[4096];
      const auto count = ::read(actor->descriptor(), bytes, sizeof(bytes));
      if (count == 0) throw std::runtime_error(role + " has gone");
      if (count > 0) actor->heard.append(bytes, static_cast<std::size_t>(count));
      print(*actor);
    }
  }

  Clock::time_point began_;
  std::string directory_;
  std::map<std::string, std::unique_ptr<Actor>> actors_;
};

}  // namespace demo
