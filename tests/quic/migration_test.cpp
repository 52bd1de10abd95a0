// Connections that move to another local address or port, and the figures of their paths.
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <utility>

#include "quic/path_support.hpp"
#include "quic/peer_moves.hpp"

namespace barrel_p2p::quic {
namespace {

using namespace test;

class Migrate : public Path {
 protected:
  /// Asks, and waits for the answer.
  Result<void> move(const MigrateOptions& options = {}) { return answer_of(*dialled, options); }
  Result<void> answer_of(Connection& connection, const MigrateOptions& options = {}) {
    std::optional<Result<void>> answer;
    connection.migrate(options, [&](Result<void> result) { answer = std::move(result); });
    EXPECT_FALSE(answer) << "the callback comes later";
    EXPECT_TRUE(run_until([&] { return answer.has_value(); }));
    return answer.value_or(fail(Errc::cancelled));
  }
  /// How the connection ended, if it did.
  [[nodiscard]] std::string ends() const {
    std::string text;
    if (dialled_closed) text += "; the dialler's end: " + dialled_closed->text;
    if (accepted_closed) text += "; the other end: " + accepted_closed->text;
    return text;
  }
  [[nodiscard]] std::string seen_at() const { return accepted->remote().to_string(); }
  void open_and_connect() {
    open();
    connect(server->local_address());
    ASSERT_TRUE(transfer(1000));
  }
};

TEST_F(Migrate, to_another_port_keeps_the_connection_and_both_sides_count_it) {
  open_and_connect();
  const auto before = seen_at();
  const auto moved = move();
  ASSERT_TRUE(moved) << moved.error().message();
  EXPECT_TRUE(transfer(1'000'000));
  EXPECT_TRUE(run_until([&] { return accepted->statistics().peer_moves == 1; }));
  EXPECT_NE(seen_at(), before);
  EXPECT_EQ(seen_at(), dialled->statistics().local);
  EXPECT_EQ(dialled->statistics().migrations, 1U);
  EXPECT_EQ(dialled->statistics().peer_moves, 0U);
  EXPECT_EQ(accepted->statistics().migrations, 0U);
  EXPECT_EQ(server->statistics().connections, 1U);
}

TEST_F(Migrate, to_another_address_sends_from_there) {
  open_and_connect();
  MigrateOptions options;
  options.local_address = "127.0.0.2";
  const auto moved = move(options);
  ASSERT_TRUE(moved) << moved.error().message();
  EXPECT_TRUE(transfer(1'000'000));
  EXPECT_TRUE(run_until([&] { return accepted->remote().host() == "127.0.0.2"; }));
  EXPECT_TRUE(dialled->statistics().local.starts_with("127.0.0.2:")) << dialled->statistics().local;
}

TEST_F(Migrate, by_sockets_of_both_families) {
  open(config("::"), config("::"));
  connect(*Address::make("127.0.0.1", server->local_address().port()));
  ASSERT_TRUE(move({patience, ""}));
  ASSERT_TRUE(move({patience, "127.0.0.2"}));
  EXPECT_TRUE(transfer(100'000));
  EXPECT_TRUE(run_until([&] { return accepted->remote().host() == "127.0.0.2"; }));
  ASSERT_TRUE(move({patience, ""})) << "and back to a socket for both families";
  EXPECT_TRUE(transfer(100'000));
  EXPECT_TRUE(run_until([&] { return accepted->remote().host() == "127.0.0.1"; }));
}

TEST_F(Migrate, in_the_middle_of_a_transfer_loses_nothing) {
  open_and_connect();
  write(10UL * 1024 * 1024);
  for (std::uint64_t round = 1; round <= 5; ++round) {
    ASSERT_TRUE(run_until([&] { return received >= round * written / 6; })) << received << ends();
    const auto moved = move({patience, ""});
    ASSERT_TRUE(moved) << round << ": " << moved.error().message();
    ASSERT_TRUE(run_until([&] { return accepted->statistics().peer_moves == round; })) << round << ends();
  }
  EXPECT_TRUE(run_until([&] { return received == written; }, 2 * patience)) << received;
  EXPECT_TRUE(in_order);
  EXPECT_EQ(dialled->statistics().migrations, 5U);
  EXPECT_FALSE(dialled_closed);
  EXPECT_FALSE(accepted_closed);
}

TEST_F(Migrate, over_a_path_that_loses_datagrams_is_tried_until_it_works) {
  open();
  connect(relay->address());
  ASSERT_TRUE(transfer(1000));
  relay->weather.lost = 0.2;
  const auto moved = move({patience, ""});
  ASSERT_TRUE(moved) << moved.error().message();
  EXPECT_TRUE(transfer(100'000));
}

TEST_F(Migrate, to_a_path_that_does_not_work_tells_so_and_stays_on_the_old_one) {
  open();
  connect(relay->address());
  ASSERT_TRUE(transfer(1000));
  relay->keep_inner = true;
  const auto before = dialled->statistics().local;
  const auto moved = move({100ms, ""});
  ASSERT_FALSE(moved);
  EXPECT_EQ(moved.error(), Errc::timeout);
  EXPECT_EQ(dialled->statistics().migrations_failed, 1U);
  EXPECT_EQ(dialled->statistics().local, before);
  EXPECT_TRUE(transfer(100'000));
  // Another try, once the way is free, is answered by whichever attempt gets through.
  relay->keep_inner = false;
  const auto again = move({patience, ""});
  EXPECT_TRUE(again) << again.error().message();
  EXPECT_TRUE(transfer(100'000));
}

TEST_F(Migrate, is_refused_on_the_side_that_was_dialled) {
  open_and_connect();
  EXPECT_EQ(answer_of(*accepted).error(), Errc::not_initiator);
  EXPECT_TRUE(transfer(1000));
}

TEST_F(Migrate, is_refused_when_the_peer_wants_nobody_to_move) {
  auto settled = config();
  settled.nobody_moves = true;
  open(settled, config());
  connect(server->local_address());
  EXPECT_EQ(move().error(), Errc::peer_disable_migration);
  EXPECT_TRUE(transfer(1000));
}

TEST_F(Migrate, to_what_is_no_address_of_this_machine_is_an_error) {
  open_and_connect();
  EXPECT_EQ(move({5s, "192.0.2.1"}).error(), Errc::io_error);
  EXPECT_EQ(move({5s, "::1"}).error(), Errc::invalid_argument);
  EXPECT_EQ(move({5s, "somewhere"}).error(), Errc::invalid_argument);
  EXPECT_EQ(move({0ms, ""}).error(), Errc::invalid_argument);
  EXPECT_TRUE(transfer(1000));
}

TEST_F(Migrate, calls_at_once_are_one_migration) {
  open_and_connect();
  int answers = 0;
  for (int call = 0; call < 3; ++call) {
    dialled->migrate({}, [&](const Result<void>& result) { answers += result ? 1 : 100; });
  }
  EXPECT_TRUE(run_until([&] { return answers >= 3; }));
  EXPECT_EQ(answers, 3);
  EXPECT_EQ(dialled->statistics().migrations, 1U);
}

TEST_F(Migrate, ends_with_the_connection) {
  open();
  connect(relay->address());
  relay->keep_inner = true;
  std::optional<Result<void>> answer;
  dialled->migrate({}, [&](Result<void> result) { answer = std::move(result); });
  dialled->close(0, "over");
  ASSERT_TRUE(run_until([&] { return answer.has_value(); }));
  EXPECT_EQ(answer->error(), Errc::no_connection);
  EXPECT_EQ(move().error(), Errc::no_connection);
}

TEST_F(Migrate, uses_a_bounded_number_of_sockets_and_lets_go_of_old_ones) {
  auto narrow = config();
  narrow.path_sockets_max = 2;
  open(config(), narrow);
  connect(server->local_address());
  for (int round = 0; round < 6; ++round) {
    const auto moved = move({patience, ""});
    ASSERT_TRUE(moved) << round << ": " << moved.error().message();
    EXPECT_LE(client->statistics().path_sockets, 2U);
  }
  EXPECT_TRUE(transfer(1000));
  EXPECT_TRUE(run_until([&] { return client->statistics().path_sockets <= 1; })) << "the old one is kept for a while";
}

TEST_F(Migrate, connections_share_the_newest_socket) {
  open_and_connect();
  const auto first = dialled;
  const auto first_peer = accepted;
  accepted.reset();
  connect(server->local_address());
  ASSERT_TRUE(answer_of(*first));
  ASSERT_TRUE(answer_of(*dialled));
  EXPECT_EQ(client->statistics().path_sockets, 1U);
  EXPECT_EQ(first->statistics().local, dialled->statistics().local);
}

TEST_F(Migrate, is_not_needed_while_the_address_is_there) {
  open_and_connect();
  EXPECT_FALSE(dialled->needs_migration());
  EXPECT_FALSE(accepted->needs_migration());
}

TEST_F(Migrate, a_nat_that_binds_anew_is_counted_and_told_where_the_peer_is) {
  open();
  connect(relay->address());
  ASSERT_TRUE(transfer(1000));
  std::vector<PathEvent::Kind> told;
  ConnectionEvents calls;
  calls.on_stream_data = [&](StreamId id, ByteView bytes, bool /*fin*/) {
    received += bytes.size();
    accepted->consume(id, bytes.size());
  };
  calls.on_path = [&](const PathChange& change) { told.push_back(change.kind); };
  accepted->set_events(std::move(calls));
  relay->move();
  ASSERT_TRUE(transfer(1000));
  ASSERT_TRUE(run_until([&] { return !told.empty(); }));
  EXPECT_EQ(told, std::vector{PathEvent::Kind::peer_moved});
  EXPECT_EQ(accepted->statistics().peer_moves, 1U);
  EXPECT_EQ(accepted->remote().port(), relay->outer_port());
}

// See peer_moves.hpp: without it the second move ends the connection.
TEST_F(Migrate, after_one_that_the_peer_saw_late_keeps_the_connection) {
  open_and_connect();
  for (std::uint64_t round = 0; round < 2; ++round) {
    SCOPED_TRACE(round);
    // The peer sees the new path, and then nothing there until it has given up the id that it kept for it.
    while (context.run_one_for(20ms) != 0) {  // until nothing is under way
    }
    const auto before = accepted->statistics().packets_received;
    std::optional<Result<void>> answer;
    dialled->migrate({patience, ""}, [&](Result<void> result) { answer = std::move(result); });
    ASSERT_TRUE(run_until([&] { return accepted->statistics().packets_received > before; })) << ends();
    std::this_thread::sleep_for(300ms);  // both ends are in this thread, and what is tested is that neither runs
    ASSERT_TRUE(run_until([&] { return answer.has_value(); })) << ends();
    ASSERT_TRUE(*answer) << answer->error().message();
    ASSERT_TRUE(transfer(1000)) << ends();
    ASSERT_TRUE(run_until([&] { return accepted->statistics().peer_moves == 2 * round + 1; })) << ends();
    const auto moved = move({patience, ""});
    ASSERT_TRUE(moved) << moved.error().message() << ends();
    ASSERT_TRUE(transfer(1000)) << ends();
    ASSERT_TRUE(run_until([&] { return accepted->statistics().peer_moves == 2 * round + 2; })) << ends();
  }
  EXPECT_TRUE(transfer(100'000)) << ends();
}

/// A peer that was at port 1, and moved to port 2 at the time 0.
class Moved : public testing::Test {
 protected:
  static Address at(std::uint16_t port) { return *Address::make("192.0.2.1", port); }
  bool may_come_from(std::uint16_t port, Milliseconds now, Milliseconds pto = 20ms) {
    return places.may_come_from(at(port), at(2), pto, MonotonicTime(now));
  }
  PeerMoves places;
};

TEST_F(Moved, with_new_ids_may_move_on_but_not_back) {
  places.moved(at(1), true, 20ms, 20ms, MonotonicTime(0ms));
  EXPECT_FALSE(may_come_from(1, 0ms));
  EXPECT_TRUE(may_come_from(3, 0ms));
  places.moved(at(3), true, 20ms, 20ms, MonotonicTime(1ms));
  EXPECT_FALSE(may_come_from(1, 1ms));
  EXPECT_FALSE(may_come_from(3, 1ms));
  EXPECT_TRUE(may_come_from(4, 1ms));
  for (std::uint16_t port = 4; port < 10; ++port) places.moved(at(port), true, 20ms, 20ms, MonotonicTime(2ms));
  EXPECT_FALSE(may_come_from(10, 2ms)) << "too often";
  EXPECT_TRUE(may_come_from(1, 8000ms)) << "all are forgotten";
  places.moved(at(1), true, 20ms, 20ms, MonotonicTime(9000ms));
  EXPECT_TRUE(may_come_from(3, 9000ms));
  EXPECT_FALSE(may_come_from(1, 9000ms));
}

TEST_F(Moved, without_one_comes_from_nowhere_else_until_it_has_answered_or_was_given_up) {
  EXPECT_TRUE(may_come_from(3, 0ms)) << "it has not moved";
  places.moved(at(1), false, 20ms, 20ms, MonotonicTime(0ms));
  EXPECT_TRUE(may_come_from(2, 7000ms));
  EXPECT_FALSE(may_come_from(1, 7000ms));
  EXPECT_FALSE(may_come_from(3, 7000ms));
  EXPECT_TRUE(may_come_from(3, 8000ms)) << "it never answered, and nobody asks any more";
}

TEST_F(Moved, and_answered_comes_from_there_until_the_old_place_is_forgotten) {
  places.moved(at(1), false, 20ms, 20ms, MonotonicTime(0ms));
  places.validated(20ms, MonotonicTime(100ms));
  EXPECT_TRUE(may_come_from(2, 101ms));
  EXPECT_FALSE(may_come_from(1, 101ms));
  EXPECT_FALSE(may_come_from(3, 1149ms));
  EXPECT_TRUE(may_come_from(3, 1150ms)) << "a second, and a moment";
}

TEST_F(Moved, and_slow_waits_as_its_slowest_moment_wants) {
  places.moved(at(1), false, 20ms, 20ms, MonotonicTime(0ms));
  places.validated(20ms, MonotonicTime(0ms));
  EXPECT_FALSE(may_come_from(3, 500ms, 2000ms));
  EXPECT_FALSE(may_come_from(3, 14'000ms)) << "though it is fast again";
  EXPECT_TRUE(may_come_from(3, 15'000ms));
}

TEST_F(Moved, from_where_it_was_slow_waits_as_long_as_if_it_still_were) {
  places.moved(at(1), false, 2000ms, 20ms, MonotonicTime(0ms));
  places.validated(20ms, MonotonicTime(0ms));
  EXPECT_FALSE(may_come_from(3, 14'000ms));
  EXPECT_TRUE(may_come_from(3, 15'000ms));
}

TEST_F(Migrate, figures_of_the_path_show_its_delay) {
  open();
  relay->weather.every_for = 20ms;
  connect(relay->address());
  ASSERT_TRUE(transfer(100'000));
  const auto path = dialled->statistics();
  EXPECT_GE(path.min_rtt, 40ms);
  EXPECT_GE(path.smoothed_rtt, path.min_rtt);
  EXPECT_GE(path.latest_rtt, path.min_rtt);
  EXPECT_GT(path.rtt_variation, 0us);
  EXPECT_GT(path.congestion_window_bytes, 0U);
  EXPECT_GE(path.bytes_sent, 100'000U);
  EXPECT_GT(path.bytes_received, 0U);
  EXPECT_LT(path.bytes_received, 100'000U);
  EXPECT_EQ(path.remote, relay->address().to_string());
  EXPECT_EQ(path.local, client->local_address().to_string());
  EXPECT_TRUE(path.dialled);
  EXPECT_FALSE(accepted->statistics().dialled);
}

TEST_F(Migrate, figures_of_the_path_show_its_loss) {
  auto careful = config();
  careful.congestion = Congestion::cubic;  // which takes loss for a full path
  open(careful, careful);
  relay->weather.lost = 0.05;
  connect(relay->address());
  ASSERT_TRUE(transfer(5'000'000));
  const auto path = dialled->statistics();
  EXPECT_GT(path.congestion_events, 0U);
  const double repeated = static_cast<double>(path.bytes_repeated) / static_cast<double>(path.bytes_sent);
  EXPECT_GT(repeated, 0.02);
  EXPECT_LT(repeated, 0.5);
}

}  // namespace
}  // namespace barrel_p2p::quic
