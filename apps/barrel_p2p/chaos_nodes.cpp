#include "chaos_nodes.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <system_error>
#include <utility>

namespace barrel_p2p::command {
namespace {

[[noreturn]] void fail(int error, const char* what) { throw std::system_error(error, std::generic_category(), what); }

/// A process group of its own, so that Ctrl-C comes to us alone, and no signals blocked.
pid_t spawn(std::vector<std::string>& arguments, int input, int output, const std::filesystem::path& log) {
  std::vector<char*> raw;
  raw.reserve(arguments.size() + 1);
  for (auto& argument : arguments) raw.push_back(argument.data());
  raw.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
  ::posix_spawn_file_actions_addopen(&files, STDERR_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  sigset_t none;
  sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, raw[0], &files, &attributes, raw.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&files);
  if (error != 0) fail(error, "cannot start a node");
  return pid;
}

bool contains(const ChaosFault& fault, std::size_t node) { return std::ranges::binary_search(fault.nodes, node); }

/// Whether what `from` sends to `to` is lost.
bool cuts(const ChaosFault& fault, std::size_t from, std::size_t to) {
  switch (fault.kind) {
    case ChaosFault::Kind::split: return contains(fault, from) != contains(fault, to);
    case ChaosFault::Kind::one_way: return contains(fault, from) && !contains(fault, to);
    case ChaosFault::Kind::kill:
    case ChaosFault::Kind::freeze:
    case ChaosFault::Kind::bad_links:
    case ChaosFault::Kind::clock:
    case ChaosFault::Kind::disk_full: return false;
  }
  return false;
}

}  // namespace

bool ended_as_told(int status, bool killed, bool stopping) {
  return (killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) || (stopping && status == 0);
}

ChaosProcess::ChaosProcess(boost::asio::io_context& io, std::vector<std::string> arguments,
                           const std::filesystem::path& log, Events events)
    : events_(std::move(events)), input_(io), output_(io) {
  std::array<int, 2> input{};
  std::array<int, 2> output{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, input.data()) != 0) fail(errno, "socketpair");
  input_.assign(boost::asio::local::stream_protocol(), input[0]);
  if (::pipe2(output.data(), O_CLOEXEC) != 0) fail(errno, "pipe");
  output_.assign(output[0]);
  // What it tells while this process waits for a core must find room, or it would wait too. Refused: the default.
  constexpr int pipe_bytes = 1024 * 1024;
  (void)::fcntl(output[0], F_SETPIPE_SZ, pipe_bytes);
  try {
    pid_ = spawn(arguments, input[1], output[1], log);
  } catch (...) {
    ::close(input[1]);
    ::close(output[1]);
    throw;
  }
  ::close(input[1]);
  ::close(output[1]);
  read();
}

ChaosProcess::~ChaosProcess() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void ChaosProcess::signal(int number) const noexcept {
  if (pid_ > 0) ::kill(pid_, number);
}

void ChaosProcess::say(const std::string& line) {
  const std::string text = line + "\n";
  // Whoever has gone is told about by the end of its output.
  (void)!::send(input_.native_handle(), text.data(), text.size(), MSG_NOSIGNAL);
}

void ChaosProcess::end_input() { ::shutdown(input_.native_handle(), SHUT_WR); }

std::size_t ChaosProcess::memory_kib() const {
  std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
  for (std::string word; status >> word;) {
    std::size_t kib = 0;
    if (word == "VmRSS:" && status >> kib) return kib;
  }
  return 0;
}

void ChaosProcess::read() {
  output_.async_read_some(boost::asio::buffer(chunk_), [this](const auto& error, std::size_t size) {
    buffer_.append(chunk_.data(), size);
    take_lines();
    if (error == boost::asio::error::operation_aborted) return;
    if (!error) return read();
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    events_.on_end(status);
  });
}

void ChaosProcess::take_lines() {
  std::size_t begin = 0;
  for (auto end = buffer_.find('\n'); end != std::string::npos; end = buffer_.find('\n', begin)) {
    events_.on_line(buffer_.substr(begin, end - begin));
    begin = end + 1;
  }
  buffer_.erase(0, begin);
}

ChaosNetwork::ChaosNetwork(boost::asio::io_context& io, std::size_t nodes, std::uint64_t seed)
    : nodes_(nodes), ways_(nodes * nodes) {
  Prng random(seed);
  for (std::size_t from = 0; from < nodes; ++from) {
    for (std::size_t to = 0; to < nodes; ++to) {
      if (from == to) continue;
      ways_[from * nodes + to] =
          std::make_unique<relay::UdpRelay>(io, std::uint16_t{0}, static_cast<std::uint32_t>(random.next()));
    }
  }
}

relay::UdpRelay& ChaosNetwork::way(std::size_t from, std::size_t to) const { return *ways_[from * nodes_ + to]; }

void ChaosNetwork::aim(std::size_t node, std::uint16_t port) {
  for (std::size_t from = 0; from < nodes_; ++from) {
    if (from != node) way(from, node).aim(port);
  }
}

void ChaosNetwork::set(const std::vector<ChaosFault>& faults) {
  for (std::size_t from = 0; from < nodes_; ++from) {
    for (std::size_t to = 0; to < nodes_; ++to) {
      if (from == to) continue;
      relay::UdpWeather weather;
      constexpr std::chrono::milliseconds overtaken{30};
      for (const auto& fault : faults) {
        weather.outwards_silent = weather.outwards_silent || cuts(fault, from, to);
        weather.inwards_silent = weather.inwards_silent || cuts(fault, to, from);
        if (fault.kind != ChaosFault::Kind::bad_links) continue;
        weather.lost = fault.lost;
        weather.repeated = fault.repeated;
        weather.held_back = fault.held_back;
        weather.held_for = overtaken;
        weather.every_for = fault.delay;
      }
      way(from, to).weather = weather;
    }
  }
}

std::size_t ChaosNetwork::passed() const {
  std::size_t sum = 0;
  for (const auto& way : ways_) sum += way ? way->passed : 0;
  return sum;
}

std::size_t ChaosNetwork::dropped() const {
  std::size_t sum = 0;
  for (const auto& way : ways_) sum += way ? way->dropped : 0;
  return sum;
}

}  // namespace barrel_p2p::command
