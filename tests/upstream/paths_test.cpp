// Moving connections to Erlang nodes, which give no connection id to move with.
#include <gtest/gtest.h>

#include <barrel_p2p/node.hpp>
#include <string>

#include "upstream/peer.hpp"

namespace barrel_p2p {
namespace {

using test::ErlangNode;
using test::patience;
using test::Upstream;

class UpstreamPaths : public Upstream {
 protected:
  void SetUp() override {
    Upstream::SetUp();
    if (IsSkipped()) return;
    erl.emplace(cluster_, "e");
    node = &cluster_.start("c");
  }
  bool echoes(const std::string& word) {
    const Term answer = run(*node, [this, word](Process& self) -> Task<Term> {
      const Term sent = Term::tuple_of(self.pid(), Atom(word));
      co_await self.send(RemoteName(Atom("echo"), erl->name()), sent);
      const Term back = co_await self.receive();
      co_return back;
    });
    return answer.is_atom(word);
  }
  std::optional<ErlangNode> erl;
  Node* node = nullptr;
};

TEST_F(UpstreamPaths, a_connection_that_we_dialled_moves_and_messages_and_streams_go_on) {
  ASSERT_EQ(word(node->connect(erl->name(), patience)), "ok");
  erl->eval(
      "Loop = fun(F) -> receive {From, What} -> From ! What, F(F) end end, "
      "register(echo, spawn(fun() -> Loop(Loop) end))");
  erl->eval("ok = barrel_p2p_streams:register_acceptor(<<\"t\">>, self())");
  ASSERT_TRUE(echoes("before"));
  auto stream = node->open_stream(erl->name(), "t", patience).value();
  constexpr std::uint64_t rounds = 3;
  for (std::uint64_t round = 1; round <= rounds; ++round) {
    const auto before = node->path_stats(erl->name())->local;
    ASSERT_EQ(word(node->migrate_peer(erl->name(), {patience, ""})), "ok") << round;
    EXPECT_NE(node->path_stats(erl->name())->local, before);
    EXPECT_TRUE(echoes("moved")) << round;
    ASSERT_EQ(word(stream.write(Bytes(100'000, 7), patience)), "ok");
  }
  ASSERT_EQ(word(stream.finish()), "ok");
  // Erlang counts what arrives on the one stream that it was given.
  const Term total = erl->eval(
      "(fun Count(Total) -> receive {quic_dist_stream, _, {data, Data, true}} -> Total + byte_size(Data); "
      "{quic_dist_stream, _, {data, Data, false}} -> Count(Total + byte_size(Data)); "
      "{quic_dist_stream, _, closed} -> Total after 10000 -> {nothing_after, Total} end end)(0)");
  EXPECT_EQ(to_text(total), std::to_string(rounds * 100'000));
  EXPECT_EQ(node->path_stats(erl->name())->migrations, rounds);
  EXPECT_TRUE(erl->lists("c@127.0.0.1"));
}

TEST_F(UpstreamPaths, a_connection_that_an_erlang_node_dialled_is_its_own_to_move) {
  ASSERT_EQ(erl->eval("net_kernel:connect_node('c@127.0.0.1')"), Atom("true"));
  ASSERT_TRUE(erl->lists("c@127.0.0.1"));
  EXPECT_EQ(node->migrate_peer(erl->name()).error(), Errc::not_initiator);
  EXPECT_EQ(to_text(erl->eval("rpc:call('c@127.0.0.1', barrel_p2p, migrate_peer, ['x@127.0.0.1'])")),
            "{error,not_connected}");
  EXPECT_EQ(to_text(erl->eval("rpc:call('c@127.0.0.1', barrel_p2p, migrate_peer, [node()])")), "{error,not_initiator}");
  EXPECT_EQ(to_text(erl->eval("element(1, rpc:call('c@127.0.0.1', barrel_p2p_path_stats, srtt, [node()]))")), "ok");
}

}  // namespace
}  // namespace barrel_p2p
