#include "call_command.hpp"

#include <barrel_p2p/node.hpp>
#include <ostream>
#include <string>
#include <utility>

#include "command_line.hpp"
#include "complaint.hpp"
#include "json.hpp"
#include "remote.hpp"

namespace barrel_p2p::command {
int run_call_command(const CallCommand& command, std::ostream& output, std::ostream& errors) {
  const Complaints complaints{errors, "call", command.json};
  const auto target = NodeName::parse(command.node);
  if (!target) return complaints.tell(exit_usage, target.error().message());
  auto arguments = typed_arguments(command.arguments);
  if (!arguments) return complaints.tell(exit_usage, arguments.error().context());
  const auto module = Atom::make(command.module);
  const auto function = Atom::make(command.function);
  if (!module || !function) return complaints.tell(exit_usage, "module and function must be atoms");

  auto visitor = Visitor::start(command, command.node);
  if (!visitor) return complaints.tell(visitor.error().status, visitor.error().text);
  Node& node = visitor->node();
  if (const auto failure = visitor->connect(*target, command.timeout)) {
    return complaints.tell(failure->status, failure->text);
  }
  const auto result = node.call_function(*target, *module, *function, std::move(*arguments), command.timeout);
  if (!result) return complaints.tell(CallCommand::exit_badrpc, "badrpc: " + result.error().message());
  const std::string text = to_text(*result);
  const std::string line = command.json ? JsonObject().set("node", command.node).set("result", text).text() : text;
  output << line << std::endl;  // NOLINT: flushed before the node stops
  return exit_ok;
}

}  // namespace barrel_p2p::command
