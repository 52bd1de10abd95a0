#include "node/files/receiver.hpp"

#include <algorithm>
#include <exception>
#include <system_error>
#include <utility>

#include "base/printable.hpp"
#include "base/this_thread.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace files {

namespace {

bool holds(const std::filesystem::path& outer, const std::filesystem::path& inner) {
  return std::ranges::mismatch(outer, inner).in1 == outer.end();
}

}  // namespace

Result<void> check_apart(const std::filesystem::path& received, const std::filesystem::path& data,
                         const std::vector<std::filesystem::path>& own) {
  std::error_code error;
  const auto place = std::filesystem::canonical(received, error);
  if (error) return {};  // `FileReceiver::open` tells
  const auto lies_in = [](const std::filesystem::path& inner, const std::filesystem::path& outer) {
    return fail(Errc::invalid_config, "receive.dir: " + inner.string() + " lies in " + outer.string() +
                                          ": who may send files could write there; give received files a directory of "
                                          "their own");
  };
  const auto real = [&](const std::filesystem::path& path) {
    const auto absolute = std::filesystem::absolute(path, error);  // what is not there yet would stay relative
    return error ? absolute : std::filesystem::weakly_canonical(absolute, error);
  };
  const auto whole = real(data);
  if (!data.empty() && !error && holds(place, whole)) return lies_in(whole, place);
  for (const auto& path : own) {
    if (path.empty()) continue;
    const auto kept = real(path);
    if (error) continue;
    if (holds(place, kept)) return lies_in(kept, place);
    if (holds(kept, place)) return lies_in(place, kept);
  }
  return {};
}

Result<std::unique_ptr<FileReceiver>> FileReceiver::open(ReceiveConfig config, Logger logger) {
  auto directory = ReceiveDirectory::open(config.dir);
  if (!directory) return std::unexpected(directory.error());
  return std::unique_ptr<FileReceiver>(new FileReceiver(std::move(config), std::move(*directory), std::move(logger)));
}

Result<void> FileReceiver::start(const Accept& accept) {
  auto acceptor = accept(std::string(copy_tag), [this](Stream stream) { begin(std::move(stream)); });
  if (!acceptor) return std::unexpected(acceptor.error());
  acceptor_ = std::move(*acceptor);
  return {};
}

void FileReceiver::stop() {
  acceptor_.reset();  // from here on `begin` is not called
  std::list<Running> last;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    last.swap(running_);
    // Wakes who waits for the sender.
    for (auto& running : last) running.stream.reset();
  }
  for (auto& running : last) running.thread.join();
}

std::list<FileReceiver::Running> FileReceiver::reap() {
  std::list<Running> ended;
  for (auto at = running_.begin(); at != running_.end();) {
    const auto here = at++;
    if (here->ended) ended.splice(ended.end(), running_, here);
  }
  return ended;
}

void FileReceiver::begin(Stream stream) {
  std::list<Running> ended;
  std::optional<Stream> refused;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    ended = reap();
    if (running_.size() >= config_.transfers_max) {
      refused.emplace(std::move(stream));
    } else {
      Running& running = running_.emplace_back(std::move(stream));
      try {
        running.thread = std::thread([this, &running] {
          name_this_thread("bp2p-receive");
          run(running);
        });
      } catch (const std::system_error&) {
        refused.emplace(std::move(running.stream));  // no thread to be had
        running_.pop_back();
      }
    }
  }
  if (refused) {
    counters_.refused += 1;
    refuse_busy(std::move(*refused));
  }
  // They have done all but return.
  for (auto& done : ended) done.thread.join();
}

void FileReceiver::refuse_busy(Stream stream) {
  const auto held = std::make_shared<Stream>(std::move(stream));
  held->write(encode(Refusal{RefusalCode::busy, "as many transfers as the node allows are under way"}),
              [held](const Result<void>& /*written*/) {
                if (!held->finish()) held->reset();
              });
}

void FileReceiver::run(Running& running) {
  const std::string sender = running.stream.peer().string();
  Transfer transfer(running.stream, config_, directory_, counters_);
  try {
    transfer.run(
        [&](const std::string& path, std::uint64_t bytes) {
          if (log_limit_.pass(monotonic_now()))
            logger_->info("received {} ({} bytes) from {}", without_controls(path), bytes, sender);
        },
        [&](const Refusal& refusal) {
          if (!log_limit_.pass(monotonic_now())) return;
          const bool disk = refusal.code == RefusalCode::io || refusal.code == RefusalCode::no_room;
          logger_->log(disk ? spdlog::level::warn : spdlog::level::info, "refused a file from {}: {}", sender,
                       without_controls(refusal.text));
        });
  } catch (const std::exception& error) {
    logger_->error("a transfer from {} failed: {}", sender, error.what());
  }
  const std::lock_guard lock(mutex_);
  // The peer is told that it is over now, not when the next one comes.
  running.stream = Stream();
  running.ended = true;
}

ReceiveStatistics FileReceiver::statistics() const {
  ReceiveStatistics all;
  all.files = counters_.files;
  all.bytes = counters_.bytes;
  all.refused = counters_.refused;
  all.broken = counters_.broken;
  const std::lock_guard lock(mutex_);
  all.transfers =
      static_cast<std::size_t>(std::ranges::count_if(running_, [](const Running& running) { return !running.ended; }));
  return all;
}

}  // namespace files
}  // namespace v0
}  // namespace barrel_p2p
