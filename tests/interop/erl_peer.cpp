#include "interop/erl_peer.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <ostream>
#include <sstream>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {

void PrintTo(const Term& term, std::ostream* out) {
  constexpr std::size_t shown_max = 2000;
  *out << to_text(term).substr(0, shown_max);
}

}  // namespace v0
}  // namespace barrel_p2p

namespace barrel_p2p::test {
namespace {

using Clock = std::chrono::steady_clock;

/// Above what the child uses, so that no descriptor is overwritten before it is duplicated.
constexpr int descriptor_min = 16;
constexpr std::size_t answer_bytes_max = 256UL * 1024 * 1024;

[[noreturn]] void fail(const std::string& what) { throw ErlError(what + ": " + std::strerror(errno)); }

/// {read end, write end}
std::pair<int, int> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) fail("pipe");
  const int read_end = ::fcntl(ends[0], F_DUPFD_CLOEXEC, descriptor_min);
  const int write_end = ::fcntl(ends[1], F_DUPFD_CLOEXEC, descriptor_min);
  ::close(ends[0]);
  ::close(ends[1]);
  if (read_end < 0 || write_end < 0) fail("fcntl");
  return {read_end, write_end};
}

/// False when the deadline came first.
bool await(int descriptor, short events, Clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return false;
    pollfd watched{.fd = descriptor, .events = events, .revents = 0};
    const int ready = ::poll(&watched, 1, static_cast<int>(left));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) fail("poll");
  }
}

std::string driver_source() { return std::string(BARREL_P2P_INTEROP_DIR) + "/peer_driver.erl"; }

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (auto& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

std::vector<std::string> merged_environment(const std::map<std::string, std::string>& added) {
  std::map<std::string, std::string> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const auto equals = text.find('=');
    if (equals != std::string_view::npos) merged.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  // A machine that dies must not leave a file behind, and must not be told its options by the user's shell.
  merged["ERL_CRASH_DUMP"] = "/dev/null";
  for (const auto* name : {"ERL_AFLAGS", "ERL_FLAGS", "ERL_ZFLAGS"}) merged.erase(name);
  for (const auto& [name, value] : added) merged[name] = value;
  std::vector<std::string> result;
  result.reserve(merged.size());
  for (const auto& [name, value] : merged) result.push_back(name + "=" + value);
  return result;
}

/// Closes `requests` and `answers`, whatever comes of it.
int spawn(const ErlOptions& options, int requests, int answers, int output) {
  std::vector<std::string> arguments{options.program, "-noinput"};
  arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
  arguments.emplace_back("-eval");
  arguments.push_back(
      "{ok, Module, Code} = compile:file(\"" + driver_source() +
      "\", [binary]), {module, _} = code:load_binary(Module, \"peer_driver\", Code), peer_driver:run().");
  auto environment = merged_environment(options.environment);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
  posix_spawn_file_actions_adddup2(&actions, requests, 3);
  posix_spawn_file_actions_adddup2(&actions, answers, 4);
  // A socket of the test that lived on in the machine would not be closed when the test closes it.
  posix_spawn_file_actions_addclosefrom_np(&actions, 5);
  pid_t process = -1;
  const int status = ::posix_spawnp(&process, options.program.c_str(), &actions, nullptr, pointers(arguments).data(),
                                    pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  ::close(requests);
  ::close(answers);
  if (status != 0) throw ErlError("cannot start " + options.program + ": " + std::strerror(status));
  return process;
}

}  // namespace

ErlPeer::ErlPeer(const ErlOptions& options) {
  ::signal(SIGPIPE, SIG_IGN);
  const auto [request_read, request_write] = make_pipe();
  const auto [answer_read, answer_write] = make_pipe();
  requests_ = request_write;
  answers_ = answer_read;
  const int output = ::memfd_create("erl", MFD_CLOEXEC);
  output_ = ::fcntl(output, F_DUPFD_CLOEXEC, descriptor_min);
  ::close(output);
  ::fcntl(output_, F_SETFL, O_APPEND);
  ::fcntl(requests_, F_SETFL, O_NONBLOCK);
  try {
    process_ = spawn(options, request_read, answer_write, output_);
    release_ = static_cast<int>(answer(options.start_max).as_int64().value_or(0));
  } catch (const ErlError& error) {
    const auto message = std::string(error.what()) + "\n" + this->output();
    kill();
    for (const int descriptor : {requests_, answers_, output_}) ::close(descriptor);
    throw ErlError(message);
  }
}

ErlPeer::~ErlPeer() {
  kill();
  for (const int descriptor : {requests_, answers_, output_}) ::close(descriptor);
}

void ErlPeer::kill() {
  if (process_ <= 0) return;
  ::kill(process_, SIGKILL);
  int status = 0;
  while (::waitpid(process_, &status, 0) < 0 && errno == EINTR) {
  }
  process_ = -1;
}

std::string ErlPeer::output() const {
  std::string text;
  std::array<char, 4096> part{};
  for (off_t at = 0;;) {
    const auto count = ::pread(output_, part.data(), part.size(), at);
    if (count <= 0) return text;
    text.append(part.data(), static_cast<std::size_t>(count));
    at += count;
  }
}

void ErlPeer::write_all(ByteView bytes) {
  const auto deadline = Clock::now() + answer_max;
  while (!bytes.empty()) {
    const auto count = ::write(requests_, bytes.data(), bytes.size());
    if (count >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {
      if (!await(requests_, POLLOUT, deadline)) throw ErlError("the Erlang machine takes no request\n" + output());
    } else if (errno != EINTR) {
      throw ErlError(std::string("the Erlang machine is gone: ") + std::strerror(errno) + "\n" + output());
    }
  }
}

Bytes ErlPeer::read_exactly(std::size_t count, Clock::time_point deadline) {
  Bytes bytes(count);
  std::size_t filled = 0;
  while (filled < count) {
    if (!await(answers_, POLLIN, deadline)) throw ErlError("no answer from the Erlang machine in time\n" + output());
    const auto got = ::read(answers_, bytes.data() + filled, count - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw ErlError("the Erlang machine ended\n" + output());
    filled += static_cast<std::size_t>(got);
  }
  return bytes;
}

void ErlPeer::request(std::string_view mode, std::string_view expression, const Term& arguments) {
  const Bytes body = encode_term(Term::tuple({Atom(mode), expression, arguments}));
  Bytes message;
  for (const unsigned shift : {24U, 16U, 8U, 0U}) message.push_back(static_cast<std::uint8_t>(body.size() >> shift));
  message.insert(message.end(), body.begin(), body.end());
  write_all(message);
}

Term ErlPeer::answer(std::chrono::milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  const Bytes head = read_exactly(4, deadline);
  std::size_t size = 0;
  for (const auto byte : head) size = size << 8U | byte;
  if (size > answer_bytes_max) throw ErlError("an answer of " + std::to_string(size) + " bytes");
  const auto decoded = decode_term(read_exactly(size, deadline));
  if (!decoded) throw ErlError("undecodable answer: " + decoded.error().message());
  const Term& result = decoded->term;
  if (result.is_tagged("ok", 2)) return result[1];
  throw ErlError(result.is_tuple(2) ? result[1].as_string().value_or(to_text(result)) : to_text(result));
}

Term ErlPeer::eval(std::string_view expression, const Term& arguments, std::chrono::milliseconds limit) {
  start(expression, arguments);
  return finish(limit);
}

std::string ErlPeer::text(std::string_view expression, const Term& arguments, std::chrono::milliseconds limit) {
  request("text", expression, arguments);
  const Term result = answer(limit);
  return result.as_string().value_or("");
}

void ErlPeer::start(std::string_view expression, const Term& arguments) { request("term", expression, arguments); }

Term ErlPeer::finish(std::chrono::milliseconds limit) { return answer(limit); }

std::optional<std::string> erl_missing() {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (::access((std::filesystem::path(folder) / "erl").c_str(), X_OK) == 0) return std::nullopt;
  }
  return "no `erl` in the PATH (Debian: apt-get install erlang-base)";
}

}  // namespace barrel_p2p::test
