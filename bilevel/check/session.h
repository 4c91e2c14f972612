// What the parts of a check share: the problem, its samples, the points, and the report.
#pragma once

#include <torch/types.h>

#include <string>
#include <vector>

#include "bilevel/check/check.h"
#include "bilevel/check/differences.h"
#include "bilevel/oracle/oracles.h"

namespace bilevel {

/// A parameter's place in the flat variable.
struct Block {
  std::string name;
  int64_t offset = 0, size = 0;

  torch::Tensor of(const torch::Tensor& flat) const { return flat.narrow(0, offset, size); }
};

/// Two sides of what should be equal.
struct Sides {
  double gap = 0;      ///< |one - other|
  double scale = 0;    ///< the larger side
  double noise = 0;    ///< error of the reference
  double own = 0;      ///< error that the other side has by its nature (rounding at the problem's condition)
  double overall = 0;  ///< size of the whole of which this is a part
};

/// How a comparison ends.
struct Ruling {
  Verdict verdict = Verdict::ok;
  double error = kNoNumber;
  bool absolute = false;  ///< the error is the gap itself: both sides are zero as far as can be told
  std::string message = {};
};

double norm_of(const torch::Tensor& t);
double dot_of(const torch::Tensor& a, const torch::Tensor& b);
std::string first_line(const std::string& text);

/// ok: equal to the tolerance, and the reference is accurate enough to tell. wrong: they differ by more than the
/// tolerance and by more than five times both sides' errors. unsure: neither.
Ruling judge(const Sides& c, double tolerance);

/// A point of the tests of derivatives.
struct TestPoint {
  torch::Tensor x, y;
  bool at_start = true;  ///< x is the given one
};

class Session {
 public:
  Session(const Problem& problem, const CheckOptions& options);

  CheckOptions options;
  Oracles oracles;
  std::vector<Block> x_blocks, y_blocks;
  torch::Tensor x, y;  ///< as given
  double unit, tolerance;
  double x_length = 1, y_length = 1;  ///< a move of order one: see `find_lengths`
  Sample upper, lower;                ///< of all tests but those of the batches
  CheckReport report;

  CheckItem& note(const std::string& group, const std::string& name, Verdict verdict,
                  double error = kNoNumber, const std::string& message = "");
  /// The same test at several points becomes one item when all have been collected: wrong where one is, ok where at
  /// least half are.
  void collect(const std::string& group, const std::string& name, const Ruling& judgement,
               const TestPoint& point);
  void note_collected();

  /// Sets the lengths of moves in x and y that change a loss by a part of itself: powers of 8, and 1 wherever that
  /// changes one by 1 % to tenfold. Beside the norm of the variable they are the measure of every step and distance,
  /// so that units do not matter.
  void find_lengths();
  /// The step of `difference_hvp` and `difference_cross` that moves y by `step` of its measure.
  double difference_step(double step);

  torch::Tensor random(const torch::Tensor& like);
  double upper_value() { return oracles.upper().value(upper).item<double>(); }
  double lower_value() { return oracles.lower().value(lower).item<double>(); }
  /// Length 1: half along `gradient`, where it is not zero, half at random, inside `block`.
  torch::Tensor direction_in(const Block& block, const torch::Tensor& gradient);
  /// First step of differences along d in x or y: unit^(1/4) of what moves.
  double step_along(bool of_x, const torch::Tensor& flat, const torch::Tensor& d) const;
  /// x or y with every parameter moved at random by about `size` times its root mean square, or times a number that
  /// makes 8 lengths of a parameter near zero (1 for one of at most 64 numbers).
  torch::Tensor displaced(bool of_x, const torch::Tensor& flat, double size);

 private:
  /// See `find_lengths`; 1 where neither loss changes, whatever the move.
  double length_of(Parameters& variable);

  struct Collected {
    std::string group, name;
    std::vector<Ruling> judgements;
    std::vector<bool> at_start;
  };
  std::vector<Collected> collected_;
};

}  // namespace bilevel
