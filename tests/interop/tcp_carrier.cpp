#include "interop/tcp_carrier.hpp"

#include <atomic>
#include <boost/asio.hpp>
#include <condition_variable>
#include <deque>
#include <future>
#include <map>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>

#include "base/random.hpp"
#include "distribution/encode.hpp"
#include "distribution/fragments.hpp"
#include "distribution/framing.hpp"
#include "distribution/handshake.hpp"

namespace barrel_p2p::test {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using distribution::DeliverOutcome;
using distribution::Handshake;
using distribution::HandshakeAnswer;
using distribution::HandshakeEffects;
using distribution::HandshakeRole;
using distribution::SendOutcome;
using distribution::Signal;

constexpr std::size_t read_bytes = 65'536;
constexpr std::size_t busy_bytes = 1024UL * 1024;  ///< As `+zdbbl` of an Erlang node.
constexpr std::size_t frame_bytes_max = 64UL * 1024 * 1024;
constexpr std::size_t prefix_bytes = 2;

std::string host_of(const std::string& node) { return node.substr(node.find('@') + 1); }

/// An ephemeral port that other nodes of the test can have on their own addresses, too.
std::uint16_t open_acceptor(tcp::acceptor& acceptor, const std::string& host, std::uint16_t port) {
  constexpr int tries_max = 50;
  for (int tries = 0; tries < tries_max; ++tries) {
    const tcp::endpoint endpoint(asio::ip::make_address(host), port);
    acceptor.open(endpoint.protocol());
    acceptor.set_option(tcp::acceptor::reuse_address(true));
    acceptor.bind(endpoint);
    const auto got = acceptor.local_endpoint().port();
    bool free = true;
    for (const auto* other : {"127.0.0.1", "127.0.0.3"}) {
      boost::system::error_code error;
      tcp::acceptor probe(acceptor.get_executor());
      probe.open(tcp::v4());
      probe.set_option(tcp::acceptor::reuse_address(true));
      if (host != other) probe.bind({asio::ip::make_address(other), got}, error);
      free = free && !error;
    }
    if (free || port != 0) {
      acceptor.listen();
      return got;
    }
    acceptor.close();
  }
  throw std::runtime_error("no free port");
}

}  // namespace

class TcpCarrier::Impl : public std::enable_shared_from_this<Impl> {
 public:
  explicit Impl(CarrierOptions options);
  void start();
  void stop();

  Result<void> connect(const std::string& node, std::chrono::milliseconds limit);
  void drop(const std::string& node);

  template <class Change>
  void change(const Change& change_view) {
    const std::lock_guard lock(view_mutex);
    change_view(view);
    changed.notify_all();
  }

  CarrierOptions options;
  std::uint16_t port = 0;
  mutable std::mutex view_mutex;
  std::condition_variable changed;
  CarrierView view;
  std::unique_ptr<process::System> system;

 private:
  struct Link;
  using LinkPointer = std::shared_ptr<Link>;
  using Dialled = std::function<void(Result<void>)>;

  void accept();
  void begin(const LinkPointer& link, HandshakeRole role, const std::string& dialled);
  void apply(const LinkPointer& link, HandshakeEffects&& effects);
  HandshakeAnswer decide(const Atom& name) const;
  void come_up(const LinkPointer& link, const distribution::HandshakeUp& up);
  void end(const LinkPointer& link, std::string why);
  void read(const LinkPointer& link);
  void on_read(const LinkPointer& link, ByteView bytes, const std::shared_ptr<const void>& owner);
  void on_frames(const LinkPointer& link, ByteView bytes, const std::shared_ptr<const void>& owner);
  void write(const LinkPointer& link, std::vector<SharedBytes> buffers);
  void flush(const LinkPointer& link);
  void tick(const LinkPointer& link);
  SendOutcome send(const Atom& node, Signal&& signal, const Pid& key);
  LinkPointer up_link(const Atom& node) const;

  asio::io_context context_;
  asio::executor_work_guard<asio::io_context::executor_type> work_{context_.get_executor()};
  tcp::acceptor acceptor_{context_};
  std::thread thread_;
  // Network thread.
  std::set<LinkPointer> links_;
  std::uint64_t next_epoch_ = 1;
  // Any thread.
  std::atomic<std::uint64_t> next_sequence_{1};
  mutable std::mutex up_mutex_;
  std::map<Atom, LinkPointer> up_;
};

struct TcpCarrier::Impl::Link {
  explicit Link(tcp::socket&& stream) : socket(std::move(stream)), timer(socket.get_executor()) {}

  tcp::socket socket;
  asio::steady_timer timer;
  std::unique_ptr<Handshake> handshake;
  Bytes early;  ///< Handshake bytes that are not a whole message yet.
  Dialled dialled;
  std::string wanted;  ///< The node that we dialled.
  bool ended = false;
  bool reading = false;
  bool congested = false;
  // Set before the link is in the table.
  Atom peer;
  distribution::Flags flags = 0;
  std::uint32_t peer_creation = 0;
  std::uint64_t epoch = 0;
  distribution::FrameReader frames{frame_bytes_max};
  std::unique_ptr<distribution::MessageReader> messages;
  std::uint64_t ticks = 0;

  std::mutex mutex;  ///< Guards what follows.
  std::deque<SharedBytes> queue;
  std::size_t queued = 0;
  bool writing = false;
  bool busy = false;
};

// Start and end.

TcpCarrier::Impl::Impl(CarrierOptions chosen) : options(std::move(chosen)) {
  process::SystemConfig config;
  config.node = Atom(options.name);
  config.creation = options.creation;
  config.workers = 2;
  const auto print = [this](const std::string& text) { change([&](CarrierView& now) { now.output.push_back(text); }); };
  config.log_output = print;
  system = std::make_unique<process::System>(config);
}

void TcpCarrier::Impl::start() {
  port = open_acceptor(acceptor_, host_of(options.name), options.port);
  process::RemotePort remote;
  remote.send = [this](const Atom& node, Signal&& signal, const Pid& key) {
    return send(node, std::move(signal), key);
  };
  remote.resume_reading = [this](const Atom& node, std::uint64_t epoch) {
    asio::post(context_, [this, node, epoch] {
      const auto link = up_link(node);
      if (!link || link->epoch != epoch || !std::exchange(link->congested, false)) return;
      read(link);
    });
  };
  remote.report_malformed = [this](const Atom& node, std::uint64_t epoch, const Error& why) {
    asio::post(context_, [this, node, epoch, why] {
      const auto link = up_link(node);
      if (link && link->epoch == epoch) end(link, "malformed: " + why.message());
    });
  };
  system->set_remote(std::move(remote));
  system->start();
  accept();
  thread_ = std::thread([this] { context_.run(); });
}

void TcpCarrier::Impl::stop() {
  std::promise<void> closed;
  asio::post(context_, [&] {
    acceptor_.close();
    for (const auto& link : std::set<LinkPointer>(links_)) end(link, "stopped");
    closed.set_value();
  });
  closed.get_future().wait();
  system->stop();
  work_.reset();
  context_.stop();
  thread_.join();
}

void TcpCarrier::Impl::accept() {
  acceptor_.async_accept([this](const boost::system::error_code& error, tcp::socket socket) {
    if (error == asio::error::operation_aborted || !acceptor_.is_open()) return;
    if (!error) begin(std::make_shared<Link>(std::move(socket)), HandshakeRole::acceptor, {});
    accept();
  });
}

Result<void> TcpCarrier::Impl::connect(const std::string& node, std::chrono::milliseconds limit) {
  auto promise = std::make_shared<std::promise<Result<void>>>();
  auto future = promise->get_future();
  asio::post(context_, [this, node, promise] {
    const auto link = std::make_shared<Link>(tcp::socket(context_));
    link->dialled = [promise](Result<void> result) { promise->set_value(std::move(result)); };
    link->wanted = node;
    links_.insert(link);
    link->socket.async_connect({asio::ip::make_address(host_of(node)), port},
                               [this, link, node](const boost::system::error_code& error) {
                                 if (error) return end(link, error.message());
                                 begin(link, HandshakeRole::initiator, node);
                               });
  });
  if (future.wait_for(limit) != std::future_status::ready) return fail(Errc::timeout, "no handshake in time");
  return future.get();
}

void TcpCarrier::Impl::drop(const std::string& node) {
  std::promise<void> done;
  asio::post(context_, [&] {
    if (const auto link = up_link(Atom(node))) end(link, "dropped");
    done.set_value();
  });
  done.get_future().wait();
}

// The handshake.

void TcpCarrier::Impl::begin(const LinkPointer& link, HandshakeRole role, const std::string& dialled) {
  links_.insert(link);
  link->socket.set_option(tcp::no_delay(true));
  distribution::HandshakeConfig config;
  config.role = role;
  config.framing = distribution::HandshakeFraming::prefixed;
  config.own_name = Atom(options.name);
  if (!dialled.empty()) config.dialled = Atom(dialled);
  config.flags = options.flags;
  config.mandatory = options.mandatory;
  config.creation = options.creation;
  config.cookie = options.cookie;
  config.challenge = static_cast<std::uint32_t>(random_uint64());
  link->handshake = std::make_unique<Handshake>(std::move(config));
  apply(link, link->handshake->start(monotonic_now()));
  tick(link);
  read(link);
}

HandshakeAnswer TcpCarrier::Impl::decide(const Atom& name) const {
  if (up_link(name)) return HandshakeAnswer::alive;
  for (const auto& link : links_) {
    if (link->wanted != name.text() || link->messages) continue;
    return options.name > name.string() ? HandshakeAnswer::close : HandshakeAnswer::ok_simultaneous;
  }
  return HandshakeAnswer::ok;
}

void TcpCarrier::Impl::apply(const LinkPointer& link, HandshakeEffects&& effects) {
  for (auto& effect : effects) {
    if (link->ended) return;
    if (const auto* message = std::get_if<distribution::HandshakeSend>(&effect)) {
      // At once, also when it is a last word; so small that the kernel takes it.
      boost::system::error_code error;
      asio::write(link->socket, asio::buffer(message->bytes), error);
      if (error) return end(link, "closed: " + error.message());
      if (message->status) apply(link, link->handshake->status_acked(monotonic_now()));
    } else if (const auto* received = std::get_if<distribution::HandshakeNameReceived>(&effect)) {
      apply(link, link->handshake->answer(decide(received->name), monotonic_now()));
    } else if (std::holds_alternative<distribution::HandshakeAlive>(effect)) {
      apply(link, link->handshake->answer_alive(true, monotonic_now()));
    } else if (const auto* up = std::get_if<distribution::HandshakeUp>(&effect)) {
      come_up(link, *up);
    } else if (const auto* failed = std::get_if<distribution::HandshakeFailed>(&effect)) {
      return end(link, std::string(distribution::name(failed->failure)) + ": " + failed->detail);
    }
  }
}

void TcpCarrier::Impl::come_up(const LinkPointer& link, const distribution::HandshakeUp& up) {
  if (const auto old = up_link(up.peer)) end(old, "replaced");
  link->peer = up.peer;
  link->flags = up.flags;
  link->peer_creation = up.peer_creation;
  link->epoch = next_epoch_++;
  link->messages = std::make_unique<distribution::MessageReader>(
      distribution::ChannelNodes{Atom(options.name), up.peer, options.creation, up.peer_creation}, up.flags);
  {
    const std::lock_guard lock(up_mutex_);
    up_[up.peer] = link;
  }
  system->node_up(up.peer, link->epoch, up.peer_creation, up.flags);
  change([&](CarrierView& now) {
    now.up.insert(up.peer.string());
    ++now.ups;
    if (link->wanted.empty()) ++now.accepted;
    now.last_flags = up.flags;
    now.last_peer_creation = up.peer_creation;
  });
  if (link->dialled) std::exchange(link->dialled, nullptr)({});
}

void TcpCarrier::Impl::end(const LinkPointer& link, std::string why) {
  if (std::exchange(link->ended, true)) return;
  links_.erase(link);
  {
    const std::lock_guard lock(link->mutex);
    link->queue.clear();
    link->queued = 0;
  }
  boost::system::error_code ignored;
  link->timer.cancel();
  link->socket.close(ignored);
  if (link->messages) {
    const std::lock_guard lock(up_mutex_);
    up_.erase(link->peer);
  }
  // First the view: who hears of the end from a process sees it there, too.
  change([&](CarrierView& now) {
    if (link->messages) now.up.erase(link->peer.string());
    now.ends.push_back(why);
  });
  if (link->messages) system->node_down(link->peer, link->epoch);
  if (link->dialled) std::exchange(link->dialled, nullptr)(fail(Errc::handshake_failed, std::move(why)));
}

// Reading.

void TcpCarrier::Impl::read(const LinkPointer& link) {
  if (link->ended || link->reading || link->congested) return;
  link->reading = true;
  auto buffer = std::make_shared<Bytes>(read_bytes);
  link->socket.async_read_some(asio::buffer(*buffer),
                               [this, link, buffer](const boost::system::error_code& error, std::size_t count) {
                                 link->reading = false;
                                 if (link->ended) return;
                                 if (error) return end(link, "closed: " + error.message());
                                 on_read(link, ByteView(*buffer).first(count), buffer);
                                 read(link);
                               });
}

void TcpCarrier::Impl::on_read(const LinkPointer& link, ByteView bytes, const std::shared_ptr<const void>& owner) {
  // The handshake gets one message at a time: what follows its last one is for the frames.
  while (!link->messages && !bytes.empty()) {
    link->early.push_back(bytes.front());
    bytes = bytes.subspan(1);
    constexpr unsigned byte_bits = 8;
    const Bytes& early = link->early;
    if (early.size() < prefix_bytes) continue;
    if (early.size() < prefix_bytes + (std::size_t{early[0]} << byte_bits | early[1])) continue;
    apply(link, link->handshake->receive(std::exchange(link->early, {}), monotonic_now()));
    if (link->ended) return;
  }
  if (link->messages && !bytes.empty()) on_frames(link, bytes, owner);
}

void TcpCarrier::Impl::on_frames(const LinkPointer& link, ByteView bytes, const std::shared_ptr<const void>& owner) {
  std::vector<distribution::FramePayload> frames;
  const auto fed = link->frames.feed(bytes, frames, owner);
  for (auto& frame : frames) {
    auto signal = link->messages->read(0, std::move(frame));
    if (!signal) return end(link, "protocol: " + signal.error().message());
    if (!*signal) continue;
    if (system->deliver(link->peer, link->epoch, std::move(**signal)) == DeliverOutcome::congested) {
      link->congested = true;
    }
    if (link->ended) return;
  }
  if (!fed) return end(link, "protocol: " + fed.error().message());
  const auto ticks = link->frames.ticks() - std::exchange(link->ticks, link->frames.ticks());
  if (ticks > 0) change([&](CarrierView& now) { now.ticks += ticks; });
}

// Writing.

void TcpCarrier::Impl::write(const LinkPointer& link, std::vector<SharedBytes> buffers) {
  const std::lock_guard lock(link->mutex);
  for (auto& buffer : buffers) {
    link->queued += buffer.view.size();
    link->queue.push_back(std::move(buffer));
  }
  if (std::exchange(link->writing, true)) return;
  asio::post(context_, [this, link] { flush(link); });
}

void TcpCarrier::Impl::flush(const LinkPointer& link) {
  auto batch = std::make_shared<std::deque<SharedBytes>>();
  std::vector<asio::const_buffer> views;
  bool relieved = false;
  {
    const std::lock_guard lock(link->mutex);
    std::size_t bytes = 0;
    while (!link->queue.empty() && bytes < busy_bytes) {
      bytes += link->queue.front().view.size();
      views.emplace_back(link->queue.front().view.data(), link->queue.front().view.size());
      batch->push_back(std::move(link->queue.front()));
      link->queue.pop_front();
    }
    link->queued -= bytes;
    link->writing = !batch->empty();
    relieved = link->queued < busy_bytes / 2 && std::exchange(link->busy, false);
  }
  if (relieved) system->node_writable(link->peer);
  if (batch->empty() || link->ended) return;
  asio::async_write(link->socket, views, [this, link, batch](const boost::system::error_code& error, std::size_t) {
    if (link->ended) return;
    if (error) return end(link, "closed: " + error.message());
    flush(link);
  });
}

/// Before the link is up the deadline of the handshake is looked at, then ticks go out.
void TcpCarrier::Impl::tick(const LinkPointer& link) {
  link->timer.expires_after(options.tick_every);
  link->timer.async_wait([this, link](const boost::system::error_code& error) {
    if (error || link->ended) return;
    if (link->messages) {
      write(link, {SharedBytes(Bytes(distribution::frame_header_bytes))});
    } else {
      apply(link, link->handshake->tick(monotonic_now()));
    }
    if (!link->ended) tick(link);
  });
}

TcpCarrier::Impl::LinkPointer TcpCarrier::Impl::up_link(const Atom& node) const {
  const std::lock_guard lock(up_mutex_);
  const auto found = up_.find(node);
  return found == up_.end() ? nullptr : found->second;
}

SendOutcome TcpCarrier::Impl::send(const Atom& node, Signal&& signal, const Pid& key) {
  const auto link = up_link(node);
  if (!link) return SendOutcome::refused;
  const distribution::ChannelNodes nodes{Atom(options.name), node, options.creation, link->peer_creation};
  if (const auto allowed = check_outgoing(signal, nodes, link->flags); !allowed) {
    change([&](CarrierView& now) { now.refused.push_back(allowed.error().message()); });
    return SendOutcome::accepted;
  }
  auto message = encode_message(signal, link->flags, key, next_sequence_.fetch_add(1));
  if (message.buffers.size() > 1) change([&](CarrierView& now) { ++now.fragmented; });
  write(link, {message.buffers.begin(), message.buffers.end()});
  const std::lock_guard lock(link->mutex);
  if (link->queued <= busy_bytes) return SendOutcome::accepted;
  link->busy = true;
  return SendOutcome::busy;
}

// The outside.

TcpCarrier::TcpCarrier(CarrierOptions options) : impl_(std::make_shared<Impl>(std::move(options))) { impl_->start(); }
TcpCarrier::~TcpCarrier() { impl_->stop(); }
process::System& TcpCarrier::system() noexcept { return *impl_->system; }
const std::string& TcpCarrier::name() const noexcept { return impl_->options.name; }
std::uint16_t TcpCarrier::port() const noexcept { return impl_->port; }

Result<void> TcpCarrier::connect(const std::string& node, std::chrono::milliseconds limit) {
  return impl_->connect(node, limit);
}
void TcpCarrier::drop(const std::string& node) { impl_->drop(node); }

CarrierView TcpCarrier::view() const {
  const std::lock_guard lock(impl_->view_mutex);
  return impl_->view;
}

bool TcpCarrier::await(const std::function<bool(const CarrierView&)>& wanted, std::chrono::milliseconds limit) {
  std::unique_lock lock(impl_->view_mutex);
  return impl_->changed.wait_for(lock, limit, [&] { return wanted(impl_->view); });
}

}  // namespace barrel_p2p::test
