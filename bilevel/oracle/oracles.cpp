#include "bilevel/oracle/oracles.h"

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>
#include <torch/autograd.h>

#include <cmath>
#include <stdexcept>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

/// Gradients of a scalar, packed flat; absent ones are zero. A scalar without any graph has a zero gradient.
torch::Tensor gradient_of(const torch::Tensor& scalar, const Parameters& parameters, bool keep_graph,
                          bool create_graph) {
  if (!scalar.requires_grad()) return torch::zeros({parameters.size()}, parameters.options());
  const auto parts = torch::autograd::grad({scalar}, parameters.tensors(), {}, keep_graph, create_graph,
                                           /*allow_unused=*/true);
  return parameters.pack(parts);
}

torch::Tensor as_scalar(const torch::Tensor& loss, const char* what) {
  if (!loss.defined() || loss.numel() != 1) {
    throw InputError(fmt::format("the {} loss must be a scalar, but has {} elements", what,
                                 loss.defined() ? loss.numel() : 0));
  }
  return loss.dim() == 0 ? loss : loss.reshape({});
}

void check_level(const Level& level, const char* name, bool has_encoder) {
  if (static_cast<bool>(level.loss) == static_cast<bool>(level.feature_loss)) {
    throw InputError(fmt::format("the {} level needs exactly one of loss and feature_loss", name));
  }
  if (level.feature_loss && !has_encoder) {
    throw InputError(fmt::format("the {} level has a feature_loss, but the problem has no encode", name));
  }
  if (!level.batches) throw InputError(fmt::format("the {} level has no batches", name));
}

const Problem& checked(const Problem& problem) {
  check_level(problem.upper, "upper", static_cast<bool>(problem.encode));
  check_level(problem.lower, "lower", static_cast<bool>(problem.encode));
  for (const torch::Tensor& x : problem.upper.parameters) {
    for (const torch::Tensor& y : problem.lower.parameters) {
      if (x.is_same(y)) throw InputError("a tensor is a parameter of both the upper and the lower level");
    }
  }
  return problem;
}

/// Concatenation along the rows, or nothing when the other dimensions differ.
std::optional<Batch> concatenate(const Batch& a, const Batch& b) {
  if (a.tensors.size() != b.tensors.size()) return std::nullopt;
  Batch joined{{}, a.rows};
  joined.rows.insert(joined.rows.end(), b.rows.begin(), b.rows.end());
  for (size_t i = 0; i < a.tensors.size(); ++i) {
    const torch::Tensor& s = a.tensors[i];
    const torch::Tensor& t = b.tensors[i];
    if (s.dim() < 1 || s.dim() != t.dim() || s.size(0) != a.size() || t.size(0) != b.size() ||
        s.sizes().slice(1) != t.sizes().slice(1) || s.scalar_type() != t.scalar_type()) {
      return std::nullopt;
    }
    joined.tensors.push_back(torch::cat({s, t}));
  }
  return joined;
}

}  // namespace

// ---- points ----

LowerPoint::LowerPoint(Oracles& oracles, torch::Tensor loss, Graph graph)
    : oracles_(&oracles),
      loss_(std::move(loss)),
      graph_(graph),
      upper_version_(oracles.x().version()),
      lower_version_(oracles.y().version()) {}

void LowerPoint::check_fresh() const {
  if (upper_version_ != oracles_->upper_.version() || lower_version_ != oracles_->lower_.version()) {
    throw std::logic_error("a lower point was used after x or y had moved");
  }
}

void LowerPoint::check_graph_through_x() const {
  if (graph_ != Graph::both)
    throw std::logic_error("a hypergradient needs a lower point with a graph through x");
}

const torch::Tensor& LowerPoint::gradient() {
  check_fresh();
  if (!gradient_.defined()) gradient_ = gradient_of(loss_, oracles_->lower_, true, true);
  return gradient_;
}

torch::Tensor LowerPoint::grad_y() {
  if (!gradient_counted_) ++oracles_->counts().lower_gradient;
  gradient_counted_ = true;
  return gradient().detach();
}

torch::Tensor LowerPoint::hvp(const torch::Tensor& v) {
  check_fresh();
  if (oracles_->has_lower_hessian()) return oracles_->lower_hessian(v);
  const torch::Tensor product = (gradient() * v).sum();
  ++oracles_->counts().hvp;
  return gradient_of(product, oracles_->lower_, true, false);
}

torch::Tensor LowerPoint::cross_vjp(const torch::Tensor& v) {
  if (graph_ != Graph::both)
    throw std::logic_error("a lower point without a graph through x has no cross product");
  const torch::Tensor product = (gradient() * v).sum();
  ++oracles_->counts().cross_vjp;
  return gradient_of(product, oracles_->upper_, true, false);
}

LowerProducts LowerPoint::products(const torch::Tensor& v) {
  check_graph_through_x();
  const torch::Tensor product = (gradient() * v).sum();
  ++oracles_->counts().hvp;
  ++oracles_->counts().cross_vjp;
  const auto [x, y] = oracles_->gradient_in_both(product);
  return {.hvp = y, .cross_vjp = x};
}

UpperPoint::UpperPoint(Oracles& oracles, torch::Tensor loss)
    : oracles_(&oracles),
      loss_(std::move(loss)),
      upper_version_(oracles.x().version()),
      lower_version_(oracles.y().version()) {}

void UpperPoint::check_fresh() const {
  if (upper_version_ != oracles_->upper_.version() || lower_version_ != oracles_->lower_.version()) {
    throw std::logic_error("an upper point was used after x or y had moved");
  }
}

void UpperPoint::count() {
  if (!counted_) ++oracles_->counts().upper_gradient;
  counted_ = true;
}

torch::Tensor UpperPoint::grad_y() {
  check_fresh();
  count();
  return gradient_.defined() ? gradient_.detach() : gradient_of(loss_, oracles_->lower_, true, false);
}

torch::Tensor UpperPoint::grad_x() {
  check_fresh();
  count();
  return gradient_of(loss_, oracles_->upper_, true, false);
}

// ---- oracles ----

Oracles::Oracles(Problem problem, uint64_t seed)
    : problem_(checked(problem)),
      upper_(problem_.upper.parameters, problem_.upper.parameters.names, "upper"),
      lower_(problem_.lower.parameters, problem_.lower.parameters.names, "lower"),
      streams_(seed) {
  if (upper_.flat().device() != lower_.flat().device()) throw InputError("x and y must be on one device");
}

Sampler& Oracles::sampler(std::map<std::string, Sampler>& samplers, const BatchSource& source,
                          const std::string& level, const std::string& stream) {
  auto found = samplers.find(stream);
  if (found == samplers.end()) {
    found = samplers.emplace(stream, Sampler(source, streams_.stream(level + "." + stream))).first;
  }
  return found->second;
}

Sample Oracles::draw_upper(const std::string& stream) {
  Sample sample{sampler(upper_samplers_, problem_.upper.batches, "upper", stream).next().to(device()),
                streams_.draw("upper." + stream + ".model")};
  counts().upper_samples += sample.batch.size();
  return sample;
}

Sample Oracles::draw_lower(const std::string& stream) {
  Sample sample{sampler(lower_samplers_, problem_.lower.batches, "lower", stream).next().to(device()),
                streams_.draw("lower." + stream + ".model")};
  counts().lower_samples += sample.batch.size();
  return sample;
}

torch::Tensor Oracles::encode(const Sample& sample) {
  const DefaultGeneratorScope randomness(sample.model_seed, device());
  return problem_.encode(sample.batch);
}

torch::Tensor Oracles::loss(const Level& level, const Sample& sample, const torch::Tensor& features) {
  const char* name = &level == &problem_.upper ? "upper" : "lower";
  // The head's randomness is not the encoder's, so that encoding apart or together changes nothing else.
  const DefaultGeneratorScope randomness(sample.model_seed + (level.feature_loss ? 1 : 0), device());
  const torch::Tensor value = as_scalar(
      level.feature_loss ? level.feature_loss(features, sample.batch) : level.loss(sample.batch), name);
  if (purpose_ == Purpose::steps || purpose_ == Purpose::warm_start) {
    torch::Tensor& seen = &level == &problem_.upper ? seen_upper_ : seen_lower_;
    seen = seen.defined() ? seen + value.detach() : value.detach();
  }
  return value;
}

const char* Oracles::nonfinite_loss() {
  const char* found = nullptr;
  for (auto [name, seen] :
       {std::pair{"the lower loss", &seen_lower_}, std::pair{"the upper loss", &seen_upper_}}) {
    if (seen->defined() && !std::isfinite(seen->item<double>())) found = name;
    seen->reset();
  }
  return found;
}

std::pair<torch::Tensor, torch::Tensor> Oracles::encode_together(const Sample& upper, const Sample& lower) {
  const std::optional<Batch> joined = problem_.join ? problem_.join(upper.batch, lower.batch).to(device())
                                                    : concatenate(upper.batch, lower.batch);
  if (!joined) return {encode(upper), encode(lower)};
  const torch::Tensor features = encode({*joined, upper.model_seed});
  const int64_t rows = features.size(0);
  if (rows != upper.batch.size() + lower.batch.size()) {
    throw InputError(fmt::format("encode gave {} rows of features for a batch of {} rows", rows,
                                 upper.batch.size() + lower.batch.size()));
  }
  return {features.narrow(0, 0, upper.batch.size()),
          features.narrow(0, upper.batch.size(), lower.batch.size())};
}

LowerPoint Oracles::lower_point(const Sample& sample, Graph graph) {
  upper_.check();
  lower_.check();
  if (graph == Graph::both) {
    const torch::Tensor features = problem_.lower.feature_loss ? encode(sample) : torch::Tensor();
    return LowerPoint(*this, loss(problem_.lower, sample, features), graph);
  }
  return LowerPoint(*this, loss_in_y(problem_.lower, sample), graph);
}

torch::Tensor Oracles::loss_in_y(const Level& level, const Sample& sample) {
  const FrozenScope frozen(upper_);
  torch::Tensor features;
  if (level.feature_loss) {
    const torch::NoGradGuard no_grad;
    features = encode(sample);
  }
  return loss(level, sample, features);
}

UpperPoint Oracles::upper_point(const Sample& sample) {
  upper_.check();
  lower_.check();
  torch::Tensor features;
  if (problem_.upper.feature_loss) features = encode(sample);
  return UpperPoint(*this, loss(problem_.upper, sample, features));
}

std::pair<UpperPoint, LowerPoint> Oracles::points(const Sample& upper, const Sample& lower) {
  if (!problem_.upper.feature_loss || !problem_.lower.feature_loss) {
    return {upper_point(upper), lower_point(lower, Graph::both)};
  }
  upper_.check();
  lower_.check();
  const auto [upper_features, lower_features] = encode_together(upper, lower);
  return {UpperPoint(*this, loss(problem_.upper, upper, upper_features)),
          LowerPoint(*this, loss(problem_.lower, lower, lower_features), Graph::both)};
}

torch::Tensor Oracles::lower_gradient(const Sample& sample) {
  const LowerPoint point = lower_point(sample, Graph::lower_only);
  ++counts().lower_gradient;
  return gradient_of(point.loss_, lower_, false, false);
}

torch::Tensor Oracles::hypergradient(UpperPoint& upper, LowerPoint& lower, const torch::Tensor& z) {
  upper.check_fresh();
  lower.check_graph_through_x();
  upper.count();
  ++counts().cross_vjp;
  return gradient_of(upper.loss_ - (lower.gradient() * z).sum(), upper_, false, false);
}

std::pair<torch::Tensor, torch::Tensor> Oracles::gradient_in_both(const torch::Tensor& scalar) {
  if (!scalar.requires_grad()) {
    return {torch::zeros({upper_.size()}, upper_.options()), torch::zeros({lower_.size()}, lower_.options())};
  }
  std::vector<torch::Tensor> variables = upper_.tensors();
  variables.insert(variables.end(), lower_.tensors().begin(), lower_.tensors().end());
  const auto parts = torch::autograd::grad({scalar}, variables, {}, false, false, /*allow_unused=*/true);
  const auto middle = parts.begin() + static_cast<std::ptrdiff_t>(upper_.tensors().size());
  return {upper_.pack({parts.begin(), middle}), lower_.pack({middle, parts.end()})};
}

LinearStep Oracles::linear_step(UpperPoint& upper, const torch::Tensor& gradient, const torch::Tensor& z) {
  upper.count();
  ++counts().hvp;
  ++counts().cross_vjp;
  const auto [x, y] = gradient_in_both(upper.loss_ - (gradient * z).sum());
  return {.hypergradient = x, .residual = y.neg()};
}

LinearStep Oracles::hypergradient_and_residual(UpperPoint& upper, LowerPoint& lower, const torch::Tensor& z) {
  upper.check_fresh();
  lower.check_graph_through_x();
  return linear_step(upper, lower.gradient(), z);
}

LinearStep Oracles::aggregated_step(UpperPoint& upper, LowerPoint& lower, const torch::Tensor& z,
                                    double weight) {
  upper.check_fresh();
  lower.check_graph_through_x();
  upper.gradient_ = gradient_of(upper.loss_, lower_, true, true);
  ++counts().upper_hvp;
  ++counts().upper_cross_vjp;
  return linear_step(upper, weight * upper.gradient_ + (1 - weight) * lower.gradient(), z);
}

JointGradient Oracles::lower_joint_gradient(const Sample& sample) {
  const LowerPoint point = lower_point(sample, Graph::both);
  ++counts().lower_joint_gradient;
  const auto [x, y] = gradient_in_both(point.loss_);
  return {.value = point.value(), .x = x, .y = y};
}

JointGradient Oracles::upper_gradient(const Sample& sample) {
  UpperPoint point = upper_point(sample);
  point.count();
  const auto [x, y] = gradient_in_both(point.loss_);
  return {.value = point.value(), .x = x, .y = y};
}

torch::Tensor Oracles::upper_gradient_in_y(const Sample& sample) {
  upper_.check();
  lower_.check();
  return gradient_of(loss_in_y(problem_.upper, sample), lower_, false, false);
}

void Oracles::move_x(const torch::Tensor& direction, double scale) {
  upper_.add(direction, scale);
  project_x();
}

void Oracles::project_x() {
  if (problem_.upper.project) upper_.assign(problem_.upper.project(upper_.flat()));
}

const std::vector<std::vector<int64_t>>& Oracles::slots(const std::string& level) {
  auto found = slots_.find(level);
  if (found == slots_.end()) {
    const BatchSource& source = level == "upper" ? problem_.upper.batches : problem_.lower.batches;
    at::Generator generator =
        at::make_generator<at::CPUGeneratorImpl>(derive_seed(streams_.seed(), level + ".slots"));
    found = slots_.emplace(level, source.slots(generator)).first;
  }
  return found->second;
}

int64_t Oracles::lower_slots() { return static_cast<int64_t>(slots("lower").size()); }
int64_t Oracles::upper_slots() { return static_cast<int64_t>(slots("upper").size()); }
int64_t Oracles::lower_slot_size(int64_t slot) {
  return static_cast<int64_t>(slots("lower").at(static_cast<size_t>(slot)).size());
}
int64_t Oracles::upper_slot_size(int64_t slot) {
  return static_cast<int64_t>(slots("upper").at(static_cast<size_t>(slot)).size());
}

Sample Oracles::lower_slot(int64_t slot) {
  const auto& rows = slots("lower").at(static_cast<size_t>(slot));
  counts().lower_samples += static_cast<int64_t>(rows.size());
  return {problem_.lower.batches.gather(rows).to(device()), streams_.draw("lower.slots.model")};
}

Sample Oracles::upper_slot(int64_t slot) {
  const auto& rows = slots("upper").at(static_cast<size_t>(slot));
  counts().upper_samples += static_cast<int64_t>(rows.size());
  return {problem_.upper.batches.gather(rows).to(device()), streams_.draw("upper.slots.model")};
}

torch::Tensor Oracles::lower_hessian(const torch::Tensor& v) {
  ++counts().hvp;
  const torch::NoGradGuard no_grad;
  return problem_.lower_hessian(v);
}

std::pair<double, double> Oracles::losses(const Sample& upper, const Sample& lower) {
  const torch::NoGradGuard no_grad;
  const auto purpose = counting(Purpose::evaluation);
  const auto value = [&](const Level& level, const Sample& sample) {
    const torch::Tensor features = level.feature_loss ? encode(sample) : torch::Tensor();
    return loss(level, sample, features).item<double>();
  };
  return {value(problem_.upper, upper), value(problem_.lower, lower)};
}

std::pair<double, double> Oracles::full_losses() {
  const auto all = [&](const Level& level) { return Sample{level.batches.all().to(device()), 0}; };
  return losses(all(problem_.upper), all(problem_.lower));
}

std::vector<std::string> Oracles::probe(UnusedParameters policy) {
  const auto purpose = counting(Purpose::automatic);
  const Sample upper = draw_upper("probe");
  const Sample lower = draw_lower("probe");
  const torch::Tensor f = upper_point(upper).loss_;
  const torch::Tensor g = lower_point(lower, Graph::both).loss_;
  if (!f.requires_grad())
    throw InputError("the upper loss depends on no parameter: its result carries no gradient");
  if (!g.requires_grad())
    throw InputError("the lower loss depends on no parameter: its result carries no gradient");
  if (problem_.encode) {
    const torch::Tensor features = encode(upper).sum();
    if (features.requires_grad()) {
      const auto parts = torch::autograd::grad({features}, lower_.tensors(), {}, false, false, true);
      for (size_t i = 0; i < parts.size(); ++i) {
        if (parts[i].defined())
          throw InputError("encode depends on " + lower_.name(i) + ", but may depend on x alone");
      }
    }
  }
  std::vector<std::string> warnings;
  for (Parameters* level : {&upper_, &lower_}) {
    const auto of_f = torch::autograd::grad({f}, level->tensors(), {}, true, false, true);
    const auto of_g = torch::autograd::grad({g}, level->tensors(), {}, true, false, true);
    for (size_t i = 0; i < of_f.size(); ++i) {
      if (of_f[i].defined() || of_g[i].defined()) continue;
      const std::string message = level->name(i) + " influences neither the upper nor the lower loss";
      if (policy == UnusedParameters::error) throw InputError(message);
      warnings.push_back(message);
    }
  }
  return warnings;
}

void Oracles::state(State& state) {
  for (auto [name, parameters] : {std::pair{"upper", &upper_}, std::pair{"lower", &lower_}}) {
    torch::Tensor flat = parameters->flat();
    state.tensor(name, flat);
    if (!state.loading()) continue;
    if (flat.numel() != parameters->size() || flat.scalar_type() != parameters->flat().scalar_type()) {
      throw FileError(fmt::format("the checkpoint's {} variable has {} numbers, this problem's has {}", name,
                                  flat.numel(), parameters->size()));
    }
    parameters->assign(flat);
  }
  streams_.state(state);
  if (state.loading()) slots_.clear();  // they follow from the seed, which was restored
  const auto samplers = [&](const std::string& level, std::map<std::string, Sampler>& map,
                            const BatchSource& source) {
    state.scope(level + "_samplers", [&](State& inner) {
      for (const std::string& name : inner.names(map)) {
        inner.scope(name, [&](State& one) { sampler(map, source, level, name).state(one); });
      }
    });
  };
  samplers("upper", upper_samplers_, problem_.upper.batches);
  samplers("lower", lower_samplers_, problem_.lower.batches);
  state.scope("oracle_calls", [&](State& inner) { ledger_.state(inner); });
}

}  // namespace bilevel
