#include "unknown_word.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstddef>
#include <numeric>
#include <string_view>
#include <vector>

namespace barrel_p2p::command {
namespace {

/// Letters to add, to remove or to change until one is the other.
std::size_t distance(std::string_view left, std::string_view right) {
  std::vector<std::size_t> row(right.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t above = 0; above < left.size(); ++above) {
    std::size_t corner = row[0]++;
    for (std::size_t at = 0; at < right.size(); ++at) {
      const std::size_t changed = corner + (left[above] == right[at] ? 0 : 1);
      corner = row[at + 1];
      row[at + 1] = std::min({changed, row[at] + 1, row[at + 1] + 1});
    }
  }
  return row.back();
}

bool is_near(std::string_view word, std::string_view name) {
  constexpr std::size_t letters_max = 2;
  if (name.starts_with(word) || word.starts_with(name)) return true;
  return distance(word, name) <= std::min(letters_max, std::max<std::size_t>(name.size() / 2, 1));
}

}  // namespace

std::optional<std::string> unknown_subcommand(const CLI::App& root) {
  const auto words = root.remaining(true);
  const auto word = std::ranges::find_if(words, [](const std::string& one) { return !one.starts_with('-'); });
  if (word == words.end()) return std::nullopt;
  const CLI::App* at = &root;
  std::string path = root.get_name();
  while (!at->get_subcommands().empty()) {
    at = at->get_subcommands().back();
    path += " " + at->get_name();
  }
  const auto known = at->get_subcommands([](const CLI::App*) { return true; });
  if (known.empty()) return std::nullopt;
  std::string near;
  for (const auto* one : known) {
    if (is_near(*word, one->get_name())) near += (near.empty() ? "`" : ", `") + one->get_name() + "`";
  }
  return "`" + *word + "` is no subcommand" + (near.empty() ? "" : ": did you mean " + near + "?") + "; `" + path +
         " --help` lists all";
}

}  // namespace barrel_p2p::command
