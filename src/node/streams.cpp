// Streams and their acceptors, as programs have them: three ways to wait for the same things.
#include <barrel_p2p/streams.hpp>
#include <future>
#include <stdexcept>
#include <utility>

#include "base/deadline.hpp"
#include "distribution/streams/user_streams.hpp"
#include "node/answer.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace {

using distribution::StreamCore;
using distribution::StreamShared;
using distribution::TagAcceptor;
using Wait = StreamCore::Wait;
using Waiter = TagAcceptor::Waiter;
using Duration = std::chrono::milliseconds;

/// What is waited for: one attempt, and the way to be woken when another one is worth it. What `await` returns is for
/// `forget`.
template <class T>
struct Waiting {
  std::function<std::optional<Result<T>>()> attempt;
  std::function<Waiter(std::function<void()>)> await;
  std::function<bool(Waiter)> forget;
};

std::unexpected<Error> no_handle() { return fail(Errc::invalid_argument, "the handle is empty"); }
std::unexpected<Error> too_late(Duration limit) {
  return fail(Errc::timeout, "not within " + std::to_string(limit.count()) + " ms");
}

/// The process may end in the middle of it.
template <class T>
class Guard {
 public:
  explicit Guard(const Waiting<T>& waiting) : waiting_(waiting) {}
  ~Guard() { waiting_.forget(waiter); }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

  Waiter waiter = 0;

 private:
  const Waiting<T>& waiting_;
};

template <class T>
Task<Result<T>> wait_in(Process& self, Waiting<T> waiting, std::optional<Duration> limit) {
  std::optional<Result<T>> first = waiting.attempt();
  if (first) co_return std::move(*first);
  Guard<T> guard(waiting);
  const auto since = monotonic_now();
  const Term mark(self.make_ref());
  const Matcher is_mark = [mark](const Term& message) { return message == mark; };
  for (;;) {
    guard.waiter = waiting.await([mark, wake = self.sender()] { wake(mark); });
    std::optional<Duration> left;
    if (limit) {
      const auto passed = std::chrono::duration_cast<Duration>(monotonic_now() - since);
      left = std::max(Duration(0), *limit - passed);
    }
    const MaybeTerm woken = co_await self.receive(is_mark, left);
    // The mark is on its way when the wait is forgotten too late.
    if (!woken && !waiting.forget(guard.waiter)) {
      const MaybeTerm late = co_await self.receive(is_mark);
      (void)late;
    }
    std::optional<Result<T>> got = waiting.attempt();
    if (got) co_return std::move(*got);
    if (!woken) co_return too_late(*limit);
  }
}

template <class T>
Result<T> block_on(const Waiting<T>& waiting, Duration limit) {
  const auto end = deadline_after(limit);
  for (;;) {
    if (auto got = waiting.attempt()) return std::move(*got);
    auto woken = std::make_shared<std::promise<void>>();
    const auto future = woken->get_future();
    const Waiter waiter = waiting.await([woken] { woken->set_value(); });
    if (future.wait_until(end) == std::future_status::ready) continue;
    if (waiting.forget(waiter)) return too_late(limit);
    future.wait();
  }
}

/// Answers on the transport thread; when that is gone, here.
template <class T>
struct Operation : std::enable_shared_from_this<Operation<T>> {
  Operation(Waiting<T> what, std::shared_ptr<StreamShared> way, std::function<void(Result<T>)> done)
      : waiting(std::move(what)), shared(std::move(way)), answer(std::move(done)) {}

  void run() {
    if (auto got = waiting.attempt()) {
      result = std::move(got);
      const bool posted = shared->gate.post([self = this->shared_from_this()] { self->give(); });
      return posted ? void() : give();
    }
    waiting.await([self = this->shared_from_this()] { self->run(); });
  }
  void give() { answer.give(std::move(*result)); }

  const Waiting<T> waiting;
  const std::shared_ptr<StreamShared> shared;
  node::Answer<T> answer;
  std::optional<Result<T>> result;
};

template <class T>
void call_back(Waiting<T> waiting, const std::shared_ptr<StreamShared>& shared, std::function<void(Result<T>)> done) {
  std::make_shared<Operation<T>>(std::move(waiting), shared, std::move(done))->run();
}

template <class T>
Waiting<T> waiting_on(const std::shared_ptr<StreamCore>& core, Wait what,
                      std::function<std::optional<Result<T>>()> attempt) {
  Waiting<T> waiting;
  if (!core) {
    waiting.attempt = [] { return std::optional<Result<T>>(no_handle()); };
    waiting.await = [](const std::function<void()>& wake) {
      wake();
      return Waiter(0);
    };
    waiting.forget = [](Waiter) { return true; };
    return waiting;
  }
  waiting.attempt = std::move(attempt);
  waiting.await = [core, what](std::function<void()> wake) {
    core->await(what, std::move(wake));
    return Waiter(0);  // one of each kind at a time
  };
  waiting.forget = [core, what](Waiter) { return core->forget(what); };
  return waiting;
}

Waiting<Bytes> reading(const std::shared_ptr<StreamCore>& core, std::size_t max) {
  return waiting_on<Bytes>(core, Wait::readable, [core, max] { return core->read(max); });
}

Waiting<void> writing(const std::shared_ptr<StreamCore>& core, Bytes&& bytes) {
  // What is left to write; the bytes themselves are never copied.
  auto rest = std::make_shared<SharedBytes>(std::move(bytes));
  return waiting_on<void>(core, Wait::writable, [core, rest]() -> std::optional<Result<void>> {
    for (;;) {
      const auto taken = core->write(*rest);
      if (!taken) return std::nullopt;
      if (!*taken) return std::unexpected(taken->error());
      *rest = rest->slice(**taken, rest->view.size() - **taken);
      if (rest->view.empty()) return Result<void>();
    }
  });
}

Waiting<void> flushing(const std::shared_ptr<StreamCore>& core) {
  return waiting_on<void>(core, Wait::delivered, [core] { return core->delivered(); });
}

Waiting<Stream> accepting(const std::shared_ptr<TagAcceptor>& acceptor, const std::shared_ptr<StreamShared>& shared) {
  Waiting<Stream> waiting;
  waiting.attempt = [acceptor, shared]() -> std::optional<Result<Stream>> {
    if (!acceptor) return no_handle();
    if (auto core = acceptor->next()) return Stream(std::move(core), shared);
    if (acceptor->closed()) return fail(Errc::closed, "the acceptor is closed");
    return std::nullopt;
  };
  waiting.await = [acceptor](std::function<void()> wake) { return acceptor->await(std::move(wake)); };
  waiting.forget = [acceptor](Waiter waiter) { return acceptor == nullptr || acceptor->forget(waiter); };
  return waiting;
}

}  // namespace

Stream::Stream(std::shared_ptr<StreamCore> core, std::shared_ptr<StreamShared> shared) noexcept
    : core_(std::move(core)), shared_(std::move(shared)) {}

Stream& Stream::operator=(Stream&& other) noexcept {
  if (this == &other) return *this;
  if (const auto core = std::exchange(core_, std::move(other.core_))) core->abandon();
  other.core_ = nullptr;
  shared_ = std::move(other.shared_);
  return *this;
}

Stream::~Stream() {
  if (core_) core_->abandon();
}

NodeName Stream::peer() const { return NodeName(core_->identity().peer.text()); }
const std::string& Stream::tag() const { return core_->identity().tag; }
std::int64_t Stream::id() const { return core_->identity().id; }
bool Stream::opened_here() const { return core_->identity().opened_here; }

Task<Result<Bytes>> Stream::read(Process& self, std::optional<Duration> limit, std::size_t max) {
  return wait_in(self, reading(core_, max), limit);
}
Result<Bytes> Stream::read(Duration limit, std::size_t max) { return block_on(reading(core_, max), limit); }
void Stream::read(std::function<void(Result<Bytes>)> done, std::size_t max) {
  if (!core_) return done(no_handle());
  call_back(reading(core_, max), shared_, std::move(done));
}

Task<Result<void>> Stream::write(Process& self, Bytes bytes, std::optional<Duration> limit) {
  return wait_in(self, writing(core_, std::move(bytes)), limit);
}
Result<void> Stream::write(Bytes bytes, Duration limit) { return block_on(writing(core_, std::move(bytes)), limit); }
void Stream::write(Bytes bytes, std::function<void(Result<void>)> done) {
  if (!core_) return done(no_handle());
  call_back(writing(core_, std::move(bytes)), shared_, std::move(done));
}

Task<Result<void>> Stream::flush(Process& self, std::optional<Duration> limit) {
  return wait_in(self, flushing(core_), limit);
}
Result<void> Stream::flush(Duration limit) { return block_on(flushing(core_), limit); }
void Stream::flush(std::function<void(Result<void>)> done) {
  if (!core_) return done(no_handle());
  call_back(flushing(core_), shared_, std::move(done));
}

Result<void> Stream::finish() { return core_ ? core_->finish() : no_handle(); }
void Stream::reset(std::uint64_t code) {
  constexpr std::uint64_t most = (std::uint64_t{1} << 62U) - 1;  // what a varint of QUIC can be, RFC 9000, section 16
  if (code > most) throw std::invalid_argument("the code of a reset must be below 2^62");
  if (core_) core_->reset(code);
}
std::optional<std::uint64_t> Stream::reset_code() const { return core_ ? core_->reset_code() : std::nullopt; }
std::size_t Stream::unread_bytes() const { return core_ ? core_->unread_bytes() : 0; }
std::size_t Stream::unsent_bytes() const { return core_ ? core_->unsent_bytes() : 0; }

// Acceptors.

StreamAcceptor::StreamAcceptor(std::string tag, std::shared_ptr<TagAcceptor> acceptor,
                               std::shared_ptr<StreamShared> shared) noexcept
    : tag_(std::move(tag)), acceptor_(std::move(acceptor)), shared_(std::move(shared)) {}

StreamAcceptor& StreamAcceptor::operator=(StreamAcceptor&& other) noexcept {
  if (this == &other) return *this;
  close();
  tag_ = std::move(other.tag_);
  acceptor_ = std::exchange(other.acceptor_, nullptr);
  shared_ = std::move(other.shared_);
  return *this;
}

StreamAcceptor::~StreamAcceptor() { close(); }

Task<Result<Stream>> StreamAcceptor::next(Process& self, std::optional<Duration> limit) {
  return wait_in(self, accepting(acceptor_, shared_), limit);
}
Result<Stream> StreamAcceptor::next(Duration limit) { return block_on(accepting(acceptor_, shared_), limit); }
void StreamAcceptor::next(std::function<void(Result<Stream>)> done) {
  if (!acceptor_) return done(no_handle());
  call_back(accepting(acceptor_, shared_), shared_, std::move(done));
}

void StreamAcceptor::close() {
  if (const auto acceptor = std::exchange(acceptor_, nullptr)) shared_->acceptors.remove(tag_, acceptor);
}

}  // namespace v0
}  // namespace barrel_p2p
