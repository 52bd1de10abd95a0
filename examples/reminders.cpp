// A reminder that outlives its node, and one that recurs. Written for the documents.
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <iostream>
#include <optional>
#include <random>
#include <string>

using namespace barrel_p2p;
using namespace std::chrono_literals;
using std::chrono::system_clock;

NodeConfig config_of(const std::filesystem::path& root) {
  NodeConfig config;
  config.name = "a@127.0.0.1";
  config.cookie = "a secret that all nodes share";
  config.data_dir = root / "a";
  config.discovery_dir = root / "discovery";
  config.log_level = LogLevel::warning;
  config.replication.heartbeat = 200ms;  // so that the example need not wait for long: 2 s and 6 s are the defaults
  config.replication.lease = 1s;
  return config;
}

int run(const std::filesystem::path& root) {
  {
    auto node = Node::start(config_of(root));
    if (!node) return 1;
    // On disk when it returns, and on its way to all nodes.
    if (!node->remind_after("invoice 17", 1s, Term::map({{Atom("customer"), 4711}}))) return 1;
  }
  // Nobody was there when it was due. The node that owns the key tells it as soon as somebody wants to know.
  auto node = Node::start(config_of(root));
  if (!node) return 1;
  std::promise<ReminderEvent> told;
  auto subscription = node->subscribe_reminders([&](const ReminderEvent& event) { told.set_value(event); });
  const auto event = told.get_future().get();
  std::cout << to_text(event.key) << " for customer " << event.payload.get<int>(Atom("customer")).value_or(0) << '\n';
  subscription.cancel();

  // Recurrence: the program says when the same reminder is due again. Here three times, a tenth of a second apart.
  int rounds = 0;
  std::promise<void> over;
  const auto recurring = node->subscribe_reminders(
      [&](const ReminderEvent& /*tick*/) {
        if (++rounds == 3) over.set_value();
      },
      [&](const ReminderEvent& previous) -> std::optional<system_clock::time_point> {
        if (rounds == 2) return std::nullopt;
        return previous.due + 100ms;
      });
  if (!node->remind("tick", system_clock::now(), "tick")) return 1;
  over.get_future().wait();
  std::cout << "tick came " << rounds << " times\n";
  return 0;
}

int main() {
  const auto root = std::filesystem::temp_directory_path() / ("reminders-" + std::to_string(std::random_device{}()));
  const int status = run(root);
  std::filesystem::remove_all(root);
  return status == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
