// `barrel_p2p cp` between processes: what arrives, and what goes on after an end of either side in the middle.
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cluster/command_support.hpp"

namespace barrel_p2p::test {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t mebibyte = 1024UL * 1024;

class Cp : public Command {
 protected:
  Cp() { fs::create_directories(received()); }

  [[nodiscard]] virtual fs::path received() const { return root / "received"; }
  [[nodiscard]] std::unique_ptr<Subprocess> start_receiver(const std::string& more_config = "") const {
    std::ofstream(root / "receiver.toml") << "[receive]\ndir = \"" << received().string() << "\"\nfree_bytes_min = 0\n"
                                          << more_config;
    return start_node("a", {"--config", path("receiver.toml")});
  }
  [[nodiscard]] std::vector<std::string> arguments(std::vector<std::string> what) const {
    what.insert(what.begin(), "cp");
    what.insert(what.end(), {"--discovery-dir", path("discovery"), "--cookie", "test"});
    return what;
  }
  [[nodiscard]] Outcome cp(std::vector<std::string> what) const { return run(arguments(std::move(what))); }
  /// One that lasts: so slow that nothing that a test waits for takes as long.
  [[nodiscard]] std::unique_ptr<Subprocess> start_slow_cp(std::vector<std::string> what) const {
    what.insert(what.end(), {"--json", "--limit", "20kB"});
    auto whole = arguments(std::move(what));
    whole.insert(whole.begin(), BARREL_P2P_COMMAND);
    return std::make_unique<Subprocess>(std::move(whole));
  }
  /// Bytes that tell where they are from, so that nothing out of place goes unnoticed.
  std::string make_file(const std::string& name, std::size_t size) const {
    std::string text(size, '\0');
    for (std::size_t at = 0; at < size; ++at) text[at] = static_cast<char>(at * 131 >> 7U);
    std::ofstream(root / name, std::ios::binary) << text;
    return text;
  }
  [[nodiscard]] static std::string content(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    return in ? std::string{std::istreambuf_iterator<char>(in), {}} : "no such file";
  }
  [[nodiscard]] std::string arrived(const std::string& name) const { return content(received() / name); }
  [[nodiscard]] std::size_t partial_bytes(const std::string& name) const {
    std::error_code error;
    const auto size = fs::file_size(received() / ("." + name + ".part"), error);
    return error ? 0 : static_cast<std::size_t>(size);
  }
  /// The number behind the key in the last line that has it.
  static long number(const std::string& json, const std::string& key) {
    const auto found = json.rfind("\"" + key + "\":");
    return found == std::string::npos ? -1 : std::stol(json.substr(found + key.size() + 3));
  }
};

TEST_F(Cp, copies_files_of_all_sizes_with_their_time_and_permissions) {
  const auto node = start_receiver();
  const std::string large = make_file("large", 5 * mebibyte + 1);
  make_file("empty", 0);
  ASSERT_EQ(::chmod(path("large").c_str(), 0640), 0);
  const auto outcome = cp({path("large"), "a@127.0.0.1:", "--json"});
  EXPECT_EQ(outcome.status, 0) << outcome.errors;
  EXPECT_NE(outcome.output.find(R"("event":"done")"), std::string::npos) << outcome.output;
  EXPECT_NE(outcome.output.find(R"("to":"a@127.0.0.1:large")"), std::string::npos) << outcome.output;
  EXPECT_TRUE(arrived("large") == large);
  EXPECT_EQ(fs::last_write_time(received() / "large"), fs::last_write_time(root / "large"));
  EXPECT_EQ(fs::status(received() / "large").permissions(), static_cast<fs::perms>(0640));
  const auto quiet = cp({path("empty"), "a@127.0.0.1:other"});
  EXPECT_EQ(quiet.status, 0) << quiet.errors;
  EXPECT_EQ(quiet.output + quiet.errors, "") << "there is no terminal";
  EXPECT_EQ(arrived("other"), "");
}

TEST_F(Cp, copies_several_files_and_whole_directories) {
  const auto node = start_receiver();
  fs::create_directories(root / "tree" / "in" / "empty");
  std::ofstream(root / "tree" / "x") << "x";
  std::ofstream(root / "tree" / "in" / "y") << "y";
  fs::create_symlink("x", root / "tree" / "link");
  EXPECT_EQ(cp({path("tree"), "a@127.0.0.1:"}).status, 1) << "without -r";
  for (const auto* where : {"tree", "copy", "copy/tree"}) {
    const auto outcome =
        cp({"-r", path("tree"), std::string("a@127.0.0.1:") + (where == std::string("tree") ? "" : "copy")});
    EXPECT_EQ(outcome.status, 1) << "the link is told";
    EXPECT_NE(outcome.errors.find("link: is a symbolic link"), std::string::npos) << outcome.errors;
    EXPECT_EQ(arrived(std::string(where) + "/x"), "x");
    EXPECT_EQ(arrived(std::string(where) + "/in/y"), "y");
    EXPECT_TRUE(fs::is_directory(received() / where / "in/empty"));
  }
  make_file("p", 10);
  make_file("q", 10);
  EXPECT_EQ(cp({path("p"), path("q"), "a@127.0.0.1:copy"}).status, 0);
  EXPECT_TRUE(fs::exists(received() / "copy/p") && fs::exists(received() / "copy/q"));
  EXPECT_EQ(cp({path("p"), path("q"), "a@127.0.0.1:copy/x"}).status, 1) << "a file is no directory";
}

TEST_F(Cp, says_what_was_not_copied_and_why) {
  const auto node = start_receiver("file_bytes_max = 100\n");
  make_file("x", 10);
  make_file("large", 101);
  EXPECT_EQ(cp({path("x"), "a@127.0.0.1:"}).status, 0);
  const auto exists = cp({"-n", path("x"), "a@127.0.0.1:"});
  EXPECT_EQ(exists.status, 1);
  EXPECT_NE(exists.errors.find("x is there already"), std::string::npos) << exists.errors;
  const auto large = cp({path("large"), path("absent"), path("x"), "a@127.0.0.1:"});
  EXPECT_EQ(large.status, 1);
  EXPECT_NE(large.errors.find("larger than the 100"), std::string::npos) << large.errors;
  EXPECT_NE(large.errors.find("absent: No such file"), std::string::npos) << "and others go on: " << large.errors;
  for (const auto& wrong : std::vector<std::vector<std::string>>{{path("x"), "a@127.0.0.1:../x"},
                                                                 {path("x"), "a@127.0.0.1:/etc/x"},
                                                                 {"a@127.0.0.1:x", path("y")},
                                                                 {path("x"), path("y")},
                                                                 {path("x"), "nohost:y"},
                                                                 {"-n", "-f", path("x"), "a@127.0.0.1:"}}) {
    const auto refused = cp(wrong);
    EXPECT_EQ(refused.status, 2) << refused.errors;
  }
  EXPECT_EQ(cp({path("x"), "nobody@127.0.0.1:", "--timeout", "2000"}).status, 4);
}

TEST_F(Cp, is_refused_by_a_node_that_takes_no_files) {
  const auto node = start_node("a");
  make_file("x", 10);
  const auto outcome = cp({path("x"), "a@127.0.0.1:"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.errors.find("--receive-dir"), std::string::npos) << outcome.errors;
  const auto taking = start_node("b", {"--receive-dir", received().string()});
  EXPECT_EQ(cp({path("x"), "b@127.0.0.1:"}).status, 0);
  EXPECT_EQ(arrived("x").size(), 10U);
}

TEST_F(Cp, goes_on_by_itself_after_the_receiver_was_killed_and_came_back) {
  auto node = start_receiver();
  const std::string large = make_file("large", 3 * mebibyte);
  const auto copy = start_slow_cp({path("large"), "a@127.0.0.1:", "--retry", "600"});
  ASSERT_TRUE(copy->says(R"("event":"progress")")) << copy->errors();
  ASSERT_TRUE(becomes_true([&] { return partial_bytes("large") > 0; }));
  node->signal(SIGKILL);
  EXPECT_EQ(node->wait(), 128 + SIGKILL);
  EXPECT_FALSE(fs::exists(received() / "large"));
  ASSERT_TRUE(copy->says(R"("event":"retry")")) << copy->errors();
  node = start_receiver();
  const std::size_t before = partial_bytes("large");
  ASSERT_GT(before, 0U);
  EXPECT_TRUE(becomes_true([&] { return partial_bytes("large") > before; })) << "it goes on";
  copy->signal(SIGKILL);
  copy->wait();
  // Where that ended another one goes on, as soon as the node knows that the first one is gone.
  const auto rest = cp({path("large"), "a@127.0.0.1:", "--json"});
  EXPECT_EQ(rest.status, 0) << rest.errors;
  EXPECT_GE(number(rest.output, "resumed_from"), static_cast<long>(before)) << rest.output;
  EXPECT_TRUE(arrived("large") == large);
}

TEST_F(Cp, goes_on_where_a_killed_command_ended_unless_the_file_is_another_one) {
  const auto node = start_receiver();
  std::string text = make_file("large", 3 * mebibyte);
  const auto interrupt = [&] {
    const auto copy = start_slow_cp({path("large"), "a@127.0.0.1:"});
    ASSERT_TRUE(becomes_true([&] { return partial_bytes("large") > 0; })) << copy->errors();
    copy->signal(SIGKILL);
    EXPECT_EQ(copy->wait(), 128 + SIGKILL);
  };
  interrupt();
  const auto same = cp({path("large"), "a@127.0.0.1:", "--json"});
  EXPECT_EQ(same.status, 0) << same.errors;
  EXPECT_GT(number(same.output, "resumed_from"), 0) << same.output;
  EXPECT_TRUE(arrived("large") == text);
  interrupt();
  text[0] = '!';
  std::ofstream(root / "large", std::ios::binary) << text;
  const auto other = cp({path("large"), "a@127.0.0.1:", "--json"});
  EXPECT_EQ(other.status, 0) << other.errors;
  EXPECT_EQ(number(other.output, "resumed_from"), 0) << other.output;
  EXPECT_TRUE(arrived("large") == text);
}

TEST_F(Cp, notices_that_the_file_changes_while_it_is_copied) {
  const auto node = start_receiver();
  make_file("large", 3 * mebibyte);
  const auto copy = start_slow_cp({path("large"), "a@127.0.0.1:"});
  ASSERT_TRUE(copy->says(R"("event":"progress")")) << copy->errors();
  std::ofstream(root / "large", std::ios::app) << "more";
  EXPECT_EQ(copy->wait(), 1);
  EXPECT_NE(copy->errors().find("changed while it was copied"), std::string::npos) << copy->errors();
  EXPECT_FALSE(fs::exists(received() / "large"));
}

/// The receiver's directory is a file system of 4 MiB that is the test's own.
class CpOnFullDisk : public Cp {
 protected:
  void SetUp() override {
    if (::geteuid() != 0 || ::mount("tmpfs", received().c_str(), "tmpfs", 0, "size=4m") != 0) {
      GTEST_SKIP() << "no right to mount a file system";
    }
    mounted_ = true;
  }
  void TearDown() override {
    if (mounted_) ::umount2(received().c_str(), MNT_DETACH);
  }

 private:
  bool mounted_ = false;
};

TEST_F(CpOnFullDisk, says_that_there_is_no_room) {
  const auto node = start_receiver();
  make_file("large", 5 * mebibyte);
  const auto outcome = cp({path("large"), "a@127.0.0.1:"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.errors.find("there is room for"), std::string::npos) << outcome.errors;
  make_file("small", mebibyte);
  EXPECT_EQ(cp({path("small"), "a@127.0.0.1:"}).status, 0);
}

}  // namespace
}  // namespace barrel_p2p::test
