#include <array>
#include <string>

#include "distribution/control.hpp"
#include "distribution/etf_writer.hpp"
#include "distribution/operations.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

template <class... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};

constexpr std::array<std::string_view, 38> operation_names{"",
                                                           "LINK",
                                                           "SEND",
                                                           "EXIT",
                                                           "UNLINK",
                                                           "NODE_LINK",
                                                           "REG_SEND",
                                                           "GROUP_LEADER",
                                                           "EXIT2",
                                                           "",
                                                           "",
                                                           "",
                                                           "SEND_TT",
                                                           "EXIT_TT",
                                                           "",
                                                           "",
                                                           "REG_SEND_TT",
                                                           "",
                                                           "EXIT2_TT",
                                                           "MONITOR_P",
                                                           "DEMONITOR_P",
                                                           "MONITOR_P_EXIT",
                                                           "SEND_SENDER",
                                                           "SEND_SENDER_TT",
                                                           "PAYLOAD_EXIT",
                                                           "PAYLOAD_EXIT_TT",
                                                           "PAYLOAD_EXIT2",
                                                           "PAYLOAD_EXIT2_TT",
                                                           "PAYLOAD_MONITOR_P_EXIT",
                                                           "SPAWN_REQUEST",
                                                           "SPAWN_REQUEST_TT",
                                                           "SPAWN_REPLY",
                                                           "SPAWN_REPLY_TT",
                                                           "ALIAS_SEND",
                                                           "ALIAS_SEND_TT",
                                                           "UNLINK_ID",
                                                           "UNLINK_ID_ACK",
                                                           "ALTACT_SIG_SEND"};
static_assert(operation_names.size() == operation::altact_sig_send + 1U);

void write(EtfWriter& out, const Pid& pid) { out.pid(pid); }
void write(EtfWriter& out, const PidOrName& value) {
  if (const auto* pid = std::get_if<Pid>(&value)) return out.pid(*pid);
  out.atom(std::get<Atom>(value));
}

bool has(Flags effective, Flags flag) { return (effective & flag) != 0; }

/// The control tuple of one message. `reason_inside`: the tuple ends with the reason.
class TupleWriter {
 public:
  TupleWriter(Bytes& out, std::uint8_t operation, bool reason_inside) noexcept
      : bytes_(out), out_(out), operation_(operation), extra_(reason_inside ? 1 : 0) {}

  void operator()(const Link& link) { pair(link.from, link.to); }
  void operator()(const Exit& exit) { pair(exit.from, exit.to); }
  void operator()(const Exit2& exit) { pair(exit.from, exit.to); }
  void operator()(const GroupLeader& leader) { pair(leader.from, leader.to); }
  void operator()(const Unlink& unlink) { unlink_with_id(unlink.id, unlink.from, unlink.to); }
  void operator()(const UnlinkAck& ack) { unlink_with_id(ack.id, ack.from, ack.to); }
  void operator()(const Send& send) {
    if (operation_ == operation::send_sender) return pair(*send.from, send.to);
    begin(3);
    out_.atom(std::string_view{});
    out_.pid(send.to);
  }
  void operator()(const SendName& send) {
    begin(4);
    out_.pid(send.from);
    out_.atom(std::string_view{});
    out_.atom(send.name);
  }
  void operator()(const SendAlias& send) {
    begin(3);
    out_.pid(send.from);
    out_.reference(send.alias);
  }
  void operator()(const Monitor& monitor) { monitor_tuple(monitor.from, monitor.target, monitor.ref); }
  void operator()(const Demonitor& monitor) { monitor_tuple(monitor.from, monitor.target, monitor.ref); }
  void operator()(const MonitorExit& down) { monitor_tuple(down.from, down.to, down.ref); }
  void operator()(const SpawnRequest& spawn) {
    begin(6);
    out_.reference(spawn.request);
    out_.pid(spawn.from);
    out_.pid(spawn.group_leader);
    out_.tuple(3);
    out_.atom(spawn.module);
    out_.atom(spawn.function);
    out_.integer(spawn.arity);
    encode_term_to(spawn.options, bytes_, false);
  }
  void operator()(const SpawnReply& reply) {
    begin(5);
    out_.reference(reply.request);
    out_.pid(reply.to);
    out_.integer(reply.flags);
    write(out_, reply.result);
  }

 private:
  void begin(unsigned arity) {
    out_.tuple(static_cast<std::uint8_t>(arity + extra_));
    out_.integer(operation_);
  }
  void pair(const Pid& from, const Pid& to) {
    begin(3);
    out_.pid(from);
    out_.pid(to);
  }
  void unlink_with_id(std::uint64_t id, const Pid& from, const Pid& to) {
    begin(4);
    out_.integer(id);
    out_.pid(from);
    out_.pid(to);
  }
  /// One of the two is a pid, the other one a pid or a name.
  template <class From, class To>
  void monitor_tuple(const From& from, const To& to, const Ref& reference) {
    begin(4);
    write(out_, from);
    write(out_, to);
    out_.reference(reference);
  }

  Bytes& bytes_;
  EtfWriter out_;
  const std::uint8_t operation_;
  const unsigned extra_;
};

// What must not be sent.

std::unexpected<Error> refuse(std::uint8_t operation, std::string_view why) {
  return fail(Errc::invalid_argument,
              std::string(operation_name(operation)) + " must not be sent: " + std::string(why));
}

bool valid(const Ref& reference) { return reference.count >= 1 && reference.count <= Ref::words_max; }

/// Looks at one control message on behalf of `check_outgoing`; returns what is wrong, or nothing.
class OutgoingCheck {
 public:
  OutgoingCheck(const ChannelNodes& nodes, Flags effective) noexcept : nodes_(nodes), effective_(effective) {}

  std::string_view operator()(const Link& link) const { return between(link.from, link.to); }
  std::string_view operator()(const Unlink& unlink) const { return with_id(unlink.id, unlink.from, unlink.to); }
  std::string_view operator()(const UnlinkAck& ack) const { return with_id(ack.id, ack.from, ack.to); }
  std::string_view operator()(const Send& send) const { return ours_or_none(send.from, to_peer(send.to)); }
  std::string_view operator()(const SendName& send) const { return ours(send.from); }
  std::string_view operator()(const SendAlias& send) const {
    if (!has(effective_, flag::alias)) return "ALIAS is not in force, the peer would drop it silently";
    if (!valid(send.alias)) return bad_reference;
    if (send.alias.node != nodes_.peer) return foreign_target;
    return ours(send.from);
  }
  std::string_view operator()(const Exit& exit) const { return to_incarnation(exit.from, exit.to); }
  std::string_view operator()(const Exit2& exit) const { return between(exit.from, exit.to); }
  std::string_view operator()(const Monitor& monitor) const {
    return monitoring(monitor.from, monitor.target, monitor.ref);
  }
  std::string_view operator()(const Demonitor& monitor) const {
    return monitoring(monitor.from, monitor.target, monitor.ref);
  }
  std::string_view operator()(const MonitorExit& down) const {
    if (!has_monitors(effective_)) return no_monitors;
    if (!valid(down.ref)) return bad_reference;
    const auto* pid = std::get_if<Pid>(&down.from);
    return pid != nullptr ? between(*pid, down.to) : to_peer(down.to);
  }
  std::string_view operator()(const GroupLeader& leader) const { return to_peer(leader.to); }
  std::string_view operator()(const SpawnRequest& spawn) const {
    if (!has(effective_, flag::spawn)) return "SPAWN is not in force";
    if (!valid(spawn.request)) return bad_reference;
    for (const auto& option : spawn.options.elements()) {
      if (option.is_tagged("reply", 2) || option.is_tagged("reply_tag", 2))
        return "reply options stay with the requester";
    }
    return ours(spawn.from);
  }
  std::string_view operator()(const SpawnReply& reply) const {
    if (!valid(reply.request)) return bad_reference;
    const auto* pid = std::get_if<Pid>(&reply.result);
    return pid != nullptr ? between(*pid, reply.to) : to_peer(reply.to);
  }

 private:
  static constexpr std::string_view bad_reference = "a reference has 1 to 5 words";
  static constexpr std::string_view foreign_target = "its target is not of the peer";
  static constexpr std::string_view foreign_source = "its sender is not of this node";
  static constexpr std::string_view no_monitors = "DIST_MONITOR and DIST_MONITOR_NAME are not in force";

  std::string_view ours(const Pid& pid) const { return pid.node == nodes_.own ? std::string_view{} : foreign_source; }
  std::string_view to_peer(const Pid& pid) const {
    return pid.node == nodes_.peer ? std::string_view{} : foreign_target;
  }
  std::string_view between(const Pid& from, const Pid& to) const {
    const auto problem = ours(from);
    return problem.empty() ? to_peer(to) : problem;
  }
  std::string_view ours_or_none(const std::optional<Pid>& from, std::string_view problem) const {
    return from && problem.empty() ? ours(*from) : problem;
  }
  /// An Erlang node closes the connection when these reach a pid of an earlier incarnation.
  std::string_view to_incarnation(const Pid& from, const Pid& to) const {
    if (to.creation != nodes_.peer_creation) return "its target belongs to an earlier incarnation of the peer";
    return between(from, to);
  }
  std::string_view with_id(std::uint64_t id, const Pid& from, const Pid& to) const {
    if (id == 0) return "unlink ids start with 1";
    return to_incarnation(from, to);
  }
  std::string_view monitoring(const Pid& from, const PidOrName& target, const Ref& reference) const {
    if (!has_monitors(effective_)) return no_monitors;
    if (!valid(reference)) return bad_reference;
    const auto* pid = std::get_if<Pid>(&target);
    return pid != nullptr ? between(from, *pid) : ours(from);
  }

  const ChannelNodes& nodes_;
  const Flags effective_;
};

}  // namespace

std::string_view operation_name(std::uint32_t operation) noexcept {
  if (operation >= operation_names.size() || operation_names[operation].empty()) return "unknown operation";
  return operation_names[operation];
}

std::uint8_t operation_of(const Control& control, Flags effective) noexcept {
  const bool payload = has(effective, flag::exit_payload);
  return std::visit(
      Overloaded{
          [](const Link&) { return operation::link; }, [](const Unlink&) { return operation::unlink_id; },
          [](const UnlinkAck&) { return operation::unlink_id_ack; },
          [&](const Send& send) {
            return send.from && has(effective, flag::send_sender) ? operation::send_sender : operation::send;
          },
          [](const SendName&) { return operation::reg_send; }, [](const SendAlias&) { return operation::alias_send; },
          [&](const Exit&) { return payload ? operation::payload_exit : operation::exit; },
          [&](const Exit2&) { return payload ? operation::payload_exit2 : operation::exit2; },
          [](const Monitor&) { return operation::monitor_p; }, [](const Demonitor&) { return operation::demonitor_p; },
          [&](const MonitorExit&) { return payload ? operation::payload_monitor_p_exit : operation::monitor_p_exit; },
          [](const GroupLeader&) { return operation::group_leader; },
          [](const SpawnRequest&) { return operation::spawn_request; },
          [](const SpawnReply&) { return operation::spawn_reply; }},
      control);
}

bool needs_payload(const Control& control) noexcept {
  return std::visit(Overloaded{[](const Link&) { return false; }, [](const Unlink&) { return false; },
                               [](const UnlinkAck&) { return false; }, [](const Send&) { return true; },
                               [](const SendName&) { return true; }, [](const SendAlias&) { return true; },
                               [](const Exit&) { return true; }, [](const Exit2&) { return true; },
                               [](const Monitor&) { return false; }, [](const Demonitor&) { return false; },
                               [](const MonitorExit&) { return true; }, [](const GroupLeader&) { return false; },
                               [](const SpawnRequest&) { return true; }, [](const SpawnReply&) { return false; }},
                    control);
}

Result<void> check_outgoing(const Signal& signal, const ChannelNodes& nodes, Flags effective) {
  const auto operation = operation_of(signal.control, effective);
  if (needs_payload(signal.control) && std::holds_alternative<std::monostate>(signal.payload)) {
    return refuse(operation, "its payload is missing");
  }
  const auto problem = std::visit(OutgoingCheck(nodes, effective), signal.control);
  if (!problem.empty()) return refuse(operation, problem);
  return {};
}

bool encode_control_to(const Signal& signal, Flags effective, Bytes& out) {
  const auto operation = operation_of(signal.control, effective);
  const bool payload = needs_payload(signal.control);
  const bool reason_inside =
      operation == operation::exit || operation == operation::exit2 || operation == operation::monitor_p_exit;
  std::visit(TupleWriter(out, operation, reason_inside), signal.control);
  if (reason_inside) encode_payload_to(signal.payload, false, out);
  return payload && !reason_inside;
}

void encode_payload_to(const Payload& payload, bool version_byte, Bytes& out) {
  if (const auto* encoded = std::get_if<EncodedTerm>(&payload)) {
    if (version_byte) out.push_back(tag::version);
    out.insert(out.end(), encoded->bytes.begin(), encoded->bytes.end());
    return;
  }
  const auto* term = std::get_if<Term>(&payload);
  encode_term_to(term != nullptr ? *term : Term(), out, version_byte);
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
