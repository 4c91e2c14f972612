// Gradient boosting of trees: what tables are compared with. The trees are those of the XGBoost library, where the machine has it.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace bilevel {

struct GradientBoostingOptions {
  double step_size = 0.1;      ///< of each round ("eta"), in (0, 1]
  int64_t depth = 6;           ///< of a tree
  int64_t most_rounds = 1000;  ///< trees a class; with validation rows fewer
  int64_t patience = 50;       ///< rounds without a better validation score, after which there are no more
  uint64_t seed = 0;           ///< of the rows (four of five) and columns (four of five) that a tree sees
  int64_t threads = 1;
};

/// Rows with classes, for `fit_gradient_boosting`.
struct BoostedRows {
  std::vector<torch::Tensor> inputs;  ///< dense {x [n,d]} or sparse {indices, values, offsets}, see InputKind
  torch::Tensor classes;              ///< int64 [n], 0 ... k - 1
};

/// Trees that were fitted. Copies share them.
class GradientBoosting {
 public:
  /// The trees' outputs, float64 [rows] (the log-odds of class 1) for two classes, else [rows, k] (log-probabilities up to a
  /// constant of each row).
  torch::Tensor scores(const std::vector<torch::Tensor>& inputs) const;
  /// Rounds that are used.
  int64_t rounds() const { return rounds_; }

  /// The trees in XGBoost's own format (UBJSON), for a file. Throws Error where the library is too old for it (before 1.6).
  std::string bytes() const;
  /// Trees from that, with what their fit was told and came to. Throws Error where the library is not there, or refuses them.
  static GradientBoosting from_bytes(const std::string& bytes, int64_t width, int64_t classes,
                                     int64_t rounds);

 private:
  friend GradientBoosting fit_gradient_boosting(const BoostedRows&, int64_t, int64_t, const BoostedRows*,
                                                const std::function<double(const torch::Tensor&)>&,
                                                const GradientBoostingOptions&);
  std::shared_ptr<void> booster_;
  int64_t rounds_ = 0, width_ = 0, classes_ = 2;
};

/// Why there is none on this machine, a sentence for a person; empty: there is one. The library is looked for once, when this is
/// first called: a shared library "libxgboost.so.0" or "libxgboost.so" (Debian: libxgboost0).
std::string gradient_boosting_lacks();

/// Boosts the mean log-loss of `train` (T. Chen, C. Guestrin, KDD 2016). With validation rows: until `score` of their scores
/// (higher is better) has not risen for `patience` rounds, and used up to the best one. `classes`: k >= 2. Throws Error
/// where the library is not there or refuses.
GradientBoosting fit_gradient_boosting(const BoostedRows& train, int64_t width, int64_t classes,
                                       const BoostedRows* validation = nullptr,
                                       const std::function<double(const torch::Tensor&)>& score = nullptr,
                                       const GradientBoostingOptions& options = {});

}  // namespace bilevel
