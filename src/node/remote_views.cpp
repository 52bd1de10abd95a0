#include "node/remote_views.hpp"

#include <algorithm>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace node {
namespace {

/// Longer lists are no views: `passive_size` ends at 1024.
constexpr std::size_t view_max = 2048;

std::optional<std::vector<std::string>> names_of(const Result<Term>& answer) {
  if (!answer) return std::nullopt;
  const auto nodes = answer->to<std::vector<Term>>();
  if (!nodes || nodes->size() > view_max) return std::nullopt;
  std::vector<std::string> names;
  for (const auto& node : *nodes) {
    const auto name = node.as_atom();
    if (!name) return std::nullopt;
    names.push_back(name->string());
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace

void RemoteViews::ask(const std::vector<Atom>& nodes, MonotonicTime now) {
  const std::lock_guard lock(table_->mutex);
  auto& entries = table_->entries;
  std::map<Atom, Entry> kept;
  for (const auto& node : nodes) {
    if (kept.size() == config_.nodes_max) break;
    const auto found = entries.find(node);
    Entry& entry = kept[node];
    if (found != entries.end()) entry = found->second;
    const bool due = !entry.asked || now - *entry.asked >= config_.ask_every;
    if (entry.asking || !due || table_->asking >= config_.asked_at_once) continue;
    entry.asked = now;
    entry.asking = true;
    ++table_->asking;
    system_.spawn([table = table_, node, limit = config_.answer_within](Process& self) {
      return ask_one(self, table, node, limit);
    });
  }
  entries = std::move(kept);
}

Task<> RemoteViews::ask_one(Process& self, std::shared_ptr<Table> table, Atom node, Milliseconds limit) {
  // Also when the process is killed while it waits.
  struct Done {
    explicit Done(std::shared_ptr<Table> all, Atom asked) : table(std::move(all)), node(std::move(asked)) {}
    Done(const Done&) = delete;
    Done& operator=(const Done&) = delete;
    ~Done() {
      const std::lock_guard lock(table->mutex);
      --table->asking;
      if (const auto found = table->entries.find(node); found != table->entries.end()) found->second.asking = false;
    }
    std::shared_ptr<Table> table;
    Atom node;
  };
  const Done done(table, node);
  const Atom facade("barrel_p2p");
  const NodeName name(node.text());
  const Result<Term> active =
      co_await self.call_function(name, facade, Atom("active_view"), std::vector<Term>(), limit);
  if (!active) co_return;
  const Result<Term> passive =
      co_await self.call_function(name, facade, Atom("passive_view"), std::vector<Term>(), limit);
  View view;
  view.active = names_of(active);
  view.passive = names_of(passive);
  view.at = monotonic_now();
  const std::lock_guard lock(table->mutex);
  if (const auto found = table->entries.find(node); found != table->entries.end()) found->second.view = std::move(view);
}

std::optional<RemoteViews::View> RemoteViews::find(const Atom& node) const {
  const std::lock_guard lock(table_->mutex);
  const auto found = table_->entries.find(node);
  if (found == table_->entries.end() || found->second.view.at == MonotonicTime{}) return std::nullopt;
  return found->second.view;
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
