#include "cp_sender.hpp"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>
#include <variant>

namespace barrel_p2p::command {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using files::Message;
using FailureKind = CopyFailure::Kind;

constexpr std::size_t piece_bytes = 256UL * 1024;
constexpr std::size_t piece_bytes_min = 1024;
/// Sent in one second when the rate is limited: so that the rate is even.
constexpr std::uint64_t pieces_per_second = 10;
/// Bytes that are hashed between two words that we are busy.
constexpr std::uint64_t alive_step_bytes = 32UL * 1024 * 1024;
constexpr auto tick = 200ms;
/// Neither did the node take anything nor say anything, though its connection lives: a disk may stand still for a
/// while.
constexpr auto stall_limit = 60s;
/// For the word of a node that does not read any more.
constexpr auto last_word_limit = 2s;
/// The receiver says at most three things of a file, and a refusal.
constexpr std::size_t answers_max = 8;

std::unexpected<CopyFailure> failed(FailureKind kind, std::string text) {
  return std::unexpected(CopyFailure{kind, std::move(text)});
}

FailureKind kind_of(files::RefusalCode code) {
  switch (code) {
    case files::RefusalCode::busy:
    case files::RefusalCode::idle: return FailureKind::again;
    case files::RefusalCode::path:
    case files::RefusalCode::exists:
    case files::RefusalCode::too_large:
    case files::RefusalCode::mismatch: return FailureKind::file;
    case files::RefusalCode::malformed:
    case files::RefusalCode::no_room:
    case files::RefusalCode::io: return FailureKind::node;
  }
  return FailureKind::node;
}

}  // namespace

/// What the network thread and we have in common.
class CopySender::Line : public std::enable_shared_from_this<CopySender::Line> {
 public:
  explicit Line(Stream stream) : stream_(std::move(stream)) {}

  void start() {
    stream_.read([self = shared_from_this()](Result<Bytes> bytes) { self->take(std::move(bytes)); });
  }
  /// The callbacks that wait have an end.
  void close() { stream_.reset(); }

  /// Writes, waiting for room; `on_tick` is called while it waits. Fails as soon as the node says no.
  CopyOutcome<void> write(Bytes bytes, const std::function<void()>& on_tick = {}) {
    {
      const std::lock_guard lock(mutex_);
      writing_ = true;
    }
    stream_.write(std::move(bytes), [self = shared_from_this()](const Result<void>& written) {
      const std::lock_guard lock(self->mutex_);
      self->writing_ = false;
      if (!written && !self->write_error_) self->write_error_ = written.error();
      self->changed_.notify_all();
    });
    std::unique_lock lock(mutex_);
    auto waited = wait(lock, [this] { return !writing_; }, on_tick);
    if (!waited) return waited;
    if (!write_error_) return {};
    // A node that refuses stops reading: its word may be behind.
    (void)changed_.wait_for(lock, last_word_limit, [this] { return over_.has_value() || !answers_.empty(); });
    if (auto refused = refusal()) return std::unexpected(std::move(*refused));
    return over(over_.value_or(*write_error_));
  }

  template <class Wanted>
  CopyOutcome<Wanted> await(const std::function<void()>& on_tick = {}) {
    std::unique_lock lock(mutex_);
    auto waited = wait(lock, [this] { return !answers_.empty(); }, on_tick);
    if (!waited) return std::unexpected(std::move(waited.error()));
    Message answer = std::move(answers_.front());
    answers_.pop_front();
    if (auto* wanted = std::get_if<Wanted>(&answer)) return std::move(*wanted);
    return failed(FailureKind::node, "the node answers what it was not asked");
  }

  /// Lets time pass.
  CopyOutcome<void> rest_until(Clock::time_point end, const std::function<void()>& on_tick) {
    std::unique_lock lock(mutex_);
    return wait(lock, [end] { return Clock::now() >= end; }, on_tick, end);
  }
  [[nodiscard]] std::uint64_t unsent_bytes() const { return stream_.unsent_bytes(); }

 private:
  /// Until `done`, a refusal, the end of the stream, or a standstill.
  template <class Condition>
  CopyOutcome<void> wait(std::unique_lock<std::mutex>& lock, Condition done, const std::function<void()>& on_tick,
                         std::optional<Clock::time_point> end = std::nullopt) {
    auto moved_at = Clock::now();
    auto last = std::pair(heard_, stream_.unsent_bytes());
    for (;;) {
      if (auto refused = refusal()) return std::unexpected(std::move(*refused));
      if (done()) return {};
      if (over_) return over(*over_);
      const auto now = Clock::now();
      if (const auto current = std::pair(heard_, stream_.unsent_bytes()); current != last || end) {
        last = current;
        moved_at = now;
      }
      if (now - moved_at > stall_limit) return failed(FailureKind::again, "the node stands still");
      changed_.wait_until(lock, end ? std::min(*end, now + tick) : now + tick);
      if (!on_tick) continue;
      lock.unlock();
      on_tick();
      lock.lock();
    }
  }

  [[nodiscard]] std::optional<CopyFailure> refusal() const {
    if (answers_.empty()) return std::nullopt;
    const auto* refused = std::get_if<files::Refusal>(&answers_.front());
    if (refused == nullptr) return std::nullopt;
    return CopyFailure{kind_of(refused->code), "refused by the node: " + refused->text};
  }

  static std::unexpected<CopyFailure> over(const Error& error) {
    if (error == Errc::connection_refused) {
      return failed(FailureKind::node,
                    "the node takes no files: it has no receive.dir (barrel_p2p node --receive-dir DIR)");
    }
    if (error == Errc::invalid_argument)
      return failed(FailureKind::node, "no answer that we understand: " + error.context());
    return failed(FailureKind::again, "the connection was lost");
  }

  void take(Result<Bytes> bytes) {
    {
      const std::lock_guard lock(mutex_);
      if (!bytes) {
        over_ = bytes.error();
      } else if (bytes->empty()) {
        over_ = Error(Errc::closed);
      } else {
        read_messages(*bytes);
      }
      changed_.notify_all();
      if (over_) return;
    }
    start();
  }

  void read_messages(ByteView bytes) {
    heard_ += bytes.size();
    for (;;) {
      auto message = reader_.read(bytes);
      if (!message) {
        over_ = message.error();
        return;
      }
      if (!*message) return;
      if (std::holds_alternative<files::Alive>(**message)) continue;
      if (std::holds_alternative<files::Data>(**message) || answers_.size() == answers_max) {
        over_ = Error(Errc::invalid_argument, "more than an answer");
        return;
      }
      answers_.push_back(std::move(**message));
    }
  }

  Stream stream_;
  std::mutex mutex_;
  std::condition_variable changed_;
  files::MessageReader reader_;
  std::deque<Message> answers_;
  std::optional<Error> over_;  ///< Nothing more will be read.
  std::optional<Error> write_error_;
  bool writing_ = false;
  std::uint64_t heard_ = 0;
};

CopySender::CopySender(std::shared_ptr<Line> line, std::uint64_t bytes_per_second) noexcept
    : line_(std::move(line)), bytes_per_second_(bytes_per_second) {}

CopySender::~CopySender() {
  if (line_) line_->close();
}

CopyOutcome<CopySender> CopySender::open(Node& node, const NodeName& target, std::chrono::milliseconds limit,
                                         std::uint64_t bytes_per_second) {
  auto stream = node.open_stream(target, std::string(files::copy_tag), limit);
  if (!stream) {
    if (stream.error() == Errc::connection_refused) return failed(FailureKind::node, "the node takes no files");
    return failed(FailureKind::again, stream.error().message());
  }
  auto line = std::make_shared<Line>(std::move(*stream));
  line->start();
  return CopySender(std::move(line), bytes_per_second);
}

CopyOutcome<std::string> CopySender::make_directory(const files::Offer& offer) {
  if (auto written = line_->write(encode(offer)); !written) return std::unexpected(std::move(written.error()));
  auto done = line_->await<files::Done>();
  if (!done) return std::unexpected(std::move(done.error()));
  return std::move(done->path);
}

CopyOutcome<files::Sha256> CopySender::hash_beginning(const CopySource& source, std::uint64_t bytes) {
  files::Sha256 hash;
  Bytes block(piece_bytes);
  std::uint64_t since_word = 0;
  for (std::uint64_t at = 0; at < bytes;) {
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(block.size(), bytes - at));
    const auto part = std::span(block).first(size);
    if (auto read = source.read(at, part); !read) return failed(FailureKind::file, std::move(read.error()));
    hash.add(part);
    at += size;
    since_word += size;
    if (since_word < alive_step_bytes) continue;
    since_word = 0;
    if (auto said = line_->write(encode(files::Alive{})); !said) return std::unexpected(std::move(said.error()));
  }
  return hash;
}

CopyOutcome<Copied> CopySender::send_file(const CopySource& source, files::Offer offer, const CopyWatcher& watcher) {
  source.describe(offer);
  if (auto written = line_->write(encode(offer)); !written) return std::unexpected(std::move(written.error()));
  const auto have = line_->await<files::Have>();
  if (!have) return std::unexpected(have.error());
  if (have->bytes > source.size()) return failed(FailureKind::node, "the node has more than there is");
  auto hash = hash_beginning(source, have->bytes);
  if (!hash) return std::unexpected(std::move(hash.error()));
  Copied copied;
  if (hash->digest() == have->digest) {
    copied.from = have->bytes;
  } else {
    hash = files::Sha256();
  }
  if (auto begun = line_->write(encode(files::Begin{copied.from})); !begun) {
    return std::unexpected(std::move(begun.error()));
  }
  watcher.begin(copied.from);
  if (auto sent = send_data(source, copied.from, *hash, watcher); !sent)
    return std::unexpected(std::move(sent.error()));
  copied.digest = hash->digest();
  const auto show = [&] {
    watcher.progress(source.size() - std::min(source.size() - copied.from, line_->unsent_bytes()));
  };
  if (auto ended = line_->write(encode(files::End{copied.digest}), show); !ended) {
    return std::unexpected(std::move(ended.error()));
  }
  auto done = line_->await<files::Done>(show);
  if (!done) return std::unexpected(std::move(done.error()));
  copied.path = std::move(done->path);
  return copied;
}

CopyOutcome<void> CopySender::send_data(const CopySource& source, std::uint64_t from, files::Sha256& hash,
                                        const CopyWatcher& watcher) {
  const std::uint64_t limited =
      std::clamp<std::uint64_t>(bytes_per_second_ / pieces_per_second, piece_bytes_min, piece_bytes);
  const std::uint64_t piece_max = bytes_per_second_ == 0 ? piece_bytes : limited;
  const auto since = Clock::now();
  std::uint64_t at = from;
  const auto show = [&] { watcher.progress(at - std::min(at - from, line_->unsent_bytes())); };
  while (at < source.size()) {
    const auto size = static_cast<std::size_t>(std::min(piece_max, source.size() - at));
    Bytes message(files::header_bytes + size);
    const std::span<std::uint8_t> whole(message);
    files::put_data_header(size, whole.first<files::header_bytes>());
    const auto data = whole.subspan(files::header_bytes);
    if (auto read = source.read(at, data); !read) return failed(FailureKind::file, std::move(read.error()));
    hash.add(data);
    if (auto written = line_->write(std::move(message), show); !written) return written;
    at += size;
    show();
    if (bytes_per_second_ == 0) continue;
    const std::chrono::duration<double> due(static_cast<double>(at - from) / static_cast<double>(bytes_per_second_));
    auto rested = line_->rest_until(since + std::chrono::duration_cast<Clock::duration>(due), show);
    if (!rested) return rested;
  }
  // What was read a while ago may have changed since.
  if (auto unchanged = source.check_unchanged(); !unchanged)
    return failed(FailureKind::file, std::move(unchanged.error()));
  return {};
}

}  // namespace barrel_p2p::command
