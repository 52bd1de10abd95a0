// What can be looked at without talking to anybody.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <system_error>
#include <utility>

#include "base/clock.hpp"
#include "cp_progress.hpp"
#include "distribution/auth/certificate.hpp"
#include "doctor_command.hpp"
#include "node/validate.hpp"
#include "node_state.hpp"
#include "quic/address.hpp"
#include "quic/endpoint.hpp"
#include "replication/store.hpp"

namespace barrel_p2p::command {
namespace {

namespace fs = std::filesystem;
using Level = Finding::Level;

fs::path directory_of(const NodeConfig& config, const fs::path& given, const char* name) {
  return given.empty() ? config.data_dir / name : given;
}

std::string octal(mode_t mode) {
  std::array<char, 16> text{};
  constexpr mode_t permissions = 07777;
  std::snprintf(text.data(), text.size(), "%03o", static_cast<unsigned>(mode & permissions));
  return text.data();
}

/// The inodes of UDP sockets that are bound to the port: of `/proc/net/udp` and `udp6`.
std::set<std::string> udp_inodes(std::uint16_t port) {
  std::array<char, 8> hex{};
  std::snprintf(hex.data(), hex.size(), ":%04X", static_cast<unsigned>(port));
  std::set<std::string> inodes;
  for (const char* table : {"/proc/net/udp", "/proc/net/udp6"}) {
    std::ifstream lines(table);
    std::string line;
    while (std::getline(lines, line)) {
      // sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode
      std::istringstream words(line);
      std::string word;
      std::string local;
      for (int column = 0; words >> word; ++column) {
        if (column == 1) local = word;
        if (column == 9 && local.ends_with(hex.data())) inodes.insert(word);
      }
    }
  }
  return inodes;
}

std::string program_of(const fs::path& process) {
  std::string name;
  std::ifstream file(process / "comm");
  std::getline(file, name);
  return name;
}

/// `barrel_p2p (process 123)`; empty when it cannot be told, for instance of processes of other users.
std::string holder_of(std::uint16_t port) {
  const auto inodes = udp_inodes(port);
  std::error_code ignored;
  for (const auto& process : fs::directory_iterator("/proc", ignored)) {
    const std::string pid = process.path().filename().string();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    std::error_code unreadable;
    for (const auto& file : fs::directory_iterator(process.path() / "fd", unreadable)) {
      std::error_code gone;
      const std::string target = fs::read_symlink(file.path(), gone).string();
      constexpr std::string_view prefix = "socket:[";
      if (!target.starts_with(prefix)) continue;
      const std::string inode = target.substr(prefix.size(), target.size() - prefix.size() - 1);
      if (inodes.contains(inode)) return program_of(process.path()) + " (process " + pid + ")";
    }
  }
  return {};
}

/// 0, or why it cannot be bound.
int bind_error(const quic::Address& address) {
  const int socket = ::socket(address.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return errno;
  const int error = ::bind(socket, address.data(), address.size()) == 0 ? 0 : errno;
  ::close(socket);
  return error;
}

/// A file that only its owner may read and write.
void check_secret(const fs::path& file, Findings& findings) {
  struct stat about{};
  if (::stat(file.c_str(), &about) != 0) return;  // made when the node starts
  constexpr mode_t others = 077;
  if ((about.st_mode & others) != 0) {
    findings.push_back(
        {Level::problem, "keys",
         file.string() + " has mode " + octal(about.st_mode) + ": others may read or write a private key",
         "chmod 600 " + file.string()});
  }
  if (about.st_uid != ::geteuid() && ::geteuid() != 0) {
    findings.push_back({Level::problem, "keys",
                        file.string() + " belongs to another user (" + std::to_string(about.st_uid) + ")",
                        "run the node as that user, or chown " + std::to_string(::geteuid()) + " " + file.string()});
  }
}

/// A directory in which nobody else may put files.
void check_directory(const fs::path& directory, Findings& findings) {
  struct stat about{};
  if (::stat(directory.c_str(), &about) != 0) return;
  constexpr mode_t others_write = 022;
  if ((about.st_mode & others_write) == 0) return;
  findings.push_back({Level::problem, "keys",
                      directory.string() + " has mode " + octal(about.st_mode) + ": others may put keys there",
                      "chmod 700 " + directory.string()});
}

/// Files and directories below it that belong to somebody else: to root, who made them by hand for instance.
void check_owners(const fs::path& directory, Findings& findings) {
  struct stat above{};
  if (::stat(directory.c_str(), &above) != 0) return;
  std::string first;
  std::size_t count = 0;
  bool unreadable = false;
  std::error_code stop;
  for (fs::recursive_directory_iterator at(directory, stop), end; !stop && at != end; at.increment(stop)) {
    struct stat about{};
    if (::stat(at->path().c_str(), &about) != 0 || about.st_uid == above.st_uid) continue;
    if (++count == 1) first = at->path().string();
    const mode_t needed = S_IROTH | (about.st_gid == above.st_gid ? S_IRGRP : 0U);
    unreadable = unreadable || (above.st_uid != 0 && (about.st_mode & needed) == 0);
  }
  if (count == 0) return;
  const std::string whose =
      count == 1 ? first + " belongs" : first + " and " + std::to_string(count - 1) + " more belong";
  findings.push_back({unreadable ? Level::problem : Level::warning, "keys",
                      whose + " to another user than " + directory.string() +
                          (unreadable ? ": a node that runs as its owner cannot read all of it"
                                      : ": that user may change what the node goes by"),
                      "chown -R --reference=" + directory.string() + " " + directory.string()});
}

/// What exists of a path: itself, or the directory in which it would be made.
fs::path existing_part(fs::path path) {
  std::error_code ignored;
  path = fs::absolute(path, ignored);
  while (!path.empty() && !fs::exists(path, ignored) && path != path.parent_path()) path = path.parent_path();
  return path;
}

/// Nodes of this machine find each other by their files, whatever the port.
bool is_of_another_machine(const NodeName& node) {
  const auto address = quic::Address::make(std::string(node.host()), 0);
  return node.host() != "localhost" && !(address && address->is_loopback());
}

/// Whether others find this node in DNS at a port that it does not have.
bool is_missed_in_dns(const NodeConfig& config) {
  if (config.port != 0 || std::ranges::find(config.discovery_backends, "dns") == config.discovery_backends.end()) {
    return false;
  }
  return std::ranges::any_of(config.membership.contacts, [&](const std::string& contact) {
    const auto name = NodeName::parse(contact);
    return name && contact != config.name && is_of_another_machine(*name) && !config.static_nodes.contains(contact);
  });
}

Finding small_buffer(const std::string& key, long value, long wanted) {
  const std::string setting = key + " = " + std::to_string(wanted);
  return {Level::warning, "buffers",
          key + " is " + std::to_string(value) + " bytes: bursts of datagrams are lost above that",
          "sysctl -w " + key + "=" + std::to_string(wanted) + "; to keep it: a line `" + setting +
              "` in /etc/sysctl.d/barrel_p2p.conf"};
}

}  // namespace

Findings check_configuration(const NodeConfig& config) {
  Findings findings;
  if (const auto valid = node::validate(config); !valid) {
    findings.push_back({Level::problem, "configuration", valid.error().context(), "change it as it says"});
  } else if (const auto files = node::check_files(config); !files) {
    findings.push_back({Level::problem, "configuration", files.error().message(), "change it, or what it names"});
  }
  if (config.cookie == NodeConfig().cookie) {
    findings.push_back({Level::warning, "configuration", "the cookie is the public default",
                        "set dist_cookie, or BARREL_P2P_COOKIE, to a secret that all nodes share"});
  }
  if (!config.authentication.enabled) {
    findings.push_back({Level::warning, "configuration", "authentication is off: whoever has the cookie is let in",
                        "set auth_enabled = true on all nodes"});
  }
  if (is_missed_in_dns(config)) {
    findings.push_back({Level::warning, "configuration",
                        "listen_port is 0, any port, and who looks this node up in DNS calls port " +
                            std::to_string(config.dns_port) + " (dns_port)",
                        "set listen_port = " + std::to_string(config.dns_port) +
                            ", or name all nodes with their addresses in the table [nodes]"});
  }
  if (findings.empty())
    findings.push_back({Level::ok, "configuration", "all values are in range and fit together", ""});
  return findings;
}

Findings check_port(const std::string& listen, std::uint16_t port) {
  if (port == 0) return {{Level::ok, "port", "any free UDP port is taken (listen_port = 0)", ""}};
  const std::string what = "UDP port " + std::to_string(port) + " of " + listen;
  const auto address = quic::Address::make(listen, port);
  if (!address) return {{Level::problem, "port", address.error().message(), "set listen to an IP address, :: for all"}};
  int error = bind_error(*address);
  if (error == EAFNOSUPPORT && listen == "::") {
    const auto any = quic::Address::make("0.0.0.0", port);
    if (any) error = bind_error(*any);
  }
  if (error == 0) return {{Level::ok, "port", what + " is free", ""}};
  if (error != EADDRINUSE) {
    return {{Level::problem, "port", what + " cannot be bound: " + std::strerror(error),
             error == EACCES ? "ports below 1024 need the capability CAP_NET_BIND_SERVICE; or choose a greater one"
                             : "set listen to an address of this machine, :: for all"}};
  }
  const std::string holder = holder_of(port);
  const bool ours = holder.starts_with("barrel_p2p ");
  return {{ours ? Level::ok : Level::problem, "port",
           what + " is in use by " + (holder.empty() ? "a process that this user cannot see" : holder),
           ours ? "" : "stop that process, or choose another listen_port"}};
}

Findings check_buffers(const std::filesystem::path& root) {
  const long wanted = quic::EndpointConfig().socket_buffer_bytes;
  Findings findings;
  for (const char* name : {"rmem_max", "wmem_max"}) {
    std::ifstream file(root / "sys/net/core" / name);
    long value = 0;
    if (!(file >> value) || value >= wanted) continue;  // a container that does not show it, or enough
    const std::string key = std::string("net.core.") + name;
    findings.push_back(small_buffer(key, value, wanted));
  }
  if (findings.empty())
    findings.push_back({Level::ok, "buffers", "UDP buffers may be as large as a node asks for", ""});
  return findings;
}

Findings check_keys(const NodeConfig& config) {
  Findings findings;
  const fs::path keys = directory_of(config, config.authentication.key_dir, "keys");
  const fs::path tls = directory_of(config, config.certificate_dir, "quic");
  check_directory(keys, findings);
  check_directory(keys / "trusted", findings);
  check_directory(tls, findings);
  check_owners(keys, findings);
  check_owners(tls, findings);
  check_secret(keys / "node.key", findings);
  check_secret(config.certificate_key_file.empty() ? tls / "node.key" : config.certificate_key_file, findings);
  check_secret(config.stateless_reset_key_file.empty() ? tls / "reset.key" : config.stateless_reset_key_file, findings);
  if (!findings.empty()) return findings;
  std::error_code ignored;
  return {{Level::ok, "keys",
           fs::exists(keys / "node.key", ignored) ? "private keys are for their owner only"
                                                  : "there are no keys yet: the node makes them when it starts",
           ""}};
}

Findings check_certificate(const NodeConfig& config) {
  const fs::path tls = directory_of(config, config.certificate_dir, "quic");
  const bool given = !config.certificate_file.empty();
  const fs::path file = given ? config.certificate_file : tls / "node.crt";
  std::error_code ignored;
  if (!given && !fs::exists(file, ignored)) {
    return {{Level::ok, "certificate", "there is none yet: the node makes one when it starts", ""}};
  }
  const auto loaded = distribution::load_certificate(file, given ? config.certificate_key_file : tls / "node.key");
  if (!loaded) {
    return {{Level::problem, "certificate", loaded.error().message(),
             given ? "set cert_file and key_file to a certificate and its key" : "barrel_p2p cert rotate"}};
  }
  if (loaded->expires < wall_now() && !loaded->own) {
    return {{Level::warning, "certificate", file.string() + " ran out at " + time_text(loaded->expires),
             "replace it; peers do not mind, but auditors do"}};
  }
  return {{Level::ok, "certificate", "valid until " + time_text(loaded->expires), ""}};
}

Findings check_disk(const std::filesystem::path& data) {
  const fs::path place = existing_part(data);
  struct statvfs about{};
  if (::statvfs(place.c_str(), &about) != 0) {
    return {{Level::problem, "disk", place.string() + ": " + std::strerror(errno), "set data_dir"}};
  }
  if (::access(place.c_str(), W_OK | X_OK) != 0) {
    return {{Level::problem, "disk", "this user cannot write to " + place.string(),
             "chown it to the user of the node, or set data_dir"}};
  }
  // A node that cannot write refuses changes of persistent maps and reminders; SQLite needs room to check itself too.
  constexpr std::uint64_t least = 64UL * 1024 * 1024;
  constexpr std::uint64_t comfortable = 1024UL * 1024 * 1024;
  const std::uint64_t free = std::uint64_t{about.f_bavail} * about.f_frsize;
  const std::string text = human_bytes(static_cast<double>(free)) + " are free for " + data.string();
  constexpr std::uint64_t inodes_min = 1000;
  if (about.f_files > 0 && about.f_favail < inodes_min) {
    return {{Level::problem, "disk", "the file system of " + place.string() + " has no room for more files",
             "remove files, or set data_dir to another file system"}};
  }
  if (free >= comfortable) return {{Level::ok, "disk", text, ""}};
  return {{free < least ? Level::problem : Level::warning, "disk", text,
           "make room, or set data_dir to another file system"}};
}

Findings check_store(const NodeConfig& config) {
  const fs::path directory = directory_of(config, config.replication.store_dir, "store");
  std::error_code ignored;
  if (!fs::exists(directory / "store.db", ignored)) {
    return {{Level::ok, "store", "there is none yet: the node makes it when it starts", ""}};
  }
  const auto store =
      replication::DurableStore::open({.directory = directory, .access = replication::StoreConfig::Access::read_only});
  if (store) {
    std::uint64_t records = 0;
    for (const auto& collection : (*store)->collections()) records += collection.records;
    return {{Level::ok, "store", "all " + std::to_string(records) + " records are good", ""}};
  }
  if (store.error() == Errc::already_registered) {
    return {{Level::ok, "store", "not looked at: " + store.error().context(), ""}};
  }
  return {{Level::problem, "store", store.error().message(),
           store.error() == Errc::corrupt
               ? "start the node: it salvages what is good, keeps the damaged file, and others send what is missing"
               : "see docs/store.md"}};
}

Finding clock_finding(const std::string& node, std::int64_t ahead_ms, std::int64_t uncertain_ms) {
  // Leases from so far in the future are refused (member_skew_ms); above it a node counts as dead for the others.
  constexpr std::int64_t refused_ms = 5000;
  constexpr std::int64_t noticed_ms = 500;
  const std::int64_t off = std::max<std::int64_t>(std::abs(ahead_ms) - uncertain_ms, 0);
  const std::string text = "the clock of " + node + " is " + std::to_string(std::abs(ahead_ms)) + " ms " +
                           (ahead_ms < 0 ? "behind" : "ahead of") + " ours, give or take " +
                           std::to_string(uncertain_ms) + " ms";
  if (off < noticed_ms) return {Level::ok, "clock", text, ""};
  return {
      off < refused_ms ? Level::warning : Level::problem, "clock", text,
      "run a time service on both machines (chrony, systemd-timesyncd): leases, reminders and map entries go by it"};
}

}  // namespace barrel_p2p::command
