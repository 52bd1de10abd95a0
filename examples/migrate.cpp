// A connection that moves to another local address in the middle of a stream. Written for the documents.
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <random>
#include <string>

using namespace barrel_p2p;
using namespace std::chrono_literals;

NodeConfig config_of(const std::filesystem::path& root, const std::string& name) {
  NodeConfig config;
  config.name = name + "@127.0.0.1";
  config.cookie = "a secret that all nodes share";
  config.data_dir = root / name;
  config.discovery_dir = root / "discovery";
  config.log_level = LogLevel::warning;
  return config;
}

/// Reads all that the peer sends and answers with how much it was.
Task<> count_bytes(Process& self, Stream stream) {
  std::size_t total = 0;
  for (;;) {
    const Result<Bytes> bytes = co_await stream.read(self);
    if (!bytes) co_return;
    if (bytes->empty()) break;
    total += bytes->size();
  }
  const std::string answer = std::to_string(total) + " bytes";
  Bytes text(answer.begin(), answer.end());
  const Result<void> written = co_await stream.write(self, std::move(text));
  if (written && !stream.finish()) co_return;
}

int run(const std::filesystem::path& root) {
  auto a = Node::start(config_of(root, "a"));
  auto b = Node::start(config_of(root, "b"));
  if (!a || !b) return 1;
  const auto acceptor = b->accept_streams("acme.count", count_bytes);
  auto stream = a->open_stream(b->name(), "acme.count");
  if (!acceptor || !stream) return 1;

  const NodeName peer = b->name();
  for (int piece = 0; piece < 20; ++piece) {
    if (!stream->write(Bytes(1'000'000), 30s)) return 1;
    if (piece != 9) continue;
    MigrateOptions options;
    options.timeout = 20s;
    options.local_address = "127.0.0.2";  // of this machine; without it another port is enough
    if (const auto moved = a->migrate_peer(peer, options); !moved) {
      std::cerr << moved.error().message() << '\n';
      return 1;
    }
  }
  if (!stream->finish()) return 1;
  const auto answer = stream->read(30s);
  const auto path = a->path_stats(peer);
  if (!answer || !path) return 1;
  std::cout << as_text(*answer) << " arrived, " << path->migrations << " migration, now from "
            << path->local.substr(0, path->local.rfind(':')) << '\n';
  return path->smoothed_rtt > 0us ? 0 : 1;
}

int main() {
  const auto root = std::filesystem::temp_directory_path() / ("migrate-" + std::to_string(std::random_device{}()));
  const int status = run(root);
  std::filesystem::remove_all(root);
  return status == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
