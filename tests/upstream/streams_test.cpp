// Streams between a C++ node and an Erlang one, opened by either side, with what Erlang nodes do their own way.
#include <gtest/gtest.h>

#include <barrel_p2p/node.hpp>
#include <chrono>
#include <string>
#include <thread>
#include <utility>

#include "support/patience.hpp"
#include "upstream/peer.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::ErlangNode;
using test::patience;
using test::Upstream;

constexpr std::size_t mebibyte = 1024UL * 1024;

Bytes bytes_of(std::string_view text) {
  const ByteView view = as_bytes(text);
  return {view.begin(), view.end()};
}

class UpstreamStreams : public Upstream {
 protected:
  void SetUp() override {
    Upstream::SetUp();
    if (IsSkipped()) return;
    erl.emplace(cluster_, "e");
    node = &cluster_.start("c");
  }
  void connect(bool cpp_dials) {
    if (cpp_dials) {
      ASSERT_EQ(word(node->connect(erl->name())), "ok");
    } else {
      ASSERT_EQ(erl->eval("net_kernel:connect_node('c@127.0.0.1')"), Atom("true"));
    }
    ASSERT_TRUE(erl->lists("c@127.0.0.1"));
  }
  void accept_in_erlang() {
    ASSERT_EQ(erl->eval("barrel_p2p_streams:register_acceptor(<<\"t\">>, self())"), Atom("ok"));
  }
  /// Erlang's next message of the stream that it calls so, as text.
  std::string hears(const std::string& stream) {
    const std::string what = fresh("What");
    return to_text(erl->eval("receive {quic_dist_stream, " + stream + ", " + what + "} -> " + what +
                             " after 10000 -> nothing end"));
  }
  /// Erlang takes the stream that we opened and calls it so.
  void take(const std::string& stream) {
    const std::string given = fresh("Given");
    erl->eval(stream + " = receive {mstream, " + given + ", opened, 'c@127.0.0.1'} -> " + given +
              " after 10000 -> nothing end");
    ASSERT_NE(erl->eval(stream), Atom("nothing"));
  }
  /// A variable that Erlang has not bound yet.
  std::string fresh(const std::string& name) { return name + std::to_string(++number_); }
  std::string read(Stream& stream) {
    const auto got = stream.read(patience);
    if (!got) return std::string(name(got.error().code()));
    return got->empty() ? "end" : std::string(as_text(*got));
  }
  std::optional<ErlangNode> erl;
  Node* node = nullptr;

 private:
  int number_ = 0;
};

TEST_F(UpstreamStreams, that_we_open_are_taken_answered_and_finished_from_both_sides) {
  for (const bool cpp_dials : {true, false}) {
    connect(cpp_dials);
    accept_in_erlang();
    auto stream = node->open_stream(erl->name(), "t", patience).value();
    const std::string ref = cpp_dials ? "A" : "B";
    take(ref);
    ASSERT_TRUE(stream.write(bytes_of("hello"), patience).has_value());
    EXPECT_EQ(hears(ref), R"({data,<<"hello">>,false})");
    ASSERT_EQ(erl->eval("quic_dist:send(" + ref + ", <<\"back\">>)"), Atom("ok"));
    EXPECT_EQ(read(stream), "back");
    ASSERT_TRUE(stream.finish().has_value());
    EXPECT_EQ(hears(ref), "{data,<<>>,true}");
    ASSERT_EQ(erl->eval("quic_dist:close_stream(" + ref + ")"), Atom("ok"));
    EXPECT_EQ(read(stream), "end");
    EXPECT_EQ(hears(ref), "closed");
    node->disconnect(erl->name());
    ASSERT_TRUE(erl->lists("c@127.0.0.1", false));
  }
}

TEST_F(UpstreamStreams, that_erlang_opens_are_taken_answered_and_finished_from_both_sides) {
  auto acceptor = node->accept_streams("t").value();
  for (const bool cpp_dials : {true, false}) {
    connect(cpp_dials);
    const std::string ref = cpp_dials ? "A" : "B";
    erl->eval("{ok, " + ref + "} = barrel_p2p_streams:open(<<\"t\">>, 'c@127.0.0.1')");
    ASSERT_EQ(erl->eval("quic_dist:send(" + ref + ", <<\"hello\">>)"), Atom("ok"));
    auto stream = acceptor.next(patience).value();
    EXPECT_EQ(stream.peer(), erl->name());
    EXPECT_EQ(read(stream), "hello");
    ASSERT_TRUE(stream.write(bytes_of("back"), patience).has_value());
    EXPECT_EQ(hears(ref), R"({data,<<"back">>,false})");
    ASSERT_EQ(erl->eval("quic_dist:send(" + ref + ", <<\"last\">>, true)"), Atom("ok"));
    EXPECT_EQ(read(stream), "last");
    EXPECT_EQ(read(stream), "end");
    ASSERT_TRUE(stream.finish().has_value());
    EXPECT_EQ(hears(ref), "{data,<<>>,true}");
    node->disconnect(erl->name());
    ASSERT_TRUE(erl->lists("c@127.0.0.1", false));
  }
}

TEST_F(UpstreamStreams, opened_in_the_moment_of_connecting_are_taken_in_order) {
  accept_in_erlang();
  for (int round = 0; round < 5; ++round) {
    auto stream = node->open_stream(erl->name(), "t", patience);  // connects
    ASSERT_TRUE(stream.has_value()) << stream.error().message();
    ASSERT_TRUE(stream->write(bytes_of("at once"), patience).has_value());
    const std::string ref = "R" + std::to_string(round);
    take(ref);
    EXPECT_EQ(hears(ref), R"({data,<<"at once">>,false})");
    // Erlang's name of the stream is the same on the next connection: what it hears of this one comes first.
    stream->reset();
    EXPECT_EQ(hears(ref), "{reset,0}");
    node->disconnect(erl->name());
    ASSERT_TRUE(erl->lists("c@127.0.0.1", false));
  }
}

TEST_F(UpstreamStreams, whose_tag_nobody_takes_are_refused_on_both_sides) {
  connect(true);
  EXPECT_EQ(word(node->open_stream(erl->name(), "nobody's", patience)).substr(0, 18), "connection_refused");
  erl->eval("{ok, A} = barrel_p2p_streams:open(<<\"nobody's\">>, 'c@127.0.0.1')");
  EXPECT_EQ(hears("A"), "{reset,256}");
}

TEST_F(UpstreamStreams, refused_again_and_again_cost_neither_side_its_room) {
  connect(true);
  // An Erlang node never ends what was refused: the room for 84 streams would be gone.
  EXPECT_EQ(erl->eval("lists:usort([begin {ok, S} = barrel_p2p_streams:open(<<\"x\">>, 'c@127.0.0.1'), receive "
                      "{quic_dist_stream, S, W} -> W after 10000 -> nothing end end || _ <- lists:seq(1, 300)])",
                      60s),
            Term::list({Term::tuple({Atom("reset"), 256})}));
  EXPECT_EQ(node->statistics().streams.refused_tag, 300U);
}

TEST_F(UpstreamStreams, that_are_reset_tell_the_code_to_the_other_side) {
  connect(true);
  accept_in_erlang();
  auto first = node->open_stream(erl->name(), "t", patience).value();
  take("A");
  first.reset(1234);
  EXPECT_EQ(hears("A"), "{reset,1234}");
  auto second = node->open_stream(erl->name(), "t", patience).value();
  take("B");
  ASSERT_EQ(erl->eval("quic_dist:reset_stream(B, 77)"), Atom("ok"));
  EXPECT_EQ(read(second), "reset");
  EXPECT_EQ(second.reset_code(), 77U);
}

TEST_F(UpstreamStreams, of_an_acceptor_that_ended_are_reset_with_0) {
  connect(true);
  erl->eval(
      "Self = self(), P = spawn(fun() -> receive {mstream, _, opened, _} -> Self ! taken end, receive stop -> ok "
      "end end)");
  ASSERT_EQ(erl->eval("barrel_p2p_streams:register_acceptor(<<\"t\">>, P)"), Atom("ok"));
  auto stream = node->open_stream(erl->name(), "t", patience).value();
  ASSERT_EQ(erl->eval("receive taken -> taken after 10000 -> nothing end"), Atom("taken"));
  erl->eval("exit(P, kill)");
  EXPECT_EQ(read(stream), "reset");
  EXPECT_EQ(stream.reset_code(), 0U);
}

TEST_F(UpstreamStreams, carry_much_both_ways) {
  connect(true);
  accept_in_erlang();
  constexpr std::size_t total = 16 * mebibyte;
  auto stream = node->open_stream(erl->name(), "t", patience).value();
  take("A");
  Bytes bytes(total);
  for (std::size_t at = 0; at < total; ++at) bytes[at] = static_cast<std::uint8_t>(at * 131 >> 3U);
  std::thread writer([&] {
    for (std::size_t at = 0; at < total; at += mebibyte) {
      const auto from = bytes.begin() + static_cast<std::ptrdiff_t>(at);
      EXPECT_TRUE(stream.write(Bytes(from, from + static_cast<std::ptrdiff_t>(mebibyte)), patience).has_value());
    }
    EXPECT_TRUE(stream.finish().has_value());
  });
  // What came goes back, when the window has room.
  erl->eval(
      "Send = fun Send(S, B, F) -> case quic_dist:send(S, B, F) of ok -> ok; {error, _} -> timer:sleep(5), Send(S, B, "
      "F) "
      "end end, Echo = fun Echo(S) -> receive {quic_dist_stream, S, {data, B, F}} -> Send(S, B, F), case F of true -> "
      "ok; "
      "false -> Echo(S) end after 20000 -> nothing end end, ok");
  erl->start("Echo(A)");
  std::size_t at = 0;
  for (;;) {
    const auto got = stream.read(patience);
    ASSERT_TRUE(got.has_value()) << got.error().message();
    if (got->empty()) break;
    ASSERT_LE(at + got->size(), total);
    ASSERT_TRUE(std::equal(got->begin(), got->end(), bytes.begin() + static_cast<std::ptrdiff_t>(at))) << at;
    at += got->size();
  }
  EXPECT_EQ(at, total);
  writer.join();
  EXPECT_EQ(erl->finish(60s), Atom("ok"));
}

TEST_F(UpstreamStreams, that_we_do_not_read_stop_an_erlang_sender) {
  auto acceptor = node->accept_streams("t").value();
  connect(true);
  erl->eval(
      "{ok, A} = barrel_p2p_streams:open(<<\"t\">>, 'c@127.0.0.1'), Piece = binary:copy(<<0>>, 262144), "
      "Push = fun Push(N, 0) -> N; Push(N, Tries) -> case quic_dist:send(A, Piece) of ok -> Push(N + 1, Tries); _ -> "
      "timer:sleep(50), Push(N, Tries - 1) end end, ok");
  const auto pieces = erl->eval("Push(0, 40)", 60s).as_int64().value_or(0);
  auto stream = acceptor.next(patience).value();
  EXPECT_GE(pieces, 15) << "4 MiB are its first window";
  EXPECT_LE(pieces, 33) << "8 MiB are ours";
  EXPECT_EQ(word(node->ping(erl->name())), "ok");
  stream.reset();
}

TEST_F(UpstreamStreams, are_lost_with_an_erlang_node_that_was_killed) {
  connect(true);
  accept_in_erlang();
  auto stream = node->open_stream(erl->name(), "t", patience).value();
  erl->kill();
  EXPECT_EQ(read(stream), "noconnection");
}

}  // namespace
}  // namespace barrel_p2p
