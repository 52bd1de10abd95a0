// The part of the public API that is about the cluster.
#include <barrel_p2p/node.hpp>
#include <utility>

#include "node/awaiting.hpp"
#include "node/exports.hpp"
#include "node/parts.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace {

using node::no_member;

std::vector<NodeName> names(const std::vector<Atom>& nodes) {
  std::vector<NodeName> list;
  list.reserve(nodes.size());
  for (const auto& node : nodes) list.emplace_back(node.text());
  return list;
}

}  // namespace

Result<void> Node::join(const NodeName& contact) {
  if (!parts_->overlay) return no_member();
  return node::join(*parts_->system, *parts_->overlay, contact.atom());
}

void Node::leave() {
  if (parts_->overlay) parts_->overlay->leave();
}

std::vector<NodeName> Node::active_view() const {
  return parts_->overlay ? names(parts_->overlay->views()->active) : std::vector<NodeName>();
}

std::vector<NodeName> Node::passive_view() const {
  return parts_->overlay ? names(parts_->overlay->views()->passive) : std::vector<NodeName>();
}

Result<void> Node::joined(std::size_t members_min, Duration limit) {
  if (!parts_->overlay) return no_member();
  const auto allowed = parts_->may_wait();
  auto known = parts_->overlay->joined(members_min, allowed ? limit : Duration(0));
  if (!allowed && !known && known.error() == Errc::timeout) return allowed;
  return known;
}

void Node::subscribe(const Pid& process) {
  if (parts_->overlay) parts_->overlay->event_pids().add(process);
}

void Node::unsubscribe(const Pid& process) {
  if (parts_->overlay) parts_->overlay->event_pids().remove(process);
}

Subscription Node::subscribe(std::function<void(const MembershipEvent&)> callback) {
  return parts_->overlay ? parts_->overlay->subscribe(std::move(callback)) : Subscription();
}

Result<void> Node::broadcast(Term tag, Term payload) {
  return parts_->overlay ? parts_->overlay->broadcast(std::move(tag), std::move(payload)) : no_member();
}

Subscription Node::subscribe_broadcast(Term tag, std::function<void(const Term& payload)> callback) {
  if (!parts_->overlay) return {};
  return parts_->overlay->broadcasts().add(
      [tag = std::move(tag), callback = std::move(callback)](const node::Broadcast& message) {
        if (message.tag == tag) callback(message.payload);
      });
}

void Node::subscribe_broadcast(const Pid& process) {
  if (parts_->overlay) parts_->overlay->broadcast_pids().add(process);
}

void Node::unsubscribe_broadcast(const Pid& process) {
  if (parts_->overlay) parts_->overlay->broadcast_pids().remove(process);
}

void Node::block_peers(const std::vector<NodeName>& nodes) {
  std::vector<Atom> atoms;
  atoms.reserve(nodes.size());
  for (const auto& node : nodes) atoms.push_back(node.atom());
  if (parts_->overlay) parts_->overlay->block(std::move(atoms));
}

void Node::unblock_peers() { block_peers({}); }

OverlayStatistics Node::overlay_statistics() const {
  return parts_->overlay ? parts_->overlay->statistics() : OverlayStatistics();
}

}  // namespace v0
}  // namespace barrel_p2p
