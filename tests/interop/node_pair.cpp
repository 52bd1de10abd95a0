#include "interop/node_pair.hpp"

#include <stdexcept>
#include <utility>

namespace barrel_p2p::test {

struct Puppet::Shared {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Term> messages;
  std::deque<std::pair<std::function<Task<>(Process&)>, std::promise<void>>> commands;
};

Puppet::Puppet(process::System& system) : system_(system), shared_(std::make_shared<Shared>()) {
  pid_ = system_.spawn([shared = shared_](Process& self) { return live(self, shared); });
}

Puppet::~Puppet() { system_.exit(pid_, Atom("kill")); }

Task<> Puppet::live(Process& self, std::shared_ptr<Shared> shared) {
  for (;;) {
    Term message = co_await self.receive();
    if (!message.is_atom("$puppet")) {
      const std::lock_guard lock(shared->mutex);
      shared->messages.push_back(std::move(message));
      shared->changed.notify_all();
      continue;
    }
    std::unique_lock lock(shared->mutex);
    auto [what, done] = std::move(shared->commands.front());
    shared->commands.pop_front();
    lock.unlock();
    co_await what(self);
    done.set_value();
  }
}

void Puppet::command(std::function<Task<>(Process&)> what) {
  std::promise<void> promise;
  auto done = promise.get_future();
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->commands.emplace_back(std::move(what), std::move(promise));
  }
  if (!system_.send(pid_, Atom("$puppet"))) throw std::runtime_error("the puppet takes no message");
  if (done.wait_for(patience) != std::future_status::ready) throw std::runtime_error("the puppet does not move");
  done.get();
}

void Puppet::act(std::function<void(Process&)> what) {
  command([what = std::move(what)](Process& self) -> Task<> {
    what(self);
    co_return;
  });
}

void Puppet::send(Destination to, Term message) {
  command(
      [to = std::move(to), message = std::move(message)](Process& self) -> Task<> { co_await self.send(to, message); });
}

Term Puppet::next(std::source_location where) {
  std::unique_lock lock(shared_->mutex);
  if (!shared_->changed.wait_for(lock, patience, [&] { return !shared_->messages.empty(); })) {
    throw std::runtime_error("no message came for line " + std::to_string(where.line()));
  }
  Term message = std::move(shared_->messages.front());
  shared_->messages.pop_front();
  return message;
}

std::size_t Puppet::waiting() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->messages.size();
}

void Puppet::register_name(const char* name) {
  if (!system_.register_name(Atom(name), pid_)) throw std::runtime_error("the name is taken");
}

ErlOptions node_options(const std::string& name, std::uint16_t port, const std::string& cookie) {
  std::string address = "{" + name.substr(name.find('@') + 1) + "}";
  for (auto& letter : address) {
    if (letter == '.') letter = ',';
  }
  ErlOptions options;
  options.arguments = {"-name",          name,
                       "-setcookie",     cookie,
                       "-start_epmd",    "false",
                       "-erl_epmd_port", std::to_string(port),
                       "-kernel",        "inet_dist_use_interface",
                       address};
  return options;
}

namespace {
ErlOptions with(ErlOptions options, const std::vector<std::string>& more) {
  options.arguments.insert(options.arguments.end(), more.begin(), more.end());
  return options;
}
}  // namespace

NodePair::NodePair(CarrierOptions options, std::vector<std::string> more_arguments)
    : carrier(std::move(options)), erl(with(node_options(erlang_name, carrier.port()), more_arguments)) {}

std::string to_string(Dialling dialling) { return dialling == Dialling::ours ? "WeDial" : "ErlangDials"; }

void connect(NodePair& pair, Dialling dialling) {
  if (dialling == Dialling::ours) {
    const auto connected = pair.carrier.connect(NodePair::erlang_name);
    if (!connected) throw std::runtime_error(connected.error().message());
  } else if (pair.erl.eval("net_kernel:connect_node(hd(Args))", Term::list({Term(Atom(pair.carrier.name()))})) !=
             Term(true)) {
    throw std::runtime_error("the Erlang node could not connect to us");
  }
  const bool up = pair.carrier.await([](const CarrierView& now) { return now.up.contains(NodePair::erlang_name); });
  if (!up) throw std::runtime_error("the link is not up");
  (void)pair.erl.eval("peer_driver:settled(hd(Args))", Term::list({Term(Atom(pair.carrier.name()))}));
}

}  // namespace barrel_p2p::test
