#include "node/service_bridge.hpp"

#include <barrel_p2p/await.hpp>
#include <utility>

namespace barrel_p2p {
inline namespace v0 {
namespace node {
namespace {

services::RegistryCalls registry_calls(ServicesRunner& services, OverlayRunner& overlay) {
  services::RegistryCalls calls;
  calls.add = [&services](Process& self, ServiceName name, Pid pid) -> Task<Result<void>> {
    const auto start = [&](ServicesRunner::Done done) {
      services.register_service(name, pid, Term::map(std::vector<TermPair>()), {}, std::move(done));
    };
    Result<void> added = co_await awaited<void>(self, start);
    co_return added;
  };
  calls.remove = [&services](Process& self, ServiceName name) -> Task<> {
    const auto start = [&](Answer<bool>::Function done) { services.unregister_service(name, std::move(done)); };
    (void)co_await awaited<bool>(self, start);  // there may be none, or the node stops
  };
  calls.lookup_local = [&services](const Term& name) -> std::optional<Pid> {
    const auto service = ServiceName::from(name);
    return service ? services.lookup_local(*service) : std::nullopt;
  };
  calls.whereis = [&services](Process& self, ServiceName name) -> Task<Result<ServiceLocation>> {
    const auto start = [&](Answer<ServiceLocation>::Function done) { services.ask(name, {}, std::move(done)); };
    Result<ServiceLocation> found = co_await awaited<ServiceLocation>(self, start);
    co_return found;
  };
  calls.erlang_neighbours = [&overlay] {
    std::vector<NodeName> nodes;
    for (const auto& node : overlay.erlang_neighbours()) nodes.emplace_back(node.text());
    return nodes;
  };
  return calls;
}

}  // namespace

std::unique_ptr<services::Bridge> make_bridge(process::System& system, ServicesRunner& services,
                                              OverlayRunner& overlay) {
  auto calls = registry_calls(services, overlay);
  services::RelayConfig relay;
  relay.neighbours = [&overlay] { return overlay.views()->active; };
  relay.lookup_local = calls.lookup_local;
  services::export_relay(system, std::move(relay));
  auto bridge = std::make_unique<services::Bridge>(system, std::move(calls));
  services::export_bridge(system, *bridge);
  return bridge;
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
