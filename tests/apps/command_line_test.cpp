// The tree of subcommands and options, and what is made from it: the manual page and completions.
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "command_line.hpp"
#include "completion.hpp"
#include "support/scratch.hpp"
#include "unknown_word.hpp"
#include "visitor_arguments.hpp"

namespace barrel_p2p::command {
namespace {

class CommandLine : public testing::Test {
 protected:
  CommandLine() { add_subcommands(app, status); }

  void each(const CLI::App& from, const std::string& path,
            const std::function<void(const std::string& path, const CLI::App& app)>& visit) {
    for (const auto* sub : from.get_subcommands([](const CLI::App*) { return true; })) {
      const std::string here = path.empty() ? sub->get_name() : path + " " + sub->get_name();
      visit(here, *sub);
      each(*sub, here, visit);
    }
  }
  static std::vector<std::string> long_options(const CLI::App& app) {
    std::vector<std::string> names;
    for (const auto* option : app.get_options([](const CLI::Option*) { return true; })) {
      for (const auto& name : option->get_lnames()) {
        if (name != "help") names.push_back(name);
      }
    }
    return names;
  }

  int status = 0;
  CLI::App app{"A cluster.", "barrel_p2p"};
};

TEST_F(CommandLine, the_manual_has_every_subcommand_and_option) {
  const std::string manual = manual_page(app);
  std::size_t count = 0;
  each(app, "", [&](const std::string& path, const CLI::App& sub) {
    EXPECT_NE(manual.find(path), std::string::npos) << path;
    for (std::string name : long_options(sub)) {
      for (std::size_t at = 0; (at = name.find('-', at)) != std::string::npos; at += 2) name.insert(at, 1, '\\');
      EXPECT_NE(manual.find("\\-\\-" + name), std::string::npos) << path << " --" << name;
      ++count;
    }
  });
  EXPECT_GT(count, 50U);
}

TEST_F(CommandLine, a_node_takes_every_log_level_of_its_configuration) {
  for (const char* level : {"debug", "info", "warning", "error", "off"}) {
    status = -1;
    EXPECT_NO_THROW(app.parse(std::string("node --name a@127.0.0.1 --check-config --log-level ") + level)) << level;
    EXPECT_EQ(status, 0) << level;
  }
}

TEST_F(CommandLine, a_word_that_is_no_subcommand_is_named_with_those_that_look_like_it) {
  app.require_subcommand(1);
  const auto said = [&](const std::string& line) {
    EXPECT_THROW(app.parse(line), CLI::ParseError) << line;
    return unknown_subcommand(app).value_or("something else");
  };
  EXPECT_EQ(said("stauts a@h"), "`stauts` is no subcommand: did you mean `status`?; `barrel_p2p --help` lists all");
  EXPECT_EQ(said("foo --json"), "`foo` is no subcommand; `barrel_p2p --help` lists all");
  EXPECT_EQ(said("keys lst"), "`lst` is no subcommand: did you mean `list`?; `barrel_p2p keys --help` lists all");
  EXPECT_EQ(said(""), "something else");
  EXPECT_EQ(said("keys list more"), "something else");
}

TEST_F(CommandLine, a_port_out_of_range_is_refused_with_the_range) {
  for (const char* line : {"node --port 99999", "node --admin-port 65536", "doctor --port -1"}) {
    try {
      app.parse(line);
      ADD_FAILURE() << line;
    } catch (const CLI::ParseError& error) {
      EXPECT_NE(std::string(error.what()).find("65535"), std::string::npos) << error.what();
    }
  }
}

TEST_F(CommandLine, commands_take_the_variables_of_a_node_where_their_own_are_not_set) {
  ::setenv("BARREL_P2P_DISCOVERY_DIR", "/of/the/node", 1);
  ::unsetenv("BARREL_P2P_DISC_DIR");
  EXPECT_EQ(variable_of({"BARREL_P2P_DISC_DIR", "BARREL_P2P_DISCOVERY_DIR"}), "BARREL_P2P_DISCOVERY_DIR");
  CLI::App another;
  add_status(another, status);
  EXPECT_EQ(another.get_subcommand("status")->get_option("--discovery-dir")->get_envname(), "BARREL_P2P_DISCOVERY_DIR");
  ::setenv("BARREL_P2P_DISC_DIR", "/of/commands", 1);
  EXPECT_EQ(variable_of({"BARREL_P2P_DISC_DIR", "BARREL_P2P_DISCOVERY_DIR"}), "BARREL_P2P_DISC_DIR");
  ::unsetenv("BARREL_P2P_DISC_DIR");
  ::unsetenv("BARREL_P2P_DISCOVERY_DIR");
  EXPECT_EQ(variable_of({"BARREL_P2P_DISC_DIR", "BARREL_P2P_DISCOVERY_DIR"}), "BARREL_P2P_DISC_DIR");
}

TEST_F(CommandLine, keys_and_certificates_of_a_node_are_never_those_that_a_visitor_goes_by) {
  for (const auto& [command, option] : {std::pair{"keys", "--key-dir"}, {"cert", "--cert-dir"}}) {
    EXPECT_EQ(app.get_subcommand(command)->get_option(option)->get_envname(), "") << command;
  }
  const test::ScratchDirectory root;
  ::setenv("BARREL_P2P_KEY_DIR", (root / "visitor").c_str(), 1);
  CLI::App another;
  add_keys(another, status);
  testing::internal::CaptureStdout();
  another.parse("keys new --data " + (root / "data").string());
  ::unsetenv("BARREL_P2P_KEY_DIR");
  EXPECT_EQ(status, exit_ok);
  EXPECT_NE(testing::internal::GetCapturedStdout().find((root / "data" / "keys").string()), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(root / "data" / "keys" / "node.key"));
  EXPECT_FALSE(std::filesystem::exists(root / "visitor"));
}

TEST_F(CommandLine, what_a_node_keeps_is_looked_for_where_its_environment_says_unless_an_option_does) {
  const test::ScratchDirectory root;
  ::setenv("BARREL_P2P_DATA_DIR", (root / "node").c_str(), 1);
  testing::internal::CaptureStdout();
  const auto run = [](const std::string& line) {
    int done = -1;
    CLI::App another;
    add_keys(another, done);
    add_cert(another, done);
    another.parse(line);
    return done;
  };
  EXPECT_EQ(run("keys new"), exit_ok);
  EXPECT_EQ(run("cert generate"), exit_ok);
  EXPECT_EQ(run("keys new --data " + (root / "other").string()), exit_ok);
  ::unsetenv("BARREL_P2P_DATA_DIR");
  testing::internal::GetCapturedStdout();
  for (const char* made : {"node/keys/node.key", "node/quic/node.key", "other/keys/node.key"}) {
    EXPECT_TRUE(std::filesystem::exists(root / made)) << made;
  }
}

TEST_F(CommandLine, completions_have_every_subcommand_and_option) {
  const std::string bash = bash_completion(app);
  const std::string zsh = zsh_completion(app);
  const std::string fish = fish_completion(app);
  each(app, "", [&](const std::string& path, const CLI::App& sub) {
    for (const auto& script : {bash, zsh}) EXPECT_NE(script.find("'" + path + "')"), std::string::npos) << path;
    EXPECT_NE(fish.find("-a '" + sub.get_name() + "'"), std::string::npos) << path;
    for (const auto& name : long_options(sub)) {
      EXPECT_NE(bash.find("--" + name), std::string::npos) << path << " " << name;
      EXPECT_NE(fish.find("-l " + name + " "), std::string::npos) << path << " " << name;
    }
  });
}

TEST_F(CommandLine, everything_that_prints_has_json) {
  each(app, "", [&](const std::string& path, const CLI::App& sub) {
    const bool group = !sub.get_subcommands([](const CLI::App*) { return true; }).empty();
    // What these print is for a shell, a pager, or an import.
    if (group || path.starts_with("completion") || path == "manual") return;
    const CLI::App* above = sub.get_parent();
    const bool own = sub.get_option_no_throw("--json") != nullptr;
    EXPECT_TRUE(own || (above->get_fallthrough() && above->get_option_no_throw("--json") != nullptr)) << path;
  });
}

TEST_F(CommandLine, every_subcommand_says_what_it_does) {
  each(app, "", [&](const std::string& path, const CLI::App& sub) {
    EXPECT_FALSE(sub.get_description().empty()) << path;
    for (const auto* option : sub.get_options([](const CLI::Option*) { return true; })) {
      EXPECT_FALSE(option->get_description().empty()) << path << " " << option->get_name();
    }
  });
}

}  // namespace
}  // namespace barrel_p2p::command
