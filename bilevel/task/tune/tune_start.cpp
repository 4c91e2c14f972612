// Where learning starts, of models that are convex in their weights.
#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "bilevel/task/tune/tune_search.h"
#include "bilevel/task/tune/tune_setup.h"

namespace bilevel {
namespace {

// A convex model: where learning may start, from strong to weak, with the evaluations of g spent on each. A rough start
// matters: at a strength far too weak, weights and hypergradients are slow to converge, and the common strength would
// wander.
constexpr double kStarts[] = {1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8};
constexpr int64_t kStart = 7;
constexpr double kSame = 1e-5;  // of a loss: no rise

}  // namespace

double TuneSetup::start_passes() const {
  return o_.l2 ? 2 * kStart : 0.6 * std::size(kStarts) * static_cast<double>(kStart);
}

double TuneSetup::start(TuneModel& model, std::optional<double> given) const {
  const bool told = !given;
  if (!given) given = o_.l2;
  double passes = 0;
  const auto advance = [&](double so_far) { context_.phases->advance(so_far / (2 * start_passes())); };
  if (given)
    passes = strongest_of(model, {*given}, 2 * kStart, &TuneModel::centred, advance);
  else
    passes =
        strongest_of(model, {std::begin(kStarts), std::end(kStarts)}, kStart, &TuneModel::centred, advance);
  if (told)
    context_.say(
        fmt::format("learning starts at the strength {:.0e}", std::exp(model.x()[0].item<double>())));
  return passes;
}

double TuneSetup::start_neutral(TuneModel& model) const {
  model.reset_y();
  return strongest_of(model, {std::begin(kStarts), std::end(kStarts)}, kStart, &TuneModel::neutral,
                      [](double) {});
}

double TuneSetup::strongest_of(TuneModel& model, const std::vector<double>& strengths, int64_t evaluations,
                               torch::Tensor (TuneModel::*x_at)(double) const,
                               const std::function<void(double)>& advance) const {
  double passes = 0, best = std::numeric_limits<double>::infinity();
  torch::Tensor x, y;
  for (const double strength : strengths) {
    advance(passes);
    model.set_x((model.*x_at)(strength));
    passes += minimize_weights(model, evaluations) + measurement();
    const double loss = valid_scores(model).loss;
    // Weights trained briefly at a weak strength look better than they are: being unfinished regularizes too.
    // Where absolute values hold all of them at 0 the loss is the same at several strengths.
    if (x.defined() && !(loss < best * (1 + kSame))) break;
    best = loss;
    x = (model.*x_at)(strength);
    y = model.flat_y();
  }
  model.set_x(x);
  model.set_y(y);
  return passes;
}

}  // namespace bilevel
