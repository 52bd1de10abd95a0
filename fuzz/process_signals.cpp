// What a member sends to the processes of this node, as any frames and calls in any order: messages, links, monitors,
// spawns, calls of functions, relayed calls of services, the end of its channel. No crash; nothing but answers to that
// member, and calls of the nodes that it asked to be relayed to; the node still answers afterwards.
//
//   input: steps of kind(1) and what the kind takes
//   kind:  0 a frame: bytes, length(2) before them    1 a message to rex: {call, Module, Function, Arguments}
//          2 the same as a spawn request of erpc      3 a spawn request
//          for 1 to 3: function(1) and the arguments as a term, length(2) before it
//          4 the channel ends and comes again         5 a message to a process: which(1) and a term, length(2) before
//          it
#include <array>
#include <atomic>
#include <barrel_p2p/term.hpp>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "distribution/flags.hpp"
#include "distribution/fragments.hpp"
#include "input.hpp"
#include "process/system.hpp"
#include "services/bridge.hpp"

namespace {

using namespace barrel_p2p;
using namespace barrel_p2p::fuzz;
using distribution::Signal;

const Atom own("own@h");
const Atom peer("a@h");
const distribution::ChannelNodes nodes{own, peer, 4, 5};
const Pid their_process{peer, 1, 0, 5};
const Term service(Atom("web"));

struct Function {
  const char* module;
  const char* name;
};
constexpr std::array functions{Function{"barrel_p2p_service_proxy", "relay"},
                               Function{"barrel_p2p", "register_name"},
                               Function{"barrel_p2p", "unregister_name"},
                               Function{"barrel_p2p", "whereis_name"},
                               Function{"barrel_p2p", "send"},
                               Function{"barrel_p2p", "get_proxy"},
                               Function{"barrel_p2p", "global_register"},
                               Function{"barrel_p2p", "start_service_holder"},
                               Function{"barrel_p2p", "stop_service_holder"},
                               Function{"gen_server", "call"},
                               Function{"gen_server", "cast"},
                               Function{"erlang", "apply"},
                               Function{"erlang", "node"},
                               Function{"erlang", "whereis"},
                               Function{"sys", "get_state"},
                               Function{"nobody", "nothing"}};

class Machine {
 public:
  Machine() : system_(config()), bridge_(system_, registry(), 4) {
    process::RemotePort port;
    port.send = [this](const Atom& node, Signal&& signal, const Pid& /*key*/) { return sent(node, signal); };
    port.resume_reading = [](const Atom& /*node*/, std::uint64_t /*epoch*/) {};
    port.report_malformed = [](const Atom& node, std::uint64_t /*epoch*/, const Error& why) {
      require(node == peer && !why.message().empty());
    };
    system_.set_remote(std::move(port));
    services::RelayConfig relay;
    relay.neighbours = [] { return std::vector<Atom>{Atom("a@h"), Atom("b@h")}; };
    relay.lookup_local = [this](const Term& name) { return name == service ? std::optional(server_) : std::nullopt; };
    relay.limit = relay.dial_limit = std::chrono::milliseconds(1);
    services::export_relay(system_, std::move(relay));
    services::export_bridge(system_, bridge_);
    system_.start();
    server_ = system_.spawn(answer_calls);
    (void)system_.register_name(Atom("server"), server_);
    up();
  }
  ~Machine() { system_.stop(); }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  void step(Input& input) {
    switch (input.byte() % 6U) {
      case 0: return frame(input.piece());
      case 1: return rex(input);
      case 2: return erpc(input);
      case 3: return spawn(input);
      case 4: (void)system_.node_down(peer, epoch_); return up();
      default: return message(input);
    }
  }

  /// The net kernel answers, after everything that was sent before.
  void settle() {
    for (int round = 0; round < 2; ++round) {
      const Ref reference = next_reference();
      {
        const std::lock_guard lock(mutex_);
        awaited_ = reference;
      }
      Term call = Term::tuple(
          {Atom("$gen_call"), Term::tuple({their_process, reference}), Term::tuple({Atom("is_auth"), peer})});
      deliver({distribution::SendName{their_process, Atom("net_kernel")}, std::move(call)});
      std::unique_lock lock(mutex_);
      require(answered_.wait_for(lock, std::chrono::seconds(8), [this] { return !awaited_; }));
    }
  }

 private:
  static process::SystemConfig config() {
    process::SystemConfig config;
    config.node = own;
    config.creation = nodes.own_creation;
    config.workers = 1;
    config.mailbox_bytes_max = 1024UL * 1024;
    config.remote_spawns_max = 16;
    config.remote_relations_max = 16;
    config.log_output = [](const std::string& /*text*/) {};
    return config;
  }
  services::RegistryCalls registry() {
    services::RegistryCalls calls;
    calls.add = [](Process& /*self*/, const ServiceName& name, const Pid& /*pid*/) -> Task<Result<void>> {
      if (name.term() == service) co_return fail(Errc::already_registered);
      co_return Result<void>();
    };
    calls.remove = [](Process& /*self*/, ServiceName /*name*/) -> Task<> { co_return; };
    calls.lookup_local = [](const Term& /*name*/) { return std::optional<Pid>(); };
    calls.whereis = [this](Process& /*self*/, const ServiceName& name) -> Task<Result<ServiceLocation>> {
      if (name.term() == service) co_return ServiceLocation{server_, NodeName(own.text()), true};
      if (name.text() == "far") co_return ServiceLocation{their_process, NodeName(peer.text()), false};
      co_return fail(Errc::not_found);
    };
    calls.erlang_neighbours = [] { return std::vector<NodeName>{NodeName(peer.text())}; };
    return calls;
  }
  static Task<> answer_calls(Process& self) {
    for (;;) {
      const Term message = co_await self.receive();
      if (message.is_atom("die")) throw ExitProcess{Atom("oops")};
      if (message.is_tuple(2) && message[0].is_pid()) co_await self.send(*message[0].as_pid(), Term(message[1]));
    }
  }

  void up() { system_.node_up(peer, ++epoch_, nodes.peer_creation, distribution::offered_flags); }
  Ref next_reference() { return {peer, 5, 3, {++references_, 0, 0, 0, 0}}; }
  void deliver(Signal&& signal) { (void)system_.deliver(peer, epoch_, std::move(signal)); }

  void frame(ByteView bytes) {
    if (bytes.empty()) return;
    auto owner = std::make_shared<const Bytes>(bytes.begin(), bytes.end());
    auto read = reader_.read(0, {*owner, owner});
    if (read && *read) deliver(std::move(**read));
  }
  struct Call {
    Atom module;
    Atom function;
    Term arguments;
  };
  static Call call_of(Input& input) {
    const auto& function = functions[input.byte() % functions.size()];
    const auto arguments = decode_term(input.piece());
    return {Atom(function.module), Atom(function.name), arguments ? arguments->term : Term()};
  }
  void rex(Input& input) {
    auto [module, function, arguments] = call_of(input);
    Term call = Term::tuple({Atom("call"), module, function, std::move(arguments), their_process});
    Term from = Term::tuple({their_process, next_reference()});
    Term message = Term::tuple({Atom("$gen_call"), std::move(from), std::move(call)});
    deliver({distribution::SendName{their_process, Atom("rex")}, std::move(message)});
  }
  void erpc(Input& input) {
    auto [module, function, arguments] = call_of(input);
    Term whole = Term::list({next_reference(), module, function, std::move(arguments)});
    request(Atom("erpc"), Atom("execute_call"), std::move(whole));
  }
  void spawn(Input& input) {
    auto [module, function, arguments] = call_of(input);
    request(module, function, std::move(arguments));
  }
  void request(const Atom& module, const Atom& function, Term arguments) {
    distribution::SpawnRequest request;
    request.request = next_reference();
    request.from = request.group_leader = their_process;
    request.module = module;
    request.function = function;
    request.arity = static_cast<std::uint8_t>(arguments.size());
    request.options = Term::list({Term(Atom("monitor"))});
    deliver({std::move(request), std::move(arguments)});
  }
  void message(Input& input) {
    constexpr std::array names{"rex",    "net_kernel",         "user",         "logger_proxy",
                               "server", "global_name_server", "erts_internal"};
    const auto which = input.byte();
    const auto term = decode_term(input.piece());
    if (!term) return;
    if (which % 8U == 7) return deliver({distribution::Send{their_process, server_}, term->term});
    deliver({distribution::SendName{their_process, Atom(names[which % 8U])}, term->term});
  }

  distribution::SendOutcome sent(const Atom& node, const Signal& signal) {
    if (node != peer) return distribution::SendOutcome::refused;
    if (!check_outgoing(signal, nodes, distribution::offered_flags)) return distribution::SendOutcome::accepted;
    Bytes encoded;
    (void)encode_control_to(signal, distribution::offered_flags, encoded);
    const auto* answer = std::get_if<Term>(&signal.payload);
    const std::lock_guard lock(mutex_);
    if (awaited_ && answer != nullptr && answer->is_tuple(2) && (*answer)[0] == Term(*awaited_)) {
      awaited_.reset();
      answered_.notify_all();
    }
    return distribution::SendOutcome::accepted;
  }

  std::mutex mutex_;
  std::condition_variable answered_;
  std::optional<Ref> awaited_;
  std::uint32_t references_ = 0;
  std::uint64_t epoch_ = 0;
  Pid server_;
  distribution::MessageReader reader_{nodes, distribution::offered_flags};
  process::System system_;
  services::Bridge bridge_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  Machine machine;
  constexpr int steps_max = 16;
  for (int step = 0; step < steps_max && !input.empty(); ++step) machine.step(input);
  machine.settle();
  return 0;
}
