// A client that speaks HTTP as badly as a test wants, over blocking sockets.
#pragma once

#include <sys/socket.h>
#include <sys/time.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "support/patience.hpp"

namespace barrel_p2p::test {

class HttpClient {
 public:
  explicit HttpClient(std::uint16_t port) {
    socket_.connect({boost::asio::ip::address_v4::loopback(), port});
    const timeval limit{.tv_sec = patience.count(), .tv_usec = 0};
    ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  /// False: it was closed.
  bool send(std::string_view text) {
    boost::system::error_code error;
    boost::asio::write(socket_, boost::asio::buffer(text), error);
    return !error;
  }
  /// All until the server closes the connection, or resets it.
  std::string rest() {
    std::string text;
    char part[16'384];
    for (;;) {
      const auto count = receive(part);
      if (count <= 0) return text;
      text.append(static_cast<const char*>(part), static_cast<std::size_t>(count));
    }
  }
  /// Reads on until this has come, and returns all up to its end; empty: the connection was closed before.
  std::string until(std::string_view what) {
    for (;;) {
      if (const auto at = read_.find(what); at != std::string::npos) {
        std::string text = read_.substr(0, at + what.size());
        read_.erase(0, at + what.size());
        return text;
      }
      char part[16'384];
      const auto count = receive(part);
      if (count <= 0) return {};
      read_.append(static_cast<const char*>(part), static_cast<std::size_t>(count));
    }
  }

 private:
  template <std::size_t size>
  ssize_t receive(char (&part)[size]) {
    for (;;) {
      const auto count = ::recv(socket_.native_handle(), static_cast<void*>(part), size, 0);
      // A time limit is no cause of this, but that the process was stopped and goes on.
      if (count >= 0 || errno != EINTR) return count;
    }
  }

  boost::asio::io_context context_;
  boost::asio::ip::tcp::socket socket_{context_};
  std::string read_;
};

/// Header and body of the answer to one request on a connection of its own.
inline std::string http_get(std::uint16_t port, const std::string& target, const std::string& headers = "",
                            const std::string& method = "GET") {
  HttpClient client(port);
  client.send(method + " " + target + " HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port) +
              "\r\nConnection: close\r\n" + headers + "\r\n");
  return client.rest();
}

/// `HTTP/1.1 200 OK`: 200. 0: no answer.
inline int status_of(const std::string& answer) {
  return answer.starts_with("HTTP/1.1 ") ? std::stoi(answer.substr(9, 3)) : 0;
}

inline std::string body_of(const std::string& answer) {
  const auto end = answer.find("\r\n\r\n");
  return end == std::string::npos ? std::string() : answer.substr(end + 4);
}

}  // namespace barrel_p2p::test
