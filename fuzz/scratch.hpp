// A directory of this process, in memory where there is such a file system, that goes with the process.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <barrel_p2p/bytes.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

namespace barrel_p2p::fuzz {

class Scratch {
 public:
  explicit Scratch(const std::string& name) {
    std::error_code none;
    const std::filesystem::path memory("/dev/shm");
    const auto parent = std::filesystem::exists(memory, none) ? memory : std::filesystem::temp_directory_path();
    path_ = parent / ("barrel_p2p-fuzz-" + name + "-" + std::to_string(::getpid()));
    empty();
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  /// Nothing is in it any more.
  void empty() const {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
    ::chmod(path_.c_str(), S_IRWXU);
  }
  /// With mode 0600, and its directory with mode 0700.
  void write(const std::string& name, ByteView bytes) const {
    const auto file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    ::chmod(file.parent_path().c_str(), S_IRWXU);
    std::ofstream stream(file, std::ios::binary | std::ios::trunc);
    stream.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (!stream.flush()) std::abort();
    ::chmod(file.c_str(), S_IRUSR | S_IWUSR);
  }
  [[nodiscard]] Bytes read(const std::string& name) const {
    std::ifstream stream(path_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  }

 private:
  std::filesystem::path path_;
};

}  // namespace barrel_p2p::fuzz
