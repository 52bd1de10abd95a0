// Terms against what an Erlang node computed: bytes, order, hashes, text.
#include <gtest/gtest.h>
#include <barrel_p2p/term.hpp>
#include <boost/json.hpp>

#include <regex>

#include "support/vectors.hpp"

namespace barrel_p2p {
namespace {

using test::from_hex;
using test::read_vectors;
using test::text_of;
using test::to_hex;

std::optional<std::string> optional_text(const boost::json::value& row, std::string_view key) {
  const auto* value = row.as_object().if_contains(key);
  return value == nullptr || !value->is_string() ? std::nullopt : std::optional(std::string(value->as_string()));
}

/// Our text names whole identifiers where the vectors have the short forms of the node that wrote them.
bool has_identifiers(const boost::json::value& row) { return row.as_object().contains("containers"); }

std::string sorted_map_text(const std::string& text) {
  const auto term = parse_term(text);
  return term ? to_text(*term) : "unparsable: " + term.error().message();
}

TEST(TermVectors, terms_are_encoded_as_otp_27_encodes_them) {
  std::size_t compared = 0;
  const auto vectors = read_vectors("etf_encode.json");
  for (const auto& row : vectors.as_array()) {
    const auto hex = optional_text(row, "etf_hex");
    if (!hex) continue;
    const std::string name = text_of(row, "name");
    const std::string group = text_of(row, "group");
    const auto decoded = decode_term(from_hex(*hex));
    if (group == "local_ext") {
      EXPECT_FALSE(decoded.has_value()) << name;
      continue;
    }
    ASSERT_TRUE(decoded.has_value()) << name << ": " << decoded.error().message();
    if (const auto plain = optional_text(row, "uncompressed_hex")) {
      EXPECT_EQ(to_hex(encode_term(decoded->term)), *plain) << name;
    } else if (hex->find("74000000") != std::string::npos ||
               optional_text(row, "options").value_or("").find("minor") != std::string::npos) {
      // Pairs of maps leave an Erlang node in an order of its own; floats and atoms of old minor versions have old
      // forms.
      EXPECT_EQ(decode_term(encode_term(decoded->term))->term, decoded->term) << name;
    } else {
      EXPECT_EQ(to_hex(encode_term(decoded->term)), *hex) << name;
    }
    EXPECT_EQ(encode_term(decoded->term).size(), encoded_size(decoded->term)) << name;
    ++compared;
  }
  EXPECT_GT(compared, 330U);
}

TEST(TermVectors, deterministic_maps_and_old_minor_versions_match_to_the_byte) {
  std::size_t compared = 0;
  const auto vectors = read_vectors("etf_encode.json");
  for (const auto& row : vectors.as_array()) {
    const auto options = optional_text(row, "options");
    const auto hex = optional_text(row, "etf_hex");
    if (!options || !hex) continue;
    const auto decoded = decode_term(from_hex(*hex));
    if (!decoded) continue;
    if (options->find("deterministic") != std::string::npos) {
      EXPECT_EQ(to_hex(encode_term(decoded->term)), *hex) << text_of(row, "name");
      ++compared;
    }
    for (const int minor : {0, 1}) {
      if (options->find("{minor_version," + std::to_string(minor) + "}") == std::string::npos) continue;
      EXPECT_EQ(to_hex(encode_term(decoded->term, {.minor_version = minor})), *hex) << text_of(row, "name");
      ++compared;
    }
  }
  EXPECT_GT(compared, 4U);
}

TEST(TermVectors, terms_print_as_erlang_prints_them_and_read_back) {
  std::size_t compared = 0;
  const auto vectors = read_vectors("etf_encode.json");
  for (const auto& row : vectors.as_array()) {
    const auto hex = optional_text(row, "etf_hex");
    const std::string text = text_of(row, "term");
    if (!hex || has_identifiers(row) || text.starts_with("(") || text.find("#Fun<") != std::string::npos) continue;
    const auto decoded = decode_term(from_hex(*hex));
    if (!decoded) continue;
    if (text.find("...") != std::string::npos) continue;  // shortened by whoever wrote the vector
    if (text.find("#{") == std::string::npos) {
      EXPECT_EQ(to_text(decoded->term), text) << text_of(row, "name");
    } else {
      EXPECT_EQ(to_text(decoded->term), sorted_map_text(text)) << text_of(row, "name");
    }
    const auto parsed = parse_term(text);
    ASSERT_TRUE(parsed.has_value()) << text << ": " << parsed.error().message();
    EXPECT_EQ(*parsed, decoded->term) << text;
    ++compared;
  }
  EXPECT_GT(compared, 250U);
}

TEST(TermVectors, old_forms_decode_and_leave_in_the_new_form) {
  std::size_t compared = 0;
  const auto vectors = read_vectors("etf_decode.json");
  for (const auto& row : vectors.as_array()) {
    const auto hex = optional_text(row, "etf_hex");
    if (!hex) continue;
    const std::string name = text_of(row, "name");
    const auto bytes = from_hex(*hex);
    const auto decoded = decode_term(bytes, {.allow_trailing = true});
    if (text_of(row, "result") != "ok") {
      EXPECT_FALSE(decoded.has_value()) << name;
      continue;
    }
    ASSERT_TRUE(decoded.has_value()) << name << ": " << decoded.error().message();
    EXPECT_EQ(decoded->used, static_cast<std::size_t>(row.at("used").as_int64())) << name;
    EXPECT_EQ(decode_term(bytes).has_value(), decoded->used == bytes.size()) << name;
    if (const auto again = optional_text(row, "reencoded_hex")) {
      const auto expected = decode_term(from_hex(*again));
      ASSERT_TRUE(expected.has_value()) << name;
      EXPECT_EQ(decoded->term, expected->term) << name;
      if (again->find("74000000") == std::string::npos) {
        EXPECT_EQ(to_hex(encode_term(decoded->term)), *again) << name;
      }
    }
    ++compared;
  }
  EXPECT_GT(compared, 55U);
}

TEST(TermVectors, what_must_be_rejected_is_rejected) {
  std::size_t compared = 0;
  const auto vectors = read_vectors("etf_invalid.json");
  for (const auto& row : vectors.as_array()) {
    const auto hex = optional_text(row, "etf_hex");
    if (!hex) continue;
    EXPECT_FALSE(decode_term(from_hex(*hex)).has_value()) << text_of(row, "name") << " " << hex->substr(0, 80);
    ++compared;
  }
  EXPECT_GT(compared, 190U);
}

TEST(TermVectors, surprises_are_accepted_but_for_three_and_for_trailing_bytes) {
  const auto vectors = read_vectors("etf_accepted_surprises.json");
  for (const auto& row : vectors.as_array()) {
    const std::string name = text_of(row, "name");
    const auto bytes = from_hex(text_of(row, "etf_hex"));
    const auto stream = decode_term(bytes, {.allow_trailing = true});
    const bool refused = name == "unknown_tag_73" || name == "unknown_tag_75" || name == "ref_len_0";
    EXPECT_EQ(stream.has_value(), !refused) << name;
    if (name.starts_with("trailing")) {
      const auto strict = decode_term(bytes);
      ASSERT_FALSE(strict.has_value());
      EXPECT_EQ(strict.error(), Errc::trailing_bytes);
    }
  }
}

TEST(TermVectors, safe_decoding_takes_known_atoms_and_no_funs) {
  const std::vector<Atom> known{"ok", "lists", "map"};
  const auto vectors = read_vectors("etf_safe.json");
  for (const auto& row : vectors.as_array()) {
    const std::string name = text_of(row, "name");
    const auto bytes = from_hex(text_of(row, "etf_hex"));
    const auto decoded = decode_term(bytes, {.existing_atoms_only = true});
    const bool function_of_erlang = name == "safe_export_existing";  // this process has none
    EXPECT_EQ(decoded.has_value(), text_of(row, "result") == "ok" && !function_of_erlang) << name;
    if (decoded) {
      EXPECT_EQ(to_text(decoded->term), text_of(row, "term"));
    }
    EXPECT_TRUE(decode_term(bytes).has_value()) << name;
  }
  EXPECT_EQ(vectors.as_array().size(), 7U);
}

TEST(TermVectors, order_and_equality_agree_with_erlang) {
  const auto vectors = read_vectors("etf_compare.json");
  const auto& rows = vectors.as_array();
  std::vector<Term> sorted;
  for (const auto& hex : rows[0].at("hex").as_array())
    sorted.push_back(decode_term(from_hex(std::string(hex.as_string())))->term);
  for (std::size_t left = 0; left < sorted.size(); ++left) {
    for (std::size_t right = left + 1; right < sorted.size(); ++right) {
      EXPECT_TRUE(compare(sorted[left], sorted[right]) <= 0) << to_text(sorted[left]) << " " << to_text(sorted[right]);
    }
  }
  std::size_t compared = 0;
  for (std::size_t at = 1; at < rows.size(); ++at) {
    const auto& row = rows[at];
    const auto* a = row.as_object().if_contains("a_hex");
    if (a == nullptr) continue;
    const Term left = decode_term(from_hex(text_of(row, "a_hex")))->term;
    const Term right = decode_term(from_hex(text_of(row, "b_hex")))->term;
    const auto order = compare(left, right);
    EXPECT_EQ(order < 0 ? -1 : order > 0 ? 1 : 0, row.at("cmp").as_int64()) << to_text(left) << " " << to_text(right);
    EXPECT_EQ(left == right, row.at("exact_eq").as_bool()) << to_text(left) << " " << to_text(right);
    EXPECT_EQ(equals(left, right), row.at("cmp").as_int64() == 0);
    if (left == right) {
      EXPECT_EQ(left.hash(), right.hash());
    }
    ++compared;
  }
  EXPECT_GT(compared, 700U);
}

TEST(TermVectors, phash2_agrees_with_erlang) {
  std::size_t compared = 0;
  for (const auto* file : {"phash2.json", "etf_phash2.json"}) {
    const auto vectors = read_vectors(file);
    for (const auto& row : vectors.as_array()) {
      const auto hex = optional_text(row, "etf_hex");
      if (!hex) continue;
      const auto decoded = decode_term(from_hex(*hex));
      ASSERT_TRUE(decoded.has_value()) << *hex;
      const auto number = [&](const char* key) {
        return static_cast<std::uint64_t>(row.at(key).to_number<std::int64_t>());
      };
      EXPECT_EQ(phash2(decoded->term), number("phash2")) << *hex;
      EXPECT_EQ(phash2(decoded->term, 64), number("phash2_64")) << *hex;
      const auto whole = std::string(file) == "phash2.json" ? "phash2_32" : "phash2_2pow32";
      EXPECT_EQ(phash2(decoded->term, std::uint64_t{1} << 32U), number(whole)) << *hex;
      ++compared;
    }
  }
  EXPECT_GT(compared, 660U);
}

}  // namespace
}  // namespace barrel_p2p
