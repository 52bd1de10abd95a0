// What the operators' commands do without a node: reading what was typed, drawing, looking at this machine.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>

#include "command_line.hpp"
#include "doctor_command.hpp"
#include "json.hpp"
#include "node_command.hpp"
#include "quic/address.hpp"
#include "remind_command.hpp"
#include "remote.hpp"
#include "status_command.hpp"
#include "support/json.hpp"
#include "support/scratch.hpp"
#include "top_command.hpp"

namespace barrel_p2p::command {
namespace {

namespace fs = std::filesystem;
using test::parse_json;

TEST(PrintedJson, keeps_the_order_of_keys_and_can_be_read) {
  const Json json = JsonObject()
                        .set("text", "a \"b\"\n\xff")
                        .set("none", std::optional<std::string>())
                        .set("list", std::vector<std::uint64_t>{1, 2})
                        .set("part", 0.25)
                        .set("endless", 1e308 * 10)
                        .set("empty", std::vector<Json>())
                        .set("inner", JsonObject().set("yes", true));
  EXPECT_EQ(json.text(), R"({"text":"a \"b\"\u000a\ufffd","none":null,"list":[1,2],"part":0.25,"endless":null,)"
                         R"("empty":[],"inner":{"yes":true}})");
  EXPECT_TRUE(parse_json(json.text())["inner"]["yes"].is_true());
}

TEST(TypedTerms, are_erlang_text_or_plain_text) {
  EXPECT_EQ(typed_term("{a,1}").value(), Term::tuple({Atom("a"), 1}));
  EXPECT_EQ(typed_term("{a,1}", true).value(), Term("{a,1}"));
  EXPECT_FALSE(typed_term("Hello there").has_value());
  EXPECT_EQ(typed_atom("Config").value(), Atom("Config"));
  EXPECT_EQ(typed_atom("'my map'").value(), Atom("my map"));
  EXPECT_FALSE(typed_atom("").has_value());
}

TEST(TypedTerms, of_a_call_are_a_list_and_the_error_shows_how_to_quote_one) {
  EXPECT_EQ(typed_arguments("[a,1]").value(), (std::vector<Term>{Atom("a"), 1}));
  EXPECT_EQ(typed_arguments("{a,1}").error().context(), "the arguments must be a list, for instance [1,2]");
  EXPECT_EQ(
      typed_arguments("b@127.0.0.1").error().context(),
      "`b@127.0.0.1` is no Erlang term (line 1, column 7: unexpected text after the term): the arguments are a list, "
      "for text write '[<<\"b@127.0.0.1\">>]', for an atom \"['b@127.0.0.1']\", with both kinds of quotes");
  EXPECT_NE(typed_arguments("[b@127.0.0.1]").error().context().find(" \"['b@h']\", "), std::string::npos);
}

TEST(Times, are_milliseconds_or_written_as_in_rfc_3339) {
  EXPECT_EQ(parse_time("0"), 0);
  EXPECT_EQ(parse_time("1970-01-02T00:00:01Z"), 86'401'000);
  EXPECT_EQ(parse_time("2026-11-28T18:00:00.250Z"), 1'795'888'800'250);
  EXPECT_EQ(time_text(1'795'888'800'250), "2026-11-28T18:00:00.250Z");
  EXPECT_EQ(time_text(-1), "1969-12-31T23:59:59.999Z");
  for (const char* wrong : {"", "tomorrow", "2026-02-30T00:00:00Z", "2026-11-28T18:00:00", "2026-11-28 18:00:00Z",
                            "2026-11-28T24:00:00Z", "2026-11-28T18:00:00.25Z", "2026-+1-28T18:00:00Z"}) {
    EXPECT_FALSE(parse_time(wrong).has_value()) << wrong;
  }
}

TEST(Durations, need_a_unit) {
  EXPECT_EQ(parse_duration("500ms"), 500);
  EXPECT_EQ(parse_duration("90s"), 90'000);
  EXPECT_EQ(parse_duration("5min"), 300'000);
  EXPECT_EQ(parse_duration("2h"), 7'200'000);
  EXPECT_EQ(parse_duration("1d"), 86'400'000);
  for (const char* wrong : {"", "5", "s", "-5s", "5 s", "5m", "99999999999999999999s"}) {
    EXPECT_FALSE(parse_duration(wrong).has_value()) << wrong;
  }
}

NodeState example_state() {
  NodeState state;
  state.name = "a@127.0.0.1";
  state.kind = "erlang";
  state.time = 1'000'000;
  state.members = std::vector<std::string>{"a@127.0.0.1"};
  state.owners = std::vector<std::string>(3, "a@127.0.0.1");
  PeerLine peer;
  peer.name = "b@127.0.0.1";
  peer.sent_bytes = 1000;
  peer.received_bytes = 500;
  state.peers.push_back(peer);
  return state;
}

TEST(Status, what_a_node_does_not_tell_is_named) {
  const auto lines = status_lines(example_state());
  const auto has = [&](const std::string& line) { return std::ranges::find(lines, line) != lines.end(); };
  EXPECT_TRUE(has("a@127.0.0.1  Erlang node"));
  EXPECT_TRUE(has("members (1)"));
  EXPECT_TRUE(has("leaders: not told by this node"));
  EXPECT_TRUE(has("partitions (3)"));
  EXPECT_TRUE(has("  a@127.0.0.1 3"));
  const auto json = parse_json(to_json(example_state()).text());
  EXPECT_TRUE(json["leaders"].is_null());
  EXPECT_TRUE(json["reminders"].is_null());
  EXPECT_EQ(json["placement"]["owners"][2].number(), 0);
}

TEST(TopScreen, rates_are_differences_and_a_new_connection_has_none) {
  const auto before = example_state();
  auto now = example_state();
  now.time += 2000;
  now.peers[0].sent_bytes = 3000;
  now.peers[0].received_bytes = 100;
  const auto figures = rates(before, now);
  ASSERT_EQ(figures.size(), 1U);
  EXPECT_EQ(figures[0].sent, 1000);
  EXPECT_FALSE(figures[0].received.has_value()) << "fewer than before: another connection";
}

TEST(TopScreen, fits_the_terminal_and_moves_no_cursor) {
  auto state = example_state();
  state.services = std::vector<ServiceLine>{{"bad\x1b[2J", "n\xc3\xa4me@h", "<0.1.0>", std::string(200, 'm')}};
  const auto page = screen(state, {}, "", 0, 8, 20);
  ASSERT_EQ(page.size(), 8U);
  EXPECT_EQ(page[0], "a@127.0.0.1  Erlang ");
  EXPECT_EQ(page[7], "q quits, arrows and ");
  const auto last = last_offset(state, {}, 8);
  EXPECT_GT(last, 0U);
  for (std::size_t offset = 0; offset <= last; ++offset) {
    for (const auto& line : screen(state, {}, "gone", offset, 8, 20)) {
      EXPECT_EQ(line.find('\x1b'), std::string::npos);
      EXPECT_LE(line.size(), 21U) << "one character of two bytes";
    }
  }
  EXPECT_EQ(last_offset(state, {}, 1000), 0U);
}

TEST(PlainNames, of_members_act_on_no_terminal_and_forge_no_line) {
  EXPECT_EQ(plain_text(Atom("a@127.0.0.1")), "a@127.0.0.1");
  EXPECT_EQ(plain_text(Atom("two words")), "two words");
  EXPECT_EQ(plain_text(Atom("caf\xc3\xa9\xc2\xa0")), "caf\xc3\xa9\xc2\xa0");
  EXPECT_EQ(plain_text(Atom("x\nmembers (9)")), "'x\\nmembers (9)'");
  EXPECT_EQ(plain_text(Atom("\x1b]52;c;aGk=\x07")), "'\\e]52;c;aGk=\\007'");
  EXPECT_EQ(plain_text(Atom("\xc2\x9b"
                            "2J\x7f")),
            "'\\2332J\\d'")
      << "CSI as one character";
  EXPECT_EQ(plain_text(Term("x\n")), "<<\"x\\n\">>");
}

TEST(Status, a_service_takes_one_line_whatever_it_is_called) {
  auto state = example_state();
  const auto lines = status_lines(state).size();
  const Term name = Atom("x\n  forged@h\x1b]52;c;x\x07");
  const Term entry = Term::tuple({Atom("service_entry"), name, Term(1), name, Term("m\n")});
  state.services = service_lines(Term::list({entry}));
  std::string all;
  for (const auto& line : status_lines(state)) all += line + '\n';
  EXPECT_EQ(std::ranges::count(all, '\n'), static_cast<std::ptrdiff_t>(lines + 1)) << all;
  EXPECT_EQ(all.find('\x1b'), std::string::npos);
}

class Doctor : public testing::Test {
 protected:
  Doctor() {
    config.name = "a@127.0.0.1";
    config.cookie = "secret";
    config.data_dir = root / "data";
  }

  const test::ScratchDirectory root;
  NodeConfig config;
};

TEST_F(Doctor, a_configuration_that_cannot_work_is_a_problem_and_a_public_cookie_a_warning) {
  EXPECT_EQ(check_configuration(config).at(0).level, Finding::Level::ok);
  config.cookie = NodeConfig().cookie;
  EXPECT_EQ(check_configuration(config).at(0).level, Finding::Level::warning);
  config.replication.lease = config.replication.heartbeat / 2;
  EXPECT_EQ(check_configuration(config).at(0).level, Finding::Level::problem);
}

TEST_F(Doctor, any_port_is_a_warning_where_others_look_for_the_node_in_dns) {
  const auto level = [this] { return check_configuration(config).at(0).level; };
  config.membership.contacts = {"a@127.0.0.1", "b@localhost", config.name};
  EXPECT_EQ(level(), Finding::Level::ok) << "all of this machine";
  config.membership.contacts.emplace_back("b@db2.example.net");
  config.dns_port = 4500;
  const auto finding = check_configuration(config).at(0);
  EXPECT_EQ(finding.level, Finding::Level::warning);
  EXPECT_NE(finding.text.find("port 4500"), std::string::npos) << finding.text;
  EXPECT_NE(finding.fix.find("listen_port = 4500"), std::string::npos) << finding.fix;
  config.static_nodes["b@db2.example.net"] = "10.0.0.2:4433";
  EXPECT_EQ(level(), Finding::Level::ok) << "found in the table";
  config.static_nodes.clear();
  config.discovery_backends = {"static", "file"};
  EXPECT_EQ(level(), Finding::Level::ok) << "nobody asks DNS";
  config.discovery_backends = {"dns"};
  EXPECT_EQ(level(), Finding::Level::warning);
  config.port = 4500;
  EXPECT_EQ(level(), Finding::Level::ok);
}

TEST_F(Doctor, a_port_in_use_is_a_problem_and_says_by_whom) {
  const auto address = quic::Address::make("127.0.0.1", 0).value();
  const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::bind(socket, address.data(), address.size()), 0);
  sockaddr_storage bound{};
  socklen_t size = sizeof(bound);
  ::getsockname(socket, reinterpret_cast<sockaddr*>(&bound), &size);
  const auto port = quic::Address(reinterpret_cast<sockaddr*>(&bound), size).port();
  const auto used = check_port("127.0.0.1", port).at(0);
  EXPECT_EQ(used.level, Finding::Level::problem);
  EXPECT_NE(used.text.find("process " + std::to_string(::getpid())), std::string::npos) << used.text;
  ::close(socket);
  EXPECT_EQ(check_port("::", 0).at(0).level, Finding::Level::ok);
  EXPECT_EQ(check_port("no address", 4433).at(0).level, Finding::Level::problem);
  EXPECT_EQ(check_port("192.0.2.1", 4433).at(0).level, Finding::Level::problem) << "not of this machine";
}

TEST_F(Doctor, small_udp_buffers_are_a_warning_with_the_line_to_set) {
  const auto proc = root / "proc";
  fs::create_directories(proc / "sys/net/core");
  std::ofstream(proc / "sys/net/core/rmem_max") << "212992\n";
  std::ofstream(proc / "sys/net/core/wmem_max") << "16777216\n";
  const auto findings = check_buffers(proc);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].level, Finding::Level::warning);
  EXPECT_NE(findings[0].fix.find("sysctl -w net.core.rmem_max=7340032"), std::string::npos) << findings[0].fix;
  std::ofstream(proc / "sys/net/core/rmem_max") << "16777216\n";
  EXPECT_EQ(check_buffers(proc).at(0).level, Finding::Level::ok);
}

TEST_F(Doctor, keys_that_others_may_touch_are_problems) {
  const auto keys = config.data_dir / "keys";
  fs::create_directories(keys);
  fs::permissions(keys, fs::perms::owner_all);
  EXPECT_EQ(check_keys(config).at(0).level, Finding::Level::ok);
  std::ofstream(keys / "node.key") << "x";
  fs::permissions(keys / "node.key", fs::perms::owner_read | fs::perms::others_read);
  EXPECT_EQ(check_keys(config).at(0).fix, "chmod 600 " + (keys / "node.key").string());
  fs::permissions(keys / "node.key", fs::perms::owner_read);
  fs::permissions(keys, fs::perms::owner_all | fs::perms::others_write);
  EXPECT_EQ(check_keys(config).at(0).fix, "chmod 700 " + keys.string());
}

TEST_F(Doctor, key_files_of_another_user_than_their_directory_are_told_with_the_command_that_mends_it) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give files to another user";
  const auto keys = config.data_dir / "keys";
  fs::create_directories(keys / "revoked");
  fs::permissions(keys / "revoked", fs::perms::owner_all);
  ASSERT_EQ(::chown(keys.c_str(), 61'234, 61'234), 0);
  const auto hidden = check_keys(config);
  ASSERT_EQ(hidden.size(), 1U);
  EXPECT_EQ(hidden[0].level, Finding::Level::problem);
  EXPECT_EQ(hidden[0].text, (keys / "revoked").string() + " belongs to another user than " + keys.string() +
                                ": a node that runs as its owner cannot read all of it");
  EXPECT_EQ(hidden[0].fix, "chown -R --reference=" + keys.string() + " " + keys.string());
  fs::permissions(keys / "revoked", fs::perms::owner_all | fs::perms::others_read | fs::perms::others_exec);
  EXPECT_EQ(check_keys(config).at(0).level, Finding::Level::warning) << "it can be read";
  ASSERT_EQ(::chown((keys / "revoked").c_str(), 61'234, 61'234), 0);
  EXPECT_EQ(check_keys(config).at(0).level, Finding::Level::ok);
}

TEST_F(Doctor, a_damaged_store_is_a_problem) {
  EXPECT_EQ(check_store(config).at(0).level, Finding::Level::ok) << "there is none";
  fs::create_directories(config.data_dir / "store");
  std::ofstream(config.data_dir / "store" / "store.db") << std::string(10'000, 'x');
  EXPECT_EQ(check_store(config).at(0).level, Finding::Level::problem);
}

TEST_F(Doctor, a_disk_is_looked_at_where_the_data_will_be) {
  EXPECT_NE(check_disk(root / "not" / "yet" / "there").at(0).text.find("are free"), std::string::npos);
}

TEST_F(Doctor, clocks_that_differ_are_told_by_how_much_it_matters) {
  EXPECT_EQ(clock_finding("b@h", 100, 5).level, Finding::Level::ok);
  EXPECT_EQ(clock_finding("b@h", -900, 500).level, Finding::Level::ok) << "it may be the way of the question";
  EXPECT_EQ(clock_finding("b@h", -2000, 5).level, Finding::Level::warning);
  EXPECT_EQ(clock_finding("b@h", 60'000, 5).level, Finding::Level::problem);
  EXPECT_NE(clock_finding("b@h", -2000, 5).text.find("2000 ms behind"), std::string::npos);
}

TEST_F(Doctor, what_the_environment_says_counts_more_than_the_file_as_for_the_node) {
  std::ofstream(root / "good.toml")
      << "name = 'a@127.0.0.1'\ndist_cookie = 'secret'\nactive_size = 5\ndata_dir = 'x'\n";
  DoctorCommand command;
  command.config_file = root / "good.toml";
  command.local = true;
  command.port = 0;
  command.environment = {{"BARREL_P2P_DATA_DIR", (root / "data").string()}};
  const auto said = [&command] {
    std::ostringstream output;
    std::ostringstream errors;
    const int status = run_doctor_command(command, output, errors);
    return std::pair{status, output.str()};
  };
  const auto [good, all_is_well] = said();
  EXPECT_EQ(good, exit_ok) << all_is_well;
  EXPECT_NE(all_is_well.find("for " + (root / "data").string()), std::string::npos) << all_is_well;
  for (const auto& [variable, value] :
       Environment{{"BARREL_P2P_ACTIVE_SIZE", "99"}, {"BARREL_P2P_MEMBER_TTL_MS", "1000"}}) {
    command.environment[variable] = value;
    const auto read = configuration_of(command.config_file, command.environment);
    const auto refused = read ? check_node(*read) : std::unexpected(read.error());
    ASSERT_FALSE(refused.has_value());
    const auto [bad, complaint] = said();
    EXPECT_EQ(bad, exit_failed);
    EXPECT_NE(complaint.find(refused.error().context()), std::string::npos) << complaint;
    command.environment.erase(variable);
  }
}

TEST_F(Doctor, the_cookie_of_commands_counts_where_the_configuration_has_none) {
  std::ofstream(root / "none.toml") << "name = 'a@127.0.0.1'\n";
  DoctorCommand command;
  command.config_file = root / "none.toml";
  command.data = config.data_dir;
  command.local = true;
  const auto warned = [&command] {
    std::ostringstream output;
    std::ostringstream errors;
    run_doctor_command(command, output, errors);
    return output.str().find("the cookie is the public default") != std::string::npos;
  };
  EXPECT_TRUE(warned());
  command.environment = {{"BARREL_P2P_COOKIE", "of the commands"}};
  EXPECT_TRUE(warned()) << "what was typed in its place is the default";
  command.cookie = "of the commands";
  EXPECT_FALSE(warned());
  command.cookie = NodeConfig().cookie;
  command.environment = {{"BARREL_P2P_DIST_COOKIE", "of the node"}};
  EXPECT_FALSE(warned());
}

TEST_F(Doctor, a_file_that_cannot_be_read_is_reported_beside_everything_else) {
  std::ofstream(root / "bad.toml") << "listen_prot = 1\n";
  DoctorCommand command;
  command.config_file = root / "bad.toml";
  command.data = config.data_dir;
  command.local = true;
  command.json = true;
  std::ostringstream output;
  std::ostringstream errors;
  EXPECT_EQ(run_doctor_command(command, output, errors), 1);
  const auto report = parse_json(output.str());
  EXPECT_FALSE(report["healthy"].is_true());
  EXPECT_NE(report["findings"][0]["text"].text.find("listen_prot"), std::string::npos);
  EXPECT_GT(report["findings"].items.size(), 5U);
}

}  // namespace
}  // namespace barrel_p2p::command
