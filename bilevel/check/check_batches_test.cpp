// Losses whose minibatches are not what they should be.
#include <ATen/CPUGeneratorImpl.h>

#include "tests/checks.h"
#include "tests/problems.h"

namespace bilevel {
namespace check_batches_test {

using torch::Tensor;

const std::vector<std::string> kOne{"cg"};  // estimators, which are not looked at

/// Ridge regression on 90 and 70 rows in batches of 8 and 12, whose means of row losses a test replaces.
struct Rows {
  using Reduce = std::function<Tensor(const Tensor& losses)>;
  Tensor x, y, train, target, valid, valid_target;

  explicit Rows(torch::ScalarType type = torch::kFloat64) {
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(7);
    const auto random = [&](at::IntArrayRef shape) {
      return torch::randn(shape, generator, torch::kFloat64).to(type);
    };
    train = random({90, 3});
    target = train.mv(random({3})) + 0.5 * random({90});
    valid = random({70, 3});
    valid_target = valid.mv(random({3})) + 0.5 * random({70});
    x = (0.1 * random({3})).requires_grad_();
    y = random({3}).requires_grad_();
  }

  Problem problem(const Reduce& upper, const Reduce& lower, const SamplingOptions& a = {.batch_size = 8},
                  const SamplingOptions& b = {.batch_size = 12}) const {
    return {.upper = {.parameters = {{"x", x}},
                      .loss =
                          [*this, upper](const Batch& r) {
                            return upper((r.input().mv(y) - r.targets()).square()) + 0.01 * x.square().sum();
                          },
                      .batches = shuffled({valid}, valid_target, a)},
            .lower = {.parameters = {{"y", y}},
                      .loss =
                          [*this, lower](const Batch& r) {
                            return lower((r.input().mv(y) - r.targets()).square()) +
                                   (x.exp() * y.square()).sum();
                          },
                      .batches = shuffled({train}, target, b)}};
  }
};

Tensor mean(const Tensor& losses) { return losses.mean(); }

TEST(CheckBatches, MeansOverRowsAreOkHoweverTheyAreDrawn) {
  for (const auto type : {torch::kFloat64, torch::kFloat32}) {
    const Rows rows(type);
    for (const SamplingOptions& sampling :
         {SamplingOptions{.batch_size = 8}, SamplingOptions{.batch_size = 1},
          SamplingOptions{.batch_size = 500}, SamplingOptions{.batch_size = 200, .with_replacement = true}}) {
      const CheckReport report = check(rows.problem(mean, mean, sampling, sampling), {.estimators = kOne});
      EXPECT_TRUE(report.ok) << report.table();
      for (const char* level : {"the upper loss", "the lower loss"}) {
        EXPECT_EQ(item_named(report, std::string(level) + " is a mean over its rows").verdict, Verdict::ok)
            << report.table();
        if (sampling.batch_size > 1) {
          EXPECT_EQ(item_named(report, std::string(level) + " does not depend on the order").verdict,
                    Verdict::ok);
        }
      }
    }
  }
}

TEST(CheckBatches, AWeightByPlaceIsWrong) {
  const auto by_place = [](const Tensor& losses) {
    return (torch::linspace(0.5, 1.5, losses.numel(), losses.options()) * losses).mean();
  };
  for (const auto type : {torch::kFloat64, torch::kFloat32}) {
    const Rows rows(type);
    const CheckReport upper = check(rows.problem(by_place, mean), {.estimators = kOne});
    EXPECT_EQ(item_named(upper, "the upper loss does not depend on the order").verdict, Verdict::wrong)
        << upper.table();
    EXPECT_EQ(item_named(upper, "the lower loss does not depend on the order").verdict, Verdict::ok);
    const CheckReport lower = check(rows.problem(mean, by_place), {.estimators = kOne});
    EXPECT_EQ(item_named(lower, "the lower loss does not depend on the order").verdict, Verdict::wrong);
  }
}

TEST(CheckBatches, ASumIsWrong) {
  const auto sum = [](const Tensor& losses) { return losses.sum(); };
  for (const auto type : {torch::kFloat64, torch::kFloat32}) {
    const Rows rows(type);
    const CheckReport upper = check(rows.problem(sum, mean), {.estimators = kOne});
    const CheckItem& item = item_named(upper, "the upper loss is a mean");
    EXPECT_EQ(item.verdict, Verdict::wrong) << upper.table();
    EXPECT_CONTAINS(item.message, "sum");
    const CheckReport lower = check(rows.problem(mean, sum), {.estimators = kOne});
    EXPECT_EQ(item_named(lower, "the lower loss is a mean").verdict, Verdict::wrong);
  }
}

TEST(CheckBatches, WhereEveryBatchIsAllRowsASumIsAWarning) {
  const Rows rows;
  const auto sum = [](const Tensor& losses) { return losses.sum(); };
  const SamplingOptions all{.batch_size = 500};
  const CheckReport report = check(rows.problem(sum, mean, all, all), {.estimators = kOne});
  EXPECT_TRUE(report.ok) << report.table();
  const CheckItem& item = item_named(report, "the upper loss is a mean");
  EXPECT_EQ(item.verdict, Verdict::warning);
  EXPECT_CONTAINS(item.message, "Harmless");
  // A loss that is made for all rows alone need not take fewer.
  const auto fixed = [](const Tensor& losses) { return losses.dot(torch::ones({70}, torch::kFloat64)) / 70; };
  const CheckReport only = check(rows.problem(fixed, mean, all, all), {.estimators = kOne});
  EXPECT_TRUE(only.ok) << only.table();
  EXPECT_EQ(item_named(only, "the upper loss is a mean").verdict, Verdict::skipped);
}

TEST(CheckBatches, BatchNormalizationIsWrong) {
  for (const auto type : {torch::kFloat64, torch::kFloat32}) {
    const Rows rows(type);
    const auto normalized = [](const Tensor& features) {
      return torch::batch_norm(features, {}, {}, {}, {}, /*training=*/true, 0.1, 1e-5, false);
    };
    for (const bool upper : {true, false}) {
      Problem problem = rows.problem(mean, mean);
      Level& level = upper ? problem.upper : problem.lower;
      level.loss = [=, x = rows.x, y = rows.y](const Batch& b) {
        const Tensor loss = (normalized(b.input()).mv(y) - b.targets()).square().mean();
        return upper ? loss + 0.01 * x.square().sum() : loss + (x.exp() * y.square()).sum();
      };
      const CheckReport report = check(problem, {.estimators = kOne});
      const CheckItem& item =
          item_named(report, upper ? "the upper loss is a mean" : "the lower loss is a mean");
      EXPECT_EQ(item.verdict, Verdict::wrong) << report.table();
      EXPECT_CONTAINS(item.message, "batch normalization");
    }
  }
}

TEST(CheckBatches, ValuesThatAreRightDoNotHideGradientsThatAreNot) {
  // A sum whose value is scaled to a mean's.
  const Rows rows;
  const auto odd = [](const Tensor& losses) {
    const Tensor sum = losses.sum();
    return sum - sum.detach() + losses.mean().detach();
  };
  const CheckReport report = check(rows.problem(mean, odd), {.estimators = kOne});
  EXPECT_EQ(item_named(report, "the lower loss is a mean").verdict, Verdict::wrong) << report.table();
}

TEST(CheckBatches, WeightsOfAStratifiedBatchMustCount) {
  const Rows rows;
  const Tensor rare = torch::arange(90) < 3;  // 3 rows of a class of their own: less than one row a batch
  std::vector<int64_t> numbers, classes;
  for (int64_t i = 0; i < 90; ++i) {
    numbers.push_back(i);
    classes.push_back(rare[i].item<bool>());
  }
  for (const bool weighted : {true, false}) {
    Problem problem = rows.problem(mean, mean);
    problem.lower.batches =
        BatchSource(data_set({rows.train}, rows.target), numbers, {.batch_size = 10}, classes);
    problem.lower.loss = [=, x = rows.x, y = rows.y](const Batch& b) {
      const Tensor losses = (b.input().mv(y) - b.targets()).square();
      return (weighted ? weighted_mean(losses, b.weights()) : losses.mean()) + (x.exp() * y.square()).sum();
    };
    const CheckReport report = check(problem, {.estimators = kOne});
    const CheckItem& item = item_named(report, "the lower loss counts its rows by the batch's weights");
    EXPECT_EQ(item.verdict, weighted ? Verdict::ok : Verdict::wrong) << report.table();
    EXPECT_EQ(item_named(report, "the lower loss is a mean").verdict, Verdict::ok) << report.table();
  }
}

TEST(CheckBatches, DropoutIsRightOnAverage) {
  const Ridge ridge(0.1);
  const CheckReport report = check(ridge.problem(), {.estimators = kOne});
  EXPECT_TRUE(report.ok) << report.table();
  const CheckItem& item = item_named(report, "the lower loss is a mean");
  EXPECT_NE(item.verdict, Verdict::wrong) << item.message;
  EXPECT_CONTAINS(item.message, "draws");
}

TEST(CheckBatches, ASumUnderDropoutIsWrongAllTheSame) {
  const Rows rows;
  Problem problem = rows.problem(mean, mean);
  problem.lower.loss = [x = rows.x, y = rows.y](const Batch& b) {
    return (torch::dropout(b.input(), 0.2, true).mv(y) - b.targets()).square().sum() +
           (x.exp() * y.square()).sum();
  };
  const CheckReport report = check(problem, {.estimators = kOne});
  EXPECT_EQ(item_named(report, "the lower loss is a mean").verdict, Verdict::wrong) << report.table();
}

TEST(CheckBatches, PairsOfRowsAreNoMeanButRightOnAverage) {
  // The mean over all pairs of different rows of a batch: unbiased, though not a mean over rows.
  const Rows rows;
  const auto pairs = [](const Tensor& losses) {
    const auto n = static_cast<double>(losses.numel());
    const Tensor l = losses.sqrt();
    return (l.sum().square() - l.square().sum()) / (n * (n - 1));
  };
  const CheckReport report = check(rows.problem(pairs, mean), {.estimators = kOne});
  const CheckItem& item = item_named(report, "the upper loss is a mean");
  EXPECT_EQ(item.verdict, Verdict::unsure) << report.table();
  EXPECT_CONTAINS(item.message, "partitions");
}

}  // namespace check_batches_test
}  // namespace bilevel
