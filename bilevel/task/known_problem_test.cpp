// What every known problem must be: its answers agree with its losses. A new problem is tested here without a
// change.
#include "bilevel/task/known_problem.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/autograd.h>

#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/oracle/oracles.h"
#include "tests/parameter_name.h"
#include "tests/support.h"

namespace bilevel {
namespace known_problem_test {

class KnownProblems : public testing::TestWithParam<KnownProblemEntry> {
 protected:
  std::unique_ptr<KnownProblem> made(uint64_t seed = 3) const {
    auto problem = GetParam().make();
    problem->build(seed);
    return problem;
  }

  /// Moves x and y.
  static void place(const KnownProblem& known, const torch::Tensor& x, const torch::Tensor& y) {
    const torch::NoGradGuard no_grad;
    known.x().copy_(x);
    known.y().copy_(y);
  }

  /// Phi from the losses alone.
  static double composed(const KnownProblem& known, const torch::Tensor& x) {
    place(known, x, known.best_lower(x));
    const Problem problem = known.problem();
    return problem.upper.loss(problem.upper.batches.all()).item<double>();
  }
};

INSTANTIATE_TEST_SUITE_P(Registry, KnownProblems, testing::ValuesIn(known_problem_registry()),
                         NameOfParameter());

TEST_P(KnownProblems, GradientIsTheSlopeOfTheComposedObjective) {
  const auto known = made();
  at::Generator random = at::make_generator<at::CPUGeneratorImpl>(5);
  const int64_t n = known->x().numel();
  const torch::Tensor at = known->x().detach() + 0.3 * torch::randn({n}, random, torch::kFloat64);
  const torch::Tensor gradient = known->gradient(at);
  ASSERT_EQ(gradient.sizes(), at.sizes());
  EXPECT_GT(gradient.norm().item<double>(), 1e-4) << "at a stationary point every gradient is right";
  constexpr double kStep = 1e-4;
  for (int i = 0; i < 4; ++i) {
    torch::Tensor direction = torch::randn({n}, random, torch::kFloat64);
    direction /= direction.norm();
    // Fourth order: the error is about h^4 Phi'''''/30 + 1e-16 |Phi|/h.
    const auto difference = [&](double h) {
      return (composed(*known, at + h * direction) - composed(*known, at - h * direction)) / (2 * h);
    };
    const double slope = (4 * difference(kStep) - difference(2 * kStep)) / 3;
    const double scale = std::max(1e-3, gradient.norm().item<double>());
    EXPECT_NEAR(gradient.dot(direction).item<double>(), slope,
                1e-7 * scale + 1e-11 * std::abs(composed(*known, at)));
  }
}

TEST_P(KnownProblems, BestLowerIsStationaryForTheLowerLoss) {
  const auto known = made();
  const torch::Tensor x = known->x().detach() + 0.25;
  place(*known, x, known->best_lower(x));
  const Problem problem = known->problem();
  const torch::Tensor loss = problem.lower.loss(problem.lower.batches.all());
  const torch::Tensor gradient = torch::autograd::grad({loss}, {known->y()})[0];
  EXPECT_LT(gradient.norm().item<double>(), 1e-9);
  place(*known, x, known->best_lower(x) + 0.1);
  const double above = problem.lower.loss(problem.lower.batches.all()).item<double>();
  EXPECT_GE(above, loss.item<double>()) << "stationary, but no minimum";
}

// Where there are many minimizers, the upper level cannot improve along the kernel of the lower Hessian.
TEST_P(KnownProblems, BestLowerIsTheOneThatTheUpperLevelLikesBest) {
  const auto known = made();
  if (known->traits().convexity == Convexity::strong) return;
  const torch::Tensor x = known->x().detach() + 0.25, y = known->best_lower(x);
  place(*known, x, y);
  const Problem problem = known->problem();
  const torch::Tensor g = problem.lower.loss(problem.lower.batches.all());
  const torch::Tensor gradient = torch::autograd::grad({g}, {known->y()}, {}, true, true)[0];
  std::vector<torch::Tensor> rows;
  for (int64_t i = 0; i < y.numel(); ++i) {
    rows.push_back(torch::autograd::grad({gradient[i]}, {known->y()}, {}, true)[0]);
  }
  const auto [values, vectors] = at::linalg_eigh(torch::stack(rows));
  const torch::Tensor kernel = vectors.index_select(1, (values < 1e-9).nonzero().flatten());
  EXPECT_GT(kernel.size(1), 0) << "the traits say that g is not strongly convex";
  const torch::Tensor of_f =
      torch::autograd::grad({problem.upper.loss(problem.upper.batches.all())}, {known->y()})[0];
  EXPECT_LT(kernel.t().mv(of_f).norm().item<double>(), 1e-10);
}

/// The Hessian of a level's loss in one variable, at the present point.
torch::Tensor hessian_of(const Level& level, const torch::Tensor& variable) {
  const torch::Tensor loss = level.loss(level.batches.all());
  const torch::Tensor gradient = torch::autograd::grad({loss}, {variable}, {}, true, true, true)[0];
  if (!gradient.defined() || !gradient.requires_grad()) return torch::zeros({1, 1}, torch::kFloat64);
  std::vector<torch::Tensor> rows;
  for (int64_t i = 0; i < variable.numel(); ++i)
    rows.push_back(torch::autograd::grad({gradient[i]}, {variable}, {}, true)[0]);
  return torch::stack(rows).detach();
}

// The curvatures lie within their bounds (of `logistic` g's at the start alone), and f is as steep as is said.
TEST_P(KnownProblems, IsWhatItsTraitsSay) {
  const auto known = made();
  const ProblemTraits traits = known->traits();
  const Problem problem = known->problem();
  const torch::Tensor x0 = known->x().detach().clone(), y0 = known->y().detach().clone();
  at::Generator random = at::make_generator<at::CPUGeneratorImpl>(8);
  double largest_at_start = 0, largest = 0;
  for (const double scale : {0.0, 1.0, 5.0}) {
    place(*known, x0 + 2 * scale * torch::ones_like(x0),
          y0 + scale * torch::randn(y0.sizes(), random, torch::kFloat64));
    const torch::Tensor f = at::linalg_eigvalsh(hessian_of(problem.upper, known->y()));
    EXPECT_GE(f.min().item<double>(), traits.upper_curvature_min - 1e-9);
    EXPECT_LE(f.max().item<double>(), traits.upper_curvature_max + 1e-9);
    const torch::Tensor g = at::linalg_eigvalsh(hessian_of(problem.lower, known->y()));
    EXPECT_GE(g.min().item<double>(), traits.lower_curvature_min - 1e-9);
    largest = hessian_of(problem.upper, known->x()).norm().item<double>();
    if (scale == 0) largest_at_start = largest;
  }
  EXPECT_EQ(largest > 1e3 * (1 + largest_at_start), traits.smoothness == Smoothness::unbounded);
  EXPECT_EQ(traits.lower_curvature_min > 0, traits.convexity == Convexity::strong);
  EXPECT_EQ(traits.caveat.empty(), traits.convexity == Convexity::strong);
  EXPECT_EQ(traits.steepness.empty(), traits.smoothness == Smoothness::bounded);
}

TEST_P(KnownProblems, NoiseReachesEveryGradient) {
  const auto known = made();
  Oracles oracles(with_noise(known->problem(), 0.1), 1);
  for (LevelOracle* level : {&oracles.upper(), &oracles.lower()}) {
    Sample once = level->all(), again = once;
    again.model_seed = 1;
    const JointGradient a = level->gradient(once), b = level->gradient(again);
    EXPECT_GT((a.x - b.x).norm().item<double>(), 1e-3);
    EXPECT_GT((a.y - b.y).norm().item<double>(), 1e-3);
  }
}

TEST_P(KnownProblems, NoiseIsOneOfItsTraits) {
  const auto known = made();
  EXPECT_EQ(traits_of(*known, 0).noise, Noise::none);
  EXPECT_EQ(traits_of(*known, 0.1).noise, Noise::any);
  const Fields fields = fields_of(*known);
  for (const Field& field : fields.list()) {
    if (field.name != "batch_size") continue;
    field.set(7);
    known->build(3);
    EXPECT_EQ(traits_of(*known, 0).noise, Noise::finite_sum);
  }
}

TEST_P(KnownProblems, TheSolutionIsStationaryAndAMinimum) {
  for (const uint64_t seed : {0, 1, 2}) {
    const auto known = made(seed);
    const torch::Tensor solution = known->solution();
    if (!solution.defined()) GTEST_SKIP() << "no known solution";
    const auto project = known->problem().upper.project;
    const torch::Tensor gradient = known->gradient(solution);
    const torch::Tensor stepped = project ? project(solution - gradient) : solution - gradient;
    EXPECT_LT((stepped - solution).norm().item<double>(), 1e-9);
    const double least = composed(*known, solution);
    at::Generator random = at::make_generator<at::CPUGeneratorImpl>(seed);
    for (int i = 0; i < 5; ++i) {
      torch::Tensor near = solution + 0.1 * torch::randn(solution.sizes(), random, torch::kFloat64);
      if (project) near = project(near);
      EXPECT_GT(composed(*known, near), least);
    }
  }
}

TEST_P(KnownProblems, SameSeedSameProblem) {
  const auto one = made(7), two = made(7);
  EXPECT_TRUE(torch::equal(one->x(), two->x()));
  EXPECT_TRUE(torch::equal(one->y(), two->y()));
  const torch::Tensor at = one->x().detach() + 0.1;
  EXPECT_TRUE(torch::equal(one->gradient(at), two->gradient(at)));
}

TEST_P(KnownProblems, IsCompleteAndExact) {
  const auto known = made();
  EXPECT_FALSE(GetParam().summary.empty());
  EXPECT_EQ(known->x().dim(), 1);
  EXPECT_EQ(known->y().dim(), 1);
  EXPECT_EQ(known->x().scalar_type(), torch::kFloat64);
  const Problem problem = known->problem();
  EXPECT_TRUE(problem.upper.batches.full_batch());
  EXPECT_TRUE(problem.lower.batches.full_batch());
  Oracles oracles(problem, 1);
  EXPECT_TRUE(oracles.probe(UnusedParameters::error).empty());
  EXPECT_EQ(oracles.x().flat().numel(), known->x().numel());
  const Fields fields = fields_of(*known);
  for (const Field& field : fields.list()) {
    EXPECT_FALSE(field.meaning.empty()) << field.name;
    EXPECT_NO_THROW(field.set(field.get())) << field.name;
  }
}

// ---- known numbers ----

std::unique_ptr<KnownProblem> problem_of(const std::string& name, const nlohmann::json& options = {},
                                         uint64_t seed = 0) {
  auto problem = make_known_problem(name);
  if (options.is_object()) fields_of(*problem).from_json(options);
  problem->build(seed);
  return problem;
}

double upper_at(const KnownProblem& known, const torch::Tensor& x) {
  const torch::NoGradGuard no_grad;
  known.x().copy_(x);
  known.y().copy_(known.best_lower(x));
  const Problem problem = known.problem();
  return problem.upper.loss(problem.upper.batches.all()).item<double>();
}

void expect_all(const torch::Tensor& found, double value, int64_t size) {
  EXPECT_EQ(found.numel(), size);
  EXPECT_LT((found - value).abs().max().item<double>(), 1e-12);
}

TEST(KnownAnswers, MerelyConvex) {
  const auto known = problem_of("merely-convex");
  expect_all(known->x().detach(), 0.01, 100);
  expect_all(known->y().detach(), 0.01, 200);
  expect_all(known->solution(), 1, 100);
  expect_all(known->best_lower(known->solution()), 1, 200);
  EXPECT_NEAR(upper_at(*known, known->solution()), 0, 1e-14);
  const Problem problem = known->problem();
  EXPECT_NEAR(problem.lower.loss({}).item<double>(), -50, 1e-12);  // -n/2
  EXPECT_EQ(known->traits().convexity, Convexity::mere);
}

TEST(KnownAnswers, StronglyConvex) {
  const auto known = problem_of("strongly-convex");
  expect_all(known->x().detach(), 2, 100);
  expect_all(known->solution(), 0.5, 100);
  expect_all(known->best_lower(known->solution()), 0.5, 100);
  EXPECT_NEAR(upper_at(*known, known->solution()), 25, 1e-12);  // n/4
  EXPECT_EQ(known->traits().convexity, Convexity::strong);
}

TEST(KnownAnswers, StronglyConvexInItsGeneralForm) {
  const auto known = problem_of("strongly-convex", {{"form", "general"}, {"dim", 6}}, 4);
  const torch::Tensor x = known->solution();
  EXPECT_LT(known->gradient(x).norm().item<double>(), 1e-10);
  for (int64_t i = 0; i < 6; ++i) {  // the slope of the composed objective, from the losses
    torch::Tensor up = x.clone(), down = x.clone();
    up[i] += 1e-3;
    down[i] -= 1e-3;
    EXPECT_NEAR(upper_at(*known, up) - upper_at(*known, down), 0, 1e-11);
    EXPECT_GT(upper_at(*known, up), upper_at(*known, x));
  }
  // The lower curvature lies in [1, 2].
  const torch::Tensor y = known->best_lower(x);
  upper_at(*known, x);
  const Problem problem = known->problem();
  const torch::Tensor g = problem.lower.loss({});
  const torch::Tensor gradient = torch::autograd::grad({g}, {known->y()}, {}, true, true)[0];
  std::vector<torch::Tensor> rows;
  for (int64_t i = 0; i < 6; ++i)
    rows.push_back(torch::autograd::grad({gradient[i]}, {known->y()}, {}, true)[0]);
  const torch::Tensor values = at::linalg_eigvalsh(torch::stack(rows));
  EXPECT_GE(values.min().item<double>(), 1 - 1e-12);
  EXPECT_LE(values.max().item<double>(), 2 + 1e-12);
}

TEST(KnownAnswers, CosineAndManyMinimizers) {
  const auto cosine = problem_of("cosine", {{"dim", 3}});
  expect_all(cosine->solution(), 0, 3);
  EXPECT_NEAR(upper_at(*cosine, cosine->solution()), 3, 1e-14);  // cos 0
  const auto many = problem_of("many-minimizers", {{"dim", 4}});
  expect_all(many->solution(), 1, 4);
  EXPECT_NEAR(upper_at(*many, many->solution()), 0, 1e-14);
  expect_all(many->best_lower(many->solution()).narrow(0, 0, 4), -1, 4);
  expect_all(many->best_lower(many->solution()).narrow(0, 4, 4), 2, 4);
  EXPECT_EQ(many->traits().convexity, Convexity::mere);
}

TEST(KnownAnswers, P1) {
  const auto known = problem_of("p1");
  expect_all(known->x().detach(), 2.5, 4);
  expect_all(known->y().detach(), 0, 4);
  // 2 sinh(2x) + cos(x) = 0 by Newton's method
  double x = 0;
  for (int i = 0; i < 50; ++i)
    x -= (2 * std::sinh(2 * x) + std::cos(x)) / (4 * std::cosh(2 * x) - std::sin(x));
  expect_all(known->solution(), x, 4);
  const auto other = problem_of("p1", {{"c", 1.5}, {"a", -0.7}, {"b", 2.0}, {"mu", 3.0}, {"dim", 2}});
  expect_all(other->best_lower(torch::full({2}, 2.0, torch::kFloat64)), -1.4, 2);
  EXPECT_FALSE(problem_of("p1", {{"c", 0.5}, {"a", 2.0}})->solution().defined()) << "Phi need not be convex";
}

TEST(KnownAnswers, BoxHoldsSomeCoordinatesAndFreesOthers) {
  int64_t held = 0, free = 0;
  for (const uint64_t seed : {0, 1, 2, 3}) {
    const auto known = problem_of("box", {}, seed);
    const torch::Tensor x = known->solution(), gradient = known->gradient(x);
    for (int64_t i = 0; i < x.numel(); ++i) {
      const double at = x[i].item<double>(), slope = gradient[i].item<double>();
      ASSERT_LE(std::abs(at), 0.25);
      if (at == -0.25) {
        EXPECT_GE(slope, -1e-12);
      } else if (at == 0.25) {
        EXPECT_LE(slope, 1e-12);
      } else {
        EXPECT_NEAR(slope, 0, 1e-12);
      }
      ++(std::abs(at) == 0.25 ? held : free);
    }
    EXPECT_LE(known->x().abs().max().item<double>(), 0.25) << "the start must be feasible";
  }
  EXPECT_GT(held, 3);
  EXPECT_GT(free, 3);
}

TEST(KnownAnswers, QuadraticsOfEverySizeAreConvexWithTheirSpectrum) {
  for (const auto& [upper, lower] : {std::pair{1, 1}, {5, 4}, {40, 40}, {3, 30}}) {
    const auto known = problem_of("quadratic", {{"upper_size", upper},
                                                {"lower_size", lower},
                                                {"lower_curvature_min", 0.01},
                                                {"lower_curvature_max", 4.0}});
    const torch::Tensor x = known->solution();
    EXPECT_LT(known->gradient(x).norm().item<double>(), 1e-8);
    const double least = upper_at(*known, x);
    at::Generator random = at::make_generator<at::CPUGeneratorImpl>(1);
    for (int i = 0; i < 10; ++i) {
      EXPECT_GT(upper_at(*known, x + torch::randn(x.sizes(), random, torch::kFloat64)), least);
    }
  }
  EXPECT_THROW(problem_of("quadratic", {{"lower_curvature_min", 2.0}}), InputError);  // above the maximum, 1
}

TEST(KnownAnswers, UnknownNamesAndOptionsAreRefused) {
  EXPECT_CONTAINS(message_of<InputError>([] { make_known_problem("nothing"); }), "softmax-cleaning");
  EXPECT_CONTAINS(message_of<InputError>([] { problem_of("p1", {{"size", 3}}); }), "known: c, a, b, mu, dim");
  EXPECT_CONTAINS(message_of<InputError>([] { problem_of("box", {{"low", 1.0}}); }), "low = 1");
}

// ---- starts ----

TEST(SetStart, TakesOneValueOrOnePerCoordinate) {
  const auto known = problem_of("p1");
  set_start(*known, {});
  expect_all(known->x().detach(), 2.5, 4);
  set_start(*known, {-1});
  expect_all(known->x().detach(), -1, 4);
  set_start(*known, {1, 2, 3, 4});
  EXPECT_TRUE(torch::equal(known->x().detach(), torch::tensor({1, 2, 3, 4}, torch::kFloat64)));
  EXPECT_TRUE(known->x().requires_grad());
  EXPECT_CONTAINS(message_of<InputError>([&] {
                    set_start(*known, {1, 2, 3});
                  }),
                  "3 values, but x has 4 coordinates");
  EXPECT_CONTAINS(message_of<InputError>([&] { set_start(*known, {NAN}); }), "finite");
  const auto box = problem_of("box");
  EXPECT_NO_THROW(set_start(*box, {0.25}));
  EXPECT_CONTAINS(message_of<InputError>([&] { set_start(*box, {0.3}); }), "outside");
}

// ---- noise ----

TEST(WithNoise, ZeroChangesNothing) {
  const auto known = problem_of("p1");
  Oracles exact(with_noise(known->problem(), 0), 1);
  const torch::Tensor one = exact.lower().gradient_in_y(exact.lower().draw("a"));
  const torch::Tensor two = exact.lower().gradient_in_y(exact.lower().draw("a"));
  EXPECT_TRUE(torch::equal(one, two));
  EXPECT_THROW(with_noise(known->problem(), -1), InputError);
  EXPECT_THROW(with_noise(known->problem(), NAN), InputError);
}

TEST(WithNoise, HasItsStandardDeviationInEveryGradientAndNoneInTheProducts) {
  constexpr double kNoise = 0.5;
  constexpr int kDraws = 2000;
  const auto known = problem_of("p1", {{"dim", 2}});
  Oracles exact(known->problem(), 1);
  const JointGradient upper = exact.upper().gradient(exact.upper().draw("a"));
  const JointGradient lower = exact.lower().gradient(exact.lower().draw("a"));
  const auto noisy_known = problem_of("p1", {{"dim", 2}});
  Oracles noisy(with_noise(noisy_known->problem(), kNoise), 1);
  torch::Tensor draws = torch::empty({kDraws, 8}, torch::kFloat64);
  for (int i = 0; i < kDraws; ++i) {
    const JointGradient f = noisy.upper().gradient(noisy.upper().draw("a"));
    const JointGradient g = noisy.lower().gradient(noisy.lower().draw("a"));
    draws[i] = torch::cat({f.x - upper.x, f.y - upper.y, g.x - lower.x, g.y - lower.y});
  }
  // Four standard errors of a mean and of a variance of normal draws.
  EXPECT_LT(draws.mean(0).abs().max().item<double>(), 4 * kNoise / std::sqrt(kDraws));
  EXPECT_LT((draws.var(0) - kNoise * kNoise).abs().max().item<double>(),
            4 * kNoise * kNoise * std::sqrt(2.0 / kDraws));
  // No two of the eight coordinates share their noise.
  const torch::Tensor correlation = at::corrcoef(draws.t()) - torch::eye(8, torch::kFloat64);
  EXPECT_LT(correlation.abs().max().item<double>(), 4.5 / std::sqrt(kDraws));

  const torch::Tensor v = torch::tensor({1.0, -2.0}, torch::kFloat64);
  LossPoint point = noisy.lower().point(noisy.lower().draw("a"), Graph::both);
  EXPECT_LT(distance(point.hvp(v), v), 1e-15);         // mu = 1
  EXPECT_LT(distance(point.cross_vjp(v), -v), 1e-15);  // -a mu v
}

TEST(WithNoise, ASampleHasTheSameNoiseWhereverItIsEvaluated) {
  const auto known = problem_of("p1", {{"dim", 3}});
  Oracles oracles(with_noise(known->problem(), 2), 1);
  const Sample sample = oracles.lower().draw("a");
  const torch::Tensor here = oracles.lower().gradient_in_y(sample);
  const torch::Tensor y = oracles.y().flat().clone();
  oracles.y().assign(y + 1);
  EXPECT_LT(distance(oracles.lower().gradient_in_y(sample) - here, torch::ones({3}, torch::kFloat64)),
            1e-12);  // mu = 1
}

}  // namespace known_problem_test
}  // namespace bilevel
