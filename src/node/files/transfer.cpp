#include "node/files/transfer.hpp"

#include <algorithm>
#include <chrono>
#include <utility>
#include <variant>

namespace barrel_p2p {
inline namespace v0 {
namespace files {
namespace {

using namespace std::chrono_literals;

/// For a sender to read why it was refused.
constexpr std::chrono::milliseconds linger = 5s;
/// Written between two looks at how much room is left.
constexpr std::uint64_t room_step_bytes = 16UL * 1024 * 1024;

Refusal against_protocol(std::string text) { return {RefusalCode::malformed, std::move(text)}; }

}  // namespace

void Transfer::run(const OnTaken& taken, const OnRefused& refused) {
  for (;;) {
    auto offer = expect<Offer>();
    const Step<std::string> path = offer ? take(*offer) : std::unexpected(offer.error());
    if (path) {
      taken(*path, offer->size);
      continue;
    }
    if (path.error()) {
      counters_.refused += 1;
      refused(*path.error());
      say_refusal(*path.error());
    } else if (offer) {
      counters_.broken += 1;
    }
    if (!stream_.finish()) stream_.reset();
    return;
  }
}

Transfer::Step<Message> Transfer::next() {
  for (;;) {
    auto message = reader_.read(rest_);
    if (!message) return std::unexpected<Ending>(against_protocol(message.error().context()));
    if (*message) {
      if (std::holds_alternative<Alive>(**message)) continue;
      return std::move(**message);
    }
    auto bytes = stream_.read(config_.idle_timeout);
    if (!bytes && bytes.error() == Errc::timeout) {
      return std::unexpected<Ending>(
          Refusal{RefusalCode::idle, "nothing came for " + std::to_string(config_.idle_timeout.count()) + " ms"});
    }
    if (!bytes || bytes->empty()) return std::unexpected<Ending>(std::nullopt);
    buffer_ = std::move(*bytes);
    rest_ = buffer_;
  }
}

template <class Wanted>
Transfer::Step<Wanted> Transfer::expect() {
  auto message = next();
  if (!message) return std::unexpected(message.error());
  if (auto* wanted = std::get_if<Wanted>(&*message)) return std::move(*wanted);
  return std::unexpected<Ending>(against_protocol("a message that has no place here"));
}

Transfer::Step<void> Transfer::say(const Message& message) {
  const auto written = stream_.write(encode(message), config_.idle_timeout);
  if (written) return {};
  return std::unexpected<Ending>(std::nullopt);
}

void Transfer::say_refusal(const Refusal& refusal) {
  if (!say(refusal) || !stream_.finish()) return;
  const auto end = std::chrono::steady_clock::now() + linger;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left <= 0ms) return;
    const auto bytes = stream_.read(left);
    if (!bytes || bytes->empty()) return;
  }
}

Transfer::Step<std::string> Transfer::take(const Offer& offer) {
  if (offer.size > config_.file_bytes_max) {
    return std::unexpected<Ending>(
        Refusal{RefusalCode::too_large, "a file of " + std::to_string(offer.size) + " bytes is larger than the " +
                                            std::to_string(config_.file_bytes_max) + " that are taken"});
  }
  auto target = directory_.resolve(offer);
  if (!target) return std::unexpected<Ending>(target.error());
  if (offer.kind == Kind::file) return take_file(std::move(*target), offer);
  const auto made = ReceiveDirectory::make_directory(*target, offer);
  if (!made) return std::unexpected<Ending>(made.error());
  if (auto said = say(Done{target->path}); !said) return std::unexpected(said.error());
  return target->path;
}

Transfer::Step<std::string> Transfer::take_file(Target target, const Offer& offer) {
  std::string path = target.path;
  auto file = IncomingFile::open(std::move(target), offer);
  if (!file) return std::unexpected<Ending>(file.error());
  if (file->size() > offer.size) {
    if (auto anew = file->begin_anew(); !anew) return std::unexpected<Ending>(anew.error());
  }
  const std::uint64_t missing = offer.size - file->size();
  const std::uint64_t room = directory_.room(config_.free_bytes_min);
  if (missing > room) {
    return std::unexpected<Ending>(
        Refusal{RefusalCode::no_room, std::to_string(missing) + " bytes are missing and there is room for " +
                                          std::to_string(room) + " (receive.free_bytes_min is left free)"});
  }
  const auto digest = file->hash_what_is_there([&] { return say(Alive{}).has_value(); });
  if (!digest) return std::unexpected<Ending>(digest.error());
  if (auto said = say(Have{file->size(), *digest}); !said) return std::unexpected(said.error());
  if (auto received = receive(*file, offer); !received) return std::unexpected(received.error());
  const auto end = expect<End>();
  if (!end) return std::unexpected(end.error());
  if (auto committed = file->commit(end->digest); !committed) return std::unexpected<Ending>(committed.error());
  counters_.files += 1;
  if (auto said = say(Done{path}); !said) return std::unexpected(said.error());
  return path;
}

Transfer::Step<void> Transfer::receive(IncomingFile& file, const Offer& offer) {
  const auto begin = expect<Begin>();
  if (!begin) return std::unexpected(begin.error());
  if (begin->from != file.size()) {
    if (begin->from != 0) return std::unexpected<Ending>(against_protocol("a begin that is not where the file ends"));
    if (auto anew = file.begin_anew(); !anew) return std::unexpected<Ending>(anew.error());
  }
  std::uint64_t looked = file.size();
  while (file.size() < offer.size) {
    const auto data = expect<Data>();
    if (!data) return std::unexpected(data.error());
    if (data->bytes.size() > offer.size - file.size()) {
      return std::unexpected<Ending>(against_protocol("more data than was offered"));
    }
    if (auto written = file.write(data->bytes); !written) return std::unexpected<Ending>(written.error());
    counters_.bytes += data->bytes.size();
    if (file.size() - looked < room_step_bytes) continue;
    looked = file.size();
    if (directory_.room(config_.free_bytes_min) == 0) {
      return std::unexpected<Ending>(Refusal{RefusalCode::no_room, "receive.free_bytes_min is reached"});
    }
  }
  return {};
}

}  // namespace files
}  // namespace v0
}  // namespace barrel_p2p
