// Nodes on a network with weather: what they promise on loopback holds where packets are late, lost and out of order,
// and where links go and come back.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <string>
#include <utility>

#include "network/hosts.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::Host;
using test::LinkWeather;
using test::patience;

constexpr std::size_t mebibyte = 1024UL * 1024;

std::uint8_t pattern(std::size_t at) { return static_cast<std::uint8_t>(at * 7 + at / 251); }

class Network : public test::Hosts {
 protected:
  void SetUp() override {
    Hosts::SetUp();
    if (IsSkipped()) return;
    left = &lan.add_host(1);
    right = &lan.add_host(2);
    a = &start(*left, "a");
    b = &start(*right, "b");
  }
  void set_weather(const LinkWeather& weather) const {
    left->set_weather(weather);
    right->set_weather(weather);
  }
  void cut(bool is_cut) const {
    LinkWeather weather;
    weather.cut = is_cut;
    set_weather(weather);
  }

  /// Bytes of a pattern over a stream from `a` to `b`; how many were right at `b`. `half_way` runs when half of them
  /// are written.
  std::size_t transfer(std::size_t total, const std::function<void()>& half_way = {}) {
    auto acceptor = b->accept_streams("bulk");
    if (!acceptor) return 0;
    auto reader = std::async(std::launch::async, [&] {
      std::size_t right_ones = 0;
      auto stream = acceptor->next(patience);
      while (stream) {
        const auto bytes = stream->read(patience);
        if (!bytes || bytes->empty()) break;
        for (const auto byte : *bytes) right_ones += byte == pattern(right_ones) ? 1U : 0U;
      }
      return right_ones;
    });
    auto stream = a->open_stream(b->name(), "bulk");
    if (!stream) return 0;
    bool before = true;
    for (std::size_t at = 0; at < total;) {
      if (half_way && at >= total / 2 && std::exchange(before, false)) half_way();
      Bytes bytes(std::min(mebibyte / 4, total - at));
      for (auto& byte : bytes) byte = pattern(at++);
      if (!stream->write(std::move(bytes), patience)) return 0;
    }
    if (!stream->finish()) return 0;
    return reader.get();
  }

  Host* left = nullptr;
  Host* right = nullptr;
  Node* a = nullptr;
  Node* b = nullptr;
};

TEST_F(Network, messages_and_streams_arrive_whole_and_in_order_over_a_bad_path) {
  LinkWeather weather;
  weather.loss = 0.05;
  weather.delay = 10ms;
  weather.jitter = 5ms;
  weather.reorder = 0.1;
  set_weather(weather);
  ASSERT_TRUE(a->connect(b->name(), patience).has_value());
  EXPECT_EQ(transfer(2 * mebibyte), 2 * mebibyte);
  constexpr int count = 500;
  std::promise<int> heard;
  const Pid receiver = b->spawn([&](Process& self) -> Task<> {
    int in_order = 0;
    while (in_order < count) {
      const Term message = co_await self.receive();
      if (message != Term(in_order)) break;
      ++in_order;
    }
    heard.set_value(in_order);
  });
  for (int number = 0; number < count; ++number) ASSERT_TRUE(a->send(receiver, number).has_value());
  auto all = heard.get_future();
  ASSERT_EQ(all.wait_for(patience), std::future_status::ready);
  EXPECT_EQ(all.get(), count);
}

TEST_F(Network, a_round_trip_takes_the_time_of_the_path) {
  LinkWeather weather;
  weather.delay = 50ms;
  set_weather(weather);
  ASSERT_TRUE(a->connect(b->name(), patience).has_value());
  const auto trip = a->ping(b->name(), patience);
  ASSERT_TRUE(trip.has_value()) << trip.error().message();
  EXPECT_GE(*trip, 100ms);
}

TEST_F(Network, a_link_that_is_cut_is_noticed_on_both_sides_and_members_find_each_other_when_it_is_back) {
  ASSERT_TRUE(a->join(b->name()).has_value());
  ASSERT_TRUE(a->joined(2, patience).has_value());
  ASSERT_TRUE(b->joined(2, patience).has_value());
  test::EventLog of_a;
  test::EventLog of_b;
  const auto at_a = a->monitor_nodes([&](const NodeEvent& event) { of_a.add(event); });
  const auto at_b = b->monitor_nodes([&](const NodeEvent& event) { of_b.add(event); });
  auto acceptor = b->accept_streams("open");
  ASSERT_TRUE(acceptor.has_value());
  auto stream = a->open_stream(b->name(), "open");
  ASSERT_TRUE(stream.has_value());

  cut(true);
  EXPECT_EQ(of_a.next(), "down b@10.77.0.2 net_tick_timeout");
  EXPECT_EQ(of_b.next(), "down a@10.77.0.1 net_tick_timeout");
  EXPECT_EQ(stream->read(patience).error(), Errc::no_connection) << "who holds a stream is told";

  cut(false);
  EXPECT_TRUE(of_a.until("up b@10.77.0.2")) << "nobody asked for it";
  EXPECT_TRUE(test::becomes_true([&] { return a->active_view().size() == 1 && b->active_view().size() == 1; }));
  EXPECT_TRUE(a->ping(b->name(), patience).has_value());
}

TEST_F(Network, a_stream_goes_on_when_the_machine_that_dialled_gets_another_address) {
  ASSERT_TRUE(a->connect(b->name(), patience).has_value());
  test::Lines moves;
  const auto watch = b->monitor_paths([&](const PathEvent& event) {
    if (event.kind == PathEvent::Kind::peer_moved) moves.add(event.remote.substr(0, event.remote.rfind(':')));
  });
  EXPECT_EQ(transfer(32 * mebibyte, [&] { left->change_address(3); }), 32 * mebibyte);
  EXPECT_EQ(moves.next(), "10.77.0.3");
  EXPECT_TRUE(a->ping(b->name(), patience).has_value());
  EXPECT_EQ(b->path_stats(a->name()).value().peer_moves, 1U);
}

TEST_F(Network, one_direction_that_is_cut_ends_the_connection_on_both_sides) {
  ASSERT_TRUE(a->connect(b->name(), patience).has_value());
  test::EventLog of_a;
  test::EventLog of_b;
  const auto at_a = a->monitor_nodes([&](const NodeEvent& event) { of_a.add(event); });
  const auto at_b = b->monitor_nodes([&](const NodeEvent& event) { of_b.add(event); });
  LinkWeather lost;
  lost.loss = 1;  // of what `a` sends; it goes on to hear
  left->set_weather(lost);
  EXPECT_EQ(of_b.next(), "down a@10.77.0.1 net_tick_timeout");
  EXPECT_TRUE(of_a.next().starts_with("down b@10.77.0.2"));
}

}  // namespace
}  // namespace barrel_p2p
