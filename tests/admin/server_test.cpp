#include "admin/server.hpp"

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <vector>

#include "admin/source_of_test.hpp"
#include "support/http.hpp"

namespace barrel_p2p {
namespace {

using admin::Server;
using admin::ServerConfig;
using test::http_get;
using test::HttpClient;
using test::status_of;
using namespace std::chrono_literals;

class AdminServer : public testing::Test {
 protected:
  std::uint16_t start(ServerConfig config = {}) {
    auto opened = Server::open(config, make_null_logger());
    EXPECT_TRUE(opened.has_value());
    server = std::move(*opened);
    server->start(admin::Pages(node.source(), admin::Access("", "c", {})));
    return server->port();
  }
  static std::string request(const std::string& target) {
    return "GET " + target + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
  }

  test::FakeNode node;
  std::unique_ptr<Server> server;
};

TEST_F(AdminServer, answers_with_headers_that_keep_browsers_from_harm) {
  const auto port = start();
  const std::string answer = http_get(port, "/api/state");
  EXPECT_EQ(status_of(answer), 200);
  for (const auto* wanted : {"Content-Security-Policy: default-src 'none'", "X-Content-Type-Options: nosniff",
                             "X-Frame-Options: DENY", "Cache-Control: no-store", "Content-Type: application/json"}) {
    EXPECT_NE(answer.find(wanted), std::string::npos) << wanted;
  }
}

TEST_F(AdminServer, head_is_the_answer_without_its_body) {
  const auto port = start();
  const std::string answer = http_get(port, "/api/state", "", "HEAD");
  EXPECT_EQ(status_of(answer), 200);
  EXPECT_EQ(test::body_of(answer), "");
  EXPECT_EQ(answer.find("Content-Length: 0"), std::string::npos);
}

TEST_F(AdminServer, serves_several_requests_on_one_connection) {
  const auto port = start();
  HttpClient client(port);
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(client.send(request("/health/live")));
    EXPECT_NE(client.until(R"("reasons":[]})"), "");
  }
}

TEST_F(AdminServer, garbage_is_answered_with_400_and_the_connection_ends) {
  const auto port = start();
  for (const std::string& garbage : {std::string("\x16\x03\x01\x02 no TLS here\r\n\r\n"), std::string("hello\r\n\r\n"),
                                     std::string("GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n")}) {
    HttpClient client(port);
    client.send(garbage);
    EXPECT_EQ(status_of(client.rest()), 400) << garbage;
  }
  EXPECT_EQ(status_of(http_get(port, "/health/live")), 200);
}

TEST_F(AdminServer, too_large_a_header_and_any_body_are_refused) {
  const auto port = start();
  EXPECT_EQ(status_of(http_get(port, "/health/live", "X: " + std::string(32 * 1024, 'x') + "\r\n")), 431);
  HttpClient client(port);
  client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\nx");
  EXPECT_EQ(status_of(client.rest()), 413);
}

TEST_F(AdminServer, two_hosts_or_none_are_refused) {
  const auto port = start();
  EXPECT_EQ(status_of(http_get(port, "/api/state", "Host: evil.example\r\n")), 421);
  HttpClient client(port);
  client.send("GET /api/state HTTP/1.0\r\n\r\n");
  EXPECT_EQ(status_of(client.rest()), 421);
}

TEST_F(AdminServer, who_sends_its_request_slowly_is_given_up) {
  ServerConfig config;
  config.request_timeout = 100ms;
  const auto port = start(config);
  HttpClient client(port);
  // Bytes that drip in do not prolong the time for the whole.
  while (client.send("x")) std::this_thread::sleep_for(5ms);
  // This thread itself may take longer on a busy machine, once.
  EXPECT_TRUE(test::becomes_true([&] { return status_of(http_get(port, "/health/live")) == 200; }));
}

TEST_F(AdminServer, two_may_stop_it_at_once_while_it_answers) {
  std::promise<void> busy;
  std::promise<void> go_on;
  auto source = node.source();
  source.health = [&] {
    busy.set_value();
    go_on.get_future().wait();
    return Health();
  };
  server = Server::open({}, make_null_logger()).value();
  server->start(admin::Pages(std::move(source), admin::Access("", "c", {})));
  HttpClient client(server->port());
  ASSERT_TRUE(client.send(request("/health/live")));
  busy.get_future().wait();
  const auto stop = [&] { server->stop(); };
  auto one = std::async(std::launch::async, stop);
  auto other = std::async(std::launch::async, stop);
  EXPECT_EQ(one.wait_for(100ms), std::future_status::timeout);
  EXPECT_EQ(other.wait_for(100ms), std::future_status::timeout);
  go_on.set_value();
  EXPECT_NO_THROW(one.get());
  EXPECT_NO_THROW(other.get());
}

TEST_F(AdminServer, many_idle_connections_lock_nobody_out) {
  ServerConfig config;
  config.connections_max = 4;
  config.request_timeout = 1h;
  const auto port = start(config);
  std::vector<std::unique_ptr<HttpClient>> idle;
  for (int count = 0; count < 20; ++count) idle.push_back(std::make_unique<HttpClient>(port));
  EXPECT_EQ(status_of(http_get(port, "/health/live")), 200);
  EXPECT_EQ(idle.front()->rest(), "") << "the one that waited longest has made room";
}

TEST_F(AdminServer, events_begin_with_the_state_and_the_log_and_go_on_when_something_changes) {
  ServerConfig config;
  config.events_period = 10ms;
  node.decide("old@h");
  const auto port = start(config);
  HttpClient client(port);
  client.send(request("/api/events"));
  const std::string head = client.until("\r\n\r\n");
  EXPECT_NE(head.find("Content-Type: text/event-stream"), std::string::npos);
  const std::string first = client.until("old@h because\",\"reason\":\"because\"}\n\n");
  EXPECT_NE(first.find("event: state\ndata: {\"time\":"), std::string::npos);
  EXPECT_NE(first.find("event: log\ndata: {\"time\":"), std::string::npos);
  node.add_peer("new@h");
  EXPECT_NE(client.until("\"name\":\"new@h\""), "");
  node.decide("bad@h");
  EXPECT_NE(client.until("\"peer\":\"bad@h\""), "");
}

TEST_F(AdminServer, a_new_listener_gets_the_last_of_the_log_only) {
  ServerConfig config;
  config.log_first_max = 2;
  for (const auto* peer : {"one@h", "two@h", "three@h"}) node.decide(peer);
  const auto port = start(config);
  HttpClient client(port);
  client.send(request("/api/events"));
  const std::string first = client.until("\"peer\":\"three@h\"");
  EXPECT_NE(first.find("two@h"), std::string::npos);
  EXPECT_EQ(first.find("one@h"), std::string::npos);
}

TEST_F(AdminServer, silence_is_broken_by_comments) {
  ServerConfig config;
  config.events_period = 10ms;
  config.comment_period = 20ms;
  const auto port = start(config);
  HttpClient client(port);
  client.send(request("/api/events"));
  EXPECT_NE(client.until("\n: still here\n\n"), "");
}

TEST_F(AdminServer, listeners_are_bounded_in_number) {
  ServerConfig config;
  config.events_max = 2;
  const auto port = start(config);
  std::vector<std::unique_ptr<HttpClient>> listeners;
  for (int count = 0; count < 2; ++count) {
    listeners.push_back(std::make_unique<HttpClient>(port));
    listeners.back()->send(request("/api/events"));
    ASSERT_NE(listeners.back()->until("event: state"), "");
  }
  EXPECT_EQ(status_of(http_get(port, "/api/events")), 503);
  listeners.clear();
  EXPECT_TRUE(test::becomes_true([&] {
    HttpClient client(port);
    client.send(request("/api/events"));
    return client.until("\r\n").find(" 200 ") != std::string::npos;
  })) << "those that went have left their place";
}

TEST_F(AdminServer, a_port_that_is_taken_is_told) {
  ServerConfig config;
  config.port = start();
  const auto second = Server::open(config, make_null_logger());
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error(), Errc::io_error);
}

TEST_F(AdminServer, stopping_ends_listeners_and_idle_connections) {
  const auto port = start();
  HttpClient listener(port);
  listener.send(request("/api/events"));
  ASSERT_NE(listener.until("event: state"), "");
  HttpClient idle(port);
  server->stop();
  EXPECT_EQ(idle.rest(), "");
  listener.rest();
}

}  // namespace
}  // namespace barrel_p2p
