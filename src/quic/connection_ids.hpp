// Connection ids that this node gives, and a test by which the kernel tells packets with them from all others.
//
// An id is four random bytes and a keyed function of them. A socket filter computes that function for the id of each
// packet, before the packet takes room in the socket's buffer and before this process wakes: what a flood of strangers
// costs then is the flooder's time, or that of the network card's interrupt, and no packet of a connection is lost for
// it. The function is no cipher: it keeps out who has seen no id, as who sends from addresses of others has not.
#pragma once

#include <linux/filter.h>
#include <ngtcp2/ngtcp2.h>

#include <barrel_p2p/bytes.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace barrel_p2p {
inline namespace v0 {
namespace quic {

constexpr std::size_t connection_id_bytes = 8;  ///< As Erlang nodes have it.

/// A value; draws its key when it is made.
class ConnectionIds {
 public:
  ConnectionIds();

  /// Fills an id. `out` has `connection_id_bytes`.
  void make(std::span<std::uint8_t> out) const;
  [[nodiscard]] ngtcp2_cid make() const;
  /// One that `taken` does not know. Only half of an id is random, so among many two are soon alike.
  template <class Taken>
  [[nodiscard]] ngtcp2_cid make_unless(const Taken& taken) const {
    for (;;) {
      const ngtcp2_cid id = make();
      if (!taken(ByteView(id.data, id.datalen))) return id;
    }
  }
  [[nodiscard]] bool is_ours(ByteView id) const;
  /// For a UDP socket (SO_ATTACH_FILTER): takes packets with ids of ours, and of the others with long headers, which
  /// may begin connections, this share at random. 0 <= `share` <= 1.
  [[nodiscard]] std::vector<sock_filter> filter(double share) const;

 private:
  [[nodiscard]] std::uint32_t tag(std::uint32_t random) const noexcept;

  std::uint32_t mask_;
  std::uint32_t first_factor_;   ///< Odd.
  std::uint32_t second_factor_;  ///< Odd.
};

}  // namespace quic
}  // namespace v0
}  // namespace barrel_p2p
