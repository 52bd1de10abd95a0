#include "cert_command.hpp"

#include <array>
#include <ctime>
#include <filesystem>
#include <optional>
#include <ostream>
#include <string>
#include <utility>

#include "base/clock.hpp"
#include "command_line.hpp"
#include "complaint.hpp"
#include "directories.hpp"
#include "distribution/auth/certificate.hpp"
#include "json.hpp"

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

JsonObject json_of(const Certificate& certificate, const std::optional<std::filesystem::path>& backup = {}) {
  return std::move(JsonObject()
                       .set("fingerprint", distribution::to_hex(certificate.binding))
                       .set("subject", certificate.subject)
                       .set("valid_from", certificate.begins)
                       .set("valid_until", certificate.expires)
                       .set("expired", certificate.expires < wall_now())
                       .set("own", certificate.own)
                       .set("made", certificate.renewed)
                       .set("backup", backup ? Json(backup->string()) : Json()));
}

Result<void> run(const CertCommand& command, std::ostream& output) {
  const std::string directory = absolute_text(command.certificate_dir);
  switch (command.operation) {
    case CertOperation::show: {
      const bool given = !command.certificate.empty();
      const auto shown =
          distribution::load_certificate(given ? command.certificate : command.certificate_dir / "node.crt",
                                         given ? command.key : command.certificate_dir / "node.key");
      if (!shown) return std::unexpected(shown.error());
      if (command.json) {
        output << json_of(*shown).text() << '\n';
      } else {
        print(*shown, output);
      }
      return {};
    }
    case CertOperation::generate: {
      const auto made = distribution::load_or_create_certificate(command.certificate_dir, wall_now());
      if (!made) return std::unexpected(made.error());
      if (made->not_renewed) return std::unexpected(*made->not_renewed);
      if (command.json) {
        output << json_of(*made).set("directory", directory).text() << '\n';
        return {};
      }
      print(*made, output);
      output << "directory   " << directory << '\n';
      if (!made->renewed) output << "It was there before: `cert rotate` replaces it.\n";
      return {};
    }
    case CertOperation::rotate: {
      const auto rotated = distribution::rotate_certificate(command.certificate_dir, wall_now());
      if (!rotated) return std::unexpected(rotated.error());
      if (command.json) {
        output << json_of(rotated->certificate, rotated->backup).set("directory", directory).text() << '\n';
        return {};
      }
      print(rotated->certificate, output);
      output << "directory   " << directory << '\n';
      if (rotated->backup) output << "backup      " << rotated->backup->string() << '\n';
      return {};
    }
  }
  return {};
}

}  // namespace

int run_cert_command(const CertCommand& command, std::ostream& output, std::ostream& errors) {
  const Complaints complaints{errors, "cert", command.json};
  if (command.certificate.empty() != command.key.empty()) {
    return complaints.tell(exit_usage, "--cert and --key belong together: give both or neither");
  }
  const auto done = run(command, output);
  if (done) return exit_ok;
  std::string text = done.error().message();
  if (done.error() == Errc::not_found) {
    text += "; give the --data or --cert-dir of the node; `cert generate` makes a certificate";
  }
  return complaints.tell(exit_failed, text);
}

}  // namespace barrel_p2p::command
