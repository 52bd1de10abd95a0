// Clusters of C++ nodes c1, c2, ... and Erlang nodes e1, e2, ...: how their nodes are started, asked, joined and
// killed.
//
// Every test ends with a look at the Erlang nodes: no process of theirs may have ended, but for one that ends by a
// defect of its own. When an Erlang node loses a neighbour it promotes a node of its passive view, and when it reaches
// that one its membership process ends (`case_clause` on `peer_connected`; protocol document 03, section 4.6). It never
// promotes a record of ours, so no C++ node may be the one. Another Erlang node, whose record they made among
// themselves, may be it, and only where Erlang nodes lose a neighbour who could not prevent it: one that was killed, or
// an Erlang one that left. These ends are counted, as the property `own_defects_NODE` of the test.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "node/membership_support.hpp"
#include "upstream/peer.hpp"

namespace barrel_p2p::test {

/// Two nodes of each kind.
inline constexpr const char* all_four[] = {"c1", "c2", "e1", "e2"};

/// Names are full ones, `e1@127.0.0.1`, but for parameters called `short_name` and `contact`: `e1`.
class MixedCluster : public Upstream {
 protected:
  using Names = std::set<std::string>;
  using Views = std::map<std::string, Names>;

  void SetUp() override;
  void TearDown() override;
  /// The configuration of C++ nodes of this process.
  virtual void configure(NodeConfig& /*config*/) {}
  /// A node runs. It is told before it joins anybody.
  virtual void started(const std::string& /*name*/) {}

  static std::string full(const std::string& short_name) { return short_name + "@127.0.0.1"; }
  static bool is_erlang(const std::string& name) { return name.starts_with("e"); }
  Node& cpp(const std::string& short_name) { return *cpp_.at(full(short_name)); }
  ErlangNode& erlang(const std::string& short_name) { return *erlang_.at(full(short_name)); }

  void start_cpp(const std::string& short_name);
  /// Its end in good order.
  void stop_cpp(const std::string& short_name);
  /// A C++ node as a process of the operating system, which joins by itself.
  void start_program(const std::string& short_name, const std::string& contact);
  /// Skips the test where Erlang nodes cannot be connected.
  void start_erlang(const std::string& short_name);
  /// SIGKILL, for an Erlang node or a program.
  void kill(const std::string& short_name);
  [[nodiscard]] Names running() const;
  [[nodiscard]] std::vector<Node*> cpp_nodes() const;

  /// What is asked of a node of another process, by `erpc`. An error is an atom.
  Term ask(const std::string& name, const char* module, const char* function, std::vector<Term> arguments = {});
  void ask_to_join(const std::string& short_name, const std::string& contact);
  /// Waits until both list each other.
  void join(const std::string& short_name, const std::string& contact);

  static Names names_in(const Term& list);
  Views active_views();
  /// For reports.
  virtual std::string picture();
  static std::string text_of(const char* what, const Views& views);

  /// Erlang nodes lost a neighbour that could not prevent it.
  void may_promote_each_other() { lost_neighbours_ = true; }
  /// The barrel_p2p processes of Erlang nodes are those of now: the test ended some itself.
  void forget_ended_processes(const std::string& short_name);
  void no_process_ended_because_of_us(ErlangNode& node);

  Node* asker_ = nullptr;  ///< A hidden C++ node.
  std::map<std::string, Node*> cpp_;
  std::map<std::string, std::unique_ptr<LineProgram>> programs_;
  std::map<std::string, std::unique_ptr<ErlangNode>> erlang_;

 private:
  std::map<std::string, std::map<std::string, std::string>> processes_;  ///< Of Erlang nodes, as they began.
  bool lost_neighbours_ = false;
};

}  // namespace barrel_p2p::test
