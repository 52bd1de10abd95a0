// The machine itself, as the other tests here rely on it.
#include <gtest/gtest.h>
#include <signal.h>

#include <cerrno>

#include "interop/erl_peer.hpp"

namespace barrel_p2p::test {
namespace {

using namespace std::chrono_literals;

class ErlangMachine : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = erl_missing()) GTEST_SKIP() << *why;
  }
};

TEST_F(ErlangMachine, evaluates_expressions_and_keeps_variables) {
  ErlPeer erl;
  EXPECT_EQ(erl.eval("Kept = lists:reverse(hd(Args))", Term::list({Term::list({1, 2})})), Term::list({2, 1}));
  EXPECT_EQ(erl.text("{Kept, 'A b'}"), "{[2,1],'A b'}");
}

TEST_F(ErlangMachine, an_exception_is_reported_and_the_machine_goes_on) {
  ErlPeer erl;
  EXPECT_THROW(erl.eval("error(wrong)"), ErlError);
  EXPECT_THROW(erl.eval("no expression"), ErlError);
  EXPECT_EQ(erl.eval("1 + 1"), Term(2));
}

TEST_F(ErlangMachine, an_answer_that_does_not_come_is_an_error_and_the_process_ends_with_the_object) {
  int process = 0;
  {
    ErlPeer erl;
    process = erl.process_id();
    EXPECT_EQ(::kill(process, 0), 0);
    EXPECT_THROW(erl.eval("receive never -> ok end", {}, 50ms), ErlError);
  }
  EXPECT_EQ(::kill(process, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST_F(ErlangMachine, a_program_that_is_none_is_reported_with_what_it_printed) {
  EXPECT_THROW(ErlPeer(ErlOptions{.program = "no-such-program"}), ErlError);
  try {
    const ErlPeer erl(ErlOptions{.arguments = {"-boot", "no_such_boot_file"}});
    FAIL() << "started";
  } catch (const ErlError& error) {
    EXPECT_NE(std::string(error.what()).find("no_such_boot_file"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace barrel_p2p::test
