// A job that one node of a cluster does at a time, and two resources that refuse whoever only believes that it is still
// its turn: a file and a table of SQLite. Both keep the greatest fence that they have seen, and check with every write.
//
//   example_fenced_worker                            two nodes in this program; one leads after the other
//   example_fenced_worker NAME DIRECTORY [CONTACT]   one worker of a cluster, until it is killed
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <unistd.h>

#include <barrel_p2p/node.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <stdexcept>
#include <string>
#include <syncstream>
#include <thread>

using namespace barrel_p2p;
using namespace std::chrono_literals;

/// Holds one text, and in the same file the fence and the node that it was written with.
class FencedFile {
 public:
  explicit FencedFile(std::filesystem::path path) : path_(std::move(path)) {}

  /// False: refused, the text comes from a leader of an earlier term.
  bool write(const Fence& fence, const NodeName& node, const std::string& text) {
    // One writer at a time. The lock ends with the descriptor, also when the program is killed.
    const int lock = ::open((path_.string() + ".lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (lock < 0 || ::flock(lock, LOCK_EX) != 0) throw std::runtime_error("cannot lock " + path_.string());
    const bool admitted = admit(fence, node);
    if (admitted) {
      const std::filesystem::path fresh = path_.string() + ".new";
      std::ofstream(fresh) << fence.text() << ' ' << node.string() << '\n' << text << '\n';
      std::filesystem::rename(fresh, path_);  // fence and text change together
    }
    ::close(lock);
    return admitted;
  }

 private:
  [[nodiscard]] bool admit(const Fence& fence, const NodeName& node) const {
    std::ifstream file(path_);
    std::string seen;
    std::string by;
    if (!(file >> seen >> by)) return true;  // nobody has written yet
    const auto highest = Fence::parse(seen);
    if (!highest) throw std::runtime_error(path_.string() + " is damaged");
    FenceGuard guard({*highest, NodeName(by)});
    return guard.admit(fence, node);
  }
  std::filesystem::path path_;
};

/// Holds one row a write. The fence is in the same database and changes in the same transaction.
class FencedTable {
 public:
  explicit FencedTable(const std::filesystem::path& path) {
    if (sqlite3_open(path.c_str(), &database_) != SQLITE_OK) throw std::runtime_error("cannot open " + path.string());
    sqlite3_busy_timeout(database_, 10'000);
    run("BEGIN IMMEDIATE; CREATE TABLE IF NOT EXISTS work (text TEXT);"
        "CREATE TABLE IF NOT EXISTS guard (one INTEGER PRIMARY KEY CHECK (one = 1), fence BLOB, node TEXT);"
        "INSERT OR IGNORE INTO guard VALUES (1, x'', ''); COMMIT");
  }
  ~FencedTable() { sqlite3_close(database_); }
  FencedTable(const FencedTable&) = delete;
  FencedTable& operator=(const FencedTable&) = delete;

  bool write(const Fence& fence, const NodeName& node, const std::string& text) {
    run("BEGIN IMMEDIATE");
    // Packed fences compare like fences. Of equal ones only the node counts that came first.
    const auto packed = fence.pack();
    run("UPDATE guard SET fence = ?1, node = ?2 WHERE ?1 > fence OR (?1 = fence AND ?2 = node)", &packed,
        node.string());
    const bool admitted = sqlite3_changes(database_) == 1;
    if (admitted) run("INSERT INTO work VALUES (?2)", nullptr, text);
    run(admitted ? "COMMIT" : "ROLLBACK");
    return admitted;
  }

 private:
  void run(const char* sql) {
    if (sqlite3_exec(database_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail();
  }
  void run(const char* sql, const Fence::Packed* blob, const std::string& text) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(database_, sql, -1, &statement, nullptr) != SQLITE_OK) fail();
    if (blob != nullptr) sqlite3_bind_blob(statement, 1, blob->data(), static_cast<int>(blob->size()), SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
    const int result = sqlite3_step(statement);
    sqlite3_finalize(statement);
    if (result != SQLITE_DONE) fail();
  }
  [[noreturn]] void fail() const { throw std::runtime_error(sqlite3_errmsg(database_)); }
  sqlite3* database_ = nullptr;
};

NodeConfig config_of(const std::string& name, const std::filesystem::path& root) {
  NodeConfig config;
  config.name = name;
  config.cookie = "a secret that all nodes share";
  config.data_dir = root / name;
  config.discovery_dir = root / "discovery";
  config.log_level = LogLevel::warning;
  config.replication.heartbeat = 300ms;  // a dead leader is followed within two seconds
  config.replication.lease = 2s;
  return config;
}

/// Callbacks speak on other threads: a line leaves whole.
void say(const std::string& text) { std::osyncstream(std::cout) << text << std::endl; }

int work(const std::string& name, const std::filesystem::path& root, const char* contact) {
  auto node = Node::start(config_of(name, root));
  if (!node || (contact != nullptr && !node->join(contact))) return 1;
  FencedFile file(root / "result");
  FencedTable table(root / "result.db");
  // Who campaigns before it knows the others leads beside them for a moment. That does no harm, but nobody needs it.
  const auto end = std::chrono::steady_clock::now() + 5s;
  while (contact != nullptr && !node->leader(Atom("job")) && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(10ms);
  }
  auto candidacy =
      node->lead(Atom("job"), {}, [](const Fence& fence) { say("elected " + fence.text()); }, [] { say("revoked"); });
  if (!candidacy) return 1;
  say("ready");
  for (;;) {
    const auto fence = candidacy->fence();
    if (!fence) {
      std::this_thread::sleep_for(20ms);
      continue;
    }
    say("working");
    std::this_thread::sleep_for(
        500ms);  // whatever happens here, a pause of any length too, what it leads to is guarded
    const std::string text = "by " + name + " with " + fence->text();
    const bool in_file = file.write(*fence, node->name(), text);
    const bool in_table = table.write(*fence, node->name(), text);
    say(in_file && in_table ? "wrote" : std::string("refused") + (in_file ? "" : " file") + (in_table ? "" : " table"));
    if (!in_file) say(candidacy->is_leader() ? "still believes that it leads" : "knows that it does not lead");
  }
}

int show(const std::filesystem::path& root) {
  auto a = Node::start(config_of("a@127.0.0.1", root));
  auto b = Node::start(config_of("b@127.0.0.1", root));
  if (!a || !b || !b->join(a->name()) || !b->joined()) return 1;
  FencedFile file(root / "result");
  FencedTable table(root / "result.db");
  const auto write = [&](const NodeName& node, const Fence& fence) {
    return file.write(fence, node, "by " + node.string()) && table.write(fence, node, "by " + node.string());
  };

  auto first = a->lead(Atom("job"), LeadOptions(), {}, {});
  if (!first) return 1;
  const Fence old = first->fence().value_or(Fence());
  std::cout << "the first leader writes: " << std::boolalpha << write(a->name(), old) << '\n';

  // The other one must know what was given before; else it is no cluster yet.
  while (!b->leader(Atom("job"))) std::this_thread::sleep_for(1ms);
  LeadOptions urgent;
  urgent.priority = 1;
  auto second = b->lead(Atom("job"), urgent, {}, {});
  if (!second) return 1;
  std::cout << "the second leader writes: " << write(b->name(), second->fence().value_or(Fence())) << '\n';
  const bool again = write(a->name(), old);
  std::cout << "the first one with its old fence: " << again << '\n';
  return again ? 1 : 0;
}

int main(int count, char** arguments) {
  if (count > 2) return work(arguments[1], arguments[2], count > 3 ? arguments[3] : nullptr);
  const auto root =
      std::filesystem::temp_directory_path() / ("barrel_p2p-fenced-" + std::to_string(std::random_device{}()));
  std::filesystem::create_directories(root);
  const int status = show(root);
  std::filesystem::remove_all(root);
  return status;
}
