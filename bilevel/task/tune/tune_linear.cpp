// The linear models of a TuneModel, side by side: one for each fold and one for all rows.
#include <torch/types.h>

#include <cmath>

#include "bilevel/task/job/feature_squares.h"
#include "bilevel/task/job/shared_columns.h"
#include "bilevel/task/tune/tune_derivatives.h"
#include "bilevel/task/tune/tune_evidence.h"
#include "bilevel/task/tune/tune_model.h"

namespace bilevel {

const std::vector<int64_t>& TuneModel::training_rows(int64_t model) const {
  return model + 1 < models_ ? data_->folds[static_cast<size_t>(model)].others : data_->train;
}

void TuneModel::read_rows() {
  const auto of_x = torch::device(options_.device).dtype(torch::get_default_dtype());
  torch::Tensor squares = quarter_squares(data_->inputs, data_->train, width_);
  int64_t width = width_;
  const torch::Tensor used = (squares > 0).nonzero().squeeze(1);
  if (data_->inputs.kind() == InputKind::sparse && used.numel() < width) {
    // What no training row has gets no weight: hashed n-grams leave most of their buckets empty.
    columns_ = used;
    width = columns_.numel();
    TuneData read = *data_;
    read.inputs = narrowed(read.inputs, columns_, width_);
    data_ = std::make_shared<const TuneData>(std::move(read));
    squares = squares.index_select(0, columns_);
  }
  std::vector<torch::Tensor> of_models, evidence;
  for (int64_t m = 0; m < models_; ++m) {
    const std::vector<int64_t>& rows = training_rows(m);
    of_models.push_back(m + 1 < models_ ? quarter_squares(data_->inputs, rows, width) : squares);
    if (options_.kind == TuneKind::l2_by_evidence)
      evidence.push_back(feature_evidence(data_->inputs, rows, data_->classes, width, classes_));
  }
  squares_ = torch::stack(of_models, 1).to(of_x);
  if (!evidence.empty()) evidence_ = torch::stack(evidence, 2).to(of_x);
  if (options_.kind == TuneKind::l2_per_feature) groups_ = width;
  if (options_.kind == TuneKind::l2_per_class) groups_ = classes_;
  lower_ = {{"weight", torch::zeros({width, models_, classes_}, of_x).requires_grad_()},
            {"bias", torch::zeros({models_, classes_}, of_x).requires_grad_()}};
  if (options_.device.is_cpu()) design_ = DesignRows(data_->inputs.matrix(), width, lower_[0].scalar_type());
  if (models_ == 1) return;
  trained_ = torch::zeros({models_, static_cast<int64_t>(data_->classes.size())}, lower_[0].scalar_type());
  judged_ = torch::zeros_like(trained_);
  const auto count = [](const torch::Tensor& of, const std::vector<int64_t>& rows, double as) {
    torch::Tensor(of).index_fill_(0, torch::tensor(rows, torch::kInt64), as);
  };
  for (int64_t m = 0; m < models_; ++m) {
    const std::vector<int64_t>& rows = training_rows(m);
    count(trained_[m], rows, static_cast<double>(data_->train.size()) / static_cast<double>(rows.size()));
    if (m + 1 < models_) count(judged_[m], data_->folds[static_cast<size_t>(m)].judged, 1);
  }
}

torch::Tensor TuneModel::widened(const torch::Tensor& of_columns, const torch::Scalar& other) const {
  if (!columns_.defined()) return of_columns;
  std::vector<int64_t> sizes = of_columns.sizes().vec();
  sizes[0] = width_;
  return torch::full(sizes, other, of_columns.options())
      .index_copy_(0, columns_.to(of_columns.device()), of_columns);
}

torch::Tensor TuneModel::slopes() const {
  const int64_t count = options_.kind == TuneKind::l2_by_evidence ? kEvidence : 0;
  return x_.detach().slice(0, 1, 1 + count).to(torch::kCPU, torch::kFloat64);
}

torch::Tensor TuneModel::held_out() const {
  if (models_ == 1) return probabilities(data_->valid);
  torch::Tensor predicted =
      torch::zeros({static_cast<int64_t>(data_->classes.size()), classes_}, torch::kFloat64);
  for (int64_t m = 0; m + 1 < models_; ++m) {
    const std::vector<int64_t>& rows = data_->folds[static_cast<size_t>(m)].judged;
    predicted.index_copy_(0, torch::tensor(rows, torch::kInt64), probabilities(rows, m));
  }
  return predicted.index_select(0, torch::tensor(data_->valid, torch::kInt64));
}

TunedLoss TuneModel::tuned_upper() const {
  const auto [least, most] = strength_range();
  TunedLoss loss{.rows = {.rows = design_,
                          .targets = targets_,
                          .loss = RowLoss::softmax,
                          .outputs = classes_,
                          .models = models_,
                          .bias = true,
                          .row_weights = judged_},
                 .squares = squares_,
                 .bias_scale = kBiasScale,
                 .evidence = evidence_,
                 .least = std::log(least),
                 .most = std::log(most),
                 .centre = centre_,
                 .prior = prior_strength()};
  if (options_.kind == TuneKind::l2_per_feature) loss.strengths = StrengthOf::feature;
  if (options_.kind == TuneKind::l2_per_class) loss.strengths = StrengthOf::output;
  if (options_.kind == TuneKind::l2_by_evidence) loss.strengths = StrengthOf::evidence;
  return loss;
}

TunedLoss TuneModel::tuned_lower() const {
  TunedLoss loss = tuned_upper();
  loss.rows.row_weights = trained_;
  loss.centre = torch::Tensor();
  loss.penalized = true;
  loss.smoothed = options_.kind == TuneKind::label_smoothing;
  if (options_.kind == TuneKind::elastic_net) loss.l1 = TunedLoss::Norm::bent;
  if (options_.kind == TuneKind::class_weights) loss.class_shares = shares_;
  return loss;
}

std::unique_ptr<Derivatives> TuneModel::smooth_part(torch::Tensor& thresholds) const {
  if (options_.kind != TuneKind::elastic_net || !options_.device.is_cpu()) return nullptr;
  const torch::NoGradGuard no_grad;
  const torch::Tensor of_weights = l1_share() * weight_strengths() * scale();
  thresholds =
      torch::cat({of_weights.expand({-1, -1, classes_}).flatten(), torch::zeros_like(lower_[1]).flatten()});
  TunedLoss loss = tuned_lower();
  loss.l1 = TunedLoss::Norm::left_out;
  return derivatives_of(loss)();
}

std::unique_ptr<Derivatives> TuneModel::lower_derivatives() const {
  if (!convex_ || !options_.device.is_cpu()) return nullptr;
  return derivatives_of(tuned_lower())();
}

}  // namespace bilevel
