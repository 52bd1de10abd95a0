// Nodes on machines of their own: see support/lan.hpp.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "node/node_support.hpp"
#include "support/lan.hpp"

namespace barrel_p2p::test {

class Hosts : public testing::Test {
 protected:
  static void SetUpTestSuite() { refusal() = Lan::refusal(); }
  void SetUp() override {
    if (!refusal().empty()) {
      GTEST_SKIP() << "needs the right to make network namespaces and TUN devices (run as root): " << refusal();
    }
  }

  /// A node `NAME@10.77.0.N`, with all its threads and sockets on the host.
  Node& start(const Host& host, const std::string& name, const Cluster::Change& change = {}) {
    Node* node = nullptr;
    host.run([&] {
      node = &cluster.start(name, [&](NodeConfig& config) {
        config.name = name + "@" + host.address();
        config.listen = "0.0.0.0";
        if (change) change(config);
      });
    });
    return *node;
  }

  Lan lan;
  Cluster cluster;

 private:
  static std::string& refusal() {
    static std::string reason;
    return reason;
  }
};

}  // namespace barrel_p2p::test
