// Certificates for tests.
#pragma once

#include <memory>

#include "quic/credentials.hpp"

namespace barrel_p2p::test {

/// A self-signed P-256 certificate, made once a process.
std::shared_ptr<const quic::Credentials> credentials();
/// The same certificate with the key of another one: what a thief can show.
std::shared_ptr<const quic::Credentials> stolen_credentials();

}  // namespace barrel_p2p::test
