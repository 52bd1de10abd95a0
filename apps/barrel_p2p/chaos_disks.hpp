// The small disks of `barrel_p2p chaos`: file systems in memory, one for each node that has_own_disk, which can be made
// full.
//
// They are mounted in a mount namespace of this process and its children, and go with them; nobody else sees them. That
// takes root, or a machine on which users may make namespaces.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace barrel_p2p::command {

class ChaosDisks {
 public:
  /// None.
  ChaosDisks() = default;
  ~ChaosDisks();
  ChaosDisks(const ChaosDisks&) = delete;
  ChaosDisks& operator=(const ChaosDisks&) = delete;

  /// Mounts them in `directory`, for nodes whose data is in `nN`. Before there are other threads. Nothing; or why this
  /// machine permits none, and then there are none.
  std::string mount(const std::filesystem::path& directory, std::size_t nodes);
  /// Leaves no room on the disk of the node. Throws std::system_error.
  void fill(std::size_t node) const;
  /// Gives back what `fill` took.
  void make_room(std::size_t node) const;
  /// Takes the disks away, and puts what was on them in their places if it is to be kept. After the nodes have ended.
  void unmount(bool keep);

 private:
  std::vector<std::filesystem::path> mounted_;
  std::filesystem::path directory_;
};

}  // namespace barrel_p2p::command
