// Keys of nodes that run: rotations while channels are up, revocations that cut off, files that change under the node.
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <future>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.hpp"
#include "distribution/auth/certificate.hpp"
#include "distribution/auth/files.hpp"
#include "distribution/auth/identity.hpp"
#include "node/attacker.hpp"
#include "node/key_keeper.hpp"
#include "support/no_room.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::becomes_true;
using test::Cluster;
using test::EventLog;
namespace fs = std::filesystem;

/// Files count when the test says so.
void no_watch(NodeConfig& config) { config.authentication.key_watch = 0ms; }
void soon(NodeConfig& config) { config.authentication.key_watch = 50ms; }

bool lists(const Node& node, const Node& other) {
  const auto nodes = node.nodes();
  return std::ranges::find(nodes, other.name()) != nodes.end();
}

/// Tries until what comes of it is not that a dial failed a moment ago.
Error refusal(Node& from, const NodeName& to) {
  Error last(Errc::timeout, "nothing came of it");
  becomes_true([&] {
    const auto connected = from.connect(to);
    last = connected ? Error(Errc::invalid_argument, "connected") : connected.error();
    return last != Errc::no_connection && last != Errc::timeout;
  });
  return last;
}

/// The fingerprint of the certificate that the node shows now. Leaves nothing half-open there, for it is asked often.
std::string shown_by(test::Attacker& looking, const Node& node) {
  const auto line = looking.dial(node);
  const auto shown = distribution::to_hex(distribution::sha256(line->connection().peer_certificate_der()));
  line->close();
  return shown;
}

// Revocation.

TEST(Revoke, cuts_the_key_off_before_it_returns_and_keeps_it_out_over_restarts) {
  Cluster cluster;
  Node& b = cluster.start("b");
  EventLog at_b;
  const auto watching = b.monitor_nodes([&](const NodeEvent& event) { at_b.add(event); });
  {
    Node& a = cluster.start("a");
    ASSERT_TRUE(Cluster::connects(a, b));
    ASSERT_TRUE(Cluster::settles(a, b));
    EXPECT_EQ(at_b.next(), "up a@127.0.0.1");
    ASSERT_TRUE(a.revoke(b.public_key()));
    EXPECT_FALSE(lists(a, b)) << "when it returns the connection is closed";
    EXPECT_TRUE(at_b.next().starts_with("down a@127.0.0.1")) << "and the peer knows";
    EXPECT_EQ(a.revoked_keys(), std::vector{b.public_key()});
    EXPECT_TRUE(a.keys().at(0).revoked);
    EXPECT_TRUE(refusal(a, b.name()).message().starts_with("untrusted_key: revoked_key"));
    const auto told = refusal(b, a.name());
    EXPECT_NE(told.message().find("revoked_key"), std::string::npos) << told.message();
  }
  Node& a = cluster.start("a");
  EXPECT_TRUE(refusal(a, b.name()).message().starts_with("untrusted_key: revoked_key"));
  EXPECT_NE(refusal(b, a.name()).message().find("revoked_key"), std::string::npos);
  EXPECT_TRUE(a.nodes().empty());
  ASSERT_TRUE(a.unrevoke(b.public_key()));
  EXPECT_TRUE(Cluster::connects(b, a));
}

TEST(Revoke, ends_connections_that_are_on_their_way_in) {
  Cluster cluster;
  test::Attacker attacker;
  for (const auto step : {test::Step::authenticated, test::Step::name, test::Step::status}) {
    Node& victim = cluster.start("victim");
    const auto thief = test::mask("thief@127.0.0.1");
    const auto line = attacker.dial(victim);
    line->play(thief, step);
    ASSERT_FALSE(line->closed());
    ASSERT_TRUE(victim.revoke(distribution::to_hex(thief.key.public_key())));
    EXPECT_EQ(line->ending(), "closed");
    EXPECT_TRUE(victim.nodes().empty());
    EXPECT_TRUE(victim.keys().empty());
    EXPECT_TRUE(attacker.await([&] { return victim.statistics().half_open == 0; }));
    const auto again = attacker.dial(victim);
    again->say(distribution::AuthHello{thief.name, thief.key.public_key()});
    EXPECT_EQ(again->ending(), "FAIL revoked_key");
    cluster.stop("victim");
    fs::remove_all(cluster.data("victim"));
  }
}

TEST(Revoke, says_what_it_cannot_do) {
  Cluster cluster;
  Node& a = cluster.start("a");
  const auto own = a.revoke(a.public_key());
  EXPECT_EQ(own.error(), Errc::invalid_argument);
  EXPECT_NE(own.error().context().find("rotate"), std::string::npos) << own.error().context();
  EXPECT_EQ(a.revoke("12").error(), Errc::invalid_argument);
  EXPECT_EQ(a.unrevoke(std::string(64, '5')).error(), Errc::not_found);
  Node& open = cluster.start("open", [](NodeConfig& config) { config.authentication.enabled = false; });
  EXPECT_EQ(open.revoke(a.public_key()).error(), Errc::invalid_config);
  EXPECT_EQ(open.rotate_identity().error(), Errc::invalid_config);
  EXPECT_TRUE(open.rotate_certificate()) << "TLS is there without authentication too";
  EXPECT_TRUE(open.revoked_keys().empty());
}

TEST(Revoke, a_node_does_not_start_with_revocations_that_it_cannot_read) {
  Cluster cluster;
  cluster.start("a");
  cluster.stop("a");
  fs::create_directory(cluster.data("a") / "keys" / "revoked");
  std::ofstream(cluster.data("a") / "keys" / "revoked" / "b@127.0.0.1.pub") << "no key";
  const auto started = Node::start(cluster.config("a"));
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error(), Errc::corrupt);
}

// Rotation of the identity.

TEST(RotateIdentity, leaves_channels_up_and_is_refused_until_the_peer_is_told) {
  Cluster cluster;
  Node& a = cluster.start("a");
  Node& b = cluster.start("b");
  ASSERT_TRUE(Cluster::connects(a, b));
  ASSERT_TRUE(Cluster::settles(a, b));
  const auto before = a.public_key();
  const auto rotated = a.rotate_identity();
  ASSERT_TRUE(rotated) << rotated.error().message();
  EXPECT_NE(rotated->key, before);
  EXPECT_EQ(a.public_key(), rotated->key);
  EXPECT_EQ(a.fingerprint(), rotated->fingerprint);
  EXPECT_TRUE(a.ping(b.name())) << "over the connection of before";
  EXPECT_EQ(b.keys().at(0).key, before);
  Cluster::part(a, b);
  EXPECT_EQ(refusal(b, a.name()), Errc::key_mismatch);
  EXPECT_NE(refusal(a, b.name()).message().find("key_mismatch"), std::string::npos);
  ASSERT_TRUE(b.pin(a.name(), rotated->key));
  EXPECT_TRUE(Cluster::connects(a, b));
  ASSERT_TRUE(b.revoke(before)) << "the earlier key is of no use to a thief";
  EXPECT_TRUE(b.ping(a.name()));
  cluster.stop("a");
  EXPECT_EQ(cluster.start("a").public_key(), rotated->key) << "after a restart too";
}

TEST(RotateIdentity, of_a_key_that_peers_were_told_of_before_is_not_noticed) {
  for (const auto mode : {TrustMode::tofu, TrustMode::strict}) {
    Cluster cluster;
    const auto trusting = [mode](NodeConfig& config) { config.authentication.trust_mode = mode; };
    Node& a = cluster.start("a", trusting);
    Node& b = cluster.start("b", trusting);
    ASSERT_TRUE(a.pin(b.name(), b.public_key()) && b.pin(a.name(), a.public_key()));
    const auto before = a.public_key();
    const auto next = a.prepare_identity();
    ASSERT_TRUE(next) << next.error().message();
    EXPECT_EQ(a.public_key(), before) << "nothing has changed yet";
    ASSERT_TRUE(b.pin_next(a.name(), *next));
    EXPECT_EQ(b.keys().at(0).next, *next);
    ASSERT_TRUE(Cluster::connects(a, b)) << "with the earlier key";
    ASSERT_TRUE(Cluster::settles(a, b));
    EXPECT_EQ(b.keys().at(0).key, before);
    ASSERT_EQ(a.rotate_identity()->key, *next);
    Cluster::part(a, b);
    ASSERT_TRUE(Cluster::connects(mode == TrustMode::tofu ? a : b, mode == TrustMode::tofu ? b : a));
    ASSERT_TRUE(Cluster::settles(a, b));
    EXPECT_EQ(b.keys().at(0).key, *next);
    EXPECT_EQ(b.keys().at(0).next, "") << "from now on only this one";
    cluster.stop("b");
    EXPECT_EQ(cluster.start("b", trusting).keys().at(0).key, *next);
  }
}

// Rotation of the certificate.

TEST(RotateCertificate, is_for_new_connections_and_peers_need_not_be_told) {
  Cluster cluster;
  test::Attacker looking;
  Node& a = cluster.start("a");
  Node& b = cluster.start("b");
  ASSERT_TRUE(Cluster::connects(b, a));
  ASSERT_TRUE(Cluster::settles(a, b));
  const auto before = shown_by(looking, a);
  const auto rotated = a.rotate_certificate();
  ASSERT_TRUE(rotated) << rotated.error().message();
  EXPECT_TRUE(fs::exists(rotated->backup / "node.key"));
  EXPECT_GT(rotated->expires, std::chrono::system_clock::now());
  EXPECT_TRUE(b.ping(a.name())) << "over the connection of before";
  const auto after = shown_by(looking, a);
  EXPECT_EQ(after, rotated->fingerprint);
  EXPECT_NE(after, before);
  Cluster::part(a, b);
  EXPECT_TRUE(Cluster::connects(b, a));
  Cluster::part(a, b);
  EXPECT_TRUE(Cluster::connects(a, b));
  EXPECT_EQ(b.keys().at(0).key, a.public_key());
}

TEST(RotateCertificate, during_a_handshake_spoils_it_not) {
  Cluster cluster;
  test::Attacker attacker;
  Node& a = cluster.start("a");
  const auto peer = test::mask("peer@127.0.0.1");
  const auto line = attacker.dial(a);
  line->play(peer, test::Step::hello);
  const auto hello = a.public_key();
  ASSERT_TRUE(a.rotate_certificate() && a.rotate_identity());
  line->say(test::fresh_challenge());
  EXPECT_TRUE(std::holds_alternative<distribution::AuthResponse>(*line->next())) << "with the key of its HELLO";
  EXPECT_NE(a.public_key(), hello);
}

TEST(RotateCertificate, of_an_operator_are_read_again) {
  Cluster cluster;
  test::Attacker looking;
  const auto file = cluster.data("") / "own.crt";
  const auto key_file = cluster.data("") / "own.key";
  const auto place = [&](const test::PemPair& pair) {
    ASSERT_TRUE(distribution::write_private_file(file, as_bytes(pair.certificate)));
    ASSERT_TRUE(distribution::write_private_file(key_file, as_bytes(pair.key)));
  };
  place(test::make_pem());
  Node& a = cluster.start("a", [&](NodeConfig& config) {
    no_watch(config);
    config.certificate_file = file;
    config.certificate_key_file = key_file;
  });
  const auto before = shown_by(looking, a);
  const auto next = test::make_pem();
  ASSERT_TRUE(distribution::write_private_file(file, as_bytes(next.certificate)));
  EXPECT_EQ(a.rotate_certificate().error(), Errc::corrupt) << "half replaced";
  EXPECT_EQ(shown_by(looking, a), before);
  place(next);
  const auto rotated = a.rotate_certificate();
  ASSERT_TRUE(rotated) << rotated.error().message();
  EXPECT_TRUE(rotated->backup.empty());
  EXPECT_EQ(shown_by(looking, a), rotated->fingerprint);
  EXPECT_NE(rotated->fingerprint, before);
}

TEST(Certificate, that_ends_soon_and_cannot_be_made_anew_lets_the_node_start) {
  const Cluster cluster;
  constexpr WallMilliseconds eleven_months = 340 * 86'400'000LL;
  NodeConfig config = cluster.config("a");
  no_watch(config);
  test::Lines warnings;
  config.log_sink = [&](LogLevel level, std::string_view line) {
    if (level == LogLevel::warning && line.find("cannot be made anew") != std::string_view::npos) warnings.add("told");
  };
  const auto open = [&] { return node::KeyKeeper::open(config, make_callback_logger(config.name, config.log_sink)); };
  const auto quic = config.data_dir / "quic";
  const auto early = distribution::load_or_create_certificate(quic, wall_now() - eleven_months).value();
  ASSERT_TRUE(distribution::load_or_create_identity(config.data_dir / "keys"));
  {
    const test::NoRoom full;
    const auto keeper = open();
    ASSERT_TRUE(keeper.has_value()) << keeper.error().message();
    EXPECT_EQ(warnings.next(), "told");
    EXPECT_EQ((*keeper)->reload().error(), Errc::io_error);
  }
  ASSERT_TRUE(open().has_value());
  EXPECT_NE(distribution::load_or_create_certificate(quic, wall_now())->binding, early.binding);
}

TEST(Leftovers, of_an_earlier_life_are_gone_when_a_node_has_started) {
  Cluster cluster;
  const NodeConfig config = cluster.config("a");
  const auto keys = config.data_dir / "keys";
  std::vector<fs::path> left;
  for (const auto& directory : {config.data_dir, keys / "trusted", keys / "revoked", config.discovery_dir}) {
    ASSERT_TRUE(distribution::make_private_directory(directory));
    left.push_back(directory / ".new-123");
    std::ofstream(left.back()) << "half of it";
    fs::last_write_time(left.back(), fs::file_time_type::clock::now() - 2min);
  }
  cluster.start("a");
  for (const auto& file : left) EXPECT_FALSE(fs::exists(file)) << file;
}

// Files that change under a node that runs.

TEST(KeyFiles, what_an_operator_does_to_them_counts_by_itself) {
  Cluster cluster;
  test::Attacker looking;
  Node& a = cluster.start("a", soon);
  Node& b = cluster.start("b");
  const auto keys = cluster.data("a") / "keys";
  ASSERT_TRUE(Cluster::connects(b, a));
  ASSERT_TRUE(Cluster::settles(a, b));

  const auto revoked = keys / "revoked" / "stolen.pub";
  fs::create_directory(keys / "revoked");
  fs::copy_file(cluster.data("b") / "keys" / "node.pub", revoked);
  EXPECT_TRUE(becomes_true([&] { return !lists(a, b); }));
  EXPECT_EQ(a.revoked_keys(), std::vector{b.public_key()});
  fs::remove(revoked);
  EXPECT_TRUE(becomes_true([&] { return a.revoked_keys().empty(); }));
  EXPECT_TRUE(Cluster::connects(b, a));

  const auto other = distribution::PrivateKey::generate().public_key();
  std::ofstream(keys / "trusted" / "b@127.0.0.1.pub", std::ios::binary)  // the file stays the same, its content not
      .write(reinterpret_cast<const char*>(other.data()), static_cast<std::streamsize>(other.size()));
  EXPECT_TRUE(becomes_true([&] {
    const auto pins = a.keys();  // none while the file is being written
    return pins.size() == 1 && pins[0].key == distribution::to_hex(other);
  }));
  fs::remove(keys / "trusted" / "b@127.0.0.1.pub");
  EXPECT_TRUE(becomes_true([&] { return a.keys().empty(); }));

  const auto rotated = distribution::rotate_identity(keys, wall_now()).value();
  EXPECT_TRUE(becomes_true([&] { return a.public_key() == distribution::to_hex(rotated.key.public_key()); }));
  const auto certificate = distribution::rotate_certificate(cluster.data("a") / "quic", wall_now()).value();
  const auto binding = distribution::to_hex(certificate.certificate.binding);
  EXPECT_TRUE(becomes_true([&] { return shown_by(looking, a) == binding; }));
}

TEST(KeyFiles, are_looked_at_in_time_after_a_look_that_had_to_wait) {
  const Cluster cluster;
  NodeConfig config = cluster.config("a");
  soon(config);
  std::promise<void> waiting;
  bool waits = true;
  const auto keeper = node::KeyKeeper::open(config, make_callback_logger(config.name, config.log_sink)).value();
  const auto place = [revoked = config.data_dir / "keys" / "revoked"](const char* name) {
    fs::create_directories(revoked);
    std::ofstream(revoked / "writing", std::ios::binary) << as_text(distribution::PrivateKey::generate().public_key());
    fs::rename(revoked / "writing", revoked / name);
  };
  node::KeyKeeper::Events events;
  events.revoked = [&] {
    if (!std::exchange(waits, false)) return;
    waiting.set_value();
    std::this_thread::sleep_for(1s);  // what the disk takes, or whoever froze the process
  };
  keeper->start(events);
  place("one.pub");
  ASSERT_EQ(waiting.get_future().wait_for(test::patience), std::future_status::ready);
  place("two.pub");
  EXPECT_TRUE(becomes_true([&] { return keeper->trust()->revoked().size() == 2; }));
}

TEST(KeyFiles, what_cannot_be_used_leaves_things_as_they_were) {
  Cluster cluster;
  Node& a = cluster.start("a", no_watch);
  Node& b = cluster.start("b");
  const auto keys = cluster.data("a") / "keys";
  ASSERT_TRUE(Cluster::connects(b, a));
  const auto before = a.public_key();
  fs::remove(keys / "node.key");
  EXPECT_EQ(a.reload_keys().error(), Errc::corrupt);
  EXPECT_EQ(a.public_key(), before);
  fs::rename(keys / "trusted", keys / "away");
  EXPECT_FALSE(a.reload_keys());
  EXPECT_EQ(a.keys().size(), 1U);
  EXPECT_TRUE(a.ping(b.name()));
}

TEST(KeyFiles, are_not_looked_at_when_nobody_wants_it) {
  Cluster cluster;
  Node& a = cluster.start("a", no_watch);
  const auto before = a.public_key();
  const auto rotated = distribution::rotate_identity(cluster.data("a") / "keys", wall_now()).value();
  EXPECT_EQ(a.public_key(), before);
  ASSERT_TRUE(a.reload_keys());
  EXPECT_EQ(a.public_key(), distribution::to_hex(rotated.key.public_key()));
}

TEST(KeysByCall, are_not_to_be_had) {
  Cluster cluster;
  Node& a = cluster.start("a");
  Node& b = cluster.start("b");
  const auto before = a.public_key();
  for (const char* module : {"barrel_p2p", "barrel_p2p_rotate", "barrel_p2p_dist_keys"}) {
    for (const char* function : {"rotate_identity", "rotate_cert", "rotate_certificate", "revoke", "delete_key"}) {
      for (const auto& arguments : {std::vector<Term>{}, std::vector<Term>{Atom("b@127.0.0.1")}}) {
        const auto called = b.call_function(a.name(), Atom(module), Atom(function), arguments, test::patience);
        ASSERT_FALSE(called) << module << ' ' << function;
        EXPECT_EQ(called.error(), Errc::undefined_function) << called.error().message();
      }
    }
  }
  EXPECT_EQ(a.public_key(), before);
}

}  // namespace
}  // namespace barrel_p2p
