#include "bilevel/solver/assumptions.h"

#include "bilevel/core/error.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/known_problem.h"
#include "tests/support.h"

namespace bilevel {
namespace assumptions_test {

using Options = std::vector<std::string>;

std::unique_ptr<Solver> solver_with(const std::string& name, const Options& assignments = {}) {
  auto solver = make_solver(name);
  for (const std::string& assignment : assignments) fields_of(*solver).set_text(assignment);
  return solver;
}

std::string gaps(const std::string& solver, const ProblemTraits& traits, const Options& assignments = {}) {
  return theory_gaps(*solver_with(solver, assignments), traits);
}

/// The traits of a known problem with default options.
ProblemTraits traits_on(const std::string& problem, double noise = 0) {
  const auto known = make_known_problem(problem);
  known->build(0);
  return traits_of(*known, noise);
}

// Fails for the first table of assumptions, in which nothing but the convexity of g stood.
TEST(Assumptions, TellWhatATheoryDoesNotCover) {
  EXPECT_EQ(gaps("soba", traits_on("quadratic", 0.1)), "");
  EXPECT_CONTAINS(gaps("soba", traits_on("p1")),
                  "second derivatives are bounded, but those of f grow without bound");
  EXPECT_EQ(gaps("slip", traits_on("p1", 0.1)), "");
  EXPECT_CONTAINS(gaps("slip", traits_on("merely-convex")), "strongly convex, but g is convex in y");

  EXPECT_EQ(gaps("sl-bamm", traits_on("merely-convex")), "");
  EXPECT_CONTAINS(gaps("sl-bamm", traits_on("merely-convex"), {"aggregation_weight=0"}),
                  "strongly convex, but");
  EXPECT_EQ(gaps("sl-bamm", traits_on("quadratic"), {"aggregation_weight=0"}), "");
  EXPECT_CONTAINS(gaps("sl-bamm", traits_on("merely-convex", 0.1)), "exact, but they are noisy");
  EXPECT_CONTAINS(gaps("sl-bamm", traits_on("cosine")), "f bends down by 1");
  EXPECT_EQ(gaps("sl-bamm", traits_on("cosine"), {"aggregation_weight=0.4"}), "");

  EXPECT_EQ(gaps("adambo", traits_on("p1", 0.1)), "");
  EXPECT_CONTAINS(gaps("adambo", traits_on("p1", 0.1), {"samples=shared"}), "samples = shared");
  EXPECT_CONTAINS(gaps("adambo", traits_on("p1"), {"lower_rule=adam"}), "lower_rule = adam");
  EXPECT_CONTAINS(gaps("slip", traits_on("p1", 0.1), {"samples=shared"}), "samples = shared");
  EXPECT_EQ(gaps("soba", traits_on("quadratic", 0.1), {"samples=shared"}), "") << "its own form";

  EXPECT_EQ(gaps("saba", {.noise = Noise::finite_sum}), "");
  EXPECT_CONTAINS(gaps("saba", {.noise = Noise::any}), "finite sum");
}

TEST(Assumptions, F2SANeedsAMultiplierOfTwiceTheQuotientOfTheCurvatures) {
  EXPECT_EQ(gaps("f2sa", traits_on("cosine")), "");
  EXPECT_CONTAINS(gaps("f2sa", traits_on("cosine"), {"multiplier=1.9"}), "at least 2 l_f/mu = 2");
  EXPECT_EQ(gaps("f2sa", traits_on("cosine"), {"multiplier=2"}), "");
  EXPECT_CONTAINS(gaps("f2sa", traits_on("quadratic"), {"multiplier=9.9"}), "at least 2 l_f/mu = 10");
  EXPECT_EQ(gaps("f2sa", traits_on("quadratic"), {"multiplier=10"}), "");
  EXPECT_EQ(gaps("f2sa", {}, {"multiplier=0.1"}), "") << "what is not known is not judged";
}

TEST(Assumptions, AllGapsAreInOneSentence) {
  const auto solver = solver_with("sl-bamm", {"aggregation_weight=0"});
  const std::string line = out_of_theory(*solver, {.smoothness = Smoothness::unbounded,
                                                   .steepness = "f is steep",
                                                   .convexity = Convexity::mere,
                                                   .caveat = "g is flat",
                                                   .noise = Noise::finite_sum});
  EXPECT_EQ(line.find("sl-bamm is outside of its theory here: it needs "), 0U) << line;
  for (const char* part : {"g is flat; it", "f is steep; it", "a batch is a part of the rows"})
    EXPECT_CONTAINS(line, part);
  EXPECT_EQ(out_of_theory(*make_solver("soba"), {}), "");
}

TEST(Assumptions, TraitsSurviveAFile) {
  const ProblemTraits traits{.smoothness = Smoothness::unbounded,
                             .steepness = "s",
                             .convexity = Convexity::none,
                             .caveat = "c",
                             .noise = Noise::any,
                             .upper_curvature_min = -1,
                             .lower_curvature_min = 0.5};
  const nlohmann::ordered_json json = traits;
  const auto read = nlohmann::ordered_json::parse(json.dump()).get<ProblemTraits>();
  EXPECT_EQ(nlohmann::ordered_json(read), json);
  EXPECT_TRUE(std::isnan(read.upper_curvature_max));
}

}  // namespace assumptions_test
}  // namespace bilevel
