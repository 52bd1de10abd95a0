#include "completion.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <vector>

namespace barrel_p2p::command {
namespace {

/// What a shell offers for a value.
std::string kind_of(const CLI::Option& option) {
  // The type, and after a colon what the checks of the option accept: LEVEL:{debug,info}.
  const std::string type = option.get_type_name();
  if (const auto open = type.find(":{"); open != std::string::npos) {
    std::string words = type.substr(open + 2, type.find('}', open) - open - 2);
    std::ranges::replace(words, ',', ' ');
    return "words " + words;
  }
  const std::string name = type.substr(0, type.find_first_of(": "));
  if (name == "NODE") return "node";
  if (name == "DIR") return "directory";
  if (name == "FILE" || name == "FILE|DIR" || name == "PATHS" || name == "SCENARIO") return "file";
  return "nothing";
}

bool is_flag(const CLI::Option& option) { return option.get_items_expected_max() == 0; }

/// `--json`, `-t`; empty for an argument that stands by its place.
std::vector<std::string> names_of(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const auto& name : option.get_lnames()) names.push_back("--" + name);
  for (const auto& name : option.get_snames()) names.push_back("-" + name);
  return names;
}

std::string joined(const std::vector<std::string>& words, const char* between = " ") {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

using Visit =
    std::function<void(const std::string& path, const CLI::App& app, const std::vector<const CLI::App*>& above)>;

/// The root and all subcommands, with the words that lead there: "", "map", "map get".
void each(const CLI::App& app, const std::string& path, std::vector<const CLI::App*> above, const Visit& visit) {
  visit(path, app, above);
  above.push_back(&app);
  for (const auto* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    each(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), above, visit);
  }
}

/// Its own options, and those of the commands above that fall through to it.
std::vector<const CLI::Option*> options_of(const CLI::App& app, const std::vector<const CLI::App*>& above) {
  const auto own = app.get_options([](const CLI::Option*) { return true; });
  std::vector<const CLI::Option*> options(own.begin(), own.end());
  for (std::size_t index = 1; index < above.size(); ++index) {
    if (!above[index]->get_fallthrough()) continue;
    for (const auto* option : above[index]->get_options([](const CLI::Option*) { return true; })) {
      if (option->get_name() != "--help") options.push_back(option);
    }
  }
  return options;
}

std::string value_case(const std::string& path, const std::string& option, const std::string& kind) {
  return "    '" + path + " " + option + "') echo '" + kind + "';;\n";
}

/// The tables that bash and zsh share, as functions of the path.
std::string shell_tables(const CLI::App& root) {
  std::string commands;
  std::string options;
  std::string values;
  std::string arguments;
  each(root, "", {}, [&](const std::string& path, const CLI::App& app, const std::vector<const CLI::App*>& above) {
    std::vector<std::string> subcommands;
    for (const auto* sub : app.get_subcommands([](const CLI::App*) { return true; }))
      subcommands.push_back(sub->get_name());
    std::vector<std::string> names;
    std::vector<std::string> kinds;
    for (const auto* option : options_of(app, above)) {
      const auto spelled = names_of(*option);
      if (spelled.empty()) {
        if (option->get_positional()) kinds.push_back(kind_of(*option));
        continue;
      }
      names.insert(names.end(), spelled.begin(), spelled.end());
      if (is_flag(*option)) continue;
      for (const auto& name : spelled) values += value_case(path, name, kind_of(*option));
    }
    const std::string label = "    '" + path + "') echo '";
    if (!subcommands.empty()) commands += label + joined(subcommands) + "';;\n";
    options += label + joined(names) + "';;\n";
    // By their places: the first kind is that of the first argument; the last one is repeated.
    if (!kinds.empty()) arguments += label + joined(kinds, ",") + "';;\n";
  });
  const auto function = [](const char* name, const char* subject, const std::string& cases) {
    return std::string(name) + "() {\n  case \"" + subject + "\" in\n" + cases + "  esac\n}\n";
  };
  return function("_barrel_p2p_commands", "$1", commands) + function("_barrel_p2p_options", "$1", options) +
         function("_barrel_p2p_values", "$1 $2", values) + function("_barrel_p2p_arguments", "$1", arguments);
}

/// Both shells: what to offer after the words that are there.
constexpr const char* shell_logic = R"sh(
# `path` would be zsh's list of directories of programs.
# Sets what is offered for the last of the words: `offer` (words), or `files` (file, directory).
_barrel_p2p_find() {
  local cur=$1 at='' word='' previous='' kind='' kinds='' place=0 directory=${BARREL_P2P_DISC_DIR:-${BARREL_P2P_DISCOVERY_DIR:-data/discovery}}
  shift
  offer='' files=''
  for word in "$@"; do
    if [[ -n $kind ]]; then
      [[ $previous == --discovery-dir ]] && directory=$word
      kind=''
    elif [[ $word == -* ]]; then
      kind=$(_barrel_p2p_values "$at" "$word")
    elif [[ " $(_barrel_p2p_commands "$at") " == *" $word "* ]]; then
      at="${at:+$at }$word"
    else
      place=$((place + 1))
    fi
    previous=$word
  done
  if [[ -z $kind && $cur == -* ]]; then
    offer=$(_barrel_p2p_options "$at")
    return
  fi
  if [[ -z $kind ]]; then
    offer=$(_barrel_p2p_commands "$at")
    [[ -n $offer ]] && return
    kinds=$(_barrel_p2p_arguments "$at")
    while [[ $place -gt 0 && $kinds == *,* ]]; do
      kinds=${kinds#*,}
      place=$((place - 1))
    done
    kind=${kinds%%,*}
  fi
  case $kind in
    words*) offer=${kind#words };;
    node) offer=$(command ls "$directory" 2>/dev/null | command sed -n 's/\.endpoint$//p');;
    file|directory) files=$kind;;
  esac
}
)sh";

std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char byte : text) result += byte == '\'' ? std::string("'\\''") : std::string(1, byte);
  return result + "'";
}

/// Without what roff would take for a command or an escape.
std::string roff(const std::string& text) {
  std::string result;
  bool line_begins = true;
  for (const char byte : text) {
    if (line_begins && (byte == '.' || byte == '\'')) result += "\\&";
    if (byte == '\\') {
      result += "\\e";
    } else if (byte == '-') {
      result += "\\-";
    } else {
      result += byte;
    }
    line_begins = byte == '\n';
  }
  return result;
}

std::string value_name(const CLI::Option& option) {
  if (is_flag(option)) return "";
  const std::string type = option.get_type_name();
  const auto open = type.find(":{");
  if (open != std::string::npos) return type.substr(0, open);
  return type.substr(0, type.find_first_of(": "));
}

std::string synopsis(const std::string& path, const CLI::App& app) {
  std::string line = "\\fBbarrel_p2p " + roff(path) + "\\fR [\\fIOPTIONS\\fR]";
  for (const auto* option : app.get_options([](const CLI::Option*) { return true; })) {
    if (!option->get_positional()) continue;
    const std::string name = "\\fI" + roff(value_name(*option)) + "\\fR";
    line += option->get_required() ? " " + name : " [" + name + "]";
  }
  return line;
}

std::string option_entry(const CLI::Option& option) {
  const auto names = names_of(option);
  const std::string value = value_name(option);
  std::string entry = ".TP\n";
  if (names.empty()) {
    entry += "\\fI" + roff(value) + "\\fR";
  } else {
    entry += "\\fB" + roff(joined(names, ", ")) + "\\fR" + (value.empty() ? "" : " \\fI" + roff(value) + "\\fR");
  }
  entry += "\n" + roff(option.get_description());
  if (!option.get_envname().empty()) entry += " (environment: \\fB" + roff(option.get_envname()) + "\\fR)";
  const std::string type = option.get_type_name();
  if (const auto open = type.find(":{"); open != std::string::npos) entry += roff("; one of " + type.substr(open + 1));
  return entry + "\n";
}

}  // namespace

std::string bash_completion(const CLI::App& root) {
  return "# bash completion of barrel_p2p; made by `barrel_p2p completion bash`.\n"
         "# Names of nodes have an @ in them, which must not end a word.\n"
         "COMP_WORDBREAKS=${COMP_WORDBREAKS//@/}\n" +
         shell_tables(root) + shell_logic + R"sh(
_barrel_p2p() {
  local cur=${COMP_WORDS[COMP_CWORD]} offer files
  _barrel_p2p_find "$cur" "${COMP_WORDS[@]:1:COMP_CWORD-1}"
  case $files in
    file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur");;
    directory) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur");;
    *) mapfile -t COMPREPLY < <(compgen -W "$offer" -- "$cur");;
  esac
}
complete -F _barrel_p2p barrel_p2p
)sh";
}

std::string zsh_completion(const CLI::App& root) {
  return "#compdef barrel_p2p\n# zsh completion of barrel_p2p; made by `barrel_p2p completion zsh`.\n" +
         shell_tables(root) + shell_logic + R"sh(
_barrel_p2p() {
  local offer files
  _barrel_p2p_find "${words[CURRENT]}" "${(@)words[2,CURRENT-1]}"
  case $files in
    file) _files;;
    directory) _files -/;;
    *) compadd -- ${=offer};;
  esac
}
if [ "$funcstack[1]" = "_barrel_p2p" ]; then
  _barrel_p2p "$@"
else
  compdef _barrel_p2p barrel_p2p
fi
)sh";
}

std::string fish_completion(const CLI::App& root) {
  std::string script =
      "# fish completion of barrel_p2p; made by `barrel_p2p completion fish`.\n"
      "# Whether the words so far lead to this subcommand.\n"
      "function __barrel_p2p_at\n"
      "  set -l words (commandline -opc | string match -v -- '-*')\n"
      "  set -l wanted barrel_p2p $argv\n"
      "  test (count $words) -ge (count $wanted); or return 1\n"
      "  for index in (seq 2 (count $wanted))\n"
      "    test $words[$index] = $wanted[$index]; or return 1\n"
      "  end\n"
      "end\n"
      "# ... and no further.\n"
      "function __barrel_p2p_here\n"
      "  __barrel_p2p_at $argv; and test (commandline -opc | string match -v -- '-*' | count) -eq (math (count $argv) "
      "+ "
      "1)\n"
      "end\n"
      "function __barrel_p2p_nodes\n"
      "  set -l directory data/discovery\n"
      "  set -q BARREL_P2P_DISCOVERY_DIR; and set directory $BARREL_P2P_DISCOVERY_DIR\n"
      "  set -q BARREL_P2P_DISC_DIR; and set directory $BARREL_P2P_DISC_DIR\n"
      "  set -l words (commandline -opc)\n"
      "  set -l place (contains -i -- --discovery-dir $words); and set directory $words[(math $place + 1)]\n"
      "  command ls $directory 2>/dev/null | string replace -rf '\\.endpoint$' ''\n"
      "end\n"
      "complete -c barrel_p2p -f\n";
  each(root, "", {}, [&](const std::string& path, const CLI::App& app, const std::vector<const CLI::App*>& above) {
    const std::string at = " -n '__barrel_p2p_at" + (path.empty() ? "" : " " + path) + "'";
    for (const auto* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
      script += "complete -c barrel_p2p -n '__barrel_p2p_here" + (path.empty() ? "" : " " + path) + "' -a " +
                quoted(sub->get_name()) + " -d " + quoted(sub->get_description()) + "\n";
    }
    for (const auto* option : options_of(app, above)) {
      std::string line = "complete -c barrel_p2p" + at;
      for (const auto& name : option->get_lnames()) line += " -l " + name;
      for (const auto& name : option->get_snames()) line += " -s " + name;
      const std::string kind = is_flag(*option) ? "" : kind_of(*option);
      if (names_of(*option).empty() && (kind == "nothing" || kind.empty())) continue;
      if (kind.starts_with("words ")) line += " -xa " + quoted(kind.substr(6));
      if (kind == "node")
        line += names_of(*option).empty() ? " -a '(__barrel_p2p_nodes)'" : " -xa '(__barrel_p2p_nodes)'";
      if (kind == "file" || kind == "directory") line += names_of(*option).empty() ? " -F" : " -rF";
      if (kind == "nothing") line += " -x";
      script += line + " -d " + quoted(option->get_description()) + "\n";
    }
  });
  return script;
}

std::string manual_page(const CLI::App& root) {
  std::string page =
      ".\\\" Made by `barrel_p2p manual`.\n"
      ".TH BARREL_P2P 1 \"\" \"" +
      roff(root.version()) + "\" \"User commands\"\n.SH NAME\nbarrel_p2p \\- " + roff(root.get_description()) +
      "\n.SH SYNOPSIS\n.nf\n";
  std::string commands;
  each(root, "", {}, [&](const std::string& path, const CLI::App& app, const std::vector<const CLI::App*>& above) {
    if (path.empty()) return;
    const bool group = !app.get_subcommands([](const CLI::App*) { return true; }).empty();
    if (!group) page += synopsis(path, app) + "\n";
    commands += (above.size() == 1 ? ".SH \"BARREL_P2P " + roff(path) + "\"\n" : ".SS \"" + roff(path) + "\"\n") +
                roff(app.get_description()) + "\n";
    for (const auto* option : app.get_options([](const CLI::Option*) { return true; })) {
      if (option->get_name() != "--help") commands += option_entry(*option);
    }
    if (!app.get_footer().empty()) commands += ".PP\n.nf\n" + roff(app.get_footer()) + "\n.fi\n";
  });
  page += ".fi\n.SH DESCRIPTION\n" + roff(root.get_footer()) +
          "\n.PP\nEach subcommand takes \\fB\\-\\-help\\fR. Those that print something take \\fB\\-\\-json\\fR; what "
          "went wrong "
          "is then an object on standard error with \\fIcommand\\fR, \\fIstatus\\fR and \\fIerror\\fR.\n" +
          commands;
  page +=
      ".SH \"EXIT STATUS\"\n"
      ".TP\n\\fB0\\fR\nSuccess.\n.TP\n\\fB1\\fR\nIt was understood, tried, and failed.\n"
      ".TP\n\\fB2\\fR\nWrong usage: nothing was done.\n.TP\n\\fB4\\fR\nThe node cannot be reached.\n"
      ".TP\n\\fB5\\fR\nThe node did not answer, or the function failed there.\n"
      ".SH FILES\n.TP\n\\fI~/.local/share/barrel_p2p\\fR\nIdentities that commands use to visit nodes "
      "(\\fBXDG_DATA_HOME\\fR moves them).\n"
      ".SH \"SEE ALSO\"\nThe documents that are installed with the library: cli.md, configuration.md, nodes.md.\n";
  return page;
}

}  // namespace barrel_p2p::command
