// A node of the Erlang implementation of this library, as an operating system process that a test drives.
//
// The contract: the environment variable BARREL_P2P_UPSTREAM names a directory with an executable `run-node`.
//
//   run-node NAME PORT DATADIR DISCOVERYDIR COOKIE
//
// starts one node under that name on that UDP port (0: any) and on 127.0.0.1. Its keys are in DATADIR/keys, whatever
// else it stores is in DATADIR too, it pins keys at first contact, and it publishes itself in DISCOVERYDIR, where it
// looks for others too. Everything else is as its defaults are. The process id of the program is that of the node: a
// signal to it reaches the node. On standard output it prints `ready NODE PORT PID` once it can be reached. Then it
// reads one line after the other from standard input, takes each as Erlang expressions, evaluates them, one line after
// the other and in one Erlang process that keeps variables and mailbox, and prints one line for each: `ok TERM` or
// `error REASON`. Nothing else goes to standard output; logs go to standard error. It ends at the end of standard
// input.
//
//   ErlangNode erl(cluster, "e");
//   EXPECT_EQ(erl.eval("net_adm:ping('c@127.0.0.1')"), Atom("pong"));
#pragma once

#include <gtest/gtest.h>

#include <barrel_p2p/node.hpp>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <future>
#include <iosfwd>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "node/node_support.hpp"

namespace barrel_p2p {
inline namespace v0 {
/// What test reports show of a term.
void PrintTo(const Term& term, std::ostream* out);
}  // namespace v0
}  // namespace barrel_p2p

namespace barrel_p2p::test {

/// Erlang raised an exception, or did not answer in time.
class ErlangError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A program with lines in and lines out. Ends by its process id, at the latest with the object. One thread at a time.
class LineProgram {
 public:
  using Duration = std::chrono::milliseconds;

  /// Standard error goes to the file `log`.
  LineProgram(std::vector<std::string> arguments, const std::filesystem::path& log);
  ~LineProgram();
  LineProgram(const LineProgram&) = delete;
  LineProgram& operator=(const LineProgram&) = delete;

  void write_line(std::string_view line) const;
  /// The next line, or nothing when it did not come in time or the program ended.
  std::optional<std::string> read_line(Duration limit);
  /// SIGSTOP, for instance.
  void signal(int number) const;
  /// SIGKILL; returns when the process is gone.
  void kill();
  /// Waits for the end that was asked for otherwise.
  bool ends(Duration limit);

 private:
  int process_ = -1;
  int input_ = -1;   ///< Write end.
  int output_ = -1;  ///< Read end.
  std::string buffer_;
};

class ErlangNode {
 public:
  using Duration = std::chrono::milliseconds;
  /// Longer than any wait inside of the expressions of these tests.
  static constexpr Duration answer_max{20'000};

  /// Its directories are those of the cluster, and so is its cookie, unless another is given. A second start under the
  /// same name finds the keys of the first.
  ErlangNode(const Cluster& cluster, const std::string& short_name, const std::string& cookie = "test");

  [[nodiscard]] NodeName name() const { return name_; }
  /// The value of Erlang expressions. Throws ErlangError with the exception that they raised.
  Term eval(const std::string& expressions, Duration limit = answer_max);
  /// `eval` in two steps, for what is to happen meanwhile.
  void start(const std::string& expressions);
  Term finish(Duration limit = answer_max);
  /// Compiles the source of a module there, without double quotes in it, and loads it.
  void load(const std::string& source);
  /// Waits until a condition holds: an expression that is evaluated again and again on the node.
  bool becomes(const std::string& condition, Duration limit = std::chrono::seconds(10));
  /// Waits until Erlang's `nodes()` lists the node, or does not.
  bool lists(const NodeName& node, bool listed = true, Duration limit = std::chrono::seconds(10));

  void signal(int number) { program_->signal(number); }
  void kill() { program_->kill(); }
  /// `init:stop()`; waits for the end.
  bool stop();
  /// Names of its processes that begin with `barrel_p2p`, and what bears them.
  std::map<std::string, std::string> processes();
  /// What it, and its namesakes before it, logged so far.
  std::string log();

 private:
  NodeName name_;
  std::filesystem::path log_;
  std::unique_ptr<LineProgram> program_;
};

/// The directory of BARREL_P2P_UPSTREAM; empty if there is none with a `run-node` in it.
std::string upstream_directory();

/// How these tests name the two when there is one of each.
inline const NodeName cpp_name("c@127.0.0.1");
inline const NodeName erlang_name("e@127.0.0.1");

/// Skips its tests with a word where there is no Erlang implementation to test against.
class Upstream : public testing::Test {
 protected:
  void SetUp() override {
    if (upstream_directory().empty()) {
      GTEST_SKIP() << "BARREL_P2P_UPSTREAM names no directory with an executable run-node";
    }
  }

  /// Runs a function as a process of a node and waits for what it returns.
  static Term run(Node& node, std::function<Task<Term>(Process&)> function,
                  std::chrono::seconds limit = std::chrono::seconds(20)) {
    auto promise = std::make_shared<std::promise<Term>>();
    auto future = promise->get_future();
    node.spawn([promise = std::move(promise), function = std::move(function)](Process& self) -> Task<> {
      Term result = co_await function(self);
      promise->set_value(std::move(result));
    });
    if (future.wait_for(limit) != std::future_status::ready) return Atom("no_answer_in_time");
    try {
      return future.get();
    } catch (const std::future_error&) {
      return Atom("the_process_ended");
    }
  }
  /// As an atom, or `error` with the word.
  static std::string word(const Result<void>& result) { return result ? "ok" : result.error().message(); }
  template <class T>
  static std::string word(const Result<T>& result) {
    return result ? "ok" : result.error().message();
  }

  Cluster cluster_;
};

}  // namespace barrel_p2p::test
