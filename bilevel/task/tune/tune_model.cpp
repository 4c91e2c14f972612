#include "bilevel/task/tune/tune_model.h"

#include <fmt/format.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/model/sparse.h"
#include "bilevel/task/job/feature_squares.h"
#include "bilevel/task/job/passes.h"
#include "bilevel/task/job/seeded_network.h"
#include "bilevel/task/tune/tune_derivatives.h"
#include "bilevel/task/tune/tune_evidence.h"

namespace bilevel {
namespace {

constexpr double kSmoothingCentre = -4;  // eps = 0.018
constexpr double kBiasScale = 2;         // 1 / sqrt(1/4), as of a feature that is 1 everywhere

torch::Tensor picked(const torch::Tensor& log_p, const torch::Tensor& classes) {
  return -log_p.gather(1, classes.unsqueeze(1)).squeeze(1);
}

}  // namespace

TuneModel::TuneModel(const TuneModelOptions& options, const InputShape& shape, TuneData data)
    : options_(options),
      data_(std::make_shared<const TuneData>(std::move(data))),
      classes_(options.network.outputs) {
  if (!(options.l2 > 0) || !std::isfinite(options.l2))
    throw InputError(fmt::format("l2 = {:g}: must be a positive number", options.l2));
  if (!(options.spread > 0) || !std::isfinite(options.spread))
    throw InputError(fmt::format("spread = {:g}: must be a positive number", options.spread));
  width_ = shape.width;
  convex_ = encoder_registry().at(options.network.encoder).linear;
  network_ = seeded_network(options.network, shape, options.seed, options.device);
  const bool folded = !data_->folds.empty() || options.kind == TuneKind::l2_by_evidence;
  if (folded && !convex_) {
    throw InputError(fmt::format("{} takes a linear model (encoder linear or bag), not {}",
                                 data_->folds.empty() ? "tune = l2-by-evidence" : "cross_fit = true",
                                 options.network.encoder));
  }
  targets_ = torch::tensor(data_->classes, torch::kInt64);
  set_ = data_set(data_->inputs, targets_);
  if (folded) {
    make_parts(shape);
  } else if (convex_) {
    squares_ = quarter_squares(data_->inputs, data_->train, shape.width).unsqueeze(1).to(options.device);
    const auto zeros = [&](const std::vector<int64_t>& size) {
      return torch::zeros(size, torch::device(options.device)).requires_grad_();
    };
    lower_ = {{"weight", zeros({shape.width, classes_})}, {"bias", zeros({classes_})}};
  } else {
    network_->set_twice_differentiable(true);
    lower_ = named(*network_);
  }
  initial_ = flat_y();

  std::vector<double> counts(static_cast<size_t>(classes_), 0);
  for (const int64_t row : data_->train)
    ++counts.at(static_cast<size_t>(data_->classes.at(static_cast<size_t>(row))));
  shares_ = (torch::tensor(counts, torch::kFloat64) / static_cast<double>(data_->train.size()))
                .to(torch::device(options.device).dtype(torch::get_default_dtype()));

  if (folded)
    groups_ = parts_->back().model.groups_;
  else
    group_weights(shape);
  int64_t rest =
      options.kind == TuneKind::l2_per_feature || options.kind == TuneKind::l2_per_class ? groups_ : 0;
  if (options.kind == TuneKind::l2_by_evidence) rest = kEvidence;
  if (options.kind == TuneKind::label_smoothing) rest = 1;
  if (options.kind == TuneKind::class_weights) rest = classes_;
  centre_ = torch::full({rest}, options.kind == TuneKind::label_smoothing ? kSmoothingCentre : 0.0,
                        torch::device(options.device).dtype(torch::get_default_dtype()));
  x_ = centred(options.l2);
  x_.requires_grad_();
}

void TuneModel::set_x(const torch::Tensor& flat) {
  const torch::NoGradGuard no_grad;
  x_.copy_(flat);
}

void TuneModel::set_y(const torch::Tensor& flat) { set_from_flat(lower_, flat); }

torch::Tensor TuneModel::flat_y() const {
  std::vector<torch::Tensor> parts;
  for (const torch::Tensor& t : lower_) parts.push_back(t.detach().reshape({-1}));
  return torch::cat(parts);
}

void TuneModel::reset_y() { set_y(initial_); }

torch::Tensor TuneModel::Penalty::of(const torch::Tensor& per_group) const {
  std::vector<int64_t> sizes(static_cast<size_t>(weight.dim()), 1);
  sizes[static_cast<size_t>(dim)] = count;
  return per_group.narrow(0, first, count).view(sizes);
}

/// w = scale * y, convex only.
torch::Tensor TuneModel::scale() const {
  return (squares_ + penalties_[0].of(log_strengths().exp())).rsqrt();
}

torch::Tensor TuneModel::logits(const std::vector<torch::Tensor>& inputs) const {
  if (!convex_) return network_->forward(inputs);
  const torch::Tensor weight = scale() * lower_[0];
  const torch::Tensor bias = kBiasScale * lower_[1];
  return data_->inputs.kind() == InputKind::dense ? torch::addmm(bias, inputs[0], weight)
                                                  : sparse_matmul(inputs, weight) + bias;
}

torch::Tensor TuneModel::lower_loss(const Batch& batch) const {
  if (parts_) return folded_loss(batch, /*upper=*/false);
  const torch::Tensor& classes = batch.targets();
  const torch::Tensor log_p = logits(batch.inputs()).log_softmax(1);
  torch::Tensor loss = picked(log_p, classes);
  if (options_.kind == TuneKind::label_smoothing) {
    const torch::Tensor eps = x_.narrow(0, 1, 1).sigmoid();
    loss = (1 - eps) * loss - eps * log_p.mean(1);
  }
  if (options_.kind == TuneKind::class_weights) {
    const torch::Tensor w = x_.slice(0, 1).exp();
    loss = (w / w.dot(shares_)).index_select(0, classes) * loss;
  }
  torch::Tensor value = weighted_mean(loss, batch.weights());
  const torch::Tensor strengths = log_strengths().exp();
  for (const Penalty& penalty : penalties_) {
    const torch::Tensor lambda = penalty.of(strengths);
    const torch::Tensor factor = convex_ ? lambda / (squares_ + lambda) : lambda;
    value = value + 0.5 * (factor * penalty.weight.square()).sum();
  }
  return value;
}

torch::Tensor TuneModel::judging_loss(const Batch& batch) const {
  return weighted_mean(picked(logits(batch.inputs()).log_softmax(1), batch.targets()), batch.weights());
}

double TuneModel::prior_strength() const {
  return 1 / (options_.spread * options_.spread * static_cast<double>(data_->valid.size()));
}

torch::Tensor TuneModel::prior() const {
  return prior_strength() / 2 * (x_.slice(0, 1) - centre_).square().sum();
}

Problem TuneModel::problem(int64_t batch_size, int64_t upper_batch) const {
  const TuneModel model = *this;
  const auto source = [&](const Rows& rows, int64_t size) {
    std::vector<int64_t> classes;
    for (const int64_t row : rows) classes.push_back(data_->classes[static_cast<size_t>(row)]);
    return BatchSource(set_, rows, {.batch_size = size}, classes);
  };
  Problem problem{.upper = {.parameters = {{"hyperparameters", x_}},
                            .loss =
                                [model](const Batch& batch) {
                                  if (model.parts_) return model.folded_loss(batch, /*upper=*/true);
                                  return model.judging_loss(batch) + model.prior();
                                },
                            .batches = source(data_->valid, upper_batch > 0 ? upper_batch : batch_size),
                            .project = [model](const torch::Tensor& flat) { return model.bounded(flat); }},
                  .lower = {.parameters = lower_,
                            .loss = [model](const Batch& batch) { return model.lower_loss(batch); },
                            .batches = source(data_->train, batch_size)}};
  if (!convex_) {
    problem.set_twice_differentiable = [network = network_](bool on) {
      network->set_twice_differentiable(on);
    };
  } else if (options_.device.is_cpu()) {
    std::tie(problem.upper.derivatives, problem.lower.derivatives) = own_derivatives();
  }
  return problem;
}

auto TuneModel::own_derivatives() const -> std::pair<MakeDerivatives, MakeDerivatives> {
  if (parts_) return folded_derivatives();
  return own_derivatives(DesignRows(data_->inputs.matrix(), lower_[0].size(0), lower_[0].scalar_type()));
}

auto TuneModel::own_derivatives(const DesignRows& design) const
    -> std::pair<MakeDerivatives, MakeDerivatives> {
  const auto [least, most] = strength_range();
  const LinearLoss rows{
      .rows = design, .targets = targets_, .loss = RowLoss::softmax, .outputs = classes_, .bias = true};
  TunedLoss loss{.rows = rows,
                 .squares = squares_.squeeze(1),
                 .bias_scale = kBiasScale,
                 .strengths = options_.kind == TuneKind::l2_per_feature ? StrengthOf::feature
                              : options_.kind == TuneKind::l2_per_class ? StrengthOf::output
                                                                        : StrengthOf::all,
                 .least = std::log(least),
                 .most = std::log(most)};
  TunedLoss upper = loss;
  if (!inner_) {
    upper.centre = centre_;
    upper.prior = prior_strength();
  }
  loss.penalized = true;
  loss.smoothed = options_.kind == TuneKind::label_smoothing;
  if (options_.kind == TuneKind::class_weights) loss.class_shares = shares_;
  return {derivatives_of(upper), derivatives_of(loss)};
}

std::function<std::pair<double, torch::Tensor>()> TuneModel::full_gradient() const {
  const Batch rows = training_batch();
  if (!convex_ || !options_.device.is_cpu()) {
    return [this, rows]() -> std::pair<double, torch::Tensor> {
      const torch::Tensor loss = lower_loss(rows);
      std::vector<torch::Tensor> parts = torch::autograd::grad({loss}, y());
      for (torch::Tensor& part : parts) part = part.reshape({-1});
      return {loss.item<double>(), torch::cat(parts)};
    };
  }
  const std::shared_ptr<Derivatives> own = own_derivatives().second();
  return [this, rows, own]() -> std::pair<double, torch::Tensor> {
    const torch::Tensor flat = flat_y(), gradient = torch::zeros_like(flat);
    const std::unique_ptr<PointDerivatives> point = own->at(rows, x_.detach(), flat);
    point->gradient({}, {&gradient});
    return {point->value(), gradient};
  };
}

torch::Tensor TuneModel::probabilities(const std::vector<int64_t>& rows) const {
  if (parts_) return last().probabilities(rows);
  const auto softmax = [&](const std::vector<torch::Tensor>& inputs) { return logits(inputs); };
  return over_rows(*network_, data_->inputs, rows, options_.device, softmax).to(torch::kFloat64).softmax(1);
}

std::shared_ptr<Network> TuneModel::write_network() {
  if (!convex_) return network_;
  const torch::NoGradGuard no_grad;
  if (parts_) {
    const std::vector<torch::Tensor> made = last().write_network()->parameters(),
                                     own = network_->parameters();
    for (size_t i = 0; i < own.size(); ++i) own[i].copy_(own[i].dim() == 2 ? widened(made[i], 0) : made[i]);
    return network_;
  }
  for (const auto& parameter : network_->named_parameters()) {
    torch::Tensor target = parameter.value();
    target.copy_(target.dim() == 2 ? scale() * lower_[0] : kBiasScale * lower_[1]);
  }
  return network_;
}

}  // namespace bilevel
