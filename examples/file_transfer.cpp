// Files from node to node over streams: as fast as the receiver takes them, whole and verified or not at all.
//
//   example_file_transfer receive b@127.0.0.1 DIRECTORY INBOX       until standard input ends
//   example_file_transfer send a@127.0.0.1 DIRECTORY FILE b@127.0.0.1
//
// On the stream: a byte of length and a term {Name, Size, SHA-256}, then the bytes of the file; and back a text.
#include <gnutls/crypto.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <barrel_p2p/node.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <tuple>

using namespace barrel_p2p;
using namespace std::chrono_literals;

constexpr auto patience = 30s;  // a peer that is silent for so long is given up
const std::string tag = "acme.file";
using Header = std::tuple<std::string, std::uint64_t, Bytes>;  // name, size, SHA-256

struct Sha256 {
  gnutls_hash_hd_t state = nullptr;
  Sha256() { gnutls_hash_init(&state, GNUTLS_DIG_SHA256); }
  ~Sha256() { gnutls_hash_deinit(state, nullptr); }
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void add(ByteView bytes) const { gnutls_hash(state, bytes.data(), bytes.size()); }
  [[nodiscard]] Bytes digest() const {
    Bytes result(32);
    gnutls_hash_output(state, result.data());
    return result;
  }
};

/// Hands on the bytes of a stream, of which there must be so many.
Result<void> read_exactly(Stream& stream, std::uint64_t count, const auto& take) {
  while (count > 0) {
    const auto some = stream.read(patience, std::min<std::uint64_t>(count, Stream::read_bytes_max));
    if (!some) return std::unexpected(some.error());
    if (some->empty()) return fail(Errc::closed, "the sender has finished too early");
    if (!take(ByteView(*some))) return fail(Errc::io_error, "it cannot be written");
    count -= some->size();
  }
  return {};
}

Result<std::string> receive(Stream& stream, const std::filesystem::path& inbox) {
  Bytes bytes;
  const auto keep = [&](ByteView some) { return bytes.insert(bytes.end(), some.begin(), some.end()), true; };
  auto result = read_exactly(stream, 1, keep);
  if (result) result = read_exactly(stream, bytes[0], keep);
  if (!result) return std::unexpected(result.error());
  const auto term = decode_term(ByteView(bytes).subspan(1));
  const auto header = term ? term->term.to<Header>() : std::unexpected(term.error());
  if (!header) return std::unexpected(header.error());
  const auto& [sent_name, size, digest] = *header;
  const std::string name = std::filesystem::path(sent_name).filename();  // whatever it says: it goes into the inbox
  if (name.empty() || name[0] == '.') return fail(Errc::invalid_argument, "a name of a file is wanted");
  std::cout << "receiving " << name << ", " << size << " bytes" << std::endl;

  const std::filesystem::path part = inbox / ("." + name + ".part");
  std::ofstream file(part, std::ios::binary);
  const Sha256 hash;
  result = read_exactly(stream, size, [&](ByteView some) {
    hash.add(some);
    return file.write(as_text(some).data(), static_cast<std::streamsize>(some.size())).good();
  });
  file.close();
  if (result && !file) result = fail(Errc::io_error, "it cannot be written");
  if (result && hash.digest() != digest) result = fail(Errc::corrupt, "its SHA-256 is another one");
  std::error_code error;
  if (result) std::filesystem::rename(part, inbox / name, error);  // whole, or not at all
  if (result && error) result = fail(Errc::io_error, error.message());
  if (result) return "received " + name;
  std::filesystem::remove(part, error);
  return std::unexpected(result.error());
}

int receive_all(Node& node, const std::filesystem::path& inbox) {
  auto acceptor = node.accept_streams(tag);
  if (!acceptor) return 1;
  std::cout << "ready" << std::endl;
  // One after the other; the others wait in the queue of the acceptor.
  for (pollfd input{STDIN_FILENO, POLLIN, 0}; ::poll(&input, 1, 0) == 0;) {
    auto stream = acceptor->next(200ms);
    if (!stream) continue;  // nobody came
    const auto received = receive(*stream, inbox);
    const std::string answer = received ? *received : "failed: " + received.error().message();
    std::cout << answer << std::endl;
    const auto told = stream->write(Bytes(answer.begin(), answer.end()), patience);
    if (!told || !stream->finish()) std::cout << "the sender is gone" << std::endl;
  }
  return 0;
}

Result<std::string> send(Node& node, const std::filesystem::path& path, const NodeName& to) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes(256UL * 1024, '\0');
  const auto next = [&] {
    file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return as_bytes({bytes.data(), static_cast<std::size_t>(file.gcount())});
  };
  const Sha256 hash;
  std::uint64_t size = 0;
  for (ByteView some = next(); !some.empty(); some = next()) {
    hash.add(some);
    size += some.size();
  }
  if (!file.eof()) return fail(Errc::io_error, path);

  auto stream = node.open_stream(to, tag);
  if (!stream) return std::unexpected(stream.error());
  Bytes header = encode_term(Header{path.filename(), size, hash.digest()});
  if (header.size() > 255) return fail(Errc::invalid_argument, "the name is too long");
  header.insert(header.begin(), static_cast<std::uint8_t>(header.size()));
  Result<void> sent = stream->write(std::move(header), patience);
  file.clear();
  file.seekg(0);
  // Each write waits while the receiver has not kept up: no more than a few megabytes are in memory.
  for (ByteView some = next(); sent && !some.empty(); some = next()) {
    sent = stream->write(Bytes(some.begin(), some.end()), patience);
  }
  if (sent) sent = stream->finish();
  const auto answer = sent ? stream->read(patience) : Result<Bytes>(std::unexpected(sent.error()));
  return answer ? Result<std::string>(as_text(*answer)) : std::unexpected(answer.error());
}

int main(int count, char** arguments) {
  const std::string verb = count > 4 ? arguments[1] : "";
  if (count != (verb == "send" ? 6 : 5)) return 2;
  NodeConfig config;
  config.name = arguments[2];
  config.cookie = "a secret that all nodes share";
  config.data_dir = std::string(arguments[3]) + "/" + arguments[2];
  config.discovery_dir = std::string(arguments[3]) + "/discovery";
  config.log_level = LogLevel::error;
  auto node = Node::start(config);
  if (!node) return (std::cerr << node.error().message() << '\n', 1);
  if (verb == "receive") return receive_all(*node, arguments[4]);
  const auto answer = send(*node, arguments[4], arguments[5]);
  std::cout << (answer ? *answer : answer.error().message()) << '\n';
  return answer && answer->starts_with("received") ? 0 : 1;
}
