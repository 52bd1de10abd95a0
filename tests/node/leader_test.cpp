// Leaders on real nodes: elected, followed, revoked; fences that rise; the callback face; remote calls.
#include <gtest/gtest.h>

#include <barrel_p2p/await.hpp>
#include <chrono>
#include <future>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "node/services_support.hpp"
#include "replication/store_mark.hpp"

namespace barrel_p2p {
namespace {

using namespace std::chrono_literals;
using test::Cluster;
using test::Collector;
using test::eventually;
using test::Lines;
using test::long_leases;
using test::short_leases;
using test::spawn_idle;
using test::start_cluster;

const Atom job("job");
const std::string revoked = "{barrel_p2p_leader,job,revoked}";

/// A process that campaigns, and what it was told.
class Candidate : public Collector {
 public:
  explicit Candidate(Node& node, const LeadOptions& options = {})
      : Collector(node), role(node.lead(job, pid, options)) {}

  /// The fence of the next `elected`; nothing when something else comes, or nothing.
  std::optional<Fence> elected() { return fence_in(next()); }
  /// Waits for the end of its term. The greatest fence that it was given meanwhile; nothing when something else comes.
  std::optional<Fence> until_revoked() {
    Fence greatest;
    for (;;) {
      const std::string text = next();
      if (text == revoked) return greatest;
      const auto fence = fence_in(text);
      if (!fence) return std::nullopt;
      greatest = *fence;
    }
  }
  const Result<Role> role;

 private:
  static std::optional<Fence> fence_in(const std::string& text) {
    const auto message = parse_term(text);
    if (!message || !message->is_tagged("barrel_p2p_leader", 3)) return std::nullopt;
    const Term& what = (*message)[2];
    if ((*message)[1] != Term(job) || !what.is_tagged("elected", 2)) return std::nullopt;
    const auto fence = Fence::from(what[1]);
    return fence ? std::optional(*fence) : std::nullopt;
  }
};

/// The leader is of this node, and its fence is greater.
bool leads_beyond(Node& node, const Fence& fence) {
  return eventually({&node}, [&] {
    const auto own = node.fence(job);
    return own && *own > fence;
  });
}
/// All of them see this process as the leader.
bool all_see(const std::vector<Node*>& nodes, const Pid& pid) {
  return eventually(nodes, [&] {
    return std::ranges::all_of(nodes, [&](const Node* node) {
      const auto leader = node->leader(job);
      return leader && leader->pid == pid;
    });
  });
}
bool none_is_seen(const std::vector<Node*>& nodes) {
  return eventually(nodes, [&] {
    return std::ranges::all_of(nodes, [](const Node* node) {
      const auto leader = node->leader(job);
      return !leader && leader.error() == Errc::no_leader;
    });
  });
}

TEST(Leaders, who_campaigns_alone_leads_and_every_node_says_so) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 3);
  EXPECT_EQ(nodes[0]->leader(job).error(), Errc::no_leader);
  Candidate first(*nodes[0]);
  ASSERT_TRUE(first.role && first.role->is_leader());
  EXPECT_TRUE(nodes[0]->is_leader(job)) << "at once";
  EXPECT_EQ(nodes[0]->fence(job).value(), *first.role->fence);
  ASSERT_TRUE(all_see(nodes, first.pid));
  const auto here = nodes[0]->leader(job);
  EXPECT_TRUE(here->local);
  const auto there = nodes[1]->leader(job);
  EXPECT_FALSE(there->local);
  EXPECT_EQ(there->node, nodes[0]->name());
  EXPECT_FALSE(nodes[1]->is_leader(job));
  EXPECT_EQ(nodes[1]->fence(job).error(), Errc::not_leader);
  EXPECT_TRUE(nodes[0]->resign(job));
  EXPECT_FALSE(nodes[0]->is_leader(job));
  EXPECT_FALSE(nodes[0]->resign(job));
  EXPECT_TRUE(none_is_seen(nodes));
}

TEST(Leaders, when_the_leader_ends_the_next_one_is_elected_with_a_greater_fence) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 3);
  Candidate first(*nodes[0]);
  ASSERT_TRUE(first.role && first.role->is_leader());
  ASSERT_TRUE(all_see(nodes, first.pid));
  Candidate second(*nodes[1]);
  ASSERT_TRUE(second.role.has_value());
  EXPECT_FALSE(second.role->is_leader());
  Candidate third(*nodes[2]);
  ASSERT_TRUE(third.role.has_value());
  nodes[0]->exit(first.pid, Atom("kill"));
  const auto fence = second.elected();
  ASSERT_TRUE(fence.has_value());
  EXPECT_GT(*fence, *first.role->fence);
  EXPECT_TRUE(all_see(nodes, second.pid));
  // A greater one, if the third candidate had not heard of it yet and led for a moment.
  EXPECT_TRUE(test::becomes_true([&] { return nodes[1]->fence(job).has_value(); }));
  EXPECT_GE(nodes[1]->fence(job).value(), *fence);
}

TEST(Leaders, a_greater_priority_takes_over_and_the_old_leader_is_told) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  Candidate low(*nodes[0], {.priority = -1});
  ASSERT_TRUE(low.role && low.role->is_leader());
  ASSERT_TRUE(all_see(nodes, low.pid));
  Candidate high(*nodes[1], {.priority = 7});
  ASSERT_TRUE(high.role && high.role->is_leader());
  EXPECT_GT(*high.role->fence, *low.role->fence);
  EXPECT_EQ(low.next(), revoked);
  EXPECT_FALSE(nodes[0]->is_leader(job));
  EXPECT_TRUE(all_see(nodes, high.pid));
  ASSERT_TRUE(nodes[0]->set_priority(job, low.pid, 8).has_value());
  EXPECT_EQ(high.next(), revoked);
  EXPECT_GT(low.elected().value_or(Fence()), *high.role->fence);
  EXPECT_EQ(nodes[0]->set_priority(job, high.pid, 8).error(), Errc::not_found) << "it is of another node";
}

TEST(Leaders, processes_of_one_node_follow_each_other) {
  Cluster cluster;
  Node& node = cluster.start("a");
  Candidate first(node);
  Candidate second(node);
  ASSERT_TRUE(first.role && first.role->is_leader());
  ASSERT_TRUE(second.role && !second.role->is_leader());
  EXPECT_EQ(node.lead(job, first.pid).error(), Errc::already_candidate);
  node.exit(first.pid, Atom("kill"));
  const auto fence = second.elected();
  ASSERT_TRUE(fence.has_value());
  EXPECT_GT(*fence, *first.role->fence);
  EXPECT_EQ(node.leader(job)->pid, second.pid);
  EXPECT_TRUE(node.resign(job, second.pid));
  EXPECT_EQ(node.leader(job).error(), Errc::no_leader);
}

TEST(Leaders, a_process_that_is_a_service_too_is_watched_for_both) {
  Cluster cluster;
  Node& node = cluster.start("a");
  Candidate candidate(node);
  ASSERT_TRUE(candidate.role && candidate.role->is_leader());
  ASSERT_TRUE(node.register_service("kv", candidate.pid).has_value());
  ASSERT_TRUE(node.unregister_service("kv"));
  node.exit(candidate.pid, Atom("kill"));
  EXPECT_TRUE(none_is_seen({&node})) << "the registry does not watch it any more, the election does";
}

TEST(Leaders, a_node_that_stops_is_followed_at_once) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2, long_leases);
  Candidate first(*nodes[0]);
  ASSERT_TRUE(first.role && first.role->is_leader());
  ASSERT_TRUE(all_see(nodes, first.pid));
  Candidate second(*nodes[1]);
  cluster.stop("n0");
  const auto fence = second.elected();
  ASSERT_TRUE(fence.has_value()) << "it said goodbye: no lease had to end";
  EXPECT_GT(*fence, *first.role->fence);
}

TEST(Leaders, who_leaves_the_cluster_leads_no_more_until_it_is_back) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  Candidate first(*nodes[0]);
  ASSERT_TRUE(all_see(nodes, first.pid));
  Candidate second(*nodes[1]);
  nodes[0]->leave();
  EXPECT_EQ(first.next(), revoked);
  EXPECT_FALSE(nodes[0]->is_leader(job));
  const auto fence = second.elected();
  ASSERT_TRUE(fence.has_value());
  ASSERT_TRUE(nodes[0]->join(nodes[1]->name()).has_value());
  // For a moment both lead: neither knows of the other.
  const auto greatest = second.until_revoked();
  ASSERT_TRUE(greatest.has_value());
  EXPECT_TRUE(all_see(nodes, first.pid));
  EXPECT_TRUE(leads_beyond(*nodes[0], std::max(*fence, *greatest))) << "it knows what was given while it was away";
}

TEST(Leaders, a_node_that_dies_without_a_word_is_followed_when_its_lease_ends) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 3, short_leases);
  Candidate first(*nodes[0]);
  ASSERT_TRUE(first.role && first.role->is_leader());
  ASSERT_TRUE(all_see(nodes, first.pid));
  Candidate second(*nodes[1]);
  Candidate third(*nodes[2]);
  // Cut off on both sides: each side has a leader.
  nodes[0]->block_peers({nodes[1]->name(), nodes[2]->name()});
  for (std::size_t index : {1U, 2U}) nodes[index]->block_peers({nodes[0]->name()});
  const auto fence = second.elected();
  ASSERT_TRUE(fence.has_value());
  EXPECT_GT(*fence, *first.role->fence);
  EXPECT_TRUE(nodes[0]->is_leader(job)) << "it has no min_members";
  for (Node* node : nodes) node->unblock_peers();
  ASSERT_TRUE(nodes[0]->join(nodes[1]->name()).has_value());
  const auto greatest = second.until_revoked();
  ASSERT_TRUE(greatest.has_value());
  EXPECT_TRUE(all_see(nodes, first.pid));
  EXPECT_TRUE(leads_beyond(*nodes[0], std::max(*fence, *greatest)))
      << "what saw the other side's token must not lock it out";
  EXPECT_GT(first.elected().value_or(Fence()), *first.role->fence) << "it was told so";
}

TEST(Leaders, with_min_members_nobody_leads_in_a_minority) {
  Cluster cluster;
  const LeadOptions most{.min_members = 2};
  Node& alone = cluster.start("n0", short_leases);
  Candidate first(alone, most);
  ASSERT_TRUE(first.role.has_value());
  EXPECT_FALSE(first.role->is_leader());
  EXPECT_EQ(alone.leader(job).error(), Errc::no_leader);
  Node& other = cluster.start("n1", short_leases);
  ASSERT_TRUE(other.join(alone.name()).has_value());
  const auto fence = first.elected();
  ASSERT_TRUE(fence.has_value());
  ASSERT_TRUE(all_see({&alone, &other}, first.pid));
  alone.block_peers({other.name()});
  other.block_peers({alone.name()});
  EXPECT_EQ(first.next(), revoked);
  EXPECT_FALSE(alone.is_leader(job));
}

TEST(Leaders, fences_rise_when_all_nodes_were_restarted) {
  Cluster cluster;
  Fence last;
  for (int life = 0; life < 3; ++life) {
    const auto nodes = start_cluster(cluster, 2);
    for (Node* node : nodes) {
      Candidate candidate(*node);
      ASSERT_TRUE(candidate.role && candidate.role->is_leader());
      EXPECT_GT(*candidate.role->fence, last);
      last = *candidate.role->fence;
      ASSERT_TRUE(all_see(nodes, candidate.pid));
      ASSERT_TRUE(node->resign(job));
      ASSERT_TRUE(none_is_seen(nodes));
    }
    cluster.stop("n0");
    cluster.stop("n1");
  }
}

TEST(Leaders, callbacks_hear_of_each_term_until_their_handle_goes) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  Lines first;
  Lines second;
  const auto campaign = [](Node& node, Lines& lines, int priority) {
    return node.lead(
        job, {.priority = priority}, [&lines](const Fence& /*fence*/) { lines.add("elected"); },
        [&lines] { lines.add("revoked"); });
  };
  auto low = campaign(*nodes[0], first, 0);
  ASSERT_TRUE(low.has_value());
  EXPECT_EQ(first.next(), "elected");
  EXPECT_TRUE(low->is_leader());
  EXPECT_EQ(low->fence(), nodes[0]->fence(job).value());
  ASSERT_TRUE(all_see(nodes, low->pid()));
  {
    auto high = campaign(*nodes[1], second, 1);
    ASSERT_TRUE(high.has_value());
    EXPECT_EQ(second.next(), "elected");
    EXPECT_EQ(first.next(), "revoked");
    EXPECT_FALSE(low->is_leader());
    EXPECT_GT(high->fence().value_or(Fence()), Fence());
  }
  EXPECT_FALSE(nodes[1]->is_leader(job)) << "it resigned";
  EXPECT_EQ(first.next(), "elected");
  low->resign();
  EXPECT_FALSE(low->is_leader());
  EXPECT_TRUE(none_is_seen(nodes));
  EXPECT_EQ(second.next(1s), "nothing") << "who resigns is told nothing";
}

TEST(Leaders, a_candidacy_may_outlive_its_node_whose_last_word_is_revoked) {
  Lines lines;
  std::optional<Result<Candidacy>> candidacy;
  {
    Cluster cluster;
    Node& node = cluster.start("a");
    candidacy =
        node.lead(job, {}, [&](const Fence& /*fence*/) { lines.add("elected"); }, [&] { lines.add("revoked"); });
    ASSERT_TRUE(candidacy->has_value());
    EXPECT_EQ(lines.next(), "elected");
    EXPECT_TRUE((*candidacy)->is_leader());
    node.stop();
    EXPECT_FALSE((*candidacy)->is_leader());
  }
  EXPECT_EQ(lines.next(), "revoked");
}

TEST(Leaders, nobody_has_callbacks_believe_what_is_not_so) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  Node& a = *nodes[0];
  Node& b = *nodes[1];
  Lines lines;
  auto candidacy = a.lead(job, {}, [&](const Fence& fence) { lines.add(fence.text()); }, [&] { lines.add("revoked"); });
  ASSERT_TRUE(candidacy.has_value());
  const Pid pid = candidacy->pid();
  const auto fence = candidacy->fence();
  ASSERT_TRUE(fence.has_value());
  EXPECT_EQ(lines.next(), fence->text());
  ASSERT_TRUE(all_see(nodes, pid));
  for (Node* const sender : {&b, &a}) {
    ASSERT_TRUE(sender->send(pid, parse_term("{barrel_p2p_leader,job,{elected,99999999999999999999999999}}").value()));
    ASSERT_TRUE(sender->send(pid, parse_term(revoked).value()));
    ASSERT_TRUE(sender->send(pid, Atom("resigned")));
  }
  b.exit(pid, Atom("kill"));
  EXPECT_EQ(lines.next(1s), "nothing");
  EXPECT_EQ(candidacy->fence(), fence);
  const auto other = b.lead(job, {.priority = 1}, {}, {});
  ASSERT_TRUE(other.has_value());
  EXPECT_EQ(lines.next(), "revoked") << "it goes on to stand for them";
}

TEST(Leaders, callbacks_hear_of_the_end_of_the_process_that_stands_for_them) {
  Cluster cluster;
  Node& node = cluster.start("a");
  Lines lines;
  auto candidacy =
      node.lead(job, {}, [&](const Fence& /*fence*/) { lines.add("elected"); }, [&] { lines.add("revoked"); });
  ASSERT_TRUE(candidacy.has_value());
  EXPECT_EQ(lines.next(), "elected");
  node.exit(candidacy->pid(), Atom("kill"));
  EXPECT_EQ(lines.next(), "revoked");
  EXPECT_TRUE(none_is_seen({&node}));
}

TEST(Leaders, a_callback_may_resign) {
  Cluster cluster;
  Node& node = cluster.start("a");
  std::optional<Candidacy> candidacy;
  std::promise<void> assigned;
  std::promise<void> resigned;
  auto made = node.lead(job, {},
                        [&, wait = assigned.get_future().share()](const Fence& /*fence*/) {
                          wait.wait();
                          candidacy->resign();
                          resigned.set_value();
                        },
                        {});
  ASSERT_TRUE(made.has_value());
  candidacy.emplace(std::move(*made));
  assigned.set_value();
  resigned.get_future().wait();
  EXPECT_EQ(node.leader(job).error(), Errc::no_leader);
}

TEST(Leaders, a_callback_may_wait_for_the_cluster_thread_while_that_resigns) {
  Cluster cluster;
  Node& node = cluster.start("a");
  std::promise<void> begun;
  std::promise<void> go;
  std::promise<Result<void>> opened;
  auto candidacy = node.lead(job, {},
                             [&, wait = go.get_future().share()](const Fence& /*fence*/) {
                               begun.set_value();
                               wait.wait();
                               opened.set_value(node.new_map("m"));
                             },
                             {});
  ASSERT_TRUE(candidacy.has_value());
  begun.get_future().wait();
  std::promise<void> resigned;
  const auto subscription = node.subscribe_services([&](const ServiceEvent&) {
    go.set_value();
    candidacy->resign();
    resigned.set_value();
  });
  ASSERT_TRUE(node.register_service("s", spawn_idle(node)).has_value());
  ASSERT_EQ(resigned.get_future().wait_for(test::patience), std::future_status::ready);
  auto waited = opened.get_future();
  ASSERT_EQ(waited.wait_for(test::patience), std::future_status::ready);
  EXPECT_TRUE(waited.get().has_value());
  EXPECT_TRUE(none_is_seen({&node}));
}

TEST(Leaders, a_process_waits_for_its_role_without_holding_its_thread) {
  Cluster cluster;
  Node& node = cluster.start("a", [](NodeConfig& config) { config.workers = 1; });
  std::promise<bool> leads;
  node.spawn([&](Process& self) -> Task<> {
    const Pid own = self.pid();
    const auto role = co_await awaited<Role>(self, [&](auto answer) { node.lead(job, own, {}, std::move(answer)); });
    leads.set_value(role && role->is_leader() && node.is_leader(job));
    const auto resigned = co_await awaited<bool>(self, [&](auto answer) { node.resign(job, own, std::move(answer)); });
    (void)resigned;
    (void)co_await self.receive();
  });
  EXPECT_TRUE(leads.get_future().get());
  EXPECT_TRUE(none_is_seen({&node}));
}

TEST(Leaders, bad_arguments_are_refused_with_a_word) {
  Cluster cluster;
  Node& node = cluster.start("a");
  const Pid pid = spawn_idle(node);
  EXPECT_EQ(node.lead(job, pid, {.priority = 1.5}).error(), Errc::invalid_argument);
  EXPECT_EQ(node.lead(std::string(2000, 'x'), pid).error(), Errc::invalid_argument);
  EXPECT_FALSE(node.lead(job, LeadOptions{.priority = Atom("high")}, {}, {}).has_value());
  EXPECT_EQ(node.leader(job).error(), Errc::no_leader);
}

TEST(Leaders, a_callback_of_the_cluster_thread_is_told_not_to_wait_there) {
  Cluster cluster;
  Node& node = cluster.start("a");
  std::promise<Errc> answer;
  node.lead(job, spawn_idle(node), {}, [&](const Result<Role>& role) {
    ASSERT_TRUE(role.has_value());
    answer.set_value(node.lead(job, Pid{}).error().code());
  });
  EXPECT_EQ(answer.get_future().get(), Errc::invalid_argument);
}

// Stamps that jump, here with the clock of the machine, leave the last mark behind. Who is killed right after it was
// told of a fence must go on behind it, also where the clock was wrong and is set back meanwhile.
TEST(Leaders, the_disk_knows_of_the_clock_before_anybody_is_told_of_a_fence) {
  struct SetBack {
    ~SetBack() { set_wall_offset(Milliseconds(0)); }
  } set_back;
  Cluster cluster;
  const auto file = cluster.data("a") / "store" / "store.mark";
  const auto expect_covered = [&](Node& node, int step) {
    const auto role = node.lead("job" + std::to_string(step), spawn_idle(node));
    ASSERT_TRUE(role && role->fence) << "in step " << step;
    const auto mark = replication::store::MarkFile::open(file, false);
    ASSERT_TRUE(mark) << mark.error().message();
    EXPECT_LE(*role->fence, Fence(static_cast<std::uint64_t>(mark->number()), 0)) << "in step " << step;
  };
  Node& node = cluster.start("a");
  for (int step = 1; step <= 20; ++step) {
    set_wall_offset(Milliseconds(step * 70'000));
    expect_covered(node, step);
  }
  for (int step = 21; step <= 25; ++step) {  // its clock begins at the mark
    cluster.stop("a");
    set_wall_offset(Milliseconds(0));
    expect_covered(cluster.start("a"), step);
  }
}

TEST(Leaders, a_hidden_node_has_none) {
  Cluster cluster;
  Node& node = cluster.start("a", [](NodeConfig& config) { config.hidden = true; });
  EXPECT_EQ(node.lead(job, spawn_idle(node)).error(), Errc::invalid_config);
  EXPECT_EQ(node.lead(job, LeadOptions(), {}, {}).error(), Errc::invalid_config);
  EXPECT_EQ(node.leader(job).error(), Errc::no_leader);
  EXPECT_FALSE(node.is_leader(job));
  EXPECT_FALSE(node.resign(job));
}

TEST(Leaders, other_nodes_operate_a_node_by_remote_calls) {
  Cluster cluster;
  const auto nodes = start_cluster(cluster, 2);
  Node& a = *nodes[0];
  const NodeName& b = nodes[1]->name();
  Collector candidate(a);
  const auto call = [&](const char* function, std::vector<Term> arguments) {
    const auto result = a.call_function(b, "barrel_p2p", function, std::move(arguments));
    return result ? to_text(*result) : result.error().message();
  };
  EXPECT_EQ(call("leader", {job}), "{error,no_leader}");
  EXPECT_EQ(call("is_leader", {job}), "false");
  EXPECT_EQ(call("fence", {job}), "{error,not_leader}");
  const Term options = Term::map({{Atom("priority"), 3}});
  EXPECT_TRUE(call("lead", {job, options, candidate.pid}).starts_with("{ok,{leader,"));
  EXPECT_EQ(call("lead", {job, options, candidate.pid}), "{error,already_candidate}");
  EXPECT_EQ(call("lead", {job, options, spawn_idle(a)}), "{ok,follower}");
  EXPECT_EQ(call("leader", {job}), "{ok,'n1@127.0.0.1'," + to_text(Term(candidate.pid)) + "}");
  EXPECT_EQ(call("is_leader", {job}), "true");
  EXPECT_EQ(call("fence", {job}), "{ok," + nodes[1]->fence(job)->text() + "}");
  EXPECT_EQ(call("resign", {job, candidate.pid}), "ok");
  EXPECT_EQ(call("is_leader", {job}), "true") << "the other one follows";
  EXPECT_EQ(call("resign", {job}), "ok");
  EXPECT_EQ(call("is_leader", {job}), "false");
  EXPECT_EQ(call("resign", {job}), "ok") << "there is nobody any more";
  // As in Erlang the candidate of lead/1 is the process of the call, which ends with it.
  EXPECT_TRUE(call("lead", {job}).starts_with("{ok,{leader,"));
  EXPECT_TRUE(none_is_seen(nodes));
}

}  // namespace
}  // namespace barrel_p2p
