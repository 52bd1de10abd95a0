// What the processes that peers have here hold of what was sent to make them.
#include <gtest/gtest.h>
#include <barrel_p2p/process.hpp>

#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "distribution/control.hpp"
#include "distribution/flags.hpp"
#include "process/system.hpp"
#include "support/patience.hpp"

namespace barrel_p2p::process {
namespace {

class ArgumentsOfPeers : public testing::Test {
 protected:
  ArgumentsOfPeers() {
    RemotePort port;
    port.send = [this](const Atom& /*node*/, distribution::Signal&& signal, const Pid& /*key*/) {
      const std::lock_guard lock(mutex_);
      answers_.push_back(std::move(signal.control));
      return distribution::SendOutcome::accepted;
    };
    system.set_remote(std::move(port));
    system.export_function("jobs", "wait", [](Process& self, std::vector<Term> /*arguments*/) -> Task<Result<Term>> {
      co_return co_await self.receive();
    });
    system.start();
    system.node_up("b@test", 7, 77, distribution::flag::published);
  }
  ~ArgumentsOfPeers() override { system.stop(); }

  static SystemConfig config() {
    SystemConfig config;
    config.node = Atom("a@test");
    config.creation = 77;
    config.workers = 2;
    config.mailbox_bytes_max = 1000;
    return config;
  }
  static distribution::EncodedTerm encoded(const Term& term) {
    const auto bytes = std::make_shared<Bytes>(encode_term(term, {.version_byte = false}));
    return {*bytes, bytes};
  }
  /// What is answered to a request for a process with an argument of so many bytes.
  std::string spawn(std::size_t bytes) {
    const Ref ref = system.make_ref();
    const Term options = Term::list_of(Atom("monitor"));
    const Term arguments = Term::list_of(Term::binary(Bytes(bytes, 1)));
    system.deliver(
        "b@test", 7,
        {distribution::SpawnRequest{ref, peer, peer, Atom("jobs"), Atom("wait"), 1, options}, encoded(arguments)});
    const auto replies = answers<distribution::SpawnReply>();
    if (replies.empty() || replies.back().request != ref) return "no answer";
    if (const auto* pid = std::get_if<Pid>(&replies.back().result)) {
      made.push_back(*pid);
      return "made";
    }
    return std::get<Atom>(replies.back().result).string();
  }
  template <class Control>
  std::vector<Control> answers() {
    const std::lock_guard lock(mutex_);
    std::vector<Control> found;
    for (const auto& control : answers_) {
      if (const auto* one = std::get_if<Control>(&control)) found.push_back(*one);
    }
    return found;
  }

  const Pid peer{Atom("b@test"), 1, 0, 77};
  std::vector<Pid> made;

 private:
  std::mutex mutex_;
  std::vector<distribution::Control> answers_;

 protected:
  System system{config()};
};

TEST_F(ArgumentsOfPeers, are_bounded_together_and_count_as_long_as_their_processes_live) {
  EXPECT_EQ(spawn(2000), "made") << "one alone";
  EXPECT_EQ(spawn(10), "system_limit");
  system.exit(made.back(), Atom("kill"));
  ASSERT_TRUE(test::becomes_true([this] { return answers<distribution::MonitorExit>().size() == 1; }));
  for (int number = 0; number < 3; ++number) EXPECT_EQ(spawn(300), "made") << number;
  EXPECT_EQ(spawn(300), "system_limit");
  EXPECT_EQ(system.counters().refused_spawns, 2U);
}

TEST_F(ArgumentsOfPeers, of_calls_by_rex_are_bounded_with_all_that_came_with_them) {
  const auto tell_rex = [this](Term what) {
    system.deliver("b@test", 7,
                   {distribution::SendName{peer, Atom("rex")}, encoded(Term::tuple({Term(peer), std::move(what)}))});
  };
  const auto answered = [this](std::size_t count) {
    return test::becomes_true([this, count] { return answers<distribution::Send>().size() == count; });
  };
  tell_rex(Atom("features_request"));
  ASSERT_TRUE(answered(1));
  const auto spawned = system.counters().spawned.load();
  for (int number = 0; number < 2; ++number) {
    tell_rex(Term::tuple_of(Atom("call"), Atom("jobs"), Atom("wait"), Term(), Term::binary(Bytes(600, 1))));
  }
  tell_rex(Atom("features_request"));
  ASSERT_TRUE(answered(2)) << "it has looked at the calls";
  EXPECT_EQ(system.counters().spawned, spawned + 1);
}

}  // namespace
}  // namespace barrel_p2p::process
