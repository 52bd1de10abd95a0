// Frames, envelopes and fragments, on the way out and on the way in.
#include "distribution/framing.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "distribution/encode.hpp"
#include "distribution/ends.hpp"
#include "distribution/fragments.hpp"
#include "distribution/operations.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p::distribution {
namespace {

namespace gen = rc::gen;
using test::frame_of;
using test::from_hex;
using test::ours;
using test::receiver;
using test::sender;
using test::theirs;
using test::to_hex;

constexpr std::size_t frame_limit = 1UL << 20U;
constexpr Flags without_fragments = offered_flags & ~flag::fragments;

Bytes framed(ByteView payload) {
  Bytes frame;
  for (unsigned left = frame_header_bytes; left > 0; --left) {
    frame.push_back(static_cast<std::uint8_t>(payload.size() >> (8U * (left - 1))));
  }
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

void append(Bytes& to, ByteView bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }

Bytes copy_of(const FramePayload& frame) { return {frame.bytes.begin(), frame.bytes.end()}; }

// Frames.

TEST(Frames, come_out_whole_whatever_the_cuts) {
  EXPECT_TRUE(rc::check("with and without an owner", [] {
    Bytes stream;
    std::vector<Bytes> expected;
    std::size_t ticks = 0;
    const auto count = *gen::inRange(0, 12);
    for (int number = 0; number < count; ++number) {
      const auto size = *gen::weightedOneOf<std::size_t>({{2, gen::just<std::size_t>(0)},
                                                          {6, gen::inRange<std::size_t>(1, 12)},
                                                          {1, gen::inRange<std::size_t>(60'000, 150'000)}});
      const Bytes payload(size, static_cast<std::uint8_t>(number));
      append(stream, framed(payload));
      if (size == 0) {
        ++ticks;
      } else {
        expected.push_back(payload);
      }
    }
    const bool owned = *gen::arbitrary<bool>();
    FrameReader reader(frame_limit);
    std::vector<FramePayload> frames;
    for (std::size_t at = 0; at < stream.size();) {
      const auto longest = *gen::element<std::size_t>(2, 9, 100'000, 1'000'000);
      const std::size_t size = std::min(stream.size() - at, *gen::inRange<std::size_t>(1, longest));
      // Each piece has memory of its own, so that a view which outlives it shows under a sanitizer.
      const auto piece = std::make_shared<const Bytes>(stream.begin() + static_cast<std::ptrdiff_t>(at),
                                                       stream.begin() + static_cast<std::ptrdiff_t>(at + size));
      RC_ASSERT(reader.feed(*piece, frames, owned ? piece : nullptr).has_value());
      at += size;
    }
    std::vector<Bytes> read;
    for (const auto& frame : frames) read.push_back(copy_of(frame));
    RC_ASSERT(read == expected);
    RC_ASSERT(reader.ticks() == ticks);
    RC_ASSERT(reader.buffered_bytes() == 0U);
  }));
}

TEST(Frames, that_lie_in_one_piece_are_not_copied) {
  Bytes bytes = framed(Bytes{1, 2, 3});
  append(bytes, framed(Bytes(100, 7)));
  auto piece = std::make_shared<const Bytes>(bytes);
  FrameReader reader(frame_limit);
  std::vector<FramePayload> frames;
  ASSERT_TRUE(reader.feed(*piece, frames, piece).has_value());
  ASSERT_EQ(frames.size(), 2U);
  EXPECT_EQ(frames[0].bytes.data(), piece->data() + frame_header_bytes);
  EXPECT_EQ(frames[1].bytes.data(), piece->data() + 2 * frame_header_bytes + 3);
  EXPECT_EQ(piece.use_count(), 3);
  const std::weak_ptr<const Bytes> watched = piece;
  piece.reset();
  frames.erase(frames.begin());
  EXPECT_FALSE(watched.expired()) << "a frame keeps its piece alive";
  EXPECT_EQ(copy_of(frames[0]), Bytes(100, 7));
  frames.clear();
  EXPECT_TRUE(watched.expired());
}

TEST(Frames, in_two_pieces_keep_no_piece_alive) {
  const Bytes bytes = framed(Bytes(100, 7));
  const auto first = std::make_shared<const Bytes>(bytes.begin(), bytes.begin() + 50);
  const auto second = std::make_shared<const Bytes>(bytes.begin() + 50, bytes.end());
  FrameReader reader(frame_limit);
  std::vector<FramePayload> frames;
  ASSERT_TRUE(reader.feed(*first, frames, first).has_value());
  EXPECT_EQ(reader.buffered_bytes(), 50U);
  ASSERT_TRUE(reader.feed(*second, frames, second).has_value());
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(copy_of(frames[0]), Bytes(100, 7));
  EXPECT_EQ(first.use_count(), 1);
  EXPECT_EQ(second.use_count(), 1);
}

TEST(Frames, beyond_the_limit_are_refused_at_their_announcement) {
  for (const std::size_t first_piece : {1U, 2U, 3U, 4U}) {
    FrameReader reader(1000);
    std::vector<FramePayload> frames;
    const Bytes allowed = framed(Bytes(1000, 1));
    ASSERT_TRUE(reader.feed(allowed, frames).has_value());
    EXPECT_EQ(frames.size(), 1U);
    const Bytes header = from_hex("000003e9");
    const ByteView view(header);
    auto fed = reader.feed(view.first(first_piece), frames);
    if (first_piece < frame_header_bytes) {
      ASSERT_TRUE(fed.has_value());
      fed = reader.feed(view.subspan(first_piece), frames);
    }
    ASSERT_FALSE(fed.has_value()) << first_piece;
    EXPECT_EQ(fed.error(), Errc::limit_exceeded);
    EXPECT_EQ(frames.size(), 1U);
  }
}

TEST(Frames, an_announcement_alone_costs_nothing) {
  FrameReader reader(std::numeric_limits<std::uint32_t>::max());
  std::vector<FramePayload> frames;
  ASSERT_TRUE(reader.feed(from_hex("ffffffff"), frames).has_value());
  EXPECT_EQ(reader.buffered_bytes(), frame_header_bytes);
  for (int byte = 0; byte < 100; ++byte) ASSERT_TRUE(reader.feed(Bytes{1}, frames).has_value());
  EXPECT_EQ(reader.buffered_bytes(), frame_header_bytes + 100);
  EXPECT_TRUE(frames.empty());
}

TEST(Frames, ticks_are_counted_and_left_out) {
  FrameReader reader(frame_limit);
  std::vector<FramePayload> frames;
  for (const std::uint8_t byte : from_hex("00000000000000000000000177")) {
    ASSERT_TRUE(reader.feed(Bytes{byte}, frames).has_value());
  }
  EXPECT_EQ(reader.ticks(), 2U);
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(copy_of(frames[0]), Bytes{0x77});
}

// Envelopes.

TEST(Envelopes, have_one_form_for_each_set_of_flags) {
  const auto read = [](const char* hex, Flags flags) {
    const Bytes bytes = from_hex(hex);
    const auto envelope = read_envelope(bytes, flags);
    if (!envelope) {
      EXPECT_EQ(envelope.error(), Errc::malformed_term);
      return std::string("refused");
    }
    if (const auto* whole = std::get_if<WholeMessage>(&*envelope))
      return (whole->version_byte ? "pass-through " : "whole ") + to_hex(whole->body);
    if (const auto* first = std::get_if<FirstFragment>(&*envelope)) {
      return "first " + std::to_string(first->sequence) + " of " + std::to_string(first->count) + " " +
             to_hex(first->body);
    }
    const auto& next = std::get<NextFragment>(*envelope);
    return "next " + std::to_string(next.sequence) + " left " + std::to_string(next.left) + " " + to_hex(next.part);
  };
  EXPECT_EQ(read("8344006100", offered_flags), "whole 6100");
  EXPECT_EQ(read("834400", offered_flags), "whole ");
  EXPECT_EQ(read("8345000000000000000500000000000000020061", offered_flags), "first 5 of 2 61");
  EXPECT_EQ(read("83450000000000000005000000000000000200", offered_flags), "first 5 of 2 ");
  EXPECT_EQ(read("8346ffffffffffffffff000000000000000107", offered_flags), "next 18446744073709551615 left 1 07");
  EXPECT_EQ(read("834600000000000000050000000000000001", offered_flags), "next 5 left 1 ");
  EXPECT_EQ(read("70836100", without_fragments), "pass-through 6100");

  for (const auto* hex :
       {"83440061", "834500000000000000050000000000000002006100", "834600000000000000050000000000000001"})
    EXPECT_EQ(read(hex, without_fragments), "refused") << hex;
  for (const auto* hex :
       {"70836100", "83", "70", "8344", "834401", "83440161", "8343006100", "8347006100", "836100", "ffffff", "00",
        "834500000000000000050000000000000000006100",  // count 0
        "83460000000000000005000000000000000061",      // left 0
        "834500000000000000050000000000000002016100",  // atom cache
        "834500000000000000050000000000000002",        // one byte short
        "8346000000000000000500000000000000"})
    EXPECT_EQ(read(hex, offered_flags), "refused") << hex;
  for (const auto* hex : {"7061", "708261", "70", "83"}) EXPECT_EQ(read(hex, without_fragments), "refused") << hex;
  EXPECT_FALSE(read_envelope({}, offered_flags).has_value());
  EXPECT_FALSE(read_envelope({}, without_fragments).has_value());
}

// Signals out and in.

TEST(Payload, of_a_snapshot_may_name_atoms_for_each_of_very_many_entries) {
  constexpr int count = 60'000;
  std::vector<TermPair> pairs;
  const Term dots = Term::map({{Term::tuple({Atom("a@h"), Term::tuple({Atom("timestamp"), 1, 0})}), true}});
  for (int key = 0; key < count; ++key) pairs.emplace_back(key, Term::tuple({Atom("value"), Atom("v"), dots}));
  const Term snapshot = Term::map(std::move(pairs));
  const Bytes bytes = encode_term(snapshot);
  const auto decoded = decode_payload(EncodedTerm{ByteView(bytes).subspan(1), nullptr});  // without its version byte
  ASSERT_TRUE(decoded) << decoded.error().message();
  EXPECT_EQ(*decoded, snapshot);
}

TEST(Payload, that_may_be_kept_in_part_leaves_the_message_alone) {
  const Term both = Term::tuple({Bytes(100, 1), Bytes(100'000, 2)});
  const auto bytes = std::make_shared<Bytes>(encode_term(both, {.version_byte = false}));
  const std::weak_ptr<Bytes> message = bytes;
  Payload payload = EncodedTerm{*bytes, bytes};
  auto shared = decode_payload(payload);
  auto copied = decode_payload_in_parts(payload);
  ASSERT_TRUE(shared && copied);
  EXPECT_EQ(*copied, both);
  EXPECT_EQ(decode_payload_in_parts(Term(1)), Term(1));
  EXPECT_GT(message.use_count(), 2) << "a part of what is shared keeps all of it";
  shared = Term();
  EXPECT_EQ(message.use_count(), 2) << "those of this test";
}

/// All that a signal says.
Term described(const Signal& signal) {
  Bytes bytes;
  encode_control_to(signal, offered_flags, bytes);
  const auto payload = decode_payload(signal.payload);
  if (!payload) throw std::runtime_error(payload.error().message());
  return Term::tuple({Term::binary(bytes), *payload});
}

std::vector<FramePayload> frames_of(const OutgoingMessage& message) {
  Bytes stream;
  for (const auto& buffer : message.buffers) append(stream, buffer.view);
  EXPECT_EQ(stream.size(), message.bytes);
  EXPECT_LT(message.stream_index, data_stream_count);
  FrameReader reader(1UL << 30U);
  std::vector<FramePayload> frames;
  EXPECT_TRUE(reader.feed(stream, frames).has_value());
  EXPECT_EQ(reader.buffered_bytes(), 0U);
  return frames;
}

Ref any_reference(const Atom& node) {
  Ref ref{node, *gen::arbitrary<std::uint32_t>(), *gen::inRange<std::uint8_t>(1, 6), {}};
  for (std::size_t word = 0; word < ref.count; ++word) ref.words.at(word) = *gen::arbitrary<std::uint32_t>();
  return ref;
}

Pid any_pid(const Atom& node, std::uint32_t creation) {
  return {node, *gen::arbitrary<std::uint32_t>(), *gen::arbitrary<std::uint32_t>(), creation};
}

Atom any_name() {
  return *gen::element<Atom>("", "x", "b@h", "\xc3\xa9", Atom(std::string(255, 'y')), "\xf0\x9f\x90\x9d");
}

/// One of each kind, with arbitrary numbers.
Control any_control() {
  const Pid from = any_pid("a@h", *gen::arbitrary<std::uint32_t>());
  const Pid to = any_pid("b@h", 8);
  const PidOrName target = *gen::arbitrary<bool>() ? PidOrName(to) : PidOrName(any_name());
  switch (*gen::inRange(0, 14)) {
    case 0: return Link{from, to};
    case 1: return Unlink{*gen::nonZero<std::uint64_t>(), from, to};
    case 2: return UnlinkAck{*gen::nonZero<std::uint64_t>(), from, to};
    case 3: return *gen::arbitrary<bool>() ? Send{from, to} : Send{std::nullopt, to};
    case 4: return SendName{from, any_name()};
    case 5: return SendAlias{from, any_reference("b@h")};
    case 6: return Exit{from, to};
    case 7: return Exit2{from, to};
    case 8: return Monitor{from, target, any_reference("a@h")};
    case 9: return Demonitor{from, target, any_reference("a@h")};
    case 10: {
      const PidOrName source = *gen::arbitrary<bool>() ? PidOrName(from) : PidOrName(any_name());
      return MonitorExit{source, to, any_reference("b@h")};
    }
    case 11: return GroupLeader{any_pid("c@h", 1), to};
    case 12:
      return SpawnRequest{any_reference("a@h"),
                          from,
                          any_pid("c@h", 1),
                          any_name(),
                          any_name(),
                          *gen::arbitrary<std::uint8_t>(),
                          Term::list({Atom("link"), Term::tuple({Atom("priority"), Atom("high")})})};
    default: {
      const PidOrName result = *gen::arbitrary<bool>() ? PidOrName(from) : PidOrName(any_name());
      return SpawnReply{any_reference("b@h"), to, *gen::arbitrary<std::uint32_t>(), result};
    }
  }
}

TEST(Signals, survive_the_way_with_any_flags) {
  EXPECT_TRUE(rc::check("encode, cut, read", [] {
    Signal signal{any_control(), {}};
    if (needs_payload(signal.control)) {
      const auto size = *gen::element<std::size_t>(0, 1, 300, 65'400, 65'536, 70'000, 200'000);
      signal.payload = Term::tuple({Term::binary(Bytes(size, 'x')), Atom("end")});
    }
    Flags flags = mandatory_27 | flag::dist_monitor | flag::dist_monitor_name | flag::alias | flag::spawn;
    for (const Flags optional : {flag::send_sender, flag::exit_payload, flag::fragments}) {
      if (*gen::arbitrary<bool>()) flags |= optional;
    }
    const auto allowed = check_outgoing(signal, sender(), flags);
    RC_ASSERT(allowed.has_value());
    const auto message = encode_message(signal, flags, stream_key(signal.control), 77);
    auto frames = frames_of(message);
    MessageReader reader(receiver(), flags);
    std::optional<Signal> read;
    for (auto& frame : frames) {
      RC_ASSERT(!read.has_value());
      auto result = reader.read(4, std::move(frame));
      RC_ASSERT(result.has_value());
      read = std::move(*result);
    }
    RC_ASSERT(read.has_value());
    if (auto* send = std::get_if<Send>(&signal.control); send != nullptr && (flags & flag::send_sender) == 0)
      send->from.reset();  // the older operation does not carry it
    RC_ASSERT(described(*read) == described(signal));
    RC_ASSERT(reader.fragments().open_sequences() == 0U);
    RC_ASSERT(reader.fragments().open_bytes() == 0U);
  }));
}

TEST(Signals, go_out_in_fragments_of_64_kib_when_they_are_larger) {
  const Signal signal{Send{ours(), theirs()}, Term::binary(Bytes(200'000, 'x'))};
  const auto message = encode_message(signal, offered_flags, ours(), 9);
  const auto frames = frames_of(message);
  ASSERT_EQ(frames.size(), 4U);
  std::size_t total = 0;
  for (std::size_t number = 0; number < frames.size(); ++number) {
    const auto envelope = read_envelope(frames[number].bytes, offered_flags);
    ASSERT_TRUE(envelope.has_value());
    if (number == 0) {
      const auto& first = std::get<FirstFragment>(*envelope);
      EXPECT_EQ(first.sequence, 9U);
      EXPECT_EQ(first.count, 4U);
      EXPECT_EQ(first.body.size(), fragment_bytes);
      total += first.body.size();
    } else {
      const auto& next = std::get<NextFragment>(*envelope);
      EXPECT_EQ(next.sequence, 9U);
      EXPECT_EQ(next.left, 4 - number);
      if (next.left > 1) {
        EXPECT_EQ(next.part.size(), fragment_bytes);
      }
      total += next.part.size();
    }
  }
  Bytes control;
  encode_control_to(signal, offered_flags, control);
  EXPECT_EQ(total, control.size() + encoded_size(std::get<Term>(signal.payload), false));
  EXPECT_EQ(frames_of(encode_message(signal, without_fragments, ours(), 9)).size(), 1U);
}

TEST(Signals, are_cut_exactly_beyond_64_kib) {
  Bytes control;
  encode_control_to({Send{ours(), theirs()}, Term()}, offered_flags, control);
  constexpr std::size_t binary_head = 5;
  const std::size_t fits = fragment_bytes - control.size() - binary_head;
  for (const std::size_t more : {0U, 1U}) {
    const Signal signal{Send{ours(), theirs()}, Term::binary(Bytes(fits + more, 'x'))};
    const auto frames = frames_of(encode_message(signal, offered_flags, ours(), 1));
    ASSERT_EQ(frames.size(), 1 + more);
    EXPECT_EQ(frames[0].bytes[1], more == 0 ? envelope_whole : envelope_first_fragment);
  }
}

TEST(Signals, of_one_process_take_one_stream) {
  const Ref ref{"b@h", 8, 1, {1}};
  const std::array<Control, 5> signals{Send{ours(), theirs()}, SendName{ours(), "x"}, SendAlias{ours(), ref},
                                       MonitorExit{ours(), theirs(), ref}, SpawnReply{ref, theirs(), 0, ours()}};
  for (const auto& control : signals) EXPECT_EQ(stream_key(control), ours());
  EXPECT_NE(stream_key(MonitorExit{Atom("x"), theirs(), ref}), Pid{});
  EXPECT_EQ(stream_key(MonitorExit{Atom("x"), theirs(), ref}), stream_key(MonitorExit{Atom("x"), theirs(3), ref}));
  std::set<std::uint32_t> used;
  for (std::uint32_t id = 1; id <= 100; ++id) used.insert(stream_index(ours(id)));
  EXPECT_EQ(used.size(), data_stream_count);
}

TEST(Signals, keep_the_frame_alive_that_their_payload_lies_in) {
  const Signal signal{Send{ours(), theirs()}, Term("hello")};
  auto frames = frames_of(encode_message(signal, offered_flags, ours(), 1));
  const std::weak_ptr<const void> watched = frames[0].owner;
  MessageReader reader(receiver(), offered_flags);
  auto read = reader.read(0, std::move(frames[0]));
  frames.clear();
  ASSERT_TRUE(read.has_value() && read->has_value());
  EXPECT_FALSE(watched.expired());
  EXPECT_EQ(decode_payload((*read)->payload), Term("hello"));
  read = std::nullopt;
  EXPECT_TRUE(watched.expired());
}

// Fragments in.

Bytes number(std::uint64_t value) {
  Bytes bytes;
  for (unsigned left = 8; left > 0; --left) bytes.push_back(static_cast<std::uint8_t>(value >> (8U * (left - 1))));
  return bytes;
}

Bytes first_fragment(std::uint64_t sequence, std::uint64_t count, ByteView payload,
                     const Control& control = Send{ours(), theirs()}) {
  Bytes bytes{envelope_version, envelope_first_fragment};
  append(bytes, number(sequence));
  append(bytes, number(count));
  bytes.push_back(0);
  encode_control_to({control, Term()}, offered_flags, bytes);
  append(bytes, payload);
  return bytes;
}

Bytes next_fragment(std::uint64_t sequence, std::uint64_t left, ByteView part) {
  Bytes bytes{envelope_version, envelope_next_fragment};
  append(bytes, number(sequence));
  append(bytes, number(left));
  append(bytes, part);
  return bytes;
}

struct Frames {
  std::uint64_t stream;
  Bytes bytes;
};

/// What comes of these frames: payload texts, `-` for nothing yet, and the error that ended it.
std::vector<std::string> outcome(const std::vector<Frames>& frames, const FragmentLimits& limits = {}) {
  MessageReader reader(receiver(), offered_flags, limits);
  std::vector<std::string> results;
  for (const auto& [stream, bytes] : frames) {
    auto read = reader.read(stream, frame_of(bytes));
    if (!read) {
      results.emplace_back(name(read.error().code()));
      break;
    }
    if (!*read) {
      results.emplace_back(reader.dropped() > 0 ? "dropped" : "-");
      continue;
    }
    const auto payload = decode_payload((*read)->payload);
    results.push_back(payload ? to_text(*payload) : "undecodable");
  }
  return results;
}

using Results = std::vector<std::string>;

/// The list `[Value, Value]`, whose encoding is cut in the tests.
Bytes pair_of(std::uint8_t value) { return encode_term(Term::tuple({value, value}), {.version_byte = false}); }

TEST(Fragments, of_several_messages_may_be_interleaved) {
  const Bytes one = pair_of(1);
  const Bytes two = pair_of(2);
  const Bytes three = pair_of(3);
  const auto part = [](const Bytes& of, std::size_t from, std::size_t size) {
    return ByteView(of).subspan(from, size);
  };
  EXPECT_EQ(outcome({{4, first_fragment(5, 3, part(one, 0, 2))},
                     {4, first_fragment(6, 2, part(two, 0, 1))},
                     {8, first_fragment(5, 2, part(three, 0, 4))},  // the same number on another stream
                     {4, next_fragment(5, 2, part(one, 2, 1))},
                     {8, next_fragment(5, 1, part(three, 4, 2))},
                     {4, next_fragment(6, 1, part(two, 1, 5))},
                     {4, next_fragment(5, 1, part(one, 3, 3))}}),
            (Results{"-", "-", "-", "-", "{3,3}", "{2,2}", "{1,1}"}));
}

TEST(Fragments, interleaved_at_random_join) {
  EXPECT_TRUE(rc::check("sequences on streams", [] {
    struct Open {
      std::uint64_t stream;
      std::uint64_t sequence;
      Bytes payload;
      std::vector<Bytes> frames;
      std::size_t at = 0;
    };
    std::vector<Open> messages;
    std::set<std::pair<std::uint64_t, std::uint64_t>> keys;
    const auto wanted = *gen::inRange(1, 8);
    for (int index = 0; index < wanted; ++index) {
      Open open{*gen::inRange<std::uint64_t>(0, 3), *gen::inRange<std::uint64_t>(0, 4), {}, {}};
      if (!keys.emplace(open.stream, open.sequence).second) continue;
      open.payload = encode_term(Term::binary(*gen::arbitrary<Bytes>()), {.version_byte = false});
      const auto count = *gen::inRange<std::size_t>(1, 6);
      std::size_t done = 0;
      for (std::size_t left = count; left > 0; --left) {
        const std::size_t rest = open.payload.size() - done;
        const std::size_t size = left == 1 ? rest : *gen::inRange<std::size_t>(0, rest + 1);
        const auto part = ByteView(open.payload).subspan(done, size);
        open.frames.push_back(left == count ? first_fragment(open.sequence, count, part)
                                            : next_fragment(open.sequence, left, part));
        done += size;
      }
      messages.push_back(std::move(open));
    }
    MessageReader reader(receiver(), offered_flags);
    std::vector<std::size_t> unfinished(messages.size());
    std::iota(unfinished.begin(), unfinished.end(), 0U);
    while (!unfinished.empty()) {
      const auto chosen = *gen::inRange<std::size_t>(0, unfinished.size());
      auto& open = messages[unfinished[chosen]];
      const auto read = reader.read(open.stream, frame_of(open.frames[open.at++]));
      RC_ASSERT(read.has_value());
      RC_ASSERT(read->has_value() == (open.at == open.frames.size()));
      if (!*read) continue;
      const auto& encoded = std::get<EncodedTerm>((*read)->payload);
      RC_ASSERT(Bytes(encoded.bytes.begin(), encoded.bytes.end()) == open.payload);
      unfinished.erase(unfinished.begin() + static_cast<std::ptrdiff_t>(chosen));
    }
    RC_ASSERT(reader.fragments().open_bytes() == 0U);
    RC_ASSERT(reader.fragments().open_sequences() == 0U);
  }));
}

TEST(Fragments, may_be_empty_or_alone_and_numbers_are_used_again) {
  const Bytes term = pair_of(1);
  EXPECT_EQ(outcome({{4, first_fragment(5, 1, term)},
                     {4, first_fragment(5, 3, {})},
                     {4, next_fragment(5, 2, {})},
                     {4, next_fragment(5, 1, term)},
                     {4, first_fragment(5, 2, term)},
                     {4, next_fragment(5, 1, {})}}),
            (Results{"{1,1}", "-", "-", "{1,1}", "-", "{1,1}"}));
}

TEST(Fragments, out_of_turn_are_malformed) {
  const Bytes term = pair_of(1);
  const Frames first{4, first_fragment(5, 3, term)};
  EXPECT_EQ(outcome({first, {4, next_fragment(5, 1, {})}}), (Results{"-", "malformed_term"})) << "a gap";
  EXPECT_EQ(outcome({first, {4, next_fragment(5, 3, {})}}), (Results{"-", "malformed_term"})) << "counts from 3";
  EXPECT_EQ(outcome({first, {4, next_fragment(5, 4, {})}}), (Results{"-", "malformed_term"})) << "counts up";
  EXPECT_EQ(outcome({first, first}), (Results{"-", "malformed_term"})) << "first one repeated";
  EXPECT_EQ(outcome({first, {4, next_fragment(5, 2, {})}, {4, next_fragment(5, 2, {})}}),
            (Results{"-", "-", "malformed_term"}))
      << "repeated";
  EXPECT_EQ(outcome({{4, next_fragment(5, 1, term)}}), Results{"malformed_term"}) << "no first one";
  EXPECT_EQ(outcome({first, {8, next_fragment(5, 2, {})}}), (Results{"-", "malformed_term"})) << "another stream";
  EXPECT_EQ(outcome({{4, first_fragment(5, 1, term)}, {4, next_fragment(5, 1, {})}}),
            (Results{"{1,1}", "malformed_term"}))
      << "after the last one";
  EXPECT_EQ(outcome({first, {4, next_fragment(5, 0, {})}}), (Results{"-", "malformed_term"})) << "number 0";
  EXPECT_EQ(outcome({{4, first_fragment(5, 0, term)}}), Results{"malformed_term"}) << "count 0";
  EXPECT_EQ(outcome({first, {4, next_fragment(5, std::numeric_limits<std::uint64_t>::max(), {})}}),
            (Results{"-", "malformed_term"}));
}

TEST(Fragments, without_a_payload_where_one_must_be_are_malformed) {
  EXPECT_EQ(outcome({{4, first_fragment(5, 2, {})}, {4, next_fragment(5, 1, {})}}), (Results{"-", "malformed_term"}));
  EXPECT_EQ(outcome({{4, first_fragment(5, 1, {})}}), Results{"malformed_term"});
  // A link has none, and may be cut.
  EXPECT_EQ(outcome({{4, first_fragment(5, 2, {}, Link{ours(), theirs()})}, {4, next_fragment(5, 1, {})}}),
            (Results{"-", "[]"}));
}

TEST(Fragments, of_a_control_tuple_that_is_cut_are_malformed) {
  const Bytes whole = first_fragment(5, 2, {});
  for (std::size_t size = first_fragment_header_bytes; size < whole.size(); ++size) {
    EXPECT_EQ(outcome({{4, Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size))}}),
              Results{"malformed_term"});
  }
}

TEST(Fragments, of_a_message_that_means_nothing_are_taken_and_dropped) {
  const Pid third{"c@h", 1, 0, 4};
  EXPECT_EQ(outcome({{4, first_fragment(5, 2, pair_of(1), Send{ours(), third})}, {4, next_fragment(5, 1, {})}}),
            (Results{"-", "dropped"}));
}

TEST(Fragments, huge_counts_are_refused_at_once) {
  const FragmentLimits limits;
  const std::uint64_t most = limits.message_bytes_max / limits.fragment_bytes_least;
  EXPECT_EQ(outcome({{4, first_fragment(5, most, {})}}), Results{"-"});
  for (const auto count : {most + 1, std::uint64_t{1} << 63U, std::numeric_limits<std::uint64_t>::max()})
    EXPECT_EQ(outcome({{4, first_fragment(5, count, {})}}), Results{"limit_exceeded"});
}

TEST(Fragments, are_bounded_in_bytes_and_in_number) {
  FragmentLimits limits;
  limits.message_bytes_max = 4096;
  limits.open_bytes_max = 6000;
  limits.open_sequences_max = 3;
  const Bytes part(2048, 'x');
  const Bytes big(4096, 'x');
  const Bytes byte{'x'};
  const auto start = [&](std::uint64_t sequence, const Bytes& payload) {
    return Frames{4, first_fragment(sequence, 4, payload)};
  };
  EXPECT_EQ(outcome({start(1, big), {4, next_fragment(1, 3, {})}, {4, next_fragment(1, 2, byte)}}, limits),
            (Results{"-", "-", "limit_exceeded"}))
      << "one message";
  EXPECT_EQ(outcome({start(1, Bytes(4097, 'x'))}, limits), Results{"limit_exceeded"});
  EXPECT_EQ(outcome({start(1, part), start(2, part), start(3, part)}, limits), (Results{"-", "-", "limit_exceeded"}))
      << "all messages";
  EXPECT_EQ(outcome({start(1, {}), start(2, {}), start(3, {}), start(4, {})}, limits),
            (Results{"-", "-", "-", "limit_exceeded"}))
      << "sequences";
}

TEST(Fragments, that_are_complete_do_not_count_towards_the_bounds) {
  FragmentLimits limits;
  limits.message_bytes_max = 4096;
  limits.open_bytes_max = 4096;
  limits.open_sequences_max = 1;
  const Bytes term = encode_term(Term::binary(Bytes(4000, 'x')), {.version_byte = false});
  MessageReader reader(receiver(), offered_flags, limits);
  for (int message = 0; message < 10; ++message) {
    ASSERT_TRUE(reader.read(4, frame_of(first_fragment(5, 2, ByteView(term).first(2000)))).has_value());
    EXPECT_EQ(reader.fragments().open_bytes(), 2000U);
    const auto read = reader.read(4, frame_of(next_fragment(5, 1, ByteView(term).subspan(2000))));
    ASSERT_TRUE(read.has_value() && read->has_value());
    EXPECT_EQ(reader.fragments().open_bytes(), 0U);
  }
}

SpawnRequest spawn_with(const Term& options) {
  SpawnRequest spawn;
  spawn.request = Ref{ours().node, ours().creation, 3, {1, 2, 3, 0, 0}};
  spawn.from = ours();
  spawn.group_leader = ours();
  spawn.module = Atom("jobs");
  spawn.function = Atom("run");
  spawn.options = options;
  return spawn;
}

TEST(Fragments, that_begin_with_large_options_of_a_spawn_count_them) {
  FragmentLimits limits;
  limits.open_bytes_max = 1024UL * 1024;
  const Control large = spawn_with(Term::binary(Bytes(30'000, 'x')));
  EXPECT_EQ(outcome({{4, first_fragment(1, 2, {}, large)},
                     {4, first_fragment(2, 2, {}, large)},
                     {4, first_fragment(3, 2, {}, large)}},
                    limits),
            (Results{"-", "-", "limit_exceeded"}));
  const Bytes arguments = encode_term(Term(), {.version_byte = false});
  MessageReader reader(receiver(), offered_flags, limits);
  for (int message = 0; message < 10; ++message) {
    ASSERT_TRUE(reader.read(4, frame_of(first_fragment(5, 2, {}, large))).has_value());
    EXPECT_GT(reader.fragments().open_bytes(), 30'000U);
    const auto read = reader.read(4, frame_of(next_fragment(5, 1, arguments)));
    ASSERT_TRUE(read.has_value() && read->has_value());
    EXPECT_EQ(reader.fragments().open_bytes(), 0U);
  }
}

TEST(Fragments, with_options_of_a_spawn_beyond_their_bound_are_refused) {
  const auto begin = [](std::size_t bytes) {
    return Results{outcome({{4, first_fragment(1, 2, {}, spawn_with(Term::binary(Bytes(bytes, 'x'))))}})};
  };
  EXPECT_EQ(begin(60'000), Results{"-"});
  EXPECT_EQ(begin(70'000), Results{"malformed_term"});
}

TEST(Messages, keep_nothing_of_what_is_around_their_payload) {
  const Bytes payload = encode_term(Term::binary(Bytes(100, 'x')), {.version_byte = false});
  const Bytes padding = encode_term(Term::binary(Bytes(5000, 'p')), {.version_byte = false});
  for (const bool in_front : {true, false}) {
    constexpr int send = 2;
    const Term cookie = in_front ? Term::binary(Bytes(5000, 'p')) : Term(Atom(""));
    Bytes bytes{envelope_version, envelope_whole, 0};
    append(bytes, encode_term(Term::tuple({send, cookie, theirs()}), {.version_byte = false}));
    append(bytes, payload);
    if (!in_front) append(bytes, padding);
    auto owner = std::make_shared<const Bytes>(std::move(bytes));
    const std::weak_ptr<const Bytes> frame = owner;
    MessageReader reader(receiver(), offered_flags);
    const auto read = reader.read(4, FramePayload{*owner, std::move(owner)});
    ASSERT_TRUE(read.has_value() && read->has_value());
    const auto term = decode_payload((*read)->payload);
    EXPECT_EQ(term, Term::binary(Bytes(100, 'x')));
    EXPECT_EQ(frame.use_count(), in_front ? 0 : 1) << "of the signal, which counts what is behind the payload";
  }
}

TEST(Messages, that_are_whole_need_their_payload) {
  Bytes whole{envelope_version, envelope_whole, 0};
  encode_control_to({Send{ours(), theirs()}, Term()}, offered_flags, whole);
  EXPECT_EQ(outcome({{0, whole}}), Results{"malformed_term"});
  append(whole, pair_of(1));
  EXPECT_EQ(outcome({{0, whole}}), Results{"{1,1}"});
  whole.push_back(0);
  EXPECT_EQ(outcome({{0, whole}}), Results{"{1,1}"}) << "what follows is ignored";
}

TEST(Messages, that_pass_through_need_a_version_byte_before_the_payload) {
  Bytes bytes{envelope_pass_through, envelope_version};
  encode_control_to({Send{ours(), theirs()}, Term()}, without_fragments, bytes);
  const auto reads = [](const Bytes& payload) {
    MessageReader reader(receiver(), without_fragments);
    const auto read = reader.read(0, frame_of(payload));
    return read.has_value() && read->has_value() && decode_payload((*read)->payload).has_value();
  };
  EXPECT_FALSE(reads(bytes));
  Bytes without_version = bytes;
  append(without_version, pair_of(1));
  EXPECT_FALSE(reads(without_version));
  bytes.push_back(envelope_version);
  EXPECT_FALSE(reads(bytes));
  append(bytes, pair_of(1));
  EXPECT_TRUE(reads(bytes));
}

}  // namespace
}  // namespace barrel_p2p::distribution
