// exp, the logistic function and log(1 + exp) as plain arithmetic, so that loops over them become vector code.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "bilevel/core/clones.h"

namespace bilevel::glm {

template <typename T>
struct ExpNumbers;
template <>
struct ExpNumbers<float> {
  using Bits = int32_t;
  static constexpr float kMost = 88.0F;  // exp of it is finite, exp of -it above the smallest normal number
  static constexpr float kRound = 0x1.8p23F;    // adding it leaves an integer in the lowest bits
  static constexpr float kHigh = 0x1.62e4p-1F;  // log 2 = high + low; n high is exact
  static constexpr float kLow = 0x1.7f7d1cp-20F;
  static constexpr int kMantissa = 23, kBias = 127, kTerms = 7;
};
template <>
struct ExpNumbers<double> {
  using Bits = int64_t;
  static constexpr double kMost = 708;
  static constexpr double kRound = 0x1.8p52;
  static constexpr double kHigh = 0x1.62e42fefa38p-1;
  static constexpr double kLow = 0x1.ef35793c7673p-45;
  static constexpr int kMantissa = 52, kBias = 1023, kTerms = 13;
};

/// exp(x) to a few units in the last place; beyond +-88 (float) and +-708 (double) that of the bound, so that there is neither
/// infinity nor zero. NaN stays NaN.
/// With x = n log 2 + r, |r| <= log(2)/2, it is 2^n times Taylor's polynomial of exp(r).
template <typename T>
BILEVEL_INLINE T exp(T x) {
  using N = ExpNumbers<T>;
  x = x > N::kMost ? N::kMost : x;
  x = x < -N::kMost ? -N::kMost : x;
  const T shifted = x * T{1.4426950408889634} + N::kRound;
  const T n = shifted - N::kRound;
  const T r = (x - n * N::kHigh) - n * N::kLow;
  T factorial[N::kTerms + 1] = {1};
  for (int k = 1; k <= N::kTerms; ++k) factorial[k] = factorial[k - 1] * static_cast<T>(k);
  T sum = 1 / factorial[N::kTerms];
  for (int k = N::kTerms - 1; k >= 0; --k) sum = sum * r + 1 / factorial[k];
  const auto exponent =
      (std::bit_cast<typename N::Bits>(shifted) - std::bit_cast<typename N::Bits>(N::kRound) + N::kBias)
      << N::kMantissa;
  return sum * std::bit_cast<T>(exponent);
}

/// 1 / (1 + exp(-x)).
template <typename T>
BILEVEL_INLINE T sigmoid(T x) {
  return 1 / (1 + exp(-x));
}

/// log(1 + exp(x)), without overflow.
/// log(1 + z) with z = exp(-|x|) in (0, 1] is 2 artanh(s), s = z / (2 + z) <= 1/3, a series whose terms fall by nine.
template <typename T>
BILEVEL_INLINE T softplus(T x) {
  constexpr int kTerms = sizeof(T) == 4 ? 8 : 17;
  const T z = exp(x < 0 ? x : -x);
  const T s = z / (2 + z), square = s * s;
  T sum = 0;
  for (int k = kTerms; k >= 0; --k) sum = sum * square + T{1} / static_cast<T>(2 * k + 1);
  return (x > 0 ? x : T{0}) + 2 * s * sum;
}

}  // namespace bilevel::glm
