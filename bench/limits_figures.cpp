// What the machine itself gives: the speed of the cipher, of datagrams on loopback, and of a disk that is to be sure.
//
//   limits_figures DIRECTORY SECONDS    prints one JSON line a figure, each measured for so long
//
// Nothing of the library is in it. DIRECTORY is on the disk that is asked.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <tuple>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

void figure(const std::string& name, double value, const char* unit) {
  std::printf("{\"figure\":\"%s\",\"value\":%.6g,\"unit\":\"%s\"}\n", name.c_str(), value, unit);
  std::fflush(stdout);
}

int checked(int result, const char* what) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), what);
  return result;
}

/// How often a second the step is done.
double rate(Seconds time, const std::function<void()>& step) {
  const auto start = Clock::now();
  std::uint64_t count = 0;
  Seconds passed{};
  while (passed < time) {
    constexpr int between_looks = 8;
    for (int number = 0; number < between_looks; ++number) step();
    count += between_looks;
    passed = Clock::now() - start;
  }
  return static_cast<double>(count) / passed.count();
}

/// AES-128-GCM, as packets are protected with; by one core, one packet at a time.
void cipher(Seconds time, std::size_t packet_bytes) {
  std::array<unsigned char, 16> key{1};
  gnutls_datum_t key_view{key.data(), key.size()};
  gnutls_aead_cipher_hd_t handle{};
  if (gnutls_aead_cipher_init(&handle, GNUTLS_CIPHER_AES_128_GCM, &key_view) < 0) throw std::runtime_error("no cipher");
  constexpr std::size_t tag_bytes = 16;
  std::vector<unsigned char> plain(packet_bytes, 1);
  std::vector<unsigned char> sealed(packet_bytes + tag_bytes);
  std::array<unsigned char, 12> nonce{};
  const double packets = rate(time, [&] {
    ++nonce[0];
    std::size_t size = sealed.size();
    if (gnutls_aead_cipher_encrypt(handle, nonce.data(), nonce.size(), nullptr, 0, tag_bytes, plain.data(),
                                   plain.size(), sealed.data(), &size) < 0)
      throw std::runtime_error("a packet was not sealed");
  });
  gnutls_aead_cipher_deinit(handle);
  figure("limit_aead_" + std::to_string(packet_bytes), packets * static_cast<double>(packet_bytes) / 1e6, "MB/s");
}

/// A UDP socket on loopback.
int make_socket(std::uint16_t& port) {
  const int made = checked(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
  constexpr int buffer_bytes = 4 * 1024 * 1024;
  ::setsockopt(made, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof(buffer_bytes));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const plain = reinterpret_cast<sockaddr*>(&address);
  checked(::bind(made, plain, sizeof(address)), "bind");
  socklen_t size = sizeof(address);
  checked(::getsockname(made, plain, &size), "getsockname");
  port = ntohs(address.sin_port);
  return made;
}

void connect_to(int socket, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  checked(::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), "connect");
}

/// Another process, which is killed when this goes.
class Child {
 public:
  explicit Child(const std::function<void()>& work) : pid_(checked(::fork(), "fork")) {
    if (pid_ != 0) return;
    work();
    ::_exit(0);
  }
  ~Child() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

 private:
  pid_t pid_;
};

/// One process sends as much as it can, in system calls of up to 64 KiB that the kernel cuts into packets; what the
/// other one takes, put together again by the kernel, counts.
void datagrams(Seconds time, std::size_t packet_bytes) {
  constexpr std::size_t call_bytes = 65'000;
  const std::size_t bytes = std::min<std::size_t>(call_bytes / packet_bytes, 64) * packet_bytes;
  std::uint16_t port = 0;
  const int receiver = make_socket(port);
  const int on = 1;
  checked(::setsockopt(receiver, IPPROTO_UDP, UDP_GRO, &on, sizeof(on)), "UDP_GRO");
  const Child sender([&] {
    std::uint16_t own = 0;
    const int socket = make_socket(own);
    connect_to(socket, port);
    const int segment = static_cast<int>(packet_bytes);
    if (::setsockopt(socket, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment)) != 0) return;
    const std::vector<char> data(bytes, 'x');
    for (;;) std::ignore = ::send(socket, data.data(), data.size(), 0);
  });
  std::vector<char> taken(65'536);
  std::uint64_t sum = 0;
  checked(static_cast<int>(::recv(receiver, taken.data(), taken.size(), 0)), "recv");
  const auto start = Clock::now();
  rate(time, [&] {
    const auto got = ::recv(receiver, taken.data(), taken.size(), 0);
    sum += static_cast<std::uint64_t>(checked(static_cast<int>(got), "recv"));
  });
  figure("limit_udp_" + std::to_string(packet_bytes),
         static_cast<double>(sum) / Seconds(Clock::now() - start).count() / 1e6, "MB/s");
  ::close(receiver);
}

/// 64 bytes there and back between two processes that sleep until the kernel wakes them.
void round_trip(Seconds time) {
  std::uint16_t here_port = 0;
  std::uint16_t there_port = 0;
  const int here = make_socket(here_port);
  const int there = make_socket(there_port);
  connect_to(here, there_port);
  connect_to(there, here_port);
  const Child echo([&] {
    std::array<char, 64> data{};
    for (;;) {
      const auto got = ::recv(there, data.data(), data.size(), 0);
      if (got > 0) std::ignore = ::send(there, data.data(), static_cast<std::size_t>(got), 0);
    }
  });
  std::array<char, 64> data{};
  std::vector<double> times;
  rate(time, [&] {
    const auto start = Clock::now();
    checked(static_cast<int>(::send(here, data.data(), data.size(), 0)), "send");
    checked(static_cast<int>(::recv(here, data.data(), data.size(), 0)), "recv");
    times.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
  });
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  figure("limit_udp_round_trip", *middle, "us");
  ::close(here);
  ::close(there);
}

/// 4 KiB more in a file, and sure.
void disk(Seconds time, const std::filesystem::path& directory) {
  const auto path = directory / "limits";
  const int file = checked(::open(path.c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600), "open");
  const std::vector<char> block(4096, 'x');
  const double syncs = rate(time, [&] {
    checked(static_cast<int>(::write(file, block.data(), block.size())), "write");
    checked(::fdatasync(file), "fdatasync");
  });
  ::close(file);
  std::filesystem::remove(path);
  figure("limit_fdatasync", syncs, "1/s");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: limits_figures DIRECTORY SECONDS\n", stderr);
    return 2;
  }
  try {
    const Seconds time(std::stod(argv[2]));
    constexpr std::size_t wide = 16'000;   // what two nodes of one machine send each other
    constexpr std::size_t narrow = 1'452;  // and of two machines
    for (const auto size : {narrow, wide}) cipher(time, size);
    for (const auto size : {narrow, wide}) datagrams(time, size);
    round_trip(time);
    disk(time, argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "limits_figures: %s\n", error.what());
    return 1;
  }
  return 0;
}
