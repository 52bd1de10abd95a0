#include "distribution/auth/pin_writer.hpp"

#include <utility>

#include "base/this_thread.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace distribution {

PinWriter::PinWriter()
    : thread_([this] {
        name_this_thread("bp2p-pins");
        run();
      }) {}

PinWriter::~PinWriter() {
  stop();
  thread_.join();
}

void PinWriter::commit(PinReservation pin, Done done) {
  const std::lock_guard lock(mutex_);
  if (stopped_) return;
  jobs_.push_back({std::move(pin), std::move(done)});
  changed_.notify_one();
}

void PinWriter::stop() {
  std::deque<Job> dropped;  // outside of the lock: what it goes with may be the last of a store
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  dropped.swap(jobs_);
  changed_.notify_one();
}

void PinWriter::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopped_ || !jobs_.empty(); });
    if (stopped_) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job.done(job.pin.commit());
    lock.lock();
  }
}

}  // namespace distribution
}  // namespace v0
}  // namespace barrel_p2p
