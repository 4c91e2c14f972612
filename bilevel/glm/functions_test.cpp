#include "bilevel/glm/functions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace bilevel {
namespace {

template <typename T>
class Functions : public testing::Test {
 protected:
  /// Largest distance in units in the last place over [-bound, bound].
  template <typename Found, typename Expected>
  static double largest_error(double bound, const Found& found, const Expected& expected) {
    double worst = 0;
    for (int k = -100'000; k <= 100'000; ++k) {
      const T x = static_cast<T>(bound * k / 100'000);
      const long double exact = expected(static_cast<long double>(x));
      const long double error = (static_cast<long double>(found(x)) - exact) / exact;
      worst = std::max(worst, static_cast<double>(std::abs(error)));
    }
    return worst / static_cast<double>(std::numeric_limits<T>::epsilon());
  }
};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Functions, Types);

TYPED_TEST(Functions, AreExactToAFewUnitsInTheLastPlace) {
  using T = TypeParam;
  const auto exact_sigmoid = [](long double x) { return 1 / (1 + std::exp(-x)); };
  const auto exact_softplus = [](long double x) {
    return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
  };
  for (const double bound : {1.0, 80.0}) {
    EXPECT_LT((this->largest_error(
                  bound, [](T x) { return glm::exp(x); }, [](long double x) { return std::exp(x); })),
              2);
    EXPECT_LT((this->largest_error(
                  bound, [](T x) { return glm::sigmoid(x); }, exact_sigmoid)),
              3);
    EXPECT_LT((this->largest_error(
                  bound, [](T x) { return glm::softplus(x); }, exact_softplus)),
              4);
  }
}

TYPED_TEST(Functions, HaveNoOverflowAndKeepNaN) {
  using T = TypeParam;
  constexpr T infinity = std::numeric_limits<T>::infinity();
  for (const T x : {T{1e4}, infinity}) {
    EXPECT_TRUE(std::isfinite(glm::exp(x)));
    EXPECT_EQ(glm::sigmoid(x), 1);
    EXPECT_LT(glm::sigmoid(-x), 1e-37);
    EXPECT_EQ(glm::softplus(x), x);
    EXPECT_LT(glm::softplus(-x), 1e-37);
  }
  const T nan = std::numeric_limits<T>::quiet_NaN();
  EXPECT_TRUE(std::isnan(glm::exp(nan)));
  EXPECT_TRUE(std::isnan(glm::sigmoid(nan)));
  EXPECT_TRUE(std::isnan(glm::softplus(nan)));
}

}  // namespace
}  // namespace bilevel
