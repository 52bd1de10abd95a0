// Scenarios that are written once and played on clusters of C++ nodes, of Erlang nodes, and of both.
//
//   void put_converges(Stage& stage) {
//     stage.form({"a", "b", "c"});
//     ...
//     stage.at("a").must("map_put", {Atom("m"), Atom("k"), 1});
//     stage.await([&] { return ...; }, "the value on all nodes");
//   }
//
// A scenario names its members a, b, c, ... The make-up of the cluster says of which kind each of them is. What a
// member is asked, it is asked in the words of the Erlang library, which C++ nodes answer too: an Erlang node on its
// standard input, so that no C++ node has to do with a cluster of Erlang nodes, and a C++ node by `erpc` of a hidden
// C++ node.
#pragma once

#include <barrel_p2p/node.hpp>
#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "upstream/mixed.hpp"

namespace barrel_p2p::test {

/// Of which kind the members are. In a mixed cluster they take turns, a C++ node first or an Erlang node first.
enum class MakeUp : std::uint8_t { cpp, erlang, mixed, mixed_erlang_first };

/// What a scenario found wrong, which ends it.
class ScenarioFailed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Configuration of all members: keys that both implementations have, and values as TOML writes them.
using Settings = std::map<std::string, std::string>;

class Stage;

/// A process of a member that keeps what it is sent.
class Probe {
 public:
  Pid pid;
  /// All messages so far.
  std::vector<Term> messages();
  /// How many there are of a shape.
  std::size_t count(const std::function<bool(const Term&)>& shape);

 private:
  friend class Member;
  struct Kept {
    std::mutex mutex;
    std::vector<Term> messages;
  };
  ErlangNode* erlang_ = nullptr;
  std::string variable_;        ///< Of Erlang: what holds the pid.
  std::shared_ptr<Kept> kept_;  ///< Of C++.
};

/// A node of the scenario.
class Member {
 public:
  [[nodiscard]] const std::string& name() const { return name_; }  ///< `c1@127.0.0.1`
  [[nodiscard]] Atom atom() const { return Atom(name_); }
  [[nodiscard]] bool is_erlang() const;

  /// `barrel_p2p:FUNCTION(ARGUMENTS)`. An exception there is an atom here.
  Term ask(const char* function, std::vector<Term> arguments = {});
  Term ask(const char* module, const char* function, std::vector<Term> arguments);
  /// The same where it has to answer `ok` or `{ok, Value}`; the value.
  Term must(const char* function, std::vector<Term> arguments = {});
  /// A list of atoms that a function answers, as text.
  std::set<std::string> names(const char* function);
  std::set<std::string> connected();

  /// `erpc:call` of this member.
  Term call(const std::string& node, const char* module, const char* function, std::vector<Term> arguments = {});
  /// A process of this member campaigns.
  void campaign(const Term& name, int priority = 0);
  /// Whom it holds for the leader, or `nobody`.
  std::string leader(const Term& name);

  bool connect(const std::string& node);
  void disconnect(const std::string& node);
  /// Treats these as if they did not exist, until `unblock`.
  void block(const std::vector<std::string>& nodes);
  void unblock();

  Probe probe();
  /// A process, and that it gets what a `subscribe` function of the facade tells.
  Probe probe(const char* subscribe, std::vector<Term> arguments = {});
  /// A process that answers `{From, Message}` with `{echo, Message}`, registered as `echo`.
  Pid start_echo();
  /// The process of this member bears the name here.
  void name_process(const Atom& process, const Pid& pid);
  /// `Pid ! Message` of a process here.
  void send(const Pid& to, const Term& message);
  void send_by_name(const std::string& node, const Atom& process, const Term& message);
  /// The process here that stands for a service of another node.
  Pid proxy_of(const Atom& service, const std::string& node);
  /// The same of `{From, Binary}`, the binary made there of so many copies.
  void send_copies(const std::string& node, const Atom& process, const Pid& from, const std::string& piece,
                   std::size_t copies);
  /// Takes streams with the tag, as long as the node lives.
  void accept_streams(const std::string& tag);
  /// Opens one that stays. False: it was refused.
  bool open_stream(const std::string& node, const std::string& tag);
  /// The process that holds the map forgets it and starts again.
  void lose_map(const Atom& map);
  /// Of `trusted`: names of nodes whose keys are pinned.
  std::set<std::string> pinned();
  std::filesystem::path keys() const;

 private:
  friend class Stage;
  friend class Probe;
  Stage* stage_ = nullptr;
  std::string short_name_;  ///< `c1`
  std::string name_;
  Node* in_process() const;  ///< Or nothing.
  /// Of an Erlang node; what fails says what it was told.
  Term evaluate(const std::string& expressions);
  ErlangNode& erlang() const;
};

class Stage : public MixedCluster {
 public:
  static constexpr std::chrono::seconds soon{30};

  /// For members that start afterwards.
  Settings settings;

  /// Starts a member; earlier ones of the name are gone. A mortal one can be killed, and is all the same asked no more
  /// than what has words in Erlang: a C++ node that is mortal is a program of its own.
  Member& start(const std::string& letter);
  Member& start_mortal(const std::string& letter);
  Member& at(const std::string& letter) { return members_.at(letter); }
  std::vector<Member*> all();
  /// Starts them, the mortal ones among them as such, connects all pairs and joins all, and waits until each lists
  /// each.
  void form(const std::vector<std::string>& letters, const std::set<std::string>& mortal = {});
  /// The same with members that run.
  void join_all();
  void connect_all();
  /// Waits until both list each other.
  void connect(Member& dialling, const std::string& dialled);
  void join(const std::string& letter, const std::string& contact);
  /// Goodbyes are said where the implementation says them.
  void stop(const std::string& letter);
  /// SIGKILL, and the survivors are told: the carrier of Erlang notices it a minute later only.
  void kill(const std::string& letter, bool tell_survivors = true);
  /// Members lose a neighbour that could not prevent it: see mixed.hpp.
  void neighbours_are_lost() { may_promote_each_other(); }
  std::string name_of(const std::string& letter) const;
  std::string letter_of(const std::string& name) const;
  /// The member with the smallest name, among these letters or all.
  std::string lowest(std::vector<std::string> letters = {});

  void require(bool condition, const std::string& what);
  void await(const std::function<bool()>& condition, const std::string& what, std::chrono::milliseconds limit = soon);
  /// The same with a report that tells of the last look.
  void await(const std::function<bool()>& condition, const std::function<std::string()>& what,
             std::chrono::milliseconds limit = soon);
  /// It holds now and goes on to hold.
  void stays(const std::function<bool()>& condition, const std::string& what, std::chrono::milliseconds time);

 protected:
  void SetUp() override;
  void TearDown() override;
  void configure(NodeConfig& config) override;
  void started(const std::string& name) override;
  std::string picture() override;

  MakeUp make_up_ = MakeUp::cpp;

 private:
  friend class Member;
  Member& add(const std::string& letter, bool mortal);
  bool is_erlang_letter(const std::string& letter) const;
  std::string short_name_of(const std::string& letter) const;
  std::string toml() const;

  std::map<std::string, Member> members_;
  std::vector<StreamAcceptor> acceptors_;
  std::vector<std::shared_ptr<Stream>> streams_;
  int variables_ = 0;
};

}  // namespace barrel_p2p::test
