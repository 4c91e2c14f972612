#include "bilevel/solver/assumptions.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "bilevel/solver/parts/choices.h"
#include "bilevel/solver/registry.h"

namespace bilevel {

NLOHMANN_JSON_SERIALIZE_ENUM(Smoothness,
                             {{Smoothness::bounded, "bounded"}, {Smoothness::unbounded, "unbounded"}})
NLOHMANN_JSON_SERIALIZE_ENUM(Convexity, {{Convexity::strong, "strong"},
                                         {Convexity::mere, "mere"},
                                         {Convexity::none, "none"}})
NLOHMANN_JSON_SERIALIZE_ENUM(Noise,
                             {{Noise::none, "none"}, {Noise::finite_sum, "finite_sum"}, {Noise::any, "any"}})

namespace {

using Json = nlohmann::ordered_json;

Json or_null(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }
double or_nan(const Json& json) {
  return json.is_null() ? std::numeric_limits<double>::quiet_NaN() : json.get<double>();
}

bool shares_samples(Solver& solver) {
  const Fields fields = fields_of(solver);
  const Field* samples = fields.find("samples");
  return samples != nullptr && samples->get() == name_of(Samples::shared);
}

}  // namespace

void to_json(Json& json, const ProblemTraits& t) {
  json = {{"smoothness", t.smoothness},
          {"steepness", t.steepness},
          {"convexity", t.convexity},
          {"caveat", t.caveat},
          {"noise", t.noise},
          {"upper_curvature_min", or_null(t.upper_curvature_min)},
          {"upper_curvature_max", or_null(t.upper_curvature_max)},
          {"lower_curvature_min", or_null(t.lower_curvature_min)}};
}

void from_json(const Json& json, ProblemTraits& t) {
  t = {.smoothness = json.at("smoothness"),
       .steepness = json.at("steepness"),
       .convexity = json.at("convexity"),
       .caveat = json.at("caveat"),
       .noise = json.at("noise"),
       .upper_curvature_min = or_nan(json.at("upper_curvature_min")),
       .upper_curvature_max = or_nan(json.at("upper_curvature_max")),
       .lower_curvature_min = or_nan(json.at("lower_curvature_min"))};
}

Noise batch_noise(const Problem& problem) {
  const bool exact = problem.upper.batches.full_batch() && problem.lower.batches.full_batch();
  return exact ? Noise::none : Noise::finite_sum;
}

std::string words_of(Smoothness smoothness) {
  return smoothness == Smoothness::bounded ? "bounded" : "may grow";
}

std::string words_of(Convexity convexity) {
  return convexity == Convexity::strong ? "strongly convex" : convexity == Convexity::mere ? "convex" : "any";
}

std::string words_of(Noise noise) {
  return noise == Noise::none ? "exact" : noise == Noise::finite_sum ? "finite sum" : "noisy";
}

std::string words_of(Sampling sampling) {
  return sampling == Sampling::any           ? "may be shared"
         : sampling == Sampling::independent ? "independent"
                                             : "mean-square smooth";
}

Assumptions assumptions_of(Solver& solver, const ProblemTraits& traits) {
  const SolverEntry& entry = solver_registry().at(solver.name());
  Assumptions assumptions = entry.assumptions;
  if (entry.under_options) entry.under_options(solver, traits, assumptions);
  return assumptions;
}

std::string theory_gaps(Solver& solver, const ProblemTraits& traits) {
  const Assumptions a = assumptions_of(solver, traits);
  std::vector<std::string> reasons;
  if (traits.convexity > a.convexity) {
    reasons.push_back(
        fmt::format("it needs a lower level that is {}, but {}", words_of(a.convexity), traits.caveat));
  }
  if (traits.smoothness > a.smoothness) {
    reasons.push_back(fmt::format("it needs an upper objective whose second derivatives are bounded, but {}",
                                  traits.steepness));
  }
  if (traits.noise > a.noise) {
    reasons.push_back(fmt::format(
        "it needs derivatives that are {}, but {}",
        a.noise == Noise::none ? "exact" : "those of a finite sum, the same again for the same rows",
        traits.noise == Noise::any ? "they are noisy" : "a batch is a part of the rows"));
  }
  if (a.sampling != Sampling::any && shares_samples(solver)) {
    reasons.push_back(
        "it draws a sample of its own for every derivative, but samples = shared lets one serve several");
  }
  reasons.insert(reasons.end(), a.broken.begin(), a.broken.end());
  return fmt::format("{}", fmt::join(reasons, "; "));
}

std::string out_of_theory(Solver& solver, const ProblemTraits& traits) {
  const std::string gaps = theory_gaps(solver, traits);
  return gaps.empty() ? "" : fmt::format("{} is outside of its theory here: {}", solver.name(), gaps);
}

}  // namespace bilevel
