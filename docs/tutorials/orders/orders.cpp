// orders NAME@HOST [CONTACT]: takes orders, reminds of those that nobody paid, and has one node make the daily report.
//
// Commands on standard input: `order NUMBER WHAT`, `pay NUMBER`, `list`. Run it on as many nodes as you like.
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>
#include <syncstream>
#include <utility>

using namespace barrel_p2p;
using namespace std::chrono_literals;

void say(const std::string& line) { std::osyncstream(std::cout) << line << std::endl; }

class Orders {
 public:
  explicit Orders(Node& node) : node_(node) {}

  /// What every node of the cluster does: has the map, wants to be told of what is due, stands for election.
  Result<void> start() {
    MapOptions durable;
    durable.persist = true;
    if (const auto opened = node_.new_map("orders", durable); !opened) return opened;

    due_ = node_.subscribe_reminders([this](const ReminderEvent& event) { remind(event); });

    auto candidacy = node_.lead(Atom("report"), {}, [this](const Fence& /*fence*/) { lead(); }, [this] { follow(); });
    if (!candidacy) return std::unexpected(candidacy.error());
    candidacy_.emplace(std::move(*candidacy));
    return {};
  }

  Result<void> order(std::int64_t number, const std::string& what) {
    const Term entry = Term::map({{Atom("what"), what}, {Atom("paid"), false}});
    if (const auto put = node_.map_put("orders", number, entry); !put) return put;
    return node_.remind_after(number, payment_time, what);  // on disk when it returns
  }

  Result<void> pay(std::int64_t number) {
    const auto entry = node_.map_get("orders", number);
    if (!entry) return std::unexpected(entry.error());
    const std::string what = entry->get<std::string>(Atom("what")).value_or("?");
    const Term paid = Term::map({{Atom("what"), what}, {Atom("paid"), true}});
    if (const auto put = node_.map_put("orders", number, paid); !put) return put;
    return node_.cancel_reminder(number);
  }

  void list() const {
    for (const auto& [number, entry] : node_.map_to_list("orders")) say(to_text(number) + " " + to_text(entry));
    say("end of the list");
  }

 private:
  static constexpr std::chrono::seconds payment_time{1};  // three days, in earnest

  /// Told on the node that owns the order's number, and nowhere else, while the cluster is calm. After a crash it may
  /// be told again: the map says whether it is still true.
  void remind(const ReminderEvent& event) {
    const auto entry = node_.map_get("orders", event.key);
    if (entry && !entry->get<bool>(Atom("paid")).value_or(false)) say("order " + to_text(event.key) + " is not paid");
  }

  /// Called again, with a greater fence, when this node leads on: the report belongs to the beginning of a term.
  void lead() {
    if (std::exchange(leading_, true)) return;
    std::size_t paid = 0;
    const auto all = node_.map_to_list("orders");
    for (const auto& [number, entry] : all) paid += entry.get<bool>(Atom("paid")).value_or(false) ? 1U : 0U;
    say("report: " + std::to_string(all.size()) + " orders, " + std::to_string(paid) + " paid");
  }
  void follow() {
    leading_ = false;
    say("somebody else reports");
  }

  Node& node_;
  Subscription due_;
  bool leading_ = false;  ///< `lead` and `follow` are called one at a time.
  std::optional<Candidacy> candidacy_;
};

void obey(Orders& orders, const std::string& line) {
  std::istringstream words(line);
  std::string command;
  std::int64_t number = 0;
  std::string what;
  words >> command >> number;
  std::getline(words >> std::ws, what);
  Result<void> done;
  if (command == "order") {
    done = orders.order(number, what);
  } else if (command == "pay") {
    done = orders.pay(number);
  } else if (command == "list") {
    orders.list();
    return;
  } else {
    say("order NUMBER WHAT, pay NUMBER, list");
    return;
  }
  say(done ? command + " " + std::to_string(number) + ": done" : done.error().message());
}

int main(int argument_count, char** arguments) {
  if (argument_count < 2) return 2;
  NodeConfig config;
  config.name = arguments[1];
  config.cookie = "orders";
  config.data_dir = std::string("data/") + arguments[1];
  config.discovery_dir = "data/discovery";
  config.log_level = LogLevel::warning;
  if (argument_count > 2) config.membership.contacts = {arguments[2]};

  auto node = Node::start(config);
  if (!node) {
    std::cerr << node.error().message() << '\n';
    return 1;
  }
  if (argument_count > 2 && !node->joined(2, 30s)) say("nobody is there yet");
  Orders orders(*node);
  if (const auto started = orders.start(); !started) {
    std::cerr << started.error().message() << '\n';
    return 1;
  }
  say("ready");
  for (std::string line; std::getline(std::cin, line);) obey(orders, line);
  return 0;
}
