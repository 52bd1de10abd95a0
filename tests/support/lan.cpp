#include "support/lan.hpp"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <map>
#include <mutex>
#include <queue>
#include <random>
#include <span>
#include <stdexcept>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace barrel_p2p::test {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what + ": " + std::strerror(errno)); }

/// On a thread of its own: namespaces belong to threads.
void on_thread(const std::function<void()>& work) {
  std::exception_ptr thrown;
  std::thread([&] {
    try {
      work();
    } catch (...) {
      thrown = std::current_exception();
    }
  }).join();
  if (thrown) std::rethrow_exception(thrown);
}

int make_namespace() {
  int made = -1;
  on_thread([&] {
    if (::unshare(CLONE_NEWNET) != 0) fail("no network namespace can be made");
    made = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (made < 0) fail("the namespace cannot be opened");
  });
  return made;
}

int make_tun() {
  const int device = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (device < 0) fail("/dev/net/tun cannot be opened");
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  std::strcpy(request.ifr_name, "lan0");
  if (::ioctl(device, TUNSETIFF, &request) != 0) {
    ::close(device);
    fail("no TUN device can be made");
  }
  return device;
}

}  // namespace

struct Lan::Wires {
  struct Packet {
    Clock::time_point due;
    std::uint64_t order = 0;
    std::size_t to = 0;
    std::vector<std::uint8_t> bytes;
    bool operator>(const Packet& other) const noexcept {
      return std::tie(due, order) > std::tie(other.due, other.order);
    }
  };
  struct Port {
    int device = -1;
    LinkWeather weather;
    Clock::time_point free_at;  ///< When what was sent before has left, at the rate.
  };

  std::mutex mutex;
  std::vector<Port> ports;
  std::map<std::uint32_t, std::size_t> places;  ///< Address, as in the packet, to port: whoever sent from it last.
  std::priority_queue<Packet, std::vector<Packet>, std::greater<>> waiting;
  std::uint64_t order = 0;
  std::mt19937 dice;
  int wake = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  std::atomic<bool> stop{false};
  std::thread thread;
  std::vector<std::unique_ptr<Host>> hosts;

  bool chance(double part) { return part > 0 && std::uniform_real_distribution<double>(0, 1)(dice) < part; }

  void run() {
    std::array<std::uint8_t, 65'536> buffer{};
    while (!stop) {
      std::vector<pollfd> polled{{wake, POLLIN, 0}};
      int timeout = -1;
      {
        const std::lock_guard lock(mutex);
        for (const auto& port : ports) polled.push_back({port.device, POLLIN, 0});
        if (!waiting.empty()) {
          const auto rest = std::chrono::ceil<std::chrono::milliseconds>(waiting.top().due - Clock::now());
          timeout = static_cast<int>(std::max<std::int64_t>(0, rest.count()));
        }
      }
      ::poll(polled.data(), polled.size(), timeout);
      std::uint64_t woken = 0;
      while (::read(wake, &woken, sizeof woken) > 0) {
      }
      const std::lock_guard lock(mutex);
      for (std::size_t from = 0; from < ports.size(); ++from) {
        for (int packets = 0; packets < 256; ++packets) {
          const auto size = ::read(ports[from].device, buffer.data(), buffer.size());
          if (size <= 0) break;
          take(from, {buffer.data(), static_cast<std::size_t>(size)});
        }
      }
      deliver();
    }
  }

  void take(std::size_t from, std::span<const std::uint8_t> bytes) {
    constexpr std::size_t header = 20;
    if (bytes.size() < header || bytes[0] >> 4U != 4) return;  // IPv4 only
    std::uint32_t source = 0;
    std::uint32_t target = 0;
    std::memcpy(&source, bytes.data() + 12, sizeof source);
    std::memcpy(&target, bytes.data() + 16, sizeof target);
    places[source] = from;
    const auto place = places.find(target);
    if (place == places.end()) return;
    Port& port = ports[from];
    const auto& weather = port.weather;
    if (weather.cut || ports[place->second].weather.cut || chance(weather.loss)) return;
    const auto now = Clock::now();
    auto due = now;
    if (weather.bits_per_second > 0) {
      const std::chrono::duration<double> takes(static_cast<double>(bytes.size() * 8) /
                                                static_cast<double>(weather.bits_per_second));
      const std::chrono::duration<double> full(static_cast<double>(weather.queue_bytes * 8) /
                                               static_cast<double>(weather.bits_per_second));
      port.free_at = std::max(port.free_at, now);
      if (port.free_at - now > full) return;
      port.free_at += std::chrono::duration_cast<Clock::duration>(takes);
      due = port.free_at;
    }
    if (!chance(weather.reorder)) {
      due += weather.delay;
      if (weather.jitter.count() > 0) {
        std::uniform_int_distribution<std::int64_t> more(-weather.jitter.count(), weather.jitter.count());
        due += std::chrono::microseconds(more(dice));
      }
    }
    if (due <= now) return write(place->second, bytes);
    waiting.push({due, ++order, place->second, {bytes.begin(), bytes.end()}});
  }

  void deliver() {
    const auto now = Clock::now();
    while (!waiting.empty() && waiting.top().due <= now) {
      write(waiting.top().to, waiting.top().bytes);
      waiting.pop();
    }
  }

  void write(std::size_t to, std::span<const std::uint8_t> bytes) {
    if (ports[to].weather.cut) return;
    // A device that is full, or down, loses it.
    [[maybe_unused]] const auto written = ::write(ports[to].device, bytes.data(), bytes.size());
  }

  void poke() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(wake, &one, sizeof one);
  }
};

Host::~Host() { ::close(namespace_); }

void Host::run(const std::function<void()>& work) const {
  on_thread([&] {
    if (::setns(namespace_, CLONE_NEWNET) != 0) fail("the namespace cannot be entered");
    work();
  });
}

void Host::ip(const std::string& words) const {
  const std::string command = "ip " + words;
  run([&] {
    const int status = std::system(command.c_str());  // a child of this thread: in its namespace
    if (status != 0) throw std::runtime_error("`" + command + "` failed");
  });
}

void Host::change_address(unsigned number) {
  const std::string next = "10.77.0." + std::to_string(number);
  ip("addr add " + next + "/24 dev lan0");
  ip("addr del " + address_ + "/24 dev lan0");
  address_ = next;
}

void Host::set_weather(const LinkWeather& weather) {
  const std::lock_guard lock(lan_->wires_->mutex);
  lan_->wires_->ports[port_].weather = weather;
}

std::string Lan::refusal() {
  try {
    Lan lan;
    lan.add_host(1);
    return {};
  } catch (const std::exception& error) {
    return error.what();
  }
}

Lan::Lan(std::uint32_t seed) : wires_(std::make_unique<Wires>()) {
  wires_->dice.seed(seed);
  wires_->thread = std::thread([wires = wires_.get()] { wires->run(); });
}

Lan::~Lan() {
  wires_->stop = true;
  wires_->poke();
  wires_->thread.join();
  for (const auto& port : wires_->ports) ::close(port.device);
  ::close(wires_->wake);
}

Host& Lan::add_host(unsigned number) {
  std::unique_ptr<Host> host(new Host);
  host->lan_ = this;
  host->namespace_ = make_namespace();
  host->address_ = "10.77.0." + std::to_string(number);
  Wires::Port port;
  host->run([&] { port.device = make_tun(); });
  {
    const std::lock_guard lock(wires_->mutex);
    host->port_ = wires_->ports.size();
    wires_->ports.push_back(port);
    const std::array<std::uint8_t, 4> address{10, 77, 0, static_cast<std::uint8_t>(number)};
    std::uint32_t bytes = 0;
    std::memcpy(&bytes, address.data(), sizeof bytes);
    wires_->places[bytes] = host->port_;
  }
  // Else the first address of a network takes the later ones with it when it goes.
  host->run([] { std::ofstream("/proc/sys/net/ipv4/conf/all/promote_secondaries") << 1; });
  host->ip("link set lo up");
  host->ip("addr add " + host->address_ + "/24 dev lan0");
  host->ip("link set lan0 mtu 1500 txqueuelen 10000 up");
  wires_->poke();
  wires_->hosts.push_back(std::move(host));
  return *wires_->hosts.back();
}

}  // namespace barrel_p2p::test
