// What a user's program needs from the installed library: headers that compile and symbols that link.
#include <barrel_p2p/node_config.hpp>
#include <barrel_p2p/term.hpp>
#include <iostream>
#include <string>

int main() {
  using namespace barrel_p2p;
  const auto point = Term::tuple({Atom("point"), 1, 2});
  if (to_text(point) != "{point,1,2}") return 1;
  const auto back = decode_term(encode_term(point));
  if (!back || back->term != point) return 1;
  const auto config = parse_config("no_such_key = 1\n");
  if (config || config.error() != Errc::invalid_config) return 1;
  std::cout << to_text(point) << '\n';
}
