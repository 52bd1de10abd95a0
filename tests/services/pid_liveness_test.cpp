// Which processes of other nodes are watched, and what is known of their end.
#include "services/pid_liveness.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <string>

namespace barrel_p2p::services {
namespace {

using namespace std::chrono_literals;

class LivenessWorld {
 public:
  explicit LivenessWorld(const std::function<void(PidLivenessConfig&)>& change = {}) : liveness_(config(change)) {}

  /// What is to be done when the process is handed out: `+3 -1`.
  std::string use(std::uint32_t id, const char* node = "b@h") {
    Effects out;
    liveness_.used({Atom(node), id, 0, 4}, now_, out);
    return text(out);
  }
  std::string end(std::uint32_t id, const char* reason) {
    Effects out;
    liveness_.down({Atom("b@h"), id, 0, 4}, Atom(reason), now_, out);
    return text(out);
  }
  [[nodiscard]] bool has_ended(std::uint32_t id) const { return liveness_.has_ended({Atom("b@h"), id, 0, 4}); }
  std::string after(Milliseconds time) {
    now_.monotonic += time;
    Effects out;
    if (liveness_.deadline() <= now_.monotonic) liveness_.tick(now_, out);
    return text(out);
  }
  [[nodiscard]] std::size_t watched() const { return liveness_.watched(); }

 private:
  static PidLivenessConfig config(const std::function<void(PidLivenessConfig&)>& change) {
    PidLivenessConfig config;
    config.own = Atom("a@h");
    if (change) change(config);
    return config;
  }
  static std::string text(const Effects& effects) {
    std::string text;
    for (const auto& effect : effects) {
      const auto* watch = std::get_if<Watch>(&effect);
      const Pid& pid = watch != nullptr ? watch->pid : std::get<Unwatch>(effect).pid;
      text += (text.empty() ? "" : " ") + std::string(watch != nullptr ? "+" : "-") + std::to_string(pid.id);
    }
    return text;
  }

  Now now_{MonotonicTime(1h), 0};
  PidLiveness liveness_;
};

TEST(PidLiveness, a_process_is_watched_from_its_first_use_and_not_handed_out_after_its_end) {
  LivenessWorld world;
  EXPECT_EQ(world.use(1), "+1");
  EXPECT_EQ(world.use(1), "");
  EXPECT_FALSE(world.has_ended(1));
  EXPECT_EQ(world.end(1, "killed"), "");
  EXPECT_TRUE(world.has_ended(1));
  EXPECT_EQ(world.use(1), "") << "there is nothing more to watch";
}

TEST(PidLiveness, a_lost_connection_is_no_end_and_the_next_use_watches_again) {
  LivenessWorld world;
  (void)world.use(1);
  EXPECT_EQ(world.end(1, "noconnection"), "-1");
  EXPECT_FALSE(world.has_ended(1));
  EXPECT_EQ(world.use(1), "+1");
}

TEST(PidLiveness, processes_of_this_node_are_not_watched) {
  LivenessWorld world;
  EXPECT_EQ(world.use(1, "a@h"), "");
}

TEST(PidLiveness, what_is_not_used_is_watched_no_more) {
  LivenessWorld world;
  (void)world.use(1);
  (void)world.use(2);
  EXPECT_EQ(world.after(599s), "");
  (void)world.use(1);
  EXPECT_EQ(world.after(1s), "-2");
  EXPECT_EQ(world.after(599s), "-1");
  EXPECT_EQ(world.watched(), 0U);
}

TEST(PidLiveness, beyond_the_bound_the_one_that_was_used_the_longest_ago_gives_way) {
  LivenessWorld world([](PidLivenessConfig& config) { config.watched_max = 2; });
  (void)world.use(1);
  (void)world.use(2);
  (void)world.use(1);
  EXPECT_EQ(world.use(3), "-2 +3");
  EXPECT_EQ(world.end(2, "killed"), "");
  EXPECT_FALSE(world.has_ended(2)) << "late news of a watch that was taken back";
  EXPECT_EQ(world.use(2), "-1 +2");
}

TEST(PidLiveness, ends_are_forgotten_by_age_and_by_number_and_found_out_again) {
  LivenessWorld world([](PidLivenessConfig& config) { config.ended_max = 2; });
  for (std::uint32_t id = 1; id <= 3; ++id) {
    (void)world.use(id);
    EXPECT_EQ(world.end(id, "noproc"), id == 3 ? "-1" : "");
  }
  EXPECT_FALSE(world.has_ended(1));
  EXPECT_TRUE(world.has_ended(2));
  EXPECT_EQ(world.use(1), "+1");
  EXPECT_EQ(world.after(3600s), "-1 -2 -3");
  EXPECT_FALSE(world.has_ended(2));
  EXPECT_EQ(world.use(2), "+2");
}

}  // namespace
}  // namespace barrel_p2p::services
