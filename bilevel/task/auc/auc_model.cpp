#include "bilevel/task/auc/auc_model.h"

#include <fmt/format.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/core/flat.h"
#include "bilevel/core/parameters.h"
#include "bilevel/task/auc/auc_derivatives.h"
#include "bilevel/task/job/seeded_network.h"

namespace bilevel {
namespace {

/// u / sqrt(1 + u^2), whose slope (1 + u^2)^(-3/2) autograd would find by a dozen operations.
class Squash : public torch::autograd::Function<Squash> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& u) {
    context->save_for_backward({u});
    if (!short_alike({u})) return u / (1 + u.square()).sqrt();
    return mapped(
        u, [](auto x, auto) { return x / std::sqrt(1 + x * x); }, u);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& outer) {
    const torch::Tensor u = context->get_saved_variables()[0];
    if (torch::GradMode::is_enabled() || !short_alike({u, outer[0]}))
      return {outer[0] * (1 + u.square()).pow(-1.5)};
    return {mapped(
        u, [](auto x, auto g) { return g / ((1 + x * x) * std::sqrt(1 + x * x)); }, outer[0])};
  }

 private:
  /// f(u_i, v_i).
  template <typename F>
  static torch::Tensor mapped(const torch::Tensor& u, const F& f, const torch::Tensor& v) {
    const torch::Tensor result = zeros_of(u);
    with_type(u, [&](auto type) {
      using T = decltype(type);
      for (int64_t i = 0; i < u.numel(); ++i)
        result.data_ptr<T>()[i] = f(u.const_data_ptr<T>()[i], v.const_data_ptr<T>()[i]);
    });
    return result;
  }
};

torch::Tensor squash(const torch::Tensor& u) { return Squash::apply(u); }

/// The weights that the L2 term is for. The members of an ensemble that are not linear in theirs drop inputs out instead.
NetworkWeights penalized(const Network& network) {
  NetworkWeights weights = weights_of(network);
  if (network.members() > 1) {
    std::erase_if(weights.hidden,
                  [&](const torch::Tensor& w) { return network.kind_of(w) != WeightKind::head; });
  }
  return weights;
}

/// The loss with rho the share of positive rows among those that it is averaged over.
AucLoss on_rows(AucLoss loss, const torch::Tensor& labels) {
  loss.positive_share = labels.to(torch::kFloat64).mean().item<double>();
  if (!(loss.positive_share > 0 && loss.positive_share < 1))
    throw InputError("the rows of an AUC loss are all of one class");
  return loss;
}

}  // namespace

AucModel::AucModel(const NetworkOptions& options, const InputShape& shape, const AucLoss& loss, double l2,
                   uint64_t seed, const torch::Device& device)
    : loss_(loss), l2_(l2), device_(device) {
  network_ = seeded_network(options, shape, seed, device_);
  const auto numbers = [&] {
    return torch::zeros({network_->members()}, torch::device(device_)).requires_grad_();
  };
  a_ = numbers();
  b_ = numbers();
  alpha_ = numbers();
}

ParameterList AucModel::upper_parameters() const {
  ParameterList parameters = named(*network_);
  parameters.add("auc.a", a_);
  parameters.add("auc.b", b_);
  return parameters;
}

torch::Tensor AucModel::encode(const std::vector<torch::Tensor>& inputs) const {
  if (network_->members() == 1) return squash(network_->forward(inputs).squeeze(-1));
  const torch::Tensor outputs = network_->members(network_->encode(inputs));
  return squash(outputs.flatten()).view({outputs.size(0), network_->members()});
}

Problem AucModel::problem(const AucData& data, int64_t batch_size) const {
  const auto set = data_set(data.inputs, data.labels);
  const auto source = [&](const Rows& rows) {
    std::vector<int64_t> classes;
    classes.reserve(rows.size());
    const auto* label = data.labels.data_ptr<float>();
    for (const int64_t row : rows) classes.push_back(label[row] > 0 ? 1 : 0);
    return BatchSource(set, rows, {.batch_size = batch_size}, classes);
  };
  const BatchSource lower_rows = source(data.lower);
  const auto labels_of = [&](const Rows& rows) {
    return data.labels.index_select(0, torch::tensor(rows, torch::kInt64));
  };
  const AucLoss upper_loss = on_rows(loss_, labels_of(data.upper));
  const AucLoss lower_loss = on_rows(loss_, labels_of(data.lower));
  const NetworkWeights weights = penalized(*network_);
  const double strength = upper_loss.lower_curvature() / 2 * l2_ / static_cast<double>(data.upper.size());
  const auto penalty = [=] {
    torch::Tensor sum;
    for (const auto& [part_of, factor] : {std::pair{&weights.linear, 1.0}, std::pair{&weights.hidden, 0.5}}) {
      if (part_of->empty()) continue;
      const torch::Tensor part = strength * factor * squared_norm(*part_of);
      sum = sum.defined() ? sum + part : part;
    }
    return sum;
  };

  const auto value = [a = a_, b = b_, alpha = alpha_](const AucLoss& loss, const torch::Tensor& scores,
                                                      const Batch& batch) {
    return loss.value(scores, batch.targets(), a, b, alpha, batch.weights());
  };
  const AucModel model = *this;
  Problem problem{
      .upper = {.parameters = upper_parameters(),
                .feature_loss =
                    [=, l2 = l2_](const torch::Tensor& scores, const Batch& batch) {
                      const torch::Tensor a = value(upper_loss, scores, batch);
                      return l2 > 0 ? a + penalty() : a;
                    },
                .batches = data.upper == data.lower ? lower_rows : source(data.upper)},
      .lower = {.parameters = {{"alpha", alpha_}},
                .feature_loss = [=](const torch::Tensor& scores,
                                    const Batch& batch) { return -value(lower_loss, scores, batch); },
                .batches = lower_rows},
      .encode = [model](const Batch& batch) { return model.encode(batch.inputs()); },
      .lower_hessian = [h = lower_loss.lower_curvature()](const torch::Tensor& v) { return h * v; },
  };
  if (device_.is_cpu() && network_->is_linear_map()) {
    const torch::Tensor& w = problem.upper.parameters[0];
    const DesignRows rows(data.inputs.matrix(), w.size(0), w.scalar_type());
    problem.upper.derivatives = derivatives_of(LinearAucLoss{.rows = rows,
                                                             .labels = data.labels,
                                                             .loss = upper_loss,
                                                             .sign = 1,
                                                             .strength = l2_ > 0 ? strength : 0});
    problem.lower.derivatives =
        derivatives_of(LinearAucLoss{.rows = rows, .labels = data.labels, .loss = lower_loss, .sign = -1});
  }
  return problem;
}

torch::Tensor AucModel::scores(const Inputs& inputs, const std::vector<int64_t>& rows) const {
  return over_rows(*network_, inputs, rows, device_, [&](const std::vector<torch::Tensor>& chunk) {
    const torch::Tensor scores = encode(chunk);
    return network_->members() > 1 ? scores.mv(network_->shares()) : scores;
  });
}

double AucModel::loss(const torch::Tensor& scores, const torch::Tensor& labels) const {
  const torch::NoGradGuard no_grad;
  const auto number = [](const torch::Tensor& t) { return t.to(torch::kCPU, torch::kFloat64); };
  const auto mean = [&](const torch::Tensor& of_members) {
    return number(of_members).mean(0, /*keepdim=*/true);
  };
  return on_rows(loss_, labels)
      .value(number(scores), number(labels), mean(a_), mean(b_), mean(alpha_))
      .item<double>();
}

std::map<std::string, torch::Tensor> AucModel::loss_tensors() const {
  const auto copy = [](const torch::Tensor& tensor) {
    return tensor.detach().to(torch::kCPU, tensor.scalar_type(), false, /*copy=*/true);
  };
  return {{"auc.a", copy(a_)}, {"auc.b", copy(b_)}, {"auc.alpha", copy(alpha_)}};
}

void AucModel::load(const std::map<std::string, torch::Tensor>& tensors) {
  load_network(tensors, *network_);
  load_tensor(tensors, "auc.a", a_);
  load_tensor(tensors, "auc.b", b_);
  load_tensor(tensors, "auc.alpha", alpha_);
}

std::string warning_of_scores(const ScoredRows& rows) {
  constexpr double kMost = 0.9, kFlat = 1e-3, kEdge = 0.999;
  const auto n = static_cast<double>(rows.size());
  const double highest = rows.ties().front().score, lowest = rows.ties().back().score;
  if (highest - lowest <= kFlat) {
    return fmt::format("the scores of the test rows hardly vary: all lie between {:.6g} and {:.6g}", lowest,
                       highest);
  }
  const auto size = [](const ScoredRows::Tie& tie) { return tie.end - tie.begin; };
  const auto widest = std::ranges::max_element(rows.ties(), {}, size);
  const double same = static_cast<double>(size(*widest)) / n;
  if (same >= kMost) {
    return fmt::format("the scores of the test rows hardly vary: {:.3g} % are {:.6g}", 100 * same,
                       widest->score);
  }
  const auto at_the_edge = [](double score) { return std::abs(score) > kEdge; };
  const double saturated = static_cast<double>(std::ranges::count_if(rows.scores(), at_the_edge)) / n;
  if (saturated < kMost) return {};
  return fmt::format(
      "{:.3g} % of the test rows have scores beyond +-{}, where rows can hardly be told apart: the network "
      "saturates; try a smaller step size (--set upper_step_size=...) or a larger --l2",
      100 * saturated, kEdge);
}

}  // namespace bilevel
