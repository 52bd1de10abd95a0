// What the command reads that neither it nor its user wrote: lines of a chaos run, and what a node answers. No crash;
// events are read again as they are written, and lists have no more lines than the answer has elements.
//
//   input: kind(1): 'h' lines of a history, 'r' lines of a report, else a term in the external format
#include <barrel_p2p/term.hpp>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "chaos_checker.hpp"
#include "chaos_history.hpp"
#include "input.hpp"
#include "json.hpp"
#include "node_state.hpp"

namespace {

using namespace barrel_p2p;
using namespace barrel_p2p::command;
using namespace barrel_p2p::fuzz;

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

void read_history(std::string_view text) {
  std::vector<ChaosEvent> events;
  for (const auto line : lines_of(text)) {
    const auto event = parse_event(line);
    if (!event) continue;
    const auto again = parse_event(to_text(*event));
    require(again && to_text(*again) == to_text(*event));
    events.push_back(*event);
  }
  (void)check_always(events);
  (void)check_calm(events, {});
}

void read_report(std::string_view text) {
  ChaosReport report;
  for (const auto line : lines_of(text)) (void)report.take(line);
  (void)check_calm({}, {report, report});
}

void read_answer(const Term& answer) {
  const auto services = service_lines(answer);
  const auto leaders = leader_lines(answer);
  const auto reminders = reminder_lines(answer);
  require(services.size() <= listed_max + answer.elements().size());
  (void)json_list(services);
  (void)json_list(leaders);
  (void)json_list(reminders);
  for (const auto& line : reminders) (void)time_text(line.due);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  const auto kind = input.byte();
  const auto bytes = input.rest();
  if (kind == 'h') {
    read_history(as_text(bytes));
  } else if (kind == 'r') {
    read_report(as_text(bytes));
  } else if (const auto term = decode_term(bytes)) {
    read_answer(term->term);
  }
  return 0;
}
