// Durable stores in directories of their own.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "replication/store.hpp"
#include "support/scratch.hpp"

namespace barrel_p2p::replication {

using Scratch = test::ScratchDirectory;

inline Entry entry_with(Term value, WallMilliseconds wall = 1000) {
  return Entry::value(std::move(value), {{wall, 0}, Atom("a@host")});
}

inline Result<std::unique_ptr<DurableStore>> try_open(const std::filesystem::path& directory) {
  return DurableStore::open({.directory = directory});
}
inline std::unique_ptr<DurableStore> open_store(const std::filesystem::path& directory) {
  auto store = try_open(directory);
  if (!store) throw std::runtime_error(store.error().message());
  return std::move(*store);
}
inline Result<std::unique_ptr<DurableStore>> try_read(const std::filesystem::path& directory) {
  return DurableStore::open({.directory = directory, .access = StoreConfig::Access::read_only});
}

/// Writes, and waits until it is on disk or failed.
inline Result<void> write_now(DurableStore& store, WriteBatch batch) {
  std::promise<Result<void>> written;
  auto result = written.get_future();
  if (auto taken = store.write(std::move(batch), [&](const Result<void>& done) { written.set_value(done); }); !taken) {
    return taken;
  }
  return result.get();
}
inline Result<void> put_now(DurableStore& store, std::string_view collection, const Term& key, const Term& value) {
  WriteBatch batch;
  batch.put(collection, key, entry_with(value));
  return write_now(store, std::move(batch));
}

/// Key to value; a removed one has the atom `removed`.
using Values = std::unordered_map<Term, Term>;
inline Values values_of(const DurableStore& store, std::string_view collection) {
  Values values;
  const auto loaded = store.load(collection, [&](Term&& key, Entry&& entry) {
    values.emplace(std::move(key), entry.is_live() ? entry.value() : Term(Atom("removed")));
  });
  if (!loaded) throw std::runtime_error(loaded.error().message());
  return values;
}

inline Bytes read_bytes(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}
inline void write_bytes(const std::filesystem::path& file, ByteView bytes) {
  std::ofstream stream(file, std::ios::binary | std::ios::trunc);
  stream.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!stream.flush()) throw std::runtime_error("cannot write " + file.string());
}
inline std::vector<std::string> names_in(const std::filesystem::path& directory) {
  std::vector<std::string> names;
  for (const auto& file : std::filesystem::directory_iterator(directory)) names.push_back(file.path().filename());
  std::ranges::sort(names);
  return names;
}

}  // namespace barrel_p2p::replication
