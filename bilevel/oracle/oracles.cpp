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

torch::Tensor as_scalar(const torch::Tensor& loss, const std::string& what) {
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
  if (problem.lower.project) throw InputError("the lower level has a feasible set, which no solver respects");
  for (const torch::Tensor& x : problem.upper.parameters) {
    for (const torch::Tensor& y : problem.lower.parameters) {
      if (x.is_same(y)) throw InputError("a tensor is a parameter of both the upper and the lower level");
    }
  }
  return problem;
}

}  // namespace

// ---- points ----

LossPoint::LossPoint(LevelOracle& level, torch::Tensor loss, Graph graph)
    : level_(&level),
      alive_(level.oracles_.alive_),
      loss_(std::move(loss)),
      graph_(graph),
      x_version_(level.oracles_.x().version()),
      y_version_(level.oracles_.y().version()) {}

void LossPoint::check_fresh() const {
  if (alive_.expired()) throw std::logic_error("a point was used after its oracles had ended");
  Oracles& oracles = level_->oracles_;
  if (x_version_ != oracles.x().version() || y_version_ != oracles.y().version())
    throw std::logic_error(
        fmt::format("the point of a {} loss was used after x or y had moved", level_->name_));
}

void LossPoint::check_graph_through_x() const {
  if (graph_ != Graph::both)
    throw std::logic_error(fmt::format(
        "the point of a {} loss without a graph through x has no derivative in x", level_->name_));
}

void LossPoint::count(int64_t OracleCounts::*kind) {
  if (counted_ != kind) ++(level_->oracles_.counts().*kind);
  counted_ = kind;
}

const torch::Tensor& LossPoint::gradient() {
  check_fresh();
  if (!gradient_has_graph_) gradient_ = gradient_of(loss_, level_->oracles_.y(), true, true);
  gradient_has_graph_ = true;
  return gradient_;
}

torch::Tensor LossPoint::grad_y() {
  check_fresh();
  count(level_->kinds_.gradient_in_y);
  const bool products_follow = level_ == &level_->oracles_.lower();
  if (!products_follow && !gradient_.defined())
    gradient_ = gradient_of(loss_, level_->oracles_.y(), true, false);
  return products_follow ? gradient().detach() : gradient_.detach();
}

torch::Tensor LossPoint::grad_x() {
  check_fresh();
  check_graph_through_x();
  count(level_->kinds_.gradient);
  return gradient_of(loss_, level_->oracles_.x(), true, false);
}

torch::Tensor LossPoint::hvp(const torch::Tensor& v) {
  check_fresh();
  Oracles& oracles = level_->oracles_;
  if (level_ == &oracles.lower() && oracles.has_lower_hessian()) return oracles.lower_hessian(v);
  const torch::Tensor product = (gradient() * v).sum();
  ++(oracles.counts().*level_->kinds_.hvp);
  return gradient_of(product, oracles.y(), true, false);
}

torch::Tensor LossPoint::cross_vjp(const torch::Tensor& v) {
  check_graph_through_x();
  const torch::Tensor product = (gradient() * v).sum();
  ++(level_->oracles_.counts().*level_->kinds_.cross_vjp);
  return gradient_of(product, level_->oracles_.x(), true, false);
}

Products LossPoint::products(const torch::Tensor& v) {
  check_graph_through_x();
  const torch::Tensor product = (gradient() * v).sum();
  ++(level_->oracles_.counts().*level_->kinds_.hvp);
  ++(level_->oracles_.counts().*level_->kinds_.cross_vjp);
  const auto [x, y] = level_->oracles_.gradient_in_both(product);
  return {.hvp = y, .cross_vjp = x};
}

// ---- levels ----

LevelOracle::LevelOracle(Oracles& oracles, const Level& level, std::string name, const Kinds& kinds)
    : oracles_(oracles),
      level_(level),
      name_(std::move(name)),
      kinds_(kinds),
      variable_(level.parameters, level.parameters.names, name_) {}

Sampler& LevelOracle::sampler(const std::string& stream) {
  auto found = samplers_.find(stream);
  if (found == samplers_.end()) {
    at::Generator& generator = oracles_.streams().stream(name_ + "." + stream);
    found = samplers_.emplace(stream, Sampler(level_.batches, generator)).first;
  }
  return found->second;
}

Sample LevelOracle::counted(Sample sample) {
  oracles_.counts().*kinds_.samples += sample.batch.size();
  return sample;
}

Sample LevelOracle::draw(const std::string& stream) {
  Batch batch = level_.batches.full_batch() ? all().batch : sampler(stream).next().to(oracles_.device());
  return counted({std::move(batch), oracles_.streams().draw(name_ + "." + stream + ".model")});
}

Sample LevelOracle::all() {
  if (full_) return {*full_, 0};
  Batch batch = level_.batches.all().to(oracles_.device());
  if (level_.batches.full_batch()) full_ = batch;
  return {std::move(batch), 0};
}

const std::vector<Rows>& LevelOracle::dealt() {
  if (dealt_.empty()) {
    at::Generator generator =
        at::make_generator<at::CPUGeneratorImpl>(derive_seed(oracles_.streams().seed(), name_ + ".slots"));
    dealt_ = level_.batches.slots(generator);
  }
  return dealt_;
}

int64_t LevelOracle::slots() { return static_cast<int64_t>(dealt().size()); }
int64_t LevelOracle::slot_size(int64_t slot) {
  return static_cast<int64_t>(dealt().at(static_cast<size_t>(slot)).size());
}

Sample LevelOracle::slot(int64_t slot) {
  return counted({level_.batches.gather(dealt().at(static_cast<size_t>(slot))).to(oracles_.device()),
                  oracles_.streams().draw(name_ + ".slots.model")});
}

torch::Tensor LevelOracle::loss(const Sample& sample, const torch::Tensor& features) {
  // The head's randomness is not the encoder's, so that encoding apart or together changes nothing else.
  const DefaultGeneratorScope randomness(sample.model_seed + (level_.feature_loss ? 1 : 0),
                                         oracles_.device());
  const torch::Tensor value = as_scalar(
      level_.feature_loss ? level_.feature_loss(features, sample.batch) : level_.loss(sample.batch), name_);
  if (oracles_.purpose_ == Purpose::steps || oracles_.purpose_ == Purpose::warm_start)
    seen_ = seen_.defined() ? seen_ + value.detach() : value.detach();
  return value;
}

torch::Tensor LevelOracle::loss(const Sample& sample) {
  oracles_.x().check();
  oracles_.y().check();
  return loss(sample, level_.feature_loss ? oracles_.encode(sample) : torch::Tensor());
}

torch::Tensor LevelOracle::loss_in_y(const Sample& sample) {
  oracles_.x().check();
  oracles_.y().check();
  const FrozenScope frozen(oracles_.x());
  torch::Tensor features;
  if (level_.feature_loss) {
    const torch::NoGradGuard no_grad;
    features = oracles_.encode(sample);
  }
  return loss(sample, features);
}

LossPoint LevelOracle::point(const Sample& sample, Graph graph) {
  return LossPoint(*this, graph == Graph::both ? loss(sample) : loss_in_y(sample), graph);
}

torch::Tensor LevelOracle::gradient_in_y(const Sample& sample, Counted counted) {
  const torch::Tensor value = loss_in_y(sample);
  if (counted == Counted::yes) ++(oracles_.counts().*kinds_.gradient_in_y);
  return gradient_of(value, oracles_.y(), false, false);
}

JointGradient LevelOracle::gradient(const Sample& sample) {
  const torch::Tensor value = loss(sample);
  ++(oracles_.counts().*kinds_.gradient);
  const auto [x, y] = oracles_.gradient_in_both(value);
  return {.value = value.detach(), .x = x, .y = y};
}

void LevelOracle::move(const torch::Tensor& direction, double scale) {
  variable_.add(direction, scale);
  project();
}

void LevelOracle::project() {
  if (level_.project) variable_.assign(level_.project(variable_.flat()));
}

void LevelOracle::state(State& state) {
  if (state.loading()) dealt_.clear();  // they follow from the seed, which was restored
  state.scope(name_ + "_samplers", [&](State& inner) {
    for (const std::string& stream : inner.names(samplers_))
      inner.scope(stream, [&](State& one) { sampler(stream).state(one); });
  });
}

// ---- oracles ----

Oracles::Oracles(Problem problem, uint64_t seed)
    : problem_(checked(problem)),
      streams_(seed),
      upper_(*this, problem_.upper, "upper",
             {.samples = &OracleCounts::upper_samples,
              .gradient_in_y = &OracleCounts::upper_gradient,
              .gradient = &OracleCounts::upper_gradient,
              .hvp = &OracleCounts::upper_hvp,
              .cross_vjp = &OracleCounts::upper_cross_vjp}),
      lower_(*this, problem_.lower, "lower",
             {.samples = &OracleCounts::lower_samples,
              .gradient_in_y = &OracleCounts::lower_gradient,
              .gradient = &OracleCounts::lower_joint_gradient,
              .hvp = &OracleCounts::hvp,
              .cross_vjp = &OracleCounts::cross_vjp}) {
  if (x().flat().device() != y().flat().device()) throw InputError("x and y must be on one device");
}

torch::Tensor Oracles::encode(const Sample& sample) {
  const DefaultGeneratorScope randomness(sample.model_seed, device());
  return problem_.encode(sample.batch);
}

const char* Oracles::nonfinite_loss() {
  const char* found = nullptr;
  for (auto [name, level] : {std::pair{"the lower loss", &lower_}, std::pair{"the upper loss", &upper_}}) {
    torch::Tensor& seen = level->seen_;
    if (seen.defined() && !std::isfinite(seen.item<double>())) found = name;
    seen.reset();
  }
  return found;
}

std::pair<torch::Tensor, torch::Tensor> Oracles::encode_together(const Sample& upper, const Sample& lower) {
  const std::optional<Batch> joined = Batch::joined(upper.batch, lower.batch);
  if (!joined) return {encode(upper), encode(lower)};
  const torch::Tensor features = encode({*joined, upper.model_seed});
  const int64_t first = upper.batch.size(), second = lower.batch.size();
  if (features.size(0) != first + second) {
    throw InputError(fmt::format("encode gave {} rows of features for a batch of {} rows", features.size(0),
                                 first + second));
  }
  return {features.narrow(0, 0, first), features.narrow(0, first, second)};
}

std::pair<LossPoint, LossPoint> Oracles::points(const Sample& upper, const Sample& lower) {
  if (!problem_.upper.feature_loss || !problem_.lower.feature_loss)
    return {upper_.point(upper), lower_.point(lower)};
  x().check();
  y().check();
  const auto [upper_features, lower_features] = encode_together(upper, lower);
  return {LossPoint(upper_, upper_.loss(upper, upper_features), Graph::both),
          LossPoint(lower_, lower_.loss(lower, lower_features), Graph::both)};
}

torch::Tensor Oracles::hypergradient(LossPoint& upper, LossPoint& lower, const torch::Tensor& z) {
  upper.check_fresh();
  lower.check_graph_through_x();
  upper.count(upper_.kinds_.gradient);
  ++counts().cross_vjp;
  return gradient_of(upper.loss_ - (lower.gradient() * z).sum(), x(), false, false);
}

std::pair<torch::Tensor, torch::Tensor> Oracles::gradient_in_both(const torch::Tensor& scalar) {
  if (!scalar.requires_grad())
    return {torch::zeros({x().size()}, x().options()), torch::zeros({y().size()}, y().options())};
  std::vector<torch::Tensor> variables = x().tensors();
  variables.insert(variables.end(), y().tensors().begin(), y().tensors().end());
  const auto parts = torch::autograd::grad({scalar}, variables, {}, false, false, /*allow_unused=*/true);
  const auto middle = parts.begin() + static_cast<std::ptrdiff_t>(x().tensors().size());
  return {x().pack({parts.begin(), middle}), y().pack({middle, parts.end()})};
}

LinearStep Oracles::linear_step(LossPoint& upper, const torch::Tensor& gradient, const torch::Tensor& z) {
  upper.count(upper_.kinds_.gradient);
  ++counts().hvp;
  ++counts().cross_vjp;
  const auto [in_x, in_y] = gradient_in_both(upper.loss_ - (gradient * z).sum());
  return {.hypergradient = in_x, .residual = in_y.neg()};
}

LinearStep Oracles::hypergradient_and_residual(LossPoint& upper, LossPoint& lower, const torch::Tensor& z) {
  upper.check_fresh();
  lower.check_graph_through_x();
  return linear_step(upper, lower.gradient(), z);
}

LinearStep Oracles::aggregated_step(LossPoint& upper, LossPoint& lower, const torch::Tensor& z,
                                    double weight) {
  lower.check_graph_through_x();
  ++counts().upper_hvp;
  ++counts().upper_cross_vjp;
  return linear_step(upper, weight * upper.gradient() + (1 - weight) * lower.gradient(), z);
}

torch::Tensor Oracles::lower_hessian(const torch::Tensor& v) {
  ++counts().hvp;
  const torch::NoGradGuard no_grad;
  return problem_.lower_hessian(v);
}

std::pair<double, double> Oracles::losses(const Sample& upper, const Sample& lower) {
  const torch::NoGradGuard no_grad;
  const auto purpose = counting(Purpose::evaluation);
  return {upper_.loss(upper).item<double>(), lower_.loss(lower).item<double>()};
}

std::pair<double, double> Oracles::full_losses() { return losses(upper_.all(), lower_.all()); }

std::vector<std::string> Oracles::probe(UnusedParameters policy) {
  const auto purpose = counting(Purpose::automatic);
  const Sample upper = upper_.draw("probe");
  const Sample lower = lower_.draw("probe");
  const torch::Tensor f = upper_.loss(upper);
  const torch::Tensor g = lower_.loss(lower);
  if (!f.requires_grad())
    throw InputError("the upper loss depends on no parameter: its result carries no gradient");
  if (!g.requires_grad())
    throw InputError("the lower loss depends on no parameter: its result carries no gradient");
  if (problem_.encode) {
    const torch::Tensor features = encode(upper).sum();
    if (features.requires_grad()) {
      const auto parts = torch::autograd::grad({features}, y().tensors(), {}, false, false, true);
      for (size_t i = 0; i < parts.size(); ++i) {
        if (parts[i].defined())
          throw InputError("encode depends on " + y().name(i) + ", but may depend on x alone");
      }
    }
  }
  std::vector<std::string> warnings;
  for (Parameters* level : {&x(), &y()}) {
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
  for (LevelOracle* level : {&upper_, &lower_}) {
    Parameters& variable = level->variable_;
    torch::Tensor flat = variable.flat();
    state.tensor(level->name_, flat);
    if (!state.loading()) continue;
    if (flat.numel() != variable.size() || flat.scalar_type() != variable.flat().scalar_type()) {
      throw FileError(fmt::format("the checkpoint's {} variable has {} numbers, this problem's has {}",
                                  level->name_, flat.numel(), variable.size()));
    }
    variable.assign(flat);
  }
  streams_.state(state);
  upper_.state(state);
  lower_.state(state);
  state.part("oracle_calls", ledger_);
}

}  // namespace bilevel
