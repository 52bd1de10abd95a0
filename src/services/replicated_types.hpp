// Replicated types of the program (replicated.hpp), as a machine without I/O.
//
//   broadcast, tag NAME:        {custom, Node, Change}; {delta, Node, Change} of others is taken as well
//   to the process NAME:        {'$barrel_p2p_replica', {full_sync, From, State}}
//                               {'$barrel_p2p_replica', {request_sync, From}}
//
// Source: protocol document 04, section 4. One thread at a time.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/replicated.hpp>
#include <barrel_p2p/term.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "base/clock.hpp"
#include "base/prng.hpp"
#include "replication/replica.hpp"
#include "services/effects.hpp"
#include "services/members.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

struct ReplicatedTypesConfig {
  Atom own;
  std::uint64_t seed = 0;
  Milliseconds anti_entropy_period{30'000};                              ///< `replica_anti_entropy_ms`
  std::size_t snapshot_bytes_max = replication::snapshot_bytes_default;  ///< See `ReplicaConfig`.
  std::size_t types_max = 1000;
};

class ReplicatedTypes {
 public:
  explicit ReplicatedTypes(ReplicatedTypesConfig config);
  ~ReplicatedTypes();
  ReplicatedTypes(const ReplicatedTypes&) = delete;
  ReplicatedTypes& operator=(const ReplicatedTypes&) = delete;

  /// Errors: `already_registered`; `limit_exceeded`.
  Result<void> add(const Atom& name, std::shared_ptr<ReplicatedType> type, const Now& now, Effects& out);
  void remove(const Atom& name);
  /// Ignored when there is no such name any more.
  void broadcast(const Atom& name, Term change, Effects& out);

  void neighbour_up(const Atom& node, const Now& now);
  void neighbour_down(const Atom& node);
  void set_native(const Atom& node);
  void leave();
  void liveness(const Liveness& change);
  [[nodiscard]] bool takes(const Atom& name) const { return types_.contains(name); }
  void deliver(const Atom& name, const Term& payload);
  void receive(const Atom& name, const Atom& from, const Term& message, const Now& now, Effects& out);
  void tick(const Now& now, Effects& out);
  [[nodiscard]] MonotonicTime deadline() const noexcept;

  /// What functions of types threw, since this was last asked.
  [[nodiscard]] std::vector<std::string> take_complaints();

 private:
  class Instance;

  ReplicatedTypesConfig config_;
  Prng seeds_;
  /// Of all of them together.
  const std::shared_ptr<TokenBucket> snapshot_rate_ =
      std::make_shared<TokenBucket>(replication::snapshot_bytes_per_second, MonotonicTime{});
  std::vector<std::string> complaints_;
  std::map<Atom, std::unique_ptr<Instance>> types_;
  std::vector<std::pair<Atom, bool>> neighbours_;  ///< And whether it is a C++ node.
};

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
