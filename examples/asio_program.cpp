// A node inside of a program that has its own Boost.Asio loop: the program keeps where each visitor was last, in a map
// that all nodes share. Of two values for one key the later one stays, which is what is wanted here. It would lose
// counts: those need a type of one's own (replicated_counter.cpp).
//
// The library runs on threads of its own and calls back on them. Two small pieces bring everything to the program's
// loop: events are posted to it, and `completion` makes of any function with a callback an asynchronous operation, for
// co_await, callbacks, futures, whatever the completion token says.
#include <algorithm>
#include <barrel_p2p/node.hpp>
#include <boost/asio.hpp>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>

namespace asio = boost::asio;
using asio::ip::tcp;
using namespace barrel_p2p;
using namespace std::chrono_literals;

/// `start` is given a `std::function<void(Result<T>)>`. What it is called with completes the operation, on the executor
/// of whoever waits.
template <class T, class Start, class Token = asio::use_awaitable_t<>>
auto completion(Start start, Token token = {}) {
  return asio::async_initiate<Token, void(Result<T>)>(
      [](auto handler, Start begin) {
        // Callbacks of the library can be copied, handlers of Asio cannot. The loop has work while one is under way.
        auto shared = std::make_shared<decltype(handler)>(std::move(handler));
        auto work = asio::make_work_guard(*shared);
        begin([shared, work](Result<T> result) {
          asio::post(work.get_executor(),
                     [shared, result = std::move(result)]() mutable { std::move (*shared)(std::move(result)); });
        });
      },
      token, std::move(start));
}

/// One visitor: says its name and where it is, hears where it was before. All of it runs on the program's loop.
asio::awaitable<void> serve(tcp::socket socket, Node& node) {
  std::string line;
  const auto size = co_await asio::async_read_until(socket, asio::dynamic_buffer(line), '\n', asio::use_awaitable);
  line.resize(size - 1);
  const auto space = std::min(line.find(' '), line.size());
  const std::string name = line.substr(0, space);
  const std::string place = line.substr(std::min(space + 1, line.size()));
  const auto before = node.map_get<std::string>("places", name);  // reads take no time
  const Result<void> put =
      co_await completion<void>([&](auto done) { node.map_put("places", name, place, std::move(done)); });
  const std::string answer = put ? "before: " + before.value_or("nowhere") + "\n" : put.error().message() + "\n";
  co_await asio::async_write(socket, asio::buffer(answer), asio::use_awaitable);
}

asio::awaitable<void> accept(tcp::acceptor& acceptor, Node& node) {
  for (;;) {
    tcp::socket socket = co_await acceptor.async_accept(asio::use_awaitable);
    asio::co_spawn(acceptor.get_executor(), serve(std::move(socket), node), asio::detached);
  }
}

/// A visitor for this example, in the same loop.
asio::awaitable<void> visit(tcp::endpoint server, std::string name, std::string place) {
  tcp::socket socket(co_await asio::this_coro::executor);
  co_await socket.async_connect(server, asio::use_awaitable);
  const std::string line = name + " " + place + "\n";
  co_await asio::async_write(socket, asio::buffer(line), asio::use_awaitable);
  std::string answer;
  co_await asio::async_read_until(socket, asio::dynamic_buffer(answer), '\n', asio::use_awaitable);
  std::cout << name << " at the " << place << ", " << answer << std::flush;
}

NodeConfig config_of(const std::filesystem::path& root, const std::string& name) {
  NodeConfig config;
  config.name = name + "@127.0.0.1";
  config.cookie = "a secret that all nodes share";
  config.data_dir = root / name;
  config.discovery_dir = root / "discovery";
  config.log_level = LogLevel::error;
  return config;
}

int run(const std::filesystem::path& root) {
  auto node = Node::start(config_of(root, "a"));
  auto other = Node::start(config_of(root, "b"));  // would be on another machine
  if (!node || !other || !node->new_map("places") || !other->new_map("places")) return 1;
  if (!other->join(node->name()) || !other->joined(2, 30s)) return 1;

  asio::io_context loop;  // of the program: one thread, so nothing here needs a lock
  tcp::acceptor acceptor(loop, {asio::ip::address_v4::loopback(), 0});
  asio::co_spawn(loop, accept(acceptor, *node), asio::detached);

  // Events come on a thread of the library, which must not be held up: they are posted.
  std::map<std::string, std::string> seen;
  bool visited = false;
  const auto end = [&] {
    if (visited && seen == std::map<std::string, std::string>{{"ann", "garden"}, {"bob", "door"}}) loop.stop();
  };
  const auto changes = other->subscribe_map("places", [&](const MapEvent& event) {
    asio::post(loop, [&, name = event.key.to<std::string>(), place = event.value.to<std::string>()] {
      if (name && place) seen[*name] = *place;
      end();
    });
  });
  if (!changes) return 1;

  asio::co_spawn(
      loop,
      [&]() -> asio::awaitable<void> {
        co_await visit(acceptor.local_endpoint(), "ann", "door");
        co_await visit(acceptor.local_endpoint(), "bob", "door");
        co_await visit(acceptor.local_endpoint(), "ann", "garden");
        visited = true;
        end();
      },
      asio::detached);
  loop.run();
  for (const auto& [name, place] : seen) std::cout << "the other node sees " << name << " at the " << place << '\n';
  // Before the loop goes: when they return no thread of the library runs, and nothing more is posted.
  node->stop();
  other->stop();
  return 0;
}

int main() {
  const auto root = std::filesystem::temp_directory_path() / ("asio-" + std::to_string(std::random_device{}()));
  const int status = run(root);
  std::filesystem::remove_all(root);
  return status;
}
