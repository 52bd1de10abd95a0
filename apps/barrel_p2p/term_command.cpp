#include "term_command.hpp"

#include <barrel_p2p/term.hpp>
#include <istream>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>

#include "command_line.hpp"
#include "hex.hpp"
#include "json.hpp"

namespace barrel_p2p::command {
namespace {

std::string_view trimmed(std::string_view line) {
  constexpr std::string_view blank = " \t\r";
  const auto first = line.find_first_not_of(blank);
  if (first == std::string_view::npos) return {};
  return line.substr(first, line.find_last_not_of(blank) - first + 1);
}

/// A line that is a whole term in hex is meant as such: as text it would be an integer that starts with 83, or nothing.
Result<Term> term_of_hex_or_text(std::string_view line) {
  auto term = term_of_hex(line);
  return term ? std::move(term) : parse_term(line);
}

Result<std::string> answer(const TermCommand& command, std::string_view line) {
  switch (command.operation) {
    case TermOperation::decode: {
      const auto term = term_of_hex(line);
      if (!term) return std::unexpected(term.error());
      return to_text(*term);
    }
    case TermOperation::encode: {
      const auto term = parse_term(line);
      if (!term) return std::unexpected(term.error());
      return to_hex(encode_term(*term));
    }
    case TermOperation::phash2: {
      const auto term = term_of_hex_or_text(line);
      if (!term) return std::unexpected(term.error());
      return std::to_string(phash2(*term, command.range));
    }
  }
  return fail(Errc::invalid_argument);
}

std::string plain_line(const Result<std::string>& result) {
  return result ? *result : "error: " + result.error().message();
}

std::string json_line(const TermCommand& command, const Result<std::string>& result) {
  if (!result) return JsonObject().set("error", result.error().message()).text();
  if (command.operation == TermOperation::phash2) return JsonObject().set("result", std::stoull(*result)).text();
  return JsonObject().set("result", *result).text();
}

}  // namespace

int run_term_command(const TermCommand& command, std::istream& input, std::ostream& output) {
  int status = exit_ok;
  std::string line;
  while (output && std::getline(input, line)) {
    const auto result = answer(command, trimmed(line));
    if (!result) status = exit_failed;
    output << (command.json ? json_line(command, result) : plain_line(result)) << '\n';
    output.flush();
  }
  return output ? status : exit_failed;
}

}  // namespace barrel_p2p::command
