#include "bilevel/linear/neumann/neumann.h"

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <functional>

#include "tests/support.h"

namespace bilevel {
namespace neumann_test {

/// The sum with doubly indexed samples: every factor of every summand calls `hessian` anew, as the papers write it.
/// Q(Q-1)/2 products.
LinearSolution neumann_doubly_indexed(const LinearOperator& hessian, const torch::Tensor& b, double step_size,
                                      int64_t terms) {
  torch::Tensor p = b;
  torch::Tensor sum = b;
  for (int64_t q = 1; q < terms; ++q) {
    p = b;
    for (int64_t j = 1; j <= q; ++j) p = p - step_size * hessian(p);
    sum = sum + p;
  }
  return {.z = step_size * sum,
          .residual = p.norm(),
          .products = terms * (terms - 1) / 2,
          .failed = false,
          .message = ""};
}

/// A symmetric matrix with eigenvalues from low to high (log-spaced when positive), and a right-hand side.
struct System {
  torch::Tensor h, b;
  int calls = 0;

  System(int64_t n, double low, double high, uint64_t seed) {
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
    const torch::Tensor q = std::get<0>(at::linalg_qr(torch::randn({n, n}, generator, torch::kFloat64)));
    const torch::Tensor exponents = torch::linspace(0, 1, n, torch::kFloat64);
    h = q.mm(torch::diag(low * torch::pow(high / low, exponents))).mm(q.t());
    b = torch::randn({n}, generator, torch::kFloat64);
  }
  LinearOperator product() {
    return [this](const torch::Tensor& v) {
      ++calls;
      return h.mv(v);
    };
  }
  /// (I - step H)^power v.
  torch::Tensor contracted(const torch::Tensor& v, double step, int64_t power) const {
    torch::Tensor result = v;
    for (int64_t k = 0; k < power; ++k) result = result - step * h.mv(result);
    return result;
  }
};

class NeumannBias : public ::testing::TestWithParam<std::tuple<int64_t, double, int64_t>> {};

TEST_P(NeumannBias, IsTheIdentity) {
  const auto [n, condition, terms] = GetParam();
  for (const double step : {1.0, 0.3}) {  // in units of 1/l; l = 1
    System system(n, 1 / condition, 1, 21);
    const LinearSolution solution = neumann(system.product(), system.b, step, terms);
    const torch::Tensor exact = at::linalg_solve(system.h, system.b);
    const double scale = exact.norm().item<double>();
    // H^-1 b - z_Q = (I - step H)^Q H^-1 b, with (I - step H)^Q applied product by product.
    EXPECT_LT(distance(exact - solution.z, system.contracted(exact, step, terms)), 1e-12 * scale);
    EXPECT_NEAR(solution.residual.item<double>(),
                system.contracted(system.b, step, terms - 1).norm().item<double>(), 1e-12 * scale);
    EXPECT_EQ(solution.products, terms - 1);
    EXPECT_EQ(system.calls, terms - 1);
    EXPECT_FALSE(solution.failed);
  }
}

INSTANTIATE_TEST_SUITE_P(Systems, NeumannBias,
                         ::testing::Combine(::testing::Values(1, 2, 7),
                                            ::testing::Values(1.0001, 10.0, 100.0),
                                            ::testing::Values(1, 2, 5, 40)));

TEST(Neumann, TheSumStartsAtZeroAndIsScaledOnce) {
  System system(4, 0.1, 1, 22);
  const double step = 0.37;
  EXPECT_LT(distance(neumann(system.product(), system.b, step, 1).z, step * system.b), 1e-15);
  EXPECT_EQ(system.calls, 0) << "the first summand needs no product";
  const torch::Tensor two = step * (2 * system.b - step * system.h.mv(system.b));
  EXPECT_LT(distance(neumann(system.product(), system.b, step, 2).z, two), 1e-15);
}

TEST(Neumann, IsExactAtOnceForAnIdentityScaledByTheInverseStep) {
  System system(5, 4, 4, 23);
  EXPECT_LT(relative_error(neumann(system.product(), system.b, 0.25, 1).z, system.b / 4), 1e-14);
  EXPECT_LT(relative_error(neumann(system.product(), system.b, 0.25, 9).z, system.b / 4), 1e-14);
}

TEST(Neumann, TheErrorFallsWithTheSmallestEigenvalue) {
  System system(6, 0.1, 1, 24);
  const torch::Tensor exact = at::linalg_solve(system.h, system.b);
  const auto error = [&](int64_t terms) {
    return (neumann(system.product(), system.b, 1, terms).z - exact).norm().item<double>();
  };
  // Asymptotically log error falls by log(1 - mu eta) a term; the other eigenvalues' part has gone by 60
  // terms: (1 - 0.158)^60 / (1 - 0.1)^60 = 2e-2.
  EXPECT_NEAR((std::log(error(120)) - std::log(error(60))) / 60, std::log(0.9), 1e-3);
  EXPECT_LT(error(300), 1e-12 * exact.norm().item<double>() * 100);
}

TEST(Neumann, ALowerHessianThatIsNotPositiveDefiniteIsNotHidden) {
  System system(3, 1, 1, 25);
  system.h = torch::diag(torch::tensor({1.0, 0.5, -0.5}, torch::kFloat64));
  const torch::Tensor z = neumann(system.product(), system.b, 1, 30).z;
  EXPECT_GT(z[2].abs().item<double>(), 1e4 * system.b[2].abs().item<double>()) << "it grows like 1.5^Q";
}

/// Random positive semi-definite factors of mean I/2, as different samples would give: v -> (a.v) a with a
/// uniform on the cube of side 2 scaled by sqrt(3/2).
class RandomFactors {
 public:
  RandomFactors(int64_t n, uint64_t seed)
      : n_(n), generator_(at::make_generator<at::CPUGeneratorImpl>(seed)) {}
  torch::Tensor operator()(const torch::Tensor& v) {
    const torch::Tensor a = (2 * torch::rand({n_}, generator_, torch::kFloat64) - 1) * std::sqrt(1.5);
    return a.dot(v) * a;
  }

 private:
  int64_t n_;
  at::Generator generator_;
};

/// Mean and standard error of the mean, by coordinate.
struct Estimate {
  torch::Tensor mean, error;

  Estimate(int64_t draws, const std::function<torch::Tensor()>& draw) {
    torch::Tensor sum, squares;
    for (int64_t i = 0; i < draws; ++i) {
      const torch::Tensor z = draw();
      sum = sum.defined() ? sum + z : z;
      squares = squares.defined() ? squares + z * z : z * z;
    }
    mean = sum / draws;
    error = ((squares / draws - mean * mean) / draws).sqrt();
  }
  /// Largest and smallest deviation from a value, in standard errors.
  double most(const torch::Tensor& value) const {
    return ((mean - value) / error).abs().max().item<double>();
  }
  double least(const torch::Tensor& value) const {
    return ((mean - value) / error).abs().min().item<double>();
  }
};

constexpr int64_t kDraws = 40000;
constexpr int64_t kTerms = 4;
constexpr double kStep = 0.5;
const torch::Tensor kRight = torch::tensor({1.0, -2.0, 0.5}, torch::kFloat64);

/// The truncated sum of `terms` summands for the mean factor I/2: step * sum_q (1 - step/2)^q b.
torch::Tensor mean_sum(int64_t terms) {
  return kStep * (1 - std::pow(1 - kStep / 2, terms)) / (kStep / 2) * kRight;
}

TEST(Neumann, IndependentFactorsGiveAnUnbiasedTruncatedSum) {
  RandomFactors factors(3, 26);
  const Estimate nested(kDraws, [&] { return neumann(std::ref(factors), kRight, kStep, kTerms).z; });
  EXPECT_LT(nested.most(mean_sum(kTerms)), 4);
  // The test can tell: one summand less is off by far more than four standard errors.
  EXPECT_GT(nested.least(mean_sum(kTerms - 1)), 8);
}

TEST(Neumann, DoublyIndexedFactorsHaveTheSameMean) {
  RandomFactors factors(3, 27), others(3, 28);
  const Estimate doubly(kDraws,
                        [&] { return neumann_doubly_indexed(std::ref(factors), kRight, kStep, kTerms).z; });
  const Estimate nested(kDraws, [&] { return neumann(std::ref(others), kRight, kStep, kTerms).z; });
  EXPECT_LT(doubly.most(mean_sum(kTerms)), 4);
  EXPECT_GT(doubly.least(mean_sum(kTerms - 1)), 8);
  const torch::Tensor error = (doubly.error.square() + nested.error.square()).sqrt();
  EXPECT_LT(((doubly.mean - nested.mean) / error).abs().max().item<double>(), 4);
  // Independent summands vary less than summands that share their factors.
  EXPECT_LT(doubly.error.sum().item<double>(), 0.9 * nested.error.sum().item<double>());
}

TEST(Neumann, DoublyIndexedIsTheSameSumForAConstantMatrix) {
  for (const int64_t terms : {1, 2, 3, 8}) {
    System system(5, 0.05, 1, 29), same(5, 0.05, 1, 29);
    const LinearSolution doubly = neumann_doubly_indexed(system.product(), system.b, 0.7, terms);
    const LinearSolution nested = neumann(same.product(), same.b, 0.7, terms);
    EXPECT_LT(distance(doubly.z, nested.z), 1e-14);
    EXPECT_NEAR(doubly.residual.item<double>(), nested.residual.item<double>(), 1e-14);
    EXPECT_EQ(doubly.products, terms * (terms - 1) / 2);
    EXPECT_EQ(system.calls, terms * (terms - 1) / 2);
  }
}

TEST(Neumann, RandomTruncationHasTheMeanOfTheSum) {
  for (const int64_t terms : {1, 5, 12}) {  // over all p, equally likely, exactly
    System system(5, 0.05, 1, 30);
    torch::Tensor mean = torch::zeros_like(system.b);
    int calls = 0;
    for (int64_t p = 0; p < terms; ++p) {
      const LinearSolution one = neumann_random_truncation(system.product(), system.b, 0.7, terms, p);
      EXPECT_EQ(one.products, p);
      EXPECT_EQ(system.calls - calls, p);
      EXPECT_FALSE(one.residual.defined());
      calls = system.calls;
      mean += one.z / static_cast<double>(terms);
    }
    EXPECT_LT(distance(mean, neumann(system.product(), system.b, 0.7, terms).z), 1e-14);
  }
}

TEST(Neumann, RandomTruncationOfRandomFactorsIsUnbiased) {
  RandomFactors factors(3, 31);
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(32);
  const Estimate truncated(2 * kDraws, [&] {
    const auto p = torch::randint(kTerms, {1}, generator, torch::kInt64).item<int64_t>();
    return neumann_random_truncation(std::ref(factors), kRight, kStep, kTerms, p).z;
  });
  EXPECT_LT(truncated.most(mean_sum(kTerms)), 4);
  EXPECT_GT(truncated.least(mean_sum(kTerms - 1)), 8);
  EXPECT_GT(truncated.least(mean_sum(kTerms) / kTerms), 100) << "the mean without the factor Q";
}

}  // namespace neumann_test
}  // namespace bilevel
