#include "bilevel/task/tune/tune_model.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <numeric>

#include "bilevel/core/error.h"
#include "bilevel/core/streams.h"
#include "bilevel/solver/adambo/adambo.h"
#include "bilevel/solver/run.h"
#include "bilevel/task/tune/tune_search.h"
#include "tests/own_derivatives.h"
#include "tests/solved_slope.h"
#include "tests/unbiased.h"

namespace bilevel {
namespace tune_model_test {

using torch::Tensor;

constexpr int64_t kWidth = 4, kClasses = 3;

/// Known answers are computed in double precision.
class TuneModelTest : public testing::Test {
 protected:
  TuneModelTest() { torch::set_default_dtype(caffe2::TypeMeta::Make<double>()); }
  ~TuneModelTest() override { torch::set_default_dtype(caffe2::TypeMeta::Make<float>()); }
};

std::vector<int64_t> range(int64_t from, int64_t to) {
  std::vector<int64_t> rows(static_cast<size_t>(to - from));
  std::iota(rows.begin(), rows.end(), from);
  return rows;
}

/// Rows whose features have different sizes; 30 to train, 20 to validate.
TuneData small_data() {
  const DefaultGeneratorScope randomness(3);
  TuneData data;
  Tensor x = torch::randn({50, kWidth});
  for (int64_t row = 0; row < 50; ++row) {
    const int64_t c = row % 7 < 4 ? 0 : row % 7 < 6 ? 1 : 2;
    data.classes.push_back(c);
    x[row][c % kWidth] += 1;
  }
  data.inputs = Inputs::dense(x * torch::tensor({1.0, 0.5, 2.0, 0.1}));
  data.train = range(0, 30);
  data.valid = range(30, 50);
  return data;
}

TuneModel model_of(const std::string& kind, const TuneData& data, double l2 = 0.05, double spread = 1.5,
                   const std::string& encoder = "linear") {
  NetworkOptions network{.encoder = encoder, .outputs = kClasses};
  if (encoder == "mlp")
    network = {.encoder = encoder,
               .outputs = kClasses,
               .set = {{"hidden", 5}, {"layers", 2}, {"dropout", 0.0}, {"activation", "tanh"}}};
  return TuneModel({.network = network,
                    .kind = value_named<TuneKind>(kind, "tune"),
                    .l2 = l2,
                    .spread = spread,
                    .seed = 2},
                   {.kind = InputKind::dense, .width = kWidth}, data);
}

/// Some x that is nothing special.
void move_x(TuneModel& model) {
  const DefaultGeneratorScope randomness(11);
  model.set_x(model.x().detach() + 0.4 * torch::randn_like(model.x()));
}

TEST_F(TuneModelTest, EveryKindsHypergradientIsTheSlopeOfTheSolvedProblem) {
  const TuneData data = small_data();
  for (const std::string& kind : names_of<TuneKind>()) {
    SCOPED_TRACE(kind);
    TuneModel model = model_of(kind, data);
    move_x(model);
    Oracles oracles(model.problem(1000), 1);
    const Tensor x = oracles.x().flat().clone();
    const Sample upper = oracles.upper().draw("test"), lower = oracles.lower().draw("test");
    expect_slope_of_solved(oracles, x, upper, lower, 100);
  }
}

/// Dense inputs as sparse ones.
Inputs compressed(const Inputs& dense) {
  const Tensor x = dense.matrix()[0];
  const int64_t rows = x.size(0), width = x.size(1);
  return Inputs::sparse({.indices = torch::arange(width).repeat({rows}),
                         .values = x.flatten(),
                         .offsets = torch::arange(rows + 1) * width,
                         .width = width});
}

TEST_F(TuneModelTest, OwnDerivativesAreThoseOfAutograd) {
  TuneData data = small_data();
  data.classes[3] = data.classes[31] = 2;  // batches with weights
  for (const std::string& kind : names_of<TuneKind>()) {
    for (const bool sparse : {false, true}) {
      SCOPED_TRACE(kind + (sparse ? ", sparse" : ""));
      TuneData of = data;
      if (sparse) of.inputs = compressed(data.inputs);
      TuneModel model = model_of(kind, of);
      move_x(model);
      model.set_y(torch::linspace(-0.5, 0.8, model.flat_y().numel()));
      expect_own_derivatives(model.problem(6));
    }
  }
  // Strengths at their bounds are not moved by deviations that lead further out.
  for (const double m : {0.0, 9.0, -21.0}) {
    SCOPED_TRACE(m);
    TuneModel model = model_of("l2-per-feature", data);
    model.set_x(torch::tensor({m, 1.0, -2.0, 0.1, 0.5}));
    model.set_y(torch::linspace(-0.5, 0.8, model.flat_y().numel()));
    expect_own_derivatives(model.problem(50));
  }
  EXPECT_FALSE(Oracles(model_of("l2", data, 0.05, 1.5, "mlp").problem(6), 1).has_derivatives());
}

// Class 2 has less than one row in a batch of six: 2 of 30 rows to train, 2 of 20 to validate.
TEST_F(TuneModelTest, BatchesAverageToAllRowsWhereAClassIsRare) {
  TuneData data = small_data();
  for (size_t row = 0; row < 50; ++row)
    data.classes[row] = row == 3 || row == 17 || row == 31 || row == 44 ? 2 : row % 3 == 1;
  const auto sizes_of = [&](const std::vector<int64_t>& rows) {
    std::vector<int64_t> sizes(kClasses, 0);
    for (const int64_t row : rows) ++sizes[static_cast<size_t>(data.classes[static_cast<size_t>(row)])];
    return sizes;
  };
  for (const std::string& kind : names_of<TuneKind>()) {
    SCOPED_TRACE(kind);
    TuneModel model = model_of(kind, data);
    move_x(model);
    model.set_y(torch::linspace(-0.5, 0.8, model.flat_y().numel()));
    const Problem problem = model.problem(6);
    expect_unbiased(problem, problem.upper, batches_of_a_cycle(sizes_of(data.valid), 6));
    expect_unbiased(problem, problem.lower, batches_of_a_cycle(sizes_of(data.train), 6));
  }
}

// y stands for w = y / sqrt(h + lambda), but w is the minimizer of the loss that one would write down for it.
TEST_F(TuneModelTest, ScalingTheWeightsChangesNoModel) {
  const TuneData data = small_data();
  for (const std::string kind : {"l2-per-feature", "l2-per-class", "l2"}) {
    SCOPED_TRACE(kind);
    TuneModel model = model_of(kind, data);
    move_x(model);
    minimize_weights(model, 200, 1e-9);
    const std::shared_ptr<Network> network = model.write_network();
    Tensor strengths = model.strengths();
    if (kind == "l2-per-feature") strengths = strengths.unsqueeze(1);
    const Tensor classes =
        torch::tensor(std::vector<int64_t>(data.classes.begin(), data.classes.begin() + 30));
    const std::vector<Tensor> w = network->parameters();
    const Tensor logits = network->forward(data.inputs.gather(data.train));
    Tensor loss = -logits.log_softmax(1).gather(1, classes.unsqueeze(1)).mean();
    for (const Tensor& t : w) {
      if (t.dim() == 2) loss = loss + 0.5 * (strengths * t.square()).sum();
    }
    for (const Tensor& gradient : torch::autograd::grad({loss}, w))
      EXPECT_LT(gradient.abs().max().item<double>(), 1e-6);
    EXPECT_TRUE(torch::allclose(model.probabilities(data.train), logits.softmax(1), 1e-10, 1e-12));
  }
}

// What settles is the elastic net itself: no smoothed norm, and weights that it leaves out are 0.
TEST_F(TuneModelTest, ElasticNetEndsAtItsOwnMinimum) {
  const TuneData data = small_data();
  TuneModel model = model_of("elastic-net", data);
  constexpr double kStrength = 0.08, kShare = 0.6;
  model.set_x(torch::tensor({std::log(kStrength), std::log(kShare / (1 - kShare))}));
  minimize_weights(model, 3000, 1e-6);
  EXPECT_NEAR(model.l1_share(), kShare, 1e-12);
  const std::shared_ptr<Network> network = model.write_network();
  const Tensor classes = torch::tensor(std::vector<int64_t>(data.classes.begin(), data.classes.begin() + 30));
  const Tensor loss =
      -network->forward(data.inputs.gather(data.train)).log_softmax(1).gather(1, classes.unsqueeze(1)).mean();
  const std::vector<Tensor> parameters = network->parameters();
  const std::vector<Tensor> slopes = torch::autograd::grad({loss}, parameters);
  bool found = false;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Tensor w = parameters[i].detach();
    if (w.dim() != 2) continue;
    const Tensor slope = slopes[i] + (1 - kShare) * kStrength * w, in = w != 0;
    const auto left_in = in.sum().item<int64_t>();
    found = left_in > 0 && left_in < w.numel();
    EXPECT_LT((slope + kShare * kStrength * w.sign()).masked_select(in).abs().max().item<double>(), 1e-5);
    EXPECT_LT(slope.masked_select(in.logical_not()).abs().max().item<double>(), kShare * kStrength + 1e-5);
  }
  EXPECT_TRUE(found) << "some weights are 0 and some are not";
  int64_t empty = 0;
  for (const Tensor& w : parameters) {
    if (w.dim() == 2) empty = (w.detach() == 0).all(w.size(0) == kWidth ? 1 : 0).sum().item<int64_t>();
  }
  EXPECT_EQ(model.features_left_out(), empty);
}

TEST_F(TuneModelTest, LowerLossIsTheFormulaOfItsKind) {
  const TuneData data = small_data();
  const Tensor classes = torch::tensor(std::vector<int64_t>(data.classes.begin(), data.classes.begin() + 30));
  for (const std::string kind : {"label-smoothing", "class-weights"}) {
    SCOPED_TRACE(kind);
    TuneModel model = model_of(kind, data);
    move_x(model);
    minimize_weights(model, 10);
    const std::shared_ptr<Network> network = model.write_network();
    const Tensor log_p = network->forward(data.inputs.gather(data.train)).log_softmax(1);
    const double eps = model.smoothing();
    const Tensor targets = (1 - eps) * torch::one_hot(classes, kClasses).to(torch::kFloat64) + eps / kClasses;
    const Tensor rows = -(targets * log_p).sum(1);
    Tensor loss = (model.class_weights().index_select(0, classes) * rows).mean();
    for (const Tensor& t : network->parameters()) {
      if (t.dim() == 2) loss = loss + 0.5 * model.strengths()[0] * t.square().sum();
    }
    EXPECT_NEAR(model.lower_loss(model.training_batch()).item<double>(), loss.item<double>(), 1e-12);
  }
}

TEST_F(TuneModelTest, ValuesStayInTheirRanges) {
  const TuneData data = small_data();
  at::Generator generator = Streams(5).stream("test");
  for (const std::string& kind : names_of<TuneKind>()) {
    TuneModel model = model_of(kind, data, 0.05, 30);
    const auto [low, high] = model.strength_range();
    const auto project = model.problem(10).upper.project;
    for (int draw = 0; draw < 20; ++draw) {
      model.set_x(project(10 * model.random(1e-6, 1e2, generator)));
      const Tensor strengths = model.strengths();
      EXPECT_GE(strengths.min().item<double>(), low * (1 - 1e-9));
      EXPECT_LE(strengths.max().item<double>(), high * (1 + 1e-9));
      EXPECT_GE(model.smoothing(), 0);
      EXPECT_LT(model.smoothing(), 1);
      const Tensor w = model.class_weights();
      EXPECT_GT(w.min().item<double>(), 0);
      double mean = 0;  // over the training rows
      for (const int64_t row : data.train)
        mean += w[data.classes[static_cast<size_t>(row)]].item<double>() / 30;
      EXPECT_NEAR(mean, 1, 1e-9);
    }
    model.set_x(model.neutral(0.25));
    EXPECT_NEAR(model.strengths().min().item<double>(), 0.25, 1e-12) << kind;
    EXPECT_NEAR(model.strengths().max().item<double>(), 0.25, 1e-12) << kind;
    EXPECT_LT(model.smoothing(), 1e-6);
    EXPECT_TRUE(torch::allclose(model.class_weights(), torch::ones({kClasses})));
  }
}

TEST_F(TuneModelTest, AnMlpHasStrengthsForFeaturesAndForEveryOtherMatrix) {
  const TuneData data = small_data();
  TuneModel model = model_of("l2-per-feature", data, 0.05, 2, "mlp");
  EXPECT_FALSE(model.convex());
  EXPECT_EQ(model.strengths().numel(), kWidth + 2);
  EXPECT_EQ(model.other_groups(), (std::vector<std::string>{"encoder.layer1.weight", "head.weight"}));
  // d g / d x_j = lambda_j / 2 * the squares of all weights that feature j multiplies.
  const Tensor loss = model.lower_loss(model.training_batch());
  const Tensor slope = torch::autograd::grad({loss}, {model.x()})[0];
  double squares = 0;
  for (const auto& p : model.write_network()->named_parameters()) {
    if (p.key() == "encoder.layer0.weight" || p.key() == "skip.weight")
      squares += p.value()[1].square().sum().item<double>();
  }
  EXPECT_NEAR(slope[2].item<double>(), 0.5 * 0.05 * squares, 1e-12);  // x_0 is the common one
  EXPECT_NEAR(slope[0].item<double>(), slope.slice(0, 1).sum().item<double>(), 1e-12);
}

TEST_F(TuneModelTest, RefusesWhatItCannotBe) {
  const TuneData data = small_data();
  const auto message = [&](const TuneModelOptions& options, const InputShape& shape) -> std::string {
    try {
      const TuneModel model(options, shape, data);
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };
  const NetworkOptions linear{.encoder = "linear", .outputs = kClasses};
  const InputShape shape{.kind = InputKind::dense, .width = kWidth};
  EXPECT_NE(message({.network = linear, .l2 = 0}, shape).find("l2 = 0"), std::string::npos);
  EXPECT_NE(message({.network = linear, .spread = -1}, shape).find("spread = -1"), std::string::npos);
  const NetworkOptions mlp{.encoder = "mlp", .outputs = kClasses};
  for (const TuneKind kind : {TuneKind::elastic_net, TuneKind::l2_by_evidence}) {
    const std::string refused = message({.network = mlp, .kind = kind}, shape);
    EXPECT_NE(refused.find(name_of(kind)), std::string::npos) << refused;
    EXPECT_NE(refused.find("not mlp"), std::string::npos) << refused;
  }
  const std::string frozen =
      message({.network = {.encoder = "rnn",
                           .outputs = kClasses,
                           .set = {{"hidden", 4}, {"embedding_size", 3}, {"freeze_embedding", true}}},
               .kind = TuneKind::l2_per_feature},
              {.kind = InputKind::tokens, .width = 9});
  EXPECT_NE(frozen.find("--train-embedding"), std::string::npos) << frozen;
}

// Two features tell the class, twenty are noise. What is learned must regularize the noise more, and the more
// so the less one believes beforehand that all strengths are alike.
TEST_F(TuneModelTest, LearnsToRegularizeNoise) {
  const DefaultGeneratorScope randomness(8);
  TuneData data;
  Tensor x = torch::randn({200, 22});
  for (int64_t row = 0; row < 200; ++row) {
    data.classes.push_back(row % 2);
    x[row].slice(0, 0, 2) += row % 2 == 0 ? 0.8 : -0.8;
  }
  data.inputs = Inputs::dense(x);
  data.train = range(0, 80);
  data.valid = range(80, 200);
  const auto learned = [&](double spread) {
    TuneModel model({.network = {.encoder = "linear", .outputs = 2}, .spread = spread},
                    {.kind = InputKind::dense, .width = 22}, data);
    minimize_weights(model, 20);
    AdamBO solver({.upper_step_size = 0.2,
                   .neumann_terms = 5,
                   .warm_start_steps = 0,
                   .second_moment_weight = 0.1,
                   .schedule = "cosine"});
    run(model.problem(1000), solver, {.max_steps = 100, .seed = 1});
    return model.strengths().log();
  };
  const auto gap = [](const Tensor& log_strengths) {
    return (log_strengths.slice(0, 2).mean() - log_strengths.slice(0, 0, 2).mean()).item<double>();
  };
  const double wide = gap(learned(2)), narrow = gap(learned(0.2));
  EXPECT_GT(wide, 1);
  EXPECT_GT(wide, 5 * narrow);
  EXPECT_LT(learned(0.02).std().item<double>(), 0.01);
}

TEST_F(TuneModelTest, PassesAreWhatTheCallsCost) {
  const TuneData data = small_data();
  TuneModel model = model_of("l2-per-feature", data);
  AdamBO solver({.lower_step_size = 0.1,
                 .neumann_step_size = 0.1,
                 .neumann_terms = 4,
                 .warm_start_steps = 2,
                 .lower_steps = 3});
  const Result result = run(model.problem(6), solver, {.max_steps = 7});
  // A step: 3 lower gradients, 3 Hessian-vector products, 1 cross product and 1 upper gradient, 6 rows each;
  // before them 2 lower gradients. The training part has 30 rows.
  EXPECT_DOUBLE_EQ(passes_of(result.oracle_calls, 6, 6, 30), (7 * 8 + 2) * 6 / 30.0);
}

// ---- searches ----

TEST_F(TuneModelTest, GridFindsItsBestPoint) {
  const TuneData data = small_data();
  TuneModel model = model_of("l2-per-feature", data);
  const SearchOptions options{.passes = 90, .training = {.evaluations = 100}};
  ASSERT_EQ(search_points(model, options, 30, 20), 6);
  const SearchOutcome found = grid_search(model, data, options);
  EXPECT_EQ(found.points, 6);
  EXPECT_LE(found.passes, 90 + 6 * 5) << "a line search may end a few evaluations late";
  double best = 1e9, strength = 0;
  for (int i = 0; i < 6; ++i) {
    const double l2 = 1e-6 * std::pow(1e8, i / 5.0);
    model.set_x(model.neutral(l2));
    model.reset_y();
    minimize_weights(model, 500);
    const double loss =
        class_scores(model.probabilities(data.valid), classes_at(data.classes, data.valid)).loss;
    if (loss < best) {
      best = loss;
      strength = l2;
    }
  }
  EXPECT_NEAR(found.strength, strength, 1e-9 * strength);
  EXPECT_NEAR(found.valid_loss, best, 1e-3);
  model.set_x(found.x);
  model.set_y(found.y);
  EXPECT_NEAR(class_scores(model.probabilities(data.valid), classes_at(data.classes, data.valid)).loss,
              found.valid_loss, 1e-12);
}

TEST_F(TuneModelTest, SearchesOfANetworkSpendWholeTrainings) {
  const TuneData data = small_data();
  TuneModel model = model_of("l2", data, 1e-3, 2, "mlp");
  // 20 steps of 6 rows are 4 passes over 30 rows, 3 measurements of 20 rows are 2.
  const SearchOptions options{
      .passes = 20,
      .training = {.steps = 20, .batch_size = 6, .step_size = 0.01, .measurements = 3},
      .high = 1};
  EXPECT_EQ(search_points(model, options, 30, 20), 3);
  for (const SearchOutcome& found :
       {grid_search(model, data, options), random_search(model, data, options)}) {
    EXPECT_EQ(found.points, 3);
    EXPECT_DOUBLE_EQ(found.passes, 18);
    EXPECT_LT(found.valid_loss, std::log(kClasses)) << "better than guessing";
  }
  const std::atomic<bool> stop = true;
  SearchOptions stopped = options;
  stopped.interrupt = &stop;
  EXPECT_TRUE(grid_search(model, data, stopped).interrupted);
}

TEST_F(TuneModelTest, RandomSearchIsDecidedByItsSeed) {
  const TuneData data = small_data();
  TuneModel model = model_of("class-weights", data);
  const SearchOptions options{.passes = 60, .seed = 3};
  const SearchOutcome first = random_search(model, data, options),
                      again = random_search(model, data, options);
  EXPECT_TRUE(first.x.equal(again.x));
  EXPECT_TRUE(first.y.equal(again.y));
  SearchOptions other = options;
  other.seed = 4;
  EXPECT_FALSE(random_search(model, data, other).x.equal(first.x));
}

}  // namespace tune_model_test
}  // namespace bilevel
