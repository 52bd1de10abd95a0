#include "quic/connection_ids.hpp"

#include <algorithm>

#include "base/random.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace quic {
namespace {

// What the filter and `tag` both do.
constexpr std::uint32_t first_shift = 15;
constexpr std::uint32_t second_shift = 13;

// Where things are in a packet, as the filter of a UDP socket counts: from the UDP header on (RFC 9000, section 17).
constexpr std::uint32_t payload_at = 8;
constexpr std::uint32_t short_id_at = payload_at + 1;
constexpr std::uint32_t id_length_at = payload_at + 5;
constexpr std::uint32_t long_id_at = payload_at + 6;
constexpr std::uint32_t half_bytes = 4;

std::uint32_t word(ByteView bytes) {
  std::uint32_t all = 0;
  for (const auto byte : bytes.first(half_bytes)) all = all << 8U | byte;
  return all;
}

void put_word(std::uint32_t value, std::span<std::uint8_t> out) {
  for (std::size_t at = 0; at < half_bytes; ++at) out[at] = static_cast<std::uint8_t>(value >> (24 - 8 * at));
}

sock_filter step(unsigned code, std::uint32_t value = 0) { return {static_cast<std::uint16_t>(code), 0, 0, value}; }

sock_filter jump(unsigned code, std::uint32_t value, std::size_t if_true, std::size_t if_false) {
  return {static_cast<std::uint16_t>(BPF_JMP | code), static_cast<std::uint8_t>(if_true),
          static_cast<std::uint8_t>(if_false), value};
}

constexpr std::uint32_t whole_packet = UINT32_MAX;
constexpr std::uint32_t nothing_of_it = 0;

}  // namespace

ConnectionIds::ConnectionIds()
    : mask_(random_uint32()), first_factor_(random_uint32() | 1U), second_factor_(random_uint32() | 1U) {}

std::uint32_t ConnectionIds::tag(std::uint32_t random) const noexcept {
  std::uint32_t mixed = (random ^ mask_) * first_factor_;
  mixed = (mixed ^ mixed >> first_shift) * second_factor_;
  return mixed ^ mixed >> second_shift;
}

void ConnectionIds::make(std::span<std::uint8_t> out) const {
  const std::uint32_t random = random_uint32();
  put_word(random, out);
  put_word(tag(random), out.subspan(half_bytes));
}

ngtcp2_cid ConnectionIds::make() const {
  ngtcp2_cid id{};
  id.datalen = connection_id_bytes;
  make({id.data, id.datalen});
  return id;
}

bool ConnectionIds::is_ours(ByteView id) const {
  return id.size() == connection_id_bytes && word(id.subspan(half_bytes)) == tag(word(id));
}

std::vector<sock_filter> ConnectionIds::filter(double share) const {
  const unsigned load_word = BPF_LD | BPF_W;
  // Takes the packet if the id there is ours, and goes on behind itself otherwise. A packet that is too short is not
  // taken: its load ends the program.
  const auto check = [&](std::uint32_t id_at) {
    return std::vector<sock_filter>{step(load_word | BPF_ABS, id_at),
                                    step(BPF_ALU | BPF_XOR | BPF_K, mask_),
                                    step(BPF_ALU | BPF_MUL | BPF_K, first_factor_),
                                    step(BPF_ST),
                                    step(BPF_ALU | BPF_RSH | BPF_K, first_shift),
                                    step(BPF_MISC | BPF_TAX),
                                    step(load_word | BPF_MEM),
                                    step(BPF_ALU | BPF_XOR | BPF_X),
                                    step(BPF_ALU | BPF_MUL | BPF_K, second_factor_),
                                    step(BPF_ST),
                                    step(BPF_ALU | BPF_RSH | BPF_K, second_shift),
                                    step(BPF_MISC | BPF_TAX),
                                    step(load_word | BPF_MEM),
                                    step(BPF_ALU | BPF_XOR | BPF_X),
                                    step(BPF_MISC | BPF_TAX),
                                    step(load_word | BPF_ABS, id_at + half_bytes),
                                    jump(BPF_JEQ | BPF_X, 0, 0, 1),
                                    step(BPF_RET | BPF_K, whole_packet)};
  };
  const auto of_short = check(short_id_at);
  const auto of_long = check(long_id_at);
  std::vector<sock_filter> program{step(BPF_LD | BPF_B | BPF_ABS, payload_at),
                                   jump(BPF_JSET | BPF_K, 0x80, of_short.size() + 1, 0)};
  program.insert(program.end(), of_short.begin(), of_short.end());
  program.push_back(step(BPF_RET | BPF_K, nothing_of_it));
  program.push_back(step(BPF_LD | BPF_B | BPF_ABS, id_length_at));
  program.push_back(jump(BPF_JEQ | BPF_K, connection_id_bytes, 0, of_long.size()));
  program.insert(program.end(), of_long.begin(), of_long.end());
  const auto limit = static_cast<std::uint32_t>(std::clamp(share, 0.0, 1.0) * whole_packet);
  program.push_back(step(load_word | BPF_ABS, static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_RANDOM)));
  program.push_back(jump(BPF_JGT | BPF_K, limit, 1, 0));
  program.push_back(step(BPF_RET | BPF_K, whole_packet));
  program.push_back(step(BPF_RET | BPF_K, nothing_of_it));
  return program;
}

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
