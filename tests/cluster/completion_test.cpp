// The completions as the shells execute them.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "cluster/command_support.hpp"

namespace barrel_p2p::test {
namespace {

std::optional<std::string> program(const std::string& name) {
  for (const char* directory : {"/bin/", "/usr/bin/", "/usr/local/bin/"}) {
    if (std::filesystem::exists(directory + name)) return directory + name;
  }
  return std::nullopt;
}

class Completion : public Command {
 protected:
  Completion() {
    std::filesystem::create_directories(path("discovery"));
    std::ofstream(root / "discovery" / "a@127.0.0.1.endpoint") << "{\"127.0.0.1\",1}.\n";
  }
  /// Lines for any of the shells; `try` completes the last of its words and prints what is offered on one line.
  [[nodiscard]] std::string tries() const {
    return "try sta\ntry map g\ntry map get config --str\ntry node --log-level w\ntry status --discovery-dir " +
           path("discovery") + " a\ntry map get --discovery-dir " + path("discovery") + " -N a@1\n";
  }
  const std::string offered = "status\nget\n--string\nwarning\na@127.0.0.1\na@127.0.0.1\n";
  /// For an option whose value is a directory.
  [[nodiscard]] std::string try_directory() const { return "try keys show --data " + path("disc") + "\n"; }
};

TEST_F(Completion, offers_commands_options_values_and_nodes_in_bash) {
  const std::string script = "source <('" BARREL_P2P_COMMAND
                             "' completion bash)\n"
                             "try() { COMP_WORDS=(barrel_p2p \"$@\"); COMP_CWORD=$#; COMPREPLY=(); _barrel_p2p; echo "
                             "\"${COMPREPLY[*]}\"; }\n" +
                             tries() + try_directory();
  Subprocess bash({"/bin/bash", "--norc", "-c", script});
  EXPECT_EQ(bash.wait(), 0) << bash.errors();
  EXPECT_EQ(bash.errors(), "");
  EXPECT_EQ(bash.output(), offered + path("discovery") + "\n");
}

// Found by zsh's own system in a directory of completions, as an installed one is; what needs a terminal is replaced.
TEST_F(Completion, offers_commands_options_values_and_nodes_in_zsh) {
  const auto zsh = program("zsh");
  if (!zsh) GTEST_SKIP() << "zsh is not installed";
  std::filesystem::create_directories(path("completions"));
  const auto script_of_ours = run({"completion", "zsh"});
  ASSERT_EQ(script_of_ours.status, 0) << script_of_ours.errors;
  std::ofstream(root / "completions" / "_barrel_p2p") << script_of_ours.output;
  const std::string script = "fpath=(" + path("completions") +
                             " $fpath)\n"
                             "autoload -Uz compinit; compinit -D -u\n"
                             "compadd() { shift; print -r -- ${(M)@:#${words[CURRENT]}*} }\n"
                             "_files() { print -r -- files $@ }\n"
                             "try() { words=(barrel_p2p $@); CURRENT=$#words; $_comps[barrel_p2p] }\n" +
                             tries() + try_directory();
  Subprocess process({*zsh, "-f", "-c", script});
  EXPECT_EQ(process.wait(), 0) << process.errors();
  EXPECT_EQ(process.errors(), "");
  EXPECT_EQ(process.output(), offered + "files -/\n");
}

TEST_F(Completion, offers_commands_options_values_and_nodes_in_fish) {
  const auto fish = program("fish");
  if (!fish) GTEST_SKIP() << "fish is not installed";
  const std::string script =
      "'" BARREL_P2P_COMMAND
      "' completion fish | source\n"
      "function try; echo (complete -C\"barrel_p2p $argv\" | string replace -r '\\t.*' ''); end\n" +
      tries() + try_directory();
  Subprocess process({"/usr/bin/env", "HOME=" + root.string(), *fish, "--no-config", "-c", script});
  EXPECT_EQ(process.wait(), 0) << process.errors();
  EXPECT_EQ(process.errors(), "");
  EXPECT_EQ(process.output(), offered + path("discovery") + "/\n");
}

}  // namespace
}  // namespace barrel_p2p::test
