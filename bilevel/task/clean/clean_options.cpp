#include "bilevel/task/clean/clean_options.h"

#include <fmt/format.h>

#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/solver/registry.h"

namespace bilevel {

void check_clean_options(const CleanOptions& o) {
  if (o.train.empty()) throw InputError("--train FILE is missing");
  check_job_options(o);
  check_one_of("weight_per", o.weight_per, {"row", "group", "class-pair"});
  if (o.weight_per == "group" && o.group.empty())
    throw InputError("--weight-per group needs --group COL: which column holds the groups?");
  if (o.weight_per != "group" && !o.group.empty())
    refuse_option("group", o.group, "serves --weight-per group only");
  if (!(o.inject_noise >= 0 && o.inject_noise < 1))
    refuse_option("inject_noise", fmt::format("{:g}", o.inject_noise), "must be at least 0 and below 1");
}

CleanDefaults clean_defaults(const std::string& encoder) {
  // One thread for the small steps of bag, linear and mlp, as in auc_defaults.cpp.
  const EncoderEntry& entry = encoder_registry().at(encoder);
  if (entry.reads == Reads::ngrams)
    return {.network = {}, .l2 = 0.1, .baseline_l2 = 1, .steps = 150, .threads = 1};
  if (entry.linear) return {.network = {}, .l2 = 20, .baseline_l2 = 20, .steps = 150, .threads = 1};
  if (entry.reads == Reads::columns) {
    return {.network = {.hidden = 64, .layers = 1, .dropout = 0.0, .activation = "relu", .linear_skip = true},
            .l2 = 20,
            .baseline_l2 = 20,
            .steps = 150,
            .fit_epochs = 20,
            .fit_step_size = 2e-3,
            .threads = 1};
  }
  return {.network = {.max_length = 128},
          .l2 = 1,
          .baseline_l2 = 1,
          .batch_size = 64,
          .epochs = 4,
          .fit_epochs = 5,
          .fit_step_size = entry.delicate ? 5e-4 : 1e-3};
}

std::map<std::string, nlohmann::json> clean_solver_defaults(const std::string& solver, int64_t rows) {
  // An adaptive step moves a logit by about upper_step_size; a normalized one of length L moves each of n logits by
  // about L / sqrt(n); in a plain gradient the loss of a row has a share of 1/n.
  const auto n = static_cast<double>(rows);
  const Movement movement = solver_registry().at(solver).movement;
  const double step = movement == Movement::adaptive     ? 0.05
                      : movement == Movement::normalized ? 0.05 * std::sqrt(n)
                                                         : 0.1 * n;
  // A fixed step on y or z of a paper is far from what small weights and short features ask for.
  return {{"upper_step_size", step}, {"lower_step_size", "auto"}, {"linear_step_size", "auto"},
          {"warm_start_steps", 200}, {"neumann_terms", 10},       {"lower_steps", 2}};
}

}  // namespace bilevel
