// The engine with a host that only writes down what it is told.
#include "sim/engine.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace barrel_p2p::sim {
namespace {

class Diary final : public Host {
 public:
  void link_up(NodeIndex node, NodeIndex peer) override { write(node, "up", peer); }
  void link_down(NodeIndex node, NodeIndex peer) override { write(node, "down", peer); }
  void connect_failed(NodeIndex node, NodeIndex peer) override { write(node, "failed", peer); }
  void receive(NodeIndex node, NodeIndex /*peer*/, Parcel parcel) override { write(node, "got", parcel); }
  void timer(NodeIndex node) override { write(node, "timer", 0); }
  void discard(Parcel parcel) override { discarded.push_back(parcel); }
  [[nodiscard]] bool keeps(NodeIndex /*node*/, NodeIndex /*peer*/) const override { return keep; }

  /// What was written since the last call.
  std::string read() { return std::exchange(text_, {}); }

  std::vector<Parcel> discarded;
  bool keep = true;

 private:
  void write(NodeIndex node, const char* what, std::uint32_t number) {
    if (!text_.empty()) text_ += ", ";
    text_ += std::to_string(node) + " " + what + " " + std::to_string(number);
  }
  std::string text_;
};

NetworkModel quiet() {
  NetworkModel model;
  model.delay = {.kind = Delay::Kind::constant, .low = Milliseconds(10), .high = Milliseconds(10), .sigma = 0};
  return model;
}

class EngineTest : public testing::Test {
 protected:
  void world(std::size_t nodes, NetworkModel model = quiet()) {
    engine = std::make_unique<Engine>(model, 1, diary);
    for (std::size_t node = 0; node < nodes; ++node) engine->start(engine->add_node());
  }
  void run(Milliseconds span) {
    const SimTime end = engine->now() + span;
    while (engine->step(end)) {
    }
  }
  void link() {
    engine->dial(0, 1);
    run(Milliseconds(200));
    ASSERT_EQ(diary.read(), "1 up 0, 0 up 1");
  }
  /// Node 0 does not reach node 1, or neither reaches the other.
  void cut(bool both) { engine->set_reachability({0, 1}, {true, false, !both, true}); }

  Diary diary;
  std::unique_ptr<Engine> engine;
};

TEST_F(EngineTest, a_dial_gives_both_ends_a_channel_the_acceptor_first) {
  world(2);
  link();
}

TEST_F(EngineTest, two_dials_at_once_give_one_channel) {
  world(2);
  engine->dial(0, 1);
  engine->dial(1, 0);
  run(Milliseconds(10'000));
  EXPECT_EQ(diary.read(), "1 up 0, 0 up 1");
  EXPECT_EQ(engine->links(), 1);
}

TEST_F(EngineTest, a_dial_to_a_dead_process_fails_soon_and_through_a_cut_late) {
  world(2);
  engine->crash(1);
  engine->dial(0, 1);
  run(Milliseconds(2600));
  EXPECT_EQ(diary.read(), "0 failed 1");
  engine->start(1);
  cut(true);
  engine->dial(0, 1);
  run(Milliseconds(6900));
  EXPECT_EQ(diary.read(), "");
  run(Milliseconds(200));
  EXPECT_EQ(diary.read(), "0 failed 1");
  EXPECT_EQ(engine->links(), 0);
}

TEST_F(EngineTest, parcels_keep_their_order_whatever_is_lost) {
  NetworkModel model = quiet();
  model.loss = 0.5;
  world(2, model);
  engine->dial(0, 1);
  run(Milliseconds(30'000));
  diary.read();
  std::string expected;
  for (Parcel parcel = 0; parcel < 20; ++parcel) {
    EXPECT_EQ(engine->send(0, 1, parcel), Sent::queued);
    expected += (parcel == 0 ? "1 got " : ", 1 got ") + std::to_string(parcel);
  }
  run(Milliseconds(60'000));
  EXPECT_EQ(diary.read(), expected);
}

TEST_F(EngineTest, a_full_queue_refuses) {
  NetworkModel model = quiet();
  model.queue_max = 2;
  world(2, model);
  link();
  EXPECT_EQ(engine->send(0, 1, 1), Sent::queued);
  EXPECT_EQ(engine->send(0, 1, 2), Sent::queued);
  EXPECT_EQ(engine->send(0, 1, 3), Sent::refused);
  run(Milliseconds(20));
  EXPECT_EQ(engine->send(0, 1, 3), Sent::queued);
}

TEST_F(EngineTest, a_crash_is_noticed_after_the_detectors_time) {
  world(2);
  link();
  engine->crash(1);
  run(Milliseconds(2900));
  EXPECT_EQ(diary.read(), "");
  run(Milliseconds(1400));
  EXPECT_EQ(diary.read(), "0 down 1");
}

TEST_F(EngineTest, a_stop_is_noticed_at_once) {
  world(2);
  link();
  engine->stop(1);
  run(Milliseconds(11));
  EXPECT_EQ(diary.read(), "0 down 1");
}

TEST_F(EngineTest, a_restarted_process_replaces_its_old_channel) {
  world(2);
  link();
  engine->crash(1);
  engine->start(1);
  engine->dial(1, 0);
  run(Milliseconds(200));
  EXPECT_EQ(diary.read(), "0 down 1, 0 up 1, 1 up 0");
  run(Milliseconds(10'000));
  EXPECT_EQ(diary.read(), "");
}

TEST_F(EngineTest, a_short_cut_delays_and_a_long_one_ends_the_channel) {
  world(2);
  link();
  engine->send(0, 1, 7);
  cut(true);
  run(Milliseconds(2000));
  EXPECT_EQ(diary.read(), "");
  engine->heal();
  run(Milliseconds(2000));
  EXPECT_EQ(diary.read(), "1 got 7");
  cut(true);
  run(Milliseconds(5000));
  const std::string both = diary.read();
  EXPECT_TRUE(both == "0 down 1, 1 down 0" || both == "1 down 0, 0 down 1") << both;
}

TEST_F(EngineTest, a_cut_in_one_direction_ends_the_channel_on_both_sides) {
  world(2);
  link();
  cut(false);
  run(Milliseconds(5000));
  EXPECT_EQ(diary.read(), "1 down 0, 0 down 1");
}

TEST_F(EngineTest, a_frozen_process_does_nothing_and_finds_what_arrived) {
  world(2);
  link();
  engine->pause(1);
  engine->set_timer(1, engine->now() + Milliseconds(500));
  engine->send(0, 1, 5);
  run(Milliseconds(2000));
  EXPECT_EQ(diary.read(), "");
  engine->resume(1);
  run(Milliseconds(0));
  EXPECT_EQ(diary.read(), "1 got 5, 1 timer 0");
}

TEST_F(EngineTest, a_process_that_was_frozen_for_long_finds_its_channel_closed) {
  world(2);
  link();
  engine->pause(1);
  run(Milliseconds(10'000));
  EXPECT_EQ(diary.read(), "0 down 1");
  engine->resume(1);
  run(Milliseconds(2000));
  EXPECT_EQ(diary.read(), "1 down 0");
  EXPECT_EQ(engine->links(), 0);
}

TEST_F(EngineTest, a_channel_that_nobody_keeps_is_closed_when_idle) {
  world(2);
  link();
  run(Milliseconds(120'000));
  EXPECT_EQ(diary.read(), "");
  diary.keep = false;
  run(Milliseconds(130'000));
  EXPECT_EQ(diary.read(), "0 down 1, 1 down 0");
}

TEST_F(EngineTest, parcels_that_cannot_arrive_are_given_back) {
  world(2);
  link();
  engine->send(0, 1, 9);
  engine->crash(1);
  run(Milliseconds(10'000));
  EXPECT_EQ(diary.discarded, std::vector<Parcel>{9});
}

TEST_F(EngineTest, a_later_timer_replaces_an_earlier_one) {
  world(1);
  engine->set_timer(0, Milliseconds(10));
  engine->set_timer(0, Milliseconds(30));
  run(Milliseconds(29));
  EXPECT_EQ(diary.read(), "");
  run(Milliseconds(1));
  EXPECT_EQ(diary.read(), "0 timer 0");
}

TEST_F(EngineTest, a_slow_node_takes_its_time_for_each_parcel) {
  world(2);
  link();
  engine->set_processing(1, Milliseconds(100));
  engine->send(0, 1, 1);
  engine->send(0, 1, 2);
  run(Milliseconds(150));
  EXPECT_EQ(diary.read(), "1 got 1");
  run(Milliseconds(100));
  EXPECT_EQ(diary.read(), "1 got 2");
}

TEST(EventQueue, gives_events_by_time_and_then_in_their_order) {
  EventQueue queue;
  Prng random(3);
  for (std::uint32_t number = 0; number < 1000; ++number) {
    Event event;
    event.time = SimTime(random.below(20));
    event.subject = number;
    queue.push(event);
  }
  Event last = queue.pop();
  while (!queue.empty()) {
    const Event event = queue.pop();
    ASSERT_TRUE(last.time < event.time || (last.time == event.time && last.subject < event.subject));
    last = event;
  }
}

}  // namespace
}  // namespace barrel_p2p::sim
