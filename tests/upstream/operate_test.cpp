// The command's subcommands towards an Erlang node: what its library tells is shown, the rest is named.
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cluster/subprocess.hpp"
#include "support/json.hpp"
#include "upstream/peer.hpp"

namespace barrel_p2p::test {
namespace {

class OperateErlang : public Upstream {
 protected:
  void SetUp() override {
    Upstream::SetUp();
    if (IsSkipped()) return;
    const auto config = cluster_.config("x");
    discovery_ = config.discovery_dir.string();
    cookie_ = config.cookie;
    ::setenv("XDG_DATA_HOME", (config.discovery_dir.parent_path() / "kept").c_str(), 1);
    erlang_ = std::make_unique<ErlangNode>(cluster_, "e");
  }
  std::pair<int, JsonValue> say(std::vector<std::string> what) {
    what.insert(what.begin(), BARREL_P2P_COMMAND);
    what.insert(what.end(), {"--discovery-dir", discovery_, "--cookie", cookie_, "--json"});
    Subprocess command(std::move(what));
    const int status = command.wait();
    return {status, parse_json(status == 0 ? command.output() : command.errors())};
  }

  std::unique_ptr<ErlangNode> erlang_;
  std::string discovery_;
  std::string cookie_;
};

TEST_F(OperateErlang, status_shows_what_it_tells_and_null_for_the_rest) {
  erlang_->eval("ok = barrel_p2p:register_service(kv, self(), #{})");
  const auto [status, state] = say({"status"});
  ASSERT_EQ(status, 0);
  EXPECT_EQ(state["node"]["kind"].text, "erlang");
  EXPECT_EQ(state["members"][0].text, erlang_->name().text());
  EXPECT_EQ(state["services"].items.size(), 1U) << "it lists its own twice";
  EXPECT_EQ(state["placement"]["owners"].items.size(), 64U) << "computed here";
  EXPECT_TRUE(state["leaders"].is_null());
  EXPECT_TRUE(state["maps"].is_null());
  EXPECT_TRUE(state["reminders"].is_null());
}

TEST_F(OperateErlang, maps_leaders_owners_and_reminders_are_operated) {
  erlang_->eval("{ok, _} = barrel_p2p:lead(job, #{})");
  const auto fence = erlang_->eval("{ok, Fence} = barrel_p2p:fence(job), Fence");
  EXPECT_EQ(say({"leader", "show", "job"}).second["fence"].text, to_text(fence));
  EXPECT_EQ(say({"map", "new", "config"}).first, 0);
  EXPECT_EQ(say({"map", "put", "config", "limit", "{1,2}"}).first, 0);
  EXPECT_EQ(to_text(erlang_->eval("barrel_p2p:map_get(config, limit)")), "{ok,{1,2}}");
  EXPECT_EQ(say({"map", "get", "config", "limit"}).second["value"].text, "{1,2}");
  EXPECT_EQ(say({"map", "list", "config"}).second["entries"].items.size(), 1U);
  const auto owner = erlang_->eval("barrel_p2p:place({user,7})");
  EXPECT_EQ(say({"place", "owner", "{user,7}"}).second["owner"].text, owner.as_atom()->text());
  EXPECT_EQ(say({"remind", "after", "late", "1h"}).first, 0);
}

TEST_F(OperateErlang, what_it_does_not_tell_is_an_error_of_its_own) {
  for (const char* command : {"leader", "remind", "map"}) {
    const auto [status, told] = say({command, "list"});
    EXPECT_EQ(status, 5) << command;
    EXPECT_NE(told["error"].text.find("does not tell this"), std::string::npos) << told["error"].text;
  }
}

}  // namespace
}  // namespace barrel_p2p::test
