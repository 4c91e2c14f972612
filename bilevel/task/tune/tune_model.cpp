#include "bilevel/task/tune/tune_model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/model/sparse.h"
#include "bilevel/task/job/passes.h"
#include "bilevel/task/job/seeded_network.h"
#include "bilevel/task/tune/tune_derivatives.h"

namespace bilevel {
namespace {

constexpr double kNoSmoothing = -14;     // logit of an eps below 1e-6
constexpr double kSmoothingCentre = -4;  // eps = 0.018
constexpr double kBiasScale = 2;         // 1 / sqrt(1/4), as of a feature that is 1 everywhere

torch::Tensor picked(const torch::Tensor& log_p, const torch::Tensor& classes) {
  return -log_p.gather(1, classes.unsqueeze(1)).squeeze(1);
}

/// A quarter of the mean square of every feature, [width, 1].
torch::Tensor quarter_squares(const Inputs& inputs, const std::vector<int64_t>& rows, int64_t width) {
  const std::vector<torch::Tensor> tensors = inputs.gather(rows);
  const double factor = 0.25 / static_cast<double>(rows.size());
  const torch::Tensor sums =
      inputs.kind() == InputKind::dense
          ? tensors[0].square().sum(0)
          : torch::zeros({width}, tensors[1].device())
                .scatter_add(0, tensors[0], tensors[1].square().to(torch::get_default_dtype()));
  return (factor * sums).unsqueeze(1);
}

}  // namespace

TuneModel::TuneModel(const TuneModelOptions& options, const InputShape& shape, const TuneData& data)
    : options_(options), data_(data), classes_(options.network.outputs) {
  if (!(options.l2 > 0) || !std::isfinite(options.l2))
    throw InputError(fmt::format("l2 = {:g}: must be a positive number", options.l2));
  if (!(options.spread > 0) || !std::isfinite(options.spread))
    throw InputError(fmt::format("spread = {:g}: must be a positive number", options.spread));
  convex_ = encoder_registry().at(options.network.encoder).linear;
  network_ = seeded_network(options.network, shape, options.seed, options.device);
  if (convex_) {
    squares_ = quarter_squares(data.inputs, data.train, shape.width).to(options.device);
    const auto zeros = [&](const std::vector<int64_t>& size) {
      return torch::zeros(size, torch::device(options.device)).requires_grad_();
    };
    lower_ = {{"weight", zeros({shape.width, classes_})}, {"bias", zeros({classes_})}};
  } else {
    network_->set_twice_differentiable(true);
    lower_ = named(*network_);
  }
  initial_ = flat_y();
  set_ = data_set(data.inputs, torch::tensor(data.classes, torch::kInt64));

  std::vector<double> counts(static_cast<size_t>(classes_), 0);
  for (const int64_t row : data.train)
    ++counts.at(static_cast<size_t>(data.classes.at(static_cast<size_t>(row))));
  shares_ = (torch::tensor(counts, torch::kFloat64) / static_cast<double>(data.train.size()))
                .to(torch::device(options.device).dtype(torch::get_default_dtype()));

  group_weights(shape);
  int64_t rest =
      options.kind == TuneKind::l2_per_feature || options.kind == TuneKind::l2_per_class ? groups_ : 0;
  if (options.kind == TuneKind::label_smoothing) rest = 1;
  if (options.kind == TuneKind::class_weights) rest = classes_;
  centre_ = torch::full({rest}, options.kind == TuneKind::label_smoothing ? kSmoothingCentre : 0.0,
                        torch::device(options.device).dtype(torch::get_default_dtype()));
  x_ = centred(options.l2);
  x_.requires_grad_();
}

/// Which group of strengths every weight belongs to.
void TuneModel::group_weights(const InputShape& shape) {
  const bool by_feature = options_.kind == TuneKind::l2_per_feature,
             by_class = options_.kind == TuneKind::l2_per_class;
  const int64_t shared = by_feature ? shape.width : by_class ? classes_ : 1;
  groups_ = shared;
  bool found = false;
  for (size_t i = 0; i < lower_.size(); ++i) {
    const torch::Tensor& weight = lower_[i];
    const WeightKind kind = network_->kind_of(weight);  // direct for every matrix of a linear encoder
    if (kind == WeightKind::other || (kind == WeightKind::vectors && !by_feature)) continue;
    const bool direct = kind == WeightKind::direct;
    Penalty penalty{.weight = weight, .first = 0, .count = shared, .dim = 0};
    if (by_feature && (direct || kind == WeightKind::vectors || kind == WeightKind::input)) {
      found = true;
    } else if (by_class && (direct || kind == WeightKind::head)) {
      found = true;
      penalty.dim = direct ? 1 : 0;
    } else if (by_feature || by_class) {
      penalty.first = groups_++;
      penalty.count = 1;
      other_groups_.push_back(lower_.names[i]);
    }
    penalties_.push_back(penalty);
  }
  if (by_feature && !found) {
    throw InputError(
        "tune = l2-per-feature: this encoder has no trained weights of single features (token vectors are "
        "trained with --train-embedding); take l2 or l2-per-class");
  }
}

std::pair<double, double> TuneModel::strength_range() const {
  return convex_ ? std::pair{1e-9, 1e4} : std::pair{1e-9, 1.0};
}

torch::Tensor TuneModel::bounded(const torch::Tensor& x) const {
  const auto [low, high] = strength_range();
  constexpr double kMost = 16;  // deviations beyond this are the same
  return torch::cat(
      {x.narrow(0, 0, 1).clamp(std::log(low), std::log(high)), x.slice(0, 1).clamp(-kMost, kMost)});
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

torch::Tensor TuneModel::neutral(double l2) const {
  const double rest = options_.kind == TuneKind::label_smoothing ? kNoSmoothing : 0;
  return bounded(
      torch::cat({torch::full({1}, std::log(l2), centre_.options()), torch::full_like(centre_, rest)}));
}

torch::Tensor TuneModel::centred(double l2) const {
  return bounded(torch::cat({torch::full({1}, std::log(l2), centre_.options()), centre_}));
}

torch::Tensor TuneModel::random(double low, double high, at::Generator& generator) const {
  const torch::Tensor place = torch::rand({1}, generator, torch::kFloat64).to(centre_.options());
  const torch::Tensor rest =
      torch::randn({centre_.numel()}, generator, torch::kFloat64).to(centre_.options());
  return bounded(
      torch::cat({std::log(low) + place * std::log(high / low), centre_ + options_.spread * rest}));
}

torch::Tensor TuneModel::log_strengths() const {
  const torch::Tensor common = x_.narrow(0, 0, 1);
  const bool grouped = options_.kind == TuneKind::l2_per_feature || options_.kind == TuneKind::l2_per_class;
  const auto [low, high] = strength_range();
  return (grouped ? common + x_.slice(0, 1) : common).clamp(std::log(low), std::log(high));
}

torch::Tensor TuneModel::strengths() const {
  const torch::NoGradGuard no_grad;
  return log_strengths().to(torch::kCPU, torch::kFloat64).exp();
}

torch::Tensor TuneModel::used_features() const {
  return convex_ ? (squares_ > 0).squeeze(1).to(torch::kCPU) : torch::ones({groups_}, torch::kBool);
}

double TuneModel::smoothing() const {
  if (options_.kind != TuneKind::label_smoothing) return 0;
  return 1 / (1 + std::exp(-x_[1].item<double>()));
}

torch::Tensor TuneModel::class_weights() const {
  const torch::NoGradGuard no_grad;
  if (options_.kind != TuneKind::class_weights) return torch::ones({classes_}, torch::kFloat64);
  const torch::Tensor w = x_.slice(0, 1).to(torch::kCPU, torch::kFloat64).exp();
  return w / w.dot(shares_.to(torch::kCPU, torch::kFloat64));
}

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
  return data_.inputs.kind() == InputKind::dense ? torch::addmm(bias, inputs[0], weight)
                                                 : sparse_matmul(inputs, weight) + bias;
}

torch::Tensor TuneModel::lower_loss(const Batch& batch) const {
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

double TuneModel::prior_strength() const {
  return 1 / (options_.spread * options_.spread * static_cast<double>(data_.valid.size()));
}

torch::Tensor TuneModel::prior() const {
  return prior_strength() / 2 * (x_.slice(0, 1) - centre_).square().sum();
}

Problem TuneModel::problem(int64_t batch_size, int64_t upper_batch) const {
  const TuneModel model = *this;
  const auto source = [&](const Rows& rows, int64_t size) {
    std::vector<int64_t> classes;
    for (const int64_t row : rows) classes.push_back(data_.classes[static_cast<size_t>(row)]);
    return BatchSource(set_, rows, {.batch_size = size}, classes);
  };
  Problem problem{.upper = {.parameters = {{"hyperparameters", x_}},
                            .loss =
                                [model](const Batch& batch) {
                                  const torch::Tensor log_p = model.logits(batch.inputs()).log_softmax(1);
                                  return weighted_mean(picked(log_p, batch.targets()), batch.weights()) +
                                         model.prior();
                                },
                            .batches = source(data_.valid, upper_batch > 0 ? upper_batch : batch_size),
                            .project = [model](const torch::Tensor& flat) { return model.bounded(flat); }},
                  .lower = {.parameters = lower_,
                            .loss = [model](const Batch& batch) { return model.lower_loss(batch); },
                            .batches = source(data_.train, batch_size)}};
  if (!convex_) {
    problem.set_twice_differentiable = [network = network_](bool on) {
      network->set_twice_differentiable(on);
    };
  } else if (options_.device.is_cpu()) {
    add_derivatives(problem);
  }
  return problem;
}

void TuneModel::add_derivatives(Problem& problem) const {
  const torch::Tensor& w = lower_[0];
  const auto [least, most] = strength_range();
  const DesignRows design(data_.inputs.matrix(), w.size(0), w.scalar_type());
  const torch::Tensor targets = torch::tensor(data_.classes, torch::kInt64);
  const LinearLoss rows{
      .rows = design, .targets = targets, .loss = RowLoss::softmax, .outputs = classes_, .bias = true};
  TunedLoss loss{.rows = rows,
                 .squares = squares_.squeeze(1),
                 .bias_scale = kBiasScale,
                 .strengths = options_.kind == TuneKind::l2_per_feature ? StrengthOf::feature
                              : options_.kind == TuneKind::l2_per_class ? StrengthOf::output
                                                                        : StrengthOf::all,
                 .least = std::log(least),
                 .most = std::log(most)};
  TunedLoss upper = loss;
  upper.centre = centre_;
  upper.prior = prior_strength();
  problem.upper.derivatives = derivatives_of(upper);
  loss.penalized = true;
  loss.smoothed = options_.kind == TuneKind::label_smoothing;
  if (options_.kind == TuneKind::class_weights) loss.class_shares = shares_;
  problem.lower.derivatives = derivatives_of(loss);
}

torch::Tensor TuneModel::probabilities(const std::vector<int64_t>& rows) const {
  const auto softmax = [&](const std::vector<torch::Tensor>& inputs) { return logits(inputs); };
  return over_rows(*network_, data_.inputs, rows, options_.device, softmax).to(torch::kFloat64).softmax(1);
}

std::shared_ptr<Network> TuneModel::write_network() {
  if (!convex_) return network_;
  const torch::NoGradGuard no_grad;
  for (const auto& parameter : network_->named_parameters()) {
    torch::Tensor target = parameter.value();
    target.copy_(target.dim() == 2 ? scale() * lower_[0] : kBiasScale * lower_[1]);
  }
  return network_;
}

}  // namespace bilevel
