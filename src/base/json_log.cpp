#include "base/json_log.hpp"

#include <spdlog/fmt/chrono.h>
#include <spdlog/formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <chrono>
#include <memory>
#include <string_view>

#include "base/json_writer.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace {

class JsonFormatter : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const auto since = message.time.time_since_epoch();
    const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
    const auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(since - seconds);
    const auto text_of = [](spdlog::string_view_t part) { return std::string_view(part.data(), part.size()); };
    JsonWriter json;
    json.object([&] {
      json.member("time", fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(seconds.count()), rest.count()));
      json.member("level", text_of(spdlog::level::to_string_view(message.level)));
      json.member("node", text_of(message.logger_name)).member("text", text_of(message.payload));
    });
    const std::string line = json.text() + "\n";
    out.append(line.data(), line.data() + line.size());
  }
  [[nodiscard]] std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonFormatter>(); }
};

}  // namespace

Logger make_json_logger(const std::string& name) {
  auto logger = std::make_shared<spdlog::logger>(name, std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_formatter(std::make_unique<JsonFormatter>());
  return logger;
}

}  // namespace v0
}  // namespace barrel_p2p
