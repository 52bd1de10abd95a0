// New keys and certificates between C++ and Erlang nodes, and keys of Erlang nodes that are revoked.
//
// An Erlang node with this library does not dial by itself whom it was connected to before (`dist_auto_connect once`,
// protocol document 08): after a disconnect these tests have it connect in so many words.
#include <gtest/gtest.h>

#include <barrel_p2p/node.hpp>
#include <string>

#include "upstream/peer.hpp"

namespace barrel_p2p {
namespace {

using test::becomes_true;
using test::cpp_name;
using test::ErlangNode;
using test::Upstream;

/// The Erlang expression for the 32 bytes.
std::string binary(const std::string& hex) { return "binary:decode_hex(<<\"" + hex + "\">>)"; }

/// The public key stands in the node's directory.
std::string key_of(ErlangNode& erl, const test::Cluster& cluster) {
  const Term hex = erl.eval("{ok, Key} = file:read_file(\"" + (cluster.data("e") / "keys" / "node.pub").string() +
                            "\"), binary:encode_hex(Key, lowercase)");
  return std::string(*hex.as_text());
}

bool dials(ErlangNode& erl) { return erl.eval("net_kernel:connect_node('c@127.0.0.1')") == Term(Atom("true")); }

TEST_F(Upstream, an_erlang_node_takes_our_new_certificate_without_a_word) {
  ErlangNode erl(cluster_, "e");
  Node& node = cluster_.start("c");
  ASSERT_EQ(erl.eval("net_adm:ping('c@127.0.0.1')"), Atom("pong"));
  ASSERT_EQ(word(node.rotate_certificate()), "ok");
  EXPECT_EQ(erl.eval("net_adm:ping('c@127.0.0.1')"), Atom("pong")) << "over the connection of before";
  node.disconnect(erl.name());
  ASSERT_TRUE(erl.lists(cpp_name, false));
  EXPECT_TRUE(dials(erl)) << "it sees the new one";
  EXPECT_EQ(erl.eval("net_adm:ping('c@127.0.0.1')"), Atom("pong"));
  node.disconnect(erl.name());
  ASSERT_TRUE(erl.lists(cpp_name, false));
  EXPECT_TRUE(becomes_true([&] { return node.connect(erl.name()).has_value(); })) << "and so it does when we dial";
}

TEST_F(Upstream, an_erlang_node_refuses_our_new_identity_until_its_operator_deletes_the_pin) {
  ErlangNode erl(cluster_, "e");
  Node& node = cluster_.start("c");
  ASSERT_EQ(word(node.connect(erl.name())), "ok");
  ASSERT_EQ(word(node.rotate_identity()), "ok");
  EXPECT_EQ(erl.eval("net_adm:ping('c@127.0.0.1')"), Atom("pong")) << "over the connection of before";
  node.disconnect(erl.name());
  ASSERT_TRUE(erl.lists(cpp_name, false));
  const auto refused = node.connect(erl.name());
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("key_mismatch"), std::string::npos) << refused.error().message();
  EXPECT_FALSE(dials(erl));
  ASSERT_EQ(erl.eval("barrel_p2p_dist_keys:delete_key('c@127.0.0.1')"), Atom("ok"));
  EXPECT_TRUE(becomes_true([&] { return node.connect(erl.name()).has_value(); }));
  EXPECT_EQ(erl.eval("barrel_p2p_dist_keys:is_trusted('c@127.0.0.1', " + binary(node.public_key()) + ")"),
            Atom("true"));
}

TEST_F(Upstream, an_erlang_node_lets_our_new_identity_in_when_its_key_was_stored) {
  ErlangNode erl(cluster_, "e");
  Node& node = cluster_.start("c");
  ASSERT_EQ(word(node.connect(erl.name())), "ok");
  const auto next = node.prepare_identity();
  ASSERT_TRUE(next);
  ASSERT_EQ(erl.eval("barrel_p2p_dist_keys:store_key('c@127.0.0.1', " + binary(*next) + ")"), Atom("ok"));
  ASSERT_EQ(word(node.rotate_identity()), "ok");
  node.disconnect(erl.name());
  ASSERT_TRUE(erl.lists(cpp_name, false));
  EXPECT_TRUE(dials(erl));
  EXPECT_EQ(erl.eval("net_adm:ping('c@127.0.0.1')"), Atom("pong"));
}

TEST_F(Upstream, a_new_identity_of_an_erlang_node_is_taken_when_it_was_announced) {
  ErlangNode erl(cluster_, "e");
  Node& node = cluster_.start("c");
  ASSERT_EQ(word(node.connect(erl.name())), "ok");
  ASSERT_TRUE(erl.lists(cpp_name));
  erl.eval("{ok, _} = barrel_p2p_rotate:rotate_identity(), ok");
  ASSERT_EQ(word(node.pin_next(erl.name(), key_of(erl, cluster_))), "ok");
  EXPECT_EQ(word(node.ping(erl.name())), "ok") << "over the connection of before";
  node.disconnect(erl.name());
  ASSERT_TRUE(erl.lists(cpp_name, false));
  EXPECT_TRUE(becomes_true([&] { return node.connect(erl.name()).has_value(); }));
  EXPECT_EQ(node.keys().at(0).next, "") << "the new key is pinned";
}

TEST_F(Upstream, a_revoked_erlang_node_is_cut_off_at_once_and_hears_it) {
  ErlangNode erl(cluster_, "e");
  Node& node = cluster_.start("c");
  ASSERT_TRUE(dials(erl));
  ASSERT_EQ(word(node.ping(erl.name())), "ok");
  ASSERT_EQ(word(node.revoke(node.keys().at(0).key)), "ok");
  EXPECT_TRUE(node.nodes().empty());
  EXPECT_TRUE(erl.lists(cpp_name, false));
  EXPECT_FALSE(dials(erl));
  EXPECT_EQ(node.connect(erl.name()).error().code(), Errc::untrusted_key);
  ASSERT_EQ(word(node.unrevoke(node.keys().at(0).key)), "ok");
  EXPECT_TRUE(becomes_true([&] { return dials(erl); }));
}

}  // namespace
}  // namespace barrel_p2p
