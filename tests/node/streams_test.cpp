// Streams between two nodes over real QUIC.
#include <gtest/gtest.h>
#include <barrel_p2p/streams.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "node/node_support.hpp"
#include "support/resources.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::mebibyte;
using test::word_of;

constexpr auto patience = 30s;

Bytes bytes_of(std::string_view text) {
  const ByteView view = as_bytes(text);
  return {view.begin(), view.end()};
}

/// Bytes that tell where they are from.
Bytes pattern(std::size_t from, std::size_t size) {
  Bytes bytes(size);
  for (std::size_t at = 0; at < size; ++at) bytes[at] = static_cast<std::uint8_t>((from + at) * 131 >> 3U);
  return bytes;
}

bool eventually(const std::function<bool()>& condition, std::chrono::seconds limit = patience) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return condition();
    std::this_thread::sleep_for(5ms);  // counters tell nobody when they change
  }
  return true;
}

std::string word(const Error& error) { return std::string(name(error.code())); }
/// What one read gives: the text, `end`, or the error.
std::string read_text(Stream& stream) {
  const auto got = stream.read(patience);
  if (!got) return word(got.error());
  return got->empty() ? "end" : std::string(as_text(*got));
}

class Streams : public testing::Test {
 protected:
  void start(const test::Cluster::Change& change = {}) {
    const auto patient = [&](NodeConfig& config) {
      config.detector.dead_after = 60s;  // both nodes may have to wait for the same processor
      if (change) change(config);
    };
    a = &cluster.start("a", patient);
    b = &cluster.start("b", patient);
  }
  /// A stream from one to the other, both ends.
  std::pair<Stream, Stream> pair(Node& from, Node& to) {
    if (!acceptor) acceptor.emplace(to.accept_streams("pair").value());
    Stream here = from.open_stream(to.name(), "pair", patience).value();
    Stream there = acceptor->next(patience).value();
    return {std::move(here), std::move(there)};
  }
  test::Cluster cluster;
  Node* a = nullptr;
  Node* b = nullptr;
  std::optional<StreamAcceptor> acceptor;
};

/// Writes a megabyte in pieces of any size, and finishes.
void write_pattern(Stream& stream, std::size_t total) {
  std::size_t piece = 1;
  for (std::size_t at = 0; at < total; at += piece) {
    piece = std::min(total - at, 1 + (at * 7919) % 300'000);
    ASSERT_EQ(word_of(stream.write(pattern(at, piece), patience)), "ok");
  }
  ASSERT_EQ(word_of(stream.finish()), "ok");
}
void read_pattern(Stream& stream, std::size_t total) {
  std::size_t at = 0;
  for (;;) {
    const auto got = stream.read(patience, 1 + (at * 104'729) % 100'000);
    ASSERT_TRUE(got.has_value()) << got.error().message();
    if (got->empty()) break;
    ASSERT_EQ(*got, pattern(at, got->size()));
    at += got->size();
  }
  EXPECT_EQ(at, total);
}

TEST_F(Streams, carry_bytes_in_order_both_ways_at_once_whoever_dialled_and_opened) {
  start();
  ASSERT_TRUE(test::Cluster::connects(*a, *b));
  constexpr std::size_t total = 12 * mebibyte;
  for (const auto& [from, to] : {std::pair{a, b}, std::pair{b, a}}) {
    acceptor.reset();
    auto ends = pair(*from, *to);
    Stream& here = ends.first;
    Stream& there = ends.second;
    EXPECT_EQ(there.peer(), from->name());
    EXPECT_EQ(here.peer(), to->name());
    EXPECT_EQ(here.id(), there.id());
    EXPECT_EQ(there.tag(), "pair");
    EXPECT_TRUE(here.opened_here() && !there.opened_here());
    std::thread first([&] { write_pattern(here, total); });
    std::thread second([&] { write_pattern(there, total); });
    std::thread third([&] { read_pattern(here, total); });
    read_pattern(there, total);
    first.join(), second.join(), third.join();
  }
}

TEST_F(Streams, connect_on_demand_and_say_why_they_cannot) {
  start();
  const auto taken = b->accept_streams("t").value();
  EXPECT_TRUE(a->nodes().empty());
  EXPECT_TRUE(a->open_stream(b->name(), "t", patience).has_value());
  EXPECT_EQ(word_of(a->open_stream("nobody@127.0.0.1", "t", patience)), "unreachable");
  EXPECT_EQ(word_of(a->open_stream(a->name(), "t", patience)), "cannot_connect_self");
}

TEST_F(Streams, with_tags_that_are_none_or_taken_are_refused_here) {
  start();
  for (const auto& tag : {std::string(), std::string(256, 't'), std::string("barrel_p2p:mine")}) {
    EXPECT_EQ(word_of(a->open_stream(b->name(), tag, patience)), "invalid_argument");
    EXPECT_EQ(word_of(a->accept_streams(tag)), "invalid_argument");
  }
  const auto first = a->accept_streams("t").value();
  EXPECT_EQ(word_of(a->accept_streams("t")), "already_registered");
}

TEST_F(Streams, that_one_side_finished_go_on_in_the_other_direction) {
  start();
  auto [here, there] = pair(*a, *b);
  ASSERT_EQ(word_of(here.write(bytes_of("question"), patience)), "ok");
  ASSERT_EQ(word_of(here.finish()), "ok");
  EXPECT_EQ(word_of(here.write(bytes_of("more"), patience)), "closed");
  EXPECT_EQ(word_of(here.finish()), "ok") << "a second time does nothing";
  EXPECT_EQ(read_text(there), "question");
  EXPECT_EQ(read_text(there), "end");
  ASSERT_EQ(word_of(there.write(bytes_of("answer"), patience)), "ok");
  EXPECT_EQ(read_text(here), "answer");
  ASSERT_EQ(word_of(there.finish()), "ok");
  EXPECT_EQ(read_text(here), "end");
  EXPECT_EQ(read_text(here), "end") << "and stays so";
  here = Stream();
  there = Stream();
  EXPECT_TRUE(eventually([&] { return a->statistics().streams.open == 0 && b->statistics().streams.open == 0; }));
  EXPECT_EQ(a->statistics().streams.reset_by_peer + b->statistics().streams.reset_by_peer, 0U);
}

TEST_F(Streams, that_are_reset_tell_the_code_to_the_other_end_whichever_it_is) {
  start();
  for (const bool opener_resets : {true, false}) {
    auto [here, there] = pair(*a, *b);
    ASSERT_EQ(word_of(here.write(bytes_of("hello"), patience)), "ok");
    EXPECT_EQ(read_text(there), "hello");
    Stream& one = opener_resets ? here : there;
    Stream& other = opener_resets ? there : here;
    const std::uint64_t code = opener_resets ? 1234 : (std::uint64_t{1} << 62U) - 1;
    EXPECT_THROW(one.reset(std::uint64_t{1} << 62U), std::invalid_argument);
    one.reset(code);
    EXPECT_EQ(read_text(other), "reset");
    EXPECT_EQ(other.reset_code(), code);
    EXPECT_EQ(word_of(other.write(bytes_of("x"), patience)), "reset");
    EXPECT_EQ(read_text(one), "reset");
  }
}

TEST_F(Streams, whose_tag_nobody_takes_are_refused) {
  start();
  Stream stream = a->open_stream(b->name(), "nobody's", patience).value();
  EXPECT_EQ(read_text(stream), "connection_refused");
  EXPECT_EQ(stream.reset_code(), 0x100U);
  EXPECT_EQ(b->statistics().streams.refused_tag, 1U);
  EXPECT_EQ(b->statistics().streams.accepted, 0U);
}

TEST_F(Streams, beyond_the_backlog_of_their_acceptor_are_refused) {
  start();
  auto narrow = b->accept_streams("narrow", {.backlog = 2}).value();
  std::vector<Stream> opened;
  for (int number = 0; number < 3; ++number) {
    opened.push_back(a->open_stream(b->name(), "narrow", patience).value());
  }
  EXPECT_EQ(read_text(opened.back()), "connection_refused");
  EXPECT_EQ(b->statistics().streams.refused_busy, 1U);
  EXPECT_EQ(narrow.next(patience)->id(), opened.front().id()) << "the first ones wait";
}

TEST_F(Streams, go_one_to_each_of_those_who_wait_for_them) {
  start();
  auto taker = b->accept_streams("t").value();
  test::Lines told;
  for (int number = 0; number < 2; ++number) {
    taker.next([&](Result<Stream> next) { told.add("callback " + word_of(next)); });
  }
  const auto wait = [&] { return word_of(taker.next(patience)); };
  auto first = std::async(std::launch::async, wait);
  auto second = std::async(std::launch::async, wait);
  std::vector<Stream> opened;
  for (int number = 0; number < 4; ++number) opened.push_back(a->open_stream(b->name(), "t", patience).value());
  EXPECT_EQ(told.next(), "callback ok");
  EXPECT_EQ(told.next(), "callback ok");
  EXPECT_EQ(first.get(), "ok");
  EXPECT_EQ(second.get(), "ok");
}

TEST_F(Streams, reach_who_still_waits_when_others_gave_up_or_were_killed) {
  start();
  auto taker = b->accept_streams("t").value();
  test::Lines told;
  taker.next([&](Result<Stream> next) { told.add("callback " + word_of(next)); });
  EXPECT_EQ(word_of(taker.next(10ms)), "timeout");
  std::promise<void> waits;
  const Pid process = b->spawn([&](Process& self) -> Task<> {
    waits.set_value();
    const Result<Stream> next = co_await taker.next(self);
    ADD_FAILURE() << "it was to be killed: " << word_of(next);
  });
  waits.get_future().get();
  b->exit(process, Atom("kill"));
  ASSERT_TRUE(eventually([&] { return !b->is_alive(process); }));
  const Stream opened = a->open_stream(b->name(), "t", patience).value();
  EXPECT_EQ(told.next(), "callback ok");
}

TEST_F(Streams, keep_nobody_waiting_when_their_acceptor_closes) {
  start();
  auto taker = b->accept_streams("t").value();
  test::Lines told;
  for (int number = 0; number < 2; ++number) {
    taker.next([&](Result<Stream> next) { told.add("callback " + word_of(next)); });
  }
  taker.close();
  EXPECT_EQ(told.next(), "callback closed");
  EXPECT_EQ(told.next(), "callback closed");
}

TEST_F(Streams, that_nobody_took_end_with_their_acceptor_and_taken_ones_go_on) {
  start();
  auto taker = b->accept_streams("t").value();
  Stream taken = a->open_stream(b->name(), "t", patience).value();
  Stream its_end = taker.next(patience).value();
  Stream waiting = a->open_stream(b->name(), "t", patience).value();
  ASSERT_TRUE(eventually([&] { return b->statistics().streams.accepted == 2; }));
  taker.close();
  EXPECT_EQ(read_text(waiting), "reset");
  EXPECT_EQ(waiting.reset_code(), 0U);
  Stream late = a->open_stream(b->name(), "t", patience).value();
  EXPECT_EQ(read_text(late), "connection_refused");
  ASSERT_EQ(word_of(its_end.write(bytes_of("still here"), patience)), "ok");
  EXPECT_EQ(read_text(taken), "still here");
  EXPECT_TRUE(b->accept_streams("t").has_value()) << "the tag is free";
}

TEST_F(Streams, of_a_process_are_reset_when_it_ends_however_it_ends) {
  start();
  acceptor.emplace(b->accept_streams("pair").value());
  for (const char* reason : {"normal", "kill"}) {
    std::promise<void> holds;
    const Pid owner = a->spawn([&](Process& self) -> Task<> {
      Result<Stream> stream = co_await a->open_stream(self, b->name(), "pair");
      Stream own = std::move(*stream);
      Bytes hello = bytes_of("hello");
      const Result<void> written = co_await own.write(self, std::move(hello));
      EXPECT_TRUE(written.has_value());
      holds.set_value();
      const Term message = co_await self.receive();
      (void)message;
    });
    auto there = acceptor->next(patience);
    ASSERT_TRUE(there.has_value()) << there.error().message();
    EXPECT_EQ(read_text(*there), "hello");
    holds.get_future().get();
    if (std::string(reason) == "kill") {
      a->exit(owner, Atom("kill"));
    } else {
      ASSERT_TRUE(a->send(owner, Atom("end")).has_value());
    }
    EXPECT_EQ(read_text(*there), "reset");
    EXPECT_EQ(there->reset_code(), 0U);
  }
}

TEST_F(Streams, for_an_acceptor_that_died_with_its_process_are_reset) {
  start();
  std::promise<void> ready;
  const Pid taker = b->spawn([&](Process& self) -> Task<> {
    const auto mine = b->accept_streams("t");
    ready.set_value();
    const Term message = co_await self.receive();
    (void)message;
  });
  ready.get_future().get();
  Stream stream = a->open_stream(b->name(), "t", patience).value();
  ASSERT_TRUE(eventually([&] { return b->statistics().streams.accepted == 1; }));
  b->exit(taker, Atom("kill"));
  EXPECT_EQ(read_text(stream), "reset");
  EXPECT_EQ(stream.reset_code(), 0U);
}

TEST_F(Streams, tell_both_owners_that_the_connection_is_lost_and_keep_what_had_arrived) {
  start();
  auto [here, there] = pair(*a, *b);
  ASSERT_EQ(word_of(here.write(bytes_of("last words"), patience)), "ok");
  ASSERT_EQ(word_of(here.flush(patience)), "ok");
  std::promise<std::string> told;
  here.read([&](Result<Bytes> result) { told.set_value(word_of(result)); });
  a->disconnect(b->name());
  EXPECT_EQ(told.get_future().get(), "noconnection");
  EXPECT_EQ(read_text(there), "last words");
  EXPECT_EQ(read_text(there), "noconnection");
  EXPECT_EQ(word_of(there.write(bytes_of("x"), patience)), "noconnection");
  EXPECT_EQ(a->statistics().streams.lost, 1U);
  EXPECT_EQ(a->statistics().streams.open, 0U);
}

TEST_F(Streams, of_a_node_that_stopped_are_over_on_both_sides_and_their_handles_harmless) {
  start();
  auto [here, there] = pair(*a, *b);
  cluster.stop("b");
  EXPECT_EQ(read_text(here), "noconnection");
  EXPECT_EQ(read_text(there), "noconnection");
  EXPECT_EQ(word_of(acceptor->next(patience)), "closed");
  std::promise<std::string> told;
  there.read([&](Result<Bytes> result) { told.set_value(word_of(result)); });
  EXPECT_EQ(told.get_future().get(), "noconnection");
  there.reset();
}

TEST_F(Streams, that_are_not_read_stop_their_sender_and_not_the_messages) {
  start();
  auto ends = pair(*a, *b);
  Stream& here = ends.first;
  Stream& there = ends.second;
  constexpr std::size_t total = 64 * mebibyte;
  constexpr std::size_t window = 8 * mebibyte;
  const std::size_t room = LimitsConfig().stream_send_bytes;
  const auto before = test::resources();
  std::jthread writer([&] { write_pattern(here, total); });
  // A few bytes of the window are the preamble's.
  ASSERT_TRUE(eventually([&] { return there.unread_bytes() > window - 4096 && here.unsent_bytes() > room / 2; }))
      << there.unread_bytes() << " unread, " << here.unsent_bytes() << " unsent";
  for (int number = 0; number < 20; ++number) ASSERT_TRUE(a->ping(b->name(), patience).has_value());
  EXPECT_LE(there.unread_bytes(), window);
  EXPECT_LE(here.unsent_bytes(), room);
  // Both nodes are in this process: what arrived, what waits, and buffers that grew by doubling.
  EXPECT_LE(test::resources().heap_bytes - before.heap_bytes, static_cast<std::int64_t>(3 * (window + room)));
  read_pattern(there, total);
  writer.join();
}

TEST_F(Streams, that_nobody_reads_take_no_more_of_a_peer_than_its_limit_and_messages_pass) {
  start([](NodeConfig& config) { config.limits.stream_unread_bytes_max = 32 * mebibyte; });
  auto taker = b->accept_streams("t").value();
  std::vector<Stream> opened;
  std::vector<Stream> taken;
  // The first of them fill the limit, and those that are opened then are taken all the same.
  for (int number = 0; number < 10; ++number) {
    opened.push_back(a->open_stream(b->name(), "t", patience).value());
    taken.push_back(taker.next(patience).value());
    opened.back().write(Bytes(10 * mebibyte), [](Result<void> /*result*/) {});
  }
  const auto unread = [&] {
    return std::accumulate(taken.begin(), taken.end(), std::size_t{0},
                           [](std::size_t sum, const Stream& one) { return sum + one.unread_bytes(); });
  };
  ASSERT_TRUE(eventually([&] { return unread() > 31 * mebibyte; }));
  for (int number = 0; number < 20; ++number) ASSERT_TRUE(a->ping(b->name(), patience).has_value());
  EXPECT_LE(unread(), 33 * mebibyte);
  opened.push_back(a->open_stream(b->name(), "t", patience).value());
  taken.push_back(taker.next(patience).value());
  opened.back().write(Bytes(10 * mebibyte), [](Result<void> /*result*/) {});
  EXPECT_EQ(b->statistics().streams.reset_unread, 0U) << "a C++ peer keeps to the limit by itself";
  // All of them wait until some of it is read, whichever.
  std::size_t left = opened.size() * 10 * mebibyte;
  for (std::size_t number = 0; left > 0; number = (number + 1) % taken.size()) {
    const auto bytes = taken[number].unread_bytes() > 0 ? taken[number].read(patience) : Bytes();
    ASSERT_TRUE(bytes.has_value()) << bytes.error().message();
    left -= bytes->size();
  }
}

TEST_F(Streams, a_thousand_on_one_connection_get_the_same_share) {
  start([](NodeConfig& config) { config.log_level = LogLevel::error; });
  constexpr std::size_t streams = 1000;
  constexpr std::size_t each = 256UL * 1024;
  // All of it belongs to the network thread of b.
  struct Counts {
    std::vector<std::shared_ptr<Stream>> streams;
    std::vector<std::size_t> got, at_start, at_end;
    std::size_t begun = 0, total = 0, total_at_start = 0;
    std::promise<void> measured;
  };
  const auto counts = std::make_shared<Counts>();
  std::function<void(std::size_t)> read_on = [&, counts](std::size_t number) {
    counts->streams[number]->read([&, counts, number](Result<Bytes> result) {
      if (!result || result->empty()) return;
      auto& got = counts->got[number];
      if (got == 0) ++counts->begun;
      got += result->size();
      counts->total += result->size();
      if (counts->begun == streams && counts->at_start.empty()) {
        counts->at_start = counts->got;
        counts->total_at_start = counts->total;
      }
      if (!counts->at_start.empty() && counts->at_end.empty() &&
          counts->total - counts->total_at_start > streams * 60'000) {
        counts->at_end = counts->got;
        counts->measured.set_value();
      }
      read_on(number);
    });
  };
  const auto taker = b->accept_streams("t", StreamCallback([&, counts](Stream stream) {
                                         counts->streams.push_back(std::make_shared<Stream>(std::move(stream)));
                                         counts->got.push_back(0);
                                         read_on(counts->streams.size() - 1);
                                       }));
  ASSERT_TRUE(taker.has_value());
  std::vector<Stream> opened;
  for (std::size_t number = 0; number < streams; ++number) {
    auto stream = a->open_stream(b->name(), "t", patience);
    ASSERT_TRUE(stream.has_value()) << number << stream.error().message();
    opened.push_back(std::move(*stream));
  }
  // On the network thread, so that all are begun before much is sent.
  opened.front().flush([&](Result<void> /*flushed*/) {
    for (auto& stream : opened) stream.write(Bytes(each), [](Result<void> /*result*/) {});
  });
  const bool measured = counts->measured.get_future().wait_for(120s) == std::future_status::ready;
  cluster.stop("b");  // nothing reads any more when this frame goes
  ASSERT_TRUE(measured);
  std::vector<std::size_t> share(streams);
  std::ranges::transform(counts->at_end, counts->at_start, share.begin(), std::minus<>());
  ASSERT_LT(std::ranges::max(counts->at_end), each) << "one was done before the end of the measurement";
  const auto [least, most] = std::ranges::minmax(share);
  EXPECT_LT(static_cast<double>(most) / static_cast<double>(least), 1.2) << least << " to " << most;
}

TEST_F(Streams, beyond_what_the_peer_allows_fail_at_once_and_ends_make_room_again) {
  start([](NodeConfig& config) { config.limits.streams_per_peer_max = 4; });
  for (int round = 0; round < 10; ++round) {
    std::vector<std::pair<Stream, Stream>> pairs;
    for (int number = 0; number < 4; ++number) {
      // Word of the room that the last round made may be on its way.
      ASSERT_TRUE(eventually([&] {
        if (!acceptor) acceptor.emplace(b->accept_streams("pair").value());
        auto here = a->open_stream(b->name(), "pair", patience);
        if (!here) return false;
        pairs.emplace_back(std::move(*here), acceptor->next(patience).value());
        return true;
      })) << round;
    }
    EXPECT_EQ(word_of(a->open_stream(b->name(), "pair", patience)), "overloaded");
    for (auto& [here, there] : pairs) {
      if (round % 2 == 0) continue;  // their handles reset them
      ASSERT_TRUE(here.finish() && there.finish());
    }
  }
}

TEST_F(Streams, refused_ten_thousand_times_cost_no_room_at_the_peer) {
  start([](NodeConfig& config) {
    config.limits.streams_per_peer_max = 4;
    config.log_level = LogLevel::error;
  });
  for (int number = 0; number < 2000; ++number) {
    ASSERT_TRUE(eventually([&] {
      auto stream = a->open_stream(b->name(), "nobody's", patience);
      return stream && read_text(*stream) == "connection_refused";
    })) << number;
  }
  EXPECT_EQ(b->statistics().streams.refused_tag, 2000U);
}

TEST_F(Streams, lose_nothing_to_a_read_that_ran_out_of_time) {
  start();
  auto [here, there] = pair(*a, *b);
  EXPECT_EQ(word_of(there.read(50ms)), "timeout");
  std::promise<std::string> told;
  b->spawn([&](Process& self) -> Task<> {
    const Result<Bytes> early = co_await there.read(self, 50ms);
    EXPECT_EQ(word_of(early), "timeout");
    EXPECT_TRUE(here.write(bytes_of("late"), patience).has_value());
    const Result<Bytes> got = co_await there.read(self, patience);
    told.set_value(got ? std::string(as_text(*got)) : word(got.error()));
  });
  EXPECT_EQ(told.get_future().get(), "late");
}

TEST_F(Streams, work_with_a_process_for_each_and_with_callbacks) {
  start();
  const auto echo = b->accept_streams("echo", [](Process& self, Stream stream) -> Task<> {
    for (;;) {
      Result<Bytes> bytes = co_await stream.read(self);
      if (!bytes || bytes->empty()) co_return;
      const Result<void> written = co_await stream.write(self, std::move(*bytes));
      if (!written) co_return;
    }
  });
  ASSERT_TRUE(echo.has_value());
  constexpr int streams = 50;
  std::atomic<int> good = 0;
  std::vector<std::shared_ptr<Stream>> all;
  std::mutex mutex;
  for (int number = 0; number < streams; ++number) {
    a->open_stream(b->name(), "echo", [&, number](Result<Stream> opened) {
      ASSERT_TRUE(opened.has_value());
      const auto stream = std::make_shared<Stream>(std::move(*opened));
      const std::string text = "number " + std::to_string(number);
      stream->write(bytes_of(text), [&, stream, text](Result<void> written) {
        ASSERT_TRUE(written.has_value());
        stream->read([&, stream, text](Result<Bytes> got) {
          if (got && as_text(*got) == text) ++good;
        });
      });
      const std::lock_guard lock(mutex);
      all.push_back(stream);
    });
  }
  EXPECT_TRUE(eventually([&] { return good == streams; }));
  EXPECT_TRUE(eventually([&] {
    const std::lock_guard lock(mutex);
    return all.size() == streams;
  }));
  const std::lock_guard lock(mutex);
  all.clear();
}

TEST_F(Streams, tell_a_writer_whose_reader_has_gone_after_its_request) {
  start();
  auto [here, there] = pair(*a, *b);
  ASSERT_TRUE(here.write(bytes_of("request"), patience) && here.finish());
  EXPECT_EQ(read_text(there), "request");
  here = Stream();  // it does not want the answer
  std::string end;
  ASSERT_TRUE(eventually([&] {
    const auto written = there.write(Bytes(100'000), patience);
    end = word_of(written);
    return !written;
  }));
  EXPECT_EQ(end, "reset");
}

TEST_F(Streams, keep_their_connection_from_being_closed_as_idle) {
  const auto change = [](NodeConfig& config) {
    config.idle_sweep = 100ms;
    config.idle_close_after = 1s;
  };
  start(change);
  Node& c = cluster.start("c", change);
  test::EventLog log;
  const auto watching = a->monitor_nodes([&](const NodeEvent& event) { log.add(event); });
  auto [here, there] = pair(*a, *b);
  EXPECT_EQ(log.next(), "up b@127.0.0.1");
  ASSERT_TRUE(test::Cluster::connects(*a, c));
  EXPECT_EQ(log.next(), "up c@127.0.0.1");
  // Either end may find it idle first, and tells the other.
  EXPECT_TRUE(log.next().starts_with("down c@127.0.0.1")) << "nothing uses it";
  ASSERT_EQ(word_of(here.write(bytes_of("still here"), patience)), "ok");
  EXPECT_EQ(read_text(there), "still here");
  here = Stream(), there = Stream();
  EXPECT_TRUE(log.next().starts_with("down b@127.0.0.1"));
}

}  // namespace
}  // namespace barrel_p2p
