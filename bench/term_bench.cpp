// Terms to bytes and back, and their portable hash.
#include <benchmark/benchmark.h>

#include <barrel_p2p/term.hpp>
#include <string>
#include <vector>

namespace {

using namespace barrel_p2p;

/// What programs send: a call of a server.
Term request() {
  const Pid pid{Atom("a@127.0.0.1"), 117, 0, 77};
  const Ref reference{Atom("a@127.0.0.1"), 77, 3, {1, 2, 3, 0, 0}};
  return Term::tuple({Atom("$gen_call"), Term::tuple({pid, reference}), Term::tuple({Atom("lookup"), "customer-117"})});
}

/// A record of a data base.
Term record() {
  return Term::map({{Atom("id"), 117},
                    {Atom("name"), "Grete Hermann"},
                    {Atom("balance"), 1234.5},
                    {Atom("tags"), Term::list({Atom("new"), Atom("checked"), "free text"})},
                    {Atom("orders"), std::vector<int>{100'001, 100'002, 100'003, 100'004}}});
}

Term integers() {
  std::vector<Term> list;
  for (int number = 0; number < 1000; ++number) list.emplace_back(number * 7919);
  return Term::list(std::move(list));
}

Term of_kind(std::int64_t kind) {
  if (kind == 0) return request();
  if (kind == 1) return record();
  if (kind == 2) return integers();
  return Term::tuple({Atom("data"), Term::binary(Bytes(65'536, 7))});
}

const char* const kinds[] = {"request", "record", "1000 integers", "64 KiB binary"};

void bytes_done(benchmark::State& state, std::size_t bytes) {
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes) * static_cast<std::int64_t>(state.iterations()));
  state.SetLabel(kinds[state.range(0)]);
}

void encode(benchmark::State& state) {
  const Term term = of_kind(state.range(0));
  Bytes out;
  for (auto _ : state) {
    out.clear();
    encode_term_to(term, out);
    benchmark::DoNotOptimize(out.data());
  }
  bytes_done(state, out.size());
}
BENCHMARK(encode)->DenseRange(0, 3)->MinTime(0.1);

void decode(benchmark::State& state) {
  const Bytes bytes = encode_term(of_kind(state.range(0)));
  for (auto _ : state) {
    auto decoded = decode_term(bytes);
    if (!decoded) state.SkipWithError("the term does not decode");
    benchmark::DoNotOptimize(decoded);
  }
  bytes_done(state, bytes.size());
}
BENCHMARK(decode)->DenseRange(0, 3)->MinTime(0.1);

void decode_shared(benchmark::State& state) {
  const auto bytes = std::make_shared<const Bytes>(encode_term(of_kind(state.range(0))));
  for (auto _ : state) {
    auto decoded = decode_term(*bytes, bytes);
    if (!decoded) state.SkipWithError("the term does not decode");
    benchmark::DoNotOptimize(decoded);
  }
  bytes_done(state, bytes->size());
}
BENCHMARK(decode_shared)->DenseRange(0, 3)->MinTime(0.1);

void hash_portably(benchmark::State& state) {
  const Term term = of_kind(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(phash2(term));
  bytes_done(state, encoded_size(term));
}
BENCHMARK(hash_portably)->DenseRange(0, 3)->MinTime(0.1);

}  // namespace
