// ask NAME@HOST CONTACT NUMBER: joins the cluster, finds the counter wherever it is, and adds the number.
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <iostream>
#include <string>

using namespace barrel_p2p;
using namespace std::chrono_literals;

int main(int argument_count, char** arguments) {
  if (argument_count < 4) return 2;
  NodeConfig config;
  config.name = arguments[1];
  config.cookie = "hello";
  config.data_dir = std::string("data/") + arguments[1];
  config.discovery_dir = "data/discovery";
  config.membership.contacts = {arguments[2]};

  auto node = Node::start(config);
  if (!node) {
    std::cerr << node.error().message() << '\n';
    return 1;
  }
  const auto counter = node->resolve("counter", 30s);  // waits until there is one
  if (!counter) {
    std::cerr << counter.error().message() << '\n';
    return 1;
  }
  const auto count = node->call(counter->pid, Term::tuple({Atom("add"), std::stoi(arguments[3])}));
  if (!count) {
    std::cerr << count.error().message() << '\n';
    return 1;
  }
  std::cout << "the counter at " << counter->node.string() << " says " << to_text(*count) << '\n';
  return 0;
}
