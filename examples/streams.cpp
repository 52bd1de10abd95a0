// A file from one node to another over a stream, with an answer over the same stream. Written for the documents.
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <random>
#include <string>
#include <utility>

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
    if (!bytes) co_return;  // reset, or the connection is lost: the stream goes with this process
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

  // A process for each stream that comes with this tag, as long as the acceptor lives.
  const auto acceptor = b->accept_streams("acme.count", count_bytes);
  if (!acceptor) return 1;

  // Connects if need be.
  auto stream = a->open_stream("b@127.0.0.1", "acme.count");
  if (!stream) return 1;
  // Each write waits while the receiver has not kept up: 100 MB pass, and never more than a few are in memory.
  for (int piece = 0; piece < 100; ++piece) {
    if (!stream->write(Bytes(1'000'000), 30s)) return 1;
  }
  if (!stream->finish()) return 1;
  const auto answer = stream->read(30s);
  if (!answer) return 1;
  std::cout << as_text(*answer) << '\n';

  // Nobody takes this tag: the first read says so.
  auto refused = a->open_stream("b@127.0.0.1", "acme.nobody");
  if (!refused) return 1;
  const auto nothing = refused->read(30s);
  if (!nothing && nothing.error() == Errc::connection_refused) std::cout << "nobody takes acme.nobody\n";
  return 0;
}

int main() {
  const auto root = std::filesystem::temp_directory_path() / ("streams-" + std::to_string(std::random_device{}()));
  const int status = run(root);
  std::filesystem::remove_all(root);
  return status == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
