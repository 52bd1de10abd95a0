// Files from other nodes: which paths are taken, what the two ends say, and what a receiver does with senders that do
// not keep to it. tests/cluster/cp_test.cpp has the command.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <barrel_p2p/node.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "distribution/auth/ed25519.hpp"
#include "node/files/incoming_file.hpp"
#include "node/files/messages.hpp"
#include "node/files/path_rules.hpp"
#include "node/files/receiver.hpp"
#include "node/files/sha256.hpp"
#include "node/node_support.hpp"
#include "node/validate.hpp"
#include "support/patience.hpp"

namespace barrel_p2p::files {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;
namespace gen = rc::gen;
using test::mebibyte;
using test::patience;

// Paths.

TEST(ReceivedPaths, are_relative_and_name_every_step) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(components_of("").value(), Names{});
  EXPECT_EQ(components_of("a").value(), Names{"a"});
  EXPECT_EQ(components_of("a/b c/.d..e").value(), (Names{"a", "b c", ".d..e"}));
  EXPECT_EQ(components_of("caf\xC3\xA9\xC2\xA0").value(), Names{"caf\xC3\xA9\xC2\xA0"});
  EXPECT_EQ(components_of(std::string(name_bytes_max, 'n')).value().size(), 1U);
}

TEST(ReceivedPaths, that_could_leave_the_directory_or_harm_a_terminal_are_refused) {
  std::string deep = "a";
  for (std::size_t depth = 0; depth < path_depth_max; ++depth) deep += "/a";
  for (const auto& path :
       {std::string("/"), std::string("/etc/passwd"), std::string(".."), std::string("../x"), std::string("a/../../x"),
        std::string("."), std::string("a/./b"), std::string("a//b"), std::string("a/"), std::string("a\0b", 3),
        std::string("a\nb"), std::string("\x1b[2J"), std::string("a\x7f"),
        std::string("x\xC2\x9B"
                    "2J"),
        std::string("\xC2\x80"), std::string(".x.part"), std::string("a/.part"), std::string(name_bytes_max + 1, 'n'),
        deep}) {
    EXPECT_EQ(components_of(path).error(), Errc::invalid_argument) << path;
  }
  EXPECT_FALSE(components_of(std::string(path_bytes_max / 2, 'n') + "/" + std::string(path_bytes_max, 'n')));
  EXPECT_FALSE(check_name("a/b"));
  EXPECT_EQ(partial_name("x"), ".x.part");
}

TEST(ReceivedPaths, of_any_bytes_are_refused_or_made_of_good_names) {
  EXPECT_TRUE(rc::check("any path", [] {
    const auto path = *gen::container<std::string>(
        gen::weightedOneOf<char>({{3, gen::element('/', '.', 'a', 'p')}, {1, gen::arbitrary<char>()}}));
    const auto names = components_of(path);
    if (!names) return;
    std::string joined;
    for (const auto& name : *names) {
      RC_ASSERT(check_name(name).has_value());
      joined += (joined.empty() ? "" : "/") + name;
    }
    RC_ASSERT(joined == path);
  }));
}

// Messages.

Offer offer_of(std::string path, std::uint64_t size) {
  Offer offer;
  offer.path = std::move(path);
  offer.name = "name";
  offer.mode = 0644;
  offer.modified_seconds = 1'700'000'000;
  offer.size = size;
  return offer;
}

Sha256Digest digest_of(ByteView bytes) {
  Sha256 hash;
  hash.add(bytes);
  return hash.digest();
}

TEST(CopyHash, is_sha_256) {
  EXPECT_EQ(distribution::to_hex(digest_of({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(distribution::to_hex(digest_of(as_bytes("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

/// All messages of the bytes, data as text; the last one is `malformed` if it ended so.
std::vector<std::string> read_all(ByteView bytes, std::size_t piece) {
  MessageReader reader;
  std::vector<std::string> seen;
  bool in_data = false;
  while (!bytes.empty()) {
    ByteView part = bytes.first(std::min(piece, bytes.size()));
    bytes = bytes.subspan(part.size());
    for (;;) {
      const auto message = reader.read(part);
      if (!message) {
        seen.emplace_back("malformed");
        return seen;
      }
      if (!*message) break;
      if (const auto* data = std::get_if<Data>(&**message)) {
        if (!in_data) seen.emplace_back("data ");
        seen.back() += as_text(data->bytes);
        in_data = true;
        continue;
      }
      in_data = false;
      seen.emplace_back(as_text(encode(**message)));
    }
  }
  return seen;
}

TEST(CopyMessages, come_through_whatever_the_pieces) {
  Bytes stream;
  std::vector<std::string> sent;
  const auto add = [&](const Message& message) {
    const Bytes bytes = encode(message);
    stream.insert(stream.end(), bytes.begin(), bytes.end());
    sent.emplace_back(as_text(bytes));
  };
  Offer offer = offer_of("in/x", 1ULL << 40U);
  offer.flags = flag_force | flag_exact;
  offer.modified_seconds = -1;
  offer.modified_nanoseconds = 999'999'999;
  add(offer);
  add(Have{77, digest_of(as_bytes("seen"))});
  add(Begin{77});
  add(Alive{});
  Bytes data(header_bytes);
  put_data_header(5, std::span(data).first<header_bytes>());
  stream.insert(stream.end(), data.begin(), data.end());
  for (const char character : std::string("hello")) stream.push_back(static_cast<std::uint8_t>(character));
  sent.emplace_back("data hello");
  add(End{digest_of(as_bytes("all"))});
  add(Refusal{RefusalCode::no_room, "the disk is full"});
  add(Done{"in/x"});
  for (std::size_t piece = 1; piece <= stream.size(); ++piece) EXPECT_EQ(read_all(stream, piece), sent) << piece;
}

TEST(CopyMessages, that_are_none_are_refused_before_anything_is_kept) {
  const auto message = [](std::uint8_t type, std::uint32_t size, Bytes body = {}) {
    Bytes bytes{type, static_cast<std::uint8_t>(size >> 24U), static_cast<std::uint8_t>(size >> 16U),
                static_cast<std::uint8_t>(size >> 8U), static_cast<std::uint8_t>(size)};
    bytes.insert(bytes.end(), body.begin(), body.end());
    return bytes;
  };
  const std::vector<std::string> malformed{"malformed"};
  EXPECT_EQ(read_all(message(0, 0), 99), malformed);
  EXPECT_EQ(read_all(message(9, 0), 99), malformed);
  EXPECT_EQ(read_all(message(3, 0), 99), malformed) << "data of no length";
  EXPECT_EQ(read_all(message(3, data_bytes_max + 1), 99), malformed);
  EXPECT_EQ(read_all(message(1, body_bytes_max + 1), 99), malformed) << "from its announcement on";
  EXPECT_EQ(read_all(message(2, 7, Bytes(7)), 99), malformed);
  EXPECT_EQ(read_all(message(8, 1, Bytes(1)), 99), malformed);
  EXPECT_EQ(read_all(message(6, 1, Bytes{9}), 99), malformed) << "an unknown refusal";
  EXPECT_EQ(read_all(message(6, 514, Bytes(514)), 99), malformed);
  const auto offered = [&](auto change) {
    Offer offer = offer_of("x", 1);
    change(offer);
    return read_all(encode(offer), 99) == malformed;
  };
  EXPECT_FALSE(offered([](Offer&) {}));
  EXPECT_TRUE(offered([](Offer& offer) { offer.flags = 16; }));
  EXPECT_TRUE(offered([](Offer& offer) { offer.flags = flag_force | flag_no_clobber; }));
  EXPECT_TRUE(offered([](Offer& offer) { offer.flags = flag_into | flag_exact; }));
  EXPECT_TRUE(offered([](Offer& offer) { offer.mode = 04755; }));
  EXPECT_TRUE(offered([](Offer& offer) { offer.modified_nanoseconds = 1'000'000'000; }));
  EXPECT_TRUE(offered([](Offer& offer) { offer.modified_seconds = modified_seconds_max + 1; }));
  EXPECT_TRUE(offered([](Offer& offer) { offer.kind = Kind::directory; }));
  EXPECT_TRUE(offered([](Offer& offer) { offer.kind = static_cast<Kind>(2); }));
}

TEST(CopyMessages, of_a_refusal_cannot_command_a_terminal) {
  MessageReader reader;
  const Bytes bytes = encode(Refusal{RefusalCode::io, "a\x1b]0;b\x07\xc2\x9b\n"});
  ByteView view = bytes;
  const auto message = reader.read(view);
  ASSERT_TRUE(message.has_value());
  EXPECT_EQ(std::get<Refusal>(message->value()).text, "a?]0;b????");
}

// A receiver, and a sender that says what a test wants.

class ReceivedFiles : public testing::Test {
 protected:
  void start(const test::Cluster::Change& change = {}) {
    fs::create_directories(directory());
    receiver = &cluster.start("a", [&](NodeConfig& config) {
      config.receive.dir = directory();
      config.receive.free_bytes_min = 0;
      config.detector.dead_after = 60s;  // the nodes may have to wait for the processor
      if (change) change(config);
    });
    sender = &cluster.start("b", [](NodeConfig& config) { config.detector.dead_after = 60s; });
  }
  [[nodiscard]] virtual fs::path directory() const { return cluster.data("received"); }
  [[nodiscard]] std::string content(const std::string& name) const {
    std::ifstream in(directory() / name, std::ios::binary);
    return in ? std::string{std::istreambuf_iterator<char>(in), {}} : "no such file";
  }

  /// One conversation.
  struct Talk {
    explicit Talk(Stream opened) : stream(std::move(opened)) {}
    void say(const Message& message) { say_bytes(encode(message)); }
    void say_bytes(Bytes bytes) { ASSERT_TRUE(stream.write(std::move(bytes), patience).has_value()); }
    void say_data(std::string_view text) {
      Bytes bytes(header_bytes);
      put_data_header(text.size(), std::span(bytes).first<header_bytes>());
      for (const char character : text) bytes.push_back(static_cast<std::uint8_t>(character));
      say_bytes(std::move(bytes));
    }
    /// Nothing: the stream is over.
    std::optional<Message> hear() {
      for (;;) {
        const auto message = reader.read(rest);
        if (!message) return std::nullopt;
        if (*message) return **message;
        auto bytes = stream.read(patience);
        if (!bytes || bytes->empty()) return std::nullopt;
        buffer = std::move(*bytes);
        rest = buffer;
      }
    }
    template <class Wanted>
    Wanted expect() {
      const auto message = hear();
      if (message && std::holds_alternative<Wanted>(*message)) return std::get<Wanted>(*message);
      ADD_FAILURE() << "not what was expected: " << (message ? static_cast<int>(message->index()) : -1);
      return {};
    }
    Stream stream;
    MessageReader reader;
    Bytes buffer;
    ByteView rest;
  };
  Talk talk() { return Talk(sender->open_stream(receiver->name(), std::string(copy_tag), patience).value()); }

  /// A whole copy; what the receiver said last.
  Message send(const Offer& offer, std::string_view text, std::optional<Sha256Digest> digest = std::nullopt) {
    Talk talk = this->talk();
    talk.say(offer);
    const auto answer = talk.hear();
    if (!answer) return Alive{};
    if (!std::holds_alternative<Have>(*answer)) return *answer;
    talk.say(Begin{0});
    if (!text.empty()) talk.say_data(text);
    talk.say(End{digest.value_or(digest_of(as_bytes(text)))});
    return talk.hear().value_or(Alive{});
  }
  static std::string word(const Message& message) {
    if (const auto* done = std::get_if<Done>(&message)) return "done " + done->path;
    if (const auto* refusal = std::get_if<Refusal>(&message)) {
      return "refused " + std::to_string(static_cast<int>(refusal->code));
    }
    return "other " + std::to_string(message.index());
  }
  static std::string refused(RefusalCode code) { return "refused " + std::to_string(static_cast<int>(code)); }

  test::Cluster cluster;
  Node* receiver = nullptr;
  Node* sender = nullptr;
};

TEST_F(ReceivedFiles, take_their_name_permissions_and_time_when_they_are_whole) {
  start();
  fs::create_directory(directory() / "in");
  Offer offer = offer_of("in/x", 5);
  offer.mode = 0777;
  offer.modified_nanoseconds = 123'000'000;
  Talk talk = this->talk();
  talk.say(offer);
  EXPECT_EQ(talk.expect<Have>().bytes, 0U);
  talk.say(Begin{0});
  talk.say_data("hel");
  talk.say(Alive{});
  talk.say_data("lo");
  EXPECT_TRUE(test::becomes_true([&] { return content("in/.x.part") == "hello"; }));
  EXPECT_FALSE(fs::exists(directory() / "in/x"));
  talk.say(End{digest_of(as_bytes("hello"))});
  EXPECT_EQ(talk.expect<Done>().path, "in/x");
  EXPECT_EQ(content("in/x"), "hello");
  struct stat status{};
  ASSERT_EQ(::stat((directory() / "in/x").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777U, 0755U) << "writable for its owner only";
  EXPECT_EQ(status.st_mtim.tv_sec, 1'700'000'000);
  EXPECT_EQ(status.st_mtim.tv_nsec, 123'000'000);
  EXPECT_FALSE(fs::exists(directory() / "in/.x.part"));
  // The same stream takes more than one.
  talk.say(offer_of("empty", 0));
  EXPECT_EQ(talk.expect<Have>().bytes, 0U);
  talk.say(Begin{0});
  talk.say(End{digest_of({})});
  EXPECT_EQ(talk.expect<Done>().path, "empty");
  EXPECT_EQ(content("empty"), "");
  EXPECT_EQ(receiver->statistics().receive.files, 2U);
  EXPECT_EQ(receiver->statistics().receive.bytes, 5U);
}

TEST_F(ReceivedFiles, go_into_a_directory_under_their_own_name) {
  start();
  fs::create_directory(directory() / "in");
  EXPECT_EQ(word(send(offer_of("", 1), "x")), "done name");
  EXPECT_EQ(word(send(offer_of("in", 1), "x")), "done in/name");
  Offer into = offer_of("absent", 1);
  into.flags = flag_into;
  EXPECT_EQ(word(send(into, "x")), refused(RefusalCode::path));
  Offer exact = offer_of("in", 1);
  exact.flags = flag_exact;
  EXPECT_EQ(word(send(exact, "x")), refused(RefusalCode::path)) << "a directory is no file";
  Offer made = offer_of("out", 0);
  made.kind = Kind::directory;
  EXPECT_EQ(word(send(made, "")), "done out");
  EXPECT_EQ(word(send(made, "")), "done out/name");
  made.flags = flag_exact;
  EXPECT_EQ(word(send(made, "")), "done out");
}

TEST(ReceivedDirectory, that_is_not_on_the_disk_is_no_success) {
  const test::ScratchDirectory scratch;
  Offer offer;
  offer.kind = Kind::directory;
  offer.mode = 0700;
  const auto target_in = [&](int flags) {
    return Target{Descriptor(::open(scratch.path().c_str(), flags | O_DIRECTORY | O_CLOEXEC)), "made", "in/made"};
  };
  // What is opened with O_PATH has directories made in it, and no fsync.
  for (const char* attempt : {"new", "there from the attempt before"}) {
    const auto made = ReceiveDirectory::make_directory(target_in(O_PATH), offer);
    EXPECT_TRUE(fs::is_directory(scratch / "made"));
    ASSERT_FALSE(made.has_value()) << attempt;
    EXPECT_EQ(made.error().code, RefusalCode::io);
    EXPECT_NE(made.error().text.find("in/made: "), std::string::npos) << made.error().text;
  }
  EXPECT_TRUE(ReceiveDirectory::make_directory(target_in(O_RDONLY), offer).has_value());
}

TEST_F(ReceivedFiles, never_leave_their_directory) {
  start();
  const auto outside = cluster.data("outside");
  fs::create_directories(outside);
  std::ofstream(outside / "victim") << "untouched";
  fs::create_directory_symlink(outside, directory() / "link");
  fs::create_symlink(outside / "victim", directory() / "file");
  fs::create_symlink(outside / "victim", directory() / ".partial.part");
  fs::create_hard_link(outside / "victim", directory() / ".hard.part");
  ASSERT_EQ(::mkfifo((directory() / "pipe").c_str(), 0600), 0);
  ASSERT_EQ(::mkfifo((directory() / ".behind.part").c_str(), 0600), 0);
  for (const auto* path : {"../outside/new", "/tmp/new", "link/new", "link", "file", "partial", "hard", "pipe",
                           "behind", "in/../../outside/new", "pipe/x", "absent/x", ".y.part"}) {
    EXPECT_EQ(word(send(offer_of(path, 1), "x")), refused(RefusalCode::path)) << path;
  }
  Offer name = offer_of("", 1);
  name.name = "../new";
  EXPECT_EQ(word(send(name, "x")), refused(RefusalCode::path));
  Offer made = offer_of("link/new", 0);
  made.kind = Kind::directory;
  EXPECT_EQ(word(send(made, "")), refused(RefusalCode::path));
  EXPECT_EQ(std::distance(fs::directory_iterator(outside), fs::directory_iterator()), 1);
  std::ifstream victim(outside / "victim");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(victim), {}), "untouched");
  EXPECT_TRUE(fs::is_symlink(directory() / "file"));
}

TEST_F(ReceivedFiles, replace_others_as_the_sender_may_say) {
  start();
  EXPECT_EQ(word(send(offer_of("x", 3), "old")), "done x");
  Offer offer = offer_of("x", 3);
  offer.flags = flag_no_clobber;
  EXPECT_EQ(word(send(offer, "new")), refused(RefusalCode::exists));
  EXPECT_EQ(content("x"), "old");
  EXPECT_EQ(word(send(offer_of("x", 3), "new")), "done x");
  EXPECT_EQ(content("x"), "new");
  fs::permissions(directory() / "x", fs::perms::owner_read);
  EXPECT_EQ(word(send(offer_of("x", 5), "third")), refused(RefusalCode::exists));
  offer = offer_of("x", 5);
  offer.flags = flag_force;
  EXPECT_EQ(word(send(offer, "third")), "done x");
  EXPECT_EQ(content("x"), "third");
  // What comes while a copy is under way is not replaced either.
  offer = offer_of("y", 1);
  offer.flags = flag_no_clobber;
  Talk talk = this->talk();
  talk.say(offer);
  talk.expect<Have>();
  std::ofstream(directory() / "y") << "came";
  talk.say(Begin{0});
  talk.say_data("z");
  talk.say(End{digest_of(as_bytes("z"))});
  EXPECT_EQ(talk.expect<Refusal>().code, RefusalCode::exists);
  EXPECT_EQ(content("y"), "came");
}

TEST_F(ReceivedFiles, with_another_hash_than_was_sent_are_removed) {
  start();
  EXPECT_EQ(word(send(offer_of("x", 3), "abc", digest_of(as_bytes("abd")))), refused(RefusalCode::mismatch));
  EXPECT_TRUE(fs::is_empty(directory()));
}

TEST_F(ReceivedFiles, go_on_where_an_earlier_attempt_ended) {
  start();
  {
    Talk talk = this->talk();
    talk.say(offer_of("x", 6));
    talk.expect<Have>();
    talk.say(Begin{0});
    talk.say_data("abc");
    EXPECT_TRUE(test::becomes_true([&] { return content(".x.part") == "abc"; }));
  }
  EXPECT_TRUE(test::becomes_true([&] { return receiver->statistics().receive.broken == 1; }));
  {
    Talk talk = this->talk();
    talk.say(offer_of("x", 6));
    const auto have = talk.expect<Have>();
    EXPECT_EQ(have.bytes, 3U);
    EXPECT_EQ(have.digest, digest_of(as_bytes("abc")));
    talk.say(Begin{3});
    talk.say_data("def");
    talk.say(End{digest_of(as_bytes("abcdef"))});
    talk.expect<Done>();
  }
  EXPECT_EQ(content("x"), "abcdef");
  // More than is offered belongs to another file, and so does what the sender does not want to go on with.
  std::ofstream(directory() / ".x.part") << "longer than that";
  EXPECT_EQ(word(send(offer_of("x", 2), "yz")), "done x");
  EXPECT_EQ(content("x"), "yz");
  std::ofstream(directory() / ".x.part") << "other";
  EXPECT_EQ(word(send(offer_of("x", 7), "another")), "done x");
  EXPECT_EQ(content("x"), "another");
}

TEST_F(ReceivedFiles, are_not_written_by_two_transfers_at_once) {
  start();
  Talk first = talk();
  first.say(offer_of("x", 1));
  first.expect<Have>();
  EXPECT_EQ(word(send(offer_of("x", 1), "z")), refused(RefusalCode::busy));
  first.say(Begin{0});
  first.say_data("y");
  first.say(End{digest_of(as_bytes("y"))});
  first.expect<Done>();
  EXPECT_EQ(content("x"), "y");
}

TEST_F(ReceivedFiles, are_refused_beyond_the_limits) {
  start([](NodeConfig& config) {
    config.receive.file_bytes_max = 10;
    config.receive.transfers_max = 1;
  });
  EXPECT_EQ(word(send(offer_of("x", 11), "")), refused(RefusalCode::too_large));
  EXPECT_TRUE(test::becomes_true([&] { return receiver->statistics().receive.transfers == 0; }));
  Talk first = talk();
  first.say(offer_of("x", 1));
  first.expect<Have>();
  EXPECT_EQ(receiver->statistics().receive.transfers, 1U);
  Talk second = talk();
  EXPECT_EQ(second.expect<Refusal>().code, RefusalCode::busy);
  EXPECT_EQ(receiver->statistics().receive.refused, 2U);
}

TEST_F(ReceivedFiles, from_a_sender_that_says_nothing_are_given_up) {
  start([](NodeConfig& config) { config.receive.idle_timeout = 100ms; });
  Talk talk = this->talk();
  EXPECT_EQ(talk.expect<Refusal>().code, RefusalCode::idle);
  EXPECT_FALSE(talk.hear().has_value());
}

TEST_F(ReceivedFiles, from_senders_that_break_the_rules_are_refused) {
  start();
  const auto after = [&](bool begun, auto speak) {
    Talk talk = this->talk();
    if (begun) {
      talk.say(offer_of("x", 3));
      talk.expect<Have>();
    }
    speak(talk);
    EXPECT_EQ(talk.expect<Refusal>().code, RefusalCode::malformed);
    EXPECT_FALSE(talk.hear().has_value()) << "its last word";
  };
  after(false, [](Talk& talk) { talk.say_bytes({255, 0, 0, 0, 0}); });
  after(false, [](Talk& talk) { talk.say(Begin{0}); });
  after(false, [](Talk& talk) { talk.say_data("x"); });
  after(true, [](Talk& talk) { talk.say(Begin{1}); });
  after(true, [](Talk& talk) { talk.say(offer_of("y", 1)); });
  after(true, [](Talk& talk) {
    talk.say(Begin{0});
    talk.say_data("more than was offered");
  });
  after(true, [](Talk& talk) {
    talk.say(Begin{0});
    talk.say_data("x");
    talk.say(End{});
  });
  EXPECT_FALSE(fs::exists(directory() / "x"));
  EXPECT_EQ(word(send(offer_of("x", 1), "x")), "done x") << "and others go on";
}

TEST_F(ReceivedFiles, end_with_the_node_and_stay_for_the_next_attempt) {
  start();
  Talk talk = this->talk();
  talk.say(offer_of("x", 2));
  talk.expect<Have>();
  talk.say(Begin{0});
  talk.say_data("a");
  EXPECT_TRUE(test::becomes_true([&] { return content(".x.part") == "a"; }));
  receiver->stop();
  EXPECT_FALSE(talk.hear().has_value());
  EXPECT_EQ(content(".x.part"), "a");
}

TEST_F(ReceivedFiles, are_refused_by_a_node_that_has_no_directory_for_them) {
  start([](NodeConfig& config) { config.receive.dir.clear(); });
  Talk talk = this->talk();
  const auto heard = talk.stream.read(patience);
  ASSERT_FALSE(heard.has_value());
  EXPECT_EQ(heard.error(), Errc::connection_refused);
}

TEST_F(ReceivedFiles, need_a_directory_that_holds_nothing_of_the_node) {
  const auto fails = [&](const fs::path& directory) {
    NodeConfig config = cluster.config("a");
    config.receive.dir = directory;
    const auto node = Node::start(config);
    return node ? std::string("started") : node.error().message();
  };
  EXPECT_NE(fails(cluster.data("absent")).find("receive.dir: cannot open"), std::string::npos);
  const auto data = cluster.data("a");
  fs::create_directories(data);
  for (const auto& wrong : {data, data.parent_path(), data / ".." / "a", fs::path("/")}) {
    EXPECT_NE(fails(wrong).find("receive.dir: "), std::string::npos) << wrong;
  }
  fs::create_directories(data / "received");
  EXPECT_FALSE(check_apart(data, {}, {fs::path(), data / "received" / "node.key"}));
  EXPECT_TRUE(check_apart(data / "received", data, {fs::path(), data / "received.key"}));
  EXPECT_EQ(fails(data / "received"), "started") << "below is apart";
  for (const auto& wrong : {data / "keys", data / "keys" / "trusted", data / "quic", data / "store" / "x",
                            cluster.config("a").discovery_dir / "x"}) {
    fs::create_directories(wrong);
    fs::permissions(wrong, fs::perms::owner_all);
    EXPECT_NE(fails(wrong).find("receive.dir: "), std::string::npos) << wrong << ": a file there could be a pinned key";
  }
}

TEST_F(ReceivedFiles, need_a_directory_without_the_secrets_that_the_configuration_names) {
  const auto received = cluster.data("received");
  fs::create_directories(received);
  const auto fails = [&](const std::function<void(NodeConfig&)>& change) {
    NodeConfig config = cluster.config("a");
    config.receive.dir = received;
    change(config);
    return node::check_received_apart(config) ? std::string("apart") : std::string("together");
  };
  EXPECT_EQ(fails([](NodeConfig&) {}), "apart");
  EXPECT_EQ(fails([&](NodeConfig& config) { config.admin.token_file = received / "token"; }), "together");
  EXPECT_EQ(fails([&](NodeConfig& config) { config.stateless_reset_key_file = received / "reset.key"; }), "together");
  EXPECT_EQ(fails([&](NodeConfig& config) { config.replication.store_dir = received.parent_path(); }), "together");
}

/// The directory is a file system of 4 MiB that is the test's own.
class ReceivedFilesOnFullDisk : public ReceivedFiles {
 protected:
  void SetUp() override {
    fs::create_directories(directory());
    if (::geteuid() != 0 || ::mount("tmpfs", directory().c_str(), "tmpfs", 0, "size=4m") != 0) {
      GTEST_SKIP() << "no right to mount a file system";
    }
    mounted_ = true;
  }
  void TearDown() override {
    cluster.stop("a");
    if (mounted_) ::umount2(directory().c_str(), MNT_DETACH);
  }

 private:
  bool mounted_ = false;
};

TEST_F(ReceivedFilesOnFullDisk, are_refused_in_time_or_stay_until_there_is_room) {
  start([](NodeConfig& config) { config.receive.free_bytes_min = mebibyte; });
  EXPECT_EQ(word(send(offer_of("large", 4 * mebibyte), "")), refused(RefusalCode::no_room)) << "at the offer";
  EXPECT_TRUE(fs::is_empty(directory()));
  // The room that there was goes while the file comes.
  const std::string half(mebibyte / 2, 'h');
  {
    Talk talk = this->talk();
    talk.say(offer_of("x", 2 * half.size()));
    talk.expect<Have>();
    talk.say(Begin{0});
    talk.say_data(half);
    EXPECT_TRUE(test::becomes_true([&] { return content(".x.part").size() == half.size(); }));
    std::ofstream ballast(directory() / "ballast");
    while (ballast << half << std::flush) {
    }
    talk.say_data(half);
    EXPECT_EQ(talk.expect<Refusal>().code, RefusalCode::no_room);
  }
  fs::remove(directory() / "ballast");
  EXPECT_TRUE(test::becomes_true([&] { return receiver->statistics().receive.transfers == 0; }));
  Talk talk = this->talk();
  talk.say(offer_of("x", 2 * half.size()));
  const auto have = talk.expect<Have>();
  ASSERT_GE(have.bytes, half.size());
  ASSERT_LE(have.bytes, 2 * half.size());
  talk.say(Begin{have.bytes});
  const std::string rest(2 * half.size() - have.bytes, 'h');
  if (!rest.empty()) talk.say_data(rest);
  talk.say(End{digest_of(as_bytes(half + half))});
  talk.expect<Done>();
  EXPECT_EQ(content("x"), half + half);
}

}  // namespace
}  // namespace barrel_p2p::files
