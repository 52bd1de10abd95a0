// What is said of a word that stands where a subcommand should.
#pragma once

#include <optional>
#include <string>

namespace CLI {
class App;
}

namespace barrel_p2p::command {

/// Of a command line that could not be read: the word that is no subcommand, and the subcommands that look like it.
/// Nothing when it is something else that was wrong.
std::optional<std::string> unknown_subcommand(const CLI::App& root);

}  // namespace barrel_p2p::command
