// The nodes of the demo.
#pragma once

#include <string>

namespace demo {

/// Is the node of a role until its standard input ends: `alice`, `bob`, `carol`, or `bob-impostor`, who claims bob's
/// name. All of its data is below `directory`. Returns the exit status of the process.
int run_node(const std::string& role, const std::string& directory);

}  // namespace demo
