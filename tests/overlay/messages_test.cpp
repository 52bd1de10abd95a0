// Messages of the overlay against recordings of Erlang nodes, and bad ones.
#include "overlay/messages.hpp"

#include <gtest/gtest.h>

#include <barrel_p2p/term.hpp>
#include <boost/json.hpp>
#include <string>

#include "support/vectors.hpp"

namespace barrel_p2p::overlay {
namespace {

using barrel_p2p::test::from_hex;
using barrel_p2p::test::read_vectors;
using barrel_p2p::test::text_of;

const OwnRecord me{Atom("me@h"), Term::tuple({127, 0, 0, 1}), 9100};
const Atom peer("peer@h");

Term record(const Atom& node) {
  const Term undefined = Atom("undefined");
  return Term::tuple({Atom("peer"), node, undefined, undefined, undefined, true, Atom("low"), undefined, 0, undefined});
}

Term hyparview(Term message) { return Term::tuple({Atom("$barrel_p2p_hyparview"), peer, std::move(message)}); }
Term plumtree(Term message) { return Term::tuple({Atom("$barrel_p2p_plumtree"), std::move(message)}); }

/// Whom a message is from: the last element, a record or a name.
Atom sender_of(const Term& message) {
  const Term& last = message.is_tagged("gossip", 5) ? message[4] : message[message.size() - 1];
  return *(last.is_tuple() ? last[1] : last).as_atom();
}

/// The term without what a node chooses freely in records: address, port, times, counts.
Term essence(const Term& term) {
  if (term.is_tagged("peer", 10)) return Term::tuple({Atom("peer"), term[1]});
  std::vector<Term> elements;
  for (const auto& element : term.elements()) elements.push_back(essence(element));
  if (term.is_tuple()) return Term::tuple(std::move(elements));
  return term.is_list() ? Term::list(std::move(elements)) : term;
}

}  // namespace

TEST(OverlayMessages, what_erlang_nodes_sent_is_read_and_written_the_same) {
  std::size_t count = 0;
  const auto recorded = read_vectors("membership_wire.json");
  for (const auto& row : recorded.as_array()) {
    if (text_of(row, "kind") != "wire") continue;
    const Term term = decode_term(from_hex(text_of(row, "etf_hex")))->term;
    const bool is_hyparview = term.size() == 3;
    const Atom from = sender_of(term[term.size() - 1]);
    Message message;
    if (is_hyparview) {
      auto decoded = decode_hyparview(term, from);
      ASSERT_TRUE(decoded) << text_of(row, "name") << ": " << decoded.error().message();
      message = *decoded;
    } else {
      auto decoded = decode_plumtree(term, from);
      ASSERT_TRUE(decoded) << text_of(row, "name") << ": " << decoded.error().message();
      message = *decoded;
    }
    EXPECT_EQ(receiver_name(message), is_hyparview ? "barrel_p2p_bridge" : "barrel_p2p_plumtree");
    const Term ours = encode_message(message, {from, Term(), 0}, false);
    EXPECT_EQ(to_text(essence(ours)), to_text(essence(term))) << text_of(row, "name");
    ++count;
  }
  EXPECT_EQ(count, 29U);
}

TEST(OverlayMessages, our_own_record_has_the_shape_that_erlang_nodes_need) {
  EXPECT_EQ(to_text(encode_message(HyParViewMessage(Join{}), me, false)),
            "{'$barrel_p2p_hyparview',me@h,{join,{peer,me@h,{127,0,0,1},9100,undefined,true,high,undefined,1000000,"
            "undefined}}}");
}

TEST(OverlayMessages, no_record_of_ours_can_be_promoted_by_an_erlang_node) {
  const Term term = encode_message(HyParViewMessage(Shuffle{3, {Atom("x@h"), me.node}}), me, false);
  for (const auto& entry : term[2][2].elements()) EXPECT_EQ(entry[8].as_int64(), 1'000'000);
}

TEST(OverlayMessages, messages_between_cpp_nodes_are_read_back) {
  const Atom sender = me.node;
  const auto round_trip = [&](const Message& message) {
    const Term term = encode_message(message, me, true);
    if (std::holds_alternative<HyParViewMessage>(message)) return Message(*decode_hyparview(term, sender));
    return Message(*decode_plumtree(term, sender));
  };
  const auto hello = std::get<HyParViewMessage>(round_trip(HyParViewMessage(Hello{1})));
  EXPECT_EQ(std::get<Hello>(hello).version, 1U);
  const auto seek = std::get<HyParViewMessage>(round_trip(HyParViewMessage(Seek{Atom("o@h"), 4})));
  EXPECT_EQ(std::get<Seek>(seek).origin, "o@h");
  EXPECT_EQ(std::get<Seek>(seek).ttl, 4U);
  const auto leave = std::get<HyParViewMessage>(round_trip(HyParViewMessage(Leave{Atom("o@h"), 5})));
  EXPECT_EQ(std::get<Leave>(leave).node, "o@h");
  EXPECT_EQ(std::get<Leave>(leave).ttl, 5U);
  const auto gossip = std::get<Gossip>(
      std::get<PlumtreeMessage>(round_trip(PlumtreeMessage(Gossip{"id", Atom("tag"), Term::tuple({1, 2}), 7}))));
  EXPECT_EQ(gossip.round, 7U);
  EXPECT_EQ(gossip.payload, Term::tuple({1, 2}));
  const auto ihave =
      std::get<IHave>(std::get<PlumtreeMessage>(round_trip(PlumtreeMessage(IHave{{{"a", 1}, {"b", 2}}}))));
  ASSERT_EQ(ihave.announcements.size(), 2U);
  EXPECT_EQ(ihave.announcements[1].round, 2U);
  const auto graft = std::get<Graft>(std::get<PlumtreeMessage>(round_trip(PlumtreeMessage(Graft{}))));
  EXPECT_TRUE(graft.ids.empty());
}

TEST(OverlayMessages, a_node_cannot_speak_for_another) {
  const Term other = record(Atom("other@h"));
  EXPECT_FALSE(decode_hyparview(hyparview(Term::tuple({Atom("join"), other})), peer));
  EXPECT_FALSE(decode_hyparview(hyparview(Term::tuple({Atom("disconnect"), other})), peer));
  EXPECT_FALSE(decode_hyparview(hyparview(Term::tuple({Atom("neighbor"), Atom("high"), other})), peer));
  EXPECT_FALSE(decode_hyparview(hyparview(Term::tuple({Atom("neighbor_reply"), true, other})), peer));
  EXPECT_FALSE(decode_hyparview(hyparview(Term::tuple({Atom("shuffle"), 1, Term(), other})), peer));
  EXPECT_FALSE(decode_hyparview(hyparview(Term::tuple({Atom("forward_join"), other, 1, other})), peer));
  EXPECT_FALSE(decode_plumtree(plumtree(Term::tuple({Atom("prune"), Atom("other@h")})), peer));
  EXPECT_FALSE(decode_plumtree(plumtree(Term::tuple({Atom("gossip"), 1, 2, 3, Atom("other@h")})), peer));
  EXPECT_FALSE(decode_plumtree(plumtree(Term::tuple({Atom("graft"), 1, Atom("other@h")})), peer));
}

TEST(OverlayMessages, what_is_out_of_bounds_is_refused) {
  const Term own = record(peer);
  EXPECT_TRUE(decode_hyparview(hyparview(Term::tuple({Atom("shuffle"), ttl_max, Term(), own})), peer));
  EXPECT_EQ(decode_hyparview(hyparview(Term::tuple({Atom("shuffle"), ttl_max + 1, Term(), own})), peer).error(),
            Errc::limit_exceeded);
  EXPECT_EQ(decode_hyparview(hyparview(Term::tuple({Atom("forward_join"), own, -1, own})), peer).error(),
            Errc::type_mismatch);
  const Term many = Term::list(std::vector<Term>(sample_max + 1, own));
  EXPECT_EQ(decode_hyparview(hyparview(Term::tuple({Atom("shuffle_reply"), many, own})), peer).error(),
            Errc::limit_exceeded);
  const std::string long_id(message_id_bytes_max, 'x');
  EXPECT_EQ(decode_plumtree(plumtree(Term::tuple({Atom("ihave"), long_id, peer})), peer).error(), Errc::limit_exceeded);
  const Term ids = Term::list(std::vector<Term>(ids_max + 1, Term(1)));
  EXPECT_EQ(decode_plumtree(plumtree(Term::tuple({Atom("graft"), ids, peer, Atom("batch")})), peer).error(),
            Errc::limit_exceeded);
}

TEST(OverlayMessages, gossip_is_refused_that_is_larger_than_broadcasts_with_its_tag_may_be) {
  const auto gossip = [](const char* tag, std::size_t bytes) {
    const std::size_t rest = encoded_size(Term(Atom(tag)), false) + encoded_size(Term(""), false);
    const Term payload(std::string(bytes - rest, 'x'));
    return *decode_plumtree(plumtree(Term::tuple({Atom("gossip"), 1, Atom(tag), payload, peer})), peer);
  };
  const GossipLimits limits{1000, 3000};
  EXPECT_TRUE(check_size(gossip("news", 1000), limits));
  EXPECT_EQ(check_size(gossip("news", 1001), limits).error(), Errc::limit_exceeded);
  EXPECT_TRUE(check_size(gossip("barrel_p2p_registry_replica", 3000), limits));
  EXPECT_EQ(check_size(gossip("barrel_p2p_registry_replica", 3001), limits).error(), Errc::limit_exceeded);
  EXPECT_TRUE(check_size(PlumtreeMessage(Prune{}), limits));
}

TEST(OverlayMessages, what_is_no_message_is_refused) {
  const Term own = record(peer);
  for (const char* text :
       {"[]", "{a}", "{'$barrel_p2p_hyparview',peer@h,join}", "{'$barrel_p2p_hyparview',peer@h,{}}",
        "{'$barrel_p2p_hyparview',peer@h,{join}}", "{'$barrel_p2p_hyparview',peer@h,{1,2}}",
        "{'$barrel_p2p_hyparview',peer@h,{join,{peer,peer@h}}}", "{'$barrel_p2p_hyparview',peer@h,{hello,one,[]}}",
        "{'$barrel_p2p_hyparview',peer@h,{hello,1,x}}"}) {
    EXPECT_FALSE(decode_hyparview(*parse_term(text), peer)) << text;
  }
  EXPECT_FALSE(decode_hyparview(hyparview(Term::tuple({Atom("neighbor"), Atom("medium"), own})), peer));
  EXPECT_FALSE(decode_hyparview(hyparview(Term::tuple({Atom("neighbor_reply"), 1, own})), peer));
  EXPECT_FALSE(decode_hyparview(hyparview(Term::tuple({Atom("shuffle"), 1, Term::list({own}, Term(1)), own})), peer));
  for (const char* text :
       {"[]", "{'$barrel_p2p_plumtree',x}", "{'$barrel_p2p_plumtree',{prune}}",
        "{'$barrel_p2p_plumtree',{ihave,[{a,b}],peer@h,batch}}", "{'$barrel_p2p_plumtree',{ihave,[a|b],peer@h,batch}}",
        "{'$barrel_p2p_plumtree',{graft,[],peer@h,heap}}"}) {
    EXPECT_FALSE(decode_plumtree(*parse_term(text), peer)) << text;
  }
}

TEST(OverlayMessages, one_bad_record_in_a_sample_is_left_out) {
  const Term own = record(peer);
  const Term sample = Term::list({record(Atom("a@h")), Term(1), record(Atom("no_host")), record(Atom("b@h"))});
  const auto decoded = decode_hyparview(hyparview(Term::tuple({Atom("shuffle_reply"), sample, own})), peer);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(std::get<ShuffleReply>(*decoded).sample, (std::vector<Atom>{Atom("a@h"), Atom("b@h")}));
}

}  // namespace barrel_p2p::overlay
