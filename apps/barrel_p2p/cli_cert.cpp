#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>

#include "cert_command.hpp"
#include "command_line.hpp"
#include "visitor_arguments.hpp"

namespace barrel_p2p::command {
namespace {

struct CertOptions {
  std::string data = "data";
  std::string certificate_dir;
  std::string certificate;
  std::string key;
  bool json = false;
};

CLI::App& add_operation(CLI::App& cert, int& status, const std::shared_ptr<CertOptions>& options, const char* name,
                        const char* help, CertOperation operation) {
  auto* app = cert.add_subcommand(name, help);
  app->callback([options, operation, &status] {
    CertCommand command;
    command.operation = operation;
    command.certificate_dir = options->certificate_dir.empty() ? std::filesystem::path(options->data) / "quic"
                                                               : std::filesystem::path(options->certificate_dir);
    command.certificate = options->certificate;
    command.key = options->key;
    command.json = options->json;
    status = run_cert_command(command, std::cout, std::cerr);
  });
  return *app;
}

}  // namespace

void add_cert(CLI::App& app, int& status) {
  auto options = std::make_shared<CertOptions>();
  auto* cert = app.add_subcommand("cert", "The TLS certificate of a node");
  cert->require_subcommand(1);
  cert->fallthrough();
  cert->footer(
      "Peers do not pin certificates: after a rotation nothing is to be done at them. A node that runs takes the new\n"
      "certificate within auth_key_watch_ms, a second by default, for new connections; those that are up go on.");
  add_data_option(*cert, options->data);
  cert->add_option("--cert-dir", options->certificate_dir, "Directory of node.crt and node.key; DATA/quic by default")
      ->type_name("DIR");
  add_json_option(*cert, options->json);
  auto& show = add_operation(*cert, status, options, "show", "Fingerprint, subject, dates; checks that the key fits",
                             CertOperation::show);
  show.add_option("--cert", options->certificate, "A certificate (PEM) that is kept elsewhere (cert_file)")
      ->type_name("FILE");
  show.add_option("--key", options->key, "Its private key (PEM)")->type_name("FILE");
  add_operation(*cert, status, options, "generate", "Make a certificate where there is none", CertOperation::generate);
  add_operation(*cert, status, options, "rotate",
                "Replace a certificate that a node made, with its key; keeps the earlier pair in backups",
                CertOperation::rotate);
}

}  // namespace barrel_p2p::command
