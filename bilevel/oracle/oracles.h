// Stochastic derivatives of a bilevel problem: the only place that calls autograd.
#pragma once

#include <torch/types.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bilevel/core/flat.h"
#include "bilevel/core/parameters.h"
#include "bilevel/core/streams.h"
#include "bilevel/oracle/counts.h"
#include "bilevel/problem/problem.h"

namespace bilevel {

class Oracles;
class LevelOracle;
struct SecondDerivative;

/// One random draw: a batch and the seed of the randomness inside the loss (dropout). Evaluating the same sample
/// at two points therefore uses the same rows and the same masks. The rows are gathered when a loss reads them.
struct Sample {
  Batch batch;
  uint64_t model_seed = 0;
};

/// Second derivatives of a loss times one vector.
struct Products {
  torch::Tensor hvp;        ///< (d2L/dy2) v, flat [dim y]
  torch::Tensor cross_vjp;  ///< (d2L/dxdy) v, flat [dim x]
};

/// Which variables a point can be differentiated in. `lower_only` builds no graph through x, so an encoder in x costs a
/// forward pass without graph.
enum class Graph { lower_only, both };

/// F(x, y; xi) or G(x, y; zeta) at the present (x, y): one forward pass, whose graph its derivatives share, or the problem's
/// own derivatives. Owns them: move-only, frees them at the end of its scope. Every derivative throws std::logic_error after
/// x or y has moved, because autograd cannot notice that through the flat buffers, and after its oracles have ended.
class LossPoint {
 public:
  LossPoint(LossPoint&&) = default;
  LossPoint& operator=(LossPoint&&) = default;

  /// The loss, a scalar without graph.
  torch::Tensor value() const;
  /// Its gradient in y, flat [dim y]; a lower point's has its graph, which the products reuse.
  torch::Tensor grad_y();
  /// Its gradient in x, flat [dim x]. Needs Graph::both.
  torch::Tensor grad_x();
  /// (d2L/dy2) v, flat [dim y]. One backward pass through the gradient's graph, or the problem's own `lower_hessian`.
  torch::Tensor hvp(const torch::Tensor& v);
  /// (d2L/dxdy) v, flat [dim x]. Needs Graph::both.
  torch::Tensor cross_vjp(const torch::Tensor& v);
  /// Both products from one backward pass. Needs Graph::both; frees the graph.
  Products products(const torch::Tensor& v);

 private:
  friend class Oracles;
  friend class LevelOracle;
  friend std::vector<SecondDerivative> second_derivatives(Oracles& oracles, const Sample& lower);
  LossPoint(LevelOracle& level, const Sample& sample, torch::Tensor loss,
            std::unique_ptr<PointDerivatives> own, Graph graph);
  void check_fresh() const;
  /// Throws std::logic_error for a point without a graph through x, whose derivatives in x would be zero in silence.
  void check_graph_through_x() const;
  /// The gradient in y with its graph, one part for each of its tensors, undefined where absent.
  const std::vector<torch::Tensor>& gradient();
  /// Counts a first derivative of this kind, once a point.
  void count(int64_t OracleCounts::*kind);

  LevelOracle* level_;
  Sample sample_;
  std::weak_ptr<const void> alive_;
  torch::Tensor loss_;                     // with its graph
  std::vector<torch::Tensor> parts_;       // of the gradient in y, with their graphs
  torch::Tensor gradient_;                 // the same flat, without
  std::unique_ptr<PointDerivatives> own_;  // in place of `loss_`
  Graph graph_;
  int64_t OracleCounts::*counted_ = nullptr;
  uint64_t x_version_, y_version_;
};

/// A loss and its gradient in both variables, without graph.
struct JointGradient {
  torch::Tensor value;  ///< 0-dim
  torch::Tensor x, y;   ///< flat [dim x], [dim y]
};

/// What single-loop methods need from one pass.
struct LinearStep {
  torch::Tensor hypergradient;  ///< grad_x F - (d2G/dxdy) z, flat [dim x]
  torch::Tensor residual;       ///< (d2G/dy2) z - grad_y F, flat [dim y]
};

/// What to do about an upper or lower parameter that influences neither loss.
enum class UnusedParameters { error, warn };

/// Whether a gradient is a call of its own, or one half of a call that the other half counts.
enum class Counted { yes, with_the_other_half };

/// The sum of some values of a loss: not finite where one of them was not.
struct SeenLosses {
  double here = 0;      ///< of those on the CPU
  torch::Tensor there;  ///< of those on a device, 0-dim, undefined where there are none
};

/// One level of a bound problem, as solvers see it: its variable, its samples, its first derivatives.
class LevelOracle {
 public:
  LevelOracle(const LevelOracle&) = delete;
  LevelOracle& operator=(const LevelOracle&) = delete;

  Parameters& variable() { return variable_; }
  const BatchSource& batches() const { return level_.batches; }

  /// The next sample for the consumer called `stream`. Streams of different names are independent; rows are counted where
  /// they are drawn.
  Sample draw(std::string_view stream);
  /// All rows, without randomness inside the loss. Not counted.
  Sample all();

  /// Fixed slots: the level's items dealt into batches once and for all, classes in proportion; a slot's sample has the same
  /// rows whenever it is asked for. The number of slots is items / batch size, rounded up.
  int64_t slots();
  /// Items of a slot.
  int64_t slot_size(int64_t slot);
  Sample slot(int64_t slot);

  /// The problem's `loss` on a sample, 0-dim, without graph. Not counted.
  torch::Tensor value(const Sample& sample);
  /// One forward pass (Graph::lower_only: none through x is recorded).
  LossPoint point(const Sample& sample, Graph graph = Graph::both);
  /// The loss's gradient in y alone, flat [dim y]: one forward pass without graph through x, one backward pass in y, no
  /// second-order graph. `with_the_other_half` is for methods that give z a sample xi' of its own, apart from the xi of
  /// grad_x F; the rows of both samples are counted.
  torch::Tensor gradient_in_y(const Sample& sample, Counted counted = Counted::yes);
  /// The loss with its gradient in x and y: one forward and one backward pass.
  JointGradient gradient(const Sample& sample);

  /// What steps and the warm start computed since the last call of this. NaN in a constant part of a loss leaves its
  /// gradients finite.
  SeenLosses take_seen();

  /// variable <- variable + scale * direction, then the projection on the level's feasible set, if it has one: the only way
  /// in which a solver may move x.
  void move(const torch::Tensor& direction, double scale);
  /// Only the projection.
  void project();

 private:
  friend class AutogradScope;
  friend class Oracles;
  friend class LossPoint;
  friend std::vector<SecondDerivative> second_derivatives(Oracles& oracles, const Sample& lower);

  /// What a level's calls count as.
  struct Kinds {
    int64_t OracleCounts::*samples, OracleCounts::*gradient_in_y, OracleCounts::*gradient, OracleCounts::*hvp,
        OracleCounts::*cross_vjp;
  };
  LevelOracle(Oracles& oracles, const Level& level, std::string name, const Kinds& kinds);

  /// What one consumer draws from.
  struct Stream {
    std::string name;
    at::Generator& model_seeds;
    std::optional<Sampler> sampler;  // none where every batch is the whole data set
  };
  Sample counted(Sample sample);
  Stream& stream(std::string_view name);
  /// The problem's own derivatives on a sample, or null.
  std::unique_ptr<PointDerivatives> own(const Sample& sample);
  /// Throws InputError where these have another value than the loss, given on the sample.
  void check_own_value(const Sample& sample, const torch::Tensor& loss);
  /// The items of the slots, dealt at the first use from the run's seed.
  const std::vector<Rows>& dealt();
  /// What will be asked of a loss's graph. Products with an upper Hessian are rare: an upper point starts as `first`.
  enum class Order { first, second };
  Order usual_order() const;
  /// The loss on a sample; `features` may hold the batch's features already.
  torch::Tensor loss(const Sample& sample, const torch::Tensor& features, Order order);
  torch::Tensor loss(const Sample& sample, Order order);
  /// The same without graph through x.
  torch::Tensor loss_in_y(const Sample& sample, Order order);
  void state(State& state);

  Oracles& oracles_;
  const Level& level_;
  std::string name_;  // "upper", "lower"
  Kinds kinds_;
  Parameters variable_;
  std::unique_ptr<Derivatives> derivatives_;  // null: by autograd
  std::deque<Stream> streams_;                // few: a search by name is quicker than a map
  std::optional<Batch> full_;  // where every batch is the whole data set: gathered and moved once
  std::vector<Rows> dealt_;    // follow from the seed: no state
  SeenLosses seen_;
};

/// A problem bound to flat variables, random streams and counters: what a solver sees.
class Oracles {
 public:
  /// Binds the parameters of both levels (their modules' tensors become views). Throws InputError for a
  /// problem that is not complete or not consistent. `seed` is the run's.
  Oracles(Problem problem, uint64_t seed);
  Oracles(const Oracles&) = delete;
  Oracles& operator=(const Oracles&) = delete;

  LevelOracle& upper() { return upper_; }
  LevelOracle& lower() { return lower_; }
  Parameters& x() { return upper_.variable_; }
  Parameters& y() { return lower_.variable_; }
  Streams& streams() { return streams_; }
  OracleLedger& ledger() { return ledger_; }
  const Problem& problem() const { return problem_; }

  /// A point of each level; with an encoder, the two batches are encoded together in one pass.
  std::pair<LossPoint, LossPoint> points(const Sample& upper, const Sample& lower);

  /// grad_x F - (d2G/dxdy) z from one backward pass of the scalar F - <grad_y G, z>; flat [dim x]. Frees the
  /// graphs of both points, which give no further derivative afterwards.
  torch::Tensor hypergradient(LossPoint& upper, LossPoint& lower, const torch::Tensor& z);

  /// The same and the residual of the linear system, still from one backward pass in (x, y). Frees the
  /// graphs.
  LinearStep hypergradient_and_residual(LossPoint& upper, LossPoint& lower, const torch::Tensor& z);

  /// Both for the aggregated lower objective weight F + (1 - weight) G in place of G: grad_x F - J z and
  /// H z - grad_y F with J, H its second derivatives (sl-BAMM). Counts one product of G and one of F of
  /// either kind. Frees the graphs; `grad_y` of both points still answers, without a pass.
  LinearStep aggregated_step(LossPoint& upper, LossPoint& lower, const torch::Tensor& z, double weight);

  /// True when derivatives come from the problem itself (see `Level::derivatives`).
  bool has_derivatives() const { return upper_.derivatives_ != nullptr; }
  /// True when the lower Hessian needs no data.
  bool has_lower_hessian() const { return static_cast<bool>(problem_.lower_hessian); }
  /// The problem's own constant lower Hessian times v. Needs has_lower_hessian().
  torch::Tensor lower_hessian(const torch::Tensor& v);

  /// Values of both losses on a sample each, without gradients: {F, G}. Counted as nothing but time.
  std::pair<double, double> losses(const Sample& upper, const Sample& lower);
  /// The same on all rows of their levels: {f, g}.
  std::pair<double, double> full_losses();

  /// Counts calls under `purpose` until the returned guard ends.
  class PurposeScope {
   public:
    PurposeScope(Oracles& oracles, Purpose purpose) : oracles_(oracles), outer_(oracles.purpose_) {
      oracles_.purpose_ = purpose;
    }
    ~PurposeScope() { oracles_.purpose_ = outer_; }
    PurposeScope(const PurposeScope&) = delete;
    PurposeScope& operator=(const PurposeScope&) = delete;

   private:
    Oracles& oracles_;
    Purpose outer_;
  };
  PurposeScope counting(Purpose purpose) { return PurposeScope(*this, purpose); }
  OracleCounts& counts() { return ledger_.of(purpose_); }

  /// One probe of both losses (streams of its own): throws InputError for a loss that is not a scalar or not
  /// differentiable, own derivatives of another loss, features that depend on y, and, with `error`, a parameter that influences neither loss,
  /// by name. Returns warnings.
  std::vector<std::string> probe(UnusedParameters policy);

  /// Saves or restores x, y, streams, sampler positions and counters.
  void state(State& state);

 private:
  friend class LevelOracle;
  friend class LossPoint;

  torch::Tensor encode(const Sample& sample);
  std::pair<torch::Tensor, torch::Tensor> encode_together(const Sample& upper, const Sample& lower);
  torch::Device device() { return x().flat().device(); }
  /// Both for weight F + (1 - weight) G in place of G.
  LinearStep linear_step(LossPoint& upper, LossPoint& lower, const torch::Tensor& z, double weight);
  /// The same from the problem's own derivatives.
  LinearStep own_linear_step(LossPoint& upper, LossPoint& lower, const torch::Tensor& z, double weight);

  Problem problem_;
  Streams streams_;
  LevelOracle upper_, lower_;
  OracleLedger ledger_;
  Purpose purpose_ = Purpose::steps;
  std::shared_ptr<const void> alive_ = std::make_shared<int>(0);  // points look whether it still is
};

/// For its lifetime derivatives come from autograd, also where the problem brings its own.
class AutogradScope {
 public:
  explicit AutogradScope(Oracles& oracles)
      : oracles_(oracles),
        upper_(std::move(oracles.upper().derivatives_)),
        lower_(std::move(oracles.lower().derivatives_)) {}
  ~AutogradScope() {
    oracles_.upper().derivatives_ = std::move(upper_);
    oracles_.lower().derivatives_ = std::move(lower_);
  }
  AutogradScope(const AutogradScope&) = delete;
  AutogradScope& operator=(const AutogradScope&) = delete;

 private:
  Oracles& oracles_;
  std::unique_ptr<Derivatives> upper_, lower_;
};

/// For its lifetime (x, y) is another point; afterwards it is what it was, bit for bit. Two-point estimators
/// evaluate one sample here and at the present point.
class PointScope {
 public:
  /// Flat values of both variables.
  PointScope(Oracles& oracles, const torch::Tensor& x, const torch::Tensor& y)
      : oracles_(oracles), x_(copy_of(oracles.x().flat())), y_(copy_of(oracles.y().flat())) {
    move(x, y);
  }
  ~PointScope() { move(x_, y_); }
  PointScope(const PointScope&) = delete;
  PointScope& operator=(const PointScope&) = delete;

 private:
  void move(const torch::Tensor& x, const torch::Tensor& y) {
    oracles_.x().assign(x);
    oracles_.y().assign(y);
  }
  Oracles& oracles_;
  torch::Tensor x_, y_;
};

}  // namespace bilevel
