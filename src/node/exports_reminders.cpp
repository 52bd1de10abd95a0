#include <barrel_p2p/await.hpp>
#include <functional>
#include <utility>

#include "node/exported.hpp"
#include "node/exports.hpp"

namespace barrel_p2p {
inline namespace v0 {
namespace node {
namespace {

using Start = std::function<void(ServicesRunner::Done done)>;

/// Answers `ok` or `{error, Reason}` when it is durable.
process::ExportedFunction durable(std::size_t arity, std::function<Result<Start>(const Arguments&)> prepare) {
  return [arity, prepare = std::move(prepare)](Process& self, Arguments arguments) -> Task<Result<Term>> {
    if (arguments.size() != arity) co_return fail(Errc::undefined_function);
    const auto start = prepare(arguments);
    if (!start) co_return std::unexpected(start.error());
    const Result<void> result = co_await awaited<void>(self, *start);
    co_return answer_term(result);
  };
}

std::unexpected<Error> no_time() {
  return fail(Errc::invalid_argument, "times are integers, milliseconds, of up to 64 bits");
}

}  // namespace

void export_reminders(process::System& system, ServicesRunner& services) {
  const Atom facade("barrel_p2p");
  const auto add = [&](const char* function, process::ExportedFunction body) {
    system.export_function(facade, Atom(function), std::move(body));
  };
  add("remind", durable(3, [&services](const Arguments& arguments) -> Result<Start> {
        const auto due = arguments[1].as_int64();
        if (!due) return no_time();
        return [&services, arguments, due = *due](ServicesRunner::Done done) {
          services.remind(arguments[0], due, arguments[2], std::move(done));
        };
      }));
  add("remind_after", durable(3, [&services](const Arguments& arguments) -> Result<Start> {
        const auto delay = arguments[1].as_int64();
        if (!delay) return no_time();
        return [&services, arguments, delay = Milliseconds(*delay)](ServicesRunner::Done done) {
          services.remind_after(arguments[0], delay, arguments[2], std::move(done));
        };
      }));
  add("cancel_reminder", durable(1, [&services](const Arguments& arguments) -> Result<Start> {
        return [&services, arguments](ServicesRunner::Done done) {
          services.cancel_reminder(arguments[0], std::move(done));
        };
      }));
  add("subscribe_reminders",
      exported_for_pid([&services](const Pid& pid) { return services.subscribe_reminders_for_peer(pid); }));
  add("unsubscribe_reminders", exported_for_pid([&services](const Pid& pid) -> Result<void> {
        services.unsubscribe_reminders(pid);
        return {};
      }));
}

}  // namespace node
}  // namespace v0
}  // namespace barrel_p2p
