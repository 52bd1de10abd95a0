#include "services_command.hpp"

#include <optional>
#include <ostream>
#include <utility>
#include <vector>

#include "command_line.hpp"
#include "complaint.hpp"
#include "json.hpp"
#include "node_state.hpp"
#include "watch.hpp"

namespace barrel_p2p::command {
namespace {

std::string shown(const Remote& remote, const std::vector<ServiceLine>& lines, bool cut, bool json) {
  if (json) {
    return JsonObject().set("node", remote.name().string()).set("services", json_list(lines)).set("cut", cut).text();
  }
  std::string text;
  for (const auto& line : lines) {
    text += (text.empty() ? "" : "\n") + line.name + "\t" + line.node + "\t" + line.pid + "\t" + line.meta;
  }
  return text;
}

Result<std::string> list_services(Remote& remote, bool json) {
  const auto names = remote.ask("list_services");
  if (!names) return std::unexpected(names.error());
  std::vector<Term> some(names->elements().begin(), names->elements().end());
  const bool cut = some.size() > listed_max;
  if (cut) some.resize(listed_max);
  const auto lines = services_of(remote, some);
  if (!lines) return std::unexpected(lines.error());
  std::string text = shown(remote, *lines, cut, json);
  if (cut && !json) text += "\n... " + std::to_string(names->size() - listed_max) + " more names: look them up";
  return text;
}

Result<std::string> lookup(Remote& remote, const Term& name, bool json) {
  const auto entries = remote.ask("lookup", {name});
  if (!entries) {
    if (entries.error() != Errc::not_found) return std::unexpected(entries.error());
    return fail(Errc::not_found, "not_found: nothing is registered as " + to_text(name));
  }
  return shown(remote, service_lines(*entries), false, json);
}

/// `{ok, Pid}` of its own, `{ok, Node, Pid}` of another one.
Result<std::string> whereis(Remote& remote, const Term& name, bool json) {
  const auto answer = remote.ask("whereis_service", {name});
  if (!answer) {
    if (answer.error() != Errc::not_found) return std::unexpected(answer.error());
    return fail(Errc::not_found, "not_found: nothing is registered as " + to_text(name));
  }
  const bool elsewhere = answer->is_tagged("ok", 3);
  const std::string node = elsewhere ? plain_text((*answer)[1]) : remote.name().string();
  const std::string pid = to_text(elsewhere ? (*answer)[2] : *answer);
  if (json) return JsonObject().set("name", plain_text(name)).set("node", node).set("pid", pid).text();
  return node + "\t" + pid;
}

std::optional<std::string> event_line(const Term& message, bool json) {
  if (!message.is_tagged("barrel_p2p_service_event", 2)) return std::nullopt;
  const Term& event = message[1];
  if (!event.is_tuple() || event.size() < 3 || !event[0].is_atom()) return std::nullopt;
  const std::string kind = plain_text(event[0]);
  const std::string name = plain_text(event[1]);
  const std::string node = plain_text(event[2]);
  if (!json) return kind + "\t" + name + "\t" + node + (event.size() > 3 ? "\t" + to_text(event[3]) : "");
  JsonObject object;
  object.set("event", kind).set("name", name).set("node", node);
  if (event.size() > 3) object.set("reason", to_text(event[3]));
  return object.text();
}

}  // namespace

int run_services_command(const ServicesCommand& command, std::ostream& output, std::ostream& errors) {
  const Complaints complaints{errors, "services", command.json};
  Term name;
  if (command.operation == ServicesOperation::lookup || command.operation == ServicesOperation::whereis) {
    auto typed = typed_term(command.name, command.as_text);
    if (!typed) return complaints.tell(exit_usage, typed.error().context());
    name = std::move(*typed);
  }
  switch (command.operation) {
    case ServicesOperation::list:
      return run_question(command, complaints, output, "list_services",
                          [&](Remote& remote) { return list_services(remote, command.json); });
    case ServicesOperation::lookup:
      return run_question(command, complaints, output, "lookup",
                          [&](Remote& remote) { return lookup(remote, name, command.json); });
    case ServicesOperation::whereis:
      return run_question(command, complaints, output, "whereis_service",
                          [&](Remote& remote) { return whereis(remote, name, command.json); });
    case ServicesOperation::watch: {
      Watch watch;
      watch.function = "subscribe_services";
      watch.count = command.count;
      watch.line = [json = command.json](const Term& message) { return event_line(message, json); };
      return run_watch(command, watch, complaints, output);
    }
  }
  return exit_usage;
}

}  // namespace barrel_p2p::command
