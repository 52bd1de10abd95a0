// Control messages against what Erlang nodes sent to each other, and against what they answered to odd ones.
#include <gnutls/crypto.h>
#include <gtest/gtest.h>

#include <barrel_p2p/term.hpp>
#include <boost/json.hpp>
#include <map>
#include <optional>
#include <ostream>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "distribution/encode.hpp"
#include "distribution/ends.hpp"
#include "distribution/fragments.hpp"
#include "distribution/operations.hpp"
#include "distribution/stream_choice.hpp"
#include "distribution/streams/tags.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p {

static void PrintTo(const Term& term, std::ostream* out) { *out << to_text(term); }

namespace distribution {
namespace {

namespace json = boost::json;
using test::frame_of;
using test::from_hex;
using test::ours;
using test::read_vectors;
using test::sender;
using test::text_of;
using test::theirs;
using test::to_hex;

std::string optional_text(const json::value& row, std::string_view key) {
  const auto* value = row.as_object().if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string{};
}

// Text of the vectors as terms.

Ref reference_of(const json::value& container) {
  Ref reference{Atom(text_of(container, "node")), container.at("creation").to_number<std::uint32_t>(), 0, {}};
  for (const auto& word : container.at("words").as_array()) {
    reference.words.at(reference.count++) = word.to_number<std::uint32_t>();
  }
  return reference;
}

Pid pid_of(const json::value& container) {
  return {Atom(text_of(container, "node")), container.at("id").to_number<std::uint32_t>(),
          container.at("serial").to_number<std::uint32_t>(), container.at("creation").to_number<std::uint32_t>()};
}

/// `text` with every match of `pattern` replaced by what `with` makes of it.
template <class With>
std::string replaced(const std::string& text, const std::regex& pattern, With with) {
  std::string out;
  auto from = text.begin();
  for (std::sregex_iterator found(text.begin(), text.end(), pattern), end; found != end; ++found) {
    out.append(from, (*found)[0].first);
    out += with(*found);
    from = (*found)[0].second;
  }
  return out.append(from, text.end());
}

/// The short identifiers of the node that wrote the vector, spelt out with the help of the row's containers.
std::optional<Term> stated_term(const json::value& row, std::string_view key) {
  const std::string text = optional_text(row, key);
  if (text.empty()) return std::nullopt;
  std::map<std::string, std::string> whole;
  if (const auto* containers = row.as_object().if_contains("containers"); containers != nullptr) {
    for (const auto& container : containers->as_array()) {
      whole[text_of(container, "text")] = text_of(container, "kind") == "pid" ? to_text(Term(pid_of(container)))
                                                                              : to_text(Term(reference_of(container)));
    }
  }
  static const std::regex identifier(R"((#Ref)?<[0-9]+(\.[0-9]+)+>)");
  const auto spelt = replaced(text, identifier, [&](const std::smatch& match) {
    const auto found = whole.find(match.str());
    return found == whole.end() ? match.str() : found->second;
  });
  const auto parsed = parse_term(spelt);
  return parsed ? std::optional(*parsed) : std::nullopt;
}

/// `#PID<sa1@127.0.0.1.58.0/creation 4>` and `#REF<sa1@127.0.0.1/creation 4/000356138f4800019d2245e7>` (words in hex).
std::optional<Term> transport_term(const std::string& text) {
  static const std::regex pid(R"(#PID<([^/>]+)/creation ([0-9]+)>)");
  static const std::regex reference(R"(#REF<([^/>]+)/creation ([0-9]+)/([0-9a-f]+)>)");
  auto spelt =
      replaced(text, pid, [](const std::smatch& match) { return "<" + match.str(1) + "/" + match.str(2) + ">"; });
  spelt = replaced(spelt, reference, [](const std::smatch& match) {
    Ref ref{Atom(match.str(1)), static_cast<std::uint32_t>(std::stoul(match.str(2))), 0, {}};
    const std::string words = match.str(3);
    constexpr std::size_t word_digits = 8;
    for (std::size_t at = 0; at < words.size(); at += word_digits) {
      ref.words.at(ref.count++) = static_cast<std::uint32_t>(std::stoul(words.substr(at, word_digits), nullptr, 16));
    }
    return to_text(Term(ref));
  });
  const auto parsed = parse_term(spelt);
  return parsed ? std::optional(*parsed) : std::nullopt;
}

// Control tuples as terms.

Term tuple_of(const Signal& signal, Flags effective) {
  Bytes bytes;
  encode_control_to(signal, effective, bytes);
  const auto decoded = decode_term(bytes, {.version_byte = false});
  return decoded ? decoded->term : Term("undecodable");
}

/// The operation without trace token, and where the token stands; the operation itself when it has none.
std::pair<std::uint8_t, std::optional<std::size_t>> without_token(std::uint8_t op) {
  switch (op) {
    case operation::send_tt: return {operation::send, 3};
    case operation::exit_tt: return {operation::exit, 3};
    case operation::reg_send_tt: return {operation::reg_send, 4};
    case operation::exit2_tt: return {operation::exit2, 3};
    case operation::send_sender_tt: return {operation::send_sender, 3};
    case operation::payload_exit_tt: return {operation::payload_exit, 3};
    case operation::payload_exit2_tt: return {operation::payload_exit2, 3};
    case operation::spawn_request_tt: return {operation::spawn_request, 6};
    case operation::spawn_reply_tt: return {operation::spawn_reply, 5};
    case operation::alias_send_tt: return {operation::alias_send, 3};
    default: return {op, std::nullopt};
  }
}

std::uint8_t operation_of_tuple(const Term& tuple) { return static_cast<std::uint8_t>(*tuple[0].as_uint64()); }

bool has_token(const Term& tuple) { return without_token(operation_of_tuple(tuple)).second.has_value(); }

Term stripped(const Term& tuple) {
  const auto [op, token] = without_token(operation_of_tuple(tuple));
  std::vector<Term> elements(tuple.elements().begin(), tuple.elements().end());
  elements[0] = op;
  if (token) elements.erase(elements.begin() + static_cast<std::ptrdiff_t>(*token));
  return Term::tuple(std::move(elements));
}

/// One message of a vector file, as its receiver sees it.
struct Message {
  std::string name;
  Flags flags = 0;
  ChannelNodes nodes;
  Bytes payload;  ///< Of the frame.
  std::optional<Term> control;
  std::optional<Term> term;
};

Bytes joined(const OutgoingMessage& message) {
  Bytes all;
  for (const auto& buffer : message.buffers) all.insert(all.end(), buffer.view.begin(), buffer.view.end());
  EXPECT_EQ(all.size(), message.bytes);
  return all;
}

/// Frames as they are on the wire, without their lengths.
std::vector<Bytes> payloads_of(const OutgoingMessage& message) {
  std::vector<FramePayload> frames;
  FrameReader reader(1UL << 30U);
  const auto fed = reader.feed(joined(message), frames);
  EXPECT_TRUE(fed.has_value());
  EXPECT_EQ(reader.buffered_bytes(), 0U);
  std::vector<Bytes> payloads;
  for (const auto& frame : frames) payloads.emplace_back(frame.bytes.begin(), frame.bytes.end());
  return payloads;
}

void expect_as_stated(const Message& message, const Signal& signal) {
  if (message.control) {
    const Term& stated = *message.control;
    EXPECT_EQ(tuple_of(signal, message.flags), stripped(stated)) << message.name;
    EXPECT_EQ(operation_of(signal.control, message.flags), operation_of_tuple(stripped(stated))) << message.name;
    if (!has_token(stated)) {
      const auto sent = payloads_of(encode_message(signal, message.flags, stream_key(signal.control), 1));
      ASSERT_EQ(sent.size(), 1U) << message.name;
      EXPECT_EQ(to_hex(sent[0]), to_hex(message.payload)) << message.name;
    }
  }
  const auto payload = decode_payload(signal.payload);
  ASSERT_TRUE(payload.has_value()) << message.name << ": " << payload.error().message();
  if (message.term) {
    EXPECT_EQ(*payload, *message.term) << message.name;
  }
}

/// Reads a whole message and compares it with what the vector states, then writes it again.
void check(const Message& message) {
  MessageReader reader(message.nodes, message.flags);
  auto read = reader.read(0, frame_of(message.payload));
  ASSERT_TRUE(read.has_value()) << message.name << ": " << read.error().message();
  ASSERT_TRUE(read->has_value()) << message.name << ": " << reader.dropped_because();
  expect_as_stated(message, **read);

  // The sender was allowed to send it.
  const ChannelNodes sender{message.nodes.peer, message.nodes.own, message.nodes.peer_creation,
                            message.nodes.own_creation};
  const auto allowed = check_outgoing(**read, sender, message.flags);
  EXPECT_TRUE(allowed.has_value()) << message.name << ": " << (allowed ? "" : allowed.error().message());
}

/// Nodes of `shA -> shB`; creations from the identifiers of the row.
ChannelNodes nodes_of(const json::value& row) {
  const std::string direction = text_of(row, "direction");
  const auto arrow = direction.find(" -> ");
  ChannelNodes nodes;
  nodes.peer = Atom(direction.substr(0, arrow) + "@127.0.0.1");
  nodes.own = Atom(direction.substr(arrow + 4) + "@127.0.0.1");
  if (const auto* containers = row.as_object().if_contains("containers"); containers != nullptr) {
    for (const auto& container : containers->as_array()) {
      const auto creation = container.at("creation").to_number<std::uint32_t>();
      if (nodes.own == text_of(container, "node")) nodes.own_creation = creation;
      if (nodes.peer == text_of(container, "node")) nodes.peer_creation = creation;
    }
  }
  return nodes;
}

Flags flags_of(const json::value& row, Flags otherwise) {
  const std::string text = optional_text(row, "negotiated_flags");
  return text.empty() ? otherwise : std::stoull(text, nullptr, 16);
}

/// Number of messages compared, and of payloads among them.
std::pair<std::size_t, std::size_t> check_file(const std::string& file, Flags flags) {
  std::size_t controls = 0;
  std::size_t payloads = 0;
  const auto vectors = read_vectors(file);
  for (const auto& row : vectors.as_array()) {
    if (optional_text(row, "frame_hex").empty()) continue;
    const Message message{
        text_of(row, "name"),        flags_of(row, flags),       nodes_of(row), from_hex(text_of(row, "frame_hex")),
        stated_term(row, "control"), stated_term(row, "payload")};
    EXPECT_TRUE(message.control.has_value()) << message.name;
    EXPECT_TRUE(message.term || optional_text(row, "payload").empty() ||
                optional_text(row, "payload").find("#Fun<") != std::string::npos)
        << message.name;
    check(message);
    ++controls;
    if (message.term) ++payloads;
  }
  return {controls, payloads};
}

using Counts = std::pair<std::size_t, std::size_t>;

TEST(ControlVectors, messages_between_nodes_with_all_flags) {
  EXPECT_EQ(check_file("dist_ctrl_quic_flags.json", offered_flags), Counts(426, 253));
}

TEST(ControlVectors, messages_of_a_live_node) {
  EXPECT_EQ(check_file("dist_ctrl_quic_live.json", offered_flags), Counts(77, 49));
}

TEST(ControlVectors, messages_without_fragments_pass_through) {
  EXPECT_EQ(check_file("dist_ctrl_pass_through.json", offered_flags & ~flag::fragments), Counts(426, 253));
}

TEST(ControlVectors, messages_with_single_flags_withdrawn_use_the_older_operations) {
  EXPECT_EQ(check_file("dist_ctrl_reduced_flags.json", 0), Counts(152, 120));
}

TEST(ControlVectors, messages_of_global_pass_as_all_others) {
  EXPECT_EQ(check_file("dist_ctrl_global.json", offered_flags), Counts(106, 49));
  EXPECT_EQ(check_file("dist_ctrl_global_partition.json", offered_flags), Counts(81, 61));
}

// Large frames: the vectors have their beginning, size and SHA-256; the rest repeats with a period of 10 bytes.

std::string sha256_of(ByteView bytes) {
  Bytes digest(32);
  EXPECT_EQ(gnutls_hash_fast(GNUTLS_DIG_SHA256, bytes.data(), bytes.size(), digest.data()), 0);
  return to_hex(digest);
}

std::optional<Bytes> whole_frame(const json::value& row, const std::string& prefix_key, const std::string& size_key,
                                 const std::string& hash_key) {
  constexpr std::size_t period = 10;
  Bytes bytes = from_hex(text_of(row, prefix_key));
  const auto size = row.at(size_key).to_number<std::size_t>();
  bytes.reserve(size);
  while (bytes.size() < size) bytes.push_back(bytes[bytes.size() - period]);
  // The pass-through rows of the transport vectors have no hash; their large ones repeat one letter.
  const std::string hash = optional_text(row, hash_key);
  if (!hash.empty() && sha256_of(bytes) != hash) return std::nullopt;
  return bytes;
}

/// Feeds the frames of one message and encodes it again: the same frames.
void check_fragments(const std::string& name, const std::vector<Bytes>& frames, const ChannelNodes& nodes,
                     const std::optional<Term>& control, std::uint64_t sequence) {
  MessageReader reader(nodes, offered_flags);
  std::optional<Signal> signal;
  for (const auto& frame : frames) {
    ASSERT_FALSE(signal.has_value()) << name;
    auto read = reader.read(8, frame_of(frame));
    ASSERT_TRUE(read.has_value()) << name << ": " << read.error().message();
    signal = std::move(*read);
  }
  ASSERT_TRUE(signal.has_value()) << name;
  EXPECT_EQ(reader.fragments().open_bytes(), 0U);
  ASSERT_TRUE(control.has_value()) << name;
  EXPECT_EQ(tuple_of(*signal, offered_flags), *control) << name;
  const auto payload = decode_payload(signal->payload);
  ASSERT_TRUE(payload.has_value()) << name << ": " << payload.error().message();
  EXPECT_GT(encoded_size(*payload), fragment_bytes) << name;
  signal->payload = *payload;
  EXPECT_EQ(payloads_of(encode_message(*signal, offered_flags, Pid{}, sequence)), frames) << name;
}

TEST(ControlVectors, fragments_of_erlang_nodes_join_and_are_cut_in_the_same_way) {
  std::size_t messages = 0;
  for (const auto* file : {"dist_ctrl_quic_flags.json", "dist_ctrl_quic_live.json"}) {
    const auto vectors = read_vectors(file);
    std::vector<Bytes> frames;
    const json::value* first = nullptr;
    for (const auto& row : vectors.as_array()) {
      if (!text_of(row, "kind").starts_with("fragment_")) continue;
      if (text_of(row, "kind") == "fragment_first") {
        frames.clear();
        first = &row;
      }
      auto frame = whole_frame(row, "frame_prefix_hex", "frame_size", "frame_sha256");
      ASSERT_TRUE(frame.has_value()) << text_of(row, "name");
      frames.push_back(std::move(*frame));
      if (row.at("fragment_id").as_int64() != 1) continue;
      ASSERT_NE(first, nullptr);
      check_fragments(text_of(*first, "name"), frames, nodes_of(*first), stated_term(*first, "control"),
                      first->at("sequence_id").to_number<std::uint64_t>());
      ++messages;
    }
  }
  EXPECT_EQ(messages, 5U);
}

TEST(ControlVectors, large_messages_in_one_frame) {
  std::size_t messages = 0;
  for (const auto* file : {"dist_ctrl_quic_flags.json", "dist_ctrl_pass_through.json"}) {
    const auto vectors = read_vectors(file);
    for (const auto& row : vectors.as_array()) {
      const auto kind = text_of(row, "kind");
      if (row.as_object().contains("frame_hex") || kind.starts_with("fragment_")) continue;
      const Flags flags = kind == "header" ? offered_flags : offered_flags & ~flag::fragments;
      auto frame = whole_frame(row, "frame_prefix_hex", "frame_size", "frame_sha256");
      ASSERT_TRUE(frame.has_value()) << text_of(row, "name");
      check({text_of(row, "name"), flags, nodes_of(row), std::move(*frame), stated_term(row, "control"), std::nullopt});
      ++messages;
    }
  }
  EXPECT_EQ(messages, 5U);
}

TEST(ControlVectors, exits_in_fragments_without_exit_payload_are_refused_at_the_first_fragment) {
  const auto vectors = read_vectors("dist_ctrl_reduced_flags.json");
  std::size_t seen = 0;
  for (const auto& row : vectors.as_array()) {
    if (text_of(row, "kind") != "fragment_first") continue;
    auto frame = whole_frame(row, "frame_prefix_hex", "frame_size", "frame_sha256");
    ASSERT_TRUE(frame.has_value());
    MessageReader reader(nodes_of(row), flags_of(row, 0));
    const auto read = reader.read(0, frame_of(*frame));
    ASSERT_FALSE(read.has_value());
    EXPECT_EQ(read.error(), Errc::malformed_term);
    ++seen;
  }
  EXPECT_EQ(seen, 1U);
}

// Messages of the transport vectors.

/// Splits `{control, C, message, M}`; a tuple that starts otherwise is the control tuple alone.
void state(Message& message, const Term& decoded) {
  if (decoded.is_tagged("control", 4)) {
    message.control = decoded[1];
    message.term = decoded[3];
  } else {
    message.control = decoded;
  }
}

/// The node at the other end: that of an identifier in the tuple which is not of `sender`, or a name that fits none.
Atom receiver_of(const Term& tuple, const Atom& sender) {
  for (const auto& element : tuple.elements()) {
    if (const auto* pid = element.as_pid(); pid != nullptr && pid->node != sender) return pid->node;
    if (const auto* ref = element.as_reference(); ref != nullptr && ref->node != sender) return ref->node;
  }
  return "other@127.0.0.1";
}

std::uint32_t creation_of(const Term& tuple, const Atom& node) {
  for (const auto& element : tuple.elements()) {
    if (const auto* pid = element.as_pid(); pid != nullptr && pid->node == node) return pid->creation;
  }
  return 0;
}

std::optional<Message> transport_message(const json::value& row) {
  Message message;
  message.name = text_of(row, "name");
  const std::string peer_flags = optional_text(row, "peer_flags");
  message.flags =
      peer_flags.empty() ? offered_flags : effective_flags(offered_flags, std::stoull(peer_flags, nullptr, 16));
  auto bytes = whole_frame(row, "etf_hex", "frame_len", "sha256");
  EXPECT_TRUE(bytes.has_value()) << message.name;
  if (!bytes) return std::nullopt;
  message.payload.assign(bytes->begin() + frame_header_bytes, bytes->end());
  std::string decoded = optional_text(row, "decoded");
  if (decoded.empty()) return message;
  static const std::regex cut(R"(,message,\{big,<<[0-9]+ bytes>>\}\}$)");
  decoded = std::regex_replace(decoded, cut, ",message,cut}");
  const auto term = transport_term(decoded);
  EXPECT_TRUE(term.has_value()) << decoded;
  if (!term) return std::nullopt;
  state(message, *term);
  if (message.term && message.term->is_atom("cut")) message.term.reset();
  message.nodes.peer = optional_text(row, "sender") == "acceptor sa2" ? "sa2@127.0.0.1" : "sa1@127.0.0.1";
  message.nodes.own = receiver_of(*message.control, message.nodes.peer);
  message.nodes.own_creation = creation_of(*message.control, message.nodes.own);
  return message;
}

TEST(ControlVectors, messages_of_the_transport_vectors) {
  std::size_t whole = 0;
  std::size_t in_fragments = 0;
  for (const auto* file : {"transport-dist-messages.json", "transport-dist-messages-passthrough.json"}) {
    const auto vectors = read_vectors(file);
    std::optional<Message> first;
    std::vector<Bytes> frames;
    for (const auto& row : vectors.as_array()) {
      auto message = transport_message(row);
      ASSERT_TRUE(message.has_value());
      const std::string form = text_of(row, "form");
      if (!form.starts_with("fragment_")) {
        check(*message);
        ++whole;
        continue;
      }
      if (form == "fragment_first") frames.clear();
      frames.push_back(message->payload);
      if (form == "fragment_first") first = std::move(message);
      if (row.at("frag_id").as_int64() != 1) continue;
      check_fragments(first->name, frames, first->nodes, first->control, row.at("seq").to_number<std::uint64_t>());
      ++in_fragments;
    }
  }
  EXPECT_EQ(whole, 120U);
  EXPECT_EQ(in_fragments, 2U);
}

TEST(ControlVectors, messages_are_read_from_whichever_stream_an_erlang_node_chose) {
  const Atom initiator("sa1@127.0.0.1");
  const Atom acceptor("sa2@127.0.0.1");
  constexpr std::uint32_t creation = 4;
  MessageReader from_initiator({acceptor, initiator, creation, creation}, offered_flags);
  MessageReader from_acceptor({initiator, acceptor, creation, creation}, offered_flags);
  std::size_t messages = 0;
  const auto vectors = read_vectors("transport-stream-routing.json");
  for (const auto& row : vectors.as_array()) {
    std::set<quic::StreamId> pool;
    for (const auto& id : row.at("pool").as_array()) pool.insert(id.as_int64());
    const auto stream = row.at("stream").as_int64();
    const bool dialled = stream % 2 == 0;
    std::set<quic::StreamId> ours;
    for (std::uint32_t index = 0; index < data_stream_count; ++index)
      ours.insert(dialled ? 4 + 4 * index : 1 + 4 * index);
    EXPECT_EQ(pool, ours);
    EXPECT_TRUE(pool.contains(stream));
    EXPECT_FALSE(is_user_stream(stream));
    const Bytes bytes = from_hex(text_of(row, "etf_hex"));
    const auto read =
        (dialled ? from_initiator : from_acceptor).read(static_cast<std::uint64_t>(stream), frame_of(bytes));
    ASSERT_TRUE(read && *read) << to_hex(bytes);
    const auto sent = payloads_of(encode_message(**read, offered_flags, stream_key((*read)->control), 1));
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(to_hex(sent[0]), to_hex(bytes));
    ++messages;
  }
  EXPECT_EQ(messages, 38U);
}

// Reactions of an Erlang node to what a hand-made node sent.

struct Reaction {
  bool refused = false;
  std::size_t dropped = 0;
  std::vector<Signal> signals;
};

Reaction react(const json::value& row, std::string_view direction) {
  const bool to_otp = direction == "to_otp";
  const Atom otp(text_of(row, "peer_node"));
  const Atom made(text_of(row, "our_node"));
  const auto otp_creation = row.at("peer_creation").to_number<std::uint32_t>();
  const auto made_creation = row.at("our_creation").to_number<std::uint32_t>();
  const Flags flags = std::stoull(text_of(row, "flags"), nullptr, 16);
  MessageReader reader(to_otp ? ChannelNodes{otp, made, otp_creation, made_creation}
                              : ChannelNodes{made, otp, made_creation, otp_creation},
                       flags);
  Reaction reaction;
  for (const auto& event : row.at("exchange").as_array()) {
    if (optional_text(event, "dir") != direction || optional_text(event, "frame_hex").empty()) continue;
    auto read = reader.read(0, frame_of(from_hex(text_of(event, "frame_hex"))));
    if (read && !*read) continue;
    if (!read || !decode_payload((*read)->payload)) {
      reaction.refused = true;
      break;
    }
    reaction.signals.push_back(std::move(**read));
  }
  reaction.dropped = reader.dropped();
  return reaction;
}

/// What an Erlang node closes the connection for and the decoder takes: the creation of a target is the business of
/// who holds the processes; operation 37 is that of OTP 28; in the others the bytes were good.
const std::set<std::string>& refused_later() {
  static const std::set<std::string> names{"unlink_id_old_creation_pid", "unlink_id_ack_old_creation_pid",
                                           "exit_old_creation_pid",      "bad_unknown_op_37",
                                           "otp_erpc_down_before_reply", "otp_ping_noproc",
                                           "otp_disconnect_node"};
  return names;
}

TEST(ControlReactions, what_an_erlang_node_closes_for_is_refused_and_what_it_tolerates_is_taken) {
  std::size_t refused = 0;
  std::size_t taken = 0;
  std::size_t later = 0;
  const auto vectors = read_vectors("dist_ctrl_reactions.json");
  for (const auto& row : vectors.as_array()) {
    const std::string name = text_of(row, "name");
    const auto outcome = text_of(row, "connection");
    const bool closed = outcome == "closed_by_peer" || outcome == "peer_vm_crashed";
    // Agreed on between those two; we never agree.
    if (name == "atom_cache_new_then_cached") {
      EXPECT_TRUE(react(row, "to_otp").refused);
      continue;
    }
    const auto reaction = react(row, "to_otp");
    if (refused_later().contains(name)) {
      EXPECT_TRUE(closed) << name;
      EXPECT_FALSE(reaction.refused) << name;
      ++later;
      continue;
    }
    EXPECT_EQ(reaction.refused, closed) << name;
    ++(closed ? refused : taken);
    // An Erlang node answers a link to a name in the name's name; we never link to names.
    EXPECT_EQ(react(row, "from_otp").refused, name == "link_to_atom") << name;
  }
  EXPECT_EQ(later, refused_later().size());
  EXPECT_EQ(refused, 48U);
  EXPECT_EQ(taken, 136U);
}

TEST(ControlReactions, what_means_nothing_is_dropped) {
  std::set<std::string> dropped;
  const auto vectors = read_vectors("dist_ctrl_reactions.json");
  for (const auto& row : vectors.as_array()) {
    if (react(row, "to_otp").dropped > 0) dropped.insert(text_of(row, "name"));
    EXPECT_EQ(react(row, "from_otp").dropped, 0U) << text_of(row, "name");
  }
  EXPECT_EQ(dropped, (std::set<std::string>{"alias_send_foreign_ref", "link_to_atom", "bad_send_to_third_node"}));
}

TEST(ControlReactions, old_operations_mean_the_same_as_new_ones) {
  const auto vectors = read_vectors("dist_ctrl_reactions.json");
  std::map<std::string, std::uint8_t> last;
  for (const auto& row : vectors.as_array()) {
    const auto reaction = react(row, "to_otp");
    if (!reaction.signals.empty())
      last[text_of(row, "name")] = operation_of(reaction.signals.back().control, offered_flags);
  }
  EXPECT_EQ(last.at("exit_old_3_linked"), operation::payload_exit);
  EXPECT_EQ(last.at("exit2_old_8"), operation::payload_exit2);
  EXPECT_EQ(last.at("down_old_21_unknown_ref"), operation::payload_monitor_p_exit);
  EXPECT_EQ(last.at("send_old_2_alive"), operation::send);
  EXPECT_EQ(last.at("send_from_not_a_pid"), operation::send);
}

// What must not be sent, and what a decoder sees beyond the vectors.

Pid third() { return {"c@h", 3, 0, 9}; }
/// A process of an earlier incarnation of the peer.
Pid stale() { return {"b@h", 2, 0, 7}; }
Ref our_ref() { return {"a@h", 4, 3, {1, 2, 3}}; }
Ref their_ref() { return {"b@h", 8, 3, {1, 2, 3}}; }

/// `ok`, or why the signal may not go; `payload` is added where one is needed.
std::string verdict(const Control& control, Flags flags = offered_flags) {
  Signal signal{control, {}};
  if (needs_payload(control)) signal.payload = Term("payload");
  const auto allowed = check_outgoing(signal, sender(), flags);
  if (allowed) return "ok";
  EXPECT_EQ(allowed.error(), Errc::invalid_argument);
  EXPECT_TRUE(allowed.error().context().starts_with(std::string(operation_name(operation_of(control, flags)))));
  return allowed.error().context();
}

void expect_refused(const Control& control, std::string_view why, Flags flags = offered_flags) {
  EXPECT_NE(verdict(control, flags).find(why), std::string::npos) << verdict(control, flags) << " instead of " << why;
}

TEST(Outgoing, what_an_erlang_node_takes_may_be_sent) {
  const std::vector<Control> good{Link{ours(), theirs()},
                                  Link{ours(), stale()},
                                  Unlink{1, ours(), theirs()},
                                  UnlinkAck{~std::uint64_t{0}, ours(), theirs()},
                                  Send{std::nullopt, theirs()},
                                  Send{ours(), stale()},
                                  SendName{ours(), "x"},
                                  SendAlias{ours(), their_ref()},
                                  Exit{ours(), theirs()},
                                  Exit2{ours(), stale()},
                                  Monitor{ours(), theirs(), our_ref()},
                                  Monitor{ours(), Atom("x"), our_ref()},
                                  Demonitor{ours(), stale(), our_ref()},
                                  MonitorExit{ours(), stale(), their_ref()},
                                  MonitorExit{Atom("x"), theirs(), their_ref()},
                                  GroupLeader{third(), theirs()},
                                  SpawnRequest{our_ref(), ours(), third(), "m", "f", 0, Term::list({Atom("link")})},
                                  SpawnReply{their_ref(), theirs(), 0, Atom("badopt")},
                                  SpawnReply{their_ref(), theirs(), 3, ours()}};
  for (std::size_t at = 0; at < good.size(); ++at) EXPECT_EQ(verdict(good[at]), "ok") << at;
}

TEST(Outgoing, pids_of_third_nodes_and_old_incarnations_are_refused) {
  constexpr std::string_view target = "its target is not of the peer";
  constexpr std::string_view source = "its sender is not of this node";
  constexpr std::string_view earlier = "an earlier incarnation";
  for (const Pid& from : {third(), theirs()}) {
    expect_refused(Link{from, theirs()}, source);
    expect_refused(Unlink{1, from, theirs()}, source);
    expect_refused(UnlinkAck{1, from, theirs()}, source);
    expect_refused(Send{from, theirs()}, source);
    expect_refused(SendName{from, "x"}, source);
    expect_refused(SendAlias{from, their_ref()}, source);
    expect_refused(Exit{from, theirs()}, source);
    expect_refused(Exit2{from, theirs()}, source);
    expect_refused(Monitor{from, theirs(), our_ref()}, source);
    expect_refused(Monitor{from, Atom("x"), our_ref()}, source);
    expect_refused(Demonitor{from, theirs(), our_ref()}, source);
    expect_refused(MonitorExit{from, theirs(), their_ref()}, source);
    expect_refused(SpawnRequest{our_ref(), from, ours(), "m", "f", 0, Term()}, source);
    expect_refused(SpawnReply{their_ref(), theirs(), 0, from}, source);
  }
  Pid elsewhere = third();
  elsewhere.creation = theirs().creation;  // as far as creations tell
  for (const Pid& to : {elsewhere, ours()}) {
    expect_refused(Link{ours(), to}, target);
    expect_refused(Send{ours(), to}, target);
    expect_refused(Send{std::nullopt, to}, target);
    expect_refused(Exit2{ours(), to}, target);
    expect_refused(Monitor{ours(), to, our_ref()}, target);
    expect_refused(Demonitor{ours(), to, our_ref()}, target);
    expect_refused(MonitorExit{ours(), to, their_ref()}, target);
    expect_refused(MonitorExit{Atom("x"), to, their_ref()}, target);
    expect_refused(GroupLeader{ours(), to}, target);
    expect_refused(SpawnReply{their_ref(), to, 0, Atom("x")}, target);
  }
  expect_refused(Exit{ours(), elsewhere}, target);
  expect_refused(Unlink{1, ours(), elsewhere}, target);
  expect_refused(UnlinkAck{1, ours(), elsewhere}, target);
  expect_refused(SendAlias{ours(), our_ref()}, target);
  expect_refused(Exit{ours(), stale()}, earlier);
  expect_refused(Unlink{1, ours(), stale()}, earlier);
  expect_refused(UnlinkAck{1, ours(), stale()}, earlier);
}

TEST(Outgoing, numbers_flags_and_payloads_are_checked) {
  expect_refused(Unlink{0, ours(), theirs()}, "unlink ids start with 1");
  expect_refused(UnlinkAck{0, ours(), theirs()}, "unlink ids start with 1");
  for (const std::uint8_t count : {std::uint8_t{0}, std::uint8_t{6}}) {
    constexpr std::string_view words = "1 to 5 words";
    const Ref ref{"a@h", 4, count, {}};
    const Ref alias{"b@h", 8, count, {}};
    expect_refused(Monitor{ours(), theirs(), ref}, words);
    expect_refused(Demonitor{ours(), theirs(), ref}, words);
    expect_refused(MonitorExit{ours(), theirs(), alias}, words);
    expect_refused(SendAlias{ours(), alias}, words);
    expect_refused(SpawnRequest{ref, ours(), ours(), "m", "f", 0, Term()}, words);
    expect_refused(SpawnReply{alias, theirs(), 0, Atom("x")}, words);
  }
  for (const Flags lacking : {flag::dist_monitor, flag::dist_monitor_name}) {
    const Flags flags = offered_flags & ~lacking;
    expect_refused(Monitor{ours(), theirs(), our_ref()}, "not in force", flags);
    expect_refused(Demonitor{ours(), theirs(), our_ref()}, "not in force", flags);
    expect_refused(MonitorExit{ours(), theirs(), their_ref()}, "not in force", flags);
  }
  expect_refused(SendAlias{ours(), their_ref()}, "not in force", offered_flags & ~flag::alias);
  const auto spawn = [](const Term& options) { return SpawnRequest{our_ref(), ours(), ours(), "m", "f", 0, options}; };
  expect_refused(spawn(Term()), "not in force", offered_flags & ~flag::spawn);
  for (const auto* option : {"reply", "reply_tag"}) {
    expect_refused(spawn(Term::list({Atom("link"), Term::tuple({Atom(option), Atom("x")})})),
                   "stay with the requester");
  }
  for (const Control& control : std::vector<Control>{
           Send{ours(), theirs()}, SendName{ours(), "x"}, Exit{ours(), theirs()}, SendAlias{ours(), their_ref()},
           Exit2{ours(), theirs()}, MonitorExit{ours(), theirs(), their_ref()}, spawn(Term())}) {
    EXPECT_FALSE(check_outgoing({control, {}}, sender(), offered_flags).has_value());
  }
}

/// The bytes of a control tuple, as the receiver of `sender()` decodes them.
Result<DecodedControl> decode(const Term& tuple) {
  ControlDecoder decoder({"b@h", "a@h", 8, 4});
  return decoder.decode(encode_term(tuple, {.version_byte = false}));
}

TEST(ControlDecoder, every_cut_is_malformed) {
  const auto vectors = read_vectors("dist_ctrl_quic_flags.json");
  std::set<std::uint64_t> seen;
  for (const auto& row : vectors.as_array()) {
    const auto tuple = stated_term(row, "control");
    if (!tuple || !seen.insert(*(*tuple)[0].as_uint64()).second) continue;
    const Bytes bytes = encode_term(*tuple, {.version_byte = false});
    ControlDecoder decoder(nodes_of(row));
    const auto whole = decoder.decode(bytes);
    ASSERT_TRUE(whole.has_value()) << to_text(*tuple);
    EXPECT_EQ(whole->used, bytes.size());
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const auto cut = decoder.decode(ByteView(bytes).first(size));
      ASSERT_FALSE(cut.has_value()) << to_text(*tuple) << " " << size;
      EXPECT_EQ(cut.error(), Errc::malformed_term);
    }
  }
  EXPECT_EQ(seen.size(), 20U);
}

TEST(ControlDecoder, every_operation_has_its_number_of_elements) {
  const auto vectors = read_vectors("dist_ctrl_quic_flags.json");
  for (const auto& row : vectors.as_array()) {
    const auto tuple = stated_term(row, "control");
    if (!tuple) continue;
    std::vector<Term> elements(tuple->elements().begin(), tuple->elements().end());
    ControlDecoder decoder(nodes_of(row));
    elements.emplace_back(Term());
    EXPECT_FALSE(decoder.decode(encode_term(Term::tuple(elements), {.version_byte = false})).has_value());
    elements.resize(elements.size() - 2);
    EXPECT_FALSE(decoder.decode(encode_term(Term::tuple(elements), {.version_byte = false})).has_value());
  }
}

TEST(ControlDecoder, old_forms_of_atoms_pids_and_references_are_read) {
  ControlDecoder decoder({"b@h", "a@h", 8, 4});
  const std::string a = "640003614068";                       // ATOM_EXT 'a@h'
  const std::string b = "7303624068";                         // SMALL_ATOM_EXT 'b@h'
  const std::string old_pid = "67" + a + "0000000100000000";  // and a creation of one byte
  const std::string new_pid = "58" + b + "000000020000000000000008";
  const auto decoded = [&](const std::string& hex) {
    const auto result = decoder.decode(from_hex(hex));
    return result && result->control ? tuple_of({*result->control, {}}, offered_flags) : Term("refused");
  };
  const Pid from{"a@h", 1, 0, 3};
  EXPECT_EQ(decoded("68036101" + old_pid + "03" + new_pid), Term::tuple({1, from, theirs()}));
  EXPECT_EQ(decoded("68036101" + old_pid + "04" + new_pid), Term("refused"));
  EXPECT_EQ(decoded("690000000362"
                    "00000001" +
                    old_pid + "03" + new_pid),
            Term::tuple({1, from, theirs()}));
  const std::string monitor = "68046113" + old_pid + "03" + new_pid;
  EXPECT_EQ(decoded(monitor + "65" + a + "0000000703"), Term::tuple({19, from, theirs(), Ref{"a@h", 3, 1, {7}}}));
  EXPECT_EQ(decoded(monitor + "720002" + a + "030000000700000008"),
            Term::tuple({19, from, theirs(), Ref{"a@h", 3, 2, {7, 8}}}));
  EXPECT_EQ(decoded(monitor + "720002" + a + "030004000000000008"), Term("refused")) << "a word of more than 18 bits";
  EXPECT_EQ(decoded(monitor + "5a0000" + a + "00000004"), Term("refused")) << "no word";
  EXPECT_EQ(decoded(monitor + "5a0006" + a + "00000004" + std::string(48, '0')), Term("refused")) << "6 words";
  // Latin-1.
  EXPECT_EQ(decoded("68046106" + old_pid +
                    "03"
                    "7700"
                    "7301e9"),
            Term::tuple({6, from, Atom(), Atom("\xc3\xa9")}));
  EXPECT_EQ(decoded("68046106" + old_pid +
                    "03"
                    "7700"
                    "7701e9"),
            Term("refused"))
      << "not UTF-8";
}

TEST(ControlDecoder, a_node_speaks_for_its_own_processes_only) {
  for (const auto& tuple :
       {Term::tuple({24, third(), theirs()}), Term::tuple({26, third(), theirs()}),
        Term::tuple({3, third(), theirs(), 1}), Term::tuple({8, third(), theirs(), 1}),
        Term::tuple({28, third(), theirs(), their_ref()}), Term::tuple({35, 1, third(), theirs()}),
        Term::tuple({36, 1, third(), theirs()}), Term::tuple({20, third(), theirs(), our_ref()}),
        Term::tuple({29, our_ref(), third(), ours(), Term::tuple({Atom("m"), Atom("f"), 0}), Term()}),
        Term::tuple({31, their_ref(), theirs(), 0, third()}), Term::tuple({37, 16, third(), theirs()}),
        Term::tuple({24, theirs(), theirs()})}) {
    const auto decoded = decode(tuple);
    ASSERT_FALSE(decoded.has_value()) << to_text(tuple);
    EXPECT_EQ(decoded.error(), Errc::malformed_term);
  }
}

TEST(ControlDecoder, the_signals_of_otp_28_mean_the_same) {
  const Term token = Term::tuple({0, 17, 1, ours(), 0});
  const auto as = [](const Term& tuple) {
    const auto decoded = decode(tuple);
    if (!decoded) return Term("refused");
    if (!decoded->control) return Term("dropped");
    EXPECT_TRUE(decoded->payload_follows);
    return tuple_of({*decoded->control, {}}, offered_flags);
  };
  EXPECT_EQ(as(Term::tuple({37, 0, ours(), theirs()})), Term::tuple({22, ours(), theirs()}));
  EXPECT_EQ(as(Term::tuple({37, 1, ours(), theirs()})), Term::tuple({22, ours(), theirs()}));
  EXPECT_EQ(as(Term::tuple({37, 2, ours(), theirs(), token})), Term::tuple({22, ours(), theirs()}));
  EXPECT_EQ(as(Term::tuple({37, 4, ours(), their_ref()})), Term::tuple({33, ours(), their_ref()}));
  EXPECT_EQ(as(Term::tuple({37, 8, ours(), Atom("x")})), Term::tuple({6, ours(), Atom(), Atom("x")}));
  EXPECT_EQ(as(Term::tuple({37, 16, ours(), theirs()})), Term::tuple({26, ours(), theirs()}));
  EXPECT_EQ(as(Term::tuple({37, 0, ours(), third()})), Term("dropped"));
  EXPECT_EQ(as(Term::tuple({37, 2, ours(), theirs()})), Term("refused")) << "the token is missing";
  EXPECT_EQ(as(Term::tuple({37, 0, ours(), theirs(), token})), Term("refused"));
  EXPECT_EQ(as(Term::tuple({37, 8, ours(), theirs()})), Term("refused"));
  EXPECT_EQ(as(Term::tuple({37, 4, ours(), theirs()})), Term("refused"));
}

TEST(ControlDecoder, names_are_told_apart_however_many_there_are) {
  ControlDecoder decoder({"b@h", "a@h", 8, 4});
  for (int round = 0; round < 3; ++round) {
    for (std::size_t number = 0; number < 4 * ControlDecoder::names_max; ++number) {
      const Atom name("name" + std::to_string(number * 7919));
      const auto decoded =
          decoder.decode(encode_term(Term::tuple({6, ours(), Atom(), Term(name)}), {.version_byte = false}));
      ASSERT_TRUE(decoded.has_value() && decoded->control.has_value());
      EXPECT_EQ(std::get<SendName>(*decoded->control).name, name);
    }
  }
}

TEST(ControlDecoder, messages_that_begin_alike_are_told_apart) {
  ControlDecoder decoder({"b@h", "a@h", 8, 4});
  const auto bytes_of = [](const Pid& to, int behind) {
    Bytes bytes = encode_term(Term::tuple({22, ours(), to}), {.version_byte = false});
    bytes.push_back(static_cast<std::uint8_t>(behind));
    return bytes;
  };
  Pid other = theirs();
  ++other.creation;  // the last of its bytes
  for (const Pid& to : {theirs(), theirs(), other, other, theirs()}) {
    for (const int behind : {1, 2}) {
      const Bytes bytes = bytes_of(to, behind);
      const auto decoded = decoder.decode(bytes);
      ASSERT_TRUE(decoded.has_value() && decoded->control.has_value());
      EXPECT_EQ(std::get<Send>(*decoded->control).to, to);
      EXPECT_EQ(decoded->used, bytes.size() - 1);
      EXPECT_TRUE(decoded->payload_follows);
      EXPECT_FALSE(decoder.decode(ByteView(bytes).first(bytes.size() - 2)).has_value()) << "cut";
    }
  }
  const Term padded = Term::tuple({2, Term::binary(Bytes(100'000, 1)), theirs()});
  const auto large = decoder.decode(encode_term(padded, {.version_byte = false}));
  ASSERT_TRUE(large.has_value() && large->control.has_value());
  EXPECT_EQ(std::get<Send>(*large->control).to, theirs());
  const auto named = decoder.decode(encode_term(Term::tuple({6, ours(), Atom(), Atom("x")}), {.version_byte = false}));
  ASSERT_TRUE(named.has_value() && named->control.has_value());
  EXPECT_EQ(std::get<SendName>(*named->control).name, Atom("x"));
}

}  // namespace
}  // namespace distribution
}  // namespace barrel_p2p
