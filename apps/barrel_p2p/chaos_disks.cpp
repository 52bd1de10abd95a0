#include "chaos_disks.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <system_error>

#include "chaos_schedule.hpp"

namespace barrel_p2p::command {
namespace {

namespace fs = std::filesystem;

constexpr const char* disk_options = "size=48m,mode=0700";  ///< Three times what the log of a store may take.
constexpr const char* ballast = "ballast";

fs::path place_of(const fs::path& directory, std::size_t node) { return directory / ("n" + std::to_string(node)); }

bool write_to(const char* file, const std::string& text) { return (std::ofstream(file) << text << std::flush).good(); }

/// Whether this process may mount from here on, where nobody else sees it; else errno says why.
bool enter_namespace() {
  const auto user = std::to_string(::geteuid());
  const auto group = std::to_string(::getegid());
  if (::unshare(CLONE_NEWNS) != 0) {
    if (errno != EPERM || ::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
    // The same user and group inside and outside.
    if (!write_to("/proc/self/setgroups", "deny") || !write_to("/proc/self/uid_map", user + " " + user + " 1") ||
        !write_to("/proc/self/gid_map", group + " " + group + " 1")) {
      errno = EPERM;
      return false;
    }
  }
  return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

/// In bytes.
off_t room_in(const fs::path& directory) {
  struct statvfs figures{};
  if (::statvfs(directory.c_str(), &figures) != 0) return 0;
  return static_cast<off_t>(figures.f_bavail * figures.f_frsize);
}

/// As far as there is room: the node goes on to write meanwhile.
void grow(int file, const fs::path& directory) {
  off_t size = 0;
  for (off_t room = room_in(directory); room > 0; room = room_in(directory)) {
    if (::fallocate(file, 0, size, room) == 0) {
      size += room;
    } else if (errno != ENOSPC && errno != EINTR) {
      throw std::system_error(errno, std::generic_category(), directory.string());
    }
  }
}

}  // namespace

ChaosDisks::~ChaosDisks() { unmount(false); }

std::string ChaosDisks::mount(const fs::path& directory, std::size_t nodes) {
  directory_ = directory;
  const auto refused = [this](const char* what) {
    const std::string text = std::string(what) + ": " + std::generic_category().message(errno);
    unmount(false);
    return text;
  };
  if (!enter_namespace()) return refused("the machine permits no namespace for mounts");
  for (std::size_t node = 0; node < nodes; ++node) {
    if (!has_own_disk(node)) continue;
    const auto place = place_of(directory, node);
    fs::create_directory(place);
    if (::mount("tmpfs", place.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, disk_options) != 0)
      return refused("the machine permits no mount");
    mounted_.push_back(place);
  }
  return {};
}

void ChaosDisks::fill(std::size_t node) const {
  const auto place = place_of(directory_, node);
  const int file = ::open((place / ballast).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) throw std::system_error(errno, std::generic_category(), place.string());
  try {
    grow(file, place);
  } catch (...) {
    ::close(file);
    throw;
  }
  ::close(file);
}

void ChaosDisks::make_room(std::size_t node) const {
  std::error_code ignored;
  fs::remove(place_of(directory_, node) / ballast, ignored);
}

void ChaosDisks::unmount(bool keep) {
  std::error_code ignored;
  for (const auto& place : mounted_) {
    fs::path kept = place;
    kept += ".kept";
    fs::remove(place / ballast, ignored);
    if (keep) fs::copy(place, kept, fs::copy_options::recursive, ignored);
    ::umount2(place.c_str(), MNT_DETACH);
    if (!keep) continue;
    fs::remove(place, ignored);
    fs::rename(kept, place, ignored);
  }
  mounted_.clear();
}

}  // namespace barrel_p2p::command
