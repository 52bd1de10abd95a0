// Files of Erlang nodes, as they were recorded: what the Erlang node finds in them is found, and more.
#include "replication/erlang_log.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <set>

#include "support/vectors.hpp"

namespace barrel_p2p::replication {
namespace {

using barrel_p2p::test::from_hex;
using barrel_p2p::test::read_vectors;
using barrel_p2p::test::text_of;

Bytes term_bytes(std::string_view text) { return encode_term(*parse_term(text)); }

std::string pruned(const Term& recorded) {
  OrMap map;
  for (const auto& [key, value] : recorded.pairs()) map.merge(key, *entry_of(value));
  return to_text(map.to_term());
}

/// Files by their ends; `enoent`: there is none.
std::optional<Bytes> file_of(const boost::json::object& files, std::string_view key) {
  const auto* found = files.if_contains(key);
  if (found == nullptr || found->is_null() || found->as_string() == "enoent") return std::nullopt;
  return from_hex(std::string_view(found->as_string()));
}

ErlangMap read(const std::optional<Bytes>& snapshot, const std::optional<Bytes>& log) {
  return read_erlang_map(snapshot, log);
}

Bytes record(std::string_view text) {
  const Bytes term = term_bytes(text);
  const auto size = term.size();
  Bytes bytes;
  for (const unsigned shift : {24U, 16U, 8U, 0U}) bytes.push_back(static_cast<std::uint8_t>(size >> shift));
  bytes.insert(bytes.end(), {0x62, 0x57, 0x4C, 0x41});
  if (size >= 65'528) bytes.insert(bytes.end(), 16, 0);
  bytes.insert(bytes.end(), term.begin(), term.end());
  return bytes;
}

Bytes log_of(const std::vector<Bytes>& parts) {
  Bytes log{1, 2, 3, 4, 0x63, 0x58, 0x4D, 0x0B};
  for (const auto& part : parts) log.insert(log.end(), part.begin(), part.end());
  return log;
}

const std::string put_of_k1 = "#{k1 => {value,1,#{{a,{timestamp,1,0}} => true}}}";
const std::string removal_of_k2 = "#{k2 => {tombstone,{timestamp,2,0}}}";

}  // namespace

TEST(ErlangLog, what_the_erlang_node_recovers_is_recovered_and_what_it_loses_is_saved) {
  // Closed logs that are damaged, and snapshots beside a log that is no log: Erlang gives these up.
  const std::map<std::string, std::string> saved{
      {"closed_garbage_in_first_record", "#{k2 => {value,2,#{{'a@127.0.0.1',{timestamp,1000,1}} => true}}}"},
      {"log_zero_bytes", "#{k0 => {value,0,#{{'a@127.0.0.1',{timestamp,900,0}} => true}}}"},
      {"log_wrong_magic", "#{k0 => {value,0,#{{'a@127.0.0.1',{timestamp,900,0}} => true}}}"},
      {"log_poison_timestamp", "#{}"}};  // its stamp is none
  std::size_t count = 0;
  const auto recorded = read_vectors("crdt-log.json");
  for (const auto& row : recorded.as_array()) {
    if (text_of(row, "kind") != "recovery") continue;
    const auto name = text_of(row, "name");
    std::optional<Bytes> snapshot;
    std::optional<Bytes> log;
    if (const auto* files = row.as_object().if_contains("files_before")) {
      snapshot = file_of(files->as_object(), "t.snapshot");
      log = file_of(files->as_object(), "t.log");
    } else {
      log = from_hex(text_of(row, "log_before_hex"));
    }
    const auto read = read_erlang_map(snapshot, log);
    const auto& result = row.as_object().at("result").as_object();
    const auto* found = row.as_object().if_contains("first_open_recovered");
    if (found == nullptr) found = result.if_contains("recovered");
    const auto better = saved.find(name);
    const auto expected =
        better != saved.end() ? better->second : pruned(*parse_term(std::string_view(found->as_string())));
    EXPECT_EQ(to_text(read.entries.to_term()), expected) << name;
    ++count;
  }
  EXPECT_EQ(count, 21U);
}

TEST(ErlangLog, files_are_read_after_each_recorded_step) {
  OrMap map;
  std::size_t count = 0;
  const auto recorded = read_vectors("map_store.json");
  for (const auto& row : recorded.as_array()) {
    const auto name = text_of(row, "name");
    const Term term = decode_term(from_hex(text_of(row, "etf_hex")))->term;
    for (const auto& [key, value] : term.pairs()) map.merge(key, *entry_of(value));
    const auto read = read_erlang_map(file_of(row.as_object(), "snapshot_hex"), file_of(row.as_object(), "log_hex"));
    EXPECT_EQ(to_text(read.entries.to_term()), to_text(map.to_term())) << name;
    EXPECT_EQ(erlang_map_of_file(text_of(row, "log_file")), "flags");
    ++count;
  }
  EXPECT_EQ(count, 9U);
}

TEST(ErlangLog, damage_is_counted) {
  const Bytes junk(11, 'x');
  const auto whole = read({}, log_of({record(put_of_k1), record(removal_of_k2)}));
  EXPECT_EQ(whole.records, 2U);
  EXPECT_EQ(whole.skipped_bytes, 0U);
  const auto between = read({}, log_of({record(put_of_k1), junk, record(removal_of_k2)}));
  EXPECT_EQ(between.records, 2U);
  EXPECT_EQ(between.skipped_bytes, 11U);
  EXPECT_EQ(between.entries.size(), 2U);
  const Bytes torn = log_of({record(put_of_k1), record(removal_of_k2)});
  const auto cut = read({}, Bytes(torn.begin(), torn.end() - 1));
  EXPECT_EQ(cut.entries.size(), 1U);
  EXPECT_EQ(cut.skipped_bytes, record(removal_of_k2).size() - 1);
  EXPECT_TRUE(read({}, junk).log_damaged);
  EXPECT_TRUE(read(junk, {}).snapshot_damaged);
  EXPECT_EQ(read(term_bytes("#{a => b, k1 => {tombstone,{timestamp,1,0}}}"), {}).rejected, 1U);
  EXPECT_EQ(read({}, log_of({record("[no,map]")})).rejected, 1U);
}

TEST(ErlangLog, large_records_have_a_longer_header) {
  const std::string large = "#{big => {value,<<\"" + std::string(70'000, 'x') + "\">>,#{{a,{timestamp,1,0}} => true}}}";
  const auto map = read({}, log_of({record(put_of_k1), record(large), record(removal_of_k2)}));
  EXPECT_EQ(map.records, 3U);
  EXPECT_EQ(map.skipped_bytes, 0U);
  EXPECT_EQ(map.entries.get(Atom("big"))->size(), 70'000U);
}

TEST(ErlangLog, snapshots_of_many_entries_are_read) {
  constexpr int count = 60'000;  // each names five atoms
  std::vector<TermPair> pairs;
  const Term dots = Term::map({{Term::tuple({Atom("a@h"), Term::tuple({Atom("timestamp"), 1, 0})}), true}});
  for (int key = 0; key < count; ++key) pairs.emplace_back(key, Term::tuple({Atom("value"), Atom("v"), dots}));
  EXPECT_EQ(read(encode_term(Term::map(std::move(pairs))), {}).entries.size(), std::size_t{count});
}

TEST(ErlangLog, the_log_counts_before_the_snapshot_where_it_is_newer) {
  const auto map = read(term_bytes("#{k1 => {value,old,#{{a,{timestamp,1,0}} => true}},"
                                   "k2 => {value,kept,#{{a,{timestamp,9,0}} => true}}}"),
                        log_of({record("#{k1 => {value,new,#{{a,{timestamp,5,0}} => true}}}"), record(removal_of_k2)}));
  EXPECT_EQ(*map.entries.get(Atom("k1")), Term(Atom("new")));
  EXPECT_EQ(*map.entries.get(Atom("k2")), Term(Atom("kept")));
}

TEST(ErlangLog, names_of_files_tell_the_map) {
  EXPECT_EQ(erlang_map_of_file("barrel_p2p_map_store$a.b.snapshot"), "a.b");
  EXPECT_EQ(erlang_map_of_file("barrel_p2p_map_store$flags.snapshot.tmp"), std::nullopt);
  EXPECT_EQ(erlang_map_of_file("barrel_p2p_reminder.log"), std::nullopt);
}

}  // namespace barrel_p2p::replication
