#include "replication/store.hpp"

#include <algorithm>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "base/this_thread.hpp"
#include "replication/store_open.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace replication {
namespace {

/// What a change takes in memory beside its bytes.
constexpr std::size_t change_overhead = 128;

void check_name(std::string_view name) {
  const auto control = [](char byte) { return static_cast<unsigned char>(byte) < ' ' || byte == '\x7F'; };
  if (name.empty() || name.size() > store_name_bytes_max || name == store::own_collection ||
      std::ranges::any_of(name, control)) {
    throw std::invalid_argument("a name in a store has 1 to 1100 bytes, no control characters, and is not \".\"");
  }
}

std::string counted(std::uint64_t number, std::string_view what) {
  return std::to_string(number) + " " + std::string(what) + (number == 1 ? "" : "s");
}

std::string sentence(const StoreDamage::Loss& loss) {
  const std::string where = loss.collection.empty() ? "the named values" : loss.collection;
  if (!loss.lost) {
    return "an unknown number of records of " + where + ", " + std::to_string(loss.kept) + " are left";
  }
  if (loss.older)
    return "the newest version of records of " + where + ", all " + std::to_string(loss.kept) + " are left";
  return std::to_string(*loss.lost) + " of " + counted(*loss.lost + loss.kept, "record") + " of " + where;
}

}  // namespace

// A batch.

void WriteBatch::add(Change change) {
  const std::size_t record = change.key.size() + change.entry.size();
  record_bytes_ = std::max(record_bytes_, record);
  bytes_ += record + change.collection.size() + change_overhead;
  changes_.push_back(std::move(change));
}

void WriteBatch::put(std::string_view collection, const Term& key, const Entry& entry) {
  check_name(collection);
  add({Kind::put, std::string(collection), encode_term(key), encode_term(to_term(entry))});
}
void WriteBatch::erase(std::string_view collection, const Term& key) {
  check_name(collection);
  add({Kind::erase, std::string(collection), encode_term(key), {}});
}
void WriteBatch::drop(std::string_view collection) {
  check_name(collection);
  add({Kind::drop, std::string(collection), {}, {}});
}
void WriteBatch::set(std::string_view name, const Term& value) {
  check_name(name);
  add({Kind::put, std::string(store::values_collection), encode_term(Term(name)), encode_term(value)});
}
void WriteBatch::unset(std::string_view name) {
  check_name(name);
  add({Kind::erase, std::string(store::values_collection), encode_term(Term(name)), {}});
}

// Damage.

Error StoreDamage::error(const std::filesystem::path& directory) const {
  std::string text = (directory / "store.db").string() + " is damaged: " + cause + ". Lost: ";
  for (std::size_t index = 0; index < losses.size(); ++index) {
    text.append(index == 0 ? "" : "; ").append(sentence(losses[index]));
  }
  if (losses.empty()) text += kept == 0 ? "everything, and it is not known what it held" : "nothing";
  text += ". ";
  if (kept_aside.empty()) {
    text +=
        "Usable: " + counted(kept, "record") +
        ". Nothing was changed; a node that opens the store salvages them into a new file and keeps this one aside.";
  } else {
    text += "Usable: " + counted(kept, "record") + ", salvaged into a new file; the damaged one is kept as " +
            kept_aside.string() + ".";
  }
  if (!losses.empty() || kept == 0) {
    text +=
        " What other nodes hold comes back by itself when this node synchronises with them; what only this node held "
        "is "
        "gone, unless there is an export.";
  }
  return {Errc::corrupt, text};
}

// The store.

namespace {

bool holds_something(const std::filesystem::path& file) {
  std::error_code error;
  const auto status = std::filesystem::symlink_status(file, error);
  if (!std::filesystem::exists(status)) return false;
  return !std::filesystem::is_regular_file(status) || std::filesystem::file_size(file, error) != 0;
}

}  // namespace

Result<std::unique_ptr<DurableStore>> DurableStore::open(StoreConfig config) {
  const bool writable = config.access == StoreConfig::Access::read_write;
  const store::StoreDirectory directory(config.directory);
  if (writable) {
    if (auto made = directory.make(); !made) return std::unexpected(made.error());
  }
  auto lock = store::StoreLock::take(config.directory);
  if (!lock) return std::unexpected(lock.error());
  auto opened = store::open_database(directory, config.access);
  if (!opened) return std::unexpected(opened.error());
  auto table = store::RecordTable::open(opened->database);
  if (!table) return std::unexpected(table.error());
  // Where it cannot be made, as on a disk that is full already, the value is in the database alone until the next
  // start.
  auto mark = config.mark.empty() ? Result<store::MarkFile>(store::MarkFile())
                                  : store::MarkFile::open(directory.mark(), writable);
  // Nobody must take an older value for the last one.
  const auto may_hold_one = [&] {
    return writable ? holds_something(directory.mark()) : mark.error() != Errc::not_found;
  };
  if (!mark && may_hold_one()) return std::unexpected(mark.error());
  std::unique_ptr<DurableStore> durable(
      new DurableStore(std::move(config), std::move(*lock), std::move(opened->database), std::move(*table),
                       std::move(opened->contents), mark ? std::move(*mark) : store::MarkFile()));
  durable->damage_ = std::move(opened->damage);
  if (!mark && writable) durable->mark_failure_ = mark.error();
  durable->created_ = opened->created;
  durable->log_has_rest_ = opened->log_stays;
  return durable;
}

DurableStore::DurableStore(StoreConfig config, store::StoreLock lock, sqlite::Database database,
                           store::RecordTable table, store::Contents contents, store::MarkFile mark)
    : config_(std::move(config)),
      lock_(std::move(lock)),
      database_(std::move(database)),
      table_(std::move(table)),
      contents_(std::move(contents)),
      mark_(std::move(mark)) {
  if (config_.access == StoreConfig::Access::read_write) {
    thread_ = std::thread([this] {
      name_this_thread("bp2p-store");
      run();
    });
  }
}

DurableStore::~DurableStore() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_.notify_all();
  thread_.join();
}

Result<void> DurableStore::write(WriteBatch batch, Done done) {
  if (config_.access == StoreConfig::Access::read_only) return fail(Errc::permission_denied, "the store is read only");
  if (batch.record_bytes_ > store_record_bytes_max || batch.bytes() > config_.queue_bytes_max) {
    return fail(Errc::limit_exceeded,
                "a batch of " + std::to_string(batch.bytes()) + " bytes is too large for the store");
  }
  const bool is_mark = is_only_mark(batch);
  {
    const std::lock_guard lock(mutex_);
    if (!is_mark && statistics_.queued_bytes + batch.bytes() > config_.queue_bytes_max) {
      ++statistics_.refused;
      return fail(Errc::overloaded, "the disk is slower than the writes: " + std::to_string(statistics_.queued_bytes) +
                                        " bytes wait for it");
    }
    statistics_.queued_bytes += batch.bytes();
    ++taken_;
    queue_.push_back({std::move(batch), std::move(done)});
  }
  work_.notify_one();
  return {};
}

void DurableStore::flush() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this, until = taken_] { return finished_ >= until; });
}

void DurableStore::run() {
  using Clock = std::chrono::steady_clock;
  std::vector<Queued> group;
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [this] { return stop_ || !queue_.empty(); });
    if (queue_.empty()) return;
    group.swap(queue_);
    lock.unlock();

    const auto start = Clock::now();
    if (write_mark(group)) {  // who waits for it waits for nothing else
      for (auto& [batch, done] : group) {
        if (done && is_only_mark(batch)) std::exchange(done, {})({});
      }
    }
    const auto written = commit(group);
    const auto took = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start);
    note(group, written.has_value(), took);
    for (const auto& [batch, done] : group) {
      if (done) done(written);
    }
    const auto reported = group.size();
    group.clear();

    lock.lock();
    finished_ += reported;
    idle_.notify_all();
  }
}

void DurableStore::note(const std::vector<Queued>& group, bool written, std::chrono::microseconds took) {
  const std::lock_guard lock(mutex_);
  for (const auto& queued : group) statistics_.queued_bytes -= queued.batch.bytes();
  statistics_.last = took;
  statistics_.longest = std::max(statistics_.longest, took);
  if (written) {
    statistics_.batches += group.size();
    ++statistics_.transactions;
  } else {
    ++statistics_.failures;
  }
}

/// The last change of the value that is written when there is no room; nullptr: there is none.
const WriteBatch::Change* DurableStore::mark_in(const WriteBatch& batch) const {
  if (config_.mark.empty()) return nullptr;
  const auto found = std::ranges::find_if(batch.changes_.rbegin(), batch.changes_.rend(), [&](const auto& change) {
    return change.kind == WriteBatch::Kind::put && change.collection == store::values_collection &&
           change.key == encode_term(Term(config_.mark));
  });
  return found == batch.changes_.rend() ? nullptr : &*found;
}

bool DurableStore::is_only_mark(const WriteBatch& batch) const {
  return batch.changes_.size() == 1 && mark_in(batch) != nullptr;
}

/// Whether those of the group are on disk.
bool DurableStore::write_mark(const std::vector<Queued>& group) {
  bool written = true;
  for (const auto& queued : group) {
    const auto* const change = mark_in(queued.batch);
    if (change == nullptr) continue;
    const auto value = decode_term(change->entry);
    const auto number = value ? value->term.as_int64() : std::nullopt;
    const std::lock_guard lock(mark_mutex_);
    written = number && mark_.write(*number) && written;
  }
  return written;
}

/// Changes of one transaction, and the totals as they will be.
class DurableStore::Transaction {
 public:
  Transaction(sqlite::Database& database, store::RecordTable& table, const store::Contents& contents) noexcept
      : database_(database), table_(table), contents_(contents), sequence_(contents.sequence + 1) {}
  ~Transaction() {
    // After some errors SQLite has rolled back itself; then this one fails, and nothing is lost by it.
    if (!open_) return;
    [[maybe_unused]] const auto ended = database_.execute("ROLLBACK");
  }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  Result<void> begin() {
    auto begun = database_.execute("BEGIN IMMEDIATE");
    open_ = begun.has_value();
    return begun;
  }
  Result<void> apply(const WriteBatch::Change& change) {
    switch (change.kind) {
      case WriteBatch::Kind::put:
        return table_.put({change.collection, change.key, change.entry, sequence_}, totals(change.collection));
      case WriteBatch::Kind::erase: return table_.erase(change.collection, change.key, totals(change.collection));
      case WriteBatch::Kind::drop: touched_[change.collection] = std::nullopt; return table_.clear(change.collection);
    }
    return {};
  }
  Result<void> commit() {
    for (const auto& [name, totals] : touched_) {
      auto noted = totals ? table_.put_totals(name, *totals, sequence_) : table_.erase_totals(name);
      if (!noted) return noted;
    }
    auto committed = database_.execute("COMMIT");
    open_ = !committed;
    return committed;
  }
  /// After the commit.
  void bring_forward(store::Contents& contents) const {
    contents.sequence = sequence_;
    for (const auto& [name, totals] : touched_) {
      if (totals) {
        contents.totals[name] = *totals;
      } else {
        contents.totals.erase(name);
      }
    }
  }

 private:
  store::Totals& totals(const std::string& collection) {
    auto at = touched_.find(collection);
    if (at == touched_.end()) {
      const auto before = contents_.totals.find(collection);
      at = touched_.emplace(collection, before == contents_.totals.end() ? store::Totals{} : before->second).first;
    }
    if (!at->second) at->second.emplace();
    return *at->second;
  }

  sqlite::Database& database_;
  store::RecordTable& table_;
  const store::Contents& contents_;
  const std::int64_t sequence_;
  std::map<std::string, std::optional<store::Totals>> touched_;  ///< Nothing: the collection is gone.
  bool open_ = false;
};

Result<void> DurableStore::commit(const std::vector<Queued>& group) {
  const std::lock_guard lock(database_mutex_);
  auto result = log_has_rest_ ? store::empty_log(database_) : Result<void>();
  if (result) {
    log_has_rest_ = true;
    Transaction transaction(database_, table_, contents_);
    result = transaction.begin();
    for (const auto& queued : group) {
      for (const auto& change : queued.batch.changes_) {
        if (result) result = transaction.apply(change);
      }
    }
    if (result) result = transaction.commit();
    if (result) {
      log_has_rest_ = false;
      transaction.bring_forward(contents_);
      return result;
    }
  }
  return fail(result.error().code(),
              "cannot write to " + (config_.directory / "store.db").string() + ": " + result.error().context());
}

Result<std::uint64_t> DurableStore::load(std::string_view collection,
                                         const std::function<void(Term&&, Entry&&)>& visit) const {
  check_name(collection);
  const std::lock_guard lock(database_mutex_);
  std::uint64_t count = 0;
  Result<void> understood;
  auto visited = store::visit_records(database_, collection, [&](const store::RecordView& record) {
    auto key = decode_term(record.key);
    const auto value = decode_term(record.entry);
    auto entry = value ? entry_of(value->term) : Result<Entry>(std::unexpected(value.error()));
    if (!key || !entry) {
      understood = fail(Errc::corrupt, "a record of " + std::string(collection) + " is no entry");
      return false;
    }
    visit(std::move(key->term), std::move(*entry));
    ++count;
    return true;
  });
  if (!visited) return std::unexpected(visited.error());
  if (!understood) return std::unexpected(understood.error());
  return count;
}

Result<std::uint64_t> DurableStore::load_values(const std::function<void(std::string_view, Term&&)>& visit) const {
  std::optional<Term> mark = mark_in_file();
  const std::lock_guard lock(database_mutex_);
  std::uint64_t count = 0;
  Result<void> understood;
  auto visited = store::visit_records(database_, store::values_collection, [&](const store::RecordView& record) {
    const auto name = decode_term(record.key);
    auto value = decode_term(record.entry);
    if (!name || !name->term.as_text() || !value) {
      understood = fail(Errc::corrupt, "a named value is no term");
      return false;
    }
    if (mark && *name->term.as_text() == config_.mark) {
      if (*mark->as_int64() > value->term.as_int64().value_or(0)) value->term = std::move(*mark);
      mark.reset();
    }
    visit(*name->term.as_text(), std::move(value->term));
    ++count;
    return true;
  });
  if (!visited) return std::unexpected(visited.error());
  if (!understood) return std::unexpected(understood.error());
  if (mark) {
    visit(config_.mark, std::move(*mark));
    ++count;
  }
  return count;
}

/// The value that is written when there is no room, as its file has it.
std::optional<Term> DurableStore::mark_in_file() const {
  const std::lock_guard lock(mark_mutex_);
  const auto number = mark_.number();
  return number > 0 ? std::optional<Term>(number) : std::nullopt;
}

Result<Term> DurableStore::value(std::string_view name) const {
  std::optional<Term> found;
  auto loaded = load_values([&](std::string_view other, Term&& value) {
    if (other == name) found = std::move(value);
  });
  if (!loaded) return std::unexpected(loaded.error());
  if (!found) return fail(Errc::not_found, "the store holds no value " + std::string(name));
  return std::move(*found);
}

std::vector<CollectionSummary> DurableStore::collections() const {
  const std::lock_guard lock(database_mutex_);
  std::vector<CollectionSummary> all;
  for (const auto& [name, totals] : contents_.totals) all.push_back({name, totals.records});
  return all;
}

std::size_t DurableStore::size(std::string_view collection) const {
  const std::lock_guard lock(database_mutex_);
  const auto found = contents_.totals.find(collection);
  return found == contents_.totals.end() ? 0 : found->second.records;
}

StoreStatistics DurableStore::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

}  // namespace replication
}  // namespace v0
}  // namespace barrel_p2p
