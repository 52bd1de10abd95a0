// Both roles of the distribution handshake under any bytes in any pieces: no crash, bounded effects, and nobody comes
// up without the cookie.
//
//   input: options(1), then pieces: length(1) bytes; length 0: an event of the node (its kind in the next byte)
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <variant>

#include "distribution/handshake.hpp"
#include "distribution/handshake_messages.hpp"

namespace {

using namespace barrel_p2p;
using namespace barrel_p2p::distribution;

void require(bool holds) {
  if (!holds) std::abort();
}

constexpr std::uint8_t initiator_bit = 1;
constexpr std::uint8_t prefixed_bit = 2;
constexpr std::uint8_t unproven_bit = 4;

HandshakeConfig config_of(std::uint8_t options) {
  HandshakeConfig config;
  const bool initiator = (options & initiator_bit) != 0;
  config.role = initiator ? HandshakeRole::initiator : HandshakeRole::acceptor;
  config.framing = (options & prefixed_bit) != 0 ? HandshakeFraming::prefixed : HandshakeFraming::none;
  config.own_name = Atom(initiator ? "sa1@127.0.0.1" : "sa2@127.0.0.1");
  const Atom peer(initiator ? "sa2@127.0.0.1" : "sa1@127.0.0.1");
  if (initiator) config.dialled = peer;
  if ((options & unproven_bit) == 0) config.proven = peer;
  config.creation = 4;
  config.cookie = "barrel_p2p";
  config.challenge = initiator ? 3937773896 : 3303716731;
  return config;
}

/// What has been seen of one machine.
class Watched {
 public:
  explicit Watched(const HandshakeConfig& config) : config_(config), handshake_(config) { take(handshake_.start({})); }

  void receive(ByteView bytes) { take(handshake_.receive(bytes, {})); }
  void event(std::uint8_t kind) {
    constexpr std::uint8_t answers = 5;
    switch (kind % 8) {
      case 5: return take(handshake_.status_acked({}));
      case 6: return take(handshake_.answer_alive((kind & 8U) != 0, {}));
      case 7: return take(handshake_.tick({}));
      default: return take(handshake_.answer(static_cast<HandshakeAnswer>(kind % answers), {}));
    }
  }
  /// The deadline ends what has not ended.
  void expire() {
    const auto deadline = handshake_.deadline();
    require(deadline.has_value() != ended_);
    if (!deadline) return;
    take(handshake_.tick(*deadline));
    require(ended_);
  }

 private:
  void take(const HandshakeEffects& effects) {
    require(effects.empty() || !ended_);
    for (const auto& effect : effects) {
      require(!ended_);
      if (const auto* send = std::get_if<HandshakeSend>(&effect)) {
        require(!send->bytes.empty() && send->bytes.size() <= challenge_head_bytes + node_name_bytes_max + 2);
        require(++sent_ <= 3);
      } else if (const auto* up = std::get_if<HandshakeUp>(&effect)) {
        require(missing_mandatory(up->peer_flags) == 0);
        require(up->peer != config_.own_name);
        require(!config_.proven || up->peer == *config_.proven);
        require(!config_.dialled || up->peer == *config_.dialled);
        ended_ = true;
      } else if (const auto* failed = std::get_if<HandshakeFailed>(&effect)) {
        require(!failed->detail.empty() && !name(failed->failure).empty());
        ended_ = true;
      }
    }
    require(handshake_.finished() == ended_);
  }

  const HandshakeConfig config_;
  Handshake handshake_;
  unsigned sent_ = 0;
  bool ended_ = false;
};

void check_decoders(ByteView bytes) {
  if (const auto message = decode_name(bytes)) {
    const auto again = decode_name(encode(*message));
    require(again && again->name == message->name && again->flags == message->flags);
  }
  if (const auto message = decode_challenge(bytes)) {
    const auto again = decode_challenge(encode(*message));
    require(again && again->name == message->name && again->challenge == message->challenge);
  }
  if (const auto message = decode_reply(bytes)) require(encode(*message) == Bytes(bytes.begin(), bytes.end()));
  if (const auto message = decode_ack(bytes)) require(encode(*message) == Bytes(bytes.begin(), bytes.end()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteView input(data, size);
  if (input.empty()) return 0;
  check_decoders(input.subspan(1));
  Watched machine(config_of(input[0]));
  input = input.subspan(1);
  while (!input.empty()) {
    const std::size_t length = input[0];
    input = input.subspan(1);
    if (length == 0) {
      if (input.empty()) break;
      machine.event(input[0]);
      input = input.subspan(1);
      continue;
    }
    const auto piece = input.first(length < input.size() ? length : input.size());
    input = input.subspan(piece.size());
    machine.receive(piece);
  }
  machine.expire();
  return 0;
}
