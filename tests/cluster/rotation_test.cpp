// Rotation and revocation as they happen to operators: nodes that are at work, commands from a shell, and processes
// that are killed in the middle.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrel_p2p/node.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "cluster/subprocess.hpp"
#include "distribution/auth/certificate.hpp"
#include "distribution/auth/identity.hpp"
#include "distribution/auth/trust_store.hpp"
#include "distribution/killed.hpp"
#include "support/scratch.hpp"

namespace barrel_p2p::test {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;
using distribution::to_hex;

class Rotation : public testing::Test {
 protected:
  [[nodiscard]] fs::path keys_of(const std::string& name) const { return root / name / "keys"; }
  /// A node as a process, which looks at its key files often.
  [[nodiscard]] std::unique_ptr<Subprocess> start_node(const std::string& name,
                                                       std::vector<std::string> more = {}) const {
    const fs::path file = root / (name + ".toml");
    std::ofstream(file) << "name = \"" << name << "@127.0.0.1\"\ndist_cookie = \"test\"\nauth_key_watch_ms = 50\n"
                        << "data_dir = \"" << (root / name).string() << "\"\ndiscovery_dir = \""
                        << (root / "discovery").string() << "\"\n";
    std::vector<std::string> arguments{BARREL_P2P_COMMAND, "node", "--config", file.string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    auto node = std::make_unique<Subprocess>(std::move(arguments));
    if (!node->says("is ready")) throw std::runtime_error("the node does not start: " + node->errors());
    return node;
  }
  /// The same node in this process.
  [[nodiscard]] NodeConfig config(const std::string& name) const {
    NodeConfig config;
    config.name = name + "@127.0.0.1";
    config.cookie = "test";
    config.data_dir = root / name;
    config.discovery_dir = root / "discovery";
    config.discovery_backends = {"static", "file"};
    config.hidden = true;  // starts sooner: it is no member and has no store
    config.workers = 1;
    config.log_level = LogLevel::off;
    return config;
  }
  static int run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), BARREL_P2P_COMMAND);
    return Subprocess(std::move(arguments)).wait();
  }

  const test::ScratchDirectory root;
};

TEST_F(Rotation, what_commands_change_counts_on_a_node_that_runs) {
  const auto a = start_node("a");
  const auto b = start_node("b", {"--join", "a@127.0.0.1"});
  ASSERT_TRUE(a->says("node b@127.0.0.1 is up")) << a->errors();
  const auto data = (root / "a").string();

  ASSERT_EQ(run({"cert", "rotate", "--data", data}), 0);
  EXPECT_TRUE(a->says("new connections use the certificate")) << a->errors();
  ASSERT_EQ(run({"keys", "rotate", "--data", data}), 0);
  EXPECT_TRUE(a->says("the key of this node is")) << a->errors();
  ASSERT_EQ(run({"keys", "revoke", "b@127.0.0.1", "--data", data}), 0);
  EXPECT_TRUE(a->says("the connection to b@127.0.0.1 is closed: its key is revoked")) << a->errors();
  EXPECT_TRUE(b->says("node a@127.0.0.1 is down")) << b->errors();
}

TEST_F(Rotation, a_revoked_key_stays_out_of_a_node_that_was_killed) {
  auto a = start_node("a");
  const auto b = start_node("b", {"--join", "a@127.0.0.1"});
  ASSERT_TRUE(a->says("node b@127.0.0.1 is up")) << a->errors();
  const auto data = (root / "a").string();
  ASSERT_EQ(run({"keys", "revoke", "b@127.0.0.1", "--data", data}), 0);
  a->signal(SIGKILL);
  a->wait();
  a = start_node("a", {"--join", "b@127.0.0.1"});
  EXPECT_TRUE(a->says("cannot connect to b@127.0.0.1: untrusted_key: revoked_key")) << a->errors();
  ASSERT_EQ(run({"keys", "unrevoke", "b@127.0.0.1", "--data", data}), 0);
  EXPECT_TRUE(a->says("node b@127.0.0.1 is up")) << a->errors();
}

/// A node that talks to a peer all the time, rotates both of its keys meanwhile, and is killed at a step of that.
void rotate_under_load(const NodeConfig& config, const NodeName& peer, int step) {
  auto node = Node::start(config);
  if (!node || !becomes_true([&] { return node->connect(peer).has_value(); })) ::_exit(2);
  std::atomic<bool> over{false};
  std::atomic<int> answers{0};
  std::atomic<int> failures{0};
  std::thread talking([&] {
    while (!over) node->ping(peer, patience) ? ++answers : ++failures;
  });
  if (!becomes_true([&] { return answers >= 20; })) ::_exit(3);
  die_at(step);
  if (!node->rotate_identity() || !node->rotate_certificate()) ::_exit(4);
  distribution::on_file_step(nullptr);
  const int before = answers;
  if (!becomes_true([&] { return answers >= before + 20; })) ::_exit(5);
  over = true;
  talking.join();
  ::_exit(failures == 0 ? 0 : 6);  // it was not killed: nobody noticed the rotation
}

/// What is left of a node that was killed.
struct Left {
  bool rotated = false;
  bool pinned = false;  ///< The peer has pinned the new key.
};

class KilledRotation : public Rotation {
 protected:
  void kill_at_steps_from(int first, bool told);
  /// Starts the node again, and has it connect to `b`, which knows of the prepared key if `told`.
  Left look(const std::string& name, const distribution::PublicKey& before, const distribution::PublicKey& next,
            bool told) {
    auto node = Node::start(config(name));
    if (!node) throw std::runtime_error("it does not start any more: " + node.error().message());
    const std::set<std::string> possible{to_hex(before), to_hex(next)};
    EXPECT_TRUE(possible.contains(node->public_key()));
    EXPECT_TRUE(distribution::load_identity(keys_of(name))) << "the files belong together";
    EXPECT_TRUE(distribution::load_certificate(root / name / "quic" / "node.crt", root / name / "quic" / "node.key"));
    Left left;
    left.rotated = node->public_key() == to_hex(next);
    if (left.rotated && !told) {
      Error last(Errc::timeout);
      EXPECT_TRUE(becomes_true([&] {
        const auto connected = node->connect("b@127.0.0.1");
        if (!connected) last = connected.error();
        return connected || last.message().find("key_mismatch") != std::string::npos;
      })) << last.message();
      EXPECT_TRUE(node->nodes().empty()) << "a key that nobody spoke of is refused";
    } else {
      EXPECT_TRUE(becomes_true([&] { return node->connect("b@127.0.0.1").has_value(); })) << left.rotated;
    }
    node->stop();
    const auto trusted =
        distribution::TrustStore::open(keys_of("b"), TrustMode::tofu, {}, [](const std::string&) {}).value();
    left.pinned = trusted->find(node->name()) == next;
    return left;
  }
};

/// Every other step, from this one on.
void KilledRotation::kill_at_steps_from(int first, bool told) {
  const auto b = start_node("b");
  const auto trusted =
      distribution::TrustStore::open(keys_of("b"), TrustMode::tofu, {}, [](const std::string&) {}).value();
  int rounds = 0;
  int rotated = 0;
  bool killed = true;
  for (int step = first; killed && !HasFailure(); step += 2, ++rounds) {
    SCOPED_TRACE(step);
    const std::string name = "a" + std::to_string(step);
    const auto before = distribution::load_or_create_identity(keys_of(name)).value().public_key();
    const auto next = distribution::prepare_identity(keys_of(name)).value().public_key();
    ASSERT_TRUE(trusted->pin(NodeName(name + "@127.0.0.1"), before));
    if (told) {
      ASSERT_TRUE(trusted->pin_next(NodeName(name + "@127.0.0.1"), next));
    }
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) rotate_under_load(config(name), "b@127.0.0.1", step);
    int status = 0;
    ::waitpid(child, &status, 0);
    killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    ASSERT_TRUE(killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) << WEXITSTATUS(status);
    const Left left = look(name, before, next, told);
    if (left.rotated) ++rotated;
    EXPECT_EQ(left.pinned, left.rotated && told);
    EXPECT_TRUE(left.rotated || rotated == 0) << "it was replaced at an earlier step";
  }
  EXPECT_GT(rounds, 12) << "of both rotations";
  EXPECT_GT(rotated, 7);
  EXPECT_LT(rotated, rounds - 4);
}

TEST_F(KilledRotation, under_load_leaves_one_identity_and_peers_that_were_told_let_it_in) {
  kill_at_steps_from(0, true);
}

TEST_F(KilledRotation, under_load_leaves_one_identity_and_peers_that_were_not_told_refuse_a_new_one) {
  kill_at_steps_from(1, false);
}

}  // namespace
}  // namespace barrel_p2p::test
