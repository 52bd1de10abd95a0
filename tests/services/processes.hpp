// Two nodes' processes, joined without a network: what one sends goes encoded to the other at once.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <barrel_p2p/process.hpp>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "distribution/control.hpp"
#include "process/system.hpp"

namespace barrel_p2p::test {

class TwoSystems : public testing::Test {
 protected:
  TwoSystems() {
    join(a, b);
    join(b, a);
  }
  ~TwoSystems() override {
    a.stop();
    b.stop();
  }
  /// After what the test sets up.
  void start() {
    a.start();
    b.start();
    a.node_up("b@test", 1, 77, distribution::flag::published);
    b.node_up("a@test", 1, 77, distribution::flag::published);
  }
  void disconnect() {
    cut = true;
    a.node_down("b@test", 1);
    b.node_down("a@test", 1);
  }

  /// Runs a function as a process and returns what it gives back.
  template <class T>
  static T run(process::System& system, std::function<Task<T>(Process&)> function) {
    auto promise = std::make_shared<std::promise<T>>();
    auto future = promise->get_future();
    system.spawn([promise, function](Process& self) -> Task<> {
      T result = co_await function(self);
      promise->set_value(std::move(result));
    });
    if (future.wait_for(std::chrono::seconds(20)) != std::future_status::ready) {
      throw std::runtime_error("the process did not finish");
    }
    return future.get();
  }
  /// The reason of a process' end.
  static Term end_of(process::System& system, const Pid& pid) {
    return run<Term>(system, [pid](Process& self) -> Task<Term> {
      self.monitor(pid);
      const Term down = co_await self.receive();
      co_return Term(down[4]);
    });
  }

  std::atomic<bool> cut{false};
  process::System a{config("a@test")};
  process::System b{config("b@test")};

 private:
  static process::SystemConfig config(const char* node) {
    process::SystemConfig config;
    config.node = Atom(node);
    config.creation = 77;
    config.workers = 2;
    return config;
  }
  void join(process::System& system, process::System& other) {
    process::RemotePort port;
    port.send = [this, &system, &other](const Atom& node, distribution::Signal&& signal, const Pid& /*key*/) {
      if (cut || node != other.config().node) return distribution::SendOutcome::refused;
      if (const auto* term = std::get_if<Term>(&signal.payload)) {
        auto bytes = std::make_shared<Bytes>(encode_term(*term, {.version_byte = false}));
        signal.payload = distribution::EncodedTerm{*bytes, bytes};
      }
      other.deliver(system.config().node, 1, std::move(signal));
      return distribution::SendOutcome::accepted;
    };
    system.set_remote(std::move(port));
  }
};

}  // namespace barrel_p2p::test
