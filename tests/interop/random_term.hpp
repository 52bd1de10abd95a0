// Random terms of every type, for comparing our term code with Erlang's.
#pragma once

#include <barrel_p2p/term.hpp>
#include <cstdint>
#include <random>

namespace barrel_p2p::test {

class RandomTerms {
 public:
  explicit RandomTerms(std::uint64_t seed) : engine_(seed) {}

  /// Nested at most `depth` deep. Values that are near each other, and borders of the encodings, come often.
  /// Without identifiers there are no pids, references, ports: their text names a node only in our form.
  Term next(int depth = 4, bool identifiers = true);

 private:
  std::uint64_t below(std::uint64_t end) { return std::uniform_int_distribution<std::uint64_t>(0, end - 1)(engine_); }
  Term integer();
  Term floating();
  Atom atom();
  Term bits();
  Term identifier();
  std::vector<Term> several(int depth, bool identifiers);

  std::mt19937_64 engine_;
};

}  // namespace barrel_p2p::test
