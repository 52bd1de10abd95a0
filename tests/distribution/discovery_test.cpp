// Where nodes are: endpoint files as Erlang nodes write them, the chain of backends, our own address.
#include "distribution/discovery.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <boost/json/array.hpp>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/no_room.hpp"
#include "support/patience.hpp"
#include "support/scratch.hpp"
#include "support/vectors.hpp"

namespace barrel_p2p::distribution {
namespace {

using namespace std::chrono_literals;

class Directory : public testing::Test {
 protected:
  Directory() { config.directory = path; }

  static Result<DiscoveredAddresses> ask(Discovery& discovery, const std::string& node) {
    std::promise<Result<DiscoveredAddresses>> promise;
    discovery.resolve(Atom(node), [&](Result<DiscoveredAddresses> found) { promise.set_value(std::move(found)); });
    auto future = promise.get_future();
    if (future.wait_for(20s) != std::future_status::ready) throw std::runtime_error("no answer");
    return future.get();
  }
  void write(const std::string& node, const std::string& text) const {
    std::filesystem::create_directories(path);
    std::ofstream(path / (node + ".endpoint")) << text;
  }
  [[nodiscard]] std::string read(const std::string& node) const {
    std::ifstream in(file_of(node));
    return {std::istreambuf_iterator<char>(in), {}};
  }

  [[nodiscard]] std::filesystem::path file_of(const std::string& node) const { return path / (node + ".endpoint"); }
  /// For ever new looks at the own file, whose warnings are kept.
  void look_often() {
    config.look_period = 5ms;
    config.warn = [this](const std::string& text) {
      const std::lock_guard lock(mutex);
      warnings.push_back(text);
    };
  }
  [[nodiscard]] std::vector<std::string> warned() {
    const std::lock_guard lock(mutex);
    return warnings;
  }
  [[nodiscard]] bool comes_back(const std::string& text = "{\"127.0.0.1\",9101}.\n") const {
    return test::becomes_true([&] { return std::filesystem::is_regular_file(file) && read("a@127.0.0.1") == text; });
  }

  std::mutex mutex;
  std::vector<std::string> warnings;
  const test::ScratchDirectory scratch;
  const std::filesystem::path path = scratch / "discovery";  ///< Not there yet.
  const std::filesystem::path file = file_of("a@127.0.0.1");
  DiscoveryConfig config;
};

TEST(Endpoint, files_of_erlang_nodes_are_read_and_written_byte_for_byte) {
  std::size_t count = 0;
  const auto vectors = test::read_vectors("transport-discovery-file.json");
  for (const auto& entry : vectors.as_array()) {
    const std::string text(entry.at("text").as_string());
    const auto endpoint = parse_endpoint(text);
    ASSERT_TRUE(endpoint.has_value()) << text;
    EXPECT_EQ(format_endpoint(*endpoint), text);
    ++count;
  }
  EXPECT_GE(count, 5U);
}

TEST(Endpoint, other_forms_that_erlang_nodes_accept_are_accepted) {
  const auto host_of = [](const char* text) { return parse_endpoint(text)->host; };
  EXPECT_EQ(host_of("% a comment\n {\"db1\",\n 9101 } ."), "db1");
  EXPECT_EQ(host_of("{<<\"db1\">>,1}."), "db1");
  EXPECT_EQ(host_of("{{127,0,0,1},1}."), "127.0.0.1");
  EXPECT_EQ(host_of("{{0,0,0,0,0,0,0,1},1}."), "0:0:0:0:0:0:0:1");
}

TEST(Endpoint, everything_else_is_refused) {
  for (const char* text : {"", "{", "{\"a\"}.", "{\"a\",0}.", "{\"a\",65536}.", "{\"\",1}.", "{a,1}.", "{{1,2,3},1}.",
                           "{{256,0,0,1},1}.", "{\"a\",1,2}.", "[\"a\",1].", "{\"host\":\"a\",\"port\":1}",
                           // no names that anybody could look up
                           "{\"a b\",1}.", "{\"a\\nb\",1}.", "{\"a\\0b\",1}.", "{\"\xC3\xA3\",1}.", "{\"a\\\"b\",1}.",
                           "{\"a\\\\b\",1}."}) {
    EXPECT_FALSE(parse_endpoint(text).has_value()) << text;
  }
}

TEST(Endpoint, host_and_port_in_one_text) {
  EXPECT_EQ(parse_host_port("db1:4433")->host, "db1");
  EXPECT_EQ(parse_host_port("[::1]:4433")->host, "::1");
  EXPECT_EQ(parse_host_port("[::1]:4433")->port, 4433);
  for (const char* text : {"", "db1", ":1", "db1:", "db1:0", "db1:65536", "db1:x"}) {
    EXPECT_FALSE(parse_host_port(text).has_value()) << text;
  }
}

TEST_F(Directory, a_node_publishes_itself_and_takes_it_back) {
  Discovery discovery(config);
  ASSERT_TRUE(discovery.publish("a@127.0.0.1", {"127.0.0.1", 9101}).has_value());
  EXPECT_EQ(read("a@127.0.0.1"), "{\"127.0.0.1\",9101}.\n");
  const auto found = ask(discovery, "a@127.0.0.1");
  ASSERT_TRUE(found.has_value()) << found.error().message();
  EXPECT_EQ(found->at(0).address.to_string(), "127.0.0.1:9101");
  EXPECT_EQ(found->at(0).server_name, "") << "an IP literal is no server name";
  discovery.unpublish();
  EXPECT_FALSE(std::filesystem::exists(path / "a@127.0.0.1.endpoint"));
}

TEST_F(Directory, a_file_that_somebody_else_wrote_meanwhile_stays) {
  Discovery discovery(config);
  ASSERT_TRUE(discovery.publish("a@127.0.0.1", {"127.0.0.1", 9101}).has_value());
  write("a@127.0.0.1", "{\"127.0.0.1\",9102}.\n");
  discovery.unpublish();
  EXPECT_EQ(read("a@127.0.0.1"), "{\"127.0.0.1\",9102}.\n");
}

TEST_F(Directory, the_own_file_comes_back_when_somebody_removes_it) {
  look_often();
  Discovery discovery(config);
  ASSERT_TRUE(discovery.publish("a@127.0.0.1", {"127.0.0.1", 9101}).has_value());
  for (int times = 0; times < 3; ++times) {
    std::filesystem::remove(file);
    EXPECT_TRUE(comes_back());
  }
  std::filesystem::rename(path, scratch / "away");
  EXPECT_TRUE(comes_back()) << "with its directory";
  ASSERT_EQ(warned().size(), 1U) << "once a minute";
  EXPECT_NE(warned()[0].find("a@127.0.0.1.endpoint was removed; it is written again"), std::string::npos);
}

TEST_F(Directory, a_directory_that_cannot_be_made_again_is_told_and_tried_on) {
  look_often();
  Discovery discovery(config);
  ASSERT_TRUE(discovery.publish("a@127.0.0.1", {"127.0.0.1", 9101}).has_value());
  std::ofstream(scratch / "file") << "no directory";
  ASSERT_EQ(::renameat2(AT_FDCWD, path.c_str(), AT_FDCWD, (scratch / "file").c_str(), RENAME_EXCHANGE), 0);
  const auto told = [&] {
    const auto all = warned();
    return !all.empty() && all.back().starts_with("others do not find this node: ");
  };
  EXPECT_TRUE(test::becomes_true(told));
  std::filesystem::remove(path);
  EXPECT_TRUE(comes_back());
}

TEST_F(Directory, a_disk_without_room_is_told_and_the_file_comes_when_there_is) {
  look_often();
  config.look_period = 1h;
  write("a@127.0.0.1", "{\"127.0.0.1\",9102}.\n");
  {
    Discovery late(config);
    const test::NoRoom full;
    EXPECT_TRUE(late.publish("a@127.0.0.1", {"127.0.0.1", 9101}).has_value());
  }
  ASSERT_EQ(warned().size(), 1U);
  EXPECT_TRUE(warned()[0].starts_with("others do not find this node: ")) << warned()[0];
  config.look_period = 5ms;
  Discovery discovery(config);
  {
    const test::NoRoom full;
    EXPECT_TRUE(discovery.publish("a@127.0.0.1", {"127.0.0.1", 9101}).has_value());
  }
  EXPECT_TRUE(comes_back());
  EXPECT_EQ(warned().size(), 2U) << "nobody else publishes this name";
}

TEST_F(Directory, a_file_that_an_earlier_life_left_as_it_should_be_needs_no_room) {
  look_often();
  write("a@127.0.0.1", "{\"127.0.0.1\",9101}.\n");
  Discovery discovery(config);
  {
    const test::NoRoom full;
    EXPECT_TRUE(discovery.publish("a@127.0.0.1", {"127.0.0.1", 9101}).has_value());
  }
  EXPECT_TRUE(warned().empty());
  EXPECT_TRUE(ask(discovery, "a@127.0.0.1").has_value());
}

TEST_F(Directory, what_cannot_be_a_directory_is_an_error) {
  std::ofstream(path) << "no directory";
  Discovery discovery(config);
  EXPECT_EQ(discovery.publish("a@127.0.0.1", {"127.0.0.1", 9101}).error(), Errc::invalid_config);
}

TEST_F(Directory, the_file_of_another_node_of_the_name_is_replaced_and_told) {
  look_often();
  Discovery discovery(config);
  ASSERT_TRUE(discovery.publish("a@127.0.0.1", {"127.0.0.1", 9101}).has_value());
  for (int times = 0; times < 3; ++times) {
    write("a@127.0.0.1", "{\"127.0.0.1\",9102}.\n");
    EXPECT_TRUE(comes_back());
  }
  // Whoever looks between the making of the other file and its content may warn first.
  ASSERT_EQ(warned().size(), 1U) << "once a minute";
  EXPECT_NE(warned()[0].find("another node publishes itself as a@127.0.0.1"), std::string::npos) << warned()[0];
  EXPECT_NE(warned()[0].find("stop the other one"), std::string::npos) << warned()[0];
}

TEST_F(Directory, who_publishes_under_the_own_name_is_told_with_the_address) {
  write("a@127.0.0.1", "{\"127.0.0.1\",9102}.\n");
  std::filesystem::rename(file, scratch / "other");
  look_often();
  Discovery discovery(config);
  ASSERT_TRUE(discovery.publish("a@127.0.0.1", {"127.0.0.1", 9101}).has_value());
  std::filesystem::rename(scratch / "other", file);  // as nodes do, in one step
  EXPECT_TRUE(comes_back());
  ASSERT_EQ(warned().size(), 1U);
  EXPECT_NE(warned()[0].find("127.0.0.1:9102"), std::string::npos) << warned()[0];
}

TEST_F(Directory, a_second_node_of_the_name_that_stops_leaves_the_file_of_the_first) {
  auto late = config;
  look_often();
  Discovery first(config);
  ASSERT_TRUE(first.publish("a@127.0.0.1", {"127.0.0.1", 9101}).has_value());
  {
    late.look_period = 1h;
    Discovery second(late);
    ASSERT_TRUE(second.publish("a@127.0.0.1", {"127.0.0.1", 9102}).has_value());
  }
  EXPECT_TRUE(comes_back());
}

TEST_F(Directory, a_node_that_stops_does_not_look_after_its_file_any_more) {
  look_often();
  config.look_period = 1ms;
  for (int times = 0; times < 20; ++times) {
    {
      Discovery discovery(config);
      ASSERT_TRUE(discovery.publish("a@127.0.0.1", {"127.0.0.1", 9101}).has_value());
      discovery.unpublish();
    }
    ASSERT_FALSE(std::filesystem::exists(file));
  }
}

TEST_F(Directory, links_and_pipes_that_others_plant_are_replaced_and_not_opened) {
  look_often();
  std::ofstream(scratch / "precious") << "keys";
  const auto precious = [&] {
    std::ifstream kept(scratch / "precious");
    return std::string(std::istreambuf_iterator<char>(kept), {});
  };
  std::filesystem::create_directories(path);
  const auto beside = file.string() + ".tmp";
  for (const bool pipe : {false, true}) {
    for (const auto& place : {file, std::filesystem::path(beside)}) {
      std::filesystem::remove(place);
      if (pipe) {
        ASSERT_EQ(::mkfifo(place.c_str(), 0600), 0);
      } else {
        std::filesystem::create_symlink(scratch / "precious", place);
      }
    }
    Discovery discovery(config);
    ASSERT_TRUE(discovery.publish("a@127.0.0.1", {"127.0.0.1", 9101}).has_value());
    EXPECT_EQ(std::filesystem::symlink_status(file).type(), std::filesystem::file_type::regular);
    EXPECT_EQ(precious(), "keys");
    // Later ones likewise.
    std::filesystem::remove(file);
    if (pipe) {
      (void)::mkfifo(file.c_str(), 0600);  // unless it is back already
    } else {
      std::error_code is_back;
      std::filesystem::create_symlink(scratch / "precious", file, is_back);
    }
    EXPECT_TRUE(comes_back());
    EXPECT_EQ(precious(), "keys");
  }
}

TEST_F(Directory, a_pipe_in_place_of_an_endpoint_holds_nobody_up) {
  config.backends = {"file"};
  std::filesystem::create_directories(path);
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
  Discovery discovery(config);
  const auto found = ask(discovery, "a@127.0.0.1");
  ASSERT_FALSE(found.has_value());
  EXPECT_NE(found.error().context().find("is not a file"), std::string::npos) << found.error().context();
}

TEST_F(Directory, others_may_read_the_file_unless_the_umask_says_otherwise) {
  const auto mode_with = [&](mode_t mask) {
    const auto before = ::umask(mask);
    Discovery discovery(config);
    EXPECT_TRUE(discovery.publish("a@127.0.0.1", {"127.0.0.1", 9101}).has_value());
    ::umask(before);
    return std::filesystem::status(file).permissions();
  };
  EXPECT_EQ(mode_with(0022), std::filesystem::perms(0644));
  EXPECT_EQ(mode_with(0077), std::filesystem::perms(0600));
}

TEST_F(Directory, the_first_backend_that_knows_the_node_counts) {
  config.static_nodes["a@nowhere.invalid"] = "127.0.0.1:1";
  write("a@nowhere.invalid", "{\"127.0.0.1\",2}.\n");
  write("b@nowhere.invalid", "{\"127.0.0.1\",3}.\n");
  write("c@localhost", "this is no endpoint");
  config.dns_port = 4;
  Discovery discovery(config);
  EXPECT_EQ(ask(discovery, "a@nowhere.invalid")->at(0).address.port(), 1);
  EXPECT_EQ(ask(discovery, "b@nowhere.invalid")->at(0).address.port(), 3);
  const auto by_name = ask(discovery, "c@localhost");
  ASSERT_TRUE(by_name.has_value()) << by_name.error().message();
  EXPECT_EQ(by_name->at(0).address.port(), 4);
  EXPECT_EQ(by_name->at(0).server_name, "localhost");
}

TEST_F(Directory, functions_of_the_program_are_asked_in_their_turn_and_may_fail_and_throw) {
  config.static_nodes["a@h"] = "127.0.0.1:1";
  config.backends = {"static", "registry", "broken", "file"};
  config.functions["registry"] = [](const NodeName& node) -> Result<std::string> {
    if (node.host() == "h") return std::string("[::1]:2");
    return fail(Errc::not_found, "no lease of " + node.string());
  };
  config.functions["broken"] = [](const NodeName& node) -> Result<std::string> {
    if (node.host() == "i") return std::string("no address");
    throw std::runtime_error("the registry is down");
  };
  write("c@j", "{\"127.0.0.1\",3}.\n");
  Discovery discovery(config);
  EXPECT_EQ(ask(discovery, "a@h")->at(0).address.port(), 1) << "the table comes first";
  EXPECT_EQ(ask(discovery, "b@h")->at(0).address.to_string(), "[::1]:2");
  EXPECT_EQ(ask(discovery, "c@j")->at(0).address.port(), 3);
  const auto unknown = ask(discovery, "d@j");
  ASSERT_FALSE(unknown.has_value());
  EXPECT_EQ(unknown.error(), Errc::unreachable);
  for (const char* part : {"registry: not_found: no lease of d@j", "the registry is down", ".endpoint"}) {
    EXPECT_NE(unknown.error().context().find(part), std::string::npos) << unknown.error().context();
  }
  const auto no_address = ask(discovery, "d@i");
  ASSERT_FALSE(no_address.has_value());
  EXPECT_NE(no_address.error().context().find("not of the form host:port"), std::string::npos)
      << no_address.error().context();
}

/// A backend that answers when the test says so, and then with an address.
class Held {
 public:
  void release() {
    if (!std::exchange(released_, true)) promise_.set_value();
  }
  [[nodiscard]] auto backend() {
    return [this](const NodeName& /*node*/) -> Result<std::string> {
      ++asked;
      future_.wait();
      return std::string("127.0.0.1:7");
    };
  }
  std::atomic<int> asked{0};

 private:
  std::promise<void> promise_;
  const std::shared_future<void> future_ = promise_.get_future().share();
  bool released_ = false;
};

/// Goes before the discovery that waits.
class Released {
 public:
  explicit Released(Held& held) : held_(held) {}
  ~Released() { held_.release(); }
  Released(const Released&) = delete;
  Released& operator=(const Released&) = delete;

 private:
  Held& held_;
};

TEST_F(Directory, a_backend_that_does_not_answer_holds_up_nobody_whose_address_is_known) {
  Held held;
  config.static_nodes["a@h"] = "127.0.0.1:1";
  config.backends = {"static", "file", "held"};
  config.functions["held"] = held.backend();
  write("b@h", "{\"127.0.0.1\",2}.\n");
  Discovery discovery(config);
  const Released in_time(held);
  for (int each = 0; each < 100; ++each) {
    discovery.resolve(Atom("x" + std::to_string(each) + "@h"), [](const Result<DiscoveredAddresses>& /*found*/) {});
  }
  EXPECT_TRUE(test::becomes_true([&] { return held.asked == 4; })) << "more than that are not asked for at once";
  EXPECT_EQ(ask(discovery, "a@h")->at(0).address.port(), 1);
  EXPECT_EQ(ask(discovery, "b@h")->at(0).address.port(), 2);
  EXPECT_EQ(held.asked, 4);
}

TEST_F(Directory, what_takes_long_is_asked_once_for_all_who_want_to_know_it) {
  Held held;
  config.backends = {"held"};
  config.functions["held"] = held.backend();
  Discovery discovery(config);
  const Released in_time(held);
  constexpr int askers = 3;
  std::promise<void> all;
  std::atomic<int> answered{0};
  for (int each = 0; each < askers; ++each) {
    discovery.resolve(Atom("a@h"), [&](const Result<DiscoveredAddresses>& found) {
      if (found && found->at(0).address.port() == 7 && ++answered == askers) all.set_value();
    });
  }
  EXPECT_TRUE(test::becomes_true([&] { return held.asked == 1; }));
  held.release();
  EXPECT_EQ(all.get_future().wait_for(test::patience), std::future_status::ready);
  EXPECT_EQ(held.asked, 1);
  EXPECT_TRUE(ask(discovery, "a@h").has_value()) << "who comes later asks anew";
  EXPECT_EQ(held.asked, 2);
}

TEST_F(Directory, more_than_may_wait_for_what_takes_long_are_refused_at_once) {
  Held held;
  config.backends = {"held"};
  config.functions["held"] = held.backend();
  Discovery discovery(config);
  const Released in_time(held);
  constexpr std::size_t waiting_max = 4096;
  std::atomic<std::size_t> refused{0};
  for (std::size_t each = 0; each < waiting_max + 10; ++each) {
    discovery.resolve(Atom("x" + std::to_string(each / 2) + "@h"), [&](const Result<DiscoveredAddresses>& found) {
      if (!found && found.error() == Errc::overloaded) ++refused;
    });
  }
  EXPECT_EQ(refused, 10U);
  held.release();
  EXPECT_TRUE(test::becomes_true([&] { return ask(discovery, "a@h").has_value(); }));
}

TEST_F(Directory, where_a_node_was_met_is_known_at_once_unless_it_is_here) {
  Discovery discovery(config);
  discovery.set_remembered({{"a@h", "127.0.0.1:1"}, {"b@h", "db1:2"}});
  EXPECT_EQ(discovery.remembered("a@h")->to_string(), "127.0.0.1:1");
  EXPECT_FALSE(discovery.remembered("b@h").has_value());
  discovery.set_own(*quic::Address::make("127.0.0.1", 1));
  EXPECT_FALSE(discovery.remembered("a@h").has_value());
}

TEST_F(Directory, a_node_that_nobody_knows_is_an_error_that_says_what_was_tried) {
  config.backends = {"static", "file"};
  Discovery discovery(config);
  const auto found = ask(discovery, "a@127.0.0.1");
  ASSERT_FALSE(found.has_value());
  EXPECT_EQ(found.error(), Errc::unreachable);
  EXPECT_NE(found.error().context().find("static"), std::string::npos) << found.error().context();
  EXPECT_NE(found.error().context().find(".endpoint"), std::string::npos) << found.error().context();
  EXPECT_EQ(ask(discovery, "../../etc/passwd").error(), Errc::invalid_node_name);
}

TEST_F(Directory, our_own_address_is_nobody_elses) {
  write("other@127.0.0.1", "{\"127.0.0.1\",9101}.\n");
  config.backends = {"file"};
  Discovery discovery(config);
  EXPECT_TRUE(ask(discovery, "other@127.0.0.1").has_value());
  discovery.set_own(*quic::Address::make("0.0.0.0", 9101));
  EXPECT_EQ(ask(discovery, "other@127.0.0.1").error(), Errc::cannot_connect_self);
  write("other@127.0.0.1", "{\"192.0.2.1\",9101}.\n");
  EXPECT_TRUE(ask(discovery, "other@127.0.0.1").has_value()) << "the same port on another machine";
}

TEST_F(Directory, two_nodes_of_one_machine_may_have_the_same_port_at_addresses_of_their_own) {
  write("other@127.0.0.2", "{\"127.0.0.2\",9101}.\n");
  config.backends = {"file"};
  Discovery discovery(config);
  discovery.set_own(*quic::Address::make("127.0.0.1", 9101));
  EXPECT_TRUE(ask(discovery, "other@127.0.0.2").has_value());
  write("other@127.0.0.2", "{\"127.0.0.1\",9101}.\n");
  EXPECT_EQ(ask(discovery, "other@127.0.0.2").error(), Errc::cannot_connect_self);
}

}  // namespace
}  // namespace barrel_p2p::distribution
