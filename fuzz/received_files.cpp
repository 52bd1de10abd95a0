// A sender of files that says anything, towards the directory of a receiver in which there are files, directories and
// links already: no crash; nothing is made, changed or left outside of the directory, and a file that got its name has
// the bytes that its hash was of.
//
//   input: steps of kind(1) and what the kind takes
//   kind:  0 bytes of the protocol, length(2) before them
//          1 an offer: flags(1) size(1) mode(1) path(1), a path from the list here, or behind it one of length(2)
//          2 data of length(1)     3 the end with the right hash     4 the end with another one
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "input.hpp"
#include "node/files/incoming_file.hpp"
#include "node/files/messages.hpp"
#include "scratch.hpp"

namespace {

using namespace barrel_p2p;
using namespace barrel_p2p::files;
using namespace barrel_p2p::fuzz;
namespace fs = std::filesystem;

constexpr std::array<std::string_view, 8> paths{"", "file", "new", "inner/new", "link", "out", "out/new", "inner"};

/// SCRATCH/in is what files are received in; SCRATCH/outside is none of their business, and `in/out` leads there.
void make_directories(const Scratch& scratch) {
  scratch.empty();
  scratch.write("outside/file", as_bytes("theirs"));
  scratch.write("in/file", as_bytes("old"));
  scratch.write("in/inner/file", as_bytes("old"));
  fs::create_symlink("../outside", scratch.path() / "in/out");
  fs::create_symlink("../outside/file", scratch.path() / "in/link");
}

void check_outside(const Scratch& scratch) {
  require(scratch.read("outside/file") == Bytes({'t', 'h', 'e', 'i', 'r', 's'}));
  for (const auto* directory : {"outside", "."}) {
    const auto files = fs::directory_iterator(scratch.path() / directory);
    require(std::distance(begin(files), end(files)) == (directory[0] == 'o' ? 1 : 2));
  }
}

class Receiver {
 public:
  explicit Receiver(const Scratch& scratch) : directory_(*ReceiveDirectory::open(scratch.path() / "in")) {}

  void step(Input& input) {
    switch (input.byte() % 5U) {
      case 0: return read(input.piece());
      case 1: return offer(input);
      case 2: return data(input.take(input.byte()));
      case 3: return end(hash());
      default: return end({});
    }
  }

 private:
  void read(ByteView bytes) {
    MessageReader reader;
    for (;;) {
      const auto message = reader.read(bytes);
      if (!message || !*message) return;
      if (const auto* offer = std::get_if<Offer>(&**message)) take(*offer);
      if (const auto* piece = std::get_if<Data>(&**message)) data(piece->bytes);
      if (const auto* last = std::get_if<End>(&**message)) end(last->digest);
    }
  }
  void offer(Input& input) {
    Offer offer;
    const auto flags = input.byte();
    offer.kind = (flags & 128U) != 0 ? Kind::directory : Kind::file;
    offer.flags = flags & flags_known;
    offer.size = input.byte();
    offer.mode = input.byte();
    const std::size_t path = input.byte();
    offer.path = path < paths.size() ? std::string(paths[path]) : input.text();
    offer.name = "name";
    // What cannot be said is not offered.
    if (offer.path.size() > body_bytes_max / 2) return;
    const Bytes bytes = encode(offer);
    ByteView encoded = bytes;
    MessageReader reader;
    const auto again = reader.read(encoded);
    if (again && *again && std::holds_alternative<Offer>(**again)) take(std::get<Offer>(**again));
  }
  void take(const Offer& offer) {
    file_.reset();
    auto target = directory_.resolve(offer);
    if (!target) return require(!target.error().text.empty());
    if (offer.kind == Kind::directory) return (void)ReceiveDirectory::make_directory(*target, offer);
    auto opened = IncomingFile::open(std::move(*target), offer);
    if (!opened) return require(!opened.error().text.empty());
    content_.clear();
    (void)directory_.room(0);
    if (opened->size() > 0 && !opened->hash_what_is_there([] { return true; })) return;
    if (opened->size() > 0 && !opened->begin_anew()) return;
    file_.emplace(std::move(*opened));
  }
  void data(ByteView bytes) {
    if (!file_) return;
    if (!file_->write(bytes)) return file_.reset();
    content_.insert(content_.end(), bytes.begin(), bytes.end());
    require(file_->size() == content_.size());
  }
  [[nodiscard]] Sha256Digest hash() const {
    Sha256 hash;
    hash.add(content_);
    return hash.digest();
  }
  void end(const Sha256Digest& digest) {
    if (!file_) return;
    const auto committed = file_->commit(digest);
    require(!committed || digest == hash());
    file_.reset();
  }

  ReceiveDirectory directory_;
  std::optional<IncomingFile> file_;
  Bytes content_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Scratch scratch("received");
  make_directories(scratch);
  Input input(data, size);
  {
    Receiver receiver(scratch);
    constexpr int steps_max = 32;
    for (int step = 0; step < steps_max && !input.empty(); ++step) receiver.step(input);
  }
  check_outside(scratch);
  return 0;
}
