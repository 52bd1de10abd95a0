#include "node/peers_file.hpp"

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/node_name.hpp>
#include <sstream>
#include <string_view>
#include <utility>

#include "distribution/auth/files.hpp"
#include "distribution/discovery.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {
namespace {

constexpr std::string_view header = "barrel_p2p peers 1";
/// More than `known_peers_max` lines of the greatest length.
constexpr std::size_t file_bytes_max = 1024UL * 1024;

/// Error: what is wrong with the line.
Result<KnownPeer> parse_line(const std::string& line) {
  const auto space = line.find(' ');
  const auto name = NodeName::parse(line.substr(0, space));
  if (!name) return std::unexpected(name.error());
  KnownPeer peer{name->atom(), {}};
  if (space == std::string::npos) return peer;
  peer.address = line.substr(space + 1);
  if (const auto address = distribution::parse_host_port(peer.address); !address) {
    return std::unexpected(address.error());
  }
  return peer;
}

std::unexpected<Error> unreadable(const Error& error, const std::filesystem::path& file) {
  return fail(error.code() == Errc::not_found ? Errc::io_error : error.code(),
              error.context() + "; make " + file.string() + " readable, or remove it: it only holds names of peers");
}

}  // namespace

Result<std::vector<KnownPeer>> read_peers(const std::filesystem::path& file,
                                          const std::function<void(const std::string&)>& warn) {
  const auto bytes = distribution::read_small_file(file, file_bytes_max, distribution::FileCare::any);
  std::vector<KnownPeer> peers;
  if (!bytes && bytes.error() == Errc::not_found) return peers;
  if (!bytes) return unreadable(bytes.error(), file);
  std::istringstream text(std::string(bytes->begin(), bytes->end()));
  std::string line;
  if (!std::getline(text, line) || line != header) {
    return unreadable(Error(Errc::corrupt, file.string() + " does not begin with \"" + std::string(header) + "\""),
                      file);
  }
  for (std::size_t number = 2; std::getline(text, line) && peers.size() < known_peers_max; ++number) {
    auto peer = parse_line(line);
    if (peer) {
      peers.push_back(std::move(*peer));
    } else {
      warn(file.string() + ", line " + std::to_string(number) + " is skipped: " + peer.error().message());
    }
  }
  return peers;
}

Result<void> write_peers(const std::filesystem::path& file, const std::vector<KnownPeer>& peers) {
  std::error_code ignored;
  if (const auto directory = file.parent_path(); !directory.empty() && !std::filesystem::exists(directory, ignored)) {
    if (auto made = distribution::make_private_directory(directory); !made) return made;
  }
  std::string text = std::string(header) + "\n";
  for (const auto& peer : peers) {
    text.append(peer.node.text());
    if (!peer.address.empty()) text.append(" ").append(peer.address);
    text += '\n';
  }
  return distribution::write_private_file(file, as_bytes(text));
}

PeersWriter::PeersWriter(std::filesystem::path file, std::function<void(const Error&)> failed, Milliseconds retry_after)
    : file_(std::move(file)), failed_(std::move(failed)), retry_after_(retry_after), thread_([this] { run(); }) {}

PeersWriter::~PeersWriter() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void PeersWriter::write(std::vector<KnownPeer> peers) {
  {
    const std::lock_guard lock(mutex_);
    waiting_ = std::move(peers);
  }
  changed_.notify_all();
}

void PeersWriter::run() {
  std::optional<std::vector<KnownPeer>> refused;
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto wished = [&] { return stop_ || waiting_; };
    if (refused) {
      changed_.wait_for(lock, retry_after_, wished);
    } else {
      changed_.wait(lock, wished);
    }
    if (!waiting_ && !refused) return;
    const bool last = stop_;
    auto peers = waiting_ ? *std::exchange(waiting_, std::nullopt) : std::move(*refused);
    lock.unlock();
    const auto written = write_peers(file_, peers);
    if (!written && !refused) failed_(written.error());
    refused = written ? std::nullopt : std::optional(std::move(peers));
    lock.lock();
    if (last && !waiting_) return;
  }
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
