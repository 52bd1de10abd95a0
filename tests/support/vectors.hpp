// Reads the vector files of tests/vectors.
#pragma once

#include <barrel_p2p/bytes.hpp>
#include <barrel_p2p/term.hpp>
#include <boost/json/value.hpp>
#include <string>
#include <string_view>

namespace barrel_p2p::test {

/// The parsed file tests/vectors/NAME. Throws (and so fails the test) when it is missing or not JSON.
boost::json::value read_vectors(const std::string& name);
/// Throws on odd length and on characters that are no hex digits.
Bytes from_hex(std::string_view hex);
std::string to_hex(ByteView bytes);
/// Member `key` of a JSON object as text. Throws when absent.
std::string text_of(const boost::json::value& object, std::string_view key);
/// The term whose bytes member `key` of a JSON object has in hex. Throws when there is none.
Term decoded(const boost::json::value& object, std::string_view key = "etf_hex");

}  // namespace barrel_p2p::test
