#include "distribution/link_watch.hpp"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

LinkWatch::LinkWatch(boost::asio::io_context& context, std::function<void()> changed)
    : socket_(context), timer_(context), changed_(std::move(changed)) {
  const int fd = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (fd < 0) return;
  sockaddr_nl groups{};
  groups.nl_family = AF_NETLINK;
  groups.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&groups), sizeof(groups)) != 0) {
    ::close(fd);
    return;
  }
  boost::system::error_code error;
  if (socket_.assign(fd, error)) {
    ::close(fd);
    return;
  }
  works_ = true;
  wait();
}

LinkWatch::~LinkWatch() = default;

bool LinkWatch::drain() {
  std::array<char, 8192> buffer{};
  bool any = false;
  for (;;) {
    const auto size = ::recv(socket_.native_handle(), buffer.data(), buffer.size(), 0);
    // ENOBUFS: there were more than the kernel keeps, so something changed.
    if (size <= 0 && !(size < 0 && (errno == EINTR || errno == ENOBUFS))) return any;
    any = true;
  }
}

void LinkWatch::tell_soon() {
  if (std::exchange(pending_, true)) return;
  timer_.expires_at(std::max(monotonic_now() + pause, told_ + period_min));
  timer_.async_wait([this, alive = std::weak_ptr<int>(alive_)](auto error) {
    if (error || alive.expired()) return;
    pending_ = false;
    told_ = monotonic_now();
    changed_();
  });
}

void LinkWatch::wait() {
  socket_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                     [this, alive = std::weak_ptr<int>(alive_)](auto error) {
                       if (error || alive.expired()) return;
                       if (drain()) tell_soon();
                       wait();
                     });
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
