#include <CLI/CLI.hpp>
#include <cstdint>
#include <iostream>
#include <memory>

#include "command_line.hpp"
#include "sim_command.hpp"
#include "visitor_arguments.hpp"

namespace barrel_p2p::command {

void add_sim(CLI::App& app, int& status) {
  auto command = std::make_shared<SimCommand>();
  auto* sim = app.add_subcommand("sim", "Run a scenario on a simulated cluster");
  sim->add_option("scenario", command->scenario, "TOML file; examples are in sim/scenarios")
      ->required()
      ->type_name("SCENARIO");
  sim->add_option("--nodes", command->nodes, "Number of nodes, in place of the scenario's")
      ->check(CLI::Range(std::uint64_t{2}, std::uint64_t{1'000'000}))
      ->type_name("N");
  sim->add_option("--seed", command->seed, "Seed, in place of the scenario's: equal seeds give equal runs")
      ->type_name("S");
  sim->add_option("--seeds", command->seeds, "Run with so many seeds, one after the other, and count what fails")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{100'000'000}))
      ->type_name("COUNT");
  sim->add_option("--csv", command->csv, "Write the tables to this file")->type_name("FILE");
  sim->add_option("--svg", command->svg, "Write the charts to this file")->type_name("FILE");
  add_json_option(*sim, command->json);
  sim->callback([command, &status] { status = run_sim_command(*command, std::cout, std::cerr); });
}

}  // namespace barrel_p2p::command
