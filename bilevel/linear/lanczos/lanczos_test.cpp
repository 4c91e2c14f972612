#include "bilevel/linear/lanczos/lanczos.h"

#include <ATen/CPUGeneratorImpl.h>

#include <limits>

#include "bilevel/core/error.h"
#include "tests/support.h"

namespace bilevel {
namespace lanczos_test {

torch::Tensor random(at::IntArrayRef shape, uint64_t seed) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return torch::randn(shape, generator, torch::kFloat64);
}

torch::Tensor with_spectrum(const torch::Tensor& eigenvalues, uint64_t seed) {
  const int64_t n = eigenvalues.numel();
  const torch::Tensor q = std::get<0>(at::linalg_qr(random({n, n}, seed)));
  return q.mm(torch::diag(eigenvalues)).mm(q.t());
}

LinearOperator product(const torch::Tensor& h) {
  return [h](const torch::Tensor& v) { return h.mv(v); };
}

TEST(Lanczos, FindsBothEndsOfTheSpectrum) {
  for (const int64_t n : {1, 2, 3, 30}) {
    const torch::Tensor half = random({n, n}, 71);
    const torch::Tensor h = half + half.t();  // indefinite
    const ExtremeEigenvalues found = lanczos(product(h), random({n}, 72));
    const torch::Tensor values = at::linalg_eigvalsh(h);
    const double scale = values.abs().max().item<double>();
    EXPECT_FALSE(found.failed);
    EXPECT_EQ(found.message, "");
    EXPECT_NEAR(found.smallest, values[0].item<double>(), 1e-12 * scale) << n;
    EXPECT_NEAR(found.largest, values[n - 1].item<double>(), 1e-12 * scale) << n;
    EXPECT_LE(found.products, n);
    for (const auto& [value, vector] :
         {std::pair{found.smallest, found.smallest_vector}, std::pair{found.largest, found.largest_vector}}) {
      EXPECT_NEAR(vector.norm().item<double>(), 1, 1e-12);
      EXPECT_LT((h.mv(vector) - value * vector).norm().item<double>(), 1e-7 * scale);
    }
  }
}

TEST(Lanczos, ClusteredEndsNeedTheReorthogonalization) {
  // The large eigenvalues converge at once. Without reorthogonalization their copies then take the place of
  // the small ones in the basis: the smallest comes out as about 2e-5 after 120 products.
  const torch::Tensor spectrum = torch::cat({torch::pow(10.0, torch::linspace(-6, 0, 117, torch::kFloat64)),
                                             torch::tensor({1e2, 1e3, 1e4}, torch::kFloat64)});
  const torch::Tensor h = with_spectrum(spectrum, 73);
  const ExtremeEigenvalues found =
      lanczos(product(h), random({120}, 74), {.max_products = 120, .tolerance = 0});
  EXPECT_NEAR(found.largest, 1e4, 1e-8);
  EXPECT_NEAR(found.smallest, 1e-6, 1e-9);
}

TEST(Lanczos, BoundsHoldWhenProductsAreFew) {
  const torch::Tensor spectrum = torch::linspace(-1, 5, 300, torch::kFloat64);
  const torch::Tensor h = with_spectrum(spectrum, 75);
  const ExtremeEigenvalues found = lanczos(product(h), random({300}, 76), {.max_products = 12});
  EXPECT_EQ(found.products, 12);
  EXPECT_CONTAINS(found.message, "stopped after 12 products");
  EXPECT_GT(found.smallest_error, 1e-6);
  // Never outside the spectrum, and an eigenvalue lies within the bound.
  EXPECT_GE(found.smallest, -1 - 1e-12);
  EXPECT_LE(found.largest, 5 + 1e-12);
  EXPECT_LE((spectrum - found.smallest).abs().min().item<double>(), found.smallest_error);
  EXPECT_LE((spectrum - found.largest).abs().min().item<double>(), found.largest_error);
  EXPECT_LT(found.smallest_error, 1.0);
}

TEST(Lanczos, AnExhaustedSpaceEndsIt) {
  const ExtremeEigenvalues found =
      lanczos(product(2 * torch::eye(40, torch::kFloat64)), random({40}, 77), {.tolerance = 0});
  EXPECT_EQ(found.products, 1) << "one distinct eigenvalue";
  EXPECT_NEAR(found.smallest, 2, 1e-14);
  EXPECT_NEAR(found.largest, 2, 1e-14);
  const ExtremeEigenvalues zero = lanczos(product(torch::zeros({5, 5}, torch::kFloat64)), random({5}, 78));
  EXPECT_EQ(zero.smallest, 0);
  EXPECT_EQ(zero.largest, 0);
}

TEST(Lanczos, Float32ProductsAreEnoughForTheirOwnPrecision) {
  const torch::Tensor h =
      with_spectrum(torch::linspace(0.01, 3, 25, torch::kFloat64), 79).to(torch::kFloat32);
  const ExtremeEigenvalues found = lanczos(product(h), random({25}, 80).to(torch::kFloat32));
  EXPECT_NEAR(found.smallest, 0.01, 3e-6);
  EXPECT_NEAR(found.largest, 3, 3e-6);
  EXPECT_EQ(found.largest_vector.scalar_type(), torch::kFloat32);
}

TEST(Lanczos, NumbersThatAreNotFiniteFailAndAreNoZeros) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const ExtremeEigenvalues found = lanczos(product(torch::eye(3, torch::kFloat64) * nan), random({3}, 81));
  EXPECT_TRUE(found.failed);
  EXPECT_TRUE(std::isnan(found.smallest));
  EXPECT_TRUE(std::isnan(found.largest));
  EXPECT_CONTAINS(found.message, "not finite");
}

TEST(Lanczos, AnImpossibleStartIsRefused) {
  EXPECT_CONTAINS(message_of<InputError>([] {
                    lanczos(product(torch::eye(3, torch::kFloat64)), torch::zeros({3}, torch::kFloat64));
                  }),
                  "not zero");
}

}  // namespace lanczos_test
}  // namespace bilevel
