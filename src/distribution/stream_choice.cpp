#include "distribution/stream_choice.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {
namespace {

/// A pid that stands for whatever bears a name; no process has id 0.
Pid stand_in(const Atom& name) { return {Atom(), 0, static_cast<std::uint32_t>(name.hash()), 0}; }

Pid key_of(const PidOrName& who) {
  const auto* pid = std::get_if<Pid>(&who);
  return pid != nullptr ? *pid : stand_in(std::get<Atom>(who));
}

struct Key {
  template <class T>
  Pid operator()(const T& signal) const {
    return signal.from;
  }
  Pid operator()(const Send& signal) const { return signal.from.value_or(Pid{}); }
  Pid operator()(const MonitorExit& signal) const { return key_of(signal.from); }
  Pid operator()(const SpawnReply& signal) const {
    const auto* made = std::get_if<Pid>(&signal.result);
    return made != nullptr ? *made : Pid{};
  }
};

}  // namespace

std::uint32_t stream_index(const Pid& key) noexcept {
  // Neighbours go to different streams: the golden ratio spreads what a counter made.
  constexpr std::uint64_t golden = 0x9E37'79B9'7F4A'7C15U;
  constexpr unsigned top_bits = 60;  // 64 - log2(data_stream_count)
  static_assert(data_stream_count == 1U << (64U - top_bits));
  const std::uint64_t number = std::uint64_t{key.serial} << 32U | key.id;
  return static_cast<std::uint32_t>((number * golden) >> top_bits);
}

Pid stream_key(const Control& control) { return std::visit(Key{}, control); }

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
