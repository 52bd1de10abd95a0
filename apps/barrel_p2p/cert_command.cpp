#include "cert_command.hpp"

#include <array>
#include <ctime>
#include <ostream>
#include <string>

#include "base/clock.hpp"
#include "command_line.hpp"
#include "distribution/auth/certificate.hpp"

namespace barrel_p2p::command {
namespace {

using distribution::Certificate;

std::string day_and_time(WallMilliseconds time) {
  const auto seconds = static_cast<std::time_t>(time / 1000);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

void print(const Certificate& certificate, std::ostream& output) {
  output << "fingerprint " << distribution::to_hex(certificate.binding) << '\n'
         << "subject     " << certificate.subject << '\n'
         << "valid from  " << day_and_time(certificate.begins) << '\n'
         << "valid until " << day_and_time(certificate.expires)
         << (certificate.expires < wall_now() ? ", expired: peers do not mind, but replace it\n" : "\n")
         << "made by     "
         << (certificate.own ? "a node, which makes it anew in time\n" : "an operator, who replaces it\n");
}

Result<void> run(const CertCommand& command, std::ostream& output) {
  switch (command.operation) {
    case CertOperation::show: {
      const bool given = !command.certificate.empty();
      const auto shown =
          distribution::load_certificate(given ? command.certificate : command.certificate_dir / "node.crt",
                                         given ? command.key : command.certificate_dir / "node.key");
      if (!shown) return std::unexpected(shown.error());
      print(*shown, output);
      return {};
    }
    case CertOperation::generate: {
      const auto made = distribution::load_or_create_certificate(command.certificate_dir, wall_now());
      if (!made) return std::unexpected(made.error());
      print(*made, output);
      if (!made->renewed) output << "It was there before: `cert rotate` replaces it.\n";
      return {};
    }
    case CertOperation::rotate: {
      const auto rotated = distribution::rotate_certificate(command.certificate_dir, wall_now());
      if (!rotated) return std::unexpected(rotated.error());
      print(rotated->certificate, output);
      if (rotated->backup) output << "backup      " << rotated->backup->string() << '\n';
      return {};
    }
  }
  return {};
}

}  // namespace

int run_cert_command(const CertCommand& command, std::ostream& output, std::ostream& errors) {
  if (command.certificate.empty() != command.key.empty()) {
    errors << "barrel_p2p cert: --cert and --key belong together: give both or neither\n";
    return exit_usage;
  }
  const auto done = run(command, output);
  if (done) return exit_ok;
  errors << "barrel_p2p cert: " << done.error().message() << '\n';
  if (done.error() == Errc::not_found) {
    errors << "barrel_p2p cert: give the --data or --cert-dir of the node; `cert generate` makes a certificate\n";
  }
  return exit_failed;
}

}  // namespace barrel_p2p::command
