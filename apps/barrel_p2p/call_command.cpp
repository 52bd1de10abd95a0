#include "call_command.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <barrel_p2p/node.hpp>
#include <cstdlib>
#include <optional>
#include <ostream>
#include <utility>

#include "command_line.hpp"
#include "distribution/auth/certificate.hpp"

namespace barrel_p2p::command {
namespace {

/// An identity of our own that no other call uses at the moment. Nodes pin the names that they meet, so the names of
/// calls must not grow in number: each slot keeps its name and its key.
class Slot {
 public:
  static std::optional<Slot> take(const std::filesystem::path& root) {
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
  Slot(Slot&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)), number_(other.number_), root_(std::move(other.root_)) {}
  Slot& operator=(Slot&&) = delete;
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;
  ~Slot() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  [[nodiscard]] std::string name() const { return "call-" + std::to_string(number_) + "@" + host(); }
  [[nodiscard]] std::filesystem::path directory() const { return root_ / ("call-" + std::to_string(number_)); }

 private:
  Slot(int descriptor, int number, std::filesystem::path root)
      : descriptor_(descriptor), number_(number), root_(std::move(root)) {}
  static std::string host() {
    constexpr std::size_t host_bytes_max = 200;
    char text[host_bytes_max + 1]{};
    if (::gethostname(text, host_bytes_max) != 0) return "localhost";
    const std::string name = std::string(text) + "." + std::to_string(::getuid());
    return NodeName::parse("x@" + name) ? name : "localhost";
  }
  int descriptor_;
  int number_;
  std::filesystem::path root_;
};

std::filesystem::path kept_identities() {
  if (const char* data = std::getenv("XDG_DATA_HOME"); data != nullptr && *data != '\0') {
    return std::filesystem::path(data) / "barrel_p2p";
  }
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home == '\0') home = "/tmp";
  return std::filesystem::path(home) / ".local" / "share" / "barrel_p2p";
}

int complain(std::ostream& errors, int status, const std::string& what) {
  errors << "barrel_p2p call: " << what << '\n';
  return status;
}

}  // namespace

int run_call_command(const CallCommand& command, std::ostream& output, std::ostream& errors) {
  const auto target = NodeName::parse(command.node);
  if (!target) return complain(errors, exit_usage, target.error().message());
  const auto arguments = parse_term(command.arguments);
  if (!arguments) return complain(errors, exit_usage, "the arguments: " + arguments.error().message());
  if (!arguments->is_proper_list())
    return complain(errors, exit_usage, "the arguments must be a list, for instance [1,2]");
  const auto module = Atom::make(command.module);
  const auto function = Atom::make(command.function);
  if (!module || !function) return complain(errors, exit_usage, "module and function must be atoms");

  if (command.certificate.empty() != command.certificate_key.empty()) {
    return complain(errors, exit_usage, "--cert and --key belong together: give both or neither");
  }
  if (!command.certificate.empty()) {
    const auto readable = distribution::load_certificate(command.certificate, command.certificate_key);
    if (!readable) return complain(errors, exit_usage, readable.error().message());
  }

  auto slot = Slot::take(kept_identities());
  if (!slot && (command.name.empty() || command.key_dir.empty())) {
    return complain(errors, exit_failed,
                    "cannot write to " + kept_identities().string() + ": give --name and --key-dir");
  }
  NodeConfig config;
  config.name = command.name.empty() ? slot->name() : command.name;
  config.data_dir = slot ? slot->directory() : command.key_dir;
  config.authentication.key_dir = command.key_dir;
  config.certificate_file = command.certificate;
  config.certificate_key_file = command.certificate_key;
  config.cookie = command.cookie;
  config.discovery_dir = command.discovery_dir.empty() ? "data/discovery" : command.discovery_dir;
  // Nobody needs to find us: no endpoint file of ours.
  config.discovery_backends = {"static", "file"};
  config.hidden = true;
  config.publish = false;
  config.workers = 1;
  config.log_level = command.verbose ? LogLevel::debug : LogLevel::off;
  if (!command.at.empty()) config.static_nodes[command.node] = command.at;
  auto node = Node::start(config);
  if (!node)
    return complain(errors, node.error() == Errc::invalid_config ? exit_usage : exit_failed, node.error().message());

  if (const auto connected = node->connect(*target, command.timeout); !connected) {
    return complain(errors, CallCommand::exit_connect_failed,
                    "cannot connect to " + command.node + ": " + connected.error().message());
  }
  std::vector<Term> list(arguments->elements().begin(), arguments->elements().end());
  const auto result = node->call_function(*target, *module, *function, std::move(list), command.timeout);
  if (!result) return complain(errors, CallCommand::exit_badrpc, "badrpc: " + result.error().message());
  output << to_text(*result) << std::endl;  // NOLINT: flushed before the node stops
  return exit_ok;
}

}  // namespace barrel_p2p::command
