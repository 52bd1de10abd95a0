#include "top_command.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <mutex>
#include <optional>
#include <ostream>
#include <string_view>
#include <thread>
#include <utility>

#include "command_line.hpp"
#include "complaint.hpp"
#include "cp_progress.hpp"
#include "interrupts.hpp"
#include "status_command.hpp"

namespace barrel_p2p::command {
namespace {

/// The alternate screen without cursor, and keys without Enter; as it was before when this goes.
class Screen {
 public:
  explicit Screen(int terminal) : terminal_(terminal) {
    if (::tcgetattr(terminal, &before_) != 0) return;
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    active_ = ::tcsetattr(terminal, TCSADRAIN, &raw) == 0;
    if (active_) write("\x1b[?1049h\x1b[?25l");
  }
  ~Screen() {
    if (!active_) return;
    write("\x1b[?25h\x1b[?1049l");
    ::tcsetattr(terminal_, TCSADRAIN, &before_);
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  [[nodiscard]] std::pair<std::size_t, std::size_t> size() const {
    constexpr std::size_t usual_rows = 24;
    constexpr std::size_t usual_columns = 80;
    winsize size{};
    if (::ioctl(terminal_, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0)
      return {usual_rows, usual_columns};
    return {size.ws_row, size.ws_col};
  }
  void draw(const std::vector<std::string>& lines) const {
    std::string page = "\x1b[H";
    for (std::size_t index = 0; index < lines.size(); ++index) {
      page += (index == 0 ? "" : "\r\n") + lines[index] + "\x1b[K";
    }
    write(page + "\x1b[J");
  }

 private:
  void write(std::string_view text) const {
    while (!text.empty()) {
      const auto count = ::write(terminal_, text.data(), text.size());
      if (count < 0 && errno != EINTR) return;  // it went: a signal follows
      if (count > 0) text.remove_prefix(static_cast<std::size_t>(count));
    }
  }

  int terminal_;
  termios before_{};
  bool active_ = false;
};

/// Asks the node again and again, on a thread of its own, so that keys are answered meanwhile.
class Poller {
 public:
  struct Seen {
    std::optional<NodeState> state;
    std::vector<Rate> rates;
    std::string trouble;
  };

  Poller(Remote& remote, std::chrono::milliseconds period, NodeState first)
      : remote_(remote), period_(period), descriptor_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    seen_.rates.resize(first.peers.size());
    seen_.state = std::move(first);
    thread_ = std::thread([this] { run(); });
  }
  ~Poller() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    remote_.visitor().stop();  // ends a call that waits
    thread_.join();
    ::close(descriptor_);
  }
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  /// Readable when there is something new.
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
  [[nodiscard]] Seen seen() {
    std::uint64_t rung = 0;
    (void)!::read(descriptor_, &rung, sizeof(rung));
    const std::lock_guard lock(mutex_);
    return seen_;
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, period_, [this] { return stop_; })) {
      lock.unlock();
      auto state = node_state(remote_);
      lock.lock();
      if (state) {
        seen_.rates = rates(*seen_.state, *state);
        seen_.state = std::move(*state);
        seen_.trouble.clear();
      } else {
        seen_.trouble = state.error().message();
      }
      const std::uint64_t one = 1;
      (void)!::write(descriptor_, &one, sizeof(one));
    }
  }

  Remote& remote_;
  const std::chrono::milliseconds period_;
  const int descriptor_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  Seen seen_;
  std::thread thread_;
};

enum class Key : std::uint8_t { none, quit, up, down, page_up, page_down, home, end };

/// The keys in what the terminal sent.
std::vector<Key> keys_in(std::string_view bytes) {
  constexpr char control_c = 3;
  static constexpr std::array<std::pair<std::string_view, Key>, 14> known{{{"\x1b[A", Key::up},
                                                                           {"\x1bOA", Key::up},
                                                                           {"\x1b[B", Key::down},
                                                                           {"\x1bOB", Key::down},
                                                                           {"\x1b[5~", Key::page_up},
                                                                           {"\x1b[6~", Key::page_down},
                                                                           {"\x1b[H", Key::home},
                                                                           {"\x1b[F", Key::end},
                                                                           {"k", Key::up},
                                                                           {"j", Key::down},
                                                                           {"g", Key::home},
                                                                           {"G", Key::end},
                                                                           {"q", Key::quit},
                                                                           {" ", Key::page_down}}};
  std::vector<Key> keys;
  while (!bytes.empty()) {
    if (bytes[0] == control_c) {
      keys.push_back(Key::quit);
      bytes.remove_prefix(1);
      continue;
    }
    const auto found = std::ranges::find_if(known, [&](const auto& one) { return bytes.starts_with(one.first); });
    if (found != known.end()) keys.push_back(found->second);
    bytes.remove_prefix(found != known.end() ? found->first.size() : 1);
  }
  return keys;
}

std::size_t moved(Key key, std::size_t offset, std::size_t rows, std::size_t last) {
  switch (key) {
    case Key::up: return offset > 0 ? offset - 1 : 0;
    case Key::down: return std::min(offset + 1, last);
    case Key::page_up: return offset > rows ? offset - rows : 0;
    case Key::page_down: return std::min(offset + rows, last);
    case Key::home: return 0;
    case Key::end: return last;
    case Key::none:
    case Key::quit: return offset;
  }
  return offset;
}

/// Cut after so many characters, of which UTF-8 has one for each byte that is no continuation.
std::string cut(std::string_view line, std::size_t columns) {
  constexpr unsigned char continuation_mask = 0xC0;
  constexpr unsigned char continuation = 0x80;
  std::string result;
  std::size_t width = 0;
  for (const char byte : line) {
    const auto code = static_cast<unsigned char>(byte);
    if ((code & continuation_mask) != continuation && ++width > columns) break;
    // What a peer calls itself must not move the cursor.
    constexpr unsigned char space = 0x20;
    constexpr unsigned char erase = 0x7f;
    result += code < space || code == erase ? '?' : byte;
  }
  return result;
}

std::vector<std::string> body(const NodeState& state, const std::vector<Rate>& rates) {
  auto lines = status_lines(state);
  std::vector<std::string> traffic;
  for (std::size_t index = 0; index < std::min(rates.size(), state.peers.size()); ++index) {
    const auto& [sent, received] = rates[index];
    if (!sent || !received) continue;
    traffic.push_back("  " + state.peers[index].name + "  " + human_bytes(*sent) + "/s out, " + human_bytes(*received) +
                      "/s in");
  }
  if (!traffic.empty()) traffic.insert(traffic.begin(), "traffic");
  lines.insert(lines.end(), traffic.begin(), traffic.end());
  return lines;
}

int watch(Remote& remote, NodeState first, const TopCommand& command, int terminal, const Interrupts& interrupts) {
  Poller poller(remote, command.period, std::move(first));
  const Screen page(terminal);
  std::size_t offset = 0;
  auto seen = poller.seen();
  for (;;) {
    const auto [rows, columns] = page.size();
    offset = std::min(offset, last_offset(*seen.state, seen.rates, rows));
    page.draw(screen(*seen.state, seen.rates, seen.trouble, offset, rows, columns));
    std::array<pollfd, 3> polled{pollfd{terminal, POLLIN, 0}, pollfd{poller.descriptor(), POLLIN, 0},
                                 pollfd{interrupts.descriptor(), POLLIN, 0}};
    ::poll(polled.data(), polled.size(), -1);
    if (const int signal = interrupts.take(); signal != 0 && signal != SIGWINCH) return exit_ok;
    if ((polled[1].revents & POLLIN) != 0) seen = poller.seen();
    if (polled[0].revents == 0) continue;
    std::array<char, 64> bytes{};
    const auto count = ::read(terminal, bytes.data(), bytes.size());
    if (count <= 0) return exit_ok;  // the terminal went
    for (const Key key : keys_in({bytes.data(), static_cast<std::size_t>(count)})) {
      if (key == Key::quit) return exit_ok;
      offset = moved(key, offset, rows, last_offset(*seen.state, seen.rates, rows));
    }
  }
}

}  // namespace

std::vector<Rate> rates(const NodeState& earlier, const NodeState& now) {
  std::vector<Rate> result;
  constexpr double second_ms = 1000;
  const double seconds = static_cast<double>(now.time - earlier.time) / second_ms;
  for (const auto& peer : now.peers) {
    Rate& rate = result.emplace_back();
    const auto before = std::ranges::find(earlier.peers, peer.name, &PeerLine::name);
    if (before == earlier.peers.end() || seconds <= 0) continue;
    const auto difference = [&](const std::optional<std::uint64_t>& was,
                                const std::optional<std::uint64_t>& is) -> std::optional<double> {
      if (!was || !is || *is < *was) return std::nullopt;  // another connection
      return static_cast<double>(*is - *was) / seconds;
    };
    rate.sent = difference(before->sent_bytes, peer.sent_bytes);
    rate.received = difference(before->received_bytes, peer.received_bytes);
  }
  return result;
}

std::vector<std::string> screen(const NodeState& state, const std::vector<Rate>& rates, const std::string& trouble,
                                std::size_t offset, std::size_t rows, std::size_t columns) {
  const auto lines = body(state, rates);
  std::vector<std::string> page;
  const std::size_t room = std::max<std::size_t>(rows, 2) - 1;
  for (std::size_t index = offset; index < lines.size() && page.size() < room; ++index) {
    page.push_back(cut(lines[index], columns));
  }
  page.resize(room);
  const std::string last = trouble.empty() ? "q quits, arrows and space move, as of " + time_text(state.time)
                                           : "no answer since " + time_text(state.time) + ": " + trouble;
  page.push_back(cut(last, columns));
  return page;
}

std::size_t last_offset(const NodeState& state, const std::vector<Rate>& rates, std::size_t rows) {
  const std::size_t lines = body(state, rates).size();
  const std::size_t room = std::max<std::size_t>(rows, 2) - 1;
  return lines > room ? lines - room : 0;
}

int run_top_command(const TopCommand& command, int terminal, std::ostream& output, std::ostream& errors) {
  const Complaints complaints{errors, "top", command.json};
  const bool once = command.once || terminal < 0 || command.json;
  std::optional<Interrupts> interrupts;
  if (!once) interrupts.emplace(std::initializer_list<int>{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH});
  auto remote = Remote::open(command);
  if (!remote) return complaints.tell(remote.error().status, remote.error().text);
  auto state = node_state(*remote);
  if (!state) return complaints.tell(exit_not_answered, remote->text_of(state.error(), "members"));
  if (!once) return watch(*remote, std::move(*state), command, terminal, *interrupts);
  if (command.json) {
    output << to_json(*state).text() << '\n';
  } else {
    for (const auto& line : status_lines(*state)) output << line << '\n';
  }
  output.flush();
  return exit_ok;
}

}  // namespace barrel_p2p::command
