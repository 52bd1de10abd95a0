// The part of the public API that is about streams.
#include <barrel_p2p/await.hpp>
#include <barrel_p2p/node.hpp>
#include <utility>

#include "base/deadline.hpp"
#include "node/awaiting.hpp"
#include "node/parts.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace {

using distribution::StreamCore;

}  // namespace

void Node::open_stream(const NodeName& node, std::string tag, std::function<void(Result<Stream>)> done) {
  if (const auto checked = distribution::check_tag(tag); !checked) {
    return node::refuse(*parts_, std::move(done), std::unexpected(checked.error()));
  }
  const auto shared = parts_->network->streams();
  auto answer = std::make_shared<node::Answer<Stream>>(std::move(done));
  auto opened = [answer, shared](Result<std::shared_ptr<StreamCore>> core) {
    if (core) return answer->give(Stream(std::move(*core), shared));
    answer->give(std::unexpected(core.error()));
  };
  // Through the gate: what passes it runs before the network has stopped. The answer to what does not is `stopped`.
  shared->gate.post([network = parts_->network.get(), name = node.atom(), tag = std::move(tag), opened] {
    network->open_stream(name, tag, opened);
  });
}

Result<Stream> Node::open_stream(const NodeName& node, const std::string& tag, Duration limit) {
  if (const auto allowed = parts_->may_wait(); !allowed) return std::unexpected(allowed.error());
  auto promise = std::make_shared<std::promise<Result<Stream>>>();
  auto future = promise->get_future();
  open_stream(node, tag, [promise](Result<Stream> result) { promise->set_value(std::move(result)); });
  if (future.wait_until(deadline_after(limit)) == std::future_status::ready) return future.get();
  return fail(Errc::timeout, "no stream to " + node.string() + " within " + std::to_string(limit.count()) + " ms");
}

Task<Result<Stream>> Node::open_stream(Process& self, NodeName node, std::string tag) {
  return awaited<Stream>(self, [this, node = std::move(node), tag = std::move(tag)](auto done) {
    open_stream(node, tag, std::move(done));
  });
}

Result<StreamAcceptor> Node::accept_streams(const std::string& tag, AcceptOptions options) {
  if (options.backlog == 0) return fail(Errc::invalid_argument, "backlog must be at least 1");
  const auto& shared = parts_->network->streams();
  auto acceptor = shared->acceptors.add(tag, {}, options.backlog);
  if (!acceptor) return std::unexpected(acceptor.error());
  return StreamAcceptor(tag, std::move(*acceptor), shared);
}

Result<StreamAcceptor> Node::Parts::accept_streams(const std::string& tag, StreamCallback on_stream) {
  const auto& shared = network->streams();
  auto handler = [on_stream = std::move(on_stream), weak = std::weak_ptr(shared)](std::shared_ptr<StreamCore> core) {
    on_stream(Stream(std::move(core), weak.lock()));
  };
  auto acceptor = shared->acceptors.add(tag, std::move(handler), 0);
  if (!acceptor) return std::unexpected(acceptor.error());
  return StreamAcceptor(tag, std::move(*acceptor), shared);
}

Result<StreamAcceptor> Node::accept_streams(const std::string& tag, StreamCallback on_stream) {
  return parts_->accept_streams(tag, std::move(on_stream));
}

Result<StreamAcceptor> Node::accept_streams(const std::string& tag, StreamProcess on_stream) {
  process::System* const system = parts_->system.get();
  return accept_streams(tag, StreamCallback([system, on_stream = std::move(on_stream)](Stream stream) {
                          // A process that never runs lets go of it.
                          auto held = std::make_shared<Stream>(std::move(stream));
                          system->spawn([held = std::move(held), on_stream](Process& self) -> Task<> {
                            Stream own = std::move(*held);
                            co_await on_stream(self, std::move(own));
                          });
                        }));
}

}  // namespace v0
}  // namespace barrel_p2p
