// Nodes as processes with a persistent map: what was acknowledged is there after SIGKILL, flipped bytes are found, and
// a full disk loses nothing.
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <fstream>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "cluster/subprocess.hpp"
#include "node/node_support.hpp"

namespace barrel_p2p::test {
namespace {

using namespace std::chrono_literals;

const Atom facade("barrel_p2p");
const Atom table("table");

/// A node with a persistent map as a process, and a hidden node that puts and reads by remote calls.
class DurableMap : public testing::Test {
 protected:
  void start() {
    const NodeConfig config = cluster.config("keeper");
    std::filesystem::create_directories(config.data_dir);
    const auto file = config.data_dir / "node.toml";
    std::ofstream(file) << "store_dir = \"" << store().string() << "\"\n"
                        << "[[replicated_maps]]\nname = \"table\"\npersist = true\n";
    process = std::make_unique<Subprocess>(std::vector<std::string>{
        BARREL_P2P_COMMAND, "node", "--config", file.string(), "--name", config.name, "--data",
        config.data_dir.string(), "--discovery-dir", config.discovery_dir.string(), "--cookie", config.cookie});
    if (!process->says("is ready")) throw std::runtime_error("the node does not start: " + process->errors());
    ASSERT_TRUE(connects());
  }
  void kill() {
    process->signal(SIGKILL);
    process->wait();
    process.reset();
    asker.disconnect(keeper);
  }
  void stop() {
    process->signal(SIGTERM);
    EXPECT_EQ(process->wait(), 0);
    asker.disconnect(keeper);
  }
  bool connects() {
    return becomes_true([&] { return asker.ping(keeper).has_value(); });
  }
  std::string put(const Term& key, const Term& value) {
    const auto answer = asker.call_function(keeper, facade, "map_put", {table, key, value}, 10s);
    return answer ? to_text(*answer) : answer.error().message();
  }
  Term content() {
    const auto list = asker.call_function(keeper, facade, "map_to_list", {table}, 30s);
    if (!list) throw std::runtime_error(list.error().message());
    std::vector<TermPair> pairs;
    for (const auto& pair : list->elements()) pairs.emplace_back(pair[0], pair[1]);
    return Term::map(std::move(pairs));
  }
  [[nodiscard]] virtual std::filesystem::path store() const { return cluster.data("keeper") / "store"; }

  Cluster cluster;
  Node& asker = cluster.start("asker", [](NodeConfig& config) { config.hidden = true; });
  const NodeName keeper{"keeper@127.0.0.1"};
  std::unique_ptr<Subprocess> process;
};

/// Writers that put ever greater values, each under a key of its own, until the node is gone.
class Writers {
 public:
  Writers(Node& node, const NodeName& keeper, std::vector<std::int64_t>& tried, std::vector<std::int64_t>& acknowledged)
      : tried_(tried), acknowledged_(acknowledged), running_(tried.size()) {
    for (std::size_t writer = 0; writer < tried.size(); ++writer) {
      node.spawn([this, writer, keeper](Process& self) -> Task<> {
        for (bool good = true; good;) {
          const std::int64_t value = ++tried_[writer];
          std::vector<Term> arguments;
          arguments.emplace_back(table);
          arguments.emplace_back(writer);
          arguments.emplace_back(value);
          const auto answer = co_await self.call_function(keeper, facade, "map_put", std::move(arguments), 10s);
          good = answer && answer->is_atom("ok");
          if (good) acknowledge(writer, value);
        }
        const std::lock_guard lock(mutex_);
        --running_;
        changed_.notify_all();
      });
    }
  }
  void await_acknowledged(std::size_t count) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, 60s, [&] { return count_ >= count; })) throw std::runtime_error("too slow");
  }
  void await_end() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return running_ == 0; });
  }

 private:
  void acknowledge(std::size_t writer, std::int64_t value) {
    acknowledged_[writer] = value;
    const std::lock_guard lock(mutex_);
    ++count_;
    changed_.notify_all();
  }
  std::vector<std::int64_t>& tried_;
  std::vector<std::int64_t>& acknowledged_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t running_;
  std::size_t count_ = 0;
};

TEST_F(DurableMap, every_acknowledged_put_is_there_after_kills_at_random_moments) {
  constexpr std::size_t writers = 100;
  constexpr std::size_t lives = 5;
  constexpr std::size_t puts_a_life = 10'000;
  std::vector<std::int64_t> tried(writers, 0);
  std::vector<std::int64_t> acknowledged(writers, 0);
  for (std::size_t life = 0; life < lives; ++life) {
    start();
    Writers work(asker, keeper, tried, acknowledged);
    work.await_acknowledged(puts_a_life);
    kill();  // while 100 puts are under way
    work.await_end();
    start();
    const Term map = content();
    for (std::size_t writer = 0; writer < writers; ++writer) {
      const Term* value = map.find(writer);
      ASSERT_NE(value, nullptr);
      EXPECT_GE(value->as_int64().value(), acknowledged[writer]) << "it was acknowledged";
      EXPECT_LE(value->as_int64().value(), tried[writer]) << "nobody wrote it";
    }
    stop();
  }
}

TEST_F(DurableMap, flipped_bytes_are_told_at_the_start_and_what_is_good_is_there) {
  start();
  constexpr int keys = 2000;
  std::vector<Term> pairs;
  for (int key = 0; key < keys; ++key) pairs.push_back(Term::tuple({key, std::string(100, 'v')}));
  const auto put = asker.call_function(keeper, facade, "map_put_many", {table, Term::list(std::move(pairs))}, 10s);
  ASSERT_TRUE(put && put->is_atom("ok"));
  stop();
  {
    std::fstream file(store() / "store.db", std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(0, std::ios::end);
    const auto size = file.tellg();
    file.seekp(size / 2);
    file << "these bytes are other ones";
  }
  start();
  EXPECT_TRUE(process->says("corrupt: ")) << process->errors();
  EXPECT_TRUE(process->says("map/table")) << process->errors();
  const Term map = content();
  EXPECT_LT(map.size(), static_cast<std::size_t>(keys));
  EXPECT_GT(map.size(), static_cast<std::size_t>(keys) * 9 / 10) << "only what was hit is lost";
  for (const auto& [key, value] : map.pairs()) EXPECT_EQ(value, Term(std::string(100, 'v')));
}

/// The store is on a file system of 4 MiB that is the test's own.
class FullDisk : public DurableMap {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(disk());
    if (::geteuid() != 0 || ::mount("tmpfs", disk().c_str(), "tmpfs", 0, "size=4m") != 0) {
      GTEST_SKIP() << "no right to mount a file system";
    }
    mounted_ = true;
  }
  void TearDown() override {
    process.reset();
    if (mounted_) ::umount2(disk().c_str(), MNT_DETACH);
  }
  [[nodiscard]] std::filesystem::path disk() const { return cluster.data("disk"); }
  [[nodiscard]] std::filesystem::path store() const override { return disk() / "store"; }

 private:
  bool mounted_ = false;
};

TEST_F(FullDisk, a_put_that_finds_no_room_fails_and_nothing_is_lost) {
  start();
  const std::string large(50'000, 'v');
  int written = 0;
  std::string answer = "ok";
  for (; answer == "ok" && written < 1000; ++written) answer = put(written, large);
  --written;
  EXPECT_EQ(answer, "{error,io_error}");
  ASSERT_GT(written, 10);
  // In memory it counts, and room on the disk lets it be written by and by.
  EXPECT_EQ(content().size(), static_cast<std::size_t>(written) + 1);
  ASSERT_EQ(::mount("tmpfs", disk().c_str(), "tmpfs", MS_REMOUNT, "size=64m"), 0);
  EXPECT_TRUE(becomes_true([&] { return (answer = put("after", 1)) == "ok"; })) << answer;
  // A scan later what was refused is on its way to the disk, and a put that follows is behind it.
  const auto unwritten = [&] {
    const auto figures = asker.call_function(keeper, facade, "map_statistics", {table}, 10s);
    return figures ? figures->get<int>(Atom("unwritten")).value_or(-1) : -1;
  };
  EXPECT_TRUE(becomes_true([&] { return unwritten() == 0; }));
  EXPECT_EQ(put("last", 1), "ok");
  kill();
  start();
  const Term map = content();
  EXPECT_EQ(map.size(), static_cast<std::size_t>(written) + 3);
  for (int key = 0; key <= written; ++key) EXPECT_NE(map.find(key), nullptr) << key;
}

/// All that a node writes is there, as with the default configuration.
TEST_F(FullDisk, a_node_that_was_killed_starts_without_room_and_publishes_itself_when_there_is) {
  const auto start_there = [this] {
    process = std::make_unique<Subprocess>(
        std::vector<std::string>{BARREL_P2P_COMMAND, "node", "--name", "keeper@127.0.0.1", "--data",
                                 (disk() / "data").string(), "--discovery-dir", (disk() / "data/discovery").string()});
    return process->says("is ready");
  };
  const auto endpoint = disk() / "data/discovery/keeper@127.0.0.1.endpoint";
  ASSERT_TRUE(start_there()) << process->errors();
  ASSERT_TRUE(std::filesystem::exists(endpoint));
  const auto fill = [this] {
    std::ofstream filler(disk() / "filler", std::ios::app);
    while (filler << std::string(4096, 'x') << std::flush) {
    }
  };
  fill();
  process->signal(SIGKILL);
  process->wait();
  std::filesystem::remove(endpoint);
  fill();
  ASSERT_TRUE(start_there()) << process->errors();
  EXPECT_TRUE(process->says("others do not find this node")) << process->errors();
  ASSERT_EQ(::mount("tmpfs", disk().c_str(), "tmpfs", MS_REMOUNT, "size=64m"), 0);
  EXPECT_TRUE(becomes_true([&] { return std::filesystem::exists(endpoint); }));
}

}  // namespace
}  // namespace barrel_p2p::test
