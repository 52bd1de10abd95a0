#include <algorithm>
#include <barrel_p2p/leader.hpp>

namespace barrel_p2p {
inline namespace v0 {
namespace {

constexpr unsigned byte_bits = 8;
constexpr std::size_t wall_bytes = 8;

std::optional<Fence> fence_of(const BigInteger& number) {
  Fence::Packed packed{};
  if (number.negative || number.magnitude.size() > packed.size()) return std::nullopt;
  std::ranges::copy(number.magnitude, packed.rbegin());
  return Fence::unpack(packed);
}

BigInteger number_of(const Fence& fence) {
  const auto packed = fence.pack();
  BigInteger number;
  number.magnitude.assign(packed.rbegin(), packed.rend());
  while (!number.magnitude.empty() && number.magnitude.back() == 0) number.magnitude.pop_back();
  return number;
}

}  // namespace

Result<Fence> Fence::from(const Term& integer) {
  const auto number = integer.as_big_integer();
  const auto fence = number ? fence_of(*number) : std::nullopt;
  if (!fence) return fail(Errc::type_mismatch, "a fence is an integer from 0 to 2^96-1");
  return *fence;
}

Term Fence::term() const { return number_of(*this); }

Result<Fence> Fence::parse(std::string_view decimal) {
  constexpr std::size_t digits_max = 29;  // of 2^96-1
  const bool is_number = !decimal.empty() && decimal.size() <= digits_max &&
                         std::ranges::all_of(decimal, [](char digit) { return digit >= '0' && digit <= '9'; });
  const auto number = is_number ? BigInteger::parse(decimal) : fail(Errc::invalid_argument);
  const auto fence = number ? fence_of(*number) : std::nullopt;
  if (!fence) return fail(Errc::invalid_argument, "a fence is a number from 0 to 2^96-1");
  return *fence;
}

std::string Fence::text() const { return number_of(*this).to_string(); }

Fence Fence::unpack(const Packed& packed) noexcept {
  Fence fence;
  for (std::size_t place = 0; place < wall_bytes; ++place) fence.wall_ = fence.wall_ << byte_bits | packed[place];
  for (std::size_t place = wall_bytes; place < packed.size(); ++place) {
    fence.logical_ = fence.logical_ << byte_bits | packed[place];
  }
  return fence;
}

Fence::Packed Fence::pack() const noexcept {
  Packed packed{};
  auto wall = wall_;
  auto logical = logical_;
  for (std::size_t place = wall_bytes; place-- > 0; wall >>= byte_bits) packed[place] = wall & 0xFFU;
  for (std::size_t place = packed.size(); place-- > wall_bytes; logical >>= byte_bits) packed[place] = logical & 0xFFU;
  return packed;
}

bool FenceGuard::admit(const Fence& fence, const NodeName& node) {
  const std::scoped_lock lock(mutex_);
  if (highest_ && (fence < highest_->fence || (fence == highest_->fence && node != highest_->node))) return false;
  highest_ = Seen{fence, node};
  return true;
}

std::optional<FenceGuard::Seen> FenceGuard::highest() const {
  const std::scoped_lock lock(mutex_);
  return highest_;
}

}  // namespace v0
}  // namespace barrel_p2p
