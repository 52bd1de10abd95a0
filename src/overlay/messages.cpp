#include "overlay/messages.hpp"

#include <barrel_p2p/node_name.hpp>
#include <optional>
#include <string>
#include <utility>

#include "overlay/plumtree.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace overlay {
namespace {

constexpr std::string_view hyparview_tag = "$barrel_p2p_hyparview";
constexpr std::string_view plumtree_tag = "$barrel_p2p_plumtree";

/// An Erlang node promotes no record that failed this often, and a promotion that succeeds ends its membership process
/// (protocol document 03, sections 4.6 and 11, rule 8). So every record that we send has it.
constexpr std::int64_t never_promote = 1'000'000;

// Encoding.

Term record(const Atom& node, const Term& address, const Term& port, bool own) {
  static const Term undefined = Atom("undefined");
  return Term::tuple({Atom("peer"), node, address, port, undefined, own, Atom(own ? "high" : "low"), undefined,
                      never_promote, undefined});
}

Term record_of(const Atom& node, const OwnRecord& own) {
  static const Term undefined = Atom("undefined");
  if (node == own.node) return record(node, own.address, own.port, true);
  return record(node, undefined, undefined, false);
}

Term records_of(const std::vector<Atom>& nodes, const OwnRecord& own) {
  std::vector<Term> records;
  records.reserve(nodes.size());
  for (const auto& node : nodes) records.push_back(record_of(node, own));
  return Term::list(std::move(records));
}

struct HyParViewEncoder {
  const OwnRecord& own;

  [[nodiscard]] Term self() const { return record_of(own.node, own); }
  Term operator()(const Join& /*message*/) const { return Term::tuple({Atom("join"), self()}); }
  Term operator()(const ForwardJoin& message) const {
    return Term::tuple({Atom("forward_join"), record_of(message.joiner, own), message.ttl, self()});
  }
  Term operator()(const Disconnect& /*message*/) const { return Term::tuple({Atom("disconnect"), self()}); }
  Term operator()(const Neighbor& message) const {
    return Term::tuple({Atom("neighbor"), Atom(message.high ? "high" : "low"), self()});
  }
  Term operator()(const NeighborReply& message) const {
    return Term::tuple({Atom("neighbor_reply"), message.accepted, self()});
  }
  Term operator()(const Shuffle& message) const {
    return Term::tuple({Atom("shuffle"), message.ttl, records_of(message.sample, own), self()});
  }
  Term operator()(const ShuffleReply& message) const {
    return Term::tuple({Atom("shuffle_reply"), records_of(message.sample, own), self()});
  }
  Term operator()(const Hello& message) const { return Term::tuple({Atom("hello"), message.version, Term()}); }
  Term operator()(const Seek& message) const {
    return Term::tuple({Atom("seek"), message.ttl, record_of(message.origin, own), self()});
  }
  Term operator()(const Wander& message) const {
    return Term::tuple({Atom("wander"), message.ttl, record_of(message.origin, own), self()});
  }
  Term operator()(const Leave& message) const {
    return Term::tuple({Atom("leave"), message.ttl, record_of(message.node, own), self()});
  }
  Term operator()(const Exchange& message) const {
    return Term::tuple({Atom("exchange"), record_of(message.instead, own), self()});
  }
  Term operator()(const ExchangeReply& message) const {
    std::vector<Term> partner;
    if (message.partner) partner.push_back(record_of(*message.partner, own));
    return Term::tuple({Atom("exchange_reply"), message.accepted, Term::list(std::move(partner)), self()});
  }
  Term operator()(const Refer& message) const {
    return Term::tuple({Atom("refer"), record_of(message.to, own), self()});
  }
};

struct PlumtreeEncoder {
  const Atom& own;
  bool native;

  Term operator()(const Gossip& message) const {
    if (!native) return Term::tuple({Atom("gossip"), message.id, message.tag, message.payload, own});
    return Term::tuple({Atom("gossip"), message.id, message.tag, message.payload, own, message.round});
  }
  Term operator()(const IHave& message) const {
    if (!native) return Term::tuple({Atom("ihave"), message.announcements.at(0).id, own});
    std::vector<Term> pairs;
    pairs.reserve(message.announcements.size());
    for (const auto& announcement : message.announcements) {
      pairs.push_back(Term::tuple({announcement.id, announcement.round}));
    }
    return Term::tuple({Atom("ihave"), Term::list(std::move(pairs)), own, Atom("batch")});
  }
  Term operator()(const Graft& message) const {
    if (!native) return Term::tuple({Atom("graft"), message.ids.at(0), own});
    return Term::tuple({Atom("graft"), Term::list(message.ids), own, Atom("batch")});
  }
  Term operator()(const Prune& /*message*/) const { return Term::tuple({Atom("prune"), own}); }
};

// Decoding.

std::unexpected<Error> unknown() { return fail(Errc::type_mismatch, "no such message"); }

/// The node of a record, if it is one.
std::optional<Atom> node_of(const Term& record) {
  constexpr std::size_t arity = 10;
  if (!record.is_tagged("peer", arity)) return std::nullopt;
  auto node = record[1].as_atom();
  if (!node || !NodeName::parse(node->text())) return std::nullopt;
  return node;
}

Result<Atom> some_node(const Term& record) {
  if (const auto node = node_of(record)) return *node;
  return fail(Errc::type_mismatch, "not a peer record");
}

Result<void> from_sender(const Term& record, const Atom& from) {
  const auto node = node_of(record);
  if (!node) return fail(Errc::type_mismatch, "not a peer record");
  if (*node != from) return fail(Errc::type_mismatch, "a record of another node in place of the sender's");
  return {};
}

Result<void> sender_is(const Term& sender, const Atom& from) {
  const auto node = sender.as_atom();
  if (!node || *node != from) return fail(Errc::type_mismatch, "in the name of another node");
  return {};
}

Result<std::uint32_t> number(const Term& term, std::uint32_t max) {
  const auto value = term.as_uint64();
  if (!value) return fail(Errc::type_mismatch, "not a number of hops");
  if (*value > max) return fail(Errc::limit_exceeded, "too many hops");
  return static_cast<std::uint32_t>(*value);
}

Result<std::vector<Atom>> nodes_of(const Term& list) {
  if (!list.is_proper_list()) return fail(Errc::type_mismatch, "not a list of peer records");
  if (list.size() > sample_max) return fail(Errc::limit_exceeded, "too many peer records");
  std::vector<Atom> nodes;
  nodes.reserve(list.size());
  for (const auto& element : list.elements()) {
    // The sender passes on what others gave it: one bad record does not spoil the rest.
    if (auto node = node_of(element)) nodes.push_back(std::move(*node));
  }
  return nodes;
}

Result<MessageId> id_of(const Term& term) {
  if (encoded_size(term) > message_id_bytes_max) return fail(Errc::limit_exceeded, "the message id is too long");
  return term;
}

template <class Value, class Use>
Result<HyParViewMessage> with(Result<Value> value, const Term& sender, const Atom& from, Use use) {
  if (!value) return std::unexpected(value.error());
  if (auto checked = from_sender(sender, from); !checked) return std::unexpected(checked.error());
  return HyParViewMessage(use(std::move(*value)));
}

Result<HyParViewMessage> decode_pair(std::string_view name, const Term& message, const Atom& from) {
  if (name != "join" && name != "disconnect") return unknown();
  if (auto checked = from_sender(message[1], from); !checked) return std::unexpected(checked.error());
  if (name == "join") return Join{};
  return Disconnect{};
}

Result<HyParViewMessage> decode_triple(std::string_view name, const Term& message, const Atom& from) {
  if (name == "hello") {
    auto version = number(message[1], UINT32_MAX);
    if (!version) return std::unexpected(version.error());
    if (!message[2].is_proper_list() || message[2].size() > capabilities_max) return unknown();
    return Hello{*version};
  }
  if (name == "neighbor") {
    const bool high = message[1].is_atom("high");
    if (!high && !message[1].is_atom("low")) return unknown();
    if (auto checked = from_sender(message[2], from); !checked) return std::unexpected(checked.error());
    return Neighbor{high};
  }
  if (name == "neighbor_reply") {
    const auto accepted = message[1].as_bool();
    if (!accepted) return unknown();
    if (auto checked = from_sender(message[2], from); !checked) return std::unexpected(checked.error());
    return NeighborReply{*accepted};
  }
  if (name == "shuffle_reply") {
    return with(nodes_of(message[1]), message[2], from,
                [](std::vector<Atom> nodes) { return ShuffleReply{std::move(nodes)}; });
  }
  if (name == "exchange") {
    return with(some_node(message[1]), message[2], from, [](Atom node) { return Exchange{std::move(node)}; });
  }
  if (name == "refer") {
    return with(some_node(message[1]), message[2], from, [](Atom node) { return Refer{std::move(node)}; });
  }
  return unknown();
}

/// `{Name, Ttl, NodeRecord, OwnRecord}`
template <class Message>
Result<HyParViewMessage> decode_walk(const Term& message, const Atom& from) {
  auto ttl = number(message[1], ttl_max);
  if (!ttl) return std::unexpected(ttl.error());
  return with(some_node(message[2]), message[3], from, [&](Atom node) { return Message{std::move(node), *ttl}; });
}

Result<HyParViewMessage> decode_quadruple(std::string_view name, const Term& message, const Atom& from) {
  const Term& sender = message[3];
  if (name == "forward_join") {
    auto ttl = number(message[2], ttl_max);
    if (!ttl) return std::unexpected(ttl.error());
    return with(some_node(message[1]), sender, from, [&](Atom node) { return ForwardJoin{std::move(node), *ttl}; });
  }
  if (name == "shuffle") {
    auto ttl = number(message[1], ttl_max);
    if (!ttl) return std::unexpected(ttl.error());
    return with(nodes_of(message[2]), sender, from,
                [&](std::vector<Atom> nodes) { return Shuffle{*ttl, std::move(nodes)}; });
  }
  if (name == "seek") return decode_walk<Seek>(message, from);
  if (name == "wander") return decode_walk<Wander>(message, from);
  if (name == "leave") return decode_walk<Leave>(message, from);
  if (name == "exchange_reply") {
    const auto accepted = message[1].as_bool();
    if (!accepted) return unknown();
    return with(nodes_of(message[2]), sender, from, [&](const std::vector<Atom>& nodes) {
      return ExchangeReply{*accepted, nodes.empty() ? std::nullopt : std::optional(nodes.front())};
    });
  }
  return unknown();
}

Result<PlumtreeMessage> decode_gossip(const Term& message, const Atom& from) {
  Gossip gossip;
  if (auto checked = sender_is(message[4], from); !checked) return std::unexpected(checked.error());
  auto id = id_of(message[1]);
  if (!id) return std::unexpected(id.error());
  if (message.size() > 5) {
    auto round = number(message[5], UINT32_MAX);
    if (!round) return std::unexpected(round.error());
    gossip.round = *round;
  }
  gossip.id = std::move(*id);
  gossip.tag = message[2];
  gossip.payload = message[3];
  return gossip;
}

Result<PlumtreeMessage> decode_announcements(const Term& list) {
  if (!list.is_proper_list()) return fail(Errc::type_mismatch, "not a list of announcements");
  if (list.size() > ids_max) return fail(Errc::limit_exceeded, "too many announcements");
  IHave ihave;
  ihave.announcements.reserve(list.size());
  for (const auto& element : list.elements()) {
    if (!element.is_tuple(2)) return fail(Errc::type_mismatch, "not an announcement");
    auto id = id_of(element[0]);
    if (!id) return std::unexpected(id.error());
    const auto round = number(element[1], UINT32_MAX);
    if (!round) return std::unexpected(round.error());
    ihave.announcements.push_back({std::move(*id), *round});
  }
  return ihave;
}

Result<PlumtreeMessage> decode_grafts(const Term& list) {
  if (!list.is_proper_list()) return fail(Errc::type_mismatch, "not a list of message ids");
  if (list.size() > ids_max) return fail(Errc::limit_exceeded, "too many message ids");
  Graft graft;
  graft.ids.reserve(list.size());
  for (const auto& element : list.elements()) {
    auto id = id_of(element);
    if (!id) return std::unexpected(id.error());
    graft.ids.push_back(std::move(*id));
  }
  return graft;
}

Result<PlumtreeMessage> decode_one(std::string_view name, const Term& message, const Atom& from) {
  if (auto checked = sender_is(message[2], from); !checked) return std::unexpected(checked.error());
  if (message.size() == 4) {
    if (!message[3].is_atom("batch")) return fail(Errc::type_mismatch, "no such message");
    return name == "ihave" ? decode_announcements(message[1]) : decode_grafts(message[1]);
  }
  auto id = id_of(message[1]);
  if (!id) return std::unexpected(id.error());
  if (name == "ihave") return IHave{{{std::move(*id), 0}}};
  return Graft{{std::move(*id)}};
}

}  // namespace

std::string_view receiver_name(const Message& message) noexcept {
  return std::holds_alternative<HyParViewMessage>(message) ? bridge_name : plumtree_name;
}

Term encode_message(const Message& message, const OwnRecord& own, bool native) {
  if (const auto* hyparview = std::get_if<HyParViewMessage>(&message)) {
    return Term::tuple({Atom(hyparview_tag), own.node, std::visit(HyParViewEncoder{own}, *hyparview)});
  }
  return Term::tuple(
      {Atom(plumtree_tag), std::visit(PlumtreeEncoder{own.node, native}, std::get<PlumtreeMessage>(message))});
}

Result<HyParViewMessage> decode_hyparview(const Term& term, const Atom& from) {
  if (!term.is_tagged(hyparview_tag, 3) || !term[2].is_tuple() || term[2].size() < 2) return unknown();
  const Term& message = term[2];
  const auto name = message[0].as_atom();
  if (!name) return unknown();
  switch (message.size()) {
    case 2: return decode_pair(name->text(), message, from);
    case 3: return decode_triple(name->text(), message, from);
    case 4: return decode_quadruple(name->text(), message, from);
    default: return unknown();
  }
}

Result<PlumtreeMessage> decode_plumtree(const Term& term, const Atom& from) {
  const auto no_message = fail(Errc::type_mismatch, "no such message");
  if (!term.is_tagged(plumtree_tag, 2) || !term[1].is_tuple() || term[1].size() < 2) return no_message;
  const Term& message = term[1];
  const auto name = message[0].as_atom();
  if (!name) return no_message;
  const std::size_t arity = message.size();
  if (*name == "gossip" && (arity == 5 || arity == 6)) return decode_gossip(message, from);
  if ((*name == "ihave" || *name == "graft") && (arity == 3 || arity == 4)) {
    return decode_one(name->text(), message, from);
  }
  if (*name == "prune" && arity == 2) {
    if (auto checked = sender_is(message[1], from); !checked) return std::unexpected(checked.error());
    return Prune{};
  }
  return no_message;
}

Result<void> check_size(const PlumtreeMessage& message, const GossipLimits& limits) {
  const auto* gossip = std::get_if<Gossip>(&message);
  if (gossip == nullptr) return {};
  const std::size_t most = is_library_tag(gossip->tag) ? limits.library : limits.program;
  const std::size_t bytes = encoded_size(gossip->tag, false) + encoded_size(gossip->payload, false);
  if (bytes <= most) return {};
  return fail(Errc::limit_exceeded,
              "a broadcast of " + std::to_string(bytes) + " bytes; at most " + std::to_string(most) + " are taken");
}

}  // namespace overlay
}  // namespace v0
}  // namespace barrel_p2p
