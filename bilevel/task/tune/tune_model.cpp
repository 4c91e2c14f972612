#include "bilevel/task/tune/tune_model.h"

#include <fmt/format.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/model/sparse.h"
#include "bilevel/task/job/passes.h"
#include "bilevel/task/job/seeded_network.h"
#include "bilevel/task/tune/tune_derivatives.h"
#include "bilevel/task/tune/tune_evidence.h"

namespace bilevel {
namespace {

constexpr double kSmoothingCentre = -4;  // eps = 0.018

/// Losses [rows, models] from log-probabilities [rows, models, classes].
torch::Tensor picked(const torch::Tensor& log_p, const torch::Tensor& classes) {
  return -log_p.gather(2, classes.view({-1, 1, 1}).expand({-1, log_p.size(1), 1})).squeeze(2);
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
  const bool folded = !data_->folds.empty();
  const bool of_linear = options.kind == TuneKind::l2_by_evidence || options.kind == TuneKind::elastic_net;
  if ((folded || of_linear) && !convex_) {
    throw InputError(
        fmt::format("{} takes a linear model (encoder linear or bag), not {}",
                    folded ? "cross_fit = true" : fmt::format("tune = {}", name_of(options.kind)),
                    options.network.encoder));
  }
  models_ = folded ? static_cast<int64_t>(data_->folds.size()) + 1 : 1;
  if (convex_) {
    read_rows();
  } else {
    network_->set_twice_differentiable(true);
    lower_ = named(*network_);
    group_weights(shape);
  }
  initial_ = flat_y();
  targets_ = torch::tensor(data_->classes, torch::kInt64);
  set_ = data_set(data_->inputs, targets_);
  std::vector<torch::Tensor> shares;
  for (int64_t m = 0; m < models_; ++m) {
    const torch::Tensor classes = classes_at(data_->classes, training_rows(m));
    shares.push_back(torch::bincount(classes, {}, classes_) / static_cast<double>(classes.numel()));
  }
  shares_ = torch::stack(shares).to(torch::device(options.device).dtype(torch::get_default_dtype()));
  int64_t rest =
      options.kind == TuneKind::l2_per_feature || options.kind == TuneKind::l2_per_class ? groups_ : 0;
  if (options.kind == TuneKind::l2_by_evidence) rest = kEvidence;
  if (options.kind == TuneKind::label_smoothing || options.kind == TuneKind::elastic_net) rest = 1;
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

/// w = scale * y, linear only.
torch::Tensor TuneModel::scale() const { return (squares_.unsqueeze(2) + weight_strengths()).rsqrt(); }

torch::Tensor TuneModel::logits(const std::vector<torch::Tensor>& inputs, int64_t first,
                                int64_t count) const {
  if (!convex_) return network_->forward(inputs).unsqueeze(1);
  const auto of_models = [&](const torch::Tensor& t, int64_t dim) {
    return t.narrow(dim, first, count).flatten(dim);
  };
  const torch::Tensor weight = of_models(scale() * lower_[0], 1);
  const torch::Tensor bias = of_models(kBiasScale * lower_[1], 0);
  const torch::Tensor all = data_->inputs.kind() == InputKind::dense ? torch::addmm(bias, inputs[0], weight)
                                                                     : sparse_matmul(inputs, weight) + bias;
  return all.view({-1, count, classes_});
}

torch::Tensor TuneModel::mean_loss(const torch::Tensor& losses, const Batch& batch,
                                   const torch::Tensor& counted) const {
  if (!counted.defined()) return weighted_mean(losses.sum(1), batch.weights());
  const torch::Tensor of_rows = counted.index_select(1, batch.numbers()).t().to(losses.options());
  return weighted_mean((losses * of_rows).sum(1), batch.weights());
}

torch::Tensor TuneModel::lower_loss(const Batch& batch) const {
  const torch::Tensor& classes = batch.targets();
  const torch::Tensor log_p = logits(batch.inputs(), 0, models_).log_softmax(2);
  torch::Tensor losses = picked(log_p, classes);
  if (options_.kind == TuneKind::label_smoothing) {
    const torch::Tensor eps = x_.narrow(0, 1, 1).sigmoid();
    losses = (1 - eps) * losses - eps * log_p.mean(2);
  }
  if (options_.kind == TuneKind::class_weights) {
    const torch::Tensor w = x_.slice(0, 1).exp();
    losses = (w / shares_.mv(w).unsqueeze(1)).index_select(1, classes).t() * losses;
  }
  torch::Tensor value = mean_loss(losses, batch, trained_);
  if (convex_) {
    const torch::Tensor lambda = weight_strengths(),
                        quadratic =
                            0.5 * (lambda / (squares_.unsqueeze(2) + lambda) * lower_[0].square()).sum();
    if (options_.kind != TuneKind::elastic_net) return value + quadratic;
    constexpr double delta = TunedLoss::kBend;
    const torch::Tensor share = x_.narrow(0, 1, 1).sigmoid(),
                        bent = (lower_[0].square() + delta * delta).sqrt() - delta;
    return value + (1 - share).squeeze() * quadratic + (share * lambda * scale() * bent).sum();
  }
  const torch::Tensor strengths = log_strengths().exp();
  for (const Penalty& penalty : penalties_)
    value = value + 0.5 * (penalty.of(strengths) * penalty.weight.square()).sum();
  return value;
}

torch::Tensor TuneModel::upper_loss(const Batch& batch) const {
  const torch::Tensor log_p = logits(batch.inputs(), 0, models_).log_softmax(2);
  return mean_loss(picked(log_p, batch.targets()), batch, judged_) +
         prior_strength() / 2 * (x_.slice(0, 1) - centre_).square().sum();
}

double TuneModel::prior_strength() const {
  return 1 / (options_.spread * options_.spread * static_cast<double>(data_->valid.size()));
}

Problem TuneModel::problem(int64_t batch_size, int64_t upper_batch) const {
  const TuneModel model = *this;
  const auto source = [&](const Rows& rows, int64_t size) {
    std::vector<int64_t> classes;
    for (const int64_t row : rows) classes.push_back(data_->classes[static_cast<size_t>(row)]);
    return BatchSource(set_, rows, {.batch_size = size}, classes);
  };
  Problem problem{.upper = {.parameters = {{"hyperparameters", x_}},
                            .loss = [model](const Batch& batch) { return model.upper_loss(batch); },
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
    problem.upper.derivatives = derivatives_of(tuned_upper());
    problem.lower.derivatives = derivatives_of(tuned_lower());
  }
  return problem;
}

torch::Tensor TuneModel::probabilities(const std::vector<int64_t>& rows) const {
  return probabilities(rows, models_ - 1);
}

torch::Tensor TuneModel::probabilities(const std::vector<int64_t>& rows, int64_t model) const {
  const auto of_model = [&](const std::vector<torch::Tensor>& inputs) {
    return logits(inputs, model, 1).squeeze(1);
  };
  return over_rows(*network_, data_->inputs, rows, options_.device, of_model).to(torch::kFloat64).softmax(1);
}

std::shared_ptr<Network> TuneModel::write_network() {
  if (!convex_) return network_;
  const torch::NoGradGuard no_grad;
  for (const auto& parameter : network_->named_parameters()) {
    torch::Tensor target = parameter.value();
    target.copy_(target.dim() == 2 ? widened((scale() * lower_[0]).select(1, models_ - 1), 0)
                                   : kBiasScale * lower_[1][models_ - 1]);
  }
  return network_;
}

}  // namespace bilevel
