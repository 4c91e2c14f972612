// Stochastic derivatives of a bilevel problem: the only place that calls autograd.
#pragma once

#include <torch/types.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/core/parameters.h"
#include "bilevel/core/streams.h"
#include "bilevel/oracle/counts.h"
#include "bilevel/problem/problem.h"

namespace bilevel {

class Oracles;

/// One random draw: the rows of a batch and the seed of the randomness inside the loss (dropout). Evaluating
/// the same sample at two points therefore uses the same rows and the same masks.
struct Sample {
  Batch batch;
  uint64_t model_seed = 0;
};

/// Second derivatives of a lower sample times one vector.
struct LowerProducts {
  torch::Tensor hvp;        ///< (d2G/dy2) v, flat [dim y]
  torch::Tensor cross_vjp;  ///< (d2G/dxdy) v, flat [dim x]
};

/// Which variables a lower point can be differentiated in. `lower_only` builds no graph through x, so an
/// encoder in x costs a forward pass without graph.
enum class Graph { lower_only, both };

/// G(x, y; zeta) at the present (x, y) with one forward pass and one gradient that keeps its graph;
/// Hessian-vector and cross products reuse that graph. Owns the graph: move-only, frees it at the end of its
/// scope. Every call throws std::logic_error after x or y has moved, because autograd cannot notice that
/// through the flat buffers.
class LowerPoint {
 public:
  LowerPoint(LowerPoint&&) = default;
  LowerPoint& operator=(LowerPoint&&) = default;

  /// G, a scalar without graph.
  torch::Tensor value() const { return loss_.detach(); }
  /// grad_y G, flat [dim y]. Counted once, at the first call.
  torch::Tensor grad_y();
  /// (d2G/dy2) v, flat [dim y]. One backward pass through the gradient's graph, or the problem's own
  /// `lower_hessian`.
  torch::Tensor hvp(const torch::Tensor& v);
  /// (d2G/dxdy) v, flat [dim x]. Needs Graph::both.
  torch::Tensor cross_vjp(const torch::Tensor& v);
  /// Both products from one backward pass. Needs Graph::both; frees the graph.
  LowerProducts products(const torch::Tensor& v);

 private:
  friend class Oracles;
  LowerPoint(Oracles& oracles, torch::Tensor loss, Graph graph);
  void check_fresh() const;
  /// Throws std::logic_error for a point without a graph through x, whose cross product would be zero in silence.
  void check_graph_through_x() const;
  /// grad_y G with its graph.
  const torch::Tensor& gradient();

  Oracles* oracles_;
  torch::Tensor loss_;
  torch::Tensor gradient_;
  Graph graph_;
  bool gradient_counted_ = false;
  uint64_t upper_version_, lower_version_;
};

/// F(x, y; xi) at the present (x, y). Move-only; the same rule about moved variables.
class UpperPoint {
 public:
  UpperPoint(UpperPoint&&) = default;
  UpperPoint& operator=(UpperPoint&&) = default;

  /// F, a scalar without graph.
  torch::Tensor value() const { return loss_.detach(); }
  /// grad_y F, flat [dim y]; keeps the graph. No pass after `aggregated_step`.
  torch::Tensor grad_y();
  /// grad_x F, flat [dim x]; keeps the graph.
  torch::Tensor grad_x();

 private:
  friend class Oracles;
  UpperPoint(Oracles& oracles, torch::Tensor loss);
  void check_fresh() const;
  void count();

  Oracles* oracles_;
  torch::Tensor loss_;
  torch::Tensor gradient_;  // grad_y F, where aggregated_step needed it
  bool counted_ = false;
  uint64_t upper_version_, lower_version_;
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

/// A problem bound to flat variables, random streams and counters: what a solver sees.
class Oracles {
 public:
  /// Binds the parameters of both levels (their modules' tensors become views). Throws InputError for a
  /// problem that is not complete or not consistent. `seed` is the run's.
  Oracles(Problem problem, uint64_t seed);
  Oracles(const Oracles&) = delete;
  Oracles& operator=(const Oracles&) = delete;

  Parameters& x() { return upper_; }
  Parameters& y() { return lower_; }
  Streams& streams() { return streams_; }
  OracleLedger& ledger() { return ledger_; }
  const Problem& problem() const { return problem_; }

  /// The next sample of a level for the consumer called `stream`. Streams of different names are independent;
  /// rows are counted where they are drawn.
  Sample draw_upper(const std::string& stream);
  Sample draw_lower(const std::string& stream);

  /// One forward pass (Graph::lower_only: none through x is recorded).
  LowerPoint lower_point(const Sample& sample, Graph graph);
  UpperPoint upper_point(const Sample& sample);
  /// Both points; with an encoder, the two batches are encoded together in one pass.
  std::pair<UpperPoint, LowerPoint> points(const Sample& upper, const Sample& lower);

  /// grad_y G alone, flat [dim y]: one forward pass without graph through x, one backward pass in y, no
  /// second-order graph.
  torch::Tensor lower_gradient(const Sample& sample);

  /// grad_x F - (d2G/dxdy) z from one backward pass of the scalar F - <grad_y G, z>; flat [dim x]. Frees the
  /// graphs of both points, which give no further derivative afterwards.
  torch::Tensor hypergradient(UpperPoint& upper, LowerPoint& lower, const torch::Tensor& z);

  /// The same and the residual of the linear system, still from one backward pass in (x, y). Frees the
  /// graphs.
  LinearStep hypergradient_and_residual(UpperPoint& upper, LowerPoint& lower, const torch::Tensor& z);

  /// Both for the aggregated lower objective weight F + (1 - weight) G in place of G: grad_x F - J z and
  /// H z - grad_y F with J, H its second derivatives (sl-BAMM). Counts one product of G and one of F of
  /// either kind. Frees the graphs; `grad_y` of both points still answers, without a pass.
  LinearStep aggregated_step(UpperPoint& upper, LowerPoint& lower, const torch::Tensor& z, double weight);

  /// G or F with its gradient in x and y: one forward and one backward pass.
  JointGradient lower_joint_gradient(const Sample& sample);
  JointGradient upper_gradient(const Sample& sample);

  /// grad_y F alone, flat [dim y], without graph through x: for methods that give z a sample xi' of its own,
  /// apart from the xi of grad_x F. The two halves count as one upper_gradient, that of the hypergradient
  /// which brings the other half; the rows of both samples are counted.
  torch::Tensor upper_gradient_in_y(const Sample& sample);

  /// x <- x + scale * direction, then the projection on the upper level's feasible set, if it has one.
  void move_x(const torch::Tensor& direction, double scale);
  /// Only the projection.
  void project_x();

  /// Fixed slots: the lower (upper) rows dealt into batches once and for all, classes in proportion; a slot's
  /// sample has the same rows whenever it is asked for. The number of slots is rows / batch size, rounded up.
  int64_t lower_slots();
  int64_t upper_slots();
  /// Rows of a slot.
  int64_t lower_slot_size(int64_t slot);
  int64_t upper_slot_size(int64_t slot);
  Sample lower_slot(int64_t slot);
  Sample upper_slot(int64_t slot);

  /// True when the lower Hessian needs no data.
  bool has_lower_hessian() const { return static_cast<bool>(problem_.lower_hessian); }
  /// The problem's own constant lower Hessian times v. Needs has_lower_hessian().
  torch::Tensor lower_hessian(const torch::Tensor& v);

  /// Values of both losses on a sample each, without gradients: {F, G}. Counted as nothing but time.
  std::pair<double, double> losses(const Sample& upper, const Sample& lower);
  /// The same on all rows of their levels: {f, g}.
  std::pair<double, double> full_losses();

  /// "the upper loss" or "the lower loss", where a value that steps or the warm start computed since the last call of
  /// this was not finite, else null. NaN in a constant part of a loss leaves its gradients finite.
  const char* nonfinite_loss();

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
  /// differentiable, features that depend on y, and, with `error`, a parameter that influences neither loss,
  /// by name. Returns warnings.
  std::vector<std::string> probe(UnusedParameters policy);

  /// Saves or restores x, y, streams, sampler positions and counters.
  void state(State& state);

 private:
  friend class LowerPoint;
  friend class UpperPoint;

  Sampler& sampler(std::map<std::string, Sampler>& samplers, const BatchSource& source,
                   const std::string& level, const std::string& stream);
  /// A level's loss on a sample without graph through x.
  torch::Tensor loss_in_y(const Level& level, const Sample& sample);
  /// A level's loss on a sample; `features` may hold the batch's features already.
  torch::Tensor loss(const Level& level, const Sample& sample, const torch::Tensor& features);
  torch::Tensor encode(const Sample& sample);
  std::pair<torch::Tensor, torch::Tensor> encode_together(const Sample& upper, const Sample& lower);
  torch::Device device() const { return upper_.flat().device(); }
  /// Gradient of a scalar in x and y from one backward pass; frees the graph.
  std::pair<torch::Tensor, torch::Tensor> gradient_in_both(const torch::Tensor& scalar);
  LinearStep linear_step(UpperPoint& upper, const torch::Tensor& gradient, const torch::Tensor& z);
  /// The level's slots, dealt at the first use from the run's seed.
  const std::vector<std::vector<int64_t>>& slots(const std::string& level);

  Problem problem_;
  Parameters upper_, lower_;
  Streams streams_;
  std::map<std::string, Sampler> upper_samplers_, lower_samplers_;
  std::map<std::string, std::vector<std::vector<int64_t>>> slots_;  // follow from the seed: no state
  OracleLedger ledger_;
  Purpose purpose_ = Purpose::steps;
  torch::Tensor seen_upper_, seen_lower_;  // sums of the values of losses, see nonfinite_loss
};

/// For its lifetime (x, y) is another point; afterwards it is what it was, bit for bit. Two-point estimators
/// evaluate one sample here and at the present point.
class PointScope {
 public:
  /// Flat values of both variables.
  PointScope(Oracles& oracles, const torch::Tensor& x, const torch::Tensor& y)
      : oracles_(oracles), x_(oracles.x().flat().clone()), y_(oracles.y().flat().clone()) {
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
