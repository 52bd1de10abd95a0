// Erlang terms as C++ values: build one, send it as bytes, read it back, without knowing Erlang.
#include <barrel_p2p/term.hpp>
#include <iostream>
#include <string>
#include <vector>

using namespace barrel_p2p;

int main() {
  // A map with atoms as keys; C++ strings become binaries, vectors become lists.
  const Term settings = Term::map({
      {Atom("host"), "db1.example.net"},
      {Atom("ports"), std::vector<int>{5432, 5433}},
      {Atom("ratio"), 0.75},
  });
  std::cout << to_text(settings) << '\n';

  // The bytes are those that an Erlang node sends and understands.
  const Bytes bytes = encode_term(settings);
  const auto received = decode_term(bytes);
  if (!received) {
    std::cerr << received.error().message() << '\n';
    return 1;
  }

  // Reading is checked: a value of the wrong type or range is an error that says where.
  const auto ports = received->term.get<std::vector<int>>(Atom("ports"));
  const auto host = received->term.get<int>(Atom("host"));
  if (!ports || host) return 1;
  std::cout << "second port: " << ports->at(1) << '\n' << "as a number: " << host.error().message() << '\n';

  // Every node, C++ or Erlang, computes the same hash.
  std::cout << "partition: " << phash2(settings, 64) << '\n';
  return received->term == settings ? 0 : 1;
}
