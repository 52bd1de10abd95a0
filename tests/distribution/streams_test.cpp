// The preamble of streams, against what Erlang nodes sent, and the object between a program and the network.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include <algorithm>
#include <barrel_p2p/term.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "distribution/streams/acceptors.hpp"
#include "distribution/streams/stream_core.hpp"
#include "distribution/streams/tags.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p::distribution {
namespace {

namespace gen = rc::gen;
using namespace std::chrono_literals;
using quic::StreamId;
using test::from_hex;
using test::read_vectors;
using test::text_of;

using Waiting = InboundTags::Waiting;
using Refused = InboundTags::Refused;
using Complete = InboundTags::Complete;
using Reason = InboundTags::Reason;

std::string to_string(ByteView bytes) { return std::string(as_text(bytes)); }

// Ids and preambles.

TEST(StreamIds, belong_to_programs_as_an_erlang_node_says) {
  const auto file = read_vectors("streams_ids.json");
  for (const auto& value : file.as_array()) {
    const auto& vector = value.as_object();
    if (!vector.contains("stream_id")) continue;
    const auto id = vector.at("stream_id").as_int64();
    // An Erlang node does not look at the bit of unidirectional streams; we take none for ours.
    const bool expected = vector.at("is_user_stream").as_bool() && text_of(value, "kind") == "bidi";
    EXPECT_EQ(is_user_stream(id), expected) << id;
  }
}

TEST(Preambles, are_those_of_an_erlang_node_whole_and_byte_by_byte) {
  const auto file = read_vectors("streams.json");
  for (const auto& value : file.as_array()) {
    if (!value.as_object().contains("preamble_hex")) continue;
    const Bytes bytes = from_hex(text_of(value, "preamble_hex"));
    const std::string tag = to_string(from_hex(text_of(value, "tag_hex")));
    EXPECT_EQ(preamble(tag), bytes);
    InboundTags tags({});
    const auto whole = tags.feed(68, bytes, false, {});
    ASSERT_TRUE(std::holds_alternative<Complete>(whole));
    EXPECT_EQ(std::get<Complete>(whole).tag, tag);
    for (std::size_t at = 0; at + 1 < bytes.size(); ++at) {
      ASSERT_TRUE(std::holds_alternative<Waiting>(tags.feed(68, ByteView(bytes).subspan(at, 1), false, {}))) << at;
    }
    EXPECT_EQ(std::get<Complete>(tags.feed(68, ByteView(bytes).last(1), false, {})).tag, tag);
  }
}

TEST(Preambles, of_recorded_writes_are_those_that_we_make_and_understand) {
  const auto file = read_vectors("transport-user-streams.json");
  InboundTags tags({});
  std::string tag;
  std::string payload;
  std::size_t preambles = 0;
  bool ended = false;
  for (const auto& value : file.as_array()) {
    const Bytes bytes = from_hex(text_of(value, "etf_hex"));
    if (value.as_object().contains("tag")) {
      EXPECT_EQ(preamble(text_of(value, "tag")), bytes);
      ++preambles;
      continue;
    }
    const StreamId id = value.at("stream").as_int64();
    EXPECT_TRUE(is_user_stream(id));
    ended = value.at("fin").as_bool();
    if (!tag.empty()) {
      payload += to_string(bytes);
      continue;
    }
    const auto outcome = tags.feed(id, bytes, ended, {});
    ASSERT_TRUE(std::holds_alternative<Complete>(outcome));
    tag = std::get<Complete>(outcome).tag;
    payload = to_string(std::get<Complete>(outcome).rest);
    EXPECT_EQ(preamble(tag), bytes);
  }
  EXPECT_EQ(preambles, 3U);
  EXPECT_EQ(tag, "chat:b");
  EXPECT_EQ(payload, "data from erlang");
  EXPECT_TRUE(ended);
}

TEST(ResetCodes, are_those_of_an_erlang_node) {
  const auto file = read_vectors("transport-close.json");
  std::map<std::string, std::uint64_t> codes;
  for (const auto& value : file.as_array()) {
    const auto term = parse_term(text_of(value, "term"));
    ASSERT_TRUE(term.has_value());
    if (!(*term)[0].is_atom("reset_stream")) continue;
    EXPECT_TRUE(is_user_stream((*term)[1].to<std::int64_t>().value()));
    codes[text_of(value, "name")] = (*term)[2].to<std::uint64_t>().value();
  }
  EXPECT_EQ(codes, (std::map<std::string, std::uint64_t>{{"refused user stream", code_refused},
                                                         {"user stream owner died", code_owner_gone}}));
}

TEST(Preambles, are_cut_from_what_follows_whatever_the_pieces) {
  EXPECT_TRUE(rc::check("tag and payload", [] {
    const auto tag = *gen::container<std::string>(*gen::inRange<std::size_t>(1, 256), gen::arbitrary<char>());
    const auto payload = *gen::container<Bytes>(gen::arbitrary<std::uint8_t>());
    Bytes stream = preamble(tag);
    stream.insert(stream.end(), payload.begin(), payload.end());
    InboundTags tags({});
    std::size_t at = 0;
    for (;;) {
      const auto size = std::min(stream.size() - at, *gen::inRange<std::size_t>(1, 300));
      const auto outcome = tags.feed(65, ByteView(stream).subspan(at, size), false, {});
      at += size;
      if (std::holds_alternative<Waiting>(outcome)) continue;
      RC_ASSERT(std::get<Complete>(outcome).tag == tag);
      const std::size_t rest = std::get<Complete>(outcome).rest.size();
      RC_ASSERT(at - rest == 1 + tag.size());
      break;
    }
    RC_ASSERT(tags.waiting() == 0U);
  }));
}

/// What the machine makes of the inbound frames of a transcript, by stream: `tag+payload`, `tag+payload.` with the end,
/// or why it was refused.
/// Before it `parked` other streams wait for their tag.
std::map<StreamId, std::string> replay(const std::string& name, const std::string& side, int parked = 0) {
  std::map<StreamId, std::string> result;
  InboundTags tags({});
  const Bytes part{9, 'a'};
  for (int number = 0; number < parked; ++number) (void)tags.feed(10'000 + 4 * number, part, false, {});
  const auto file = read_vectors("streams_transcripts.json");
  for (const auto& value : file.as_array()) {
    if (text_of(value, "name") != name) continue;
    for (const auto& frame : value.as_object().at(side).as_array()) {
      if (text_of(frame, "dir") != "rx") continue;
      const StreamId id = frame.as_object().at("stream_id").as_int64();
      if (text_of(frame, "frame") == "RESET_STREAM" && tags.forget(id)) result[id] = "given up";
      if (text_of(frame, "frame") != "STREAM") continue;
      const Bytes bytes = from_hex(text_of(frame, "data_hex"));
      const bool fin = frame.as_object().at("fin").as_bool();
      const auto known = result.find(id);
      if (known != result.end() && known->second != "waiting") {
        if (!known->second.starts_with("refused")) known->second += to_string(bytes) + (fin ? "." : "");
        continue;
      }
      const auto outcome = tags.feed(id, bytes, fin, {});
      if (const auto* complete = std::get_if<Complete>(&outcome)) {
        result[id] = complete->tag + "+" + to_string(complete->rest) + (fin ? "." : "");
      } else if (const auto* refused = std::get_if<Refused>(&outcome)) {
        result[id] = "refused " + std::to_string(static_cast<int>(refused->reason));
      } else {
        result[id] = "waiting";
      }
    }
  }
  return result;
}

const std::string cut_off = "refused " + std::to_string(static_cast<int>(Reason::cut_off));
const std::string empty_tag = "refused " + std::to_string(static_cast<int>(Reason::empty_tag));
const std::string too_many = "refused " + std::to_string(static_cast<int>(Reason::too_many));

TEST(Preambles, made_by_hand_are_taken_or_refused_as_recorded) {
  const auto got = replay("e3_raw_preambles", "seen_at_b");
  EXPECT_EQ(got.at(80), empty_tag);
  EXPECT_EQ(got.at(84), "acme.echo+!!");
  EXPECT_EQ(got.at(88), "acme.echo+in one frame.");
  EXPECT_EQ(got.at(92), "acme.echo+.");
  EXPECT_EQ(got.at(96), cut_off);
  EXPECT_EQ(got.at(100), "given up");
  EXPECT_TRUE(got.at(104).starts_with(std::string(255, 't') + "+"));
}

TEST(Preambles, beyond_sixty_four_incomplete_ones_are_refused_and_whole_ones_are_not) {
  const auto got = replay("e6_pending_cap", "seen_at_b", 64);
  EXPECT_EQ(got.at(324), too_many);
  EXPECT_EQ(got.at(328), "ab+");
  EXPECT_EQ(got.at(332), too_many);
}

TEST(Preambles, that_do_not_come_in_time_are_given_up_and_leave_their_place) {
  InboundTags tags({.waiting_max = 2, .timeout = 10s});
  const MonotonicTime start{};
  const Bytes part{9, 'a'};
  ASSERT_TRUE(std::holds_alternative<Waiting>(tags.feed(68, part, false, start)));
  ASSERT_TRUE(std::holds_alternative<Waiting>(tags.feed(72, part, false, start + 5s)));
  ASSERT_TRUE(std::holds_alternative<Refused>(tags.feed(76, part, false, start + 6s)));
  ASSERT_TRUE(std::holds_alternative<Waiting>(tags.feed(72, part, false, start + 9s))) << "more bytes are no new time";
  EXPECT_TRUE(tags.expire(start + 9s).empty());
  EXPECT_EQ(tags.expire(start + 10s), std::vector<StreamId>{68});
  EXPECT_EQ(tags.expire(start + 15s), std::vector<StreamId>{72});
  EXPECT_EQ(tags.waiting(), 0U);
}

TEST(Tags, have_1_to_255_bytes_and_are_not_the_librarys) {
  EXPECT_TRUE(check_tag("a").has_value());
  EXPECT_TRUE(check_tag(std::string(255, '\0')).has_value());
  EXPECT_TRUE(check_tag("barrel_p2p").has_value());
  for (const auto& bad : {std::string(), std::string(256, 'x'), std::string("barrel_p2p:x")}) {
    EXPECT_EQ(check_tag(bad).error(), Errc::invalid_argument);
  }
}

// Between the program and the network.

class Core : public testing::Test {
 protected:
  Core() : core(identity(), 1000, [this] { ++notified; }) {}
  static StreamCore::Identity identity() { return {Atom("b@127.0.0.1"), 7, 68, "t", true}; }
  static SharedBytes bytes(std::size_t size) { return SharedBytes(Bytes(size)); }
  std::string read() {
    const auto got = core.read(1000);
    if (!got) return "nothing";
    return *got ? (got->value().empty() ? "end" : to_string(**got)) : std::string(name(got->error().code()));
  }
  int notified = 0;
  StreamCore core;
};

TEST_F(Core, gives_what_arrived_in_order_and_then_the_end) {
  EXPECT_EQ(read(), "nothing");
  core.deliver(as_bytes("hello "), false);
  core.deliver(as_bytes("world"), true);
  EXPECT_EQ(to_string(**core.read(8)), "hello wo");
  EXPECT_EQ(read(), "rld");
  EXPECT_EQ(read(), "end");
  EXPECT_EQ(read(), "end");
  EXPECT_EQ(core.take_work().consumed, 11U) << "all of it is credited when the end was read";
}

TEST_F(Core, credits_what_was_read_and_nothing_else) {
  const Bytes much(100'000, 'x');
  core.deliver(much, false);
  EXPECT_EQ(core.take_work().consumed, 0U);
  std::size_t taken = 0;
  while (taken < 50'000) taken += (*core.read(10'000))->size();
  const std::size_t credited = core.take_work().consumed;
  EXPECT_LE(credited, taken);
  EXPECT_GT(credited, 0U);
  EXPECT_EQ(core.unread_bytes(), much.size() - taken);
}

TEST_F(Core, takes_no_more_than_its_room_until_some_of_it_has_arrived) {
  EXPECT_EQ(**core.write(bytes(700)), 700U);
  EXPECT_EQ(**core.write(bytes(700)), 300U);
  EXPECT_FALSE(core.write(bytes(1)).has_value());
  int woken = 0;
  core.await(StreamCore::Wait::writable, [&] { ++woken; });
  core.acknowledge(400);
  EXPECT_EQ(woken, 0) << "not before half of the room is free";
  core.acknowledge(500);
  EXPECT_EQ(woken, 1);
  EXPECT_EQ(**core.write(bytes(700)), 500U);
  EXPECT_EQ(notified, 1) << "one word for all that the transport thread has not taken";
  EXPECT_EQ(core.take_work().bytes.size(), 3U);
}

TEST_F(Core, a_finished_side_writes_no_more_and_finishes_once) {
  ASSERT_TRUE(core.finish().has_value());
  EXPECT_EQ(core.write(bytes(1))->error(), Errc::closed);
  EXPECT_TRUE(core.take_work().finish);
  ASSERT_TRUE(core.finish().has_value());
  EXPECT_FALSE(core.take_work().finish);
  core.deliver(as_bytes("still here"), false);
  EXPECT_EQ(read(), "still here") << "half-closed is not closed";
}

TEST_F(Core, a_reset_ends_both_sides_and_tells_its_code) {
  core.deliver(as_bytes("unread"), false);
  bool woken = false;
  ASSERT_EQ(**core.write(bytes(1000)), 1000U);
  core.await(StreamCore::Wait::writable, [&] { woken = true; });
  core.ended_by_reset(1234);
  EXPECT_TRUE(woken);
  EXPECT_EQ(read(), "reset");
  EXPECT_EQ(core.write(bytes(1))->error(), Errc::reset);
  EXPECT_EQ(core.reset_code(), 1234U);
  EXPECT_EQ(core.unread_bytes(), 0U);
}

TEST_F(Core, a_refusal_is_one_only_for_who_opened) {
  core.ended_by_reset(code_refused);
  EXPECT_EQ(read(), "connection_refused");
  auto other = identity();
  other.opened_here = false;
  StreamCore accepted(other, 1000, [] {});
  accepted.ended_by_reset(code_refused);
  EXPECT_EQ(accepted.read(1)->error(), Errc::reset);
}

TEST_F(Core, what_had_arrived_before_the_connection_was_lost_can_be_read) {
  core.deliver(as_bytes("last words"), false);
  core.lost(Error(Errc::no_connection, "gone"));
  EXPECT_EQ(read(), "last words");
  EXPECT_EQ(read(), "noconnection");
}

TEST_F(Core, an_abandoned_stream_is_reset_but_what_was_finished_goes_out) {
  ASSERT_EQ(**core.write(bytes(10)), 10U);
  core.abandon();
  EXPECT_EQ(core.take_work().reset, code_owner_gone);
  StreamCore finished(identity(), 1000, [] {});
  ASSERT_EQ(**finished.write(bytes(10)), 10U);
  ASSERT_TRUE(finished.finish().has_value());
  finished.abandon();
  const auto work = finished.take_work();
  EXPECT_FALSE(work.reset.has_value());
  EXPECT_TRUE(work.stop_reading && work.finish);
  EXPECT_EQ(work.bytes.size(), 1U);
}

TEST_F(Core, a_peer_that_stopped_reading_ends_writing_alone) {
  ASSERT_EQ(**core.write(bytes(1000)), 1000U);
  bool woken = false;
  core.await(StreamCore::Wait::delivered, [&] { woken = true; });
  core.ended_by_stop();
  EXPECT_TRUE(woken);
  EXPECT_EQ(core.write(bytes(1))->error(), Errc::reset);
  EXPECT_EQ(core.delivered()->error(), Errc::reset);
  core.deliver(as_bytes("and yet"), false);
  EXPECT_EQ(read(), "and yet");
}

// Acceptors.

std::shared_ptr<StreamCore> some_stream() {
  return std::make_shared<StreamCore>(StreamCore::Identity{Atom("b@127.0.0.1"), 1, 65, "t", false}, 1000, [] {});
}

TEST(Acceptors, take_one_tag_each_and_only_once) {
  TagAcceptors table;
  const auto first = table.add("t", {}, 1);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(table.add("t", {}, 1).error(), Errc::already_registered);
  EXPECT_EQ(table.find("t"), *first);
  table.remove("t", *first);
  EXPECT_EQ(table.find("t"), nullptr);
  EXPECT_TRUE(table.add("t", {}, 1).has_value());
}

TEST(Acceptors, queue_up_to_their_backlog_and_reset_what_waits_when_they_end) {
  TagAcceptor acceptor({}, 2);
  const auto first = some_stream();
  const auto second = some_stream();
  EXPECT_TRUE(acceptor.offer(first));
  EXPECT_TRUE(acceptor.offer(second));
  EXPECT_FALSE(acceptor.offer(some_stream()));
  EXPECT_EQ(acceptor.next(), first);
  acceptor.close();
  EXPECT_EQ(second->take_work().reset, code_owner_gone);
  EXPECT_FALSE(first->take_work().reset.has_value()) << "it was taken";
  EXPECT_FALSE(acceptor.offer(some_stream()));
}

/// Two that wait, one after the other.
struct TwoWaiters {
  TagAcceptor acceptor{{}, 2};
  int first_woken = 0;
  int second_woken = 0;
  TagAcceptor::Waiter first = acceptor.await([this] { ++first_woken; });
  TagAcceptor::Waiter second = acceptor.await([this] { ++second_woken; });
};

TEST(Acceptors, wake_one_for_each_stream_in_the_order_in_which_they_came) {
  TwoWaiters two;
  two.acceptor.offer(some_stream());
  EXPECT_EQ(two.first_woken, 1);
  EXPECT_EQ(two.second_woken, 0);
  two.acceptor.offer(some_stream());
  EXPECT_EQ(two.first_woken, 1);
  EXPECT_EQ(two.second_woken, 1);
}

TEST(Acceptors, that_close_wake_everybody) {
  TwoWaiters two;
  two.acceptor.close();
  EXPECT_EQ(two.first_woken, 1);
  EXPECT_EQ(two.second_woken, 1);
}

TEST(Acceptors, forget_nobody_but_who_gives_up) {
  TwoWaiters two;
  EXPECT_TRUE(two.acceptor.forget(two.second));
  EXPECT_FALSE(two.acceptor.forget(two.second)) << "it waits no more";
  two.acceptor.offer(some_stream());
  EXPECT_EQ(two.first_woken, 1);
  EXPECT_EQ(two.second_woken, 0);
}

TEST(Acceptors, wake_the_next_one_for_a_stream_that_was_not_taken) {
  TwoWaiters two;
  two.acceptor.offer(some_stream());
  EXPECT_FALSE(two.acceptor.forget(two.first)) << "it was woken";
  EXPECT_EQ(two.second_woken, 1);
}

TEST(Acceptors, wake_nobody_for_a_stream_that_was_taken) {
  TwoWaiters two;
  two.acceptor.offer(some_stream());
  EXPECT_NE(two.acceptor.next(), nullptr);
  EXPECT_FALSE(two.acceptor.forget(two.first));
  EXPECT_EQ(two.second_woken, 0);
}

TEST(Acceptors, a_late_end_of_an_old_acceptor_leaves_the_new_one_alone) {
  TagAcceptors table;
  const auto old = table.add("t", {}, 1).value();
  table.remove("t", old);
  const auto fresh = table.add("t", {}, 1).value();
  table.remove("t", old);
  EXPECT_EQ(table.find("t"), fresh);
}

}  // namespace
}  // namespace barrel_p2p::distribution
