// What a step on a small problem costs, beside the derivatives that it asks for.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "bilevel/core/fields.h"

namespace bilevel {

struct SmallBenchOptions {
  std::string solver;  ///< empty: all
  int64_t features = 123;
  int64_t batch_size = 64;
  int64_t steps = 20'000;
  bool autograd = false;  ///< leave the problem's own derivatives aside

  void fields(Fields& f);
};

/// Runs the solvers with their default options on logistic regression with one learned strength a feature, on 20,000 training
/// and 5,000 validation rows of standard normal numbers in float32, and measures in the same process what one call of each
/// kind of oracle costs, its sample included. One thread should be set.
/// @return {"features", "batch_size", "steps", "autograd", "calls": {kind: microseconds}, "solvers": [{"solver",
/// "microseconds" a step, "calls_microseconds": the step's counted calls times what they cost, "ratio" of the two}],
/// "peak_rss_bytes"}
nlohmann::ordered_json small_bench(const SmallBenchOptions& options);

/// For a person.
std::string small_bench_text(const nlohmann::ordered_json& result);

}  // namespace bilevel
