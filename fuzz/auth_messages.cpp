// Bytes of a peer that has proven nothing: the decoder, the frame reader, and the whole exchange on both sides.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <variant>
#include <vector>

#include "distribution/auth/authentication.hpp"

namespace {

using namespace barrel_p2p;
using namespace barrel_p2p::distribution;

void require(bool holds) {
  if (!holds) std::abort();
}

/// Cuts the rest of an input into pieces, as its first bytes say.
class Cuts {
 public:
  Cuts(ByteView plan, ByteView bytes) : plan_(plan), left_(bytes) {}
  [[nodiscard]] bool done() const noexcept { return left_.empty(); }
  ByteView next() {
    const std::size_t wish = plan_.empty() ? left_.size() : 1 + std::size_t{plan_[at_++ % plan_.size()]};
    const auto piece = left_.first(std::min(wish, left_.size()));
    left_ = left_.subspan(piece.size());
    return piece;
  }

 private:
  ByteView plan_;
  ByteView left_;
  std::size_t at_ = 0;
};

void check_message(ByteView message) {
  const auto decoded = decode_auth_message(message);
  if (!decoded) {
    require(!decoded.error().context().empty());
    return;
  }
  // One form each: what is decoded is encoded to the same bytes.
  const Bytes framed = encode(*decoded);
  require(framed.size() == message.size() + 2 && std::ranges::equal(ByteView(framed).subspan(2), message));
}

struct Frames {
  std::vector<Bytes> messages;
  bool refused = false;
};

Frames read_frames(Cuts cuts) {
  Frames frames;
  AuthFrameReader reader;
  while (!cuts.done() && !frames.refused) {
    ByteView piece = cuts.next();
    while (!frames.refused) {
      auto message = reader.next(piece);
      frames.refused = !message.has_value();
      if (!message || !*message) break;
      require((*message)->size() <= AuthFrameReader::message_bytes_max);
      check_message(**message);
      frames.messages.push_back(std::move(**message));
    }
    require(frames.refused || piece.empty());
  }
  return frames;
}

constexpr WallMilliseconds wall = 1'795'385'478'907;  // near the times of the seeds

PrivateKey key_of(std::uint8_t byte) {
  Seed seed{};
  seed.fill(byte);
  return PrivateKey(seed);
}

/// The outcome comes once and last, everything that is said is a message, and nothing follows the end of our stream.
/// Returns how many bytes were sent.
std::size_t check_effects(const AuthEffects& effects, bool& over) {
  std::size_t sent = 0;
  bool finished = false;
  for (const auto& effect : effects) {
    require(!over);
    if (const auto* send = std::get_if<AuthSend>(&effect)) {
      require(!finished);
      require(decode_auth_message(ByteView(send->bytes).subspan(2)).has_value());
      sent += send->bytes.size();
    } else if (std::holds_alternative<AuthFinish>(effect)) {
      finished = true;
    } else {
      require(finished);
      over = true;
      // Nobody can sign for these nonces and this certificate but the peer's key, which fuzzed bytes do not have.
      if (const auto* success = std::get_if<AuthSucceeded>(&effect)) require(!success->key.has_value());
      if (const auto* failed = std::get_if<AuthFailed>(&effect)) {
        require(std::ranges::all_of(failed->detail, [](char each) { return each >= ' ' && each <= '~'; }));
      }
    }
  }
  return sent;
}

void run_exchange(AuthRole role, Cuts cuts) {
  static const PrivateKey own = key_of(1);
  static const auto trust = TrustStore::in_memory(TrustMode::tofu, {});
  AuthSettings settings;
  settings.own_name = NodeName("own@127.0.0.1");
  settings.cookie_only_nodes = {"probe@*"};
  const auto dialled = role == AuthRole::initiator ? std::optional<NodeName>(NodeName("ok1@127.0.0.1")) : std::nullopt;
  Digest binding{};
  binding.fill(0xCC);
  Nonce nonce{};
  nonce.fill(0x11);
  AuthNow now{MonotonicTime(std::chrono::hours(1)), wall};
  Authentication exchange(role, settings, own, *trust, dialled, binding, nonce);
  bool over = false;
  std::size_t sent = check_effects(exchange.start(now), over);
  while (!cuts.done()) {
    now.monotonic += Milliseconds(1);
    sent += check_effects(exchange.receive(cuts.next(), now), over);
    require(over == exchange.finished());
    require(over != exchange.deadline().has_value());
  }
  sent += check_effects(exchange.stream_ended(now), over);
  require(over && exchange.finished());
  constexpr std::size_t sent_max = 1024;  // no amplification: a HELLO, a CHALLENGE, a RESPONSE, a FAIL
  require(sent <= sent_max);
  require(trust->list().empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t plan_bytes = 4;
  const ByteView input(data, size);
  check_message(input);
  if (size < plan_bytes) return 0;
  const auto plan = input.first(plan_bytes);
  const auto bytes = input.subspan(plan_bytes);

  const auto pieces = read_frames(Cuts(plan, bytes));
  const auto whole = read_frames(Cuts({}, bytes));
  require(pieces.messages == whole.messages && pieces.refused == whole.refused);

  run_exchange(AuthRole::initiator, Cuts(plan, bytes));
  run_exchange(AuthRole::responder, Cuts(plan, bytes));
  return 0;
}
