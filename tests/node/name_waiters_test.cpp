// Who waits for services to appear.
#include "node/name_waiters.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/patience.hpp"

namespace barrel_p2p::node {
namespace {

using namespace std::chrono_literals;

constexpr MonotonicTime at_start = MonotonicTime{} + 1h;

class NameWaitersTest : public testing::Test {
 protected:
  void wait(const std::string& name, Milliseconds limit, const std::string& as, WhereisOptions options = {}) {
    Answer<ServiceLocation> answer([this, as](const Result<ServiceLocation>& found) {
      answers.push_back(as + " " + (found ? "found" : std::string(barrel_p2p::name(found.error().code()))));
    });
    waiters.add({ServiceName(Atom(name)), std::move(options), at_start + limit, std::move(answer)});
  }
  /// A service of the name has appeared.
  void appears(const std::string& name) {
    waiters.serve(Term(Atom(name)), [](const ServiceName& /*name*/, const WhereisOptions& options) {
      return !options.accept || options.accept(Term::map({}))
                 ? std::optional(ServiceLocation{{}, NodeName("b@h"), false})
                 : std::nullopt;
    });
  }

  std::vector<std::string> answers;
  NameWaiters waiters;
};

TEST_F(NameWaitersTest, are_answered_when_their_name_appears_in_the_order_in_which_they_came) {
  WhereisOptions picky;
  picky.accept = [](const Term& /*meta*/) { return false; };
  wait("kv", 5s, "first");
  wait("other", 1s, "other");
  wait("kv", 2s, "picky", picky);
  wait("kv", 3s, "last");
  appears("nobody");
  EXPECT_TRUE(answers.empty());
  appears("kv");
  EXPECT_EQ(answers, (std::vector<std::string>{"first found", "last found"}));
  appears("other");
  appears("kv");
  EXPECT_EQ(answers.size(), 3U);
  EXPECT_EQ(waiters.deadline(), at_start + 2s) << "the picky one";
}

TEST_F(NameWaitersTest, are_told_when_their_time_is_over) {
  EXPECT_EQ(waiters.deadline(), MonotonicTime::max());
  wait("kv", 5s, "late");
  wait("kv", 1s, "early");
  EXPECT_EQ(waiters.deadline(), at_start + 1s);
  waiters.expire(at_start + 999ms);
  EXPECT_TRUE(answers.empty());
  waiters.expire(at_start + 1s);
  EXPECT_EQ(answers, std::vector<std::string>{"early timeout"});
  EXPECT_EQ(waiters.deadline(), at_start + 5s);
  appears("kv");
  EXPECT_EQ(answers.back(), "late found");
  wait("kv", 1s, "rest");
  waiters.clear();
  EXPECT_EQ(answers.back(), "rest stopped");
  EXPECT_EQ(waiters.deadline(), MonotonicTime::max());
}

TEST_F(NameWaitersTest, are_bounded_and_cost_nothing_to_who_waits_for_another_name) {
  for (std::size_t number = 0; number < NameWaiters::count_max; ++number) wait("n" + std::to_string(number), 1h, "n");
  EXPECT_TRUE(answers.empty());
  wait("kv", 1s, "kv");
  EXPECT_EQ(answers, std::vector<std::string>{"kv limit_exceeded"});
  const auto began = std::chrono::steady_clock::now();
  // To look at all of them each time would take many minutes.
  for (std::size_t change = 0; change < NameWaiters::count_max; ++change) {
    appears("kv");
    ASSERT_EQ(waiters.deadline(), at_start + 1h);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - began, test::patience);
  appears("n7");
  EXPECT_EQ(answers.back(), "n found");
  wait("kv", 1s, "kv");
  EXPECT_EQ(answers.size(), 2U) << "there is room again";
}

}  // namespace
}  // namespace barrel_p2p::node
