// VR-AdamBO: a RECONSTRUCTION. Only an abstract of the method is public (a submission to ICLR 2025): AccBO
// with an upper update of Adam's type in place of the normalized one, and recursive momentum. The formulas
// below are VRAdam (Li, Rakhlin and Jadbabaie 2023, algorithm 2) with AccBO's estimator and lower level; they
// were not read in the original.
//
// After T0 accelerated steps on y alone at x_1, with yhat_1 = y_1, iteration t = 1, 2, ... reads x_t, y_t and
// yhat_t only, with h_t = h(x_t, yhat_t; xi_t):
//   m_1     = h_1                                                      no bias correction: a full estimate
//   m_t     = h_t + (1-theta_m) (m_{t-1} - h(x_{t-1}, yhat_{t-1}; xi_t))                the same xi_t twice
//   v_t     = (1-theta_v) v_{t-1} + theta_v h_t*h_t,   v_hat_t = v_t / (1 - (1-theta_v)^t)
//   x_{t+1} = x_t - eta_x m_t / (sqrt(v_hat_t) + lambda)
//   y_{t+1}, yhat_{t+1} as in accbo.h
//
// Where the original may differ: which sample enters v, the bias correction, whether h reads yhat or y, the
// size of the first batch. Where y does not matter this is VRAdam with a first batch of the ordinary size.
//
// Differs from AccBO's and AdamBO's papers, on which it builds:
// - The Neumann sum is nested (see adambo.h).
#pragma once

#include "bilevel/solver/parts/adam.h"
#include "bilevel/solver/parts/averaged_lower.h"
#include "bilevel/solver/parts/two_point.h"
#include "bilevel/solver/stepped_solver.h"

namespace bilevel {

struct VRAdamBOOptions {
  double upper_step_size = 1e-3;                ///< eta_x
  StepSize lower_step_size = {};                ///< eta_y; auto: 1/(2l)
  StepSize neumann_step_size = {};              ///< eta_N; auto: 1/l
  int64_t neumann_terms = 10;                   ///< Q
  int64_t warm_start_steps = 3;                 ///< T0
  double momentum_weight = 0.1;                 ///< theta_m
  double second_moment_weight = 0.001;          ///< theta_v
  double epsilon = 1e-8;                        ///< lambda
  AveragedVariant option = AveragedVariant::I;  ///< I | II
  int64_t period = 2;                           ///< I, option II only
  int64_t lower_steps = 3;                      ///< N, option II only
  double nesterov_momentum = 0.5;               ///< gamma
  double averaging_weight = 0.5;                ///< tau
  std::string schedule = "constant";            ///< course of eta_x and, unless it has its own, of eta_y
  std::string lower_schedule = "same";

  void fields(Fields& fields);
};

/// The algorithm. y, the report, calls and samples as for AccBO. Memory: m, v, the previous x and yhat, yhat
/// and y_before.
class VRAdamBO : public SteppedSolver<VRAdamBOOptions> {
 public:
  using SteppedSolver::SteppedSolver;

  std::string name() const override { return "vr-adambo"; }
  void warm_start(Oracles& oracles) override;

 private:
  void begin(Oracles& oracles) override;
  StepReport iterate(Oracles& oracles) override;
  void variables(State& state) override;
  AveragedLower lower_;  // y_before, yhat
  NeumannEstimator estimator_;
  RecursiveMomentum momentum_;  // m
  SecondMoment second_moment_;  // v
  Point before_;                // (x_{t-1}, yhat_{t-1})
};

}  // namespace bilevel
