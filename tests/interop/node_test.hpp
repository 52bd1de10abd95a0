// The fixture of tests with one Erlang node: the pair is started once for each direction of dialling and kept.
#pragma once

#include <array>
#include <iostream>
#include <map>
#include <utility>

#include "interop/node_pair.hpp"

namespace barrel_p2p::test {

class ErlangNode : public testing::TestWithParam<Dialling> {
 protected:
  static void TearDownTestSuite() { pairs().clear(); }

  void SetUp() override {
    if (const auto why = erl_missing()) GTEST_SKIP() << *why;
    auto& pair = pairs()[GetParam()];
    if (!pair) pair = std::make_unique<NodePair>();
    pair_ = pair.get();
    if (!pair_->carrier.view().up.contains(NodePair::erlang_name)) connect(*pair_, GetParam());
  }
  /// A test that failed may have left its machine in any state.
  void TearDown() override {
    if (!HasFailure()) return;
    if (pair_ != nullptr) {
      const auto view = pair_->carrier.view();
      std::cerr << view.ups << " connections came up, " << view.accepted << " of them accepted, " << view.up.size()
                << " up now; these ended or failed:\n";
      for (const auto& why : view.ends) std::cerr << "  " << why << "\n";
      for (const auto& why : view.refused) std::cerr << "refused: " << why << "\n";
      std::cerr << pair_->erl.output();
    }
    pairs().erase(GetParam());
  }

  /// After the connection was lost.
  void reconnect() {
    eval("peer_driver:alone()");
    connect(*pair_, GetParam());
  }

  TcpCarrier& carrier() { return pair_->carrier; }
  process::System& system() { return pair_->carrier.system(); }
  ErlPeer& erl() { return pair_->erl; }
  [[nodiscard]] Atom ours() const { return Atom(pair_->carrier.name()); }
  static NodeName theirs() { return NodePair::erlang_name; }

  /// Evaluates in a scope of its own: no variable outlives the expression.
  template <class... Arguments>
  Term eval(std::string_view expression, Arguments&&... arguments) {
    start(expression, std::forward<Arguments>(arguments)...);
    return erl().finish();
  }
  template <class... Arguments>
  void start(std::string_view expression, Arguments&&... arguments) {
    erl().start("(fun() -> " + std::string(expression) + " end)()",
                Term::list(std::vector<Term>{Term(std::forward<Arguments>(arguments))...}));
  }
  template <class... Arguments>
  Pid eval_pid(std::string_view expression, Arguments&&... arguments) {
    const Term result = eval(expression, std::forward<Arguments>(arguments)...);
    if (!result.is_pid()) throw std::runtime_error("not a pid: " + to_text(result));
    return *result.as_pid();
  }
  /// What the puppet sent to the Erlang node so far is there now.
  void settle(Puppet& puppet) {
    puppet.send(RemoteName{"peer_driver", theirs()}, Atom("settle"));
    eval("receive settle -> ok after 5000 -> error(lost) end");
  }
  template <class T>
  T run(std::function<Task<T>(Process&)> function) {
    return test::run<T>(system(), std::move(function));
  }
  /// The text of Erlang terms is what the tests compare where it is shorter to read.
  static Term term(std::string_view text) { return *parse_term(text); }

 private:
  static std::map<Dialling, std::unique_ptr<NodePair>>& pairs() {
    static std::map<Dialling, std::unique_ptr<NodePair>> all;
    return all;
  }
  NodePair* pair_ = nullptr;
};

inline std::string dialling_name(const testing::TestParamInfo<Dialling>& info) { return to_string(info.param); }
inline constexpr std::array both_ways{Dialling::ours, Dialling::theirs};

}  // namespace barrel_p2p::test
