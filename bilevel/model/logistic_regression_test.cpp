#include "bilevel/model/logistic_regression.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/types.h>
#include <zlib.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

using torch::Tensor;

struct Rows {
  Tensor x, labels;
};

Rows random_rows(int64_t count, int64_t width) {
  torch::manual_seed(7);
  const Tensor x = torch::randn({count, width}, torch::kDouble);
  const Tensor noise = torch::randn({count}, torch::kDouble);
  return {x, (x.sum(1) + noise + 0.5).gt(0).to(torch::kDouble) * 2 - 1};
}

std::vector<Tensor> compressed(const Tensor& x) {
  const Tensor sparse = x.to_sparse_csr();
  return {sparse.col_indices().to(torch::kLong), sparse.values(), sparse.crow_indices().to(torch::kLong)};
}

/// Largest gradient component of the documented objective, from autograd, independent of the fit's own
/// formulas.
double gradient_size(const Rows& rows, const LogisticRegression& fit) {
  const Tensor w = fit.weight.clone().requires_grad_();
  const Tensor b = torch::tensor(fit.intercept, torch::kDouble).requires_grad_();
  const Tensor margins = rows.labels * (rows.x.mv(w) + b);
  const Tensor loss = fit.inverse_regularization * torch::softplus(-margins).sum() + 0.5 * w.dot(w);
  const auto gradient = torch::autograd::grad({loss}, {w, b});
  return std::max(gradient[0].abs().max().item<double>(), gradient[1].abs().item<double>());
}

/// The rows of heart_scale, dense; undefined if the data folder is absent.
Rows heart_scale() {
  const char* folder = std::getenv("BILEVEL_DATA");
  const std::filesystem::path path =
      std::filesystem::path(folder != nullptr ? folder : BILEVEL_SOURCE_DIR "/../shared/data") /
      "libsvm/heart_scale.gz";
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) return {};
  std::vector<double> labels, values;
  char line[4096];
  while (gzgets(file, line, sizeof line) != nullptr) {
    std::istringstream words(line);
    double label = 0;
    words >> label;
    labels.push_back(label);
    values.resize(labels.size() * 13, 0);
    int64_t column = 0;
    char colon = 0;
    double value = 0;
    while (words >> column >> colon >> value) values[(labels.size() - 1) * 13 + column - 1] = value;
  }
  gzclose(file);
  return {torch::tensor(values, torch::kDouble).view({-1, 13}), torch::tensor(labels, torch::kDouble)};
}

TEST(LogisticRegression, SolvesASymmetricCaseByHand) {
  // Rows -1 and +1 with labels of the same sign: b = 0 and w solves w = 2 C / (1 + exp(w)).
  const Rows rows{torch::tensor({-1.0, 1.0}, torch::kDouble).view({2, 1}),
                  torch::tensor({-1.0, 1.0}, torch::kDouble)};
  for (const double c : {0.5, 1.0, 20.0}) {
    const LogisticRegression fit = fit_logistic_regression(
        {rows.x}, 1, rows.labels, {.inverse_regularization = c, .gradient_tolerance = 1e-12});
    double low = 0, high = 2 * c;
    for (int i = 0; i < 200; ++i) {
      const double middle = 0.5 * (low + high);
      (middle < 2 * c / (1 + std::exp(middle)) ? low : high) = middle;
    }
    EXPECT_NEAR(fit.weight[0].item<double>(), low, 1e-9);
    EXPECT_NEAR(fit.intercept, 0, 1e-9);
    EXPECT_TRUE(fit.converged);
  }
}

TEST(LogisticRegression, InterceptIsNotPenalized) {
  // No informative column: the intercept alone gives the log-odds, however strong the penalty.
  const Tensor labels = torch::tensor({1.0, 1.0, 1.0, -1.0}, torch::kDouble);
  const LogisticRegression fit =
      fit_logistic_regression({torch::zeros({4, 2}, torch::kDouble)}, 2, labels,
                              {.inverse_regularization = 1e-3, .gradient_tolerance = 1e-10});
  EXPECT_NEAR(fit.intercept, std::log(3.0), 1e-8);
}

TEST(LogisticRegression, GradientVanishesAtTheSolution) {
  const Rows rows = random_rows(200, 12);
  for (const double c : {0.01, 1.0, 100.0}) {
    const LogisticRegression fit = fit_logistic_regression(
        {rows.x}, 12, rows.labels, {.inverse_regularization = c, .gradient_tolerance = 1e-9});
    EXPECT_TRUE(fit.converged) << c;
    const double at_zero =
        gradient_size(rows, {.weight = torch::zeros({12}, torch::kDouble), .inverse_regularization = c});
    EXPECT_LT(gradient_size(rows, fit), 2e-9 * at_zero);
    EXPECT_NEAR(fit.gradient_norm, gradient_size(rows, fit), 1e-10 * at_zero);
  }
}

TEST(LogisticRegression, SparseAndDenseRowsAgree) {
  Rows rows = random_rows(120, 9);
  rows.x = torch::where(rows.x.abs() > 0.7, rows.x, torch::zeros_like(rows.x));
  const LogisticRegressionOptions options{.gradient_tolerance = 1e-10};
  const LogisticRegression dense = fit_logistic_regression({rows.x}, 9, rows.labels, options);
  const LogisticRegression sparse = fit_logistic_regression(compressed(rows.x), 9, rows.labels, options);
  EXPECT_LT((dense.weight - sparse.weight).abs().max().item<double>(), 1e-7);
  EXPECT_NEAR(dense.intercept, sparse.intercept, 1e-7);
  EXPECT_LT((dense.scores({rows.x}) - dense.scores(compressed(rows.x))).abs().max().item<double>(), 1e-12);
  EXPECT_TRUE(torch::allclose(dense.scores({rows.x}), rows.x.mv(dense.weight) + dense.intercept));
}

TEST(LogisticRegression, EqualsScikitLearnOnHeartScale) {
  const Rows rows = heart_scale();
  if (!rows.x.defined()) GTEST_SKIP() << "no data folder";
  ASSERT_EQ(rows.x.size(0), 270);
  // scikit-learn 1.9.1: LogisticRegression(C=C, tol=1e-10, solver="newton-cholesky",
  // max_iter=1000).fit(X.toarray(), y); the intercept, coef_[0][0], the norm of coef_, and the objective C *
  // sum(logaddexp(0, -y s)) + 0.5 ||coef_||^2.
  struct Expected {
    double c, intercept, first, norm, objective;
  };
  for (const Expected& expected :
       {Expected{0.01, 0.03158039090737401, 0.06375641191009988, 0.6057505290998753, 1.5060805180038672},
        Expected{1.0, 1.4869279721393018, -0.06724880704761718, 2.750643317213633, 94.65522421730269},
        Expected{100.0, 2.189054420372468, -0.41220416586996245, 3.634834396813041, 8986.52616317265}}) {
    const LogisticRegression fit = fit_logistic_regression(
        {rows.x}, 13, rows.labels, {.inverse_regularization = expected.c, .gradient_tolerance = 1e-10});
    EXPECT_NEAR(fit.intercept, expected.intercept, 1e-6);
    EXPECT_NEAR(fit.weight[0].item<double>(), expected.first, 1e-6);
    EXPECT_NEAR(fit.weight.norm().item<double>(), expected.norm, 1e-6);
    const double objective =
        expected.c * torch::softplus(-rows.labels * fit.scores({rows.x})).sum().item<double>() +
        0.5 * fit.weight.dot(fit.weight).item<double>();
    EXPECT_NEAR(objective / expected.objective, 1, 1e-10);
  }
}

TEST(LogisticRegression, WarmStartReachesTheSameSolution) {
  const Rows rows = random_rows(150, 6);
  const LogisticRegressionOptions options{.inverse_regularization = 10, .gradient_tolerance = 1e-9};
  const LogisticRegression cold = fit_logistic_regression({rows.x}, 6, rows.labels, options);
  const LogisticRegression again = fit_logistic_regression({rows.x}, 6, rows.labels, options, &cold);
  EXPECT_LE(again.iterations, 1);
  EXPECT_LT((again.weight - cold.weight).abs().max().item<double>(), 1e-7);
}

TEST(LogisticRegression, ReportsThatItHasNotConverged) {
  const Rows rows = random_rows(150, 6);
  const LogisticRegression fit =
      fit_logistic_regression({rows.x}, 6, rows.labels, {.gradient_tolerance = 1e-9, .max_iterations = 1});
  EXPECT_FALSE(fit.converged);
  EXPECT_EQ(fit.iterations, 1);
}

TEST(SelectLogisticRegression, KeepsTheBestScoreAndTheStrongestPenaltyOfEquals) {
  const Rows rows = random_rows(80, 4);
  std::vector<double> sizes;
  const auto closest_to_one = [&](const Tensor& scores) {
    sizes.push_back(scores.norm().item<double>());
    return sizes.size() == 3 ? 1.0 : sizes.size() == 4 ? std::nan("") : 0.5;
  };
  const LogisticRegression third =
      select_logistic_regression({rows.x}, 4, rows.labels, {rows.x}, closest_to_one);
  EXPECT_EQ(third.inverse_regularization, 1);
  EXPECT_EQ(sizes.size(), 5);
  EXPECT_TRUE(std::is_sorted(sizes.begin(), sizes.end()));  // weaker penalties, larger scores
  const LogisticRegression first = select_logistic_regression(
      {rows.x}, 4, rows.labels, {rows.x}, [](const Tensor&) { return 0.0; }, {10, 0.1, 1});
  EXPECT_EQ(first.inverse_regularization, 0.1);
}

TEST(LogisticRegression, IsFastOnWideSparseRows) {
  // 14,000 rows of 100 entries among 100,000 columns, of which the first thousand carry the label.
  torch::manual_seed(3);
  const int64_t count = 14000, width = 100000, entries = 100;
  const Tensor indices =
      (torch::rand({count * entries}, torch::kDouble).pow(3) * static_cast<double>(width)).to(torch::kLong);
  const std::vector<Tensor> rows{indices, torch::rand({count * entries}, torch::kDouble) / 10 + 0.05,
                                 torch::arange(count + 1, torch::kLong) * entries};
  const Tensor truth = torch::randn({width}, torch::kDouble);
  const Tensor signal = (truth.index_select(0, indices) * rows[1]).view({count, entries}).sum(1);
  const Tensor labels = (signal + 0.5 * torch::randn({count}, torch::kDouble)).gt(0);
  const std::clock_t begin = std::clock();  // processor time: other programs do not count
  const LogisticRegression fit = fit_logistic_regression(rows, width, labels);
  [[maybe_unused]] const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  EXPECT_TRUE(fit.converged);
  EXPECT_LT(fit.iterations, 300);
#ifdef NDEBUG
  EXPECT_LT(seconds, 10);
#endif
}

TEST(LogisticRegression, RefusesWhatDoesNotFit) {
  const Rows rows = random_rows(10, 3);
  EXPECT_THROW(fit_logistic_regression({rows.x}, 4, rows.labels), InputError);
  EXPECT_THROW(fit_logistic_regression({rows.x}, 3, rows.labels.slice(0, 0, 9)), InputError);
  EXPECT_THROW(fit_logistic_regression({rows.x}, 3, torch::ones({10})), InputError);
  EXPECT_THROW(fit_logistic_regression({rows.x}, 3, rows.labels, {.inverse_regularization = 0}), InputError);
  EXPECT_THROW(fit_logistic_regression({rows.x}, 3, rows.labels, {.gradient_tolerance = 0}), InputError);
  EXPECT_THROW(fit_logistic_regression({rows.x / 0.0}, 3, rows.labels), InputError);
  EXPECT_THROW(fit_logistic_regression({}, 3, rows.labels), InputError);
}

}  // namespace
}  // namespace bilevel
