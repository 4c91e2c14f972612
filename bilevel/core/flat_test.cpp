#include "bilevel/core/flat.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "bilevel/core/streams.h"

namespace bilevel {
namespace {

class Flat : public testing::TestWithParam<std::tuple<torch::ScalarType, int64_t>> {
 protected:
  torch::Tensor numbers() { return torch::randn({size_}, torch::kFloat64).to(type_); }
  void expect_close(const torch::Tensor& found, const torch::Tensor& expected) {
    EXPECT_EQ(found.scalar_type(), type_);
    EXPECT_TRUE(torch::allclose(found, expected, type_ == torch::kFloat32 ? 1e-6 : 1e-14,
                                type_ == torch::kFloat32 ? 1e-6 : 1e-14));
  }
  DefaultGeneratorScope randomness_{7};
  torch::ScalarType type_ = std::get<0>(GetParam());
  int64_t size_ = std::get<1>(GetParam());
};

TEST_P(Flat, IsWhatLibTorchComputes) {
  const torch::Tensor x = numbers(), y = numbers();
  torch::Tensor z = copy_of(y);
  EXPECT_NE(z.data_ptr(), y.data_ptr());
  EXPECT_TRUE(torch::equal(z, y));
  axpy(0.3, x, z);
  expect_close(z, 0.3 * x + y);
  z = copy_of(y);
  axpby(0.3, x, -2, z);
  expect_close(z, 0.3 * x - 2 * y);
  copy_into(x, z);
  EXPECT_TRUE(torch::equal(z, x));
  EXPECT_TRUE(torch::equal(zeros_of(x), torch::zeros_like(x)));
  expect_close(flat_norm(x), x.norm());
}

TEST_P(Flat, FindsEveryNumberThatIsNotFinite) {
  const torch::Tensor x = numbers(), y = numbers();
  EXPECT_TRUE(all_finite({x, {}, y}));
  for (const double wrong :
       {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(),
        std::numeric_limits<double>::quiet_NaN()}) {
    for (int64_t i = 0; i < size_; i += std::max<int64_t>(1, size_ / 40)) {
      const torch::Tensor spoilt = x.clone();
      spoilt[i] = wrong;
      EXPECT_FALSE(all_finite({y, spoilt})) << wrong << " at " << i;
    }
  }
  // The sum of these is not finite, but each of them is.
  EXPECT_TRUE(all_finite({torch::full({size_}, 3e38, torch::kFloat32)}));
}

INSTANTIATE_TEST_SUITE_P(Sizes, Flat,
                         testing::Combine(testing::Values(torch::kFloat32, torch::kFloat64),
                                          testing::Values(1, 7, 16, 37, 1000, 40'000)));

TEST(FlatTest, TakesWhatIsNotContiguous) {
  const torch::Tensor x = torch::ones({1}, torch::kFloat64).expand({5}),
                      y = torch::zeros({5}, torch::kFloat64);
  axpy(2, x, y);
  EXPECT_TRUE(torch::equal(y, torch::full({5}, 2.0, torch::kFloat64)));
  EXPECT_EQ(copy_of(x).numel(), 5);
  EXPECT_NEAR(flat_norm(x).item<double>(), std::sqrt(5.0), 1e-15);
}

}  // namespace
}  // namespace bilevel
