#include <algorithm>

#include "bilevel/task/clean/clean_weighing.h"
#include "bilevel/task/job/costs.h"

namespace bilevel {

double Weighing::fit_cost(int64_t rows) const {
  return weighted_fit_cost(fit_options(), *measured_, inputs().inputs.inputs, rows);
}

FoldCost Weighing::fold_cost(int64_t k) const {
  const CleanPart& part = parts_[static_cast<size_t>(k)];
  const auto rows = static_cast<int64_t>(part.train.size() + part.trusted.size());
  const auto batch = [&](int64_t of) { return std::min(*o_.batch_size, std::max<int64_t>(1, of)); };
  FoldCost cost{.within = (kFolds - 1) * fit_cost(rows * (kFolds - 2) / (kFolds - 1)), .fit = fit_cost(rows)};
  if (part.trusted.empty() || o_.weight_per == WeightPer::class_pair) cost.opinion = cost.within;
  const auto method = solver(o_.solver, part);
  assign(*method, o_.set);
  const auto lower = static_cast<int64_t>(part.train.size());
  cost.pass = training_cost(*method, o_.steps_for(lower, batch(lower)), batch(lower),
                            batch(part.trusted.empty() ? lower : static_cast<int64_t>(part.trusted.size())),
                            *measured_, inputs().inputs.inputs);
  return cost;
}

}  // namespace bilevel
