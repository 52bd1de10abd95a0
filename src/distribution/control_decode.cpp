#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "distribution/control.hpp"
#include "distribution/operations.hpp"
#include "term/tags.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

/// Longest atom in bytes: 255 code points of 4 bytes.
constexpr std::size_t atom_bytes_max = 1020;
constexpr std::size_t latin1_bytes_max = 255;
constexpr std::uint32_t old_creation_max = 3;
/// First word of a reference in the form of tag 114.
constexpr std::uint32_t old_reference_word_end = 1U << 18U;

std::string utf8_of_latin1(std::string_view latin1) {
  std::string utf8;
  utf8.reserve(latin1.size() * 2);
  for (const char character : latin1) {
    const auto byte = static_cast<std::uint8_t>(character);
    if (byte < 0x80) {
      utf8.push_back(character);
    } else {
      utf8.push_back(static_cast<char>(0xC0U | byte >> 6U));
      utf8.push_back(static_cast<char>(0x80U | (byte & 0x3FU)));
    }
  }
  return utf8;
}

/// Number of elements of the tuple, operation included; 0 for operations that end the connection.
unsigned arity_of(std::uint32_t op) noexcept {
  using namespace operation;
  switch (op) {
    case link:
    case send:
    case group_leader:
    case send_sender:
    case payload_exit:
    case payload_exit2:
    case alias_send: return 3;
    case operation::exit:
    case reg_send:
    case exit2:
    case send_tt:
    case monitor_p:
    case demonitor_p:
    case send_sender_tt:
    case payload_exit_tt:
    case payload_exit2_tt:
    case payload_monitor_p_exit:
    case alias_send_tt:
    case unlink_id:
    case unlink_id_ack:
    case altact_sig_send: return 4;
    case exit_tt:
    case reg_send_tt:
    case exit2_tt:
    case monitor_p_exit:
    case spawn_reply: return 5;
    case spawn_request:
    case spawn_reply_tt: return 6;
    case spawn_request_tt: return 7;
    default: return 0;  // every other number
  }
}

}  // namespace

/// Reads one control tuple from the front. The first thing that is wrong is kept; after it everything reads as empty.
/// Options are a handful of atoms and numbers. They are decoded before anybody knows whether the rest of the message
/// comes, and a peer can have begun many messages.
constexpr std::size_t spawn_options_bytes_max = 64UL * 1024;

class ControlReader {
 public:
  ControlReader(ControlDecoder& decoder, ByteView bytes) noexcept : decoder_(decoder), bytes_(bytes) {}

  Result<DecodedControl> read();

 private:
  // Bytes.
  bool need(std::size_t count) {
    if (bytes_.size() - at_ >= count) return true;
    bad("the control message is cut short");
    return false;
  }
  std::uint64_t big_endian(std::size_t count) {
    if (!need(count)) return 0;
    std::uint64_t value = 0;
    for (std::size_t left = count; left > 0; --left) value = value << 8U | bytes_[at_++];
    return value;
  }
  std::uint8_t u8() { return static_cast<std::uint8_t>(big_endian(1)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(big_endian(4)); }
  [[nodiscard]] std::uint8_t peek() const noexcept { return at_ < bytes_.size() ? bytes_[at_] : 0; }
  std::string_view text(std::size_t count) {
    if (!need(count)) return {};
    const auto part = as_text(bytes_.subspan(at_, count));
    at_ += count;
    return part;
  }
  void bad(std::string_view what) {
    if (problem_.empty()) problem_ = what;
    at_ = bytes_.size();
  }
  void drop(std::string_view why) {
    if (dropped_.empty()) dropped_ = why;
  }

  // Terms.
  [[nodiscard]] bool atom_next() const noexcept;
  [[nodiscard]] bool pid_next() const noexcept { return peek() == tag::new_pid || peek() == tag::pid; }
  Atom atom(std::string_view what);
  std::optional<std::uint64_t> integer();
  Pid pid(std::string_view what);
  Ref reference(std::string_view what);
  PidOrName pid_or_name(std::string_view what);
  void skip() { static_cast<void>(term()); }
  /// Of at most so many bytes.
  Term term(std::size_t bytes_max = std::numeric_limits<std::size_t>::max());
  unsigned tuple_arity();

  // Ownership.
  Pid peer_pid(std::string_view what);
  void must_be_ours(const Pid& to) {
    if (to.node != decoder_.nodes_.own) bad("its target belongs to a third node");
  }
  void drop_unless_ours(const Pid& to) {
    if (to.node != decoder_.nodes_.own) drop("its target belongs to a third node");
  }

  // Operations.
  Control message(std::uint32_t op);
  Control altact(unsigned arity);
  Control exit(std::uint32_t op);
  Control link_or_monitor(std::uint32_t op);
  Control spawn(std::uint32_t op);
  Control any(std::uint32_t op, unsigned arity);

  ControlDecoder& decoder_;
  ByteView bytes_;
  std::size_t at_ = 0;
  std::string_view problem_;
  std::string_view dropped_;
  bool payload_ = false;
  std::optional<Term> reason_;
};

// Terms.

bool ControlReader::atom_next() const noexcept {
  const auto next = peek();
  return next == tag::small_atom_utf8 || next == tag::atom_utf8 || next == tag::small_atom || next == tag::atom;
}

Atom ControlReader::atom(std::string_view what) {
  if (!atom_next()) {
    bad(what);
    return {};
  }
  const auto kind = u8();
  const bool short_form = kind == tag::small_atom_utf8 || kind == tag::small_atom;
  const bool latin1 = kind == tag::small_atom || kind == tag::atom;
  const auto size = static_cast<std::size_t>(big_endian(short_form ? 1 : 2));
  if (size > (latin1 ? latin1_bytes_max : atom_bytes_max)) {
    bad("an atom is too long");
    return {};
  }
  const auto raw = text(size);
  auto found = latin1 ? decoder_.name(utf8_of_latin1(raw)) : decoder_.name(raw);
  if (!found) {
    bad("an atom is not valid UTF-8 or too long");
    return {};
  }
  return std::move(*found);
}

std::optional<std::uint64_t> ControlReader::integer() {
  constexpr std::size_t digits_max = 8;
  const auto kind = peek();
  if (kind == tag::small_integer) {
    u8();
    return u8();
  }
  if (kind == tag::integer) {
    u8();
    const auto value = static_cast<std::int32_t>(u32());
    if (value < 0) return std::nullopt;
    return static_cast<std::uint64_t>(value);
  }
  if (kind != tag::small_big) return std::nullopt;
  u8();
  const std::size_t count = u8();
  const bool negative = u8() != 0;
  std::uint64_t value = 0;
  bool fits = true;
  for (std::size_t digit = 0; digit < count; ++digit) {
    const std::uint64_t byte = u8();
    if (digit < digits_max) value |= byte << (8U * digit);
    if (digit >= digits_max && byte != 0) fits = false;
  }
  if (!fits || (negative && value != 0)) return std::nullopt;
  return value;
}

Pid ControlReader::pid(std::string_view what) {
  if (!pid_next()) {
    bad(what);
    return {};
  }
  const bool old = u8() == tag::pid;
  Pid value;
  value.node = atom("the node of a pid is not an atom");
  value.id = u32();
  value.serial = u32();
  value.creation = old ? u8() : u32();
  if (old && value.creation > old_creation_max) bad("an old pid has a creation above 3");
  return value;
}

Ref ControlReader::reference(std::string_view what) {
  const auto kind = peek();
  if (kind != tag::newer_reference && kind != tag::new_reference && kind != tag::reference) {
    bad(what);
    return {};
  }
  u8();
  Ref value;
  const std::uint64_t count = kind == tag::reference ? 1 : big_endian(2);
  if (count < 1 || count > Ref::words_max) {
    bad("a reference has 1 to 5 words");
    return {};
  }
  value.count = static_cast<std::uint8_t>(count);
  value.node = atom("the node of a reference is not an atom");
  if (kind == tag::reference) {
    value.words[0] = u32();
    value.creation = u8();
  } else {
    value.creation = kind == tag::newer_reference ? u32() : u8();
    for (std::size_t word = 0; word < value.count; ++word) value.words.at(word) = u32();
  }
  if (kind != tag::newer_reference && value.creation > old_creation_max) bad("an old reference has a creation above 3");
  if (kind == tag::new_reference && value.words[0] >= old_reference_word_end)
    bad("the first word of an old reference is too large");
  return value;
}

PidOrName ControlReader::pid_or_name(std::string_view what) {
  if (atom_next()) return atom(what);
  return pid(what);
}

Term ControlReader::term(std::size_t bytes_max) {
  DecodeOptions options;
  options.limits = peer_limits;
  options.version_byte = false;
  options.allow_trailing = true;
  options.allow_compressed = false;
  auto decoded = decode_term(bytes_.subspan(at_, std::min(bytes_max, bytes_.size() - at_)), options);
  if (!decoded) {
    bad("the control message contains an undecodable term");
    return {};
  }
  at_ += decoded->used;
  return std::move(decoded->term);
}

unsigned ControlReader::tuple_arity() {
  const auto kind = u8();
  if (kind == tag::small_tuple) return u8();
  if (kind == tag::large_tuple) {
    const auto arity = u32();
    if (arity <= std::numeric_limits<std::uint8_t>::max()) return arity;
  }
  bad("the control message is not a tuple of a known size");
  return 0;
}

Pid ControlReader::peer_pid(std::string_view what) {
  auto value = pid(what);
  if (problem_.empty() && value.node != decoder_.nodes_.peer) bad("its sender belongs to a third node");
  return value;
}

// Operations.

Control ControlReader::message(std::uint32_t op) {
  constexpr std::string_view no_pid = "a message goes to something that is not a pid";
  payload_ = true;
  if (op == operation::reg_send || op == operation::reg_send_tt) {
    SendName send;
    send.from = pid("the sender of a named message is not a pid");
    skip();
    send.name = atom("the name of a message is not an atom");
    if (op == operation::reg_send_tt) skip();
    return send;
  }
  if (op == operation::alias_send || op == operation::alias_send_tt) {
    SendAlias send;
    if (pid_next()) {
      send.from = pid(no_pid);
    } else {
      skip();
    }
    send.alias = reference("an alias is not a reference");
    if (op == operation::alias_send_tt) skip();
    if (send.alias.node != decoder_.nodes_.own) drop("its alias belongs to a third node");
    return send;
  }
  Send send;
  const bool with_sender = op == operation::send_sender || op == operation::send_sender_tt;
  if (with_sender && pid_next()) {
    send.from = pid(no_pid);
  } else {
    skip();
  }
  send.to = pid(no_pid);
  if (op == operation::send_tt || op == operation::send_sender_tt) skip();
  drop_unless_ours(send.to);
  return send;
}

/// OTP 28: one operation for messages and exit signals to a pid, a name or an alias.
Control ControlReader::altact(unsigned arity) {
  const auto flags = integer();
  if (!flags) bad("the flags of a signal are not a number");
  const auto bits = flags.value_or(0);
  const bool token = (bits & operation::altact_token) != 0;
  if (problem_.empty() && arity != (token ? 5U : 4U)) bad("the control message has a wrong number of elements");
  payload_ = true;
  Pid from = pid("the sender of a signal is not a pid");
  Control control;
  if ((bits & operation::altact_name) != 0) {
    control = SendName{std::move(from), atom("the name of a message is not an atom")};
  } else if ((bits & operation::altact_alias) != 0) {
    SendAlias send{std::move(from), reference("an alias is not a reference")};
    if (send.alias.node != decoder_.nodes_.own) drop("its alias belongs to a third node");
    control = std::move(send);
  } else {
    Pid to = pid("a signal goes to something that is not a pid");
    drop_unless_ours(to);
    if ((bits & operation::altact_exit) != 0) {
      if (problem_.empty() && from.node != decoder_.nodes_.peer) bad("its sender belongs to a third node");
      control = Exit2{std::move(from), std::move(to)};
    } else {
      control = Send{std::move(from), std::move(to)};
    }
  }
  if (token) skip();
  return control;
}

Control ControlReader::exit(std::uint32_t op) {
  using namespace operation;
  constexpr std::string_view no_pid = "an exit signal is not between two pids";
  const bool link_exit = op == operation::exit || op == exit_tt || op == payload_exit || op == payload_exit_tt;
  const bool reason_inside = op == operation::exit || op == exit_tt || op == exit2 || op == exit2_tt;
  const bool token = op == exit_tt || op == exit2_tt || op == payload_exit_tt || op == payload_exit2_tt;
  Pid from = peer_pid(no_pid);
  Pid to = pid(no_pid);
  if (token) skip();
  if (reason_inside) reason_ = term();
  payload_ = !reason_inside;
  if (link_exit) {
    must_be_ours(to);
    return Exit{std::move(from), std::move(to)};
  }
  drop_unless_ours(to);
  return Exit2{std::move(from), std::move(to)};
}

Control ControlReader::link_or_monitor(std::uint32_t op) {
  constexpr std::string_view no_pid = "a link or monitor is not between processes";
  constexpr std::string_view no_reference = "a monitor has no reference";
  switch (op) {
    case operation::link: {
      Link link{peer_pid(no_pid), {}};
      if (atom_next()) {
        drop("its target is a name");
        skip();
      } else {
        link.to = pid(no_pid);
        must_be_ours(link.to);
      }
      return link;
    }
    case operation::unlink_id:
    case operation::unlink_id_ack: {
      const auto id = integer();
      if (id.value_or(0) == 0) bad("an unlink id is not in 1..2^64-1");
      Pid from = peer_pid(no_pid);
      Pid to = pid(no_pid);
      must_be_ours(to);
      if (op == operation::unlink_id) return Unlink{id.value_or(0), std::move(from), std::move(to)};
      return UnlinkAck{id.value_or(0), std::move(from), std::move(to)};
    }
    case operation::monitor_p:
    case operation::demonitor_p: {
      Pid from = peer_pid(no_pid);
      PidOrName target = pid_or_name(no_pid);
      Ref ref = reference(no_reference);
      const auto* to = std::get_if<Pid>(&target);
      if (op == operation::monitor_p) {
        if (to != nullptr) must_be_ours(*to);
        return Monitor{std::move(from), std::move(target), std::move(ref)};
      }
      if (to != nullptr) drop_unless_ours(*to);
      return Demonitor{std::move(from), std::move(target), std::move(ref)};
    }
    default: {  // monitor_p_exit and payload_monitor_p_exit
      PidOrName from = pid_or_name(no_pid);
      const auto* source = std::get_if<Pid>(&from);
      if (problem_.empty() && source != nullptr && source->node != decoder_.nodes_.peer)
        bad("its sender belongs to a third node");
      Pid to = pid(no_pid);
      Ref ref = reference(no_reference);
      drop_unless_ours(to);
      payload_ = op == operation::payload_monitor_p_exit;
      if (!payload_) reason_ = term();
      return MonitorExit{std::move(from), std::move(to), std::move(ref)};
    }
  }
}

Control ControlReader::spawn(std::uint32_t op) {
  if (op == operation::spawn_request || op == operation::spawn_request_tt) {
    SpawnRequest spawn;
    spawn.request = reference("a spawn request has no reference");
    spawn.from = peer_pid("the requester of a spawn is not a pid");
    spawn.group_leader = pid("a group leader is not a pid");
    if (problem_.empty() && tuple_arity() != 3) bad("a spawn request names no function");
    spawn.module = atom("the module of a spawn request is not an atom");
    spawn.function = atom("the function of a spawn request is not an atom");
    const auto arity = integer();
    if (!arity || *arity > std::numeric_limits<std::uint8_t>::max())
      bad("the arity of a spawn request is not in 0..255");
    spawn.arity = static_cast<std::uint8_t>(arity.value_or(0));
    spawn.options = term(spawn_options_bytes_max);
    if (op == operation::spawn_request_tt) skip();
    payload_ = true;
    return spawn;
  }
  SpawnReply reply;
  reply.request = reference("a spawn reply has no reference");
  reply.to = pid("a spawn reply does not go to a pid");
  const auto flags = integer();
  if (!flags || *flags > std::numeric_limits<std::uint32_t>::max()) bad("the flags of a spawn reply are not a number");
  reply.flags = static_cast<std::uint32_t>(flags.value_or(0));
  reply.result = pid_or_name("the result of a spawn is neither a pid nor an atom");
  const auto* spawned = std::get_if<Pid>(&reply.result);
  if (problem_.empty() && spawned != nullptr && spawned->node != decoder_.nodes_.peer)
    bad("the spawned process belongs to a third node");
  if (op == operation::spawn_reply_tt) skip();
  drop_unless_ours(reply.to);
  return reply;
}

Control ControlReader::any(std::uint32_t op, unsigned arity) {
  using namespace operation;
  switch (op) {
    case send:
    case send_tt:
    case reg_send:
    case reg_send_tt:
    case send_sender:
    case send_sender_tt:
    case alias_send:
    case alias_send_tt: return message(op);
    case altact_sig_send: return altact(arity);
    case operation::exit:
    case exit_tt:
    case exit2:
    case exit2_tt:
    case payload_exit:
    case payload_exit_tt:
    case payload_exit2:
    case payload_exit2_tt: return exit(op);
    case spawn_request:
    case spawn_request_tt:
    case spawn_reply:
    case spawn_reply_tt: return spawn(op);
    case group_leader: {
      GroupLeader leader{pid("a group leader is not a pid"), pid("a group leader is not for a pid")};
      drop_unless_ours(leader.to);
      return leader;
    }
    default: return link_or_monitor(op);  // all others that have an arity
  }
}

Result<DecodedControl> ControlReader::read() {
  DecodedControl decoded;
  const auto arity = tuple_arity();
  if (problem_.empty() && arity == 0) bad("the control message is an empty tuple");
  const auto op = integer();
  if (!op) bad("the operation of a control message is not a number");
  decoded.operation =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(op.value_or(0), std::numeric_limits<std::uint32_t>::max()));
  const auto expected = arity_of(decoded.operation);
  if (problem_.empty() && expected == 0) bad("the operation is unknown or obsolete");
  const bool optional_token = decoded.operation == operation::altact_sig_send && arity == expected + 1;
  if (problem_.empty() && arity != expected && !optional_token)
    bad("the control message has a wrong number of elements");
  if (problem_.empty()) decoded.control = any(decoded.operation, arity);
  if (!problem_.empty()) {
    const std::string number = op ? " (operation " + std::to_string(*op) + ")" : std::string{};
    return fail(Errc::malformed_term,
                std::string(operation_name(decoded.operation)) + number + ": " + std::string(problem_));
  }
  if (!dropped_.empty()) decoded.control.reset();
  decoded.dropped = dropped_;
  decoded.payload_follows = payload_;
  decoded.reason = std::move(reason_);
  decoded.used = at_;
  return decoded;
}

// ControlDecoder.

ControlDecoder::ControlDecoder(ChannelNodes nodes) : nodes_(std::move(nodes)) {}

Result<Atom> ControlDecoder::name(std::string_view utf8) {
  if (utf8 == nodes_.peer.text()) return nodes_.peer;
  if (utf8 == nodes_.own.text()) return nodes_.own;
  if (utf8.empty()) return Atom();
  const auto first = static_cast<std::uint8_t>(utf8.front());
  const auto middle = static_cast<std::uint8_t>(utf8[utf8.size() / 2]);
  const auto last = static_cast<std::uint8_t>(utf8.back());
  Atom& remembered = names_.at((utf8.size() * 7U + first * 31U + middle * 17U + last) % names_max);
  if (remembered.text() == utf8) return remembered;
  auto made = Atom::make(utf8);
  if (made) remembered = *made;
  return made;
}

Result<DecodedControl> ControlDecoder::decode(ByteView bytes) {
  // No term is the beginning of another one.
  const std::size_t size = last_bytes_.size();
  if (size > 0 && size <= bytes.size() && std::memcmp(last_bytes_.data(), bytes.data(), size) == 0) return last_;
  auto decoded = ControlReader(*this, bytes).read();
  constexpr std::size_t size_max = 512;  // a peer may put anything into elements that nobody looks at
  const bool is_send = decoded && decoded->control && std::holds_alternative<Send>(*decoded->control);
  if (is_send && decoded->used <= size_max) {
    last_bytes_.assign(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(decoded->used));
    last_ = *decoded;
  }
  return decoded;
}

namespace {

DecodeOptions of_payload(const DecodeLimits& limits) {
  DecodeOptions options;
  options.limits = limits;
  options.version_byte = false;
  options.allow_trailing = true;
  options.allow_compressed = false;
  return options;
}

}  // namespace

Result<Term> decode_payload_in_parts(const Payload& payload) {
  const auto* encoded = std::get_if<EncodedTerm>(&payload);
  if (encoded == nullptr) return decode_payload(payload);
  auto decoded = decode_term(encoded->bytes, of_payload(peer_limits));
  if (!decoded) return std::unexpected(decoded.error());
  return std::move(decoded->term);
}

Result<Term> decode_payload(const Payload& payload, const DecodeLimits& limits) {
  if (const auto* term = std::get_if<Term>(&payload)) return *term;
  const auto* encoded = std::get_if<EncodedTerm>(&payload);
  if (encoded == nullptr) return Term();
  const DecodeOptions options = of_payload(limits);
  auto decoded = decode_term(encoded->bytes, encoded->owner, options);
  if (!decoded) return std::unexpected(decoded.error());
  // Binaries of the term would keep what a peer put behind it, too.
  const bool mostly_others = decoded->used < encoded->bytes.size() / 2;
  if (mostly_others) decoded = decode_term(encoded->bytes, options);
  if (!decoded) return std::unexpected(decoded.error());
  return std::move(decoded->term);
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
