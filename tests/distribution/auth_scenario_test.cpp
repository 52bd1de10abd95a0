// Exchanges that real Erlang nodes went through, played to our machine: it decides as they did, or is stricter and this
// file says why.
#include <gtest/gtest.h>

#include <map>
#include <regex>

#include "distribution/auth_support.hpp"

namespace barrel_p2p::test {
namespace {

using namespace distribution;
namespace json = boost::json;

/// What we do where Erlang does something else.
struct Difference {
  std::string outcome;
  std::string story;  ///< What we send.
};

/// Erlang's result in our words.
std::string outcome_of(const std::string& result) {
  static const std::vector<std::pair<std::string, std::string>> words{
      {"^\\{ok,", "success"},
      {"^\\{error,key_mismatch", "key_mismatch"},
      {"^\\{error,untrusted_key", "untrusted_key"},
      {"^\\{error,unexpected_auth_ok", "unexpected_auth_ok"},
      {"^\\{error,\\{auth_rejected", "rejected"},
      {"unsupported_version", "unsupported_version"},
      {"invalid_node_name", "bad_name"},
      {"\\{unexpected_message,\\{error", "protocol_error"},
      {"\\{unexpected_message", "unexpected_message"},
      {"peer_ts_skew", "clock_skew"},
      {"signature_verification_failed", "signature_invalid"},
      {"auth_stream_timeout", "timeout"},
      {"stream_reset", "stream_ended"},
      {"connection_closed", "nothing"},  // The channel ends; the exchange is not asked.
  };
  for (const auto& [pattern, word] : words) {
    if (std::regex_search(result, std::regex(pattern))) return word;
  }
  throw std::runtime_error("a result without a word: " + result);
}

/// Bytes of a row; one frame is written as its first bytes and its size.
Bytes bytes_of(const json::value& piece) {
  const std::string hex = text_of(piece, "hex");
  const auto dots = hex.find("...");
  if (dots == std::string::npos) return from_hex(hex);
  std::smatch size;
  if (!std::regex_search(hex, size, std::regex("total bytes ([0-9]+), rest zero"))) throw std::runtime_error(hex);
  Bytes bytes = from_hex(hex.substr(0, hex.find_last_not_of(' ', dots - 1) + 1));
  bytes.resize(std::stoul(size[1]));
  return bytes;
}

std::vector<Bytes> pieces_on(const json::value& row, std::string_view key, std::int64_t stream) {
  std::vector<Bytes> pieces;
  for (const auto& piece : row.as_object().at(key).as_array()) {
    if (piece.as_object().at("stream").as_int64() == stream) pieces.push_back(bytes_of(piece));
  }
  return pieces;
}

/// Up to what is no message: some scenarios end in garbage.
std::vector<AuthMessage> messages_of(const std::vector<Bytes>& pieces) {
  std::vector<AuthMessage> messages;
  AuthFrameReader reader;
  for (const auto& piece : pieces) {
    ByteView rest(piece);
    while (!rest.empty()) {
      const auto frame = reader.next(rest);
      if (!frame) return messages;
      if (!*frame) continue;
      auto message = decode_auth_message(**frame);
      if (!message) return messages;
      messages.push_back(std::move(*message));
    }
  }
  return messages;
}

std::string story_of(const std::vector<AuthMessage>& messages) {
  std::string story;
  for (const auto& message : messages) story += (story.empty() ? "" : " ") + kind_of(message);
  return story;
}

const AuthChallenge* challenge_in(const std::vector<AuthMessage>& messages) {
  for (const auto& message : messages) {
    if (const auto* challenge = std::get_if<AuthChallenge>(&message)) return challenge;
  }
  return nullptr;
}

bool is_failure(const std::string& outcome) { return outcome != "success" && outcome != "nothing"; }

/// The recorded nonce, and the recorded time, so that the recorded signatures fit.
AuthNow adopt(AuthSide& side, const AuthChallenge* recorded) {
  AuthNow now = test_now();
  if (recorded != nullptr) {
    side.nonce = recorded->nonce;
    --side.nonce[0];  // `start` counts up.
    now.wall = static_cast<WallMilliseconds>(recorded->unix_milliseconds);
  }
  return now;
}

/// The wall clock stands, so that our challenge has the recorded time whenever it leaves.
AuthNow later(AuthNow now, Milliseconds time) { return {now.monotonic + time, now.wall}; }

constexpr Milliseconds budget(1500);       // of the recorded responders
constexpr Milliseconds between_pieces(1);  // 200 for the one that drips, which is late all the same

/// Feeds the pieces; then, unless the exchange is over, what happened next: the end of the stream, or silence.
AuthTotal play(AuthSide& side, AuthNow now, const std::vector<Bytes>& pieces, bool stream_ends, bool connection_ends) {
  AuthTotal total;
  total.add(side.start(now));
  for (const auto& piece : pieces) {
    now = later(now, between_pieces);
    total.add(side.exchange->receive(piece, now));
  }
  if (stream_ends) total.add(side.exchange->stream_ended(now));
  if (!connection_ends) total.add(side.exchange->tick(later(now, budget)));
  return total;
}

std::string key_in_hello(const std::vector<AuthMessage>& messages) {
  return to_hex(std::get<AuthHello>(messages.at(0)).key);
}

/// By name of the scenario. Each closes a hole of the list in protocol document 02, section 15.
const std::map<std::string, Difference>& responder_differences() {
  static const std::map<std::string, Difference> differences{
      // A10: authentication is on streams 2 and 3 only; what comes elsewhere is not heard.
      {"hello sent on a bidirectional stream", {"timeout", "FAIL(timeout)"}},
      // Whoever ends the stream cannot complete the exchange: no need to wait for the deadline.
      {"FIN right after HELLO (timeout budget 1500 ms)", {"stream_ended", "HELLO CHALLENGE FAIL(stream_ended)"}},
      // A9: the announcement alone is too large.
      {"frame announces 65535 bytes, never completed (1500 ms)", {"protocol_error", "FAIL(protocol_error)"}},
      // A3: reflection.
      {"reflection: responder's own name, key, challenge and signature sent back", {"reflected", "FAIL(reflected)"}},
      {"strict, own key pinned (as the manual's copy-all provisioning does), reflection",
       {"reflected", "FAIL(reflected)"}},
      // A3: our own name, which in Erlang was pinned by the reflection before.
      {"responder's own name with a foreign key", {"reflected", "FAIL(reflected)"}},
      // A5: strict keys.
      {"small order key 01 00.., signature 01 00.. without any private key", {"weak_key", "FAIL(weak_key)"}},
  };
  return differences;
}

TEST(AuthScenarios, the_responder_decides_as_erlang_or_stricter) {
  std::map<std::string, AuthSide> sides;
  for (const auto* const node : {"sbt", "sbu", "sbv"}) {
    sides.emplace(node, responder(NodeName(std::string(node) + "@127.0.0.1"), 0x51,
                                  std::string(node) == "sbu" ? TrustMode::strict : TrustMode::tofu));
    sides.at(node).settings.timeout = budget;
  }
  sides.at("sbv").settings.cookie_only_nodes = {"probe@*"};
  std::size_t differences = 0;
  const auto rows = read_vectors("auth_responder_scenarios.json");
  for (const auto& row : rows.as_array()) {
    const std::string name = text_of(row, "name");
    SCOPED_TRACE(name);
    auto& side = sides.at(text_of(row, "responder"));
    auto pieces = pieces_on(row, "sent", 2);
    if (name.starts_with("race")) pieces.erase(pieces.begin() + 2);  // the RESPONSE of the other connection
    if (name == "strict, pinned key") {
      ASSERT_TRUE(side.trust->pin("sbpin@127.0.0.1", std::get<AuthHello>(messages_of(pieces).at(0)).key));
    }
    const auto recorded = messages_of(pieces_on(row, "received", 3));
    side.binding = array_of_hex<Digest>(text_of(row, "responder_binding_hex"));
    const auto now = adopt(side, challenge_in(recorded));
    auto total = play(side, now, pieces, name.starts_with("FIN") || name.starts_with("RESET_STREAM"),
                      name.starts_with("initiator closes"));

    const auto difference = responder_differences().find(name);
    if (difference != responder_differences().end()) {
      EXPECT_EQ(total.outcome(), difference->second.outcome);
      EXPECT_EQ(total.story(), difference->second.story);
      ++differences;
    } else {
      const std::string outcome = outcome_of(text_of(row, "responder_returns"));
      EXPECT_EQ(total.outcome(), outcome);
      std::string story = story_of(recorded);
      if (name.starts_with("race")) story = story.substr(0, story.rfind(' '));  // the OK of the other connection
      // A12: we say why where Erlang closes without a word.
      if (is_failure(outcome) && story.find("FAIL") == std::string::npos)
        story += (story.empty() ? "FAIL(" : " FAIL(") + outcome + ")";
      EXPECT_EQ(total.story(), story);
    }
    if (total.succeeded) {
      EXPECT_TRUE(total.succeeded->pin.commit());
    }
  }
  EXPECT_EQ(rows.as_array().size(), 37U);
  EXPECT_EQ(differences, responder_differences().size());
}

const std::map<std::string, Difference>& initiator_differences() {
  static const std::map<std::string, Difference> differences{
      // A2: the responder must bear the dialled name.
      {"othername", {"name_not_dialled", "HELLO"}},
      // A3: reflection.
      {"reflect", {"reflected", "HELLO"}},
      // A5: strict keys.
      {"small", {"weak_key", "HELLO"}},
      // A4: no signature for a responder that has not proven itself.
      {"badsig", {"signature_invalid", "HELLO CHALLENGE"}},
      {"badbind", {"signature_invalid", "HELLO CHALLENGE"}},
      {"okearly", {"unexpected_message", "HELLO CHALLENGE"}},
      // A10: authentication is on stream 3 only.
      {"bidi", {"timeout", "HELLO"}},
  };
  return differences;
}

TEST(AuthScenarios, the_initiator_decides_as_erlang_or_stricter) {
  std::size_t differences = 0;
  const auto rows = read_vectors("auth_initiator_scenarios.json");
  for (const auto& row : rows.as_array()) {
    const std::string name = text_of(row, "name");
    SCOPED_TRACE(name);
    auto side = initiator("sbi@127.0.0.1", 0x51, NodeName(name + "@127.0.0.1"));
    side.settings.cookie_only_nodes = {"probe@127.0.0.1"};
    side.settings.timeout = budget;
    ASSERT_TRUE(side.trust->pin("pinned@127.0.0.1", key_of(9).public_key()));
    const auto recorded = messages_of(pieces_on(row, "initiator_sent", 2));
    side.binding = array_of_hex<Digest>(text_of(row, "initiator_binding_hex"));
    const auto now = adopt(side, challenge_in(recorded));
    const auto pieces = pieces_on(row, "responder_sent", 3);
    auto total = play(side, now, pieces, name == "reset", name == "close");

    const auto difference = initiator_differences().find(name);
    if (difference != initiator_differences().end()) {
      EXPECT_EQ(total.outcome(), difference->second.outcome);
      EXPECT_EQ(total.story(), difference->second.story);
      ++differences;
    } else {
      // "stolencert" succeeds here too: it is TLS that notices that the responder lacks the key of its certificate
      // (A1).
      EXPECT_EQ(total.outcome(), outcome_of(text_of(row, "initiator_returns")));
      EXPECT_EQ(total.story(), story_of(recorded));
    }
    if (total.succeeded && name != "probe") {
      EXPECT_EQ(total.succeeded->name, *side.dialled);
      EXPECT_EQ(to_hex(*total.succeeded->key), key_in_hello(messages_of(pieces)));
    }
  }
  EXPECT_EQ(rows.as_array().size(), 26U);
  EXPECT_EQ(differences, initiator_differences().size());
}

}  // namespace
}  // namespace barrel_p2p::test
