// A new identity of a C++ node between C++ and Erlang nodes.
#include <gtest/gtest.h>

#include <barrel_p2p/node.hpp>
#include <string>

#include "upstream/peer.hpp"

namespace barrel_p2p {
namespace {

using test::becomes_true;
using test::ErlangNode;
using test::Upstream;

const NodeName cpp("c@127.0.0.1");

/// The Erlang expression for the 32 bytes.
std::string binary(const std::string& hex) { return "binary:decode_hex(<<\"" + hex + "\">>)"; }

TEST_F(Upstream, an_erlang_node_refuses_our_new_identity_until_its_operator_deletes_the_pin) {
  ErlangNode erl(cluster_, "e");
  Node& node = cluster_.start("c");
  ASSERT_EQ(word(node.connect(erl.name())), "ok");
  ASSERT_EQ(word(node.rotate_identity()), "ok");
  EXPECT_EQ(erl.eval("net_adm:ping('c@127.0.0.1')"), Atom("pong")) << "over the connection of before";
  node.disconnect(erl.name());
  ASSERT_TRUE(erl.lists(cpp, false));
  const auto refused = node.connect(erl.name());
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("key_mismatch"), std::string::npos) << refused.error().message();
  EXPECT_EQ(erl.eval("net_kernel:connect_node('c@127.0.0.1')"), Atom("false"));
  ASSERT_EQ(erl.eval("barrel_p2p_dist_keys:delete_key('c@127.0.0.1')"), Atom("ok"));
  EXPECT_TRUE(becomes_true([&] { return node.connect(erl.name()).has_value(); }));
  EXPECT_EQ(erl.eval("barrel_p2p_dist_keys:is_trusted('c@127.0.0.1', " + binary(node.public_key()) + ")"),
            Atom("true"));
}

}  // namespace
}  // namespace barrel_p2p
