#include "store_command.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <string>

#include "command_line.hpp"
#include "replication/store_mark.hpp"
#include "replication/store_support.hpp"

namespace barrel_p2p::command {
namespace {

using replication::Scratch;

struct Outcome {
  int status;
  std::string output;
  std::string errors;
};

Outcome run(StoreOperation operation, const std::filesystem::path& directory, const std::string& text = {}) {
  std::istringstream input(text);
  std::ostringstream output;
  std::ostringstream errors;
  const int status = run_store_command({.operation = operation, .directory = directory}, input, output, errors);
  return {status, output.str(), errors.str()};
}

void make_store(const std::filesystem::path& directory) {
  const auto store = replication::open_store(directory);
  replication::WriteBatch batch;
  batch.put("map:config", Atom("limit"), replication::entry_with(100, 3));
  batch.put("map:config", Term::tuple({"a b\n", 1.5}), replication::entry_with(Term::map({{1, Term::list({2, 3})}})));
  batch.put("map:'x y'", Pid{Atom("n@h"), 1, 2, 3}, replication::Entry::tombstone({4, 5}));
  batch.set("clock mark", 99);
  ASSERT_TRUE(replication::write_now(*store, std::move(batch)).has_value());
}

TEST(StoreCommand, verify_says_what_is_there) {
  const Scratch scratch;
  make_store(scratch / "s");
  const auto outcome = run(StoreOperation::verify, scratch / "s");
  EXPECT_EQ(outcome.status, exit_ok) << outcome.errors;
  EXPECT_EQ(outcome.output, "(named values) 1\nmap:'x y' 1\nmap:config 2\nok\n");
}

TEST(StoreCommand, a_data_directory_is_as_good_to_read_as_the_store_in_it) {
  const Scratch scratch;
  make_store(scratch / "data/store");
  for (const auto operation : {StoreOperation::verify, StoreOperation::dump, StoreOperation::export_records}) {
    const auto outcome = run(operation, scratch / "data");
    EXPECT_EQ(outcome.status, exit_ok) << outcome.errors;
    EXPECT_EQ(outcome.output, run(operation, scratch / "data/store").output);
  }
  EXPECT_NE(run(StoreOperation::verify, scratch / "typo").errors.find("give a data directory"), std::string::npos);
}

TEST(StoreCommand, verify_fails_on_damage_and_says_what_is_wrong) {
  const Scratch scratch;
  make_store(scratch / "s");
  auto bytes = replication::read_bytes(scratch / "s/store.db");
  const auto key = as_bytes("a b\n");
  const auto at = std::ranges::search(bytes, key);
  ASSERT_FALSE(at.empty());
  at.front() ^= 1U;
  replication::write_bytes(scratch / "s/store.db", bytes);
  const auto outcome = run(StoreOperation::verify, scratch / "s");
  EXPECT_EQ(outcome.status, exit_failed);
  EXPECT_NE(outcome.errors.find("corrupt: "), std::string::npos) << outcome.errors;
  EXPECT_NE(outcome.errors.find("Lost: 1 of 2 records of map:config. Usable: 3 records."), std::string::npos)
      << outcome.errors;
  EXPECT_NE(outcome.errors.find("Nothing was changed"), std::string::npos) << outcome.errors;
  EXPECT_EQ(replication::read_bytes(scratch / "s/store.db"), bytes);
}

TEST(StoreCommand, without_a_store_everything_but_import_fails) {
  const Scratch scratch;
  for (const auto operation : {StoreOperation::verify, StoreOperation::dump, StoreOperation::export_records}) {
    const auto outcome = run(operation, scratch / "s");
    EXPECT_EQ(outcome.status, exit_failed);
    EXPECT_NE(outcome.errors.find("not_found: there is no store in"), std::string::npos) << outcome.errors;
    EXPECT_EQ(outcome.output, "");
  }
  EXPECT_FALSE(std::filesystem::exists(scratch / "s"));
}

TEST(StoreCommand, dump_prints_one_term_a_line) {
  const Scratch scratch;
  make_store(scratch / "s");
  const auto outcome = run(StoreOperation::dump, scratch / "s");
  EXPECT_EQ(outcome.status, exit_ok) << outcome.errors;
  std::istringstream lines(outcome.output);
  std::string line;
  int count = 0;
  while (std::getline(lines, line)) {
    EXPECT_TRUE(parse_term(line).has_value()) << line;
    ++count;
  }
  EXPECT_EQ(count, 4);
  EXPECT_NE(outcome.output.find("{record,<<\"map:config\">>,limit,"
                                "{value,100,#{{a@host,{timestamp,3,0}} => true}}}.\n"),
            std::string::npos)
      << outcome.output;
  EXPECT_NE(outcome.output.find("{value,<<\"clock mark\">>,99}.\n"), std::string::npos) << outcome.output;
}

TEST(StoreCommand, import_reads_back_exactly_what_export_wrote) {
  const Scratch scratch;
  make_store(scratch / "s");
  const auto exported = run(StoreOperation::export_records, scratch / "s");
  ASSERT_EQ(exported.status, exit_ok) << exported.errors;
  const auto imported = run(StoreOperation::import_records, scratch / "t", exported.output);
  EXPECT_EQ(imported.status, exit_ok) << imported.errors;
  EXPECT_EQ(imported.output, "imported 4 records\n");
  EXPECT_EQ(run(StoreOperation::export_records, scratch / "t").output, exported.output);
  EXPECT_EQ(run(StoreOperation::dump, scratch / "t").output, run(StoreOperation::dump, scratch / "s").output);
}

TEST(StoreCommand, export_and_dump_give_a_mark_that_the_database_had_no_room_for) {
  for (const bool in_database : {false, true}) {
    const Scratch scratch;
    make_store(scratch / "s");
    if (in_database) {
      const auto store = replication::open_store(scratch / "s");
      replication::WriteBatch batch;
      batch.set("clock", 1000);
      ASSERT_TRUE(replication::write_now(*store, std::move(batch)).has_value());
    }
    {
      // As a full disk leaves it.
      auto mark = replication::store::MarkFile::open(scratch / "s/store.mark", true);
      ASSERT_TRUE(mark.has_value());
      ASSERT_TRUE(mark->write(2000).has_value());
    }
    const auto dumped = run(StoreOperation::dump, scratch / "s").output;
    EXPECT_NE(dumped.find("{value,<<\"clock\">>,2000}.\n"), std::string::npos) << dumped;
    EXPECT_EQ(dumped.find(",1000}.\n"), std::string::npos) << dumped;
    const auto exported = run(StoreOperation::export_records, scratch / "s");
    ASSERT_EQ(exported.status, exit_ok) << exported.errors;
    const auto imported = run(StoreOperation::import_records, scratch / "t", exported.output);
    EXPECT_EQ(imported.status, exit_ok) << imported.errors;
    EXPECT_EQ(replication::open_store(scratch / "t")->value("clock").value(), Term(2000));
  }
}

TEST(StoreCommand, reading_makes_no_file_for_a_mark) {
  const Scratch scratch;
  make_store(scratch / "s");
  const auto before = replication::names_in(scratch / "s");
  for (const auto operation : {StoreOperation::verify, StoreOperation::dump, StoreOperation::export_records}) {
    EXPECT_EQ(run(operation, scratch / "s").status, exit_ok);
  }
  EXPECT_EQ(replication::names_in(scratch / "s"), before);
}

TEST(StoreCommand, a_mark_that_cannot_be_read_is_not_left_out) {
  const Scratch scratch;
  make_store(scratch / "s");
  std::filesystem::create_directory(scratch / "s/store.mark");
  const auto outcome = run(StoreOperation::export_records, scratch / "s");
  EXPECT_EQ(outcome.status, exit_failed);
  EXPECT_NE(outcome.errors.find("store.mark"), std::string::npos) << outcome.errors;
}

TEST(StoreCommand, import_refuses_a_store_that_holds_something) {
  const Scratch scratch;
  make_store(scratch / "s");
  const auto exported = run(StoreOperation::export_records, scratch / "s").output;
  const auto outcome = run(StoreOperation::import_records, scratch / "s", exported);
  EXPECT_EQ(outcome.status, exit_failed);
  EXPECT_NE(outcome.errors.find("new directory"), std::string::npos) << outcome.errors;
}

TEST(StoreCommand, an_export_that_was_changed_or_cut_off_imports_nothing) {
  const Scratch scratch;
  make_store(scratch / "s");
  const auto exported = run(StoreOperation::export_records, scratch / "s").output;
  std::vector<std::string> bad{"", "nonsense\n", exported.substr(0, exported.rfind("end ")),
                               exported.substr(0, exported.size() / 2)};
  std::string changed = exported;
  changed[changed.find("value ") + 9] = '0';
  bad.push_back(changed);
  std::string missing = exported;
  const auto first = missing.find("record ");
  missing.erase(first, missing.find('\n', first) + 1 - first);
  bad.push_back(missing);
  for (const auto& text : bad) {
    const auto outcome = run(StoreOperation::import_records, scratch / "t", text);
    EXPECT_EQ(outcome.status, exit_failed) << text;
    EXPECT_NE(outcome.errors.find("corrupt: "), std::string::npos) << outcome.errors;
    EXPECT_FALSE(std::filesystem::exists(scratch / "t"));
  }
}

TEST(StoreCommand, maps_and_reminders_of_an_erlang_node_are_imported_and_what_is_damaged_is_said) {
  const Scratch scratch;
  const auto erlang = scratch / "erlang";
  std::filesystem::create_directories(erlang);
  Bytes log{1, 2, 3, 4, 6, 7, 8, 9};
  const Bytes entry = encode_term(*parse_term("#{limit => {value,100,#{{'a@h',{timestamp,3,0}} => true}}}"));
  log.insert(log.end(), {0, 0, 0, static_cast<std::uint8_t>(entry.size()), 0x62, 0x57, 0x4C, 0x41});
  log.insert(log.end(), entry.begin(), entry.end());
  log.insert(log.end(), {0, 0, 0, 9, 0x62, 0x57, 0x4C});
  replication::write_bytes(erlang / "barrel_p2p_map_store$config.log", log);
  replication::write_bytes(erlang / "barrel_p2p_map_store$flags.snapshot",
                           encode_term(*parse_term("#{dark => {tombstone,{timestamp,4,0}}}")));
  replication::write_bytes(
      erlang / "barrel_p2p_reminder.snapshot",
      encode_term(*parse_term("#{later => {value,{100,payload,{timestamp,3,0}},#{{'a@h',{timestamp,3,1}} => true}}}")));
  std::istringstream input;
  std::ostringstream output;
  std::ostringstream errors;
  const StoreCommand command{StoreOperation::import_records, scratch / "s", erlang};
  EXPECT_EQ(run_store_command(command, input, output, errors), exit_ok) << errors.str();
  EXPECT_EQ(output.str(),
            "map/config 1\nmap/config: 7 bytes of the log are damaged and were skipped\nmap/flags 1\nreminders 1\n"
            "imported 3 records\n");
  EXPECT_EQ(
      run(StoreOperation::dump, scratch / "s").output,
      "{record,<<\"map/config\">>,limit,{value,100,#{{a@h,{timestamp,3,0}} => true}}}.\n"
      "{record,<<\"map/flags\">>,dark,{tombstone,{timestamp,4,0}}}.\n"
      "{record,<<\"reminders\">>,later,{value,{100,payload,{timestamp,3,0}},#{{a@h,{timestamp,3,1}} => true}}}.\n");
}

TEST(StoreCommand, a_directory_without_maps_of_an_erlang_node_makes_no_store) {
  const Scratch scratch;
  std::filesystem::create_directories(scratch / "erlang");
  std::istringstream input;
  std::ostringstream output;
  std::ostringstream errors;
  const StoreCommand command{StoreOperation::import_records, scratch / "s", scratch / "erlang"};
  EXPECT_EQ(run_store_command(command, input, output, errors), exit_failed);
  EXPECT_NE(errors.str().find("not_found: there are no maps of an Erlang node"), std::string::npos) << errors.str();
  EXPECT_FALSE(std::filesystem::exists(scratch / "s"));
}

TEST(StoreCommand, a_store_that_a_node_uses_is_left_alone) {
  const Scratch scratch;
  make_store(scratch / "s");
  const auto store = replication::open_store(scratch / "s");
  const auto outcome = run(StoreOperation::verify, scratch / "s");
  EXPECT_EQ(outcome.status, exit_failed);
  EXPECT_NE(outcome.errors.find("in use by process"), std::string::npos) << outcome.errors;
}

}  // namespace
}  // namespace barrel_p2p::command
