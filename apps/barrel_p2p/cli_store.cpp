#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>

#include "command_line.hpp"
#include "store_command.hpp"
#include "visitor_arguments.hpp"

namespace barrel_p2p::command {
namespace {

struct StoreOptions {
  StoreCommand command;
  std::string directory;
  std::string file;
};

CLI::App& add_operation(CLI::App& store, int& status, const std::shared_ptr<StoreOptions>& options, const char* name,
                        const char* help, StoreOperation operation) {
  auto* app = store.add_subcommand(name, help);
  app->add_option("dir", options->directory,
                  "Directory with the file store.db; to read, the data directory of a node too")
      ->required()
      ->type_name("DIR");
  app->callback([options, operation, &status] {
    options->command.operation = operation;
    options->command.directory = options->directory;
    std::ifstream input;
    if (operation == StoreOperation::import_records) {
      if (std::filesystem::is_directory(options->file)) {
        options->command.erlang_directory = options->file;
      } else {
        input.open(options->file, std::ios::binary);
      }
    }
    status = run_store_command(options->command, input, std::cout, std::cerr);
  });
  return *app;
}

}  // namespace

void add_store(CLI::App& app, int& status) {
  auto options = std::make_shared<StoreOptions>();
  auto* store = app.add_subcommand("store", "What a node keeps on disk, while the node does not run");
  store->require_subcommand(1);
  store->footer(
      "verify, dump and export change nothing. A damaged store is salvaged by the node that opens it: good records go\n"
      "into a new file, the damaged file is kept aside. An export is the same text with --json.");
  store->fallthrough();
  add_json_option(*store, options->command.json);
  add_operation(*store, status, options, "verify", "Check every record; 0 when all is well, 1 with what is wrong",
                StoreOperation::verify);
  add_operation(*store, status, options, "dump", "All records as Erlang terms, one a line", StoreOperation::dump);
  add_operation(*store, status, options, "export", "All records as text for import, on standard output",
                StoreOperation::export_records);
  auto& import = add_operation(*store, status, options, "import",
                               "Read an export, or the maps of an Erlang node, into a store that holds nothing",
                               StoreOperation::import_records);
  import
      .add_option("file", options->file,
                  "What export wrote, or barrel_p2p_map_data_dir or reminder_data_dir of an Erlang node")
      ->required()
      ->type_name("FILE|DIR")
      ->check(CLI::ExistingPath);
}

}  // namespace barrel_p2p::command
