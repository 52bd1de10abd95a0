#include "call_command.hpp"

#include <barrel_p2p/node.hpp>
#include <ostream>
#include <utility>

#include "command_line.hpp"

namespace barrel_p2p::command {
namespace {

int complain(std::ostream& errors, int status, const std::string& what) {
  errors << "barrel_p2p call: " << what << '\n';
  return status;
}

}  // namespace

int run_call_command(const CallCommand& command, std::ostream& output, std::ostream& errors) {
  const auto target = NodeName::parse(command.node);
  if (!target) return complain(errors, exit_usage, target.error().message());
  const auto arguments = parse_term(command.arguments);
  if (!arguments) return complain(errors, exit_usage, "the arguments: " + arguments.error().message());
  if (!arguments->is_proper_list())
    return complain(errors, exit_usage, "the arguments must be a list, for instance [1,2]");
  const auto module = Atom::make(command.module);
  const auto function = Atom::make(command.function);
  if (!module || !function) return complain(errors, exit_usage, "module and function must be atoms");

  auto visitor = Visitor::start(command, command.node);
  if (!visitor) return complain(errors, visitor.error().status, visitor.error().text);
  Node& node = visitor->node();
  if (const auto connected = node.connect(*target, command.timeout); !connected) {
    return complain(errors, CallCommand::exit_connect_failed,
                    "cannot connect to " + command.node + ": " + connected.error().message());
  }
  std::vector<Term> list(arguments->elements().begin(), arguments->elements().end());
  const auto result = node.call_function(*target, *module, *function, std::move(list), command.timeout);
  if (!result) return complain(errors, CallCommand::exit_badrpc, "badrpc: " + result.error().message());
  output << to_text(*result) << std::endl;  // NOLINT: flushed before the node stops
  return exit_ok;
}

}  // namespace barrel_p2p::command
