#include <algorithm>

#include "bilevel/task/clean/clean_weighing.h"
#include "bilevel/task/job/costs.h"

namespace bilevel {

double Weighing::fit_cost(int64_t rows) const {
  return weighted_fit_cost(fit_options(first_strengths()), *measured_, inputs().inputs.inputs, rows);
}

CleanCosts Weighing::costs() const {
  const auto rows = static_cast<int64_t>(train().size() + trusted().size());
  const int64_t of_part = rows * (kFolds - 1) / kFolds;
  const double within = (kFolds - 1) * fit_cost(rows * (kFolds - 2) / kFolds);
  CleanCosts costs{.opinion = kOpinionRounds * within, .weights = within, .fit = fit_cost(of_part)};
  if (!learns()) return costs;
  const auto method = solver(o_.solver);
  assign(*method, o_.set);
  const int64_t batch = std::min(*o_.batch_size, rows);
  costs.learn = kFolds * training_cost(*method, default_steps(), batch,
                                       std::min(batch, static_cast<int64_t>(trusted().size())), *measured_,
                                       inputs().inputs.inputs);
  if (linear()) costs.learn += kFolds * costs.fit;  // where y starts
  return costs;
}

}  // namespace bilevel
