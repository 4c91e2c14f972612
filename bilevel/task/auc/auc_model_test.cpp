#include "bilevel/task/auc/auc_model.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <numeric>

#include "bilevel/core/streams.h"
#include "bilevel/hypergrad/implicit.h"
#include "bilevel/linear/neumann/neumann.h"
#include "bilevel/solver/adambo/adambo.h"
#include "bilevel/task/job/seeded_network.h"

namespace bilevel {
namespace auc_model_test {

std::map<std::string, torch::Tensor> all_tensors(const AucModel& model) {
  std::map<std::string, torch::Tensor> tensors = model.loss_tensors();
  tensors.merge(tensors_of(*model.network()));
  return tensors;
}

constexpr int64_t kRows = 40, kWidth = 3;

AucData small_data() {
  const DefaultGeneratorScope randomness(3);
  AucData data;
  data.labels = (torch::arange(kRows) % 4 == 0).to(torch::kFloat32);
  data.inputs = Inputs::dense(torch::randn({kRows, kWidth}) + data.labels.unsqueeze(1));
  data.lower.resize(kRows);
  std::iota(data.lower.begin(), data.lower.end(), 0);
  data.upper = data.lower;
  return data;
}

AucModel small_model(const std::string& encoder, const std::string& form, double l2) {
  NetworkOptions network{.encoder = encoder};
  if (encoder == "mlp")
    network = {.encoder = encoder, .hidden = 5, .layers = 1, .dropout = 0.0, .activation = "tanh"};
  AucModel model(network, {.kind = InputKind::dense, .width = kWidth}, {form, 0.25, 1.0}, l2, 7, torch::kCPU);
  const DefaultGeneratorScope randomness(4);
  const torch::NoGradGuard no_grad;
  for (torch::Tensor& parameter : model.upper_parameters())
    parameter.add_(0.3 * torch::randn_like(parameter));
  model.alpha().fill_(0.2);  // not alpha*
  return model;
}

// A is quadratic in alpha with a constant curvature, so the hypergradient at any alpha, with z exact, is the
// gradient of Phi(x) = A(x, alpha*(x)) + L2. Float32: sums of 40 rows agree to about 1e-6 of their size.
TEST(AucModel, HypergradientIsTheGradientOfPhiAtAnyAlpha) {
  const AucData data = small_data();
  for (const std::string encoder : {"linear", "mlp"}) {
    for (const std::string form : {"libauc", "ppd", "authors"}) {
      SCOPED_TRACE(encoder + " " + form);
      const double l2 = 2;
      const AucModel model = small_model(encoder, form, l2);
      const AucLoss loss{form, 0.25, 1.0};

      const std::vector<torch::Tensor> x = model.upper_parameters();
      const torch::Tensor u = model.network()->forward(data.inputs.gather(data.upper)).squeeze(-1);
      const torch::Tensor s = u / (1 + u * u).sqrt();
      const torch::Tensor q = ((0.25 * (1 - data.labels) - 0.75 * data.labels) * s).mean() / (0.25 * 0.75);
      torch::Tensor phi =
          loss.value(s, data.labels, x[x.size() - 2], x[x.size() - 1], form == "ppd" ? q : 1 + q);
      for (const auto& parameter : model.network()->named_parameters()) {
        if (parameter.value().dim() < 2) continue;
        const bool linear_map = encoder == "linear" || parameter.key().starts_with("skip");
        phi = phi + 0.25 * 0.75 * l2 / kRows * (linear_map ? 1.0 : 0.5) * parameter.value().square().sum();
      }
      const std::vector<torch::Tensor> parts = torch::autograd::grad({phi}, x);

      Oracles oracles(model.problem(data, kRows), 1);
      auto [upper, lower] = oracles.points(oracles.draw_upper("a"), oracles.draw_lower("b"));
      const auto solve = [&](const torch::Tensor& b) {
        return neumann(sampled_hessian(oracles, "c"), b, 1 / loss.lower_curvature(), 1);
      };
      const torch::Tensor estimate = implicit_hypergradient(oracles, upper, lower, solve).value;
      const torch::Tensor expected = oracles.x().pack(parts);
      EXPECT_LT((estimate - expected).norm().item<double>(), 1e-5 * expected.norm().item<double>());
    }
  }
}

// Sections 3.2 and 3.3: shared 2 forward and 2 backward encoder passes, here one over both batches;
// independent one more forward pass, without graph; the Neumann factors need no batch.
TEST(AucModel, AStepEncodesNoMoreThanTheMathematicsNeeds) {
  const AucData data = small_data();
  for (const std::string samples : {"shared", "independent"}) {
    const AucModel model = small_model("mlp", "libauc", 1);
    Problem problem = model.problem(data, 8);
    std::vector<std::pair<int64_t, bool>> passes;  // rows, with graph
    problem.encode = [&, encode = problem.encode](const Batch& batch) {
      const torch::Tensor features = encode(batch);
      passes.emplace_back(batch.size(), features.requires_grad());
      return features;
    };
    Oracles oracles(problem, 1);
    AdamBO solver({.neumann_terms = 5, .samples = samples});
    solver.start(oracles, 10);
    passes.clear();
    solver.step(oracles);
    std::vector<std::pair<int64_t, bool>> expected{{16, true}};
    if (samples == "independent") expected.emplace_back(8, false);
    EXPECT_EQ(passes, expected) << samples;
    EXPECT_EQ(oracles.ledger().steps.lower_samples, samples == "shared" ? 8 : 16);
  }
}

TEST(AucModel, SavesAndLoads) {
  const AucData data = small_data();
  const AucModel model = small_model("mlp", "libauc", 1);
  AucModel other({.encoder = "mlp", .hidden = 5, .layers = 1, .dropout = 0.0, .activation = "tanh"},
                 {.kind = InputKind::dense, .width = kWidth}, {"libauc", 0.25, 1.0}, 1, 99, torch::kCPU);
  EXPECT_FALSE(torch::equal(model.scores(data.inputs, data.upper), other.scores(data.inputs, data.upper)));
  other.load(all_tensors(model));
  EXPECT_TRUE(torch::equal(model.scores(data.inputs, data.upper), other.scores(data.inputs, data.upper)));
  auto missing = all_tensors(model);
  missing.erase("auc.a");
  EXPECT_THROW(other.load(missing), FileError);
}

TEST(AucModel, ScoresLieBetweenMinusOneAndOne) {
  const AucModel model = small_model("linear", "libauc", 1);
  const Inputs extreme = Inputs::dense(torch::tensor({{-1e6f, 0.f, 0.f}, {1e6f, 1e6f, -1e6f}}));
  EXPECT_LE(model.scores(extreme, {0, 1}).abs().max().item<float>(), 1.0f);
}

}  // namespace auc_model_test
}  // namespace bilevel
