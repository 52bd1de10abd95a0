// The tree of subcommands and options, and what is made from it: the manual page and completions.
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "command_line.hpp"
#include "completion.hpp"

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
