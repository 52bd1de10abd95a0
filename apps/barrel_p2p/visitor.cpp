#include "visitor.hpp"

#include <fcntl.h>
#include <netdb.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdlib>
#include <future>
#include <memory>
#include <thread>
#include <utility>

#include "command_line.hpp"
#include "distribution/auth/certificate.hpp"
#include "distribution/discovery.hpp"
#include "quic/address.hpp"

namespace barrel_p2p::command {
namespace {

std::string host() {
  constexpr std::size_t host_bytes_max = 200;
  char text[host_bytes_max + 1]{};
  if (::gethostname(text, host_bytes_max) != 0) return "localhost";
  const std::string name = std::string(text) + "." + std::to_string(::getuid());
  return NodeName::parse("x@" + name) ? name : "localhost";
}

std::filesystem::path kept_identities() {
  if (const char* data = std::getenv("XDG_DATA_HOME"); data != nullptr && *data != '\0') {
    return std::filesystem::path(data) / "barrel_p2p";
  }
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home == '\0') home = "/tmp";
  return std::filesystem::path(home) / ".local" / "share" / "barrel_p2p";
}

/// Nodes of this machine are found by their files: they have any port.
bool is_this_machine(const std::string& host) {
  const auto address = quic::Address::make(host, 0);
  return host == "localhost" || (address && address->is_loopback());
}

/// The host that name servers are asked about to find the node; empty: none.
std::string host_to_ask(const VisitorOptions& options, const NodeConfig& config, const std::string& target) {
  std::string host;
  if (!options.at.empty()) {
    const auto where = distribution::parse_host_port(options.at);
    if (where) host = where->host;
  } else if (const auto name = NodeName::parse(target)) {
    std::error_code ignored;
    const bool published = std::filesystem::exists(config.discovery_dir / (target + ".endpoint"), ignored);
    if (!published) host = name->host();
  }
  return is_this_machine(host) || quic::Address::make(host, 0) ? "" : host;
}

/// Whether the name servers say anything about the host within that time. A node that was stopped waits for them,
/// however long they take, and nothing else can end a question; so a thread asks first that nobody waits for.
bool answers_in_time(const std::string& host, std::chrono::milliseconds limit) {
  auto said = std::make_shared<std::promise<void>>();
  const auto answer = said->get_future();
  std::thread([host, said = std::move(said)] {
    addrinfo* list = nullptr;
    if (::getaddrinfo(host.c_str(), nullptr, nullptr, &list) == 0) ::freeaddrinfo(list);
    said->set_value();
  }).detach();
  return answer.wait_for(limit) == std::future_status::ready;
}

}  // namespace

std::optional<Visitor::Slot> Visitor::Slot::take(const std::filesystem::path& root) {
  constexpr int slots_max = 256;
  std::error_code ignored;
  std::filesystem::create_directories(root, ignored);
  std::filesystem::permissions(root, std::filesystem::perms::owner_all, ignored);
  for (int number = 0; number < slots_max; ++number) {
    const auto lock = root / ("call-" + std::to_string(number) + ".lock");
    constexpr mode_t mode = 0600;
    const int descriptor = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, mode);
    if (descriptor < 0) return std::nullopt;
    if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) return Slot(descriptor, number, root);
    ::close(descriptor);
  }
  return std::nullopt;
}

Visitor::Slot::Slot(int descriptor, int number, std::filesystem::path root)
    : descriptor_(descriptor), number_(number), root_(std::move(root)) {}

Visitor::Slot::Slot(Slot&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), number_(other.number_), root_(std::move(other.root_)) {}

Visitor::Slot::~Slot() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::string Visitor::Slot::name() const { return "call-" + std::to_string(number_) + "@" + host(); }

std::filesystem::path Visitor::Slot::directory() const { return root_ / ("call-" + std::to_string(number_)); }

std::expected<Visitor, VisitorFailure> Visitor::start(const VisitorOptions& options, const std::string& target) {
  const auto failed = [](int status, std::string text) {
    return std::unexpected(VisitorFailure{status, std::move(text)});
  };
  if (options.certificate.empty() != options.certificate_key.empty()) {
    return failed(exit_usage, "--cert and --key belong together: give both or neither");
  }
  if (!options.certificate.empty()) {
    const auto readable = distribution::load_certificate(options.certificate, options.certificate_key);
    if (!readable) return failed(exit_usage, readable.error().message());
  }
  auto slot = Slot::take(kept_identities());
  if (!slot && (options.name.empty() || options.key_dir.empty())) {
    return failed(exit_failed, "cannot write to " + kept_identities().string() + ": give --name and --key-dir");
  }
  NodeConfig config;
  config.name = options.name.empty() ? slot->name() : options.name;
  config.data_dir = slot ? slot->directory() : options.key_dir;
  config.authentication.key_dir = options.key_dir;
  config.certificate_file = options.certificate;
  config.certificate_key_file = options.certificate_key;
  config.cookie = options.cookie;
  config.discovery_dir = options.discovery_dir.empty() ? "data/discovery" : options.discovery_dir;
  // Nobody needs to find us: no endpoint file of ours.
  config.discovery_backends = {"static", "file"};
  const auto name = NodeName::parse(target);
  if (name && !is_this_machine(std::string(name->host()))) config.discovery_backends.emplace_back("dns");
  config.hidden = true;
  config.publish = false;
  config.workers = 1;
  config.log_level = options.verbose ? LogLevel::debug : LogLevel::off;
  if (!options.at.empty()) config.static_nodes[target] = options.at;
  if (const auto host = host_to_ask(options, config, target);
      !host.empty() && !answers_in_time(host, options.timeout)) {
    return failed(exit_connect_failed, "cannot connect to " + target + ": timeout: no name server says where " + host +
                                           " is; give the address with --at HOST:PORT");
  }
  auto node = Node::start(config);
  if (!node) {
    return failed(node.error() == Errc::invalid_config ? exit_usage : exit_failed, node.error().message());
  }
  return Visitor(std::move(slot), std::move(*node),
                 options.key_dir.empty() ? config.data_dir / "keys" : options.key_dir);
}

std::optional<VisitorFailure> Visitor::connect(const NodeName& node, std::chrono::milliseconds timeout) {
  const auto connected = node_.connect(node, timeout);
  if (connected) return std::nullopt;
  std::string text = "cannot connect to " + node.string() + ": " + connected.error().message();
  if (connected.error() == Errc::unreachable) {
    text += ". Give the --discovery-dir in which it publishes itself, or --at HOST:PORT";
  }
  if (connected.error() == Errc::key_mismatch) {
    text += ". Who made its key anew knows why, and may take the old one back: barrel_p2p keys unpin " + node.string() +
            " --key-dir " + key_dir_.string();
  }
  return VisitorFailure{exit_connect_failed, std::move(text)};
}

}  // namespace barrel_p2p::command
