// What `bilevel auc` is compared with: a linear model on the same rows.
#pragma once

#include <torch/types.h>

#include <string>

#include "bilevel/task/auc/auc_setup.h"

namespace bilevel {

/// A simpler model's scores of the test rows.
struct AucBaseline {
  std::string name;      ///< for a person
  torch::Tensor scores;  ///< [test rows]
};

/// L2-regularized logistic regression: C chosen on the validation rows by their AUC, then, with `AucSetup::refit`, fitted anew on
/// both parts. Token encoders are compared with one on word and character n-grams, all others on the features they read. Larger
/// data than fit into about half a gigabyte: on evenly chosen rows, with a note. Advances the phase at hand.
AucBaseline make_baseline(AucSetup& setup);

/// What it costs; see costs.h.
double baseline_cost(AucSetup& setup);

}  // namespace bilevel
