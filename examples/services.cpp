// Two nodes in one program: a service that is found by name, and a map that both share. Written for the documents.
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <string>

using namespace barrel_p2p;
using namespace std::chrono_literals;

struct Resizer : Server {
  Task<std::optional<Term>> handle_call(Process& /*self*/, Term picture, CallFrom /*from*/) override {
    co_return std::optional<Term>(picture.as_string().value_or("?") + " in small");
  }
};

NodeConfig config_of(const std::string& name, const std::filesystem::path& root) {
  NodeConfig config;
  config.name = name;
  config.cookie = "a secret that all nodes share";
  config.data_dir = root / name;
  config.discovery_dir = root / "discovery";
  config.log_level = LogLevel::warning;
  return config;
}

int run(const std::filesystem::path& root) {
  auto a = Node::start(config_of("a@127.0.0.1", root));
  auto b = Node::start(config_of("b@127.0.0.1", root));
  if (!a || !b || !b->join(a->name())) return 1;

  // Services: a process is registered under a name, on any node, with whatever others should know of it.
  const Pid resizer = b->spawn(serve([] { return std::make_unique<Resizer>(); }));
  if (!b->register_service("resizer", resizer, Term::map({{Atom("cores"), 8}}))) return 1;

  // Another node waits until the name is there, picks an instance with enough cores, and talks to it.
  WhereisOptions large;
  large.accept = [](const Term& meta) { return meta.get<int>(Atom("cores")).value_or(0) >= 4; };
  const auto found = a->resolve("resizer", 10s, large);
  if (!found) return 1;
  const auto small = a->call(found->pid, "a picture");
  std::cout << "the resizer gave " << (small ? to_text(*small) : small.error().message()) << '\n';

  // Maps: a write on one node is read on all; for each key the last write wins.
  MapOptions durable;
  durable.persist = true;  // a put returns when it is on disk
  if (!a->new_map("config", durable) || !b->new_map("config")) return 1;
  std::promise<MapEvent> changed;
  const auto subscription = b->subscribe_map("config", [&](const MapEvent& event) { changed.set_value(event); });
  if (!a->map_put("config", "limit", 100)) return 1;
  changed.get_future().wait();
  std::cout << "the limit is " << b->map_get<int>("config", "limit").value_or(0) << " on the other node\n";
  return subscription ? 0 : 1;
}

int main() {
  const auto root =
      std::filesystem::temp_directory_path() / ("barrel_p2p-services-" + std::to_string(std::random_device{}()));
  const int status = run(root);
  std::filesystem::remove_all(root);
  return status;
}
