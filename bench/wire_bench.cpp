// A message on its way: to frames, from frames to a signal, and to the term that the receiver sees.
#include <benchmark/benchmark.h>

#include <stdexcept>

#include "distribution/encode.hpp"
#include "distribution/fragments.hpp"
#include "distribution/framing.hpp"

namespace {

using namespace barrel_p2p;
using namespace barrel_p2p::distribution;

const Atom& here() {
  static const Atom name("a@127.0.0.1");
  return name;
}
const Atom& there() {
  static const Atom name("b@127.0.0.1");
  return name;
}

Signal message_of(std::size_t bytes) {
  const Pid from{here(), 117, 0, 77};
  const Pid to{there(), 118, 0, 78};
  return {Send{from, to}, Term::tuple({Atom("data"), Term::binary(Bytes(bytes, 7))})};
}

Flags in_force() { return effective_flags(offered_flags, offered_flags); }

void sizes(benchmark::internal::Benchmark* benchmark) {
  for (const int bytes : {64, 1024, 65'536, 1'048'576}) benchmark->Arg(bytes);
  benchmark->MinTime(0.1);
}

void bytes_done(benchmark::State& state) {
  state.SetBytesProcessed(state.range(0) * static_cast<std::int64_t>(state.iterations()));
}

void to_frames(benchmark::State& state) {
  const Signal signal = message_of(static_cast<std::size_t>(state.range(0)));
  const Pid key = std::get<Send>(signal.control).from.value();
  std::uint64_t sequence = 0;
  for (auto _ : state) benchmark::DoNotOptimize(encode_message(signal, in_force(), key, ++sequence));
  bytes_done(state);
}
BENCHMARK(to_frames)->Apply(sizes);

/// The frames of one message in one piece, as a stream carries them.
Bytes frames_of(std::size_t bytes) {
  const Signal signal = message_of(bytes);
  Bytes out;
  for (const auto& buffer :
       encode_message(signal, in_force(), std::get<Send>(signal.control).from.value(), 1).buffers) {
    out.insert(out.end(), buffer.view.begin(), buffer.view.end());
  }
  return out;
}

/// `piece`: how much of the stream comes at a time; packets bring about 1400 bytes.
void from_frames(benchmark::State& state) {
  const Bytes bytes = frames_of(static_cast<std::size_t>(state.range(0)));
  constexpr std::size_t piece = 1400;
  constexpr std::size_t frame_bytes_max = 1'000'000;
  FrameReader frames(frame_bytes_max);
  MessageReader messages({there(), here(), 78, 77}, in_force());
  std::vector<FramePayload> payloads;
  for (auto _ : state) {
    std::size_t signals = 0;
    for (ByteView rest = bytes; !rest.empty(); rest = rest.subspan(std::min(piece, rest.size()))) {
      payloads.clear();
      if (!frames.feed(rest.first(std::min(piece, rest.size())), payloads)) throw std::logic_error("no frame");
      for (auto& payload : payloads) {
        auto signal = messages.read(4, std::move(payload));
        if (!signal) throw std::logic_error("no signal");
        if (!*signal) continue;
        benchmark::DoNotOptimize(decode_payload((*signal)->payload));
        ++signals;
      }
    }
    if (signals != 1) throw std::logic_error("not one message");
  }
  bytes_done(state);
}
BENCHMARK(from_frames)->Apply(sizes);

}  // namespace
