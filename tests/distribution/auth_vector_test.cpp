// Keys, messages, names, signatures and whole exchanges against what the Erlang implementation computed.
#include <gtest/gtest.h>

#include <barrel_p2p/term.hpp>
#include <boost/json.hpp>
#include <map>
#include <set>

#include "distribution/auth_support.hpp"

namespace barrel_p2p::test {
namespace {

using namespace distribution;

template <class Array>
Array field(const boost::json::value& row, std::string_view key) {
  return array_of_hex<Array>(text_of(row, key));
}
bool has(const boost::json::value& row, std::string_view key) { return row.as_object().contains(key); }

std::uint64_t number(const boost::json::value& row, std::string_view key) {
  return row.as_object().at(key).to_number<std::uint64_t>();
}

/// Our words for a decoding error as the term that Erlang returns.
std::string erlang_error(const Error& error) {
  const std::string& what = error.context();
  const auto space = what.find(' ');
  if (space == std::string::npos) return "{error," + what + "}";
  return "{error,{" + what.substr(0, space) + "," + what.substr(space + 1) + "}}";
}

TEST(AuthVectors, public_keys_and_fingerprints_follow_from_seeds) {
  const auto rows = read_vectors("auth_keys.json");
  for (const auto& row : rows.as_array()) {
    const PrivateKey key(field<Seed>(row, "seed_hex"));
    EXPECT_EQ(to_hex(key.public_key()), text_of(row, "public_key_hex"));
    EXPECT_EQ(to_hex(key.seed()), text_of(row, "node_key_file_hex"));
    EXPECT_EQ(to_hex(fingerprint(key.public_key())), text_of(row, "fingerprint_sha256_hex"));
    EXPECT_TRUE(is_acceptable(key.public_key()));
  }
  EXPECT_EQ(rows.as_array().size(), 4U);
}

TEST(AuthVectors, messages_are_encoded_and_decoded_to_the_byte) {
  const auto rows = read_vectors("auth_messages.json");
  for (const auto& row : rows.as_array()) {
    const std::string name = text_of(row, "name");
    const auto message = from_hex(text_of(row, "message_hex"));
    const auto decoded = decode_auth_message(message);
    ASSERT_TRUE(decoded) << name << ": " << decoded.error().message();
    EXPECT_EQ(to_hex(encode(*decoded)), text_of(row, "framed_hex")) << name;
    std::string kind = kind_of(*decoded).substr(0, kind_of(*decoded).find('('));
    std::ranges::transform(kind, kind.begin(), [](char character) { return static_cast<char>(character | 0x20); });
    EXPECT_EQ(text_of(row, "term").find(kind), kind == "ok" ? 0U : 1U) << name;
  }
  EXPECT_EQ(rows.as_array().size(), 16U);
}

TEST(AuthVectors, malformed_messages_give_the_errors_of_erlang) {
  const auto rows = read_vectors("auth_decode.json");
  for (const auto& row : rows.as_array()) {
    const auto decoded = decode_auth_message(from_hex(text_of(row, "message_hex")));
    const std::string expected = text_of(row, "term");
    if (expected.starts_with("{error")) {
      ASSERT_FALSE(decoded) << text_of(row, "name");
      EXPECT_EQ(erlang_error(decoded.error()), expected) << text_of(row, "name");
    } else {
      ASSERT_TRUE(decoded) << text_of(row, "name");
      EXPECT_EQ(std::get<AuthFail>(*decoded).reason, "\xff\xfe");
    }
  }
  EXPECT_EQ(rows.as_array().size(), 34U);
}

TEST(AuthVectors, node_names_are_judged_as_erlang_judges_them) {
  const auto rows = read_vectors("auth_node_names.json");
  for (const auto& row : rows.as_array()) {
    const auto bytes = from_hex(text_of(row, "name_hex"));
    EXPECT_EQ(NodeName::parse(as_text(bytes)).has_value(), text_of(row, "term") == "ok") << text_of(row, "name");
  }
  EXPECT_EQ(rows.as_array().size(), 50U);
}

TEST(AuthVectors, signatures_are_made_and_judged_as_in_the_table) {
  // Erlang accepts these two; they prove nothing, since nobody needs a private key for them.
  const std::set<std::string> stricter{"small order key: A=R=identity, S=0 (verifies for every message)",
                                       "small order key, another message"};
  const auto seeds = read_vectors("auth_keys.json");
  std::map<std::string, Seed> seed_of;
  for (const auto& row : seeds.as_array()) seed_of[text_of(row, "name")] = field<Seed>(row, "seed_hex");
  std::size_t refused_stricter = 0;
  std::size_t signed_here = 0;
  const auto rows = read_vectors("auth_sign.json");
  for (const auto& row : rows.as_array()) {
    const std::string name = text_of(row, "name");
    const auto signature = from_hex(text_of(row, "signature_hex"));
    const auto key = from_hex(text_of(row, "public_key_hex"));
    const auto binding = from_hex(text_of(row, "binding_hex"));
    const bool expected = row.as_object().at("verify").as_bool();
    if (signature.size() != 64 || key.size() != 32 || binding.size() != 32) {
      EXPECT_FALSE(expected) << name << ": our types cannot hold it";
      continue;
    }
    const AuthChallenge challenge{field<Nonce>(row, "nonce_hex"), number(row, "timestamp")};
    const auto text = signed_text(challenge, array_of<PublicKey>(key), array_of<Digest>(binding));
    if (has(row, "tbs_hex")) {
      EXPECT_EQ(to_hex(text), text_of(row, "tbs_hex")) << name;
    }
    const bool verified = verify(array_of<PublicKey>(key), text, array_of<Signature>(signature));
    refused_stricter += stricter.contains(name) && expected && !verified ? 1U : 0U;
    EXPECT_EQ(verified, expected && !stricter.contains(name)) << name;
    if (has(row, "signer")) {
      const PrivateKey signer(seed_of.at("key " + text_of(row, "signer")));
      EXPECT_EQ(to_hex(signer.sign(text)), text_of(row, "signature_hex")) << name;
      ++signed_here;
    }
  }
  EXPECT_EQ(refused_stricter, stricter.size());
  EXPECT_EQ(signed_here, 6U);
  EXPECT_EQ(rows.as_array().size(), 21U);
}

TEST(AuthVectors, clocks_may_differ_by_twice_the_window) {
  const auto rows = read_vectors("auth_timestamps.json");
  for (const auto& row : rows.as_array()) {
    auto side = responder("b@h", 2);
    if (has(row, "window_ms")) side.settings.timestamp_window = Milliseconds(number(row, "window_ms"));
    const auto stamp =
        has(row, "peer_ts")
            ? number(row, "peer_ts")
            : static_cast<std::uint64_t>(test_wall + row.as_object().at("peer_minus_local_ms").as_int64());
    AuthTotal total;
    total.add(side.start());
    total.add(side.exchange->receive(encode(AuthHello{"a@h", key_of(1).public_key()}), test_now()));
    total.add(side.exchange->receive(encode(AuthChallenge{nonce_of(7), stamp}), test_now()));
    EXPECT_EQ(total.outcome(), text_of(row, "term") == "ok" ? "nothing" : "clock_skew") << text_of(row, "name");
  }
  EXPECT_EQ(rows.as_array().size(), 17U);
}

TEST(AuthVectors, the_limit_of_the_clock_difference_is_inclusive) {
  for (const auto& [distance, outcome] :
       {std::pair{60'000, "nothing"}, {60'001, "clock_skew"}, {-60'000, "nothing"}, {-60'001, "clock_skew"}}) {
    auto side = responder("b@h", 2);
    AuthTotal total;
    total.add(side.start());
    total.add(side.exchange->receive(encode(AuthHello{"a@h", key_of(1).public_key()}), test_now()));
    total.add(side.exchange->receive(
        encode(AuthChallenge{nonce_of(7), static_cast<std::uint64_t>(test_wall + distance)}), test_now()));
    EXPECT_EQ(total.outcome(), outcome) << distance;
  }
}

TEST(AuthVectors, cookie_only_patterns_match_as_in_erlang) {
  const auto rows = read_vectors("auth_cookie_only.json");
  for (const auto& row : rows.as_array()) {
    const auto list = parse_term(text_of(row, "patterns"));
    ASSERT_TRUE(list) << text_of(row, "patterns");
    std::vector<std::string> patterns;
    // Strings and binaries never match in Erlang; here every pattern is what an atom is there.
    for (const auto& element : list->elements()) {
      if (element.is_atom()) patterns.emplace_back(element.as_atom()->text());
    }
    EXPECT_EQ(matches_any(text_of(row, "name"), patterns), text_of(row, "term") == "true")
        << text_of(row, "name") << " " << text_of(row, "patterns");
  }
  EXPECT_EQ(rows.as_array().size(), 22U);
}

/// The bytes that `from` ("client" or "server") wrote, by type of message.
Bytes step_bytes(const boost::json::value& transcript, std::string_view from, std::uint8_t type) {
  for (const auto& step : transcript.as_object().at("steps").as_array()) {
    const auto bytes = from_hex(text_of(step, "framed_hex"));
    if (text_of(step, "from") == from && bytes.at(2) == type) return bytes;
  }
  throw std::runtime_error("no such step");
}

TEST(AuthVectors, both_sides_reproduce_whole_exchanges_of_erlang_nodes) {
  std::size_t replayed = 0;
  const auto rows = read_vectors("auth_transcripts.json");
  for (const auto& row : rows.as_array()) {
    if (!has(row, "stream2_hex")) continue;
    const auto binding = field<Digest>(row, "binding_hex");
    EXPECT_EQ(to_hex(sha256(from_hex(text_of(row, "server_cert_der_hex")))), to_hex(binding));
    const auto side = [&](const std::string& who, AuthRole role, std::optional<NodeName> dialled, TrustStore& trust) {
      AuthSettings settings;
      settings.own_name = text_of(row, who + "_name");
      return Authentication(role, settings, PrivateKey(field<Seed>(row, who + "_seed_hex")), trust, std::move(dialled),
                            binding, field<Nonce>(row, who + "_nonce_hex"));
    };
    const auto now = [&](const std::string& who) {
      return AuthNow{{}, static_cast<WallMilliseconds>(number(row, who + "_timestamp"))};
    };
    const auto client_trust = TrustStore::in_memory(TrustMode::tofu, {});
    const auto server_trust = TrustStore::in_memory(TrustMode::tofu, {});

    auto server = side("server", AuthRole::responder, std::nullopt, *server_trust);
    AuthTotal server_total;
    server_total.add(server.start(now("server")));
    server_total.add(server.receive(from_hex(text_of(row, "stream2_hex")), now("server")));
    EXPECT_EQ(to_hex(server_total.sent), text_of(row, "stream3_hex"));
    ASSERT_EQ(server_total.outcome(), "success");
    EXPECT_EQ(server_total.succeeded->name.text(), text_of(row, "client_name"));

    auto client = side("client", AuthRole::initiator, NodeName(text_of(row, "server_name")), *client_trust);
    AuthTotal client_total;
    client_total.add(client.start(now("client")));
    client_total.add(client.receive(from_hex(text_of(row, "stream3_hex")), now("client")));
    EXPECT_EQ(to_hex(client_total.sent), text_of(row, "stream2_hex"));
    ASSERT_EQ(client_total.outcome(), "success");
    EXPECT_EQ(client_total.succeeded->key, field<PublicKey>(row, "server_public_key_hex"));
    EXPECT_EQ(to_hex(step_bytes(row, "client", 3)).substr(6), text_of(row, "client_signature_hex"));
    ++replayed;
  }
  EXPECT_EQ(replayed, 2U);
}

TEST(AuthVectors, signatures_over_another_text_are_refused) {
  std::size_t refused = 0;
  const auto rows = read_vectors("auth_transcripts.json");
  const auto& good = rows.at(0);
  for (const auto& row : rows.as_array()) {
    if (!has(row, "verify")) continue;
    ASSERT_FALSE(row.as_object().at("verify").as_bool());
    // The first one: a true signature, judged by a client that saw another certificate.
    const bool other_certificate = has(row, "server_signature_hex");
    const auto signature = field<Signature>(row, other_certificate ? "server_signature_hex" : "signature_hex");
    const AuthChallenge challenge{field<Nonce>(good, "client_nonce_hex"), number(good, "client_timestamp")};
    const auto key = field<PublicKey>(good, "server_public_key_hex");
    const auto binding =
        other_certificate ? field<Digest>(row, "client_binding_hex") : field<Digest>(good, "binding_hex");
    EXPECT_FALSE(verify(key, signed_text(challenge, key, binding), signature)) << text_of(row, "name");
    ++refused;
  }
  EXPECT_EQ(refused, 3U);
}

TEST(AuthVectors, a_captured_exchange_is_decoded_and_verified) {
  std::size_t messages = 0;
  std::size_t verified = 0;
  const auto rows = read_vectors("transport-auth.json");
  for (const auto& row : rows.as_array()) {
    if (has(row, "etf_hex")) {
      const auto framed = from_hex(text_of(row, "etf_hex"));
      const auto decoded = decode_auth_message(ByteView(framed).subspan(2));
      ASSERT_TRUE(decoded) << text_of(row, "name");
      EXPECT_EQ(to_hex(encode(*decoded)), to_hex(framed));
      ++messages;
    } else if (has(row, "binding")) {
      EXPECT_EQ(to_hex(sha256(from_hex(text_of(row, "cert_der")))), text_of(row, "binding"));
    } else {
      EXPECT_TRUE(verify(field<PublicKey>(row, "public_key"), from_hex(text_of(row, "message")),
                         field<Signature>(row, "signature")));
      ++verified;
    }
  }
  EXPECT_EQ(messages, 7U);
  EXPECT_EQ(verified, 2U);
}

TEST(AuthKeys, every_encoding_of_a_small_order_point_is_refused) {
  // The eight points of order 1, 2, 4 and 8, with their encodings that are not canonical. Source: "Taming the many
  // EdDSAs", table 6.
  for (const auto* const hex : {
           "0000000000000000000000000000000000000000000000000000000000000000",
           "0000000000000000000000000000000000000000000000000000000000000080",
           "0100000000000000000000000000000000000000000000000000000000000000",
           "0100000000000000000000000000000000000000000000000000000000000080",
           "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
           "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
           "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
           "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
           "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
           "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
           "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
           "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
           "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
           "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
       }) {
    EXPECT_FALSE(is_acceptable(array_of_hex<PublicKey>(hex))) << hex;
  }
}

TEST(AuthKeys, encodings_that_are_not_canonical_are_refused) {
  // y = 2^255 - 19 + n for every n that fits.
  for (unsigned low = 0xed; low <= 0xff; ++low) {
    PublicKey key{};
    key.fill(0xff);
    key[0] = static_cast<std::uint8_t>(low);
    key[31] = 0x7f;
    EXPECT_FALSE(is_acceptable(key)) << low;
  }
}

TEST(AuthKeys, a_signature_whose_r_has_small_order_is_refused) {
  // Made with the private key, R = identity and S = k * a: it satisfies the equation of RFC 8032, section 5.1.7.
  const auto signature = array_of_hex<Signature>(
      "0100000000000000000000000000000000000000000000000000000000000000"
      "fba97ef6bd87c30ebd9e29cb0328f74233b4412b33d87c48214d109967ca6209");
  EXPECT_FALSE(verify(key_of(1).public_key(), as_bytes("text"), signature));
}

TEST(AuthKeys, a_generated_key_proves_what_it_signed_and_nothing_else) {
  const auto key = PrivateKey::generate();
  const auto other = PrivateKey::generate();
  const auto text = as_bytes("text");
  const auto signature = key.sign(text);
  EXPECT_NE(key.public_key(), other.public_key());
  EXPECT_TRUE(verify(key.public_key(), text, signature));
  EXPECT_FALSE(verify(other.public_key(), text, signature));
  EXPECT_FALSE(verify(key.public_key(), as_bytes("texts"), signature));
  for (std::size_t at = 0; at < signature.size(); ++at) {
    auto flipped = signature;
    flipped[at] = static_cast<std::uint8_t>(flipped[at] ^ 1U);
    EXPECT_FALSE(verify(key.public_key(), text, flipped)) << at;
  }
}

}  // namespace
}  // namespace barrel_p2p::test
