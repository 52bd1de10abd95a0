// A chat without a server: every user is a node, and a room is a process that is found by name from all of them.
//
//   example_chat ann@127.0.0.1 DIRECTORY                  the first user
//   example_chat bob@127.0.0.1 DIRECTORY ann@127.0.0.1    others join anybody who is there
//
// Reads from standard input: /create ROOM, /join ROOM, /leave ROOM, /rooms, /quit; other lines go to the room
// that was joined last. DIRECTORY holds keys, and is where nodes of one machine find each other.
#include <barrel_p2p/node.hpp>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <syncstream>

using namespace barrel_p2p;
using namespace std::chrono_literals;

/// Callbacks speak on other threads: a line leaves whole.
void show(const std::string& line) { std::osyncstream(std::cout) << line << std::endl; }

/// Everybody in the room sees the same lines in the same order, for they all come from this process.
class Room : public Server {
 public:
  explicit Room(std::string name) : name_(std::move(name)) {}

  Task<std::optional<Term>> handle_call(Process& self, Term request, CallFrom /*from*/) override {
    if (request.is_tagged("join", 3) && request[1].is_pid() && !members_.contains(*request[1].as_pid())) {
      const Pid user = *request[1].as_pid();
      const Member member{request[2].as_string().value_or("?"), self.monitor(user)};
      members_.insert_or_assign(user, member);
      co_await tell(self, member.nick + " joined");
      co_return Term(Atom("ok"));
    }
    if (request.is_tagged("leave", 2) && request[1].is_pid()) {
      co_await remove(self, *request[1].as_pid());
      co_return Term(Atom("ok"));
    }
    if (request.is_tagged("say", 3) && request[1].is_pid()) {
      const auto member = members_.find(*request[1].as_pid());
      if (member == members_.end()) co_return Term(Atom("not_a_member"));
      co_await tell(self, member->second.nick + ": " + request[2].as_string().value_or("?"));
      co_return Term(Atom("ok"));
    }
    co_return Term(Atom("bad_request"));
  }
  Task<> handle_info(Process& self, Term message) override {
    if (message.is_tagged("DOWN", 5) && message[3].is_pid()) co_await remove(self, *message[3].as_pid());
  }

 private:
  struct Member {
    std::string nick;
    Ref monitor;
  };
  Task<> remove(Process& self, Pid user) {
    const auto member = members_.find(user);
    if (member == members_.end()) co_return;
    const std::string nick = member->second.nick;
    self.demonitor(member->second.monitor);
    members_.erase(member);
    co_await tell(self, nick + " left");
  }
  Task<> tell(Process& self, std::string text) {
    const Term line("[" + name_ + "] " + text);
    for (const auto& [user, member] : members_) co_await self.send(user, line);
  }

  std::string name_;
  std::map<Pid, Member> members_;
};

class User {
 public:
  explicit User(Node& node)
      : node_(node), nick_(node.name().name()), screen_(node.spawn([](Process& self) -> Task<> {
          for (;;) {
            const Term line = co_await self.receive();
            if (const auto text = line.as_string()) show(*text);
          }
        })) {}

  void command(const std::string& line) {
    const auto space = line.find(' ');
    const std::string word = line.substr(0, space);
    const std::string rest = space == std::string::npos ? "" : line.substr(space + 1);
    if (word == "/create") {
      create(rest);
    } else if (word == "/join") {
      if (ask(rest, Term::tuple({Atom("join"), screen_, nick_}))) room_ = rest;
    } else if (word == "/leave") {
      ask(rest, Term::tuple({Atom("leave"), screen_}));
    } else if (word == "/rooms") {
      for (const auto& name : node_.list_services()) {
        if (name.text().starts_with(prefix)) show("room " + std::string(name.text().substr(prefix.size())));
      }
    } else {
      ask(room_, Term::tuple({Atom("say"), screen_, line}));
    }
  }

  static constexpr std::string_view prefix = "chat_room/";

 private:
  static std::string service_of(const std::string& room) { return std::string(prefix) + room; }
  void create(const std::string& room) {
    if (node_.lookup(service_of(room))) return show("there is a room " + room);
    const Pid process = node_.spawn(serve([room] { return std::make_unique<Room>(room); }));
    const auto done = node_.register_service(service_of(room), process);
    if (!done) show(done.error().message());
  }
  /// The room may have been opened a moment ago, on another node: it is waited for.
  bool ask(const std::string& room, const Term& request) {
    const auto found = node_.resolve(service_of(room), 2s);
    const auto answer = found ? node_.call(found->pid, request) : Result<Term>(fail(Errc::not_found, "no such room"));
    const bool ok = answer && answer->is_atom("ok");
    if (!ok) show(answer ? to_text(*answer) : answer.error().message());
    return ok;
  }

  Node& node_;
  std::string nick_;
  Pid screen_;
  std::string room_;
};

int main(int count, char** arguments) {
  if (count < 3) return 2;
  NodeConfig config;
  config.name = arguments[1];
  config.cookie = "a secret that all users share";
  config.data_dir = std::string(arguments[2]) + "/" + arguments[1];
  config.discovery_dir = std::string(arguments[2]) + "/discovery";
  config.log_level = LogLevel::error;
  if (count > 3) config.membership.contacts = {arguments[3]};
  auto node = Node::start(config);
  if (!node) return (show(node.error().message()), 1);

  const auto rooms = node->subscribe_services([](const ServiceEvent& event) {
    if (!event.name.text().starts_with(User::prefix)) return;
    const std::string room(event.name.text().substr(User::prefix.size()));
    show("room " + room + (event.kind == ServiceEvent::Kind::registered ? " is open" : " is closed"));
  });
  if (count > 3 && !node->joined(2)) show("nobody is there yet");
  show("hello " + node->name().string());
  User user(*node);
  for (std::string line; std::getline(std::cin, line) && line != "/quit";) user.command(line);
  return 0;
}
