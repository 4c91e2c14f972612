// Problems whose answers are known: what `solve`, `check` and `compare` run on without data of anybody's own.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bilevel/core/fields.h"
#include "bilevel/core/registry.h"
#include "bilevel/problem/problem.h"
#include "bilevel/solver/assumptions.h"

namespace bilevel {

/// A bilevel problem in float64 with an independent way to its true hypergradient. Use: set the fields,
/// `build`, then everything else.
class KnownProblem {
 public:
  virtual ~KnownProblem() = default;

  /// Lists the options; each is a flag of `bilevel solve`.
  virtual void fields(Fields& fields) = 0;

  /// Checks the options and makes data and variables, x and y at their starts. Throws InputError or
  /// FileError.
  void build(uint64_t seed) {
    fields_of(*this).validate();
    make(seed);
  }

  /// The problem over x() and y(), which it shares. Every oracle is exact (every batch is the whole data set)
  /// unless an option `batch_size` says otherwise. See `with_noise`.
  virtual Problem problem() const = 0;

  const torch::Tensor& x() const { return x_; }  ///< leaf [dim x], float64
  const torch::Tensor& y() const { return y_; }  ///< leaf [dim y], float64

  /// y*(x) for a flat x, flat; where it is not unique, one that the upper level likes best. NaN where it
  /// could not be computed to full precision.
  virtual torch::Tensor best_lower(const torch::Tensor& x) const = 0;
  /// The true hypergradient grad Phi(x), flat, without the library's oracles; NaN as above.
  virtual torch::Tensor gradient(const torch::Tensor& x) const = 0;
  /// x*, flat; undefined where it is not known.
  virtual torch::Tensor solution() const { return {}; }
  /// What it is, in the terms that theories speak in, with its options as built; `noise` is left to `traits_of`.
  virtual ProblemTraits traits() const { return {}; }
  /// The row of the training file that each coordinate of x belongs to (see LabelledRows::numbers), where there is one.
  virtual std::vector<int64_t> rows_of_x() const { return {}; }
  /// The same with what the present x says about each, as a tab-separated table with a head; empty where rows_of_x is.
  virtual std::string table_of_x() const { return ""; }
  /// How often a run should evaluate `gradient` for its trace, at most: less where it costs more than a step.
  virtual int64_t evaluations() const { return 2000; }

 protected:
  /// `build` with options that are valid by themselves; sets x_ and y_ too.
  virtual void make(uint64_t seed) = 0;

  torch::Tensor x_, y_;
};

/// The problem with additive Gaussian noise of standard deviation `noise` per coordinate in every first
/// derivative of both losses: loss + noise <e, (x, y)>, e ~ N(0, I) anew for every sample, from the model's
/// random stream, so that a sample has the same noise wherever it is evaluated. Second derivatives stay
/// exact; values are shifted. 0: the problem as it is. Throws InputError unless noise is finite and >= 0.
Problem with_noise(Problem problem, double noise);

/// The problem's traits with the noise of its oracles: of its batches, or of `with_noise`.
ProblemTraits traits_of(const KnownProblem& problem, double noise);

/// "1,-2,0.5" as numbers. Throws InputError for what is none.
std::vector<double> start_values(const std::string& text);

/// Starts x elsewhere: one value for all coordinates, or one for each; none: x stays. Throws InputError for
/// another number of values, a value that is not finite, and a point outside of the feasible set.
void set_start(const KnownProblem& problem, const std::vector<double>& values);

/// The files that the problem's options name.
std::vector<std::string> input_files(KnownProblem& problem);

/// One known problem as the command line sees it.
struct KnownProblemEntry {
  std::string name;     ///< as in `bilevel solve NAME`
  std::string summary;  ///< one line
  std::function<std::unique_ptr<KnownProblem>()> make;
};

/// All known problems: those of the folders of bilevel/task/ (cmake/Registry.cmake), and those that a program adds.
Registry<KnownProblemEntry>& known_problem_registry();

/// A known problem with default options. Throws InputError, naming the known ones, for an unknown name.
std::unique_ptr<KnownProblem> make_known_problem(const std::string& name);

}  // namespace bilevel
