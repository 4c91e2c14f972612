#include "bilevel/oracle/oracles.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ScalarOps.h>
#include <fmt/format.h>
#include <torch/autograd.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>
#include <utility>

#include "bilevel/core/error.h"
#include "bilevel/core/flat.h"

namespace bilevel {
namespace {

/// Gradients of a scalar, one for each parameter, undefined where absent (all are for a scalar without any graph).
std::vector<torch::Tensor> parts_of(const torch::Tensor& scalar, const Parameters& parameters,
                                    bool keep_graph, bool create_graph) {
  if (!scalar.requires_grad()) return std::vector<torch::Tensor>(parameters.tensors().size());
  return torch::autograd::grad({scalar}, parameters.tensors(), {}, keep_graph, create_graph,
                               /*allow_unused=*/true);
}

/// The same, packed flat; absent ones are zero.
torch::Tensor gradient_of(const torch::Tensor& scalar, const Parameters& parameters, bool keep_graph) {
  return parameters.pack(parts_of(scalar, parameters, keep_graph, false));
}

/// Where a backward pass starts: a sum of scalars and of gradients along vectors. The vectors go to the gradients as they are,
/// which saves the graph of a flat gradient and of an inner product.
class Start {
 public:
  void add(const torch::Tensor& scalar) {
    if (scalar.requires_grad()) add_weighted(scalar, torch::ones_like(scalar));
  }
  /// <gradient, v>. @param gradient one part for each of `parameters`; @param v flat
  void add(const std::vector<torch::Tensor>& gradient, const Parameters& parameters, const torch::Tensor& v) {
    int64_t offset = 0;
    for (size_t i = 0; i < gradient.size(); ++i) {
      const torch::Tensor& like = parameters.tensors()[i];
      if (gradient[i].defined() && gradient[i].requires_grad())
        add_weighted(gradient[i], v.narrow(0, offset, like.numel()).view(like.sizes()));
      offset += like.numel();
    }
  }

  torch::Tensor in(const Parameters& parameters, bool keep_graph) const {
    return packed(parameters, parts(parameters.tensors(), keep_graph));
  }
  /// In x and y from one backward pass; frees the graph.
  std::pair<torch::Tensor, torch::Tensor> in_both(Oracles& oracles) const {
    std::vector<torch::Tensor> variables = oracles.x().tensors();
    const auto of_x = static_cast<std::ptrdiff_t>(variables.size());
    variables.insert(variables.end(), oracles.y().tensors().begin(), oracles.y().tensors().end());
    const std::vector<torch::Tensor> found = parts(variables, false);
    return {packed(oracles.x(), {found.begin(), found.begin() + of_x}),
            packed(oracles.y(), {found.begin() + of_x, found.end()})};
  }

 private:
  void add_weighted(const torch::Tensor& output, const torch::Tensor& weight) {
    outputs_.push_back(output);
    weights_.push_back(weight);
  }
  std::vector<torch::Tensor> parts(const std::vector<torch::Tensor>& variables, bool keep_graph) const {
    if (outputs_.empty()) return std::vector<torch::Tensor>(variables.size());
    return torch::autograd::grad(outputs_, variables, weights_, keep_graph, false, /*allow_unused=*/true);
  }
  /// Never the memory of a vector, which a linear graph hands on as it is.
  torch::Tensor packed(const Parameters& parameters, const std::vector<torch::Tensor>& found) const {
    const torch::Tensor flat = parameters.pack(found);
    const bool alias = std::ranges::any_of(weights_, [&](const auto& w) { return flat.is_alias_of(w); });
    return alias ? flat.clone() : flat;
  }

  std::vector<torch::Tensor> outputs_, weights_;
};

/// While it lives, losses need not be differentiated twice, where `first_order`. `set` may be null.
class OrderScope {
 public:
  OrderScope(const std::function<void(bool)>& set, bool first_order)
      : set_(first_order && set ? &set : nullptr) {
    if (set_ != nullptr) (*set_)(false);
  }
  ~OrderScope() {
    if (set_ != nullptr) (*set_)(true);
  }
  OrderScope(const OrderScope&) = delete;
  OrderScope& operator=(const OrderScope&) = delete;

 private:
  const std::function<void(bool)>* set_;
};

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

LossPoint::LossPoint(LevelOracle& level, const Sample& sample, torch::Tensor loss,
                     std::unique_ptr<PointDerivatives> own, Graph graph)
    : level_(&level),
      sample_(sample),
      alive_(level.oracles_.alive_),
      loss_(std::move(loss)),
      own_(std::move(own)),
      graph_(graph),
      x_version_(level.oracles_.x().version()),
      y_version_(level.oracles_.y().version()) {}

torch::Tensor LossPoint::value() const {
  if (!own_) return loss_.detach();
  if (alive_.expired()) throw std::logic_error("a point was used after its oracles had ended");
  return at::detail::scalar_tensor_static(own_->value(), level_->variable_.flat().scalar_type(), torch::kCPU);
}

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

const std::vector<torch::Tensor>& LossPoint::gradient() {
  check_fresh();
  if (!parts_.empty()) return parts_;
  using Order = LevelOracle::Order;
  if (level_->oracles_.problem().set_twice_differentiable && level_->usual_order() == Order::first)
    loss_ = graph_ == Graph::both ? level_->loss(sample_, Order::second)
                                  : level_->loss_in_y(sample_, Order::second);
  return parts_ = parts_of(loss_, level_->oracles_.y(), true, true);
}

torch::Tensor LossPoint::grad_y() {
  check_fresh();
  count(level_->kinds_.gradient_in_y);
  if (own_) {
    if (!gradient_.defined()) {
      gradient_ = zeros_of(level_->oracles_.y().flat());
      own_->gradient({}, {&gradient_});
    }
    return gradient_;
  }
  if (gradient_.defined()) return gradient_;
  const Parameters& y = level_->oracles_.y();
  if (level_ == &level_->oracles_.lower() || !parts_.empty()) {  // products follow, or were asked for
    const std::vector<torch::Tensor>& parts = gradient();
    const torch::NoGradGuard no_grad;
    gradient_ = y.pack(parts).detach();
  } else {
    gradient_ = gradient_of(loss_, y, true);
  }
  return gradient_;
}

torch::Tensor LossPoint::grad_x() {
  check_fresh();
  check_graph_through_x();
  count(level_->kinds_.gradient);
  if (own_) {
    const torch::Tensor gradient = zeros_of(level_->oracles_.x().flat());
    own_->gradient({&gradient}, {});
    return gradient;
  }
  return gradient_of(loss_, level_->oracles_.x(), true);
}

torch::Tensor LossPoint::hvp(const torch::Tensor& v) {
  check_fresh();
  Oracles& oracles = level_->oracles_;
  if (level_ == &oracles.lower() && oracles.has_lower_hessian()) return oracles.lower_hessian(v);
  ++(oracles.counts().*level_->kinds_.hvp);
  if (own_) {
    const torch::Tensor hvp = zeros_of(oracles.y().flat());
    own_->products(v, {}, {&hvp});
    return hvp;
  }
  Start start;
  start.add(gradient(), level_->oracles_.y(), v);
  return start.in(oracles.y(), true);
}

torch::Tensor LossPoint::cross_vjp(const torch::Tensor& v) {
  check_fresh();
  check_graph_through_x();
  ++(level_->oracles_.counts().*level_->kinds_.cross_vjp);
  if (own_) {
    const torch::Tensor cross_vjp = zeros_of(level_->oracles_.x().flat());
    own_->products(v, {&cross_vjp}, {});
    return cross_vjp;
  }
  Start start;
  start.add(gradient(), level_->oracles_.y(), v);
  return start.in(level_->oracles_.x(), true);
}

Products LossPoint::products(const torch::Tensor& v) {
  check_fresh();
  check_graph_through_x();
  ++(level_->oracles_.counts().*level_->kinds_.hvp);
  ++(level_->oracles_.counts().*level_->kinds_.cross_vjp);
  if (own_) {
    const torch::Tensor hvp = zeros_of(level_->oracles_.y().flat()),
                        cross_vjp = zeros_of(level_->oracles_.x().flat());
    own_->products(v, {&cross_vjp}, {&hvp});
    return {.hvp = hvp, .cross_vjp = cross_vjp};
  }
  Start start;
  start.add(gradient(), level_->oracles_.y(), v);
  const auto [x, y] = start.in_both(level_->oracles_);
  return {.hvp = y, .cross_vjp = x};
}

// ---- levels ----

LevelOracle::LevelOracle(Oracles& oracles, const Level& level, std::string name, const Kinds& kinds)
    : oracles_(oracles),
      level_(level),
      name_(std::move(name)),
      kinds_(kinds),
      variable_(level.parameters, level.parameters.names, name_) {}

LevelOracle::Stream& LevelOracle::stream(std::string_view name) {
  for (Stream& one : streams_) {
    if (one.name == name) return one;
  }
  const std::string path = name_ + "." + std::string(name);
  Streams& streams = oracles_.streams();
  Stream& made = streams_.emplace_back(Stream{std::string(name), streams.stream(path + ".model"), {}});
  if (!level_.batches.full_batch()) made.sampler.emplace(level_.batches, streams.stream(path));
  return made;
}

Sample LevelOracle::counted(Sample sample) {
  oracles_.counts().*kinds_.samples += sample.batch.size();
  return sample;
}

Sample LevelOracle::draw(std::string_view name) {
  Stream& from = stream(name);
  Batch batch = from.sampler ? from.sampler->next().to(oracles_.device()) : all().batch;
  return counted({std::move(batch), random_bits(from.model_seeds)});
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

LevelOracle::Order LevelOracle::usual_order() const {
  return this == &oracles_.upper() ? Order::first : Order::second;
}

torch::Tensor LevelOracle::loss(const Sample& sample, const torch::Tensor& features, Order order) {
  const OrderScope kernels(oracles_.problem_.set_twice_differentiable, order == Order::first);
  // The head's randomness is not the encoder's, so that encoding apart or together changes nothing else.
  const DefaultGeneratorScope randomness(sample.model_seed + (level_.feature_loss ? 1 : 0),
                                         oracles_.device());
  const torch::Tensor value = as_scalar(
      level_.feature_loss ? level_.feature_loss(features, sample.batch) : level_.loss(sample.batch), name_);
  if (oracles_.purpose_ != Purpose::steps && oracles_.purpose_ != Purpose::warm_start) return value;
  if (value.is_cpu()) {
    seen_.here += value.item<double>();
  } else {
    seen_.there = seen_.there.defined() ? seen_.there + value.detach() : value.detach();
  }
  return value;
}

torch::Tensor LevelOracle::loss(const Sample& sample, Order order) {
  oracles_.x().check();
  oracles_.y().check();
  return loss(sample, level_.feature_loss ? oracles_.encode(sample) : torch::Tensor(), order);
}

torch::Tensor LevelOracle::loss_in_y(const Sample& sample, Order order) {
  oracles_.x().check();
  oracles_.y().check();
  const FrozenScope frozen(oracles_.x());
  torch::Tensor features;
  if (level_.feature_loss) {
    const torch::NoGradGuard no_grad;
    features = oracles_.encode(sample);
  }
  return loss(sample, features, order);
}

std::unique_ptr<PointDerivatives> LevelOracle::own(const Sample& sample) {
  if (!derivatives_) return nullptr;
  oracles_.x().check();
  oracles_.y().check();
  return derivatives_->at(sample.batch, oracles_.x().flat(), oracles_.y().flat());
}

void LevelOracle::check_own_value(const Sample& sample, const torch::Tensor& loss) {
  const std::unique_ptr<PointDerivatives> derivatives = own(sample);
  if (!derivatives) return;
  const double expected = loss.item<double>(), found = derivatives->value();
  // Rounding is a fraction of sqrt(eps), even of a loss of many rows.
  const double eps = loss.scalar_type() == torch::kFloat64 ? 1e-8 : 3e-4;
  if (std::abs(found - expected) <= eps * (1 + std::abs(expected)) || !std::isfinite(expected)) return;
  throw InputError(fmt::format(
      "the {} level's own derivatives are of another loss: they give {:.9g}, its loss {:.9g} on the "
      "same batch (who puts another loss in place takes `Level::derivatives` away)",
      name_, found, expected));
}

torch::Tensor LevelOracle::value(const Sample& sample) {
  const torch::NoGradGuard no_grad;
  return loss(sample, Order::first);
}

LossPoint LevelOracle::point(const Sample& sample, Graph graph) {
  if (auto derivatives = own(sample)) return LossPoint(*this, sample, {}, std::move(derivatives), graph);
  const Order order = usual_order();
  return LossPoint(*this, sample, graph == Graph::both ? loss(sample, order) : loss_in_y(sample, order),
                   nullptr, graph);
}

torch::Tensor LevelOracle::gradient_in_y(const Sample& sample, Counted counted) {
  if (counted == Counted::yes) ++(oracles_.counts().*kinds_.gradient_in_y);
  if (const auto derivatives = own(sample)) {
    const torch::Tensor gradient = zeros_of(oracles_.y().flat());
    derivatives->gradient({}, {&gradient});
    return gradient;
  }
  const torch::Tensor value = loss_in_y(sample, Order::first);
  return gradient_of(value, oracles_.y(), false);
}

JointGradient LevelOracle::gradient(const Sample& sample) {
  ++(oracles_.counts().*kinds_.gradient);
  if (derivatives_) {
    LossPoint at = point(sample);
    const torch::Tensor x = zeros_of(oracles_.x().flat()), y = zeros_of(oracles_.y().flat());
    at.own_->gradient({&x}, {&y});
    return {.value = at.value(), .x = x, .y = y};
  }
  const torch::Tensor value = loss(sample, Order::first);
  Start start;
  start.add(value);
  const auto [x, y] = start.in_both(oracles_);
  return {.value = value.detach(), .x = x, .y = y};
}

SeenLosses LevelOracle::take_seen() { return std::exchange(seen_, {}); }

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
    std::map<std::string, Sampler*> samplers;
    for (Stream& one : streams_) {
      if (one.sampler) samplers[one.name] = &*one.sampler;
    }
    for (const std::string& name : inner.names(samplers)) {
      std::optional<Sampler>& sampler = stream(name).sampler;
      if (!sampler) throw FileError("the checkpoint's batches are drawn, this problem's are all rows");
      inner.part(name, *sampler);
    }
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
  const bool fit = x().flat().is_cpu() && x().flat().scalar_type() == y().flat().scalar_type();
  if (!fit || !problem_.upper.derivatives || !problem_.lower.derivatives) return;
  for (LevelOracle* level : {&upper_, &lower_}) level->derivatives_ = level->level_.derivatives();
}

torch::Tensor Oracles::encode(const Sample& sample) {
  const DefaultGeneratorScope randomness(sample.model_seed, device());
  return problem_.encode(sample.batch);
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
  const std::vector<torch::Tensor> parts = features.unsafe_split_with_sizes({first, second});
  return {parts[0],
          parts[1]};  // in the backward pass one concatenation, where views would be two sums into zeros
}

std::pair<LossPoint, LossPoint> Oracles::points(const Sample& upper, const Sample& lower) {
  if (upper_.derivatives_ || !problem_.upper.feature_loss || !problem_.lower.feature_loss)
    return {upper_.point(upper), lower_.point(lower)};
  x().check();
  y().check();
  const auto [upper_features, lower_features] = encode_together(upper, lower);
  const auto at = [](LevelOracle& level, const Sample& sample, const torch::Tensor& features) {
    return LossPoint(level, sample, level.loss(sample, features, level.usual_order()), nullptr, Graph::both);
  };
  return {at(upper_, upper, upper_features), at(lower_, lower, lower_features)};
}

torch::Tensor Oracles::hypergradient(LossPoint& upper, LossPoint& lower, const torch::Tensor& z) {
  upper.check_fresh();
  lower.check_fresh();
  lower.check_graph_through_x();
  upper.count(upper_.kinds_.gradient);
  ++counts().cross_vjp;
  if (upper.own_) {
    const torch::Tensor value = zeros_of(x().flat());
    upper.own_->gradient({&value}, {});
    lower.own_->products(z, {&value, -1}, {});
    return value;
  }
  Start start;
  start.add(upper.loss_);
  start.add(lower.gradient(), y(), z.neg());
  return start.in(x(), false);
}

LinearStep Oracles::own_linear_step(LossPoint& upper, LossPoint& lower, const torch::Tensor& z,
                                    double weight) {
  const LinearStep step{.hypergradient = zeros_of(x().flat()), .residual = zeros_of(y().flat())};
  upper.own_->gradient({&step.hypergradient}, {&step.residual, -1});
  lower.own_->products(z, {&step.hypergradient, weight - 1}, {&step.residual, 1 - weight});
  if (weight != 0) upper.own_->products(z, {&step.hypergradient, -weight}, {&step.residual, weight});
  return step;
}

LinearStep Oracles::linear_step(LossPoint& upper, LossPoint& lower, const torch::Tensor& z, double weight) {
  upper.check_fresh();
  lower.check_fresh();
  lower.check_graph_through_x();
  upper.count(upper_.kinds_.gradient);
  ++counts().hvp;
  ++counts().cross_vjp;
  if (upper.own_) return own_linear_step(upper, lower, z, weight);
  const torch::Tensor against = z.neg();
  Start start;
  if (weight != 0) start.add(upper.gradient(), y(), weight * against);  // may evaluate the loss again
  start.add(upper.loss_);
  start.add(lower.gradient(), y(), weight == 0 ? against : (1 - weight) * against);
  const auto [in_x, in_y] = start.in_both(*this);
  return {.hypergradient = in_x, .residual = in_y.neg()};
}

LinearStep Oracles::hypergradient_and_residual(LossPoint& upper, LossPoint& lower, const torch::Tensor& z) {
  return linear_step(upper, lower, z, 0);
}

LinearStep Oracles::aggregated_step(LossPoint& upper, LossPoint& lower, const torch::Tensor& z,
                                    double weight) {
  ++counts().upper_hvp;
  ++counts().upper_cross_vjp;
  return linear_step(upper, lower, z, weight);
}

torch::Tensor Oracles::lower_hessian(const torch::Tensor& v) {
  ++counts().hvp;
  const torch::NoGradGuard no_grad;
  return problem_.lower_hessian(v);
}

std::pair<double, double> Oracles::losses(const Sample& upper, const Sample& lower) {
  const torch::NoGradGuard no_grad;
  const auto purpose = counting(Purpose::evaluation);
  return {upper_.value(upper).item<double>(), lower_.value(lower).item<double>()};
}

std::pair<double, double> Oracles::full_losses() { return losses(upper_.all(), lower_.all()); }

std::vector<std::string> Oracles::probe(UnusedParameters policy) {
  const auto purpose = counting(Purpose::automatic);
  const Sample upper = upper_.draw("probe");
  const Sample lower = lower_.draw("probe");
  const torch::Tensor f = upper_.loss(upper, LevelOracle::Order::first);
  const torch::Tensor g = lower_.loss(lower, LevelOracle::Order::first);
  if (!f.requires_grad())
    throw InputError("the upper loss depends on no parameter: its result carries no gradient");
  if (!g.requires_grad())
    throw InputError("the lower loss depends on no parameter: its result carries no gradient");
  upper_.check_own_value(upper, f);
  lower_.check_own_value(lower, g);
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
