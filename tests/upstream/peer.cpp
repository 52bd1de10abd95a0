#include "upstream/peer.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <ostream>
#include <sstream>

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

/// {read end, write end}, above what the child uses.
std::pair<int, int> make_pipe() {
  constexpr int descriptor_min = 16;
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  const int read_end = ::fcntl(ends[0], F_DUPFD_CLOEXEC, descriptor_min);
  const int write_end = ::fcntl(ends[1], F_DUPFD_CLOEXEC, descriptor_min);
  ::close(ends[0]);
  ::close(ends[1]);
  return {read_end, write_end};
}

/// False when the deadline came first.
bool readable(int descriptor, Clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left < 0) return false;
    pollfd watched{.fd = descriptor, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&watched, 1, static_cast<int>(left));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

Bytes from_hex(std::string_view text) {
  Bytes bytes;
  for (std::size_t at = 0; at + 1 < text.size(); at += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoul(std::string(text.substr(at, 2)), nullptr, 16)));
  }
  return bytes;
}

}  // namespace

std::string upstream_directory() {
  const char* directory = std::getenv("BARREL_P2P_UPSTREAM");
  if (directory == nullptr || *directory == '\0') return {};
  return ::access((std::string(directory) + "/run-node").c_str(), X_OK) == 0 ? directory : std::string();
}

// LineProgram

LineProgram::LineProgram(std::vector<std::string> arguments, const std::filesystem::path& log) {
  ::signal(SIGPIPE, SIG_IGN);
  const auto [input_read, input_write] = make_pipe();
  const auto [output_read, output_write] = make_pipe();
  input_ = input_write;
  output_ = output_read;
  std::vector<char*> raw;
  for (auto& argument : arguments) raw.push_back(argument.data());
  raw.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input_read, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output_write, STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  const int status = ::posix_spawn(&process_, raw[0], &actions, nullptr, raw.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(input_read);
  ::close(output_write);
  if (status != 0) {
    ::close(input_);
    ::close(output_);
    throw std::runtime_error("cannot start " + arguments[0] + ": " + std::strerror(status));
  }
}

LineProgram::~LineProgram() {
  kill();
  ::close(input_);
  ::close(output_);
}

void LineProgram::write_line(std::string_view line) const {
  const std::string text = std::string(line) + "\n";
  for (std::size_t written = 0; written < text.size();) {
    const auto count = ::write(input_, text.data() + written, text.size() - written);
    if (count > 0) written += static_cast<std::size_t>(count);
    if (count < 0 && errno != EINTR) throw ErlangError(std::string("the program is gone: ") + std::strerror(errno));
  }
}

std::optional<std::string> LineProgram::read_line(Duration limit) {
  const auto deadline = Clock::now() + limit;
  for (;;) {
    if (const auto end = buffer_.find('\n'); end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    std::array<char, 65536> part{};
    if (!readable(output_, deadline)) return std::nullopt;
    const auto count = ::read(output_, part.data(), part.size());
    if (count == 0) return std::nullopt;
    if (count > 0) buffer_.append(part.data(), static_cast<std::size_t>(count));
  }
}

void LineProgram::signal(int number) const {
  if (process_ > 0) ::kill(process_, number);
}

void LineProgram::kill() {
  if (process_ <= 0) return;
  ::kill(process_, SIGKILL);
  while (::waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
  }
  process_ = -1;
}

bool LineProgram::ends(Duration limit) {
  // Its standard output ends with it.
  const auto deadline = Clock::now() + limit;
  std::array<char, 4096> part{};
  while (readable(output_, deadline)) {
    const auto count = ::read(output_, part.data(), part.size());
    if (count > 0 || (count < 0 && errno == EINTR)) continue;
    while (::waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
    }
    process_ = -1;
    return true;
  }
  return false;
}

// ErlangNode

ErlangNode::ErlangNode(const Cluster& cluster, const std::string& short_name, const std::string& cookie)
    : name_(short_name + "@127.0.0.1") {
  const auto discovery = cluster.config(short_name).discovery_dir;
  log_ = discovery.parent_path() / (short_name + ".log");
  program_ = std::make_unique<LineProgram>(
      std::vector<std::string>{upstream_directory() + "/run-node", name_.string(), "0",
                               cluster.data(short_name).string(), discovery.string(), cookie},
      log_);
  constexpr std::chrono::seconds start_max{120};  // one second when nothing else runs
  const auto ready = program_->read_line(start_max);
  if (!ready || !ready->starts_with("ready " + name_.string() + " ")) {
    std::ostringstream text;
    text << ready.value_or("no answer") << '\n' << std::ifstream(log_).rdbuf();
    throw ErlangError("the Erlang node did not start: " + text.str());
  }
}

void ErlangNode::start(const std::string& expressions) {
  program_->write_line("binary:encode_hex(term_to_binary(begin " + expressions + " end)).");
}

Term ErlangNode::finish(Duration limit) {
  const auto line = program_->read_line(limit);
  if (!line) throw ErlangError("no answer from " + name_.string() + " in time");
  constexpr std::string_view before = "ok <<\"";
  constexpr std::string_view after = "\">>";
  if (!line->starts_with(before) || !line->ends_with(after)) throw ErlangError(*line);
  const auto digits = std::string_view(*line).substr(before.size(), line->size() - before.size() - after.size());
  auto decoded = decode_term(from_hex(digits));
  if (!decoded) throw ErlangError(decoded.error().message());
  return decoded->term;
}

Term ErlangNode::eval(const std::string& expressions, Duration limit) {
  start(expressions);
  return finish(limit);
}

void ErlangNode::load(const std::string& source) {
  std::string line = source;
  std::ranges::replace(line, '\n', ' ');
  eval(
      "(fun(Text) -> {ok, Tokens, _} = erl_scan:string(Text), Split = fun Next([], []) -> [];"
      " Next([{dot, _} = Dot | Rest], Form) -> {ok, Parsed} = erl_parse:parse_form(lists:reverse([Dot | Form])),"
      " [Parsed | Next(Rest, [])]; Next([Token | Rest], Form) -> Next(Rest, [Token | Form]) end,"
      " {ok, Module, Beam} = compile:forms(Split(Tokens, [])),"
      " {module, Module} = code:load_binary(Module, atom_to_list(Module), Beam) end)(\"" +
      line + "\")");
}

bool ErlangNode::becomes(const std::string& condition, Duration limit) {
  // In a fun, so that what the condition binds is bound anew each time. What it raises is no yes.
  std::ostringstream text;
  text << "(fun() -> Holds = fun() -> try " << condition << " of Value -> Value =:= true catch _:_ -> false end end,"
       << " End = erlang:monotonic_time(millisecond) + " << limit.count() << ", (fun Look() -> Holds() orelse"
       << " (erlang:monotonic_time(millisecond) < End andalso receive after 20 -> Look() end) end)() end)()";
  return eval(text.str(), limit + answer_max).is_atom("true");
}

bool ErlangNode::lists(const NodeName& node, bool listed, Duration limit) {
  // Subscribed before the look, so that no change is missed. The messages of other nodes are of no interest.
  std::ostringstream text;
  text << "(fun() -> net_kernel:monitor_nodes(true), End = erlang:monotonic_time(millisecond) + " << limit.count()
       << ", Good = fun() -> lists:member('" << node.text() << "', nodes()) =:= " << (listed ? "true" : "false")
       << " end, Result = (fun Look() -> Good() orelse receive {Change, _} when Change =:= nodeup; Change =:= nodedown"
       << " -> Look() after max(0, End - erlang:monotonic_time(millisecond)) -> Good() end end)(),"
       << " net_kernel:monitor_nodes(false), (fun Drop() -> receive {nodeup, _} -> Drop(); {nodedown, _} -> Drop()"
       << " after 0 -> ok end end)(), Result end)()";
  return eval(text.str(), limit + answer_max).is_atom("true");
}

std::map<std::string, std::string> ErlangNode::processes() {
  const Term list =
      eval("[{Name, whereis(Name)} || Name <- registered(), lists:prefix(\"barrel_p2p\", atom_to_list(Name))]");
  std::map<std::string, std::string> processes;
  for (const auto& pair : list.elements()) processes.emplace(to_text(pair[0]), to_text(pair[1]));
  return processes;
}

std::string ErlangNode::log() {
  eval("logger_std_h:filesync(default)");
  std::ostringstream text;
  text << std::ifstream(log_).rdbuf();
  return text.str();
}

bool ErlangNode::stop() {
  program_->write_line("init:stop().");
  constexpr std::chrono::seconds stop_max{15};
  return program_->ends(stop_max);
}

}  // namespace barrel_p2p::test
