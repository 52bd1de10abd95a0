// A real Erlang node, or just an Erlang virtual machine, as an operating system process that a test drives.
//
//   ErlPeer erl;
//   EXPECT_EQ(erl.eval("lists:reverse(hd(Args))", Term::list({Term::list({1, 2})})), Term::list({2, 1}));
//
// The machine ends with the object, by its process id; it also ends by itself when the test program dies. Every wait is
// bounded. One thread at a time.
#pragma once

#include <barrel_p2p/term.hpp>
#include <chrono>
#include <iosfwd>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {
/// What test reports show of a term.
void PrintTo(const Term& term, std::ostream* out);
}  // namespace v0
}  // namespace barrel_p2p

namespace barrel_p2p::test {

/// Erlang raised an exception, or did not answer in time.
class ErlError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct ErlOptions {
  std::string program = "erl";
  std::vector<std::string> arguments{};              ///< Added to those that every machine gets.
  std::map<std::string, std::string> environment{};  ///< Added to our own.
  std::chrono::milliseconds start_max{40'000};       ///< A quarter of a second when nothing else runs.
};

class ErlPeer {
 public:
  static constexpr std::chrono::milliseconds answer_max{40'000};

  /// Starts it and waits until it answers. Throws ErlError with what it printed.
  explicit ErlPeer(const ErlOptions& options = {});
  ~ErlPeer();
  ErlPeer(const ErlPeer&) = delete;
  ErlPeer& operator=(const ErlPeer&) = delete;

  [[nodiscard]] int otp_release() const noexcept { return release_; }
  [[nodiscard]] int process_id() const noexcept { return process_; }

  /// The value of an Erlang expression; the list `Args` is bound to `arguments`. Throws ErlError with the exception.
  Term eval(std::string_view expression, const Term& arguments = {}, std::chrono::milliseconds limit = answer_max);
  /// The same as text (`~0tp`).
  std::string text(std::string_view expression, const Term& arguments = {},
                   std::chrono::milliseconds limit = answer_max);
  /// Starts an evaluation; `finish` waits for its value. In between the peer may need answers from the test.
  void start(std::string_view expression, const Term& arguments = {});
  Term finish(std::chrono::milliseconds limit = answer_max);

  /// SIGKILL; returns when the process is gone.
  void kill();
  /// What the machine printed so far.
  [[nodiscard]] std::string output() const;

 private:
  void request(std::string_view mode, std::string_view expression, const Term& arguments);
  Term answer(std::chrono::milliseconds limit);
  Bytes read_exactly(std::size_t count, std::chrono::steady_clock::time_point deadline);
  void write_all(ByteView bytes);

  int process_ = -1;
  int requests_ = -1;  ///< Write end.
  int answers_ = -1;   ///< Read end.
  int output_ = -1;    ///< A file without a name.
  int release_ = 0;
};

/// Why tests with Erlang's own `erl` (Debian: erlang-base) cannot run here, or nothing.
std::optional<std::string> erl_missing();

}  // namespace barrel_p2p::test
