// Opening a store: makes it, checks it, migrates it, salvages it. The lock is held by the caller.
#pragma once

#include <barrel_p2p/error.hpp>
#include <optional>

#include "replication/sqlite.hpp"
#include "replication/store.hpp"
#include "replication/store_directory.hpp"
#include "replication/store_format.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace replication::store {

struct Opened {
  sqlite::Database database;
  Contents contents;
  std::optional<StoreDamage> damage;
  bool created = false;
  bool log_stays = false;  ///< What an earlier process left must be emptied before a transaction begins: `empty_log`.
};

/// Errors: as of DurableStore::open.
Result<Opened> open_database(const StoreDirectory& directory, StoreConfig::Access access);

}  // namespace replication::store
}  // namespace v0
}  // namespace barrel_p2p
