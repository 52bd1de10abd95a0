#include <algorithm>
#include <array>
#include <mutex>
#include <stdexcept>
#include <unordered_map>

#include "term/box.hpp"
#include "term/hash.hpp"

namespace barrel_p2p {
inline namespace v0 {

namespace detail {

std::optional<std::size_t> utf8_length(std::string_view text) noexcept {
  const auto is_ascii = [](char byte) { return static_cast<std::uint8_t>(byte) < 0x80; };
  if (std::ranges::all_of(text, is_ascii)) return text.size();
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size(); ++count) {
    const auto first = static_cast<std::uint8_t>(text[at]);
    std::size_t more = 0;
    std::uint32_t value = first;
    std::uint32_t least = 0;
    if (is_ascii(text[at])) {
      ++at;
      continue;
    }
    if ((first & 0xE0U) == 0xC0U) {
      more = 1, value = first & 0x1FU, least = 0x80;
    } else if ((first & 0xF0U) == 0xE0U) {
      more = 2, value = first & 0x0FU, least = 0x800;
    } else if ((first & 0xF8U) == 0xF0U) {
      more = 3, value = first & 0x07U, least = 0x10000;
    } else {
      return std::nullopt;
    }
    if (text.size() - at <= more) return std::nullopt;
    for (std::size_t index = 1; index <= more; ++index) {
      const auto next = static_cast<std::uint8_t>(text[at + index]);
      if ((next & 0xC0U) != 0x80U) return std::nullopt;
      value = value << 6U | (next & 0x3FU);
    }
    if (value < least || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) return std::nullopt;
    at += more + 1;
  }
  return count;
}

std::uint32_t next_code_point(std::string_view& text) noexcept {
  const auto first = static_cast<std::uint8_t>(text.front());
  const std::size_t size = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  std::uint32_t value = size == 1 ? first : first & (0xFFU >> (size + 1));
  for (std::size_t index = 1; index < size && index < text.size(); ++index) {
    value = value << 6U | (static_cast<std::uint8_t>(text[index]) & 0x3FU);
  }
  text.remove_prefix(std::min(size, text.size()));
  return value;
}

void append_utf8(std::uint32_t code, std::string& out) {
  const auto put = [&](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0U | code >> 6U), put(0x80U | (code & 0x3FU));
  } else if (code < 0x10000) {
    put(0xE0U | code >> 12U), put(0x80U | (code >> 6U & 0x3FU)), put(0x80U | (code & 0x3FU));
  } else {
    put(0xF0U | code >> 18U), put(0x80U | (code >> 12U & 0x3FU)), put(0x80U | (code >> 6U & 0x3FU)),
        put(0x80U | (code & 0x3FU));
  }
}

}  // namespace detail

namespace {

/// All atoms that are in use. Sharded: atoms are looked up for every decoded name.
class AtomTable {
 public:
  /// An Erlang node dies at this number; we refuse new names there.
  static constexpr std::size_t atoms_max_default = 1'048'576;
  static constexpr std::uint32_t shard_count = 64;
  /// Node names of a large cluster, or of a small one that changes: about 100 bytes each.
  static constexpr std::size_t kept_max = 10'000;
  /// Tags of messages and keys of maps, of a program with many of them. Peers choose some of them, too.
  static constexpr std::size_t busy_kept_max = 1'000;

  AtomTable() {
    for (const std::string_view text :
         {"ok",      "error",        "true",   "false",    "undefined", "nil",       "normal",
          "noproc",  "noconnection", "DOWN",   "EXIT",     "alias",     "$gen_call", "$gen_cast",
          "process", "kill",         "killed", "shutdown", "value",     "tombstone", "timestamp"}) {
      intern(text, hash_of(text), false, true);
    }
  }

  static std::size_t hash_of(std::string_view text) noexcept { return detail::hash_text(text); }

  /// What this thread has interned that is never freed: the same few names are in most of what is decoded, and are
  /// found here without the lock.
  static Atom::Entry* known(std::string_view text, std::size_t hash) noexcept {
    auto* const entry = seen(hash);
    return entry != nullptr && entry->text == text ? entry : nullptr;
  }

  /// `bounded`: nullptr where a new name has no room.
  Atom::Entry* intern(std::string_view text, std::size_t hash, bool bounded, bool immortal = false) {
    auto* const entry = look_up(text, hash, bounded, immortal);
    if (entry != nullptr && !entry->is_counted()) seen(hash) = entry;
    return entry;
  }

  Atom::Entry* find(std::string_view text) {
    Shard& shard = shards_[hash_of(text) % shard_count];
    const std::lock_guard lock(shard.mutex);
    const auto found = shard.entries.find(text);
    if (found == shard.entries.end()) return nullptr;
    if (found->second->is_counted()) found->second->references.fetch_add(1, std::memory_order_relaxed);
    return found->second.get();
  }

  void keep(std::string_view text) {
    auto* const entry = find(text);
    if (entry == nullptr || !entry->is_counted()) return;
    if (kept_.fetch_add(1, std::memory_order_relaxed) < kept_max) {
      entry->immortal.store(true, std::memory_order_relaxed);  // with the reference that was just taken
    } else {
      kept_.fetch_sub(1, std::memory_order_relaxed);
      release(entry);
    }
  }

  /// The caller has a reference.
  void keep_busy(Atom::Entry* entry) noexcept {
    if (busy_kept_.load(std::memory_order_relaxed) >= busy_kept_max) return;
    if (busy_kept_.fetch_add(1, std::memory_order_relaxed) < busy_kept_max) {
      entry->references.fetch_add(1, std::memory_order_relaxed);
      if (!entry->immortal.exchange(true, std::memory_order_relaxed)) return;
      entry->references.fetch_sub(1, std::memory_order_relaxed);  // somebody else was faster
    }
    busy_kept_.fetch_sub(1, std::memory_order_relaxed);
  }

  void release(Atom::Entry* entry) noexcept {
    std::uint32_t seen = entry->references.load(std::memory_order_relaxed);
    while (seen > 1) {
      if (entry->references.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel)) return;
    }
    Shard& shard = shards_[entry->shard];
    std::unique_ptr<Atom::Entry> dead;  // freed after the lock
    const std::lock_guard lock(shard.mutex);
    if (entry->references.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
    const auto found = shard.entries.find(std::string_view(entry->text));
    dead = std::move(found->second);
    shard.entries.erase(found);
    count_.fetch_sub(1, std::memory_order_relaxed);
  }

  [[nodiscard]] std::size_t size() const noexcept { return count_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_.load(std::memory_order_relaxed); }
  void set_max(std::size_t count) noexcept { max_.store(count, std::memory_order_relaxed); }

 private:
  struct HashOfText {
    std::size_t operator()(std::string_view text) const noexcept { return hash_of(text); }
  };
  struct Shard {
    std::mutex mutex;
    std::unordered_map<std::string_view, std::unique_ptr<Atom::Entry>, HashOfText> entries;
  };

  static Atom::Entry*& seen(std::size_t hash) noexcept {
    thread_local std::array<Atom::Entry*, 64> all{};
    return all[hash % all.size()];
  }

  Atom::Entry* look_up(std::string_view text, std::size_t hash, bool bounded, bool immortal) {
    Shard& shard = shards_[hash % shard_count];
    const std::lock_guard lock(shard.mutex);
    if (const auto found = shard.entries.find(text); found != shard.entries.end()) {
      return detail::retain(found->second.get());
    }
    if (count_.fetch_add(1, std::memory_order_relaxed) >= max_.load(std::memory_order_relaxed) && bounded) {
      count_.fetch_sub(1, std::memory_order_relaxed);
      refused_.fetch_add(1, std::memory_order_relaxed);
      return nullptr;
    }
    auto entry = std::make_unique<Atom::Entry>();
    entry->text = text;
    entry->shard = static_cast<std::uint32_t>(hash % shard_count);
    entry->immortal = immortal;
    auto* raw = entry.get();
    shard.entries.emplace(std::string_view(raw->text), std::move(entry));
    return raw;
  }

  std::array<Shard, shard_count> shards_;
  std::atomic<std::size_t> count_{0};
  std::atomic<std::size_t> max_{atoms_max_default};
  std::atomic<std::uint64_t> refused_{0};
  std::atomic<std::size_t> kept_{0};
  std::atomic<std::size_t> busy_kept_{0};
};

/// Never destroyed: atoms in static objects of the program may outlive everything else.
AtomTable& table() {
  static auto* const instance = new AtomTable;
  return *instance;
}

}  // namespace

namespace detail {
void keep_atom(const Atom& atom) { table().keep(atom.text()); }
void keep_busy_atom(Atom::Entry* entry) noexcept { table().keep_busy(entry); }

std::optional<Atom> find_atom(std::string_view utf8) {
  if (utf8.empty()) return Atom();
  auto* const entry = table().find(utf8);
  if (entry == nullptr) return std::nullopt;
  auto atom = Atom::make(utf8);
  if (entry->is_counted()) table().release(entry);
  return *atom;
}
}  // namespace detail

std::size_t atom_count() noexcept { return table().size(); }
std::uint64_t atoms_refused() noexcept { return table().refused(); }
void set_atoms_max(std::size_t count) noexcept { table().set_max(count); }

Result<Atom> Atom::make(std::string_view utf8) { return make(utf8, true); }

Result<Atom> Atom::make(std::string_view utf8, bool bounded) {
  if (utf8.empty()) return Atom();
  if (utf8.size() > code_points_max) {
    const auto length = detail::utf8_length(utf8);
    if (length && *length > code_points_max) return fail(Errc::limit_exceeded, "an atom has at most 255 characters");
  }
  const std::size_t hash = AtomTable::hash_of(utf8);
  if (auto* const known = AtomTable::known(utf8, hash)) return Atom(known);
  if (!detail::utf8_length(utf8)) return fail(Errc::malformed_term, "an atom must be valid UTF-8");
  auto* const entry = table().intern(utf8, hash, bounded);
  if (entry == nullptr) return fail(Errc::limit_exceeded, "the atom table is full: too many distinct names are in use");
  return Atom(entry);
}

Atom::Atom(std::string_view utf8) {
  // Not bounded: what this program names itself it needs most when peers have filled the table.
  auto atom = make(utf8, false);
  if (!atom) throw std::invalid_argument(atom.error().message());
  *this = std::move(*atom);
}

Atom::Atom(const Atom& other) noexcept : entry_(detail::retain(other.entry_)) {}
void Atom::release() noexcept {
  if (entry_->is_counted()) table().release(entry_);
}
std::string_view Atom::text() const noexcept { return detail::text_of(entry_); }

}  // namespace v0
}  // namespace barrel_p2p
