#include "node/attacker.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "base/random.hpp"
#include "distribution/auth/certificate.hpp"
#include "support/scratch.hpp"

namespace barrel_p2p::test {

using namespace distribution;

namespace {

constexpr quic::StreamId control_stream = 0;

std::string read_text(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace

Mask mask(const std::string& name) { return {NodeName(name), PrivateKey::generate()}; }

AuthChallenge fresh_challenge() {
  AuthChallenge challenge;
  fill_random(challenge.nonce);
  challenge.unix_milliseconds = static_cast<std::uint64_t>(wall_now());
  return challenge;
}

PemPair read_pem(const std::filesystem::path& certificate_dir) {
  return {read_text(certificate_dir / "node.crt"), read_text(certificate_dir / "node.key")};
}

PemPair make_pem() {
  const test::ScratchDirectory directory;
  auto made = load_or_create_certificate(directory / "quic", wall_now()).value();
  return {std::move(made.certificate_pem), std::move(made.key_pem)};
}

// One connection.

quic::ConnectionEvents Line::events() {
  const std::weak_ptr<Line> weak = weak_from_this();
  quic::ConnectionEvents events;
  events.on_established = [weak] {
    if (const auto self = weak.lock()) self->established_ = true;
  };
  events.on_stream_data = [weak](quic::StreamId stream, ByteView bytes, bool /*fin*/) {
    if (const auto self = weak.lock()) self->hear(stream, bytes);
  };
  events.on_stream_reset = [weak](quic::StreamId stream, std::uint64_t code) {
    if (const auto self = weak.lock()) self->resets[stream] = code;
  };
  events.on_closed = [weak](const quic::CloseReason& reason) {
    if (const auto self = weak.lock()) self->closed_ = reason;
  };
  return events;
}

void Line::hear(quic::StreamId stream, ByteView bytes) {
  connection_->consume(stream, bytes.size());
  auto& all = heard_[stream];
  all.insert(all.end(), bytes.begin(), bytes.end());
  if (tap) tap(stream, bytes);
  const quic::StreamId auth_stream = initiator_ ? 3 : 2;
  if (stream == auth_stream) {
    while (const auto message = reader_.next(bytes).value()) messages_.push_back(decode_auth_message(*message).value());
  } else if (stream == control_stream && handshake_) {
    apply(handshake_->receive(bytes, monotonic_now()));
  }
}

void Line::say_bytes(Bytes bytes) {
  if (!own_auth_stream_) own_auth_stream_ = connection_->open_uni().value();
  connection_->write(*own_auth_stream_, SharedBytes(std::move(bytes)));
}

void Line::write(quic::StreamId stream, Bytes bytes, quic::WriteOptions options) {
  const bool own = ((stream & 1) == 0) == initiator_;
  while (own && std::ranges::find(own_streams_, stream) == own_streams_.end()) {
    const bool unidirectional = (stream & 2) != 0;
    const auto opened = unidirectional ? connection_->open_uni() : connection_->open_bidi();
    if (!opened) throw std::runtime_error("the victim allows no stream " + std::to_string(stream));
    own_streams_.push_back(*opened);
  }
  connection_->write(stream, SharedBytes(std::move(bytes)), options);
}

std::optional<AuthMessage> Line::next() {
  owner_.await([this] { return !messages_.empty() || closed(); }, patience);
  if (messages_.empty()) return std::nullopt;
  auto message = std::move(messages_.front());
  messages_.pop_front();
  if (const auto* fail = std::get_if<AuthFail>(&message)) last_failure_ = fail->reason;
  return message;
}

std::string Line::ending(std::chrono::milliseconds limit) {
  if (!owner_.await([this] { return closed(); }, limit)) return "open";
  while (!messages_.empty()) next();
  return last_failure_.empty() ? "closed" : "FAIL " + last_failure_;
}

AuthResponse Line::answer(const AuthChallenge& challenge, const PrivateKey& key) const {
  const Bytes certificate = initiator_ ? connection_->peer_certificate_der() : connection_->local_certificate_der();
  return {key.sign(signed_text(challenge, key.public_key(), sha256(certificate)))};
}

void Line::play(const Mask& mask, Step until) {
  if (until == Step::connected) return;
  initiator_ ? play_as_initiator(mask, until) : play_as_responder(mask, until);
  if (until < Step::name) return;
  if (initiator_) {
    write(control_stream, encode(NameMessage{offered_flags, 77, mask.name.atom()}));
    if (until == Step::name) return;
    // "s" and its text, then the victim's challenge.
    owner_.await([this] { return closed() || heard_[control_stream].size() > challenge_head_bytes; }, patience);
  } else {
    owner_.await([this] { return closed() || !heard_[control_stream].empty(); }, patience);
    if (until == Step::status) write(control_stream, encode_status("ok"));
  }
}

void Line::play_as_initiator(const Mask& mask, Step until) {
  say(AuthHello{mask.name, mask.key.public_key()});
  next_as<AuthHello>();
  const auto challenge = next_as<AuthChallenge>();
  if (until == Step::hello) return;
  say(fresh_challenge());
  next_as<AuthResponse>();
  if (until == Step::challenge) return;
  say(answer(challenge, mask.key));
  next_as<AuthOk>();
}

void Line::play_as_responder(const Mask& mask, Step until) {
  next_as<AuthHello>();
  say(AuthHello{mask.name, mask.key.public_key()});
  if (until == Step::hello) return;
  say(fresh_challenge());
  const auto challenge = next_as<AuthChallenge>();
  if (until == Step::challenge) return;
  say(answer(challenge, mask.key));
  next_as<AuthResponse>();
  say(AuthOk{});
}

std::string Line::shake_hands(const std::string& name, const std::string& cookie) {
  HandshakeConfig config;
  config.role = initiator_ ? HandshakeRole::initiator : HandshakeRole::acceptor;
  config.own_name = Atom(name);
  config.dialled = Atom("victim@127.0.0.1");
  config.creation = 77;
  config.cookie = cookie;
  config.challenge = random_uint32();
  handshake_ = std::make_unique<Handshake>(std::move(config));
  apply(handshake_->start(monotonic_now()));
  if (const Bytes early = heard_[control_stream]; !early.empty()) apply(handshake_->receive(early, monotonic_now()));
  owner_.await([this] { return closed() || !handshake_end_.empty(); }, patience);
  return handshake_end_.empty() ? "closed" : handshake_end_;
}

void Line::apply(HandshakeEffects&& effects) {
  for (auto& effect : effects) {
    if (auto* send = std::get_if<HandshakeSend>(&effect)) {
      write(control_stream, std::move(send->bytes));
      if (send->status) apply(handshake_->status_acked(monotonic_now()));
    } else if (std::holds_alternative<HandshakeNameReceived>(effect)) {
      apply(handshake_->answer(HandshakeAnswer::ok, monotonic_now()));
    } else if (std::holds_alternative<HandshakeAlive>(effect)) {
      apply(handshake_->answer_alive(true, monotonic_now()));
    } else if (std::holds_alternative<HandshakeUp>(effect)) {
      handshake_end_ = "up";
    } else if (const auto* failed = std::get_if<HandshakeFailed>(&effect)) {
      handshake_end_ = std::string(distribution::name(failed->failure));
    }
  }
}

// All of them.

Attacker::Attacker(const std::string& address, std::shared_ptr<const quic::Credentials> credentials) {
  if (!credentials) {
    const PemPair pem = make_pem();
    credentials = quic::Credentials::from_pem(pem.certificate, pem.key).value();
  }
  quic::EndpointConfig config;
  config.listen = quic::Address::make(address, 0).value();
  config.credentials = std::move(credentials);
  quic::EndpointEvents events;
  events.on_accept = [this](const std::shared_ptr<quic::Connection>& connection) {
    const auto line = std::make_shared<Line>(*this, false);
    line->connection_ = connection;
    line->established_ = true;
    connection->set_events(line->events());
    accepted_.push_back(line);
  };
  endpoint_ = quic::Endpoint::open(context_, std::move(config), std::move(events)).value();
}

Attacker::~Attacker() {
  endpoint_->close_all();
  accepted_.clear();
}

bool Attacker::await(const std::function<bool()>& done, std::chrono::milliseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!done()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    context_.restart();
    context_.run_one_for(std::chrono::milliseconds(20));  // what is awaited may be no event of ours
  }
  return true;
}

LinePtr Attacker::start_dial(std::uint16_t port) {
  auto line = std::make_shared<Line>(*this, true);
  line->connection_ = endpoint_->connect(quic::Address::make("127.0.0.1", port).value(), "", line->events()).value();
  return line;
}

LinePtr Attacker::dial(const Node& victim) {
  auto line = start_dial(victim.port());
  await([&] { return line->established_ || line->closed(); });
  if (!line->established_) throw std::runtime_error("the victim does not answer");
  return line;
}

LinePtr Attacker::accept() {
  if (!await([this] { return !accepted_.empty(); })) throw std::runtime_error("nobody dials");
  auto line = accepted_.front();
  accepted_.pop_front();
  return line;
}

Result<void> Attacker::outcome(std::future<Result<void>>& dial) {
  if (!await([&] { return dial.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }, 2 * patience)) {
    return fail(Errc::timeout, "the dial has no end");
  }
  return dial.get();
}

std::future<Result<void>> begin_dial(Node& node, const NodeName& to) {
  auto promise = std::make_shared<std::promise<Result<void>>>();
  node.connect(to, [promise](Result<void> result) { promise->set_value(std::move(result)); });
  return promise->get_future();
}

}  // namespace barrel_p2p::test
