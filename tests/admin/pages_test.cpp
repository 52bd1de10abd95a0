#include "admin/pages.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "admin/source_of_test.hpp"
#include "admin/state_json.hpp"

namespace barrel_p2p {
namespace {

using admin::Access;
using admin::Pages;
using admin::Request;
using admin::Response;

constexpr const char* token = "0123456789abcdef";

Request get(const std::string& target) {
  Request request;
  request.method = "GET";
  request.target = target;
  request.host = "127.0.0.1:9180";
  return request;
}

std::string header(const Response& response, const std::string& name) {
  const auto found = std::ranges::find(response.headers, name, &std::pair<std::string, std::string>::first);
  return found == response.headers.end() ? "" : found->second;
}

class AdminPages : public testing::Test {
 protected:
  test::FakeNode node;
  Pages open{node.source(), Access("", "c", {"Db1.example.net"})};
  Pages closed{node.source(), Access(token, "c", {})};
};

TEST_F(AdminPages, the_state_is_json_with_all_parts_of_the_contract) {
  const Response answer = open.answer(get("/api/state"));
  EXPECT_EQ(answer.status, 200U);
  EXPECT_EQ(answer.content_type, "application/json");
  for (const auto* part : {R"("node":{"name":"a@h","kind":"cpp")", R"("health":{"live":true,"ready":true,"reasons":[])",
                           R"("nodes":[)", R"("services":[)", R"("leaders":[)", R"("placement":{"partitions":)",
                           R"("maps":[)", R"("reminders":{"pending":0,"next":[])", R"("peers":[)", R"("totals":{)"}) {
    EXPECT_NE(answer.body.find(part), std::string::npos) << part << " in " << answer.body;
  }
}

TEST_F(AdminPages, only_get_and_head_are_answered) {
  for (const auto* method : {"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get"}) {
    Request request = get("/api/state");
    request.method = method;
    const Response answer = open.answer(request);
    EXPECT_EQ(answer.status, 405U) << method;
    EXPECT_EQ(header(answer, "Allow"), "GET, HEAD");
  }
}

TEST_F(AdminPages, names_that_dns_could_have_pointed_here_are_refused) {
  for (const auto* host : {"evil.example", "evil.example:9180", "", "127.0.0.1.evil.example", "localhost.evil.example",
                           "[::1", "db1.example.net.evil.example"}) {
    Request request = get("/api/state");
    request.host = host;
    EXPECT_EQ(open.answer(request).status, 421U) << host;
  }
  for (const auto* host :
       {"localhost", "localhost:9180", "127.0.0.1", "[::1]:9180", "10.1.2.3:1", "db1.EXAMPLE.net:9180"}) {
    Request request = get("/api/state");
    request.host = host;
    EXPECT_EQ(open.answer(request).status, 200U) << host;
  }
}

TEST_F(AdminPages, without_the_token_nothing_is_told_but_whether_the_node_is_well) {
  for (const auto* target : {"/", "/api/state", "/api/events", "/api/maps/config", "/metrics", "/nothing"}) {
    EXPECT_EQ(closed.answer(get(target)).status, 401U) << target;
  }
  node.set_health(true, false, {"a secret reason"});
  const Response ready = closed.answer(get("/health/ready"));
  EXPECT_EQ(ready.status, 503U);
  EXPECT_EQ(ready.body, R"({"ready":false})");
  EXPECT_EQ(closed.answer(get("/health/live")).status, 200U);
}

TEST_F(AdminPages, the_token_counts_in_a_header_and_is_exchanged_for_a_cookie_once) {
  Request request = get("/api/state");
  request.authorization = std::string("Bearer ") + token;
  EXPECT_EQ(closed.answer(request).status, 200U);
  for (const std::string& wrong : {std::string("Bearer ") + token + "x", std::string("Bearer "), std::string(token),
                                   std::string("Basic ") + token, std::string("Bearer 0123456789abcdeF")}) {
    request.authorization = wrong;
    EXPECT_EQ(closed.answer(request).status, 401U) << wrong;
  }
  const Response exchanged = closed.answer(get(std::string("/?token=") + token));
  EXPECT_EQ(exchanged.status, 303U);
  EXPECT_EQ(header(exchanged, "Location"), "/");
  const std::string cookie = header(exchanged, "Set-Cookie");
  EXPECT_NE(cookie.find("; HttpOnly; SameSite=Strict"), std::string::npos) << cookie;
  EXPECT_EQ(cookie.find(token), std::string::npos) << "the browser does not get the token itself";
  request.authorization.clear();
  request.cookie = "other=1; " + cookie.substr(0, cookie.find(';'));
  EXPECT_EQ(closed.answer(request).status, 200U);
  request.cookie = "c=guess";
  EXPECT_EQ(closed.answer(request).status, 401U);
  EXPECT_EQ(closed.answer(get("/?token=0123456789abcdeg")).status, 401U);
}

TEST_F(AdminPages, health_tells_reasons_and_a_status_that_probes_understand) {
  node.set_health(false, false, {"the network thread has not answered"});
  const Response live = open.answer(get("/health/live"));
  EXPECT_EQ(live.status, 503U);
  EXPECT_EQ(live.body, R"({"live":false,"reasons":["the network thread has not answered"]})");
}

TEST_F(AdminPages, maps_are_paged_by_the_parameters_of_the_query) {
  EXPECT_EQ(open.answer(get("/api/maps/config?prefix=a%20b&after=x+y&limit=7")).body,
            R"({"name":"config","size":3,"entries":[{"key":"a b|x y|7","value":"1"}],"next":"a b|x y|7"})");
  EXPECT_NE(open.answer(get("/api/maps/config?limit=999999999")).body.find("|1000\""), std::string::npos);
  EXPECT_EQ(open.answer(get("/api/maps/other")).status, 404U);
  for (const auto* bad :
       {"?limit=0", "?limit=-1", "?limit=1x", "?limit=99999999999999999999", "?what=1", "?prefix=%zz"}) {
    EXPECT_EQ(open.answer(get(std::string("/api/maps/config") + bad)).status, 400U) << bad;
  }
}

TEST_F(AdminPages, addresses_that_are_none_are_refused) {
  for (const auto* target : {"", "*", "http://evil.example/", "//evil.example/", "/%", "/%4", "/%4g"}) {
    EXPECT_EQ(open.answer(get(target)).status, 400U) << target;
  }
  EXPECT_EQ(open.answer(get("/assets/../../etc/passwd")).status, 404U);
}

TEST(AdminJson, terms_and_names_cannot_break_out_of_their_strings) {
  FlightEntry entry;
  entry.kind = FlightEntry::Kind::down;
  entry.peer = "\"\\\n\x01\xff</script>";
  EXPECT_NE(admin::log_json(entry).find(R"("peer":"\"\\\n\u0001�</script>")"), std::string::npos)
      << admin::log_json(entry);
}

TEST(AdminSecrets, are_equal_or_not) {
  EXPECT_TRUE(admin::same_secret("abc", "abc"));
  for (const auto* other : {"", "a", "abd", "abcabc", "Abc"}) EXPECT_FALSE(admin::same_secret(other, "abc")) << other;
}

}  // namespace
}  // namespace barrel_p2p
