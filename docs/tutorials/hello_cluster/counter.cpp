// counter NAME@HOST [CONTACT]: a node with a service that counts, until the return key, or the end of standard input.
#include <barrel_p2p/node.hpp>
#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <string>

using namespace barrel_p2p;

struct Counter : Server {
  std::int64_t count = 0;

  Task<std::optional<Term>> handle_call(Process& /*self*/, Term request, CallFrom /*from*/) override {
    if (request.is_tagged("add", 2)) count += request[1].as_int64().value_or(0);
    co_return std::optional<Term>(count);
  }
};

int main(int argument_count, char** arguments) {
  if (argument_count < 2) return 2;
  NodeConfig config;
  config.name = arguments[1];
  config.cookie = "hello";
  config.data_dir = std::string("data/") + arguments[1];
  config.discovery_dir = "data/discovery";
  if (argument_count > 2) config.membership.contacts = {arguments[2]};

  auto node = Node::start(config);
  if (!node) {
    std::cerr << node.error().message() << '\n';
    return 1;
  }
  const Pid counter = node->spawn(serve([] { return std::make_unique<Counter>(); }));
  if (!node->register_service("counter", counter)) return 1;
  std::cout << "counting" << std::endl;

  std::cin.ignore(1'000'000, '\n');  // until the return key
  return 0;                          // the destructor stops the node: it says goodbye
}
