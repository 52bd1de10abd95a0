// The parts of the overlay together: what passes between HyParView, Plumtree, the contacts and the disk.
#include "overlay/overlay.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace barrel_p2p::overlay {
namespace {

using namespace std::chrono_literals;

/// Some nodes without delays: every message goes over the wire format.
class World {
 public:
  struct Member {
    explicit Member(OverlayConfig config, MonotonicTime now) : overlay(std::move(config), now) {}
    Overlay overlay;
    std::vector<Atom> links;
    std::vector<Term> delivered;
    std::vector<std::string> events;
    std::vector<Atom> remembered;
    std::vector<Atom> dialled;
  };

  Member& add(const std::string& name, std::vector<Atom> contacts = {}, std::vector<Atom> remembered = {}) {
    OverlayConfig config;
    config.own = Atom(name);
    config.seed = members_.size();
    config.contacts.contacts = std::move(contacts);
    config.contacts.remembered = std::move(remembered);
    auto& member = members_[config.own];
    member = std::make_unique<Member>(config, now_);
    return *member;
  }

  Member& at(const std::string& name) { return *members_.at(Atom(name)); }

  template <class Use>
  void act(const std::string& name, Use use) {
    Effects effects;
    use(at(name).overlay, now_, effects);
    carry_out(Atom(name), effects);
    settle();
  }

  void join(const std::string& name, const std::string& contact) {
    act(name, [&](auto& overlay, auto now, auto& out) { ASSERT_TRUE(overlay.join(Atom(contact), now, out)); });
  }

  void cut(const std::string& one, const std::string& other) {
    for (const auto& [from, to] : {std::pair(one, other), std::pair(other, one)}) {
      std::erase(at(from).links, Atom(to));
      act(from, [&](auto& overlay, auto now, auto& out) { overlay.link_down(Atom(to), now, out); });
    }
  }

  void pass(Milliseconds time) {
    const auto end = now_ + time;
    for (int steps = 0; steps < 100'000; ++steps) {
      const auto next = std::ranges::min_element(
          members_, {}, [](const auto& entry) { return std::pair(entry.second->overlay.deadline(), entry.first); });
      if (next->second->overlay.deadline() > end) break;
      now_ = std::max(now_, next->second->overlay.deadline());
      act(next->first.string(), [](auto& overlay, auto now, auto& out) { overlay.tick(now, out); });
    }
    now_ = end;
  }

 private:
  void carry_out(const Atom& node, const Effects& effects) {
    auto& member = *members_.at(node);
    for (const auto& effect : effects) {
      if (const auto* send = std::get_if<SendMessage>(&effect)) {
        queue_.push_back({node, send->to, encode_message(send->message, {node, Term(), 0}, send->native),
                          std::holds_alternative<HyParViewMessage>(send->message)});
      } else if (const auto* connect = std::get_if<Connect>(&effect)) {
        member.dialled.push_back(connect->node);
        queue_.push_back({node, connect->node, Term(), false, true});
      } else if (const auto* up = std::get_if<MembershipUp>(&effect)) {
        member.events.push_back("up " + up->node.string());
      } else if (const auto* down = std::get_if<MembershipDown>(&effect)) {
        member.events.push_back("down " + down->node.string() + " " + std::string(name(down->reason)));
      } else if (std::holds_alternative<MembershipLeft>(effect)) {
        member.events.emplace_back("left");
      } else if (const auto* deliver = std::get_if<Deliver>(&effect)) {
        member.delivered.push_back(deliver->payload);
      } else if (const auto* remember = std::get_if<Remember>(&effect)) {
        member.remembered = remember->nodes;
      }
    }
  }

  void settle() {
    for (int steps = 0; steps < 100'000 && !queue_.empty(); ++steps) {
      const auto item = queue_.front();
      queue_.pop_front();
      item.dial ? dial(item.from, item.to) : deliver(item);
    }
  }

  void dial(const Atom& from, const Atom& to) {
    Effects effects;
    if (!members_.contains(to)) {
      members_.at(from)->overlay.connect_failed(to, now_, effects);
      return carry_out(from, effects);
    }
    for (const auto& [one, other] : {std::pair(from, to), std::pair(to, from)}) {
      auto& member = *members_.at(one);
      if (std::ranges::find(member.links, other) != member.links.end()) continue;
      member.links.push_back(other);
      effects.clear();
      member.overlay.link_up(other, now_, effects);
      carry_out(one, effects);
    }
  }

  struct Item {
    Atom from;
    Atom to;
    Term term;
    bool hyparview = false;
    bool dial = false;
  };

  void deliver(const Item& item) {
    auto& member = *members_.at(item.to);
    if (std::ranges::find(member.links, item.from) == member.links.end()) return;
    Effects effects;
    if (item.hyparview) {
      const auto message = decode_hyparview(item.term, item.from);
      ASSERT_TRUE(message) << to_text(item.term);
      member.overlay.receive(item.from, *message, now_, effects);
    } else {
      const auto message = decode_plumtree(item.term, item.from);
      ASSERT_TRUE(message) << to_text(item.term);
      member.overlay.receive(item.from, *message, now_, effects);
    }
    carry_out(item.to, effects);
  }

  MonotonicTime now_ = MonotonicTime{} + 1h;
  std::map<Atom, std::unique_ptr<Member>> members_;
  std::deque<Item> queue_;
};

void broadcast(World& world, const std::string& from, const std::string& text) {
  world.act(from, [&](auto& overlay, auto now, auto& out) {
    overlay.broadcast(Atom("chat"), Term(text), Term("id of " + text), now, out);
  });
}

}  // namespace

TEST(Overlay, two_nodes_join_gossip_and_leave) {
  World world;
  world.add("a@h");
  world.add("b@h");
  world.join("b@h", "a@h");
  EXPECT_EQ(world.at("a@h").events, std::vector<std::string>{"up b@h"});
  EXPECT_EQ(world.at("b@h").events, std::vector<std::string>{"up a@h"});
  EXPECT_TRUE(world.at("a@h").overlay.membership().is_native(Atom("b@h")));
  broadcast(world, "a@h", "hello");
  EXPECT_EQ(world.at("a@h").delivered, std::vector<Term>{Term("hello")});
  EXPECT_EQ(world.at("b@h").delivered, std::vector<Term>{Term("hello")});
  world.act("b@h", [](auto& overlay, auto now, auto& out) { overlay.leave(now, out); });
  EXPECT_EQ(world.at("a@h").events.back(), "down b@h graceful");
  EXPECT_EQ(world.at("b@h").events, (std::vector<std::string>{"up a@h", "down a@h left", "left"}));
  broadcast(world, "a@h", "gone");
  EXPECT_EQ(world.at("b@h").delivered.size(), 1U);
}

TEST(Overlay, a_contact_that_starts_late_is_found) {
  World world;
  world.add("a@h", {Atom("seed@h")});
  world.pass(20s);
  EXPECT_TRUE(world.at("a@h").events.empty());
  world.add("seed@h", {Atom("seed@h")});
  world.pass(7s);
  EXPECT_EQ(world.at("a@h").events, std::vector<std::string>{"up seed@h"});
}

TEST(Overlay, other_contacts_are_tried_until_they_start_and_the_former_ones_no_more) {
  World world;
  auto& a = world.add("a@h", {Atom("gone@h")});
  world.pass(20s);
  a.dialled.clear();
  world.act("a@h", [](auto& overlay, auto now, auto& /*out*/) { overlay.set_contacts({Atom("late@h")}, now); });
  world.pass(20s);
  ASSERT_GT(a.dialled.size(), 3U);
  world.add("late@h");
  world.pass(7s);
  EXPECT_EQ(a.events, std::vector<std::string>{"up late@h"});
  EXPECT_EQ(std::ranges::count(a.dialled, Atom("gone@h")), 0);
}

TEST(Overlay, with_a_neighbour_another_contact_is_tried_until_it_starts) {
  World world;
  auto& a = world.add("a@h");
  world.add("b@h");
  world.join("a@h", "b@h");
  world.pass(30s);
  world.act("a@h",
            [](auto& overlay, auto now, auto& /*out*/) { overlay.set_contacts({Atom("b@h"), Atom("late@h")}, now); });
  a.dialled.clear();
  world.pass(2s);
  EXPECT_EQ(a.dialled, std::vector<Atom>{Atom("late@h")}) << "the neighbour is reached";
  world.add("late@h");
  world.pass(4s);
  EXPECT_EQ(a.events.back(), "up late@h");
}

TEST(Overlay, what_is_remembered_finds_the_cluster_without_contacts) {
  World world;
  for (const auto* name : {"a@h", "b@h", "c@h"}) world.add(name);
  world.join("b@h", "a@h");
  world.join("c@h", "a@h");
  world.pass(10s);
  EXPECT_EQ(world.at("c@h").remembered.size(), 2U);
  world.add("d@h", {}, world.at("c@h").remembered);
  world.pass(1s);
  EXPECT_FALSE(world.at("d@h").events.empty());
}

TEST(Overlay, eight_nodes_in_one_cluster_hear_everything_once) {
  World world;
  world.add("n0@h");
  for (int index = 1; index < 8; ++index) {
    const auto name = "n" + std::to_string(index) + "@h";
    world.add(name);
    world.join(name, "n0@h");
  }
  world.pass(1min);
  for (int index = 0; index < 8; ++index) {
    const auto& view = world.at("n" + std::to_string(index) + "@h").overlay.membership();
    for (const auto& member : view.active_view()) {
      EXPECT_TRUE(world.at(member.string()).overlay.membership().is_active(view.config().own));
    }
    EXPECT_GE(view.active_count(), 4U);
    broadcast(world, view.config().own.string(), "from " + std::to_string(index));
  }
  world.pass(5s);
  for (int index = 0; index < 8; ++index) {
    EXPECT_EQ(world.at("n" + std::to_string(index) + "@h").delivered.size(), 8U);
  }
}

TEST(Overlay, a_cut_link_is_replaced_and_gossip_goes_on) {
  World world;
  for (const auto* name : {"a@h", "b@h", "c@h"}) world.add(name);
  world.join("b@h", "a@h");
  world.join("c@h", "a@h");
  world.pass(30s);
  world.cut("a@h", "b@h");
  EXPECT_EQ(world.at("a@h").events.back(), "down b@h nodedown");
  broadcast(world, "a@h", "over c");
  world.pass(2s);
  EXPECT_EQ(world.at("b@h").delivered.size(), 1U);
  world.pass(2min);
  EXPECT_TRUE(world.at("a@h").overlay.membership().is_active(Atom("b@h")));
}

TEST(Overlay, nothing_is_heard_from_an_erlang_node_that_is_blocked) {
  World world;
  world.add("a@h");
  world.add("erlang@h");  // for what is sent to it
  const auto gossip = [&](const char* id) {
    world.act("a@h", [&](auto& overlay, auto now, auto& out) {
      overlay.receive(Atom("erlang@h"), PlumtreeMessage(Gossip{Term(id), Atom("tag"), Term(id), 0}), now, out);
    });
  };
  const auto block = [&](std::vector<Atom> nodes) {
    world.act("a@h", [&](auto& overlay, auto now, auto& out) { overlay.block(nodes, now, out); });
  };
  world.act("a@h", [](auto& overlay, auto now, auto& out) { overlay.link_up(Atom("erlang@h"), now, out, true); });
  gossip("before");
  block({Atom("erlang@h")});
  gossip("blocked");
  block({});
  gossip("after");
  EXPECT_EQ(world.at("a@h").delivered, (std::vector<Term>{"before", "after"}));
}

TEST(Overlay, a_push_that_finds_no_place_is_announced) {
  World world;
  world.add("a@h");
  world.add("b@h");
  world.join("b@h", "a@h");
  auto& overlay = world.at("a@h").overlay;
  Effects effects;
  const auto now = MonotonicTime{} + 2h;
  overlay.broadcast(Atom("t"), Term(1), Term("id"), now, effects);
  const auto sent = std::ranges::find_if(effects, [](const auto& e) { return std::holds_alternative<SendMessage>(e); });
  ASSERT_NE(sent, effects.end());
  const auto refused = std::get<SendMessage>(*sent);
  overlay.send_refused(refused.to, refused.message, now);
  effects.clear();
  overlay.tick(now + 100ms, effects);
  const bool announced = std::ranges::any_of(effects, [](const auto& effect) {
    const auto* send = std::get_if<SendMessage>(&effect);
    const auto* plumtree = send != nullptr ? std::get_if<PlumtreeMessage>(&send->message) : nullptr;
    return plumtree != nullptr && std::holds_alternative<IHave>(*plumtree);
  });
  EXPECT_TRUE(announced);
}

}  // namespace barrel_p2p::overlay
