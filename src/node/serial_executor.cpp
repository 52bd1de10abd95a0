#include "node/serial_executor.hpp"

#include <boost/asio/post.hpp>
#include <utility>

#include "base/this_thread.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {

void SerialExecutor::start() {
  {
    const std::lock_guard turn(turn_);
    runs_ = true;
  }
  keep_.emplace(context_.get_executor());
  thread_ = std::thread([this] {
    name_this_thread("bp2p-cluster");
    prefer_short_turns();
    context_.run();
  });
}

void SerialExecutor::stop() {
  {
    const std::lock_guard turn(turn_);
    runs_ = false;
  }
  keep_.reset();
  context_.stop();
  if (thread_.joinable()) thread_.join();
}

void SerialExecutor::post(Work work) {
  due_.fetch_add(1);
  boost::asio::post(context_, [this, work = std::move(work)] { run_due(work); });
}

void SerialExecutor::Alarm::set(MonotonicTime at) {
  at_ = at;
  timer_.expires_at(at);
  timer_.async_wait([this](auto error) {
    if (error) return;
    executor_.due_.fetch_add(1);
    executor_.run_due([this] {
      if (!at_ || monotonic_now() < *at_) return;
      at_.reset();
      work_();
    });
  });
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
