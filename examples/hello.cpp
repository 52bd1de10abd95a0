// Two nodes in one program: a server on one, called from the other. Written for the README.
#include <barrel_p2p/node.hpp>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <string>

using namespace barrel_p2p;

// A server answers calls and casts, from C++ and from Erlang (gen_server:call) alike.
struct Counter : Server {
  std::int64_t count = 0;
  Task<std::optional<Term>> handle_call(Process& /*self*/, Term request, CallFrom /*from*/) override {
    if (request.is_atom("get")) co_return std::optional<Term>(count);
    co_return std::optional<Term>(Atom("unknown"));
  }
  Task<> handle_cast(Process& /*self*/, Term request) override {
    count += request.as_int64().value_or(0);
    co_return;
  }
};

NodeConfig config_of(const std::string& name, const std::filesystem::path& root) {
  NodeConfig config;
  config.name = name;
  config.cookie = "a secret that all nodes share";
  config.data_dir = root / name;              // its keys and its certificate, made at the first start
  config.discovery_dir = root / "discovery";  // where nodes of this machine find each other
  config.log_level = LogLevel::warning;
  return config;
}

int run(const std::filesystem::path& root) {
  auto a = Node::start(config_of("a@127.0.0.1", root));
  auto b = Node::start(config_of("b@127.0.0.1", root));
  if (!a || !b) {
    std::cerr << (a ? b : a).error().message() << '\n';
    return 1;
  }
  const Pid counter = b->spawn(serve([] { return std::make_unique<Counter>(); }));
  if (!b->register_process("counter", counter)) return 1;

  // The first message dials: QUIC, mutual proof of Ed25519 keys, cookie.
  const RemoteName there("counter", b->name());
  if (!a->cast(there, 40) || !a->cast(there, 2)) return 1;
  const auto count = a->call(there, Atom("get"));
  std::cout << "the counter says " << (count ? to_text(*count) : count.error().message()) << '\n';

  // Processes are coroutines with a mailbox. This one ends the counter and hears of its end, wherever it runs.
  std::promise<Term> seen;
  a->spawn([&](Process& self) -> Task<> {
    self.monitor(counter);
    self.exit(counter, Atom("enough"));
    const Term down = co_await self.receive();
    seen.set_value(down[4]);
  });
  std::cout << "the counter ended: " << to_text(seen.get_future().get()) << '\n';
  return count && *count == Term(42) ? 0 : 1;
}

int main() {
  const auto root =
      std::filesystem::temp_directory_path() / ("barrel_p2p-hello-" + std::to_string(std::random_device()()));
  const int status = run(root);
  std::filesystem::remove_all(root);
  return status;
}
