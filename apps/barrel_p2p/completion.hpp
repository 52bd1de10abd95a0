// What a shell has to know of the command line to complete it, and a manual page of it: made from the tree of
// subcommands and options itself, so that nothing is forgotten.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace barrel_p2p::command {

std::string bash_completion(const CLI::App& root);
std::string zsh_completion(const CLI::App& root);
std::string fish_completion(const CLI::App& root);
/// Section 1, as roff.
std::string manual_page(const CLI::App& root);

}  // namespace barrel_p2p::command
