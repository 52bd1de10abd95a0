// `barrel_p2p store`: what a node keeps on disk, while no node uses it. All but `import` only read.
//
// An export is text. Each line is one record, in hex of the external term format, so that it comes back exactly:
//
//   barrel_p2p store export 1
//   record KEY ENTRY COLLECTION         COLLECTION to the end of the line
//   value VALUE NAME
//   end COUNT CHECKSUM                  of the lines between the first and this one
#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>

namespace barrel_p2p::command {

enum class StoreOperation : std::uint8_t {
  verify,  ///< Says what is there; fails when something is damaged, and says what.
  dump,    ///< {record, Collection, Key, Entry}. and {value, Name, Value}. as Erlang text, one a line.
  export_records,
  import_records,  ///< Into a store that is empty or not there.
};

struct StoreCommand {
  StoreOperation operation = StoreOperation::verify;
  std::filesystem::path directory;           ///< Of the store; to read, a data directory with a store in it too.
  std::filesystem::path erlang_directory{};  ///< Import from the maps of an Erlang node instead of an export.
  bool json = false;                         ///< Of verify, dump (one object a line) and import.
};

/// `input`: what is imported. It is read twice, so it must be a file. Returns exit_ok or exit_failed.
int run_store_command(const StoreCommand& command, std::istream& input, std::ostream& output, std::ostream& errors);

}  // namespace barrel_p2p::command
