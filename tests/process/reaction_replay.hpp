// One exchange of the vectors, with our processes in the place of the Erlang node.
//
// The pids and references of the Erlang node stand for ours: each is bound to the one of ours that appears in its
// place, or that was made for it. What belongs to the other node stays as it is.
#pragma once

#include <barrel_p2p/process.hpp>
#include <boost/json/value.hpp>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "distribution/fragments.hpp"
#include "process/system.hpp"

namespace barrel_p2p::process {

/// A signal as the two terms that make it up.
struct Spoken {
  Term control;
  Term payload;
};

class ReactionReplay {
 public:
  /// The process that makes the first move in the vectors where the Erlang node did; it writes down what it sees.
  using Actor = std::function<Task<>(Process&, ReactionReplay&)>;

  explicit ReactionReplay(const boost::json::value& row);
  ~ReactionReplay();
  ReactionReplay(const ReactionReplay&) = delete;
  ReactionReplay& operator=(const ReactionReplay&) = delete;

  [[nodiscard]] System& system() noexcept { return system_; }
  [[nodiscard]] const Atom& other_node() const noexcept { return other_; }
  void start(Actor actor);
  /// Goes through the exchange. Empty when our node did what the vector says, else what it did instead.
  std::string run();
  void disconnect();
  /// Waits until no process has anything to do.
  void settle();
  /// Ends the actor and waits for its end.
  void finish();

  void note(const std::string& text);
  [[nodiscard]] std::string notes();
  /// Why the channel would have been closed, if it would.
  [[nodiscard]] std::optional<std::string> closed();
  /// Whether all processes that the exchange names are alive.
  [[nodiscard]] bool targets_alive();
  /// What would have been withheld from the other node, since Erlang nodes close the channel for it.
  [[nodiscard]] std::size_t withheld();

 private:
  static SystemConfig config_of(const boost::json::value& row);
  [[nodiscard]] bool ours(const Atom& node, std::uint32_t creation) const;
  void start_servers();
  void export_functions();
  void make_targets(const Term& control);
  [[nodiscard]] Term translated(const Term& term) const;
  distribution::Signal translated(distribution::Signal&& signal) const;
  bool unify(const Term& stated, const Term& seen);
  bool unify_all(const std::vector<Term>& stated, const std::vector<Term>& seen);
  void hear(const std::string& hex);
  /// Waits for it, unless all is over that could say it.
  std::string expect(const std::vector<Spoken>& stated, bool over);
  std::string surplus();
  Spoken spoken(const distribution::Signal& signal) const;
  void sent(distribution::Signal&& signal);

  const boost::json::value& row_;
  const Atom own_;
  const Atom other_;
  const distribution::Flags flags_;
  const distribution::ChannelNodes nodes_;  ///< As our node sees them.
  distribution::MessageReader reader_;
  std::map<Pid, Pid> pids_;
  std::map<Ref, Ref> references_;
  std::vector<Pid> targets_;
  std::optional<Pid> actor_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Spoken> sent_;
  std::size_t withheld_ = 0;
  std::string notes_;
  std::optional<std::string> closed_;

  System system_;  ///< Last: its processes use the rest.
};

}  // namespace barrel_p2p::process
