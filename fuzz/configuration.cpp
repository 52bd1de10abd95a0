// Files of a configuration, variables of the environment and scenarios of the simulator, as any bytes: no crash; what
// is taken is taken again, and has an error that names the key or the line where it is refused.
//
//   input: kind(1), then the text; of the environment: key(1) value, for each a piece of length(2)
#include <barrel_p2p/node_config.hpp>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "input.hpp"
#include "node/config_keys.hpp"
#include "node/validate.hpp"
#include "sim/scenario.hpp"

namespace {

using namespace barrel_p2p;
using namespace barrel_p2p::fuzz;

void check_error(const Error& error) { require(error == Errc::invalid_config && !error.context().empty()); }

void check_config(const Result<NodeConfig>& config) {
  if (!config) return check_error(config.error());
  require(node::differing_keys(*config, *config).empty());
  if (const auto valid = node::validate(*config); !valid) check_error(valid.error());
}

void read_file(std::string_view text) {
  NodeConfig defaults;
  defaults.name = "a@127.0.0.1";
  const auto config = parse_config(text, defaults);
  check_config(config);
  if (!config) return;
  const auto again = parse_config(text, defaults);
  require(again && node::differing_keys(*config, *again).empty());
}

void read_environment(Input& input) {
  static const auto keys = node::config_keys();
  std::map<std::string, std::string> environment;
  while (!input.empty()) {
    const auto& key = keys[input.byte() % keys.size()];
    environment[node::environment_name(key)] = input.text();
  }
  check_config(override_config(NodeConfig{}, environment));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  const auto kind = input.byte();
  if (kind == 'e') {
    read_environment(input);
  } else if (kind == 's') {
    if (const auto scenario = sim::parse_scenario(as_text(input.rest())); !scenario) check_error(scenario.error());
  } else {
    read_file(as_text(input.rest()));
  }
  return 0;
}
