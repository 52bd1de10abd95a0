#include "chaos_history.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace barrel_p2p::command {
namespace {

struct Word {
  ChaosDid did;
  std::string_view word;
  std::size_t arguments_min;
};

constexpr std::array words{
    Word{ChaosDid::start, "start", 0},
    Word{ChaosDid::killed, "killed", 0},
    Word{ChaosDid::ended, "ended", 1},
    Word{ChaosDid::fault, "fault", 1},
    Word{ChaosDid::calm, "calm", 0},
    Word{ChaosDid::agreed, "agreed", 1},
    Word{ChaosDid::trouble, "trouble", 0},
    Word{ChaosDid::full, "full", 0},
    Word{ChaosDid::room, "room", 0},
    Word{ChaosDid::clock, "clock", 1},
    Word{ChaosDid::put, "put", 2},
    Word{ChaosDid::put_ok, "put_ok", 2},
    Word{ChaosDid::put_failed, "put_failed", 2},
    Word{ChaosDid::enlist, "enlist", 2},
    Word{ChaosDid::enlist_ok, "enlist_ok", 2},
    Word{ChaosDid::enlist_failed, "enlist_failed", 2},
    Word{ChaosDid::delist, "delist", 1},
    Word{ChaosDid::delist_failed, "delist_failed", 1},
    Word{ChaosDid::lead_failed, "lead_failed", 1},
    Word{ChaosDid::elected, "elected", 1},
    Word{ChaosDid::revoked, "revoked", 0},
    Word{ChaosDid::remind, "remind", 2},
    Word{ChaosDid::remind_ok, "remind_ok", 1},
    Word{ChaosDid::remind_failed, "remind_failed", 1},
    Word{ChaosDid::told, "told", 3},
    Word{ChaosDid::shard, "shard", 0},
    Word{ChaosDid::send, "send", 1},
    Word{ChaosDid::send_ok, "send_ok", 1},
    Word{ChaosDid::send_failed, "send_failed", 1},
    Word{ChaosDid::heard, "heard", 1},
};

template <class T>
std::optional<T> number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string_view word_of(ChaosDid did) {
  const auto* found = std::ranges::find(words, did, &Word::did);
  return found == words.end() ? "" : found->word;
}

std::vector<std::string> words_of(std::string_view line) {
  std::vector<std::string> parts;
  while (!line.empty()) {
    const auto end = std::min(line.find(' '), line.size());
    if (end > 0) parts.emplace_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return parts;
}

std::string to_text(const ChaosEvent& event) {
  std::string text = std::to_string(event.time.count()) + " n" + std::to_string(event.node) + " " +
                     std::to_string(event.life) + " " + std::string(word_of(event.did));
  for (const auto& argument : event.arguments) text.append(" ").append(argument);
  return text;
}

std::optional<ChaosEvent> parse_event(std::string_view line) {
  auto parts = words_of(line);
  if (parts.size() < 4 || !parts[1].starts_with('n')) return std::nullopt;
  const auto time = number<std::int64_t>(parts[0]);
  const auto node = number<std::size_t>(std::string_view(parts[1]).substr(1));
  const auto life = number<std::uint64_t>(parts[2]);
  const auto* word = std::ranges::find(words, std::string_view(parts[3]), &Word::word);
  if (!time || !node || !life || word == words.end()) return std::nullopt;
  parts.erase(parts.begin(), parts.begin() + 4);
  if (parts.size() < word->arguments_min) return std::nullopt;
  return ChaosEvent{std::chrono::microseconds(*time), *node, *life, word->did, std::move(parts)};
}

bool ChaosReport::take(std::string_view line) {
  const auto parts = words_of(line);
  if (parts.size() < 2) return false;
  const auto& what = parts[0];
  if (what == "member") return members.insert(parts[1]).second;
  if (what == "neighbour") return neighbours.insert(parts[1]).second;
  if (what == "leader") {
    leader = parts[1];
  } else if (what == "fence") {
    fence = parts[1];
  } else if (what == "entry" && parts.size() == 3) {
    map[parts[1]] = parts[2];
  } else if (what == "service" && parts.size() == 4) {
    services.insert(parts[1] + " " + parts[2] + " " + parts[3]);
  } else if (what == "owns" || what == "ring") {
    const auto value = number<std::uint32_t>(parts[1]);
    if (!value) return false;
    if (what == "owns") {
      partitions.insert(*value);
    } else {
      partitions_all = *value;
    }
  } else {
    return false;
  }
  return true;
}

}  // namespace barrel_p2p::command
