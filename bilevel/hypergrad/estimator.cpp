#include "bilevel/hypergrad/estimator.h"

#include "bilevel/hypergrad/finite_difference/finite_difference.h"
#include "bilevel/hypergrad/implicit.h"
#include "bilevel/hypergrad/unrolled/unrolled.h"
#include "bilevel/hypergrad/value_function/value_function.h"

namespace bilevel {
namespace {

/// An estimator made of an option struct, a function and its memory.
template <typename Options>
class EstimatorWith : public Estimator {
 public:
  using Function = Estimate (*)(Oracles&, const Sample&, const Sample&, const Options&);
  using Memory = int64_t (*)(int64_t lower_size, int64_t element_size, const Options&);

  EstimatorWith(std::string name, const Options& options, Function function, Memory memory)
      : name_(std::move(name)), options_(options), function_(function), memory_(memory) {}

  std::string name() const override { return name_; }
  void fields(Fields& fields) override { options_.fields(fields); }
  int64_t memory_bytes(int64_t lower_size, int64_t element_size) const override {
    return memory_(lower_size, element_size, options_);
  }
  Estimate estimate(Oracles& oracles, const Sample& upper, const Sample& lower) const override {
    return function_(oracles, upper, lower, options_);
  }

 private:
  std::string name_;
  Options options_;
  Function function_;
  Memory memory_;
};

template <typename Options>
EstimatorEntry entry(const std::string& name, const std::string& summary, const Options& options,
                     typename EstimatorWith<Options>::Function function,
                     typename EstimatorWith<Options>::Memory memory, const Effort& effort) {
  return {name, summary,
          [=] { return std::make_unique<EstimatorWith<Options>>(name, options, function, memory); }, effort};
}

EstimatorEntry implicit(const std::string& linear_solver, const Effort& effort) {
  return entry<LinearSolverOptions>(
      linear_solver, "implicit; H z = b by " + linear_solver_registry().at(linear_solver).summary,
      {.linear_solver = linear_solver}, implicit_estimate,
      [](int64_t n, int64_t bytes, const LinearSolverOptions& o) {
        // The dense matrix, its factors and the columns; else a handful of vectors.
        const bool dense = linear_solver_registry().at(o.linear_solver).dense;
        return dense ? 3 * n * n * int64_t{8} : 6 * n * bytes;
      },
      effort);
}

}  // namespace

Registry<EstimatorEntry>& estimator_registry() {
  using Steps = Effort::Steps;
  static Registry<EstimatorEntry> registry(
      "estimator",
      {implicit("neumann", {.steps = Steps::condition}), implicit("sgd", {.steps = Steps::condition}),
       implicit("cg", {.steps = Steps::dimension}),
       implicit("cg-normal", {.steps = Steps::dimension, .squares_condition = true}),
       // Its residual, by which it ends, falls no faster than its error.
       implicit("fixed-point", {.steps = Steps::condition, .factor = 2}), implicit("exact", {.dense = true}),
       // A second factor k on the rate of unrolling: the iterates still move.
       entry<UnrolledOptions>("unrolled", "adjoint recursion through gradient descent on y", {},
                              unrolled_estimate, unrolled_memory_bytes,
                              {.steps = Steps::condition, .factor = 2, .keeps_iterates = true}),
       entry<FiniteDifferenceOptions>(
           "finite-difference", "implicit; products as differences of first derivatives", {},
           finite_difference_estimate,
           [](int64_t n, int64_t bytes, const FiniteDifferenceOptions&) { return 8 * n * bytes; },
           {.steps = Steps::dimension, .difference_step = "difference_step"}),
       entry<ValueFunctionOptions>(
           "value-function", "gradient of the penalty f + lambda (g - min g)", {}, value_function_estimate,
           [](int64_t n, int64_t bytes, const ValueFunctionOptions&) { return 10 * n * bytes; },
           {.penalty = "multiplier"})});
  return registry;
}

std::unique_ptr<Estimator> make_estimator(const std::string& name) {
  return estimator_registry().at(name).make();
}

Estimate implicit_estimate(Oracles& oracles, const Sample& upper_sample, const Sample& lower_sample,
                           const LinearSolverOptions& options) {
  const EstimateScope scope(oracles);
  // Apart, not together: joined batches would share one draw of the encoder's randomness, and the samples'
  // own would not be what other estimates on them see.
  LossPoint upper = oracles.upper().point(upper_sample);
  LossPoint lower = oracles.lower().point(lower_sample, Graph::both);
  const Hypergradient found = implicit_hypergradient(oracles, upper, lower, [&](const torch::Tensor& b) {
    return solve_linear(point_hessian(lower), b, options);
  });
  return scope.finish(found.value, found.linear.residual, found.linear.failed, found.linear.message);
}

}  // namespace bilevel
