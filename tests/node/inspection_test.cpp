// What operators ask a node by remote calls, and only C++ nodes tell.
#include <gtest/gtest.h>

#include "node/services_support.hpp"

namespace barrel_p2p::test {
namespace {

class Inspection : public testing::Test {
 protected:
  Term ask(const char* function, std::vector<Term> arguments = {}) {
    auto answer = asker.call_function(asked.name(), "barrel_p2p", function, std::move(arguments));
    if (!answer) throw std::runtime_error(answer.error().message());
    return *answer;
  }

  Cluster cluster;
  std::vector<Node*> nodes = start_cluster(cluster, 2);
  Node& asker = *nodes[0];
  Node& asked = *nodes[1];
};

TEST_F(Inspection, a_node_says_who_it_is_and_since_when) {
  const Term info = ask("node_info");
  EXPECT_EQ(info.get<Atom>(Atom("name")), asked.name().atom());
  EXPECT_EQ(info.get<Atom>(Atom("kind")), Atom("cpp"));
  EXPECT_EQ(info.get<std::string>(Atom("version")), std::string(BARREL_P2P_VERSION));
  EXPECT_EQ(info.get<std::uint16_t>(Atom("port")), asked.port());
  const auto started = info.get<std::int64_t>(Atom("started_ms")).value();
  EXPECT_LE(started, info.get<std::int64_t>(Atom("time_ms")).value());
}

TEST_F(Inspection, a_node_lists_its_peers) {
  const Term peers = ask("peers");
  ASSERT_EQ(peers.size(), 1U);
  EXPECT_EQ(peers[0].get<Atom>(Atom("node")), asker.name().atom());
  EXPECT_EQ(peers[0].get<bool>(Atom("hidden")), false);
  EXPECT_TRUE(peers[0].get<std::string>(Atom("address")).value().ends_with(":" + std::to_string(asker.port())));
}

TEST_F(Inspection, a_node_lists_the_leaders_of_the_cluster_with_fences) {
  EXPECT_EQ(to_text(ask("leaders")), "{[],false}");
  const Pid candidate = spawn_idle(asked);
  const auto role = asked.lead(Atom("job"), candidate).value();
  const Term answer = ask("leaders");
  ASSERT_EQ(answer[0].size(), 1U);
  const Term& leader = answer[0][0];
  EXPECT_EQ(*leader.find(Atom("role")), Atom("job"));
  EXPECT_EQ(*leader.find(Atom("node")), asked.name().atom());
  EXPECT_EQ(*leader.find(Atom("pid")), candidate);
  EXPECT_EQ(leader.get<Fence>(Atom("fence")).value(), role.fence.value());
  EXPECT_EQ(leader.get<std::vector<Atom>>(Atom("candidates")), std::vector<Atom>{asked.name().atom()});
  asked.resign(Atom("job"));
  EXPECT_EQ(to_text(ask("leaders")), "{[],false}") << "nobody campaigns";
}

TEST_F(Inspection, a_node_tells_the_owner_of_each_partition) {
  const Term owners = ask("placement");
  ASSERT_EQ(owners.size(), asked.ring_size());
  for (std::uint32_t partition = 0; partition < asked.ring_size(); ++partition) {
    EXPECT_EQ(owners[partition], asked.partition_owner(partition)->atom());
  }
}

TEST_F(Inspection, reminders_are_listed_the_earliest_first_and_no_more_than_asked_for) {
  using std::chrono::hours;
  ASSERT_TRUE(asked.remind_after("late", hours(2), 2).has_value());
  ASSERT_TRUE(asked.remind_after("early", hours(1), 1).has_value());
  ASSERT_TRUE(asked.remind_after("large", hours(3), std::string(10'000, 'x')).has_value());
  const Term all = ask("reminders", {10});
  ASSERT_EQ(all[0].size(), 3U);
  EXPECT_EQ(all[0][0].get<std::string>(Atom("key")), std::string("early"));
  EXPECT_EQ(all[0][1].get<std::string>(Atom("key")), std::string("late"));
  EXPECT_EQ(all[0][1].get<int>(Atom("payload")), 2);
  EXPECT_EQ(*all[0][2].find(Atom("payload")), Atom("too_large"));
  EXPECT_EQ(all[1], false);
  EXPECT_EQ(all[0][0].get<bool>(Atom("here")), asked.is_owner("early"));
  const Term first = ask("reminders", {1});
  EXPECT_EQ(first[0].size(), 1U);
  EXPECT_EQ(first[1], true) << "there are more";
  EXPECT_EQ(ask("reminder_statistics").get<int>(Atom("pending")), 3);
}

TEST_F(Inspection, wrong_arguments_are_refused) {
  EXPECT_THROW(ask("reminders", {Atom("all")}), std::runtime_error);
  EXPECT_THROW(ask("reminders"), std::runtime_error);
  EXPECT_THROW(ask("leaders", {1}), std::runtime_error);
}

}  // namespace
}  // namespace barrel_p2p::test
