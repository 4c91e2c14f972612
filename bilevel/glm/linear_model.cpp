#include "bilevel/glm/linear_model.h"

#include <fmt/format.h>

#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/glm/linear_loss.h"

namespace bilevel {
namespace {

LinearLoss loss_of(const TargetedRows& rows, int64_t width, const LinearModelOptions& options) {
  LinearLoss loss{.rows = DesignRows(rows.inputs, width, options.dtype),
                  .targets = rows.targets,
                  .loss = options.loss,
                  .outputs = options.loss == RowLoss::softmax ? options.classes : 1,
                  .bias = options.bias};
  if (!rows.targets.defined() || rows.targets.dim() != 1 || rows.targets.size(0) != loss.rows.count())
    throw InputError(fmt::format("a linear model of {} rows needs a target for each", loss.rows.count()));
  const torch::Tensor t = rows.targets.to(torch::kFloat64);
  const auto refuse_unless = [&](const torch::Tensor& fits, const std::string& what) {
    const torch::Tensor wrong = fits.logical_not().nonzero();
    if (wrong.numel() == 0) return;
    const auto row = wrong[0][0].item<int64_t>();
    throw InputError(fmt::format("target {:g} of row {}: {} takes {}", t[row].item<double>(), row,
                                 name_of(options.loss), what));
  };
  if (options.loss == RowLoss::logistic) refuse_unless(t.abs() == 1, "-1 and 1");
  if (options.loss == RowLoss::squared) refuse_unless(t.isfinite(), "finite numbers");
  if (options.loss == RowLoss::softmax)
    refuse_unless((t == t.floor()).logical_and(t >= 0).logical_and(t < static_cast<double>(options.classes)),
                  fmt::format("classes 0 to {}", options.classes - 1));
  return loss;
}

/// Which x_u the strength of each y_j is, -1 for the biases.
torch::Tensor strengths_by(LearnedBy x, int64_t width, int64_t outputs, bool bias) {
  torch::Tensor of = torch::zeros({width, outputs}, torch::kInt64);
  if (x == LearnedBy::feature_strengths) of += torch::arange(width).unsqueeze(1);
  if (x == LearnedBy::class_strengths) of += torch::arange(outputs);
  return torch::cat({of.flatten(), torch::full({bias ? outputs : 0}, -1, torch::kInt64)});
}

Level level(const std::string& name, const torch::Tensor& variable, const LinearLoss& loss,
            const torch::Tensor& x, const torch::Tensor& y, int64_t batch_size) {
  return {.parameters = {{name, variable}},
          .loss = [loss, x, y](const Batch& batch) { return loss.value(batch, x, y); },
          .batches = shuffled({loss.targets}, {.batch_size = batch_size}),
          .derivatives = derivatives_of(loss)};
}

}  // namespace

LinearModel linear_model(const TargetedRows& train, const TargetedRows& valid, int64_t width,
                         const LinearModelOptions& options) {
  if (options.loss == RowLoss::softmax && options.classes < 2)
    throw InputError(fmt::format("classes = {}: softmax takes at least 2", options.classes));
  if (options.dtype != torch::kFloat32 && options.dtype != torch::kFloat64)
    throw InputError("a linear model computes in float32 or float64");
  if (!std::isfinite(options.x_start)) throw InputError("x_start must be a finite number");
  if (!(options.strength >= 0) || !std::isfinite(options.strength))
    throw InputError(fmt::format("strength = {:g}: must be >= 0", options.strength));
  const LinearLoss upper = loss_of(valid, width, options);
  LinearLoss lower = loss_of(train, width, options);
  const int64_t k = lower.outputs, rows = lower.rows.count();
  lower.strength = options.strength;
  if (options.x == LearnedBy::row_weights)
    lower.unit_of = torch::arange(rows);
  else
    lower.strength_of = strengths_by(options.x, width, k, options.bias);
  const int64_t size = options.x == LearnedBy::row_weights         ? rows
                       : options.x == LearnedBy::feature_strengths ? width
                       : options.x == LearnedBy::class_strengths   ? k
                                                                   : 1;
  const torch::Tensor x = torch::full({size}, options.x_start, options.dtype).requires_grad_(),
                      y = torch::zeros({(width + (options.bias ? 1 : 0)) * k}, options.dtype)
                              .requires_grad_();
  return {.x = x,
          .y = y,
          .problem = {.upper = level("x", x, upper, x, y, options.batch_size),
                      .lower = level("y", y, lower, x, y, options.batch_size)}};
}

}  // namespace bilevel
