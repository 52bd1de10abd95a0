#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>

#include "command_line.hpp"
#include "keys_command.hpp"
#include "visitor_arguments.hpp"

namespace barrel_p2p::command {
namespace {

struct KeysOptions {
  KeysCommand command;
  std::string data = "data";
  std::string key_dir;
};

CLI::App& add_operation(CLI::App& keys, int& status, const std::shared_ptr<KeysOptions>& options, const char* name,
                        const char* help, KeysOperation operation) {
  auto* app = keys.add_subcommand(name, help);
  app->callback([options, operation, &status] {
    options->command.operation = operation;
    if (options->key_dir.empty()) {
      options->command.data_dir = options->data;
      options->command.key_dir = options->command.data_dir / "keys";
    } else {
      options->command.key_dir = options->key_dir;
    }
    status = run_keys_command(options->command, std::cout, std::cerr);
  });
  return *app;
}

}  // namespace

void add_keys(CLI::App& app, int& status) {
  auto options = std::make_shared<KeysOptions>();
  auto* keys = app.add_subcommand("keys", "The identity of a node and the keys that it trusts");
  keys->require_subcommand(1);
  keys->fallthrough();
  keys->footer(
      "A key that is unpinned is learned again at the next contact (trust mode tofu), or refused (strict).\n"
      "A node that runs takes what is changed here within auth_key_watch_ms, a second by default.\n"
      "docs/keys.md describes rotation and revocation step by step.");
  add_data_option(*keys, options->data);
  keys->add_option("--key-dir", options->key_dir, "Directory of its keys; DATA/keys by default")->type_name("DIR");
  add_json_option(*keys, options->command.json);
  add_operation(*keys, status, options, "show", "Public key and fingerprint of the node", KeysOperation::show);
  add_operation(*keys, status, options, "new", "Make the key of a node before its first start, and show it",
                KeysOperation::make);
  add_operation(*keys, status, options, "list", "Trusted keys: name, fingerprint, key", KeysOperation::list);
  auto& pin =
      add_operation(*keys, status, options, "pin", "Trust a key for a name, in place of any other", KeysOperation::pin);
  pin.add_option("node", options->command.node, "Name of the node")->required()->type_name("NODE");
  pin.add_option("key", options->command.key, "64 hex digits, or a node.pub file")->required()->type_name("KEY");
  pin.add_flag("--next", options->command.next, "Accept it beside the pinned one, until the node has proven it");
  auto& unpin = add_operation(*keys, status, options, "unpin", "Forget the keys of a name", KeysOperation::unpin);
  unpin.add_option("node", options->command.node, "Name of the node")->required()->type_name("NODE");
  auto& fingerprint =
      add_operation(*keys, status, options, "fingerprint",
                    "SHA-256 of the node's key, or of the given one: what people compare", KeysOperation::fingerprint);
  fingerprint.add_option("key", options->command.key, "64 hex digits, or a node.pub file")->type_name("KEY");
  add_operation(*keys, status, options, "prepare",
                "Make the key that the next rotation brings, to tell peers of it before", KeysOperation::prepare);
  add_operation(*keys, status, options, "rotate", "Replace the key of the node; keeps the earlier one in KEYS/backups",
                KeysOperation::rotate);
  const char* meant = "Name of a node whose key is pinned, 64 hex digits of a key or a fingerprint, or a node.pub file";
  auto& revoke = add_operation(*keys, status, options, "revoke", "Let nobody in with a key any more, under any name",
                               KeysOperation::revoke);
  revoke.add_option("key", options->command.key, meant)->required()->type_name("KEY");
  auto& unrevoke = add_operation(*keys, status, options, "unrevoke", "Take that back", KeysOperation::unrevoke);
  unrevoke.add_option("key", options->command.key, meant)->required()->type_name("KEY");
  add_operation(*keys, status, options, "revoked", "Revoked keys: fingerprint, key", KeysOperation::revoked);
}

}  // namespace barrel_p2p::command
