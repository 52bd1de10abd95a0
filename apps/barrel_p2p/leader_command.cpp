#include "leader_command.hpp"

#include <poll.h>

#include <algorithm>
#include <optional>
#include <ostream>
#include <utility>
#include <vector>

#include "command_line.hpp"
#include "complaint.hpp"
#include "interrupts.hpp"
#include "json.hpp"
#include "node_state.hpp"
#include "watch.hpp"

namespace barrel_p2p::command {
namespace {

std::string shown(const LeaderLine& line, bool json) {
  if (json) return to_json(line).text();
  return line.role + "\t" + line.node.value_or("-") + "\t" + line.pid.value_or("-") + "\t" + line.fence.value_or("-");
}

Result<std::string> list_leaders(Remote& remote, bool json) {
  const auto answer = remote.facade("leaders");
  if (!answer) return std::unexpected(answer.error());
  if (!answer->is_tuple(2)) return fail(Errc::type_mismatch, "barrel_p2p:leaders() answers " + to_text(*answer));
  const auto lines = leader_lines((*answer)[0]);
  if (json) {
    return JsonObject()
        .set("node", remote.name().string())
        .set("leaders", json_list(lines))
        .set("cut", (*answer)[1].as_bool().value_or(false))
        .text();
  }
  std::string text;
  for (const auto& line : lines) text += (text.empty() ? "" : "\n") + shown(line, false);
  return text;
}

/// What C++ nodes tell of all roles, or what all nodes tell of one. Error: `no_leader`.
Result<LeaderLine> find(Remote& remote, const Term& role) {
  LeaderLine line;
  line.role = plain_text(role);
  if (const auto all = remote.facade("leaders"); all && all->is_tuple(2)) {
    const auto lines = leader_lines((*all)[0]);
    const auto found = std::ranges::find(lines, line.role, &LeaderLine::role);
    if (found != lines.end()) line = *found;
  }
  // The word that counts, in one place for all kinds of nodes.
  const auto leader = remote.ask("leader", {role});
  if (!leader) return std::unexpected(leader.error());
  if (!leader->is_tagged("ok", 3)) return fail(Errc::no_leader, "no_leader");
  line.node = plain_text((*leader)[1]);
  line.pid = to_text((*leader)[2]);
  if (line.fence || line.node != remote.name().text()) return line;
  if (const auto fence = remote.ask("fence", {role}); fence && fence->is_integer()) line.fence = to_text(*fence);
  return line;
}

int watch(const LeaderCommand& command, const Term& role, const Complaints& complaints, std::ostream& output) {
  const Interrupts interrupts;
  auto remote = Remote::open(command);
  if (!remote) return complaints.tell(remote.error().status, remote.error().text);
  tell_ready(complaints, remote->name().string());
  std::optional<std::string> last;
  std::uint64_t printed = 0;
  for (;;) {
    auto found = find(*remote, role);
    if (!found && found.error() == Errc::no_leader) {
      LeaderLine nobody;
      nobody.role = plain_text(role);
      found = std::move(nobody);
    }
    if (interrupts.take() != 0) return exit_ok;
    if (!found && found.error() == Errc::no_connection) {
      return complaints.tell(exit_failed, "the connection to " + remote->name().string() + " was lost");
    }
    if (!found) return complaints.tell(Remote::status_of(found.error()), remote->text_of(found.error(), "leader"));
    auto line = shown(*found, command.json);
    if (line != last) {
      output << line << std::endl;  // NOLINT: each line at once
      if (!output) return exit_failed;
      last = std::move(line);
      if (++printed == command.count) return exit_ok;
    }
    pollfd signals{interrupts.descriptor(), POLLIN, 0};
    ::poll(&signals, 1, static_cast<int>(command.period.count()));
    if (interrupts.take() != 0) return exit_ok;
  }
}

}  // namespace

int run_leader_command(const LeaderCommand& command, std::ostream& output, std::ostream& errors) {
  const Complaints complaints{errors, "leader", command.json};
  Term role;
  if (command.operation != LeaderOperation::list) {
    auto typed = typed_term(command.role, command.as_text);
    if (!typed) return complaints.tell(exit_usage, typed.error().context());
    role = std::move(*typed);
  }
  switch (command.operation) {
    case LeaderOperation::list:
      return run_question(command, complaints, output, "leaders",
                          [&](Remote& remote) { return list_leaders(remote, command.json); });
    case LeaderOperation::show:
      return run_question(command, complaints, output, "leader", [&](Remote& remote) -> Result<std::string> {
        const auto line = find(remote, role);
        if (!line) return std::unexpected(line.error());
        return shown(*line, command.json);
      });
    case LeaderOperation::watch: return watch(command, role, complaints, output);
  }
  return exit_usage;
}

}  // namespace barrel_p2p::command
