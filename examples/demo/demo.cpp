// Three nodes as separate operating system processes: what a cluster is like, told as a story.
//
// The narrator starts alice, bob and carol (this program, with a role), gives them cues through their standard input
// and prints what they say. One is killed and one is frozen; the others say what they noticed. Any step that does not
// happen within its time ends the demo with status 1.
#include <chrono>
#include <csignal>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "nodes.hpp"
#include "stage.hpp"

namespace demo {
namespace {

using namespace std::chrono_literals;

/// The story, act by act.
class Narration {
 public:
  void perform() {
    std::cout << "Three nodes of one cluster, three processes of this machine. Times are in seconds.\n";
    meet();
    talk();
    share();
    coordinate();
    lose_bob();
    bring_bob_back();
    freeze_carol();
    part();
    std::cout << "\nThat was all.\n";
  }

 private:
  void meet() {
    story_.tell("Each makes its own Ed25519 key and takes any UDP port; they find each other through a directory.");
    alice_ = &story_.enter("alice");
    bob_ = &story_.enter("bob");
    carol_ = &story_.enter("carol");

    story_.tell(
        "bob and carol know one contact, alice, and join through her; she sends carol's name on a walk, to bob.");
    alice_->cue("join bob@127.0.0.1");
    story_.await(*alice_, "my neighbours");
    alice_->cue("join carol@127.0.0.1");
    story_.await(*alice_, "my neighbours");
    carol_->cue("join bob@127.0.0.1");
    story_.await(*carol_, "my neighbours");

    story_.tell("What one says all hear, over a tree that spans the neighbours.");
    carol_->cue("tell lunch is ready");
    for (Actor* actor : {alice_, bob_, carol_}) story_.await(*actor, "lunch is ready");
  }

  void talk() {
    story_.tell("When they connected, each side proved its key; the first key of a name is pinned.");
    carol_->cue("watch");
    story_.await(*carol_, "watching");
    alice_->cue("keys");
    story_.await(*alice_, "I know bob");
    story_.await(*alice_, "I know carol");

    story_.tell("An impostor has the cookie and says it is bob, but it has another key.");
    Actor& impostor = story_.enter("bob-impostor");
    impostor.cue("connect alice@127.0.0.1");
    story_.await(impostor, "cannot connect to alice", 15s);
    story_.leave(impostor);

    story_.tell(
        "bob has registered a service, a till. alice finds it by its name and gives it work; processes talk by pid,\n"
        "by name, by call. Links and monitors tell of ends.");
    alice_->cue("tour");
    story_.await(*alice_, "watch nodes come and go");
  }

  void share() {
    story_.tell("They share a map of prices. bob keeps it on disk too: his put returns after the fsync.");
    bob_->cue("price bread 3");
    story_.await(*bob_, "I have written the price of bread");
    story_.await(*alice_, "bread costs 3");
    story_.await(*carol_, "bread costs 3");
    carol_->cue("price milk 1");
    story_.await(*alice_, "milk costs 1");
    story_.await(*bob_, "milk costs 1");
  }

  void coordinate() {
    story_.tell(
        "One of them keeps the books: they elect the one of the highest priority, bob. His fence is a token that what\n"
        "he writes to can compare.");
    bob_->cue("campaign 1");
    fence_ = fence_of(story_.await(*bob_, "I keep the books"));
    for (Actor* actor : {alice_, carol_}) {
      actor->cue("follow bob@127.0.0.1");
      story_.await(*actor, "bob@127.0.0.1 keeps the books");
    }

    story_.tell("Keys fall into partitions, and each of these has one owner, whom all nodes compute alike.");
    show_shards({alice_, bob_, carol_});

    story_.tell("A reminder is on all nodes and on their disks. The owner of its key tells it.");
    alice_->cue("remind bob@127.0.0.1");
    story_.await(*alice_, "its owner is bob");
  }

  void lose_bob() {
    story_.tell("bob is killed with SIGKILL: no goodbye, no last packet.");
    bob_->signal(SIGKILL);
    const auto killed = Clock::now();
    story_.remove(*bob_);
    story_.await(*alice_, "my link to bob's server broke: noconnection");
    story_.await(*alice_, "my monitor of it says: noconnection");
    story_.await(*alice_, "node 'bob@127.0.0.1' is down");
    story_.remark("alice noticed after " + milliseconds(Clock::now() - killed));
    story_.await(*carol_, "node 'bob@127.0.0.1' is down");
    alice_->cue("part bob@127.0.0.1");
    story_.await(*alice_, "my neighbours: carol;");

    story_.tell(
        "His lease ends, and with it all that was his: the others elect, take over his partitions and reminders.");
    const auto lines = story_.await_all(*alice_, {"I keep the books", "the service till is gone"}, 15s);
    const std::string fence = fence_of(lines.front());
    story_.remark("alice followed bob after " + milliseconds(Clock::now() - killed));
    if (!is_greater(fence, fence_)) throw std::runtime_error("the fence is not greater than bob's");
    fence_ = fence;
    story_.await(*carol_, "it is time: send invoice", 15s);
    show_shards({alice_, carol_});
  }

  void bring_bob_back() {
    story_.tell("While bob is away bread becomes dearer. He comes back with the map from his disk, and hears of it.");
    alice_->cue("price bread 4");
    story_.await(*carol_, "bread costs 4");
    bob_ = &story_.enter("bob");
    story_.await(*bob_, "bread costs 4");
    bob_->cue("join alice@127.0.0.1");
    story_.await(*bob_, "my neighbours");

    story_.tell(
        "He campaigns again and is elected, with a greater fence. What he wrote under the old one would be refused.");
    bob_->cue("campaign 1");
    const std::string fence = fence_of(story_.await(*bob_, "I keep the books"));
    if (!is_greater(fence, fence_)) throw std::runtime_error("the fence is not greater than that of alice");
    story_.await(*alice_, "I do not keep the books any more");

    story_.tell("He leaves in an orderly way: others follow him at once.");
    const auto leaving = Clock::now();
    story_.leave(*bob_);
    story_.await(*alice_, "I keep the books");
    story_.remark("alice followed bob after " + milliseconds(Clock::now() - leaving));
    story_.await(*alice_, "node 'bob@127.0.0.1' is down");
    story_.await(*carol_, "node 'bob@127.0.0.1' is down");
  }

  void freeze_carol() {
    story_.tell("carol is frozen with SIGSTOP: her kernel still answers for her machine, but she does not.");
    carol_->signal(SIGSTOP);
    const auto frozen = Clock::now();
    story_.await(*alice_, "node 'carol@127.0.0.1' is down");
    story_.remark("alice noticed after " + milliseconds(Clock::now() - frozen));

    story_.tell("carol wakes up. She knows that it was she who was away, and comes back.");
    carol_->signal(SIGCONT);
    story_.await(*carol_, "did not run for");
    story_.await(*alice_, "node 'carol@127.0.0.1' is up");
    alice_->cue("join carol@127.0.0.1");
    story_.await(*alice_, "my neighbours: carol;");
  }

  void part() {
    story_.tell("Both say goodbye.");
    story_.leave(*carol_);
    story_.await(*alice_, "node 'carol@127.0.0.1' is down");
    story_.leave(*alice_);
  }

  void show_shards(const std::vector<Actor*>& actors) {
    for (Actor* actor : actors) {
      actor->cue("shards " + std::to_string(actors.size()));
      story_.await(*actor, "partitions I own");
    }
  }
  /// The number at the end.
  static std::string fence_of(const std::string& line) { return line.substr(line.rfind(' ') + 1); }
  static bool is_greater(const std::string& fence, const std::string& than) {
    return std::pair(fence.size(), fence) > std::pair(than.size(), than);
  }

  Story story_;
  Actor* alice_ = nullptr;
  Actor* bob_ = nullptr;
  Actor* carol_ = nullptr;
  std::string fence_;  // of the last leader
};

}  // namespace
}  // namespace demo

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  try {
    if (argc == 3) return demo::run_node(argv[1], argv[2]);
    demo::Narration().perform();
  } catch (const std::exception& error) {
    std::cout << "\nThe demo failed: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
