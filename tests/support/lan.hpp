// Machines of their own within this one: network namespaces on a common network whose weather tests make: loss, delay,
// reordering, a rate, cut links. Needs the right to make namespaces (root) and /dev/net/tun; leaves nothing behind,
// however the test ends, for the namespaces live as long as their descriptors.
//
// The network is a TUN device in each namespace with a thread in between, so that it needs no queueing discipline of
// the kernel (`tc netem`), which many kernels are built without; and equal seeds lose equal packets.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace barrel_p2p::test {

/// What happens to each packet that a host sends. `tc netem` names.
struct LinkWeather {
  double loss = 0;                        ///< Part of the packets that is lost.
  std::chrono::microseconds delay{0};     ///< Of each.
  std::chrono::microseconds jitter{0};    ///< More or less than that, even odds.
  double reorder = 0;                     ///< Part that is not delayed, and so overtakes others.
  std::uint64_t bits_per_second = 0;      ///< 0: no limit.
  std::size_t queue_bytes = 1024 * 1024;  ///< What waits for the rate; more is dropped.
  bool cut = false;
};

class Lan;

/// A namespace with one device. Its addresses are 10.77.0.N/24.
class Host {
 public:
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  [[nodiscard]] const std::string& address() const noexcept { return address_; }
  /// Runs it on a thread of the namespace, as are all threads that it starts. Exceptions come out here.
  void run(const std::function<void()>& work) const;
  /// `ip WORDS` in the namespace. Throws when it fails.
  void ip(const std::string& words) const;
  /// The machine has another address from now on, and the old one no more.
  void change_address(unsigned number);
  void set_weather(const LinkWeather& weather);

 private:
  friend class Lan;
  Host() = default;
  int namespace_ = -1;
  std::string address_;
  std::size_t port_ = 0;
  Lan* lan_ = nullptr;
};

class Lan {
 public:
  /// Why there can be none here; empty when there can.
  static std::string refusal();

  explicit Lan(std::uint32_t seed = 1);
  ~Lan();
  Lan(const Lan&) = delete;
  Lan& operator=(const Lan&) = delete;

  /// 10.77.0.NUMBER, 1 to 254.
  Host& add_host(unsigned number);

 private:
  friend class Host;
  struct Wires;
  std::unique_ptr<Wires> wires_;
};

}  // namespace barrel_p2p::test
