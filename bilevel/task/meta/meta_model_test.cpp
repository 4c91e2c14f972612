#include "bilevel/task/meta/meta_model.h"

#include <torch/autograd.h>

#include <cmath>
#include <map>
#include <utility>

#include "bilevel/core/error.h"
#include "bilevel/core/streams.h"
#include "bilevel/hypergrad/estimator.h"
#include "bilevel/solver/registry.h"
#include "bilevel/solver/run.h"
#include "bilevel/task/meta/baselines.h"
#include "tests/support.h"
#include "tests/unbiased.h"

namespace bilevel {
namespace meta_model_test {

constexpr int64_t kClasses = 6, kRowsOfClass = 12, kWords = 40;

/// Texts of 3 to 6 tokens: a row of class c holds at least one of the tokens 2 + 3c .. 4 + 3c, the rest is noise.
struct Texts {
  MetaRows rows;
  TaskGroup group;
  std::vector<int64_t> labels;
  InputShape shape{.kind = InputKind::tokens, .width = kWords};

  explicit Texts(bool pair = false) {
    const DefaultGeneratorScope randomness(3);
    const auto draw = [](int64_t low, int64_t high) {
      return torch::randint(low, high, {1}).item<int64_t>();
    };
    std::vector<int64_t> ids, offsets{0};
    const int64_t copies = pair ? 2 : 1;
    for (int64_t copy = 0; copy < copies; ++copy) {
      for (int64_t row = 0; row < kClasses * kRowsOfClass; ++row) {
        const int64_t length = draw(3, 7), c = row / kRowsOfClass;
        for (int64_t i = 0; i < length; ++i) {
          ids.push_back(i == length / 2 ? 2 + 3 * c + draw(0, 3) : draw(2 + 3 * kClasses, kWords));
        }
        offsets.push_back(static_cast<int64_t>(ids.size()));
      }
    }
    rows.inputs = Inputs::tokens({torch::tensor(ids), offsets});
    rows.pair_offset = pair ? kClasses * kRowsOfClass : 0;
    for (int64_t c = 0; c < kClasses; ++c) {
      TaskClass one{.name = std::to_string(c), .rows = {}};
      for (int64_t i = 0; i < kRowsOfClass; ++i) {
        one.rows.push_back(c * kRowsOfClass + i);
        labels.push_back(c);
      }
      group.classes.push_back(one);
    }
  }
};

MetaModelOptions small(HeadKind head, const std::string& encoder = "rnn") {
  MetaModelOptions options{
      .network = {.encoder = encoder,
                  .set = {{"hidden", 8}, {"embedding_size", 6}, {"dropout", 0.0}, {"token_mean", true}}},
      .head = head};
  if (encoder == "transformer") options.network.set["layers"] = 1;
  return options;
}

// The gradient that a solver sees is the derivative of the query loss at the solved heads.
TEST(MetaModel, TheHypergradientThroughTheEncoderIsTheDerivativeOfTheSolvedProblem) {
  for (const bool pair : {false, true}) {
    for (const HeadKind head : {HeadKind::ridge, HeadKind::softmax}) {
      for (const char* encoder : {"rnn", "transformer"}) {
        const Texts texts(pair);
        MetaModelOptions options = small(head, encoder);
        options.pair = pair;
        MetaModel model(options, texts.shape, 0, 1, torch::kCPU);
        const EpisodeSource source({texts.group}, {.ways = 3, .shots = 2, .queries = 2}, "training", 1);
        model.set_head(texts.rows, source);
        Oracles oracles(model.problem(texts.rows, source, 3, 30), 1);
        EXPECT_TRUE(oracles.probe(UnusedParameters::error).empty());
        const Sample sample = oracles.upper().draw("test");
        EXPECT_EQ(sample.batch.size(), 3 * 3 * 4);
        const torch::Tensor gradient = oracles.upper().point(sample).grad_x().to(torch::kFloat64);
        // Along the gradient, in single precision: the derivative is its squared norm.
        const torch::Tensor at = oracles.x().flat().clone();
        const double h = 1e-3 / gradient.norm().item<double>();
        const auto value = [&](double t) {
          oracles.x().assign(at + t * gradient.to(torch::kFloat32));
          return oracles.upper().point(sample).value().item<double>();
        };
        const double slope = (value(h) - value(-h)) / (2 * h);
        const double expected = gradient.square().sum().item<double>();
        EXPECT_NEAR(slope, expected, 0.02 * expected) << name_of(head) << " " << encoder << " pair " << pair;
      }
    }
  }
}

TEST(MetaModel, LearnsFromItsTasks) {
  const Texts texts;
  const TaskGroup &train = texts.group, &test = texts.group;
  const EpisodeOptions episodes{.ways = 3, .shots = 2, .queries = 5};
  const EpisodeSource source({train}, episodes, "training", 1), other({test}, episodes, "test", 1);
  MetaModel model(small(HeadKind::ridge), texts.shape, 0, 1, torch::kCPU);
  model.set_head(texts.rows, source);
  const TaskAccuracy before = model.evaluate(texts.rows, other, 0, 200);
  const auto solver = make_solver("adambo");
  fields_of(*solver).set("upper_step_size", 1e-2);
  const Result result = run(model.problem(texts.rows, source, 5, 1000), *solver, {.max_steps = 60});
  EXPECT_EQ(result.reason, StopReason::max_steps) << result.message;
  EXPECT_EQ(result.oracle_calls.steps.upper_gradient, 60);
  EXPECT_EQ(result.oracle_calls.steps.upper_samples, 60 * 5 * 3 * 7);
  const TaskAccuracy after = model.evaluate(texts.rows, other, 0, 200);
  EXPECT_GT(after.low, before.high);
}

TEST(MetaModel, EvaluationChangesNothing) {
  for (const HeadKind head : {HeadKind::ridge, HeadKind::softmax, HeadKind::shared}) {
    const Texts texts;
    const EpisodeSource source({texts.group}, {.ways = 3, .shots = 2, .queries = 2}, "test", 1);
    MetaModelOptions options = small(head);
    options.network.set["dropout"] = 0.5;
    MetaModel model(options, texts.shape, kClasses, 1, torch::kCPU);
    model.set_head(texts.rows, source);
    const auto before = model.tensors();
    const torch::Tensor generator = at::globalContext().defaultGenerator(torch::kCPU).get_state();
    const TaskAccuracy first = model.evaluate(texts.rows, source, 0, 60, texts.labels);
    const TaskAccuracy second = model.evaluate(texts.rows, source, 0, 60, texts.labels);
    EXPECT_EQ(first.of_task, second.of_task) << name_of(head);
    EXPECT_TRUE(torch::equal(generator, at::globalContext().defaultGenerator(torch::kCPU).get_state()));
    EXPECT_TRUE(model.network()->is_training());
    for (const auto& [name, tensor] : model.tensors())
      EXPECT_TRUE(torch::equal(tensor, before.at(name))) << name;
  }
}

// What `evaluate` counts for a task is what `adapted_scores` says about its rows.
TEST(MetaModel, EvaluationAgreesWithAdaptingToOneTask) {
  const Texts texts;
  const EpisodeSource source({{.classes = texts.group.classes}}, {.ways = 3, .shots = 2, .queries = 4},
                             "test", 1);
  MetaModel model(small(HeadKind::softmax), texts.shape, 0, 1, torch::kCPU);
  model.set_head(texts.rows, source);
  const TaskAccuracy all = model.evaluate(texts.rows, source, 0, 20);
  std::map<int64_t, std::pair<double, int>> of_class;
  for (int64_t task = 0; task < 20; ++task) {
    const Episodes one = source.draw(task, 1);
    const auto only = [&](const std::vector<int64_t>& rows) {
      const auto tensors = texts.rows.inputs.gather(rows);
      std::vector<int64_t> ids, offsets{0};
      for (int64_t i = 0; i < tensors[0].size(0); ++i) {
        for (int64_t j = 0; j < tensors[1][i].item<int64_t>(); ++j)
          ids.push_back(tensors[0][i][j].item<int64_t>());
        offsets.push_back(static_cast<int64_t>(ids.size()));
      }
      return MetaRows{.inputs = Inputs::tokens({torch::tensor(ids), offsets})};
    };
    const torch::Tensor scores =
        model.adapted_scores(only(one.support), {0, 0, 1, 1, 2, 2}, 3, only(one.query));
    const torch::Tensor right = scores.argmax(1).eq(episode_labels(3, 4)).to(torch::kFloat64);
    EXPECT_DOUBLE_EQ(right.mean().item<double>(), all.of_task[static_cast<size_t>(task)]);
    ASSERT_EQ(one.units.size(), 3U);
    for (int64_t c = 0; c < 3; ++c) {
      auto& [sum, count] = of_class[one.units[static_cast<size_t>(c)]];
      sum += right.narrow(0, 4 * c, 4).mean().item<double>();
      ++count;
    }
  }
  ASSERT_EQ(all.of_unit.size(), of_class.size());
  ASSERT_GT(of_class.size(), 3U);
  for (auto found = all.of_unit.begin(); const auto& [unit, total] : of_class)
    EXPECT_NEAR(*found++, total.first / total.second, 1e-12) << unit;
}

// The shared head's problem is an ordinary one: its estimate against finite differences of the solved problem.
TEST(MetaModel, TheSharedHeadIsAStronglyConvexLowerLevel) {
  const Texts texts;
  const EpisodeSource source({texts.group}, {.ways = 3, .shots = 2, .queries = 2}, "training", 1);
  MetaModelOptions options = small(HeadKind::shared);
  options.l2 = 0.05;
  MetaModel model(options, texts.shape, kClasses, 1, torch::kCPU);
  Oracles oracles(model.problem(texts.rows, source, 4, 100, texts.labels), 1);
  EXPECT_TRUE(oracles.probe(UnusedParameters::error).empty());
  const Sample upper = oracles.upper().draw("a"), lower = oracles.lower().draw("a");
  EXPECT_EQ(upper.batch.size(), 24);
  EXPECT_EQ(lower.batch.size(), 24);
  const torch::Tensor exact = make_estimator("exact")->estimate(oracles, upper, lower).value;
  const torch::Tensor cg = make_estimator("cg")->estimate(oracles, upper, lower).value;
  EXPECT_LT(relative_error(cg, exact), 1e-2);
  // g has curvature at least 2 l2 everywhere.
  const torch::Tensor v = torch::randn({oracles.y().size()});
  EXPECT_GE(v.dot(oracles.lower().point(lower, Graph::lower_only).hvp(v)).item<double>(),
            0.1 * v.square().sum().item<double>() * (1 - 1e-5));
}

// The tasks are the rows of the data here, and every task counts the same. In single precision: the sums over 40 tasks
// agree to some 1e-6.
TEST(MetaModel, BatchesOfTasksAverageToAllTasks) {
  const Texts texts;
  const EpisodeSource source({texts.group}, {.ways = 3, .shots = 2, .queries = 2}, "training", 1);
  MetaModel model(small(HeadKind::shared), texts.shape, kClasses, 1, torch::kCPU);
  const Problem problem = model.problem(texts.rows, source, 3, 40, texts.labels);
  expect_unbiased(problem, problem.upper, 40, 1e-5);
  expect_unbiased(problem, problem.lower, 40, 1e-5);
}

TEST(MetaModel, AdaptedHeadsDescendFromACopy) {
  const torch::Tensor weight = torch::randn({3, 5}), bias = torch::randn({3});
  const torch::Tensor support = torch::randn({4, 6, 5}), targets = one_hot_targets(4, 3, 2, support);
  const torch::Tensor before = weight.clone();
  const auto loss = [&](const torch::Tensor& w) {
    return (-(targets * with_one(support).matmul(w).log_softmax(-1)).sum({1, 2}) / 6 +
            0.1 * w.square().sum({1, 2}));
  };
  torch::Tensor last = loss(adapted_heads(weight, bias, support, targets, 0, 0.1));
  for (const int64_t steps : {1, 2, 5, 50}) {
    const torch::Tensor now = loss(adapted_heads(weight, bias, support, targets, steps, 0.1));
    EXPECT_TRUE((now < last).all().item<bool>()) << steps;
    last = now;
  }
  EXPECT_TRUE(torch::equal(weight, before));
}

TEST(MetaModel, RefusesWhatItCannotDo) {
  const Texts texts;
  const auto refusal = [&](const MetaModelOptions& options) {
    return message_of<InputError>([&] { MetaModel(options, texts.shape, 3, 1, torch::kCPU); });
  };
  EXPECT_CONTAINS(refusal({.network = {.encoder = "bag"}}), "encoder = bag: gives one number per class");
  MetaModel model(small(HeadKind::ridge), texts.shape, 0, 1, torch::kCPU);
  const EpisodeSource source({texts.group}, {.ways = 3, .shots = 2, .queries = 2}, "training", 1);
  EXPECT_CONTAINS(message_of<InputError>([&] { model.problem(texts.rows, source, 0, 10); }),
                  "meta_batch = 0");
  EXPECT_CONTAINS(message_of<InputError>([&] { model.problem(texts.rows, source, 20, 10); }),
                  "episodes = 10");
}

TEST(MetaModel, TensorsComeBack) {
  for (const HeadKind head : {HeadKind::ridge, HeadKind::shared}) {
    const Texts texts;
    const EpisodeSource source({texts.group}, {.ways = 3, .shots = 2, .queries = 2}, "test", 1);
    MetaModel model(small(head), texts.shape, kClasses, 1, torch::kCPU),
        other(small(head), texts.shape, kClasses, 2, torch::kCPU);
    model.set_head(texts.rows, source);
    EXPECT_NE(model.evaluate(texts.rows, source, 0, 60, texts.labels).of_task,
              other.evaluate(texts.rows, source, 0, 60, texts.labels).of_task);
    other.load(model.tensors());
    EXPECT_EQ(model.evaluate(texts.rows, source, 0, 60, texts.labels).of_task,
              other.evaluate(texts.rows, source, 0, 60, texts.labels).of_task);
  }
}

TEST(NearestClassMean, KnowsSeparatedClassesAndGuessesEqualOnes) {
  const Texts texts;
  const EpisodeSource source({texts.group}, {.ways = 3, .shots = 1, .queries = 4}, "test", 1);
  torch::Tensor table = torch::zeros({kClasses * kRowsOfClass, kClasses});
  for (int64_t row = 0; row < table.size(0); ++row) table[row][texts.labels[static_cast<size_t>(row)]] = 1;
  EXPECT_EQ(nearest_class_mean(table, source, 0, 70).mean, 1);
  EXPECT_EQ(nearest_class_mean(table, source, 0, 70).of_task.size(), 70u);
  // Tasks of one table share its rows: the standard error is that over tables.
  std::vector<double> means;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const DefaultGeneratorScope randomness(seed);
    means.push_back(nearest_class_mean(torch::randn({table.size(0), 4}), source, 0, 100).mean);
  }
  const torch::Tensor all = torch::tensor(means, torch::kFloat64);
  EXPECT_NEAR(all.mean().item<double>(), 1.0 / 3, 5 * all.std().item<double>() / std::sqrt(20));
}

TEST(LogisticRegression, IsThatOfEachTask) {
  const Texts texts;
  const EpisodeSource source({texts.group}, {.ways = 3, .shots = 2, .queries = 4}, "test", 1);
  const int64_t rows = kClasses * kRowsOfClass;
  torch::Tensor table = torch::zeros({rows, kClasses});
  for (int64_t row = 0; row < rows; ++row) table[row][texts.labels[static_cast<size_t>(row)]] = 1;
  EXPECT_EQ(logistic_regression(table, source, 0, 70).mean, 1);
  EXPECT_EQ(logistic_regression(table, source, 0, 70).of_task.size(), 70u);
  // |W|^2 / 2 + the sum of losses is least where W = H' A with A + softmax(H H' A) = Y, H the centred support rows with a one.
  table = torch::arange(rows * 5, torch::kFloat32).square().mul(0.37).sin().view({rows, 5});
  const Episodes task = source.draw(0, 1);
  const torch::Tensor support = table.index_select(0, torch::tensor(task.support, torch::kInt64));
  const auto centred = [&](const torch::Tensor& part) {
    return with_one((part - support.mean(0)).unsqueeze(0))[0];
  };
  const torch::Tensor h = centred(support), y = one_hot_targets(1, 3, 2, table)[0], k = h.mm(h.t());
  torch::Tensor a = torch::zeros_like(y);
  for (int i = 0; i < 2000; ++i) a = a + 0.05 * (y - torch::softmax(k.mm(a), 1) - a);
  const torch::Tensor query = centred(table.index_select(0, torch::tensor(task.query, torch::kInt64)));
  const torch::Tensor right = query.mm(h.t().mm(a)).argmax(1).eq(episode_labels(3, 4));
  EXPECT_NEAR(logistic_regression(table, source, 0, 1).mean, right.to(torch::kFloat64).mean().item<double>(),
              1e-12);
}

TEST(InnerLoop, AnilAndMamlLearnAndAreDeterministic) {
  const Texts texts;
  const EpisodeOptions episodes{.ways = 3, .shots = 3, .queries = 4};
  const EpisodeSource train({texts.group}, episodes, "training", 1), test({texts.group}, episodes, "test", 1);
  for (const char* method : {"anil", "maml"}) {
    const auto accuracy = [&](int64_t steps) {
      MetaModel model(small(HeadKind::shared), texts.shape, 3, 1, torch::kCPU);
      return train_inner_loop(model, texts.rows, train, test, test, 60,
                              {.method = method,
                               .steps = steps,
                               .meta_batch = 4,
                               .inner_step_size = 0.5,
                               .step_size = 1e-2,
                               .valid_tasks = 20},
                              1);
    };
    const TaskAccuracy start = accuracy(0), trained = accuracy(60);
    EXPECT_EQ(trained.of_task.size(), 60u);
    EXPECT_GT(trained.low, start.high) << method;
    EXPECT_EQ(accuracy(5).of_task, accuracy(5).of_task) << method;
  }
}

TEST(InnerLoop, StopsWhenItIsInterrupted) {
  const Texts texts;
  const EpisodeOptions episodes{.ways = 3, .shots = 3, .queries = 4};
  const EpisodeSource source({texts.group}, episodes, "training", 1);
  const std::atomic<bool> interrupt{true};
  MetaModel model(small(HeadKind::shared), texts.shape, 3, 1, torch::kCPU);
  EXPECT_TRUE(train_inner_loop(model, texts.rows, source, source, source, 60, {.interrupt = &interrupt}, 1)
                  .of_task.empty());
}

TEST(TaskAccuracy, HasStudentsInterval) {
  const TaskAccuracy accuracy({0.2, 0.4, 0.6, 0.8});
  EXPECT_DOUBLE_EQ(accuracy.mean, 0.5);
  EXPECT_NEAR(accuracy.standard_error, std::sqrt(0.2 / 3 / 4), 1e-12);
  EXPECT_NEAR(accuracy.high - accuracy.mean, 3.182446 * accuracy.standard_error, 1e-6);  // t, 3 degrees
  EXPECT_TRUE(accuracy.has_interval());
  EXPECT_GT(TaskAccuracy({1.0, 0.9}).high, 1);  // not cut
}

TEST(TaskAccuracy, HasNoIntervalWithoutSpread) {
  EXPECT_FALSE(TaskAccuracy({1.0, 1.0, 1.0}).has_interval());
  EXPECT_FALSE(TaskAccuracy({0.1, 0.1, 0.1}).has_interval());  // whose sum / 3 is not 0.1
  EXPECT_FALSE(TaskAccuracy({0.7}).has_interval());
  EXPECT_EQ(TaskAccuracy({0.7}).mean, 0.7);
  EXPECT_FALSE(TaskAccuracy(std::vector<double>{}).has_interval());
}

}  // namespace meta_model_test
}  // namespace bilevel
