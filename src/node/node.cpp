#include <barrel_p2p/node.hpp>
#include <boost/system/system_error.hpp>
#include <string>
#include <system_error>
#include <utility>

#include "base/deadline.hpp"
#include "node/answer.hpp"
#include "node/parts.hpp"
#include "node/validate.hpp"

namespace barrel_p2p {
inline namespace v0 {
Node::Node(std::unique_ptr<Parts> parts) noexcept : parts_(std::move(parts)) {}
Node::~Node() = default;
Node::Node(Node&&) noexcept = default;
Node& Node::operator=(Node&&) noexcept = default;

Result<Node> Node::start(NodeConfig config) {
  if (auto valid = node::validate(config); !valid) return std::unexpected(valid.error());
  const auto refused = [](const char* what) {
    return fail(Errc::system_error, std::string("the system refuses what a node needs, threads or descriptors: ") +
                                        what + "; see its limits (ulimit -u, ulimit -n, pids.max)");
  };
  try {
    auto parts = std::make_unique<Parts>(std::move(config));
    if (auto started = parts->start(); !started) return std::unexpected(started.error());
    return Node(std::move(parts));
  } catch (const std::system_error& error) {
    return refused(error.what());
  } catch (const boost::system::system_error& error) {
    return refused(error.what());
  }
}

void Node::stop() { parts_->stop(); }

const NodeName& Node::name() const noexcept { return parts_->name; }
std::uint16_t Node::port() const noexcept { return parts_->port; }
std::uint32_t Node::creation() const noexcept { return parts_->creation; }
Node::Duration Node::detection_worst_case() const noexcept {
  return parts_->config.detector.dead_after + parts_->config.detector.tick;
}

// Nodes.

Result<void> Node::connect(const NodeName& node, Duration limit) {
  if (auto allowed = parts_->may_wait(); !allowed) return allowed;
  auto promise = std::make_shared<std::promise<Result<void>>>();
  auto future = promise->get_future();
  connect(node, [promise](Result<void> result) { promise->set_value(std::move(result)); });
  if (future.wait_until(deadline_after(limit)) == std::future_status::ready) return future.get();
  return fail(Errc::timeout, "no connection to " + node.string() + " within " + std::to_string(limit.count()) + " ms");
}

void Node::connect(const NodeName& node, std::function<void(Result<void>)> done) {
  auto answer = std::make_shared<node::Answer<void>>(std::move(done));
  // Through the gate: what passes it runs before the network has stopped. The answer to what does not is `stopped`.
  parts_->network->streams()->gate.post([network = parts_->network.get(), name = node.atom(), answer] {
    network->connect(name, [answer](Result<void> result) { answer->give(std::move(result)); });
  });
}

void Node::disconnect(const NodeName& node) { parts_->network->disconnect(node.atom()); }

std::vector<NodeName> Node::nodes() const {
  std::vector<NodeName> names;
  for (const auto& node : parts_->system->nodes()) names.emplace_back(node.text());
  return names;
}

std::vector<PeerStatus> Node::peers() const {
  std::vector<PeerStatus> list;
  for (const auto& peer : parts_->network->nodes()) {
    list.push_back({NodeName(peer.node.text()), peer.address, peer.creation, peer.initiator,
                    (peer.flags & distribution::flag::published) == 0});
  }
  return list;
}

Subscription Node::monitor_nodes(std::function<void(const NodeEvent&)> callback) {
  return parts_->events.add(std::move(callback));
}

Result<std::chrono::microseconds> Node::ping(const NodeName& node, Duration limit) {
  const auto from = monotonic_now();
  const auto answer = call(RemoteName(Atom("net_kernel"), node), Term::tuple({Atom("is_auth"), name().atom()}), limit);
  if (!answer) return std::unexpected(answer.error());
  if (!answer->is_atom("yes")) return fail(Errc::remote_exit, "the node answered " + to_text(*answer));
  return std::chrono::duration_cast<std::chrono::microseconds>(monotonic_now() - from);
}

// Processes.

Pid Node::spawn(ProcessFunction function) { return parts_->system->spawn(std::move(function)); }
Result<void> Node::send(const Destination& to, Term message) { return parts_->system->send(to, std::move(message)); }
std::vector<Pid> Node::multicast(const std::vector<Pid>& to, const Term& message) {
  std::vector<Pid> failed;
  for (const auto& pid : to) {
    if (!send(pid, message)) failed.push_back(pid);
  }
  return failed;
}

void Node::exit(const Pid& process, const Term& reason) { parts_->system->exit(process, reason); }
Result<void> Node::register_process(const Atom& name, const Pid& process) {
  return parts_->system->register_name(name, process);
}
bool Node::unregister_process(const Atom& name) { return parts_->system->unregister_name(name); }
std::optional<Pid> Node::whereis(const Atom& name) const { return parts_->system->whereis(name); }
bool Node::is_alive(const Pid& process) const { return parts_->system->is_alive(process); }

Result<Term> Node::call(const Destination& server, Term request, Duration limit) {
  if (std::holds_alternative<Ref>(server)) return fail(Errc::invalid_argument, "an alias is no server: call a process");
  if (const auto allowed = parts_->may_wait_for_process(); !allowed) return std::unexpected(allowed.error());
  auto answer = parts_->wait_for<Result<Term>>(
      [server, request = std::move(request), limit](Process& self) { return self.call(server, request, limit); });
  return answer ? std::move(*answer) : std::unexpected(answer.error());
}

Result<void> Node::cast(const Destination& server, Term request) {
  return send(server, Term::tuple({Atom("$gen_cast"), std::move(request)}));
}

CallOutcome Node::run_function(const NodeName& node, RemoteFunction what, Duration limit) {
  const auto allowed = parts_->may_wait_for_process();
  auto outcome = !allowed ? Result<CallOutcome>(std::unexpected(allowed.error()))
                          : parts_->wait_for<CallOutcome>([node, what = std::move(what), limit](Process& self) {
                              return self.run_function(node, what, limit);
                            });
  if (outcome) return std::move(*outcome);
  CallOutcome none;
  if (outcome.error() == Errc::stopped) {
    none.kind = CallOutcome::Kind::stopped;
  } else if (outcome.error() == Errc::remote_exit) {
    none.kind = CallOutcome::Kind::ended;
    none.value = Atom("killed");
  } else {
    none.kind = CallOutcome::Kind::refused;
    none.value = Atom(barrel_p2p::name(outcome.error().code()));
  }
  return none;
}

Result<Term> Node::call_function(const NodeName& node, const Atom& module, const Atom& function,
                                 std::vector<Term> arguments, Duration limit) {
  if (const auto allowed = parts_->may_wait_for_process(); !allowed) return std::unexpected(allowed.error());
  return run_function(node, RemoteFunction(module, function, std::move(arguments)), limit).result();
}

void Node::export_function(const Atom& module, const Atom& name, RemoteCallable function) {
  parts_->system->export_function(module, name, std::move(function));
}

void Node::export_function(const Atom& module, const Atom& name, PlainCallable function) {
  export_function(module, name,
                  RemoteCallable([function = std::move(function)](Process& /*self*/, std::vector<Term> arguments)
                                     -> Task<Result<Term>> { co_return function(arguments); }));
}

NodeStatistics Node::statistics() const { return parts_->statistics(parts_->endpoint_statistics()); }

}  // namespace v0
}  // namespace barrel_p2p
