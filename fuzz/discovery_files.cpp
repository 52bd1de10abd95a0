// What tells where nodes are, as any bytes: files of endpoints, DATA/peers, addresses and names as text. No crash; what
// is read can be written and is read again.
//
//   input: which(1), then the text
#include <barrel_p2p/node_name.hpp>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "distribution/discovery.hpp"
#include "input.hpp"
#include "node/peers_file.hpp"
#include "quic/address.hpp"
#include "scratch.hpp"

namespace {

using namespace barrel_p2p;
using namespace barrel_p2p::fuzz;

void check_endpoint(std::string_view text) {
  const auto read = distribution::parse_endpoint(text);
  if (!read) return;
  require(!read->host.empty() && read->port > 0);
  (void)quic::Address::make(read->host, read->port);
  const auto again = distribution::parse_endpoint(distribution::format_endpoint(*read));
  require(again && again->port == read->port);
  require(again->host == read->host);
}

void check_host_port(std::string_view text) {
  const auto read = distribution::parse_host_port(text);
  if (!read) return;
  require(read->port > 0);
  (void)quic::Address::make(read->host, read->port);
}

void check_name(std::string_view text) {
  const auto name = NodeName::parse(text);
  if (!name) return;
  require(name->text() == text && name->host().size() + 1 < text.size());
  require(name->text().find('/') == std::string_view::npos);
}

void check_peers(ByteView bytes) {
  static const Scratch scratch("peers");
  scratch.write("peers", bytes);
  const auto file = scratch.path() / "peers";
  std::size_t warnings = 0;
  const auto peers = node::read_peers(file, [&](const std::string& text) {
    require(!text.empty());
    ++warnings;
  });
  if (!peers) return require(peers.error() == Errc::corrupt || peers.error() == Errc::limit_exceeded);
  require(peers->size() <= node::known_peers_max);
  require(node::write_peers(file, *peers).has_value());
  const auto again = node::read_peers(file, [](const std::string& /*text*/) { require(false); });
  require(again && *again == *peers);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  const auto which = input.byte();
  const ByteView bytes = input.rest();
  if (which == 'p') {
    check_peers(bytes);
  } else {
    check_endpoint(as_text(bytes));
    check_host_port(as_text(bytes));
    check_name(as_text(bytes));
  }
  return 0;
}
