#include "command_line.hpp"

namespace barrel_p2p::command {

void add_subcommands(CLI::App& app, int& status) {
  add_node(app, status);
  add_call(app, status);
  add_cert(app, status);
  add_chaos(app, status);
  add_completion(app, status);
  add_cp(app, status);
  add_doctor(app, status);
  add_keys(app, status);
  add_leader(app, status);
  add_map(app, status);
  add_place(app, status);
  add_remind(app, status);
  add_services(app, status);
  add_sim(app, status);
  add_status(app, status);
  add_store(app, status);
  add_term(app, status);
  add_top(app, status);
}

}  // namespace barrel_p2p::command
