// Membership and gossip of a node whose peers come, go and say anything, in any order: no crash; views stay within
// their bounds and name nobody twice, messages go to connected nodes only, and what one message makes this node do is
// bounded.
//
//   input: steps of kind(1) peer(1) and what the kind takes
//   kind:  0 a message of the membership, 1 one of gossip: a term, length(2) before it; with bit 6 one that is made
//   here:
//          which(1) another peer(1) number(1)                                           2 a channel comes up  3 ends
//          4 a dial failed   5 time passes: 100 ms(1)   6 this node broadcasts   7 joins, or leaves if bit 7 is set
#include <algorithm>
#include <array>
#include <barrel_p2p/term.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "input.hpp"
#include "overlay/overlay.hpp"

namespace {

using namespace barrel_p2p;
using namespace barrel_p2p::overlay;
using namespace barrel_p2p::fuzz;

const Atom own("own@h");
const std::array<Atom, 10> peers{Atom("a@h"), Atom("b@h"), Atom("c@h"), Atom("d@h"), Atom("e@h"),
                                 Atom("f@h"), Atom("g@h"), Atom("i@h"), Atom("j@h"), Atom("own@h")};

class Machine {
 public:
  explicit Machine(Input& input) : input_(input), overlay_(config(), now_) {
    up(peers[0]);
    up(peers[1]);
  }

  void step() {
    const auto kind = input_.byte();
    const Atom& peer = peers[input_.byte() % peers.size()];
    const bool made = (kind & 64U) != 0;
    switch (kind & 7U) {
      case 0: made ? receive(peer, membership_message()) : receive_any(peer, decode_hyparview); break;
      case 1: made ? receive(peer, gossip_message()) : receive_any(peer, decode_plumtree); break;
      case 2: up(peer); break;
      case 3:
        connected_.erase(peer);
        overlay_.link_down(peer, now_, effects_);
        break;
      case 4: overlay_.connect_failed(peer, now_, effects_); break;
      case 5: pass(std::chrono::milliseconds(100L * input_.byte())); break;
      case 6: overlay_.broadcast(Atom("tag"), Term("payload"), Term(++broadcasts_), now_, effects_); break;
      default:
        if ((kind & 128U) != 0) {
          overlay_.leave(now_, effects_);
        } else {
          (void)overlay_.join(peer, now_, effects_);
        }
    }
    settle();
  }
  void end() { pass(std::chrono::minutes(1)); }

 private:
  static OverlayConfig config() {
    OverlayConfig config;
    config.own = own;
    config.seed = 1;
    config.hyparview.active_size = 3;
    config.hyparview.passive_size = 5;
    return config;
  }

  void up(const Atom& peer) {
    if (peer == own || !connected_.insert(peer).second) return;
    overlay_.link_up(peer, now_, effects_, peer == peers[2]);
    settle();
  }
  template <class Decode>
  void receive_any(const Atom& from, Decode decode) {
    const auto term = decode_term(input_.piece());
    if (!term) return;
    if (const auto message = decode(term->term, from)) receive(from, Message(*message));
  }
  void receive(const Atom& from, const Message& message) {
    if (connected_.contains(from)) overlay_.receive(from, message, now_, effects_);
  }
  HyParViewMessage membership_message() {
    const auto which = input_.byte();
    const Atom& other = peers[input_.byte() % peers.size()];
    const auto number = input_.byte();
    const std::uint32_t ttl = number % (ttl_max + 1);
    std::vector<Atom> sample(peers.begin(), peers.begin() + number % peers.size());
    switch (which % 14U) {
      case 0: return Join{};
      case 1: return ForwardJoin{other, ttl};
      case 2: return Disconnect{};
      case 3: return Neighbor{(number & 1U) != 0};
      case 4: return NeighborReply{(number & 1U) != 0};
      case 5: return Shuffle{ttl, std::move(sample)};
      case 6: return ShuffleReply{std::move(sample)};
      case 7: return Hello{};
      case 8: return Seek{other, ttl};
      case 9: return Exchange{other};
      case 10: return ExchangeReply{(number & 1U) != 0, (number & 2U) != 0 ? std::optional(other) : std::nullopt};
      case 11: return Refer{other};
      case 12: return Wander{other, ttl};
      default: return Leave{other, ttl};
    }
  }
  PlumtreeMessage gossip_message() {
    const auto which = input_.byte();
    const Term id(input_.byte() % 8);
    const std::uint32_t number = input_.byte();
    switch (which % 4U) {
      case 0: return Gossip{id, Atom("tag"), Term(std::string(number, 'x')), number};
      case 1: return IHave{{{id, number}, {Term(static_cast<int>(number % 8)), 1}}};
      case 2: return Graft{{id}};
      default: return Prune{};
    }
  }
  void pass(Milliseconds time) {
    const auto end = now_ + time;
    for (int ticks = 0; overlay_.deadline() <= end; ++ticks) {
      require(ticks < 10'000);
      now_ = std::max(now_, overlay_.deadline());
      overlay_.tick(now_, effects_);
      settle();
    }
    now_ = end;
  }
  void settle() {
    const auto& views = overlay_.membership();
    const auto active = views.active_view();
    const auto passive = views.passive_view();
    // Neighbours that nobody may send away, and that must be accepted, can make twice as many.
    require(active.size() <= 2 * views.config().active_size && passive.size() <= views.config().passive_size);
    for (const auto& node : active) {
      require(node != own && connected_.contains(node));
      require(std::ranges::find(passive, node) == passive.end());
    }
    require(std::set<Atom>(passive.begin(), passive.end()).size() == passive.size());
    constexpr std::size_t effects_max = 10'000;
    require(effects_.size() < effects_max);
    const OwnRecord record{own};
    for (const auto& effect : effects_) {
      if (const auto* sent = std::get_if<SendMessage>(&effect)) {
        require(connected_.contains(sent->to));
        (void)encode_message(sent->message, record, sent->native);
      } else if (const auto* connect = std::get_if<Connect>(&effect)) {
        require(connect->node != own);
      }
    }
    effects_.clear();
  }

  Input& input_;
  MonotonicTime now_{std::chrono::hours(1)};
  std::set<Atom> connected_;
  std::int64_t broadcasts_ = 0;
  Effects effects_;
  Overlay overlay_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  Machine machine(input);
  constexpr int steps_max = 64;
  for (int step = 0; step < steps_max && !input.empty(); ++step) machine.step();
  machine.end();
  return 0;
}
