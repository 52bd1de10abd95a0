// What members send to the services, as any terms in any order: leases, registry, leaders, maps, placement, reminders.
// No crash; the registry agrees with itself, this node is alive for itself, and nobody moves its clock beyond the
// bound.
//
//   input: messages: what(1) length(2, big endian) term in the external format
//   what:  bits 0-2 to which service, bit 3 by broadcast or directly, bits 4-5 from whom, bits 6-7 how much later
#include <algorithm>
#include <array>
#include <barrel_p2p/term.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "services/services.hpp"

namespace {

using namespace barrel_p2p;
using namespace barrel_p2p::services;

void require(bool holds) {
  if (!holds) std::abort();
}

const Atom own("own@h");
const std::array<Atom, 4> peers{Atom("a@h"), Atom("b@h"), Atom("stranger@h"), Atom("own@h")};
const Pid process{own, 1, 0, 1};
const Atom table("t");

const std::array<Atom, 8>& names() {
  static const std::array<Atom, 8> all{Atom(members_replica_name),
                                       Atom(registry_replica_name),
                                       Atom(leader_replica_name),
                                       Atom(std::string(map_replica_prefix) + "t"),
                                       Atom(placement_name),
                                       Atom(reminder_replica_name),
                                       Atom(std::string(map_replica_prefix) + "closed"),
                                       Atom("barrel_p2p_nobody")};
  return all;
}

class Machine {
 public:
  Machine() : services_(config(), now_) {
    services_.reminders().start(now_);
    services_.neighbour_up(peers[0], true, now_, effects_);
    services_.neighbour_up(peers[1], false, now_, effects_);
    require(services_.maps().open(table, {}, {}, now_, effects_).has_value());
    require(services_.registry()
                .add(Atom("web"), process, Term::map({}), 0, std::chrono::milliseconds(0), now_, effects_)
                .has_value());
    require(services_.reminders().remind("later", now_.wall + hour, "payload", 0, now_, effects_).has_value());
    (void)services_.leader().lead(Atom("job"), process, {}, now_, effects_);
    settle();
  }

  void take(std::uint8_t what, const Term& term) {
    now_.monotonic += std::chrono::milliseconds(std::array{0, 1, 300, 7000}[what >> 6U]);
    now_.wall += std::array{0, 1, 300, 7000}[what >> 6U];
    if (services_.deadline() <= now_.monotonic) services_.tick(now_, effects_);
    const Atom& name = names()[what & 7U];
    if ((what & 8U) != 0) {
      services_.deliver(Term(name), term, now_, effects_);
    } else {
      services_.receive(name, peers[(what >> 4U) & 3U], term, now_, effects_);
    }
    settle();
  }

  void check() {
    require(services_.registry().verify().problems.empty());
    require(services_.members().is_alive(own));
    require(services_.clock().last().wall < now_.wall + 2 * hour);
  }

 private:
  static constexpr std::int64_t hour = 3'600'000;
  static ServicesConfig config() {
    ServicesConfig config;
    config.own = own;
    config.seed = 1;
    return config;
  }
  void settle() {
    services_.settle(effects_);
    // What one message makes this node do is bounded by what was in it.
    constexpr std::size_t effects_max = 100'000;
    require(effects_.size() < effects_max);
    effects_.clear();
  }

  Now now_{MonotonicTime(std::chrono::hours(1)), 1'795'387'000'000};
  Effects effects_;
  Services services_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteView input(data, size);
  Machine machine;
  constexpr int messages_max = 4;  // CI tries 20,000 inputs of each target
  for (int message = 0; message < messages_max && input.size() >= 3; ++message) {
    const std::uint8_t what = input[0];
    const std::size_t length =
        std::min<std::size_t>(static_cast<std::size_t>(input[1]) << 8U | input[2], input.size() - 3);
    const auto term = decode_term(input.subspan(3, length));
    input = input.subspan(3 + length);
    if (term) machine.take(what, term->term);
  }
  machine.check();
  return 0;
}
