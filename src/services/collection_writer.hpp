// What of a replicated collection is to be written to the durable store: the changes of one input together, those of
// peers in parts that the store's queue takes. What the store refused is written again by and by, as it is by then.
#pragma once

#include <barrel_p2p/term.hpp>
#include <boost/unordered/unordered_flat_set.hpp>
#include <cstddef>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "replication/ormap.hpp"
#include "services/effects.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace services {

class CollectionWriter {
 public:
  explicit CollectionWriter(std::string collection) : collection_(std::move(collection)) {}

  /// `entry` is nullptr when it is gone.
  void add(const Term& key, const replication::Entry* entry);
  /// What was added is as much as one batch should have.
  [[nodiscard]] bool is_full() const noexcept;
  /// Whether there was anything to write; if not, nobody answers the ticket.
  bool flush(Ticket ticket, Effects& out);

  /// The store did not take the key.
  void failed(const Term& key);
  /// Adds what the store refused, in parts: the disk that was full may have little room.
  void retry(const replication::OrMap& map);
  [[nodiscard]] std::size_t unwritten() const noexcept { return order_.size(); }

 private:
  const std::string collection_;
  std::vector<StoreChange> changes_;
  std::size_t bytes_ = 0;   ///< Of them, about.
  std::deque<Term> order_;  ///< Keys that the store refused, in the order in which they came, each once.
  boost::unordered_flat_set<Term, std::hash<Term>> refused_;
};

}  // namespace services
}  // namespace v0
}  // namespace barrel_p2p
