// What a peer that is in may have a channel keep of messages that it does not finish.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/shared_bytes.hpp"
#include "distribution/channel_support.hpp"
#include "distribution/control.hpp"
#include "distribution/encode.hpp"
#include "distribution/framing.hpp"

namespace barrel_p2p::test {
namespace {

class Unfinished : public TwoChannels {
 protected:
  static constexpr std::size_t message_bytes = 1024UL * 1024;

  Unfinished() {
    accepts.settings.message_bytes_max = message_bytes;
    dial(accepts.endpoint->local_address());
    EXPECT_TRUE(until([this] { return dials.up && accepts.up; }));
  }

  void write(quic::StreamId stream, ByteView bytes) {
    dials.channel->connection().write(stream, SharedBytes(Bytes(bytes.begin(), bytes.end())));
  }
  static Bytes frame(const Bytes& payload) {
    Bytes bytes;
    for (unsigned shift = 32; shift > 0; shift -= 8) {
      bytes.push_back(static_cast<std::uint8_t>(payload.size() >> (shift - 8)));
    }
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    return bytes;
  }
  /// A message whose payload is so long.
  static Bytes whole(std::size_t bytes) {
    constexpr std::size_t head_of_binary = 5;
    const Signal signal{Send{Pid{Atom("dials@h"), 1, 0, 77}, Pid{Atom("accepts@h"), 1, 0, 77}},
                        Term::binary(Bytes(bytes - head_of_binary, 'x'))};
    Bytes payload{envelope_version, envelope_whole, 0};
    (void)encode_control_to(signal, offered_flags, payload);
    encode_payload_to(signal.payload, false, payload);
    return frame(payload);
  }
  /// The first of two fragments of such a message.
  static Bytes begun(std::size_t bytes) {
    Bytes payload{envelope_version, envelope_first_fragment, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 2, 0};
    const Signal signal{Send{Pid{Atom("dials@h"), 1, 0, 77}, Pid{Atom("accepts@h"), 1, 0, 77}}, Term()};
    (void)encode_control_to(signal, offered_flags, payload);
    payload.resize(payload.size() + bytes, 'x');
    return frame(payload);
  }
  static ByteView all_but_one(const Bytes& bytes) { return ByteView(bytes).first(bytes.size() - 1); }
  static quic::StreamId stream(std::size_t number) { return static_cast<quic::StreamId>(4 * (number + 1)); }
  /// How the channel ended.
  std::string ending() {
    EXPECT_TRUE(until([this] { return accepts.ended.has_value(); }));
    return accepts.ended ? accepts.ended->error.message() : "up";
  }
};

TEST_F(Unfinished, messages_may_be_two_of_the_largest_beside_fragments_on_all_other_streams) {
  const Bytes large = whole(message_bytes);
  const Bytes small = whole(fragment_bytes);
  const auto bytes_of = [&](std::size_t number) -> const Bytes& { return number < 2 ? large : small; };
  for (std::size_t number = 0; number < data_stream_count; ++number)
    write(stream(number), all_but_one(bytes_of(number)));
  for (std::size_t number = 0; number < data_stream_count; ++number) {
    write(stream(number), ByteView(bytes_of(number)).last(1));
  }
  EXPECT_TRUE(until([this] { return accepts.signals == data_stream_count || accepts.ended; }));
  EXPECT_EQ(accepts.signals, data_stream_count);
  // What is complete counts no more.
  for (int round = 0; round < 4; ++round) {
    for (std::size_t number = 0; number < 2; ++number) write(stream(number), large);
  }
  EXPECT_TRUE(until([this] { return accepts.signals == data_stream_count + 8 || accepts.ended; }));
  EXPECT_EQ(accepts.signals, data_stream_count + 8);
  EXPECT_FALSE(accepts.ended);
}

TEST_F(Unfinished, messages_on_many_streams_are_bounded_together) {
  const Bytes large = whole(message_bytes);
  for (std::size_t number = 0; number < data_stream_count; ++number) write(stream(number), all_but_one(large));
  EXPECT_EQ(ending(), "limit_exceeded: the messages that are not complete are larger than what a peer may have open");
  EXPECT_EQ(accepts.signals, 0U);
}

TEST_F(Unfinished, messages_in_fragments_and_whole_ones_are_bounded_together) {
  write(stream(0), begun(message_bytes));
  write(stream(1), begun(message_bytes));
  const Bytes large = whole(message_bytes);
  constexpr std::size_t others = 3;  // on streams that have room for a fragment each
  for (std::size_t number = 2; number < 2 + others; ++number) write(stream(number), all_but_one(large));
  EXPECT_EQ(ending(), "limit_exceeded: the messages that are not complete are larger than what a peer may have open");
}

}  // namespace
}  // namespace barrel_p2p::test
