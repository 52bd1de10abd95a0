#include "cp_command.hpp"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <optional>
#include <ostream>
#include <span>
#include <thread>
#include <utility>

#include "command_line.hpp"
#include "complaint.hpp"
#include "cp_progress.hpp"
#include "cp_sender.hpp"
#include "distribution/auth/ed25519.hpp"
#include "node/files/path_rules.hpp"

namespace barrel_p2p::command {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using FailureKind = CopyFailure::Kind;

constexpr std::chrono::milliseconds pause_min{100};
constexpr std::chrono::milliseconds retry_pause_max{5000};

/// The name that a file has by itself; that of the directory for `.` and the like.
std::string own_name(const fs::path& file) {
  std::error_code error;
  const auto name = file.filename();
  if (!name.empty() && name != "." && name != "..") return name.string();
  return fs::weakly_canonical(file, error).filename().string();
}

/// Copies one thing after the other over one stream, and another one where that ends.
class Copier {
 public:
  Copier(const CpCommand& command, Node& node, CopyDestination destination, CopyReport& report)
      : command_(command),
        node_(node),
        target_(destination.node),
        destination_(std::move(destination)),
        report_(report) {}

  /// False: what is left would fail too.
  bool copy(const std::string& file) {
    files::Offer offer;
    offer.path = destination_.path;
    offer.name = own_name(file);
    if (destination_.into) offer.flags |= files::flag_into;
    std::error_code error;
    if (!fs::is_directory(file, error)) return copy_file(file, offer);
    if (!command_.recursive) return fail(file, "is a directory: give -r to copy it with all that is in it");
    return copy_directory(file, offer);
  }
  [[nodiscard]] int status() const noexcept { return status_; }

 private:
  bool fail(const std::string& file, const std::string& reason) {
    report_.failed(file, reason);
    status_ = std::max<int>(status_, exit_failed);
    return true;
  }
  bool fail(const std::string& file, const CopyFailure& failure) {
    sender_.reset();
    fail(file, failure.text);
    if (failure.kind == FailureKind::again) status_ = exit_connect_failed;
    return failure.kind == FailureKind::file;
  }

  CopyOutcome<void> connect() {
    if (sender_) return {};
    if (auto connected = node_.connect(target_, command_.timeout); !connected) {
      return std::unexpected(CopyFailure{FailureKind::again, "cannot connect: " + connected.error().message()});
    }
    auto sender = CopySender::open(node_, target_, command_.timeout, command_.bytes_per_second);
    if (!sender) return std::unexpected(std::move(sender.error()));
    sender_.emplace(std::move(*sender));
    return {};
  }

  /// Does it again while that may help, with pauses that double.
  template <class T>
  CopyOutcome<T> persist(const std::function<CopyOutcome<T>()>& attempt) {
    moved_ = Clock::now();
    auto pause = pause_min;
    for (;;) {
      const auto before = moved_;
      CopyOutcome<T> outcome = std::unexpected(CopyFailure{FailureKind::again, ""});
      if (auto connected = connect(); connected) {
        outcome = attempt();
      } else {
        outcome = std::unexpected(std::move(connected.error()));
      }
      if (outcome || outcome.error().kind != FailureKind::again) return outcome;
      sender_.reset();
      if (moved_ != before) pause = pause_min;
      if (Clock::now() + pause > moved_ + command_.retry) return outcome;
      report_.retry(outcome.error().text, pause);
      std::this_thread::sleep_for(pause);
      pause = std::min(2 * pause, retry_pause_max);
    }
  }

  bool copy_file(const fs::path& file, files::Offer offer) {
    if (command_.no_clobber) offer.flags |= files::flag_no_clobber;
    if (command_.force) offer.flags |= files::flag_force;
    if (auto checked = files::check_name(offer.name); !checked) return fail(file.string(), checked.error().context());
    std::uint64_t farthest = 0;
    const auto attempt = [&]() -> CopyOutcome<Copied> {
      // Opened for each attempt: what changed between two is another file, which is copied from its beginning.
      const auto source = CopySource::open(file);
      if (!source) return std::unexpected(CopyFailure{FailureKind::file, source.error()});
      CopyWatcher watcher;
      watcher.begin = [&](std::uint64_t from) { report_.begin(file.string(), from, source->size()); };
      watcher.progress = [&](std::uint64_t bytes) {
        report_.progress(bytes);
        if (bytes <= farthest) return;
        farthest = bytes;
        moved_ = Clock::now();
      };
      return sender_->send_file(*source, offer, watcher);
    };
    const auto copied = persist<Copied>(attempt);
    if (!copied) return fail(file.string(), copied.error());
    report_.done(destination_.node + ":" + copied->path, distribution::to_hex(copied->digest));
    return true;
  }

  bool copy_directory(const fs::path& directory, const files::Offer& given) {
    files::Offer offer = given;
    offer.kind = files::Kind::directory;
    std::error_code error;
    const auto permissions = fs::status(directory, error).permissions();
    offer.mode = static_cast<std::uint16_t>(static_cast<unsigned>(permissions) & files::mode_max);
    const auto made = persist<std::string>([&] { return sender_->make_directory(offer); });
    if (!made) return fail(directory.string(), made.error());
    if (auto checked = files::components_of(*made); !checked)
      return fail(directory.string(), checked.error().context());
    std::vector<fs::path> inner;
    for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
      inner.push_back(at->path());
    }
    if (error) return fail(directory.string(), error.message());
    std::ranges::sort(inner);
    for (const auto& path : inner) {
      if (!copy_entry(path, *made)) return false;
    }
    return true;
  }

  bool copy_entry(const fs::path& path, const std::string& directory) {
    files::Offer offer;
    offer.name = path.filename().string();
    offer.path = directory + "/" + offer.name;
    offer.flags = files::flag_exact;
    std::error_code error;
    switch (fs::symlink_status(path, error).type()) {
      case fs::file_type::directory: return copy_directory(path, offer);
      case fs::file_type::regular: return copy_file(path, offer);
      case fs::file_type::symlink: return fail(path.string(), "is a symbolic link: not copied");
      default: return fail(path.string(), error ? error.message() : "is neither a file nor a directory: not copied");
    }
  }

  const CpCommand& command_;
  Node& node_;
  const NodeName target_;
  const CopyDestination destination_;
  CopyReport& report_;
  std::optional<CopySender> sender_;
  Clock::time_point moved_{};  ///< When something arrived last.
  int status_ = exit_ok;
};

/// What makes no sense, before anything is done.
std::optional<std::string> misuse(const CpCommand& command) {
  if (command.paths.size() < 2) return "give FILE NODE:PATH";
  if (command.no_clobber && command.force) return "--no-clobber and --force contradict each other";
  const auto sources = std::span(command.paths).first(command.paths.size() - 1);
  if (std::ranges::any_of(sources, is_on_a_node)) {
    return "files are copied to a node, not from one: FILE NODE:PATH (write ./FILE for a local name with : in it)";
  }
  if (!is_on_a_node(command.paths.back()))
    return command.paths.back() + " is no NODE:PATH, for instance a@127.0.0.1:in/";
  return std::nullopt;
}

}  // namespace

bool is_on_a_node(std::string_view text) {
  const auto at = text.find('@');
  const auto colon = at == std::string_view::npos ? at : text.find(':', at);
  return colon != std::string_view::npos && text.find('/') > colon;
}

std::expected<CopyDestination, std::string> parse_destination(std::string_view text) {
  CopyDestination destination;
  const auto colon = text.find(':', text.find('@'));
  destination.node = text.substr(0, colon);
  const auto node = NodeName::parse(destination.node);
  if (!node) return std::unexpected(node.error().message());
  auto path = text.substr(colon + 1);
  while (path.starts_with("./")) path.remove_prefix(2);
  if (path == ".") path = "";
  if (path.size() > 1 && path.ends_with('/')) {
    destination.into = true;
    path.remove_suffix(1);
  }
  const auto names = files::components_of(path);
  if (!names) return std::unexpected(std::string(path) + ": " + names.error().context());
  destination.path = path;
  return destination;
}

int run_cp_command(const CpCommand& command, bool terminal, std::ostream& output, std::ostream& errors) {
  const Complaints complaints{errors, "cp", command.json};
  if (const auto wrong = misuse(command)) return complaints.tell(exit_usage, *wrong);
  auto destination = parse_destination(command.paths.back());
  if (!destination) return complaints.tell(exit_usage, destination.error());
  const auto sources = std::span(command.paths).first(command.paths.size() - 1);
  // As with cp: several files go into a directory.
  if (sources.size() > 1) destination->into = true;

  const auto node_name = destination->node;
  auto visitor = Visitor::start(command, node_name);
  if (!visitor) return complaints.tell(visitor.error().status, visitor.error().text);
  if (const auto failure = visitor->connect(NodeName(node_name), command.timeout)) {
    return complaints.tell(failure->status, failure->text);
  }
  auto style = CopyReport::Style::silent;
  if (command.json) {
    style = CopyReport::Style::json;
  } else if (terminal && !command.quiet) {
    style = CopyReport::Style::bar;
  }
  CopyReport report(style, output, errors);
  Copier copier(command, visitor->node(), std::move(*destination), report);
  for (const auto& file : sources) {
    if (!copier.copy(file)) break;
  }
  return copier.status();
}

}  // namespace barrel_p2p::command
