// A peer that lies: QUIC connections, messages and keys as an honest node has them, put together by hand.
//
// All of it runs on the thread of the test, and only inside of the functions that wait: what happens between two of
// them is exactly what the test says.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "distribution/auth/messages.hpp"
#include "distribution/handshake.hpp"
#include "distribution/handshake_messages.hpp"
#include "node/node_support.hpp"
#include "quic/connection.hpp"
#include "quic/endpoint.hpp"

namespace barrel_p2p::test {

class Attacker;

/// Who the attacker says it is, and with which key.
struct Mask {
  NodeName name;
  distribution::PrivateKey key;
};
/// The name with a key that nobody knows.
Mask mask(const std::string& name);

/// How far an exchange is played before the attacker falls silent.
enum class Step : std::uint8_t { connected, hello, challenge, authenticated, name, status };

/// A challenge of now.
distribution::AuthChallenge fresh_challenge();

/// One connection between the attacker and a victim, with all that was heard on it.
class Line : public std::enable_shared_from_this<Line> {
 public:
  Line(Attacker& owner, bool initiator) : owner_(owner), initiator_(initiator) {}

  // On our authentication stream.
  void say(const distribution::AuthMessage& message) { say_bytes(distribution::encode(message)); }
  void say_bytes(Bytes bytes);
  /// Anywhere. Streams that do not exist yet are opened, with those before them.
  void write(quic::StreamId stream, Bytes bytes, quic::WriteOptions options = {});
  void close() { connection_->close(0, ""); }

  /// Waits for the peer's next authentication message. Nothing: it closed the connection, or said nothing for a while.
  std::optional<distribution::AuthMessage> next();
  /// The same; throws when it is another message.
  template <class Message>
  Message next_as() {
    const auto message = next();
    if (!message || !std::holds_alternative<Message>(*message)) throw std::runtime_error("another message, or none");
    return std::get<Message>(*message);
  }
  /// Waits until the connection is closed, and tells what the peer said at last: "closed", "FAIL key_mismatch" or
  /// "open".
  std::string ending(std::chrono::milliseconds limit = patience);
  [[nodiscard]] bool closed() const noexcept { return closed_.has_value(); }
  [[nodiscard]] bool established() const noexcept { return established_; }

  /// The signature that an honest node with this key would give.
  [[nodiscard]] distribution::AuthResponse answer(const distribution::AuthChallenge& challenge,
                                                  const distribution::PrivateKey& key) const;
  /// Plays an honest peer up to the step, in the role that the connection gives.
  void play(const Mask& mask, Step until);
  /// Runs the distribution handshake from where `Step::authenticated` left it. Waits for its end: "up", a failure, or
  /// "closed".
  std::string shake_hands(const std::string& name, const std::string& cookie);

  [[nodiscard]] quic::Connection& connection() noexcept { return *connection_; }
  /// Everything that came on a stream.
  [[nodiscard]] const Bytes& heard(quic::StreamId stream) { return heard_[stream]; }
  /// With which code the peer reset a stream.
  std::map<quic::StreamId, std::uint64_t> resets;
  /// Is told of everything that comes, as it comes.
  std::function<void(quic::StreamId, ByteView)> tap;

 private:
  friend class Attacker;
  quic::ConnectionEvents events();
  void hear(quic::StreamId stream, ByteView bytes);
  void apply(distribution::HandshakeEffects&& effects);
  void play_as_initiator(const Mask& mask, Step until);
  void play_as_responder(const Mask& mask, Step until);

  Attacker& owner_;
  const bool initiator_;
  std::shared_ptr<quic::Connection> connection_;
  bool established_ = false;
  std::optional<quic::CloseReason> closed_;
  std::optional<quic::StreamId> own_auth_stream_;
  std::vector<quic::StreamId> own_streams_;
  std::map<quic::StreamId, Bytes> heard_;
  distribution::AuthFrameReader reader_;
  std::deque<distribution::AuthMessage> messages_;
  std::string last_failure_;
  std::unique_ptr<distribution::Handshake> handshake_;
  std::string handshake_end_;
};

using LinePtr = std::shared_ptr<Line>;

/// The certificate and key of a directory that a node uses, as PEM text.
struct PemPair {
  std::string certificate;
  std::string key;
};
PemPair read_pem(const std::filesystem::path& certificate_dir);
/// A new self-signed one.
PemPair make_pem();

class Attacker {
 public:
  explicit Attacker(const std::string& address = "127.0.0.1",
                    std::shared_ptr<const quic::Credentials> credentials = {});
  ~Attacker();
  Attacker(const Attacker&) = delete;
  Attacker& operator=(const Attacker&) = delete;

  [[nodiscard]] std::uint16_t port() const { return endpoint_->local_address().port(); }
  /// Runs until it is so. False: it was not so within the limit.
  bool await(const std::function<bool()>& done, std::chrono::milliseconds limit = patience);
  /// Dials a node of this machine and waits for the QUIC handshake. Throws when that fails.
  LinePtr dial(const Node& victim);
  /// Dials without waiting.
  LinePtr start_dial(std::uint16_t port);
  /// The next connection of a victim. Throws when none comes.
  LinePtr accept();
  [[nodiscard]] std::size_t waiting() const noexcept { return accepted_.size(); }
  /// What becomes of a dial that a victim began.
  Result<void> outcome(std::future<Result<void>>& dial);

  /// Shown to those who dial us from now on.
  void show(std::shared_ptr<const quic::Credentials> credentials) {
    endpoint_->set_credentials(std::move(credentials));
  }

 private:
  boost::asio::io_context context_{1};
  std::unique_ptr<quic::Endpoint> endpoint_;
  std::deque<LinePtr> accepted_;
};

/// Lets a node dial, on its own thread.
std::future<Result<void>> begin_dial(Node& node, const NodeName& to);

}  // namespace barrel_p2p::test
