// HyParView in tests: effects as short sentences, and a machine that hears of channels by itself.
#pragma once

#include <barrel_p2p/term.hpp>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "overlay/hyparview.hpp"

namespace barrel_p2p::overlay::test {

/// `scu@127.0.0.1` is `scu`.
inline std::string short_name(const Atom& node) { return std::string(node.text().substr(0, node.text().find('@'))); }

inline std::string list_of(const std::vector<Atom>& nodes) {
  std::string text;
  for (const auto& node : nodes) text += (text.empty() ? "" : " ") + short_name(node);
  return "[" + text + "]";
}

struct MessageText {
  std::string operator()(const Join& /*message*/) const { return "join"; }
  std::string operator()(const ForwardJoin& message) const {
    return "forward_join " + short_name(message.joiner) + " " + std::to_string(message.ttl);
  }
  std::string operator()(const Disconnect& /*message*/) const { return "disconnect"; }
  std::string operator()(const Neighbor& message) const { return message.high ? "neighbor high" : "neighbor low"; }
  std::string operator()(const NeighborReply& message) const {
    return message.accepted ? "neighbor_reply true" : "neighbor_reply false";
  }
  std::string operator()(const Shuffle& message) const {
    return "shuffle " + std::to_string(message.ttl) + " " + list_of(message.sample);
  }
  std::string operator()(const ShuffleReply& message) const { return "shuffle_reply " + list_of(message.sample); }
  std::string operator()(const Hello& /*message*/) const { return "hello"; }
  std::string operator()(const Seek& message) const {
    return "seek " + short_name(message.origin) + " " + std::to_string(message.ttl);
  }
  std::string operator()(const Wander& message) const {
    return "wander " + short_name(message.origin) + " " + std::to_string(message.ttl);
  }
  std::string operator()(const Leave& message) const {
    return "leave " + short_name(message.node) + " " + std::to_string(message.ttl);
  }
  std::string operator()(const Exchange& message) const { return "exchange " + short_name(message.instead); }
  std::string operator()(const ExchangeReply& message) const {
    return std::string("exchange_reply ") + (message.accepted ? "true" : "false") +
           (message.partner ? " " + short_name(*message.partner) : "");
  }
  std::string operator()(const Refer& message) const { return "refer " + short_name(message.to); }
};

inline std::string text_of(const HyParViewMessage& message) { return std::visit(MessageText{}, message); }

struct EffectText {
  std::string operator()(const HyParViewSend& effect) const {
    return text_of(effect.message) + " > " + short_name(effect.to);
  }
  std::string operator()(const HyParViewConnect& effect) const { return "connect " + short_name(effect.node); }
  std::string operator()(const HyParViewUp& effect) const { return "up " + short_name(effect.node); }
  std::string operator()(const HyParViewDown& effect) const {
    return "down " + short_name(effect.node) + " " + std::string(name(effect.reason));
  }
  std::string operator()(const HyParViewLeft& /*effect*/) const { return "left"; }
};

using Lines = std::vector<std::string>;

/// One machine named `me`, on a clock of its own. Each verb returns what the machine wants, without hellos.
class Machine {
 public:
  explicit Machine(HyParViewConfig config = {}) : Machine(std::move(config), Atom("me@h")) {}
  Machine(HyParViewConfig config, const Atom& own)
      : view([&] {
          config.own = own;
          return HyParView(config, now);
        }()) {}

  static Atom node(const std::string& name) { return Atom(name.find('@') == std::string::npos ? name + "@h" : name); }

  Lines join(const std::string& name) {
    joined = view.join(node(name), now, effects_);
    return take();
  }
  Lines leave() {
    view.leave(now, effects_);
    return take();
  }
  Lines up(const std::string& name) {
    view.link_up(node(name), now, effects_);
    return take();
  }
  /// A channel to an Erlang node, known to be one.
  Lines up_erlang(const std::string& name) {
    view.link_up(node(name), now, effects_, true);
    return take();
  }
  /// A channel to a C++ node.
  Lines up_native(const std::string& name) {
    view.link_up(node(name), now, effects_);
    view.receive(node(name), Hello{}, now, effects_);
    return take();
  }
  Lines down(const std::string& name) {
    view.link_down(node(name), now, effects_);
    return take();
  }
  Lines connect_failed(const std::string& name) {
    view.connect_failed(node(name), now, effects_);
    return take();
  }
  Lines receive(const std::string& from, const HyParViewMessage& message) {
    view.receive(node(from), message, now, effects_);
    return take();
  }
  Lines gossip(const std::string& from) {
    view.heard_gossip(node(from), now, effects_);
    return take();
  }
  Lines block(const std::vector<Atom>& nodes) {
    view.block(nodes, now, effects_);
    return take();
  }
  /// Lets time go by, and the machine act when it wants to.
  Lines pass(Milliseconds time) {
    const auto end = now + time;
    for (int bound = 0; bound < 100'000 && view.deadline() <= end; ++bound) {
      now = std::max(now, view.deadline());
      view.tick(now, effects_);
    }
    now = end;
    return take();
  }
  /// Neighbours that joined one after the other, C++ nodes all.
  void fill(const std::vector<std::string>& names) {
    for (const auto& name : names) {
      up_native(name);
      receive(name, Join{});
    }
  }

  MonotonicTime now = MonotonicTime{} + std::chrono::hours(1);
  HyParView view;
  Result<void> joined;

 private:
  Lines take() {
    Lines lines;
    for (const auto& effect : std::exchange(effects_, {})) {
      auto line = std::visit(EffectText{}, effect);
      if (!line.starts_with("hello")) lines.push_back(std::move(line));
    }
    return lines;
  }

  HyParViewEffects effects_;
};

}  // namespace barrel_p2p::overlay::test
