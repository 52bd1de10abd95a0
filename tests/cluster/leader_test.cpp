// Leaders as separate processes: what a leader that was frozen or killed leaves behind, and what fenced resources make
// of one that wakes. The workers are examples/fenced_worker.cpp.
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "cluster/subprocess.hpp"
#include "node/node_support.hpp"
#include "replication/sqlite.hpp"

namespace barrel_p2p::test {
namespace {

using namespace std::chrono_literals;

class Workers : public testing::Test {
 protected:
  std::unique_ptr<Subprocess> start(const std::string& short_name, const std::string& contact = "") {
    std::vector<std::string> arguments{BARREL_P2P_FENCED_WORKER, short_name + "@127.0.0.1", root().string()};
    if (!contact.empty()) arguments.push_back(contact + "@127.0.0.1");
    auto worker = std::make_unique<Subprocess>(std::move(arguments));
    if (!worker->says("ready\n")) throw std::runtime_error("the worker does not start: " + worker->errors());
    return worker;
  }
  /// What it was told last.
  static Fence fence_of(const Subprocess& worker) {
    const std::string word = "elected ";
    const auto begin = worker.output().rfind(word);
    if (begin == std::string::npos) return {};
    const auto digits = begin + word.size();
    return Fence::parse(worker.output().substr(digits, worker.output().find('\n', digits) - digits)).value();
  }
  /// Waits until the worker says it once more.
  static bool says_again(Subprocess& worker, const std::string& text) {
    const auto count = occurrences(worker.output(), text);
    const auto end = Subprocess::Clock::now() + patience;
    while (occurrences(worker.output(), text) == count && Subprocess::Clock::now() < end) worker.listen(100ms);
    return occurrences(worker.output(), text) > count;
  }
  /// Freezes the worker when it has said `last`, and `other` not since.
  static bool freezes_between(Subprocess& worker, const std::string& last, const std::string& other) {
    const auto end = Subprocess::Clock::now() + patience;
    while (says_again(worker, last) && Subprocess::Clock::now() < end) {
      worker.freeze();
      const auto at = worker.output().rfind(last);
      const auto since = worker.output().rfind(other);
      if (since == std::string::npos || since < at) return true;
      worker.signal(SIGCONT);  // this test was too slow
    }
    return false;
  }
  static std::size_t occurrences(const std::string& text, const std::string& part) {
    std::size_t count = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
    return count;
  }
  [[nodiscard]] std::string file() const {
    std::ifstream stream(root() / "result");
    std::string fence_and_node;
    std::string text;
    std::getline(stream, fence_and_node);
    std::getline(stream, text);
    return text;
  }
  [[nodiscard]] std::vector<std::string> table() const {
    auto database = replication::sqlite::Database::open(root() / "result.db");
    auto rows = database->prepare("SELECT text FROM work ORDER BY rowid");
    std::vector<std::string> texts;
    while (rows->step().value()) texts.emplace_back(rows->text(0));
    return texts;
  }
  [[nodiscard]] std::filesystem::path root() const { return cluster.data("workers"); }

  void SetUp() override { std::filesystem::create_directories(root()); }
  Cluster cluster;
};

TEST_F(Workers, a_leader_that_wakes_from_a_pause_is_refused_and_knows_why) {
  const auto a = start("a");
  ASSERT_TRUE(a->says("wrote\n"));
  const auto b = start("b", "a");
  ASSERT_TRUE(freezes_between(*a, "working\n", "wrote\n")) << "before it writes, with b beside it";
  const Fence before = fence_of(*a);
  ASSERT_TRUE(says_again(*b, "wrote\n"));
  const Fence after = fence_of(*b);
  EXPECT_GT(after, before);
  a->signal(SIGCONT);
  ASSERT_TRUE(a->says("refused file table\n")) << a->output();
  ASSERT_TRUE(a->says("knows that it does not lead\n")) << "before anybody could tell it: " << a->output();

  // It stands again, wins by its name, and gets a token that the resources accept.
  ASSERT_TRUE(b->says("revoked\n"));
  ASSERT_TRUE(freezes_between(*a, "wrote\n", "elected "));
  EXPECT_GT(fence_of(*a), after);
  const auto rows = table();
  EXPECT_EQ(file(), "by a@127.0.0.1 with " + fence_of(*a).text());
  Fence last;
  for (const auto& row : rows) {
    const auto fence = Fence::parse(row.substr(row.rfind(' ') + 1)).value();
    EXPECT_GE(fence, last) << "no row of an earlier term comes after one of a later term";
    last = fence;
  }
  EXPECT_EQ(last, fence_of(*a));
}

TEST_F(Workers, a_killed_leader_is_followed_with_a_greater_fence_again_and_again) {
  std::unique_ptr<Subprocess> leader = start("a");
  ASSERT_TRUE(leader->says("wrote\n"));
  Fence last = fence_of(*leader);
  for (const std::string next : {"b", "c", "d"}) {
    const std::string before(1, static_cast<char>(next[0] - 1));
    auto follower = start(next, before);
    ASSERT_TRUE(says_again(*leader, "wrote\n")) << "it goes on: its name is the smaller one";
    leader->signal(SIGKILL);
    ASSERT_TRUE(follower->says("elected ")) << next;
    EXPECT_GT(fence_of(*follower), last);
    ASSERT_TRUE(follower->says("wrote\n"));
    last = fence_of(*follower);
    leader = std::move(follower);
  }
}

}  // namespace
}  // namespace barrel_p2p::test
