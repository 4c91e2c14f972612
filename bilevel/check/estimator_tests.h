// The estimators of a check against the solved problem's differences and the dense solution.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bilevel/check/lower_level.h"
#include "bilevel/check/session.h"
#include "bilevel/hypergrad/estimator.h"

namespace bilevel {

class EstimatorTests {
 public:
  EstimatorTests(Session& session, const LowerLevel& lower_level) : s_(session), level_(lower_level) {}

  void run();

 private:
  /// A direction in x, of length 1, along which Phi was differentiated.
  struct Direction {
    size_t block = 0;  // index of the parameter; one past the end: all of x
    torch::Tensor d;   // flat [dim x]
    Difference phi;
  };
  /// A vector that estimates are compared with, and its error.
  struct Reference {
    torch::Tensor value;
    double error = 0;
  };
  struct Attempt {
    Estimate estimate;
    bool limited = false;  // more steps are asked for than were allowed
    double error = 0;      // of the method itself, as far as it shows
    std::string remark = {};
  };

  std::vector<EstimatorEntry> entries() const;
  void dense_solution();
  void differentiate_phi();
  Ruling along(const Direction& direction, double value, double error) const;
  Ruling confirmed(Direction& direction, double value, double error);
  NoisyValue phi(const torch::Tensor& d, double t);
  void optimistic_solution();
  int64_t terms() const;
  int64_t max_gradients() const;
  double rounding() const;
  Attempt attempt(const EstimatorEntry& entry);
  Attempt by_penalty(Estimator& estimator, const std::string& multiplier);
  EstimatorCheck examine(const EstimatorEntry& entry);
  void judge_by_optimistic(const Attempt& attempt, EstimatorCheck& found) const;

  Session& s_;
  const LowerLevel& level_;
  torch::Tensor upper_x_, upper_y_;  // grad_x f and grad_y f at y*
  std::optional<Reference> dense_, optimistic_;
  std::vector<Direction> directions_;
  double sensitivity_ = 0;  // |J H^-1| = |dy*/dx|
  double linear_size_ = 0;  // |z|
  double overall_ = 0;      // scale of grad Phi
  bool absolute_ = false;   // grad Phi is less than 1 % of the terms that cancel in it
  std::vector<double> block_sizes_;
};

}  // namespace bilevel
