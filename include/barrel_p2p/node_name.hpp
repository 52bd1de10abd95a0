// Names of nodes: `name@host`.
#pragma once

#include <barrel_p2p/error.hpp>
#include <barrel_p2p/term.hpp>
#include <barrel_p2p/version.hpp>
#include <compare>
#include <functional>
#include <string>
#include <string_view>

namespace barrel_p2p {
inline namespace v0 {

/// 1 to 255 bytes, exactly one `@`, both parts of `A-Z a-z 0-9 _ . -` and not beginning with `.` or `-`. Case matters.
/// A value; cheap to copy. Source: protocol document 02, section 7.1.
class BARREL_P2P_API NodeName {
 public:
  static constexpr std::size_t bytes_max = 255;

  /// Throws std::invalid_argument: use `parse` for input that is not a literal.
  NodeName(std::string_view text);                                         // NOLINT(google-explicit-constructor)
  NodeName(const char* text) : NodeName(std::string_view(text)) {}         // NOLINT(google-explicit-constructor)
  NodeName(const std::string& text) : NodeName(std::string_view(text)) {}  // NOLINT(google-explicit-constructor)
  /// Error: `invalid_node_name`, with what is wrong.
  [[nodiscard]] static Result<NodeName> parse(std::string_view text);

  [[nodiscard]] std::string_view text() const noexcept { return atom_.text(); }
  [[nodiscard]] std::string string() const { return std::string(text()); }
  [[nodiscard]] std::string_view name() const noexcept { return text().substr(0, text().find('@')); }
  [[nodiscard]] std::string_view host() const noexcept { return text().substr(text().find('@') + 1); }
  [[nodiscard]] const Atom& atom() const noexcept { return atom_; }

  friend bool operator==(const NodeName&, const NodeName&) noexcept = default;
  friend std::strong_ordering operator<=>(const NodeName& left, const NodeName& right) noexcept {
    return left.atom_ <=> right.atom_;
  }

 private:
  explicit NodeName(Atom atom) noexcept : atom_(std::move(atom)) {}
  Atom atom_;
};

}  // namespace v0
}  // namespace barrel_p2p

template <>
struct std::hash<barrel_p2p::NodeName> {
  std::size_t operator()(const barrel_p2p::NodeName& name) const noexcept { return name.atom().hash(); }
};
