#include "remind_command.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <ostream>
#include <utility>
#include <vector>

#include "command_line.hpp"
#include "complaint.hpp"
#include "json.hpp"
#include "node_state.hpp"

namespace barrel_p2p::command {
namespace {

std::optional<std::int64_t> parse_number(std::string_view text) {
  std::int64_t number = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size()) return std::nullopt;
  return number;
}

/// Digits of a fixed count, in a range.
std::optional<int> parse_part(std::string_view text, std::size_t at, std::size_t size, int most) {
  const auto part = text.substr(at, size);
  if (part.size() != size || part.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  const auto number = parse_number(part);
  if (!number || *number > most) return std::nullopt;
  return static_cast<int>(*number);
}

class Remind {
 public:
  Remind(const RemindCommand& command, std::ostream& output, std::ostream& errors)
      : command_(command), output_(output), complaints_{errors, "remind", command.json} {}

  int run() {
    if (const auto read = read_arguments(); !read) return complaints_.tell(exit_usage, read.error().context());
    switch (command_.operation) {
      case RemindOperation::set: return change("remind", {key_, when_, payload_});
      case RemindOperation::after: return change("remind_after", {key_, when_, payload_});
      case RemindOperation::cancel: return change("cancel_reminder", {key_});
      case RemindOperation::list:
        return run_question(command_, complaints_, output_, "reminders", [&](Remote& remote) { return list(remote); });
    }
    return exit_usage;
  }

 private:
  Result<void> read_arguments() {
    if (command_.operation == RemindOperation::list) return {};
    auto key = typed_term(command_.key, command_.as_text);
    if (!key) return std::unexpected(key.error());
    key_ = std::move(*key);
    if (command_.operation == RemindOperation::cancel) return {};
    const bool after = command_.operation == RemindOperation::after;
    const auto when = after ? parse_duration(command_.when) : parse_time(command_.when);
    if (!when) {
      return fail(Errc::invalid_argument, "`" + command_.when + "` is no " +
                                              (after ? "duration: write 500ms, 90s, 5min, 2h or 1d"
                                                     : "time: write 2026-11-28T18:00:00Z, or milliseconds since 1970"));
    }
    when_ = *when;
    auto payload = typed_term(command_.payload, command_.as_text);
    if (!payload) return std::unexpected(payload.error());
    payload_ = std::move(*payload);
    return {};
  }

  int change(const char* function, std::vector<Term> arguments) {
    const auto ask = [&](Remote& remote) -> Result<std::string> {
      if (auto done = remote.ask(function, arguments); !done) return std::unexpected(done.error());
      if (!command_.json) return "";
      JsonObject json;
      json.set("node", remote.name().string()).set("key", to_text(key_));
      if (command_.operation == RemindOperation::set) json.set("due", when_);
      if (command_.operation == RemindOperation::after) json.set("after_ms", when_);
      if (command_.operation == RemindOperation::cancel) json.set("cancelled", true);
      return json.text();
    };
    return run_question(command_, complaints_, output_, function, ask);
  }

  Result<std::string> list(Remote& remote) {
    const auto answer = remote.facade("reminders", {command_.count});
    if (!answer) return std::unexpected(answer.error());
    if (!answer->is_tuple(2)) return fail(Errc::type_mismatch, "barrel_p2p:reminders(N) answers " + to_text(*answer));
    const auto lines = reminder_lines((*answer)[0]);
    const bool cut = (*answer)[1].as_bool().value_or(false);
    if (command_.json) {
      return JsonObject().set("node", remote.name().string()).set("reminders", json_list(lines)).set("cut", cut).text();
    }
    std::string text;
    for (const auto& line : lines) {
      text += (text.empty() ? "" : "\n") + time_text(line.due) + "\t" + line.key + "\t" + line.payload;
    }
    return text + (cut ? "\n... there are more" : "");
  }

  const RemindCommand& command_;
  std::ostream& output_;
  const Complaints complaints_;
  Term key_;
  Term payload_;
  std::int64_t when_ = 0;
};

}  // namespace

std::optional<std::int64_t> parse_time(std::string_view text) {
  if (const auto number = parse_number(text)) return number;
  constexpr std::string_view form = "2026-11-28T18:00:00";
  if (text.size() < form.size() + 1 || text.back() != 'Z') return std::nullopt;
  for (const std::size_t at : {4U, 7U, 10U, 13U, 16U}) {
    if (text[at] != form[at]) return std::nullopt;
  }
  constexpr int years = 9999;
  const auto year = parse_part(text, 0, 4, years);
  const auto month = parse_part(text, 5, 2, 12);
  const auto day = parse_part(text, 8, 2, 31);
  const auto hour = parse_part(text, 11, 2, 23);
  const auto minute = parse_part(text, 14, 2, 59);
  const auto second = parse_part(text, 17, 2, 59);
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  std::int64_t milliseconds = 0;
  const auto rest = text.substr(form.size(), text.size() - form.size() - 1);
  if (!rest.empty()) {
    constexpr int most = 999;
    const auto part = rest.size() == 4 && rest[0] == '.' ? parse_part(rest, 1, 3, most) : std::nullopt;
    if (!part) return std::nullopt;
    milliseconds = *part;
  }
  const std::chrono::year_month_day date{std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  const auto time = std::chrono::sys_days(date) + std::chrono::hours(*hour) + std::chrono::minutes(*minute) +
                    std::chrono::seconds(*second);
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count() + milliseconds;
}

std::optional<std::int64_t> parse_duration(std::string_view text) {
  constexpr std::int64_t second = 1000;
  constexpr std::int64_t minute = 60 * second;
  constexpr std::int64_t hour = 60 * minute;
  constexpr std::int64_t day = 24 * hour;
  constexpr std::int64_t number_max = 1'000'000'000;
  const auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto number = parse_number(text.substr(0, digits));
  if (!number || *number > number_max) return std::nullopt;
  const auto unit = text.substr(digits);
  if (unit == "ms") return number;
  if (unit == "s") return *number * second;
  if (unit == "min") return *number * minute;
  if (unit == "h") return *number * hour;
  if (unit == "d") return *number * day;
  return std::nullopt;
}

int run_remind_command(const RemindCommand& command, std::ostream& output, std::ostream& errors) {
  return Remind(command, output, errors).run();
}

}  // namespace barrel_p2p::command
