// What a step on a small problem costs, beside the derivatives that it asks for.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/core/fields.h"

namespace bilevel {

struct SmallBenchOptions {
  std::string solver;            ///< empty: all
  std::vector<std::string> set;  ///< key=value for the solver
  int64_t features = 123;
  int64_t rows = 20'000;  ///< to train; a quarter more to validate
  int64_t classes = 2;    ///< more than 2: a softmax with one learned strength a class
  int64_t batch_size = 64;
  int64_t steps = 20'000;
  bool autograd = false;  ///< leave the problem's own derivatives aside

  void fields(Fields& f);
};

/// Runs the solvers, with their default options but for `set`, on logistic regression with one learned strength a feature, on
/// rows of standard normal numbers in float32, and measures in the same process what one call of each
/// kind of oracle costs, its sample included. One thread should be set.
/// @return {"features", "rows", "classes", "batch_size", "steps", "autograd", "calls": {kind: microseconds}, "solvers": [{"solver",
/// "microseconds" a step, "calls_microseconds": the step's counted calls times what they cost, "ratio" of the two}],
/// "peak_rss_bytes"}
nlohmann::ordered_json small_bench(const SmallBenchOptions& options);

/// For a person.
std::string small_bench_text(const nlohmann::ordered_json& result);

}  // namespace bilevel
