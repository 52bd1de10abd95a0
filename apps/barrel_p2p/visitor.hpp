// A node that exists for one command: hidden, found by nobody, with an identity that is kept for such commands.
#pragma once

#include <barrel_p2p/node.hpp>
#include <chrono>
#include <expected>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

namespace barrel_p2p::command {

struct VisitorOptions {
  std::string cookie = "barrel_p2p";
  std::filesystem::path key_dir;      ///< Empty: identities that are kept for these commands, see docs.
  std::filesystem::path certificate;  ///< PEM, with `certificate_key`; empty: one that is made and kept.
  std::filesystem::path certificate_key;
  std::filesystem::path discovery_dir;  ///< Empty: ./data/discovery
  std::string at;                       ///< `host:port` of the node to talk to; empty: its file, or DNS, finds it.
  std::string name;                     ///< Our own; empty: made up.
  std::chrono::milliseconds timeout{10'000};
  bool verbose = false;
};

/// Exit status of commands that talk to a node, beside those of command_line.hpp.
inline constexpr int exit_connect_failed = 4;

/// Why there is no node, and the exit status that tells it.
struct VisitorFailure {
  int status;
  std::string text;
};

class Visitor {
 public:
  /// A node that will talk to `target`.
  static std::expected<Visitor, VisitorFailure> start(const VisitorOptions& options, const std::string& target);
  [[nodiscard]] Node& node() noexcept { return node_; }
  /// Nothing: it is connected.
  [[nodiscard]] std::optional<VisitorFailure> connect(const NodeName& node, std::chrono::milliseconds timeout);

 private:
  /// An identity of our own that no other command uses at the moment. Nodes pin the names that they meet, so the names
  /// must not grow in number: each slot keeps its name and its key.
  class Slot {
   public:
    static std::optional<Slot> take(const std::filesystem::path& root);
    Slot(Slot&& other) noexcept;
    Slot& operator=(Slot&&) = delete;
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
    ~Slot();
    [[nodiscard]] std::string name() const;
    [[nodiscard]] std::filesystem::path directory() const;

   private:
    Slot(int descriptor, int number, std::filesystem::path root);
    int descriptor_;
    int number_;
    std::filesystem::path root_;
  };

  Visitor(std::optional<Slot> slot, Node node, std::filesystem::path key_dir)
      : slot_(std::move(slot)), node_(std::move(node)), key_dir_(std::move(key_dir)) {}
  std::optional<Slot> slot_;  ///< Longer than the node that uses it.
  Node node_;
  std::filesystem::path key_dir_;  ///< With the pins that it goes by.
};

}  // namespace barrel_p2p::command
