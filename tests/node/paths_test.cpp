// The paths between two nodes: moving connections with all that is on them, figures, ways of the program's own.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "node/node_support.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::becomes_true;
using test::Cluster;
using test::EventLog;
using test::Lines;
using test::patience;

template <class T>
std::string told_of(const Result<T>& result) {
  return result ? "ok" : result.error().message();
}

/// What `monitor_paths` told, one text an event.
std::string text_of(const PathEvent& event) {
  switch (event.kind) {
    case PathEvent::Kind::migrated: return event.node.string() + " migrated to " + event.local;
    case PathEvent::Kind::migration_failed: return event.node.string() + " migration_failed";
    case PathEvent::Kind::peer_moved: return event.node.string() + " peer_moved to " + event.remote;
  }
  return "";
}

class Paths : public testing::Test {
 protected:
  /// Nodes may have to wait for the same processor.
  static void make_patient(NodeConfig& config) {
    config.detector.dead_after = 2 * patience;
    config.detector.probe_after = 0ms;
  }
  void start(const Cluster::Change& change = {}) {
    const auto patient = [&](NodeConfig& config) {
      make_patient(config);
      if (change) change(config);
    };
    a = &cluster.start("a", patient);
    b = &cluster.start("b", patient);
    events_of_a = a->monitor_nodes([this](const NodeEvent& event) { nodes_of_a.add(event); });
  }
  void start_and_connect() {
    start();
    ASSERT_EQ(told_of(a->connect(b->name(), patience)), "ok");
    ASSERT_TRUE(Cluster::settles(*a, *b));
    ASSERT_EQ(nodes_of_a.next(), "up b@127.0.0.1");
  }
  const MigrateOptions patiently{patience, ""};
  Cluster cluster;
  EventLog nodes_of_a;
  Node* a = nullptr;
  Node* b = nullptr;
  Subscription events_of_a;
};

TEST_F(Paths, messages_links_monitors_and_streams_ride_through_migrations) {
  start_and_connect();
  // Echoes, and says how it ends to whoever watches it.
  const Pid echo = b->spawn([](Process& self) -> Task<> {
    for (;;) {
      const Term message = co_await self.receive();
      if (message.is_atom("end")) co_return;
      co_await self.send(*message[0].as_pid(), message[1]);
    }
  });
  const auto told = std::make_shared<Lines>();
  const Pid watcher = a->spawn([told, echo](Process& self) -> Task<> {
    self.trap_exit(true);
    self.monitor(echo);
    self.link(echo);
    co_await self.send(echo, Term::tuple_of(self.pid(), Atom("ready")));
    for (;;) {
      const Term message = co_await self.receive();
      told->add(message.is_tuple() ? to_text(message[0]) : to_text(message));
    }
  });
  ASSERT_EQ(told->next(), "ready");
  auto acceptor = b->accept_streams("sink").value();
  auto out = a->open_stream(b->name(), "sink", patience).value();
  auto in = acceptor.next(patience).value();
  constexpr std::size_t piece = 1'000'000;
  constexpr std::size_t pieces = 20;
  std::jthread writer([&] {
    for (std::size_t at = 0; at < pieces; ++at) {
      ASSERT_EQ(told_of(out.write(Bytes(piece, static_cast<std::uint8_t>(at)), patience)), "ok");
    }
    ASSERT_EQ(told_of(out.finish()), "ok");
  });
  std::size_t read = 0;
  std::size_t wrong = 0;
  std::uint64_t migrations = 0;
  for (;;) {
    const auto bytes = in.read(patience);
    if (!bytes || bytes->empty()) {
      EXPECT_EQ(told_of(bytes), "ok");
      break;
    }
    for (const auto byte : *bytes) wrong += byte == read++ / piece ? 0U : 1U;
    if (read > (migrations + 1) * 4 * piece && migrations < 4) {
      ASSERT_EQ(told_of(a->migrate_peer(b->name(), patiently)), "ok");
      ++migrations;
      ASSERT_TRUE(becomes_true([&] { return b->statistics().peer_moves == migrations; }));
      ASSERT_EQ(told_of(a->send(echo, Term::tuple({watcher, Atom("again")}))), "ok");
      EXPECT_EQ(told->next(), "again");
    }
  }
  writer.join();
  EXPECT_EQ(read, pieces * piece);
  EXPECT_EQ(wrong, 0U);
  EXPECT_EQ(migrations, 4U);
  EXPECT_EQ(a->statistics().migrations, 4U);
  EXPECT_EQ(a->statistics().migrations_failed, 0U);
  ASSERT_EQ(told_of(a->send(echo, Atom("end"))), "ok");
  const std::string first = told->next();
  const std::string second = told->next();
  EXPECT_TRUE((first == "'DOWN'" && second == "'EXIT'") || (first == "'EXIT'" && second == "'DOWN'"))
      << first << " " << second;
  a->disconnect(b->name());
  EXPECT_EQ(nodes_of_a.next(), "down b@127.0.0.1 disconnect") << "and nothing before it";
}

TEST_F(Paths, both_sides_are_told_and_know_the_new_addresses) {
  start_and_connect();
  Lines at_a;
  Lines at_b;
  const auto paths_of_a = a->monitor_paths([&](const PathEvent& event) { at_a.add(text_of(event)); });
  const auto paths_of_b = b->monitor_paths([&](const PathEvent& event) { at_b.add(text_of(event)); });
  MigrateOptions options = patiently;
  options.local_address = "127.0.0.2";
  ASSERT_EQ(told_of(a->migrate_peer(b->name(), options)), "ok");
  const auto path = a->path_stats(b->name());
  ASSERT_EQ(told_of(path), "ok");
  EXPECT_TRUE(path->local.starts_with("127.0.0.2:")) << path->local;
  EXPECT_EQ(at_a.next(), "b@127.0.0.1 migrated to " + path->local);
  ASSERT_EQ(told_of(a->ping(b->name(), patience)), "ok");
  EXPECT_EQ(at_b.next(), "a@127.0.0.1 peer_moved to " + path->local);
  EXPECT_EQ(b->peers().at(0).address, path->local);
  EXPECT_EQ(b->path_stats(a->name())->peer_moves, 1U);
  EXPECT_EQ(b->statistics().peer_moves, 1U);
  EXPECT_EQ(b->statistics().migrations, 0U);
}

TEST_F(Paths, what_cannot_be_moved_says_why) {
  start();
  EXPECT_EQ(a->migrate_peer(b->name()).error(), Errc::not_connected);
  EXPECT_EQ(a->path_stats(b->name()).error(), Errc::not_connected);
  ASSERT_EQ(told_of(a->connect(b->name(), patience)), "ok");
  ASSERT_TRUE(Cluster::settles(*a, *b));
  EXPECT_EQ(b->migrate_peer(a->name()).error(), Errc::not_initiator);
  EXPECT_EQ(a->migrate_peer(b->name(), {0ms, ""}).error(), Errc::invalid_argument);
  EXPECT_EQ(a->migrate_peer(b->name(), {5s, "elsewhere"}).error(), Errc::invalid_argument);
  EXPECT_EQ(a->migrate_peer(b->name(), {5s, "192.0.2.1"}).error(), Errc::io_error);
  EXPECT_EQ(told_of(a->ping(b->name(), patience)), "ok");
  a->stop();
  EXPECT_EQ(a->migrate_peer(b->name()).error(), Errc::stopped);
  EXPECT_EQ(a->path_stats(b->name()).error(), Errc::stopped);
}

TEST_F(Paths, other_nodes_can_ask_for_a_migration_and_for_figures) {
  start_and_connect();
  Node& c = cluster.start("c", make_patient);
  const auto ask = [&](Node& whom, const char* module, const char* function, std::vector<Term> arguments) {
    const auto answer = c.call_function(whom.name(), module, function, std::move(arguments), patience);
    return answer ? *answer : Term(Atom(name(answer.error().code())));
  };
  const Term of_b(b->name().atom());
  const Term options = Term::map({{Atom("timeout"), 30'000}});
  EXPECT_EQ(to_text(ask(*a, "barrel_p2p", "migrate_peer", {of_b})), "ok");
  EXPECT_EQ(to_text(ask(*a, "barrel_p2p", "migrate_peer", {of_b, options})), "ok");
  EXPECT_EQ(to_text(ask(*b, "barrel_p2p", "migrate_peer", {a->name().atom()})), "{error,not_initiator}");
  EXPECT_EQ(to_text(ask(*a, "barrel_p2p", "migrate_peer", {Atom("x@127.0.0.1")})), "{error,not_connected}");
  const Term bad = Term::map({{Atom("timeout"), Atom("never")}});
  EXPECT_FALSE(ask(*a, "barrel_p2p", "migrate_peer", {of_b, bad}).is_atom("ok"));
  const Term srtt = ask(*a, "barrel_p2p_path_stats", "srtt", {of_b});
  ASSERT_TRUE(srtt.is_tuple()) << to_text(srtt);
  EXPECT_GT(srtt[1].as_int64().value_or(0), 0);
  const Term summary = ask(*a, "barrel_p2p_path_stats", "summary", {of_b});
  ASSERT_TRUE(summary.is_tuple()) << to_text(summary);
  EXPECT_NE(to_text(summary).find("migrations => 2"), std::string::npos) << to_text(summary);
  EXPECT_EQ(to_text(ask(*a, "barrel_p2p_path_stats", "summary", {Atom("x@127.0.0.1")})), "{error,not_connected}");
}

TEST_F(Paths, figures_are_of_the_connection) {
  start_and_connect();
  ASSERT_EQ(told_of(a->ping(b->name(), patience)), "ok");
  const auto path = a->path_stats(b->name());
  ASSERT_EQ(told_of(path), "ok");
  EXPECT_TRUE(path->dialled);
  EXPECT_EQ(path->remote, a->peers().at(0).address);
  EXPECT_EQ(path->local, "127.0.0.1:" + std::to_string(a->port()));
  EXPECT_GT(path->min_rtt, 0us);
  EXPECT_GT(path->smoothed_rtt, 0us);
  EXPECT_GT(path->packets_sent, 0U);
  EXPECT_GT(path->packets_received, 0U);
  EXPECT_GE(path->datagram_bytes, 1200U);
  EXPECT_EQ(path->migrations, 0U);
  const auto of_b = b->path_stats(a->name());
  ASSERT_EQ(told_of(of_b), "ok");
  EXPECT_FALSE(of_b->dialled);
  EXPECT_EQ(of_b->remote, path->local);
}

// Ways of the program's own.

/// Carries datagrams by a UDP socket of its own.
class Tunnel : public DatagramPath {
 public:
  Tunnel(std::uint16_t port, DatagramSink sink) : sink_(std::move(sink)) {
    fd_ = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) != 0) throw std::runtime_error("no tunnel");
    reader_ = std::thread([this] { read(); });
  }
  ~Tunnel() override {
    ended_ = true;
    ::shutdown(fd_, SHUT_RDWR);
    reader_.join();
    ::close(fd_);
  }
  void send(ByteView datagram) override {
    ++sent;
    (void)::send(fd_, datagram.data(), datagram.size(), 0);
  }
  std::atomic<int> sent{0};
  std::atomic<int> received{0};

 private:
  void read() {
    std::array<std::uint8_t, 65'536> buffer{};
    while (!ended_) {
      const auto size = ::recv(fd_, buffer.data(), buffer.size(), 0);
      if (size <= 0) continue;  // shut down, or the port refused once
      ++received;
      sink_({buffer.data(), static_cast<std::size_t>(size)});
    }
  }
  DatagramSink sink_;
  int fd_ = -1;
  std::atomic<bool> ended_{false};
  std::thread reader_;
};

class Ways : public Paths {
 protected:
  Ways() {
    start([](NodeConfig& config) {
      config.discovery_backends = {"static"};
      config.auto_connect = false;
      config.membership.remember = false;
    });
  }
};

TEST_F(Ways, an_address_of_ones_own_is_dialled_in_place_of_what_discovery_says) {
  EXPECT_EQ(a->connect(b->name(), patience).error(), Errc::unreachable);
  ConnectOptions options;
  options.address = "127.0.0.1:" + std::to_string(b->port());
  ASSERT_EQ(told_of(a->set_connect_options(b->name(), options)), "ok");
  EXPECT_TRUE(Cluster::connects(*a, *b));
  a->disconnect(b->name());
  EXPECT_EQ(nodes_of_a.next(), "up b@127.0.0.1");
  EXPECT_EQ(nodes_of_a.next(), "down b@127.0.0.1 disconnect");
  EXPECT_TRUE(Cluster::connects(*a, *b)) << "the option stays";
  ASSERT_EQ(told_of(a->set_connect_options(b->name(), {})), "ok");
  a->disconnect(b->name());
  EXPECT_EQ(a->connect(b->name(), patience).error(), Errc::unreachable);
}

TEST_F(Ways, an_address_that_cannot_be_dialled_is_refused) {
  for (const char* address : {"nowhere", "127.0.0.1", "127.0.0.1:0", "host.example:4433", "127.0.0.1:99999"}) {
    ConnectOptions options;
    options.address = address;
    EXPECT_EQ(a->set_connect_options(b->name(), options).error(), Errc::invalid_argument) << address;
  }
}

TEST_F(Ways, an_adapter_carries_everything_and_goes_with_the_connection) {
  std::mutex mutex;
  std::weak_ptr<Tunnel> tunnel;
  DatagramSink kept;
  ConnectOptions options;
  options.via = [&, port = b->port()](DatagramSink sink) -> Result<std::shared_ptr<DatagramPath>> {
    const std::lock_guard lock(mutex);
    kept = sink;
    auto made = std::make_shared<Tunnel>(port, std::move(sink));
    tunnel = made;
    return made;
  };
  const auto current = [&] {
    const std::lock_guard lock(mutex);
    return tunnel.lock();
  };
  ASSERT_EQ(told_of(a->set_connect_options(b->name(), options)), "ok");
  ASSERT_TRUE(Cluster::connects(*a, *b));
  auto acceptor = b->accept_streams("sink").value();
  auto out = a->open_stream(b->name(), "sink", patience).value();
  auto in = acceptor.next(patience).value();
  ASSERT_EQ(told_of(out.write(Bytes(300'000, 7), patience)), "ok");
  ASSERT_EQ(told_of(out.finish()), "ok");
  std::size_t read = 0;
  for (auto bytes = in.read(patience); bytes && !bytes->empty(); bytes = in.read(patience)) read += bytes->size();
  EXPECT_EQ(read, 300'000U);
  {
    const auto held = current();
    ASSERT_TRUE(held);
    EXPECT_GT(held->sent, 200);
    EXPECT_GT(held->received, 0);
  }
  EXPECT_EQ(a->migrate_peer(b->name()).error(), Errc::not_supported);
  EXPECT_EQ(b->migrate_peer(a->name()).error(), Errc::not_initiator);
  EXPECT_EQ(told_of(a->path_stats(b->name())), "ok");
  a->disconnect(b->name());
  EXPECT_TRUE(becomes_true([&] { return !current(); }));
  kept(Bytes(100, 0x40));  // for nobody
  cluster.stop("a");
  kept(Bytes(100, 0x40));
}

TEST_F(Ways, an_adapter_that_cannot_be_made_fails_the_dial_with_its_own_word) {
  ConnectOptions options;
  options.via = [](DatagramSink /*sink*/) -> Result<std::shared_ptr<DatagramPath>> {
    return fail(Errc::permission_denied, "the tunnel is closed");
  };
  ASSERT_EQ(told_of(a->set_connect_options(b->name(), options)), "ok");
  const auto connected = a->connect(b->name(), patience);
  EXPECT_EQ(connected.error(), Errc::permission_denied) << told_of(connected);
  options.via = [](DatagramSink /*sink*/) -> Result<std::shared_ptr<DatagramPath>> { return nullptr; };
  ASSERT_EQ(told_of(a->set_connect_options(b->name(), options)), "ok");
  EXPECT_EQ(a->connect(b->name(), patience).error(), Errc::invalid_argument);
}

}  // namespace
}  // namespace barrel_p2p
