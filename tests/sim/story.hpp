// Interaction scripts: what the nodes of a small cluster say to each other, as a story that people read.
//
// tests/interactions/*.txt hold commands, each block followed by a line `----` and by all that
// happened meanwhile, in virtual milliseconds. The network is an even one: 10 ms each way, no losses. A change of
// behaviour is a difference of these files: BARREL_P2P_REWRITE=1 renews them.
//
//   seed N, set KEY VALUE                 before `nodes`
//   hide KIND...                          leaves out what begins with these words, and nothing else; `hide all` all
//   nodes NAME...                         start, and know nobody
//   join NODE CONTACT, leave NODE, broadcast NODE WORD
//   crash NODE, stop NODE, restart NODE, pause NODE, resume NODE
//   slow NODE TIME                        it needs so long for each message
//   cut NAME... | NAME...                 groups that do not reach each other
//   heal
//   run TIME                              `10s`, `500ms`
//   views, trees                          who lists whom; who pushes to whom, and (in brackets) only announces
#pragma once

#include <barrel_p2p/term.hpp>
#include <functional>
#include <istream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sim/simulation.hpp"

namespace barrel_p2p::sim {

/// The words of a command.
using Words = std::vector<std::string>;

SimTime time_of(const std::string& word);
/// Names of nodes without their host, sorted, a space before each.
std::string sorted_list(const std::vector<Atom>& nodes);

/// Plays a script.
class Story {
 public:
  Story();
  virtual ~Story() = default;
  Story(const Story&) = delete;
  Story& operator=(const Story&) = delete;

  /// The script with all that happened in place of all that was expected.
  std::string replay(std::istream& script);

 protected:
  /// `set KEY VALUE`. False: no such key.
  virtual bool configure(const std::string& key, std::uint32_t value);
  /// The simulation exists and has no nodes yet.
  virtual void began() {}

  /// Something that is hidden or shown by its kind.
  void say(const std::string& who, const std::string& kind, const std::string& what);
  void line(const std::string& what);
  /// Whether the last line is of this moment and begins so.
  [[nodiscard]] bool continues(const std::string& what) const;
  /// Adds to the last line, if it is shown.
  void extend(const std::string& what);
  [[nodiscard]] NodeIndex node(const Words& words, std::size_t at) const;
  [[nodiscard]] std::vector<NodeIndex> living() const;
  [[nodiscard]] std::string name_of(NodeIndex node) const;

  std::map<std::string, std::function<void(const Words& words)>, std::less<>> commands_;
  SimulationConfig config_;
  std::unique_ptr<Simulation> simulation_;

 private:
  void add_commands();
  void start(const Words& names);
  void cut(const Words& groups);
  void show_views();
  void show_trees();
  void write(NodeIndex node, const overlay::Effect& effect);
  [[nodiscard]] std::string at_now(const std::string& what) const;

  std::map<std::string, NodeIndex, std::less<>> numbers_;
  Words hidden_;
  bool shown_ = false;  ///< What was said last.
  std::string text_;
  std::string happened_;
};

}  // namespace barrel_p2p::sim
