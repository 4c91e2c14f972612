#include "bilevel/task/mix/mix_model.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/core/flat.h"
#include "bilevel/glm/linear_fit.h"
#include "bilevel/task/job/feature_squares.h"
#include "bilevel/task/job/linear_classifier.h"
#include "bilevel/task/job/passes.h"
#include "bilevel/task/job/seeded_network.h"

namespace bilevel {
namespace {

constexpr double kLeastCurvature = 1e-5;  // of a feature that hardly occurs: its scale stays bounded
constexpr double kLeastStrength = 1e-9, kMostStrength = 1e4;
constexpr double kLeastWeight = 1e-12;

/// The matrix with its columns multiplied by `scale`.
std::vector<torch::Tensor> scaled(const Inputs& inputs, const torch::Tensor& scale) {
  std::vector<torch::Tensor> matrix = inputs.matrix();
  if (inputs.kind() == InputKind::dense) return {matrix[0] * scale};
  matrix[1] = matrix[1] * scale.index_select(0, matrix[0]);
  return matrix;
}

double log_of(double strength) { return std::log(std::max(strength, kLeastStrength)); }

}  // namespace

void prepare(MixData& data, const std::vector<int64_t>& rows) {
  data.scale = (quarter_squares(data.inputs, rows, data.shape.width) + kLeastCurvature).rsqrt();
  data.design = DesignRows(scaled(data.inputs, data.scale), data.shape.width, data.scale.scalar_type());
  data.targets = torch::tensor(data.classes, torch::kInt64);
  data.set = data_set(data.inputs, data.targets);
}

MixModel::MixModel(std::shared_ptr<const MixData> data, MixPlan plan)
    : data_(std::move(data)), plan_(std::move(plan)) {
  network_ = seeded_network(plan_.network, data_->shape, 0, torch::kCPU);
  const size_t target = data_->sources.size();
  std::vector<std::vector<int64_t>> seen;  // rows of each of the plan's sources
  std::vector<int64_t> all_target;
  for (const Fold& fold : plan_.folds) {
    judged_.insert(judged_.end(), fold.judged.begin(), fold.judged.end());
    all_target.insert(all_target.end(), fold.others.begin(), fold.others.end());
  }
  std::sort(all_target.begin(), all_target.end());
  all_target.erase(std::unique(all_target.begin(), all_target.end()), all_target.end());
  for (size_t i = 0; i < plan_.sources.size(); ++i) {
    const std::vector<int64_t>& rows =
        plan_.sources[i] == target ? all_target : data_->sources[plan_.sources[i]];
    if (rows.empty()) throw InputError(fmt::format("source {} has no rows that train", i + 1));
    rows_.insert(rows_.end(), rows.begin(), rows.end());
    strata_.insert(strata_.end(), rows.size(), static_cast<int64_t>(i));
  }
  make_losses();
  const auto options = torch::TensorOptions(data_->scale.scalar_type());
  x_ = torch::zeros({sources() + 1}, options).requires_grad_();
  y_ = torch::zeros({upper_.size()}, options).requires_grad_();
}

// The mean over all rows that are drawn, of which each counts (rows drawn from) / (rows of its source that the model sees) times the
// source's weight, is the weighted sum of the sources' mean losses.
void MixModel::make_losses() {
  const int64_t m = sources(), all = data_->design.count(), models = static_cast<int64_t>(plan_.folds.size());
  const auto options = torch::TensorOptions(data_->scale.scalar_type());
  upper_ = unpenalized_loss(data_->design, data_->targets, plan_.network.outputs);
  upper_.models = models;
  lower_ = {.linear = upper_, .sources = m};
  LinearLoss& linear = lower_.linear;
  linear.weight = RowWeight::plain;
  linear.unit_of = torch::full({all}, -1, torch::kInt64);
  linear.unit_of.index_copy_(0, torch::tensor(rows_, torch::kInt64), torch::tensor(strata_, torch::kInt64));
  linear.row_weights = torch::zeros({models, all}, options);
  upper_.row_weights = torch::zeros({models, all}, options);
  for (int64_t k = 0; k < models; ++k) {
    const torch::Tensor judged = torch::tensor(plan_.folds[static_cast<size_t>(k)].judged, torch::kInt64);
    upper_.row_weights[k].index_fill_(0, judged, 1);
    const torch::Tensor seen = linear.unit_of.index_fill(0, judged, -1);
    const torch::Tensor counts = torch::bincount(seen + 1, {}, m + 1).narrow(0, 1, m).to(options.dtype());
    const torch::Tensor factors = static_cast<double>(rows_.size()) / counts.clamp_min(1);
    linear.row_weights[k].copy_(
        torch::where(seen >= 0, factors.index_select(0, seen.clamp_min(0)), torch::zeros({1}, options)));
  }
  linear.strength_of = linear.for_each_weight(torch::full({data_->shape.width}, m, torch::kInt64), -1);
  linear.strength_factor =
      linear.for_each_weight(data_->scale.square() * strength_share(plan_.network.outputs), 0);
}

Problem MixModel::problem(int64_t batch_size) const {
  const MixModel model = *this;
  LinearLoss upper = upper_;
  upper.centre =
      torch::cat({torch::zeros({sources()}, x_.options().requires_grad(false)),
                  x_.detach().narrow(0, sources(), 1)});  // the strength stays near where it starts
  upper.precision = 1 / (plan_.spread * plan_.spread * static_cast<double>(judged_.size()));
  return {
      .upper = {
          .parameters = {{"mixture", x_}},
          .loss = [model, upper](const Batch& batch) { return upper.value(batch, model.x_, model.y_); },
          .batches = BatchSource(data_->set, judged_, {.batch_size = static_cast<int64_t>(judged_.size())}),
          .project = [model](const torch::Tensor& flat) { return model.bounded(flat); },
          .derivatives = derivatives_of(upper)},
      .lower = {.parameters = {{"classifiers", y_}},
                .loss = [model](const Batch& batch) { return model.lower_.value(batch, model.x_, model.y_); },
                .batches = BatchSource(data_->set, rows_, {.batch_size = batch_size}, strata_),
                .derivatives = derivatives_of(lower_)}};
}

torch::Tensor MixModel::bounded(const torch::Tensor& x) const {
  return torch::cat({with_entropy(x.narrow(0, 0, sources()), plan_.entropy_floor),
                     x.narrow(0, sources(), 1).clamp(std::log(kLeastStrength), std::log(kMostStrength))});
}

void MixModel::set_x(const torch::Tensor& flat) { set_from_flat({x_}, flat); }
void MixModel::set_y(const torch::Tensor& flat) { set_from_flat({y_}, flat); }

void MixModel::set(const torch::Tensor& weights, double strength) {
  const torch::Tensor logits = weights.to(torch::kFloat64).clamp_min(kLeastWeight).log();
  set_x(torch::cat({logits - logits.mean(), torch::full({1}, log_of(strength), torch::kFloat64)})
            .to(x_.scalar_type()));
}

void MixModel::set_strength(double strength) {
  const torch::NoGradGuard no_grad;
  x_.narrow(0, sources(), 1).fill_(log_of(strength));
}

torch::Tensor MixModel::weights() const {
  return x_.detach().narrow(0, 0, sources()).to(torch::kFloat64).softmax(0);
}

double MixModel::strength() const { return std::exp(x_.detach()[sources()].item<double>()); }

void MixModel::minimize(int64_t evaluations, const std::function<bool()>& go_on) {
  const torch::NoGradGuard no_grad;
  const Batch rows(data_->set, rows_);
  LinearFitOptions options{.evaluations = evaluations};
  if (go_on) options.go_on = [&](int64_t) { return go_on(); };
  set_y(fit_linear(lower_.linear, rows, lower_.units(x_.detach()), y_.detach(), options));
}

torch::Tensor MixModel::judged_probabilities() const {
  std::vector<torch::Tensor> parts;
  for (size_t k = 0; k < plan_.folds.size(); ++k) parts.push_back(probabilities(plan_.folds[k].judged, k));
  return torch::cat(parts);
}

torch::Tensor MixModel::probabilities(const std::vector<int64_t>& rows, size_t model) const {
  return probabilities_of(*write_network(model), data_->inputs, rows, torch::kCPU);
}

std::shared_ptr<Network> MixModel::write_network(size_t model) const {
  torch::Tensor own = upper_.model_of(y_.detach(), static_cast<int64_t>(model)).clone();
  own.narrow(0, 0, own.numel() - upper_.outputs).mul_(data_->scale.repeat_interleave(upper_.outputs));
  set_classifier(*network_, own);
  return network_;
}

}  // namespace bilevel
