// What a step of meta-learning costs, beside the passes of the encoder that it needs.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "bilevel/core/fields.h"

namespace bilevel {

struct MetaBenchOptions {
  std::string encoder;  ///< empty: rnn and transformer
  std::string head;     ///< ridge or softmax; empty: both
  int64_t shots = 0;    ///< 0: 1 and 5
  int64_t tasks = 20;
  int64_t hidden = 128;
  int64_t pairs = 11;

  void fields(Fields& f);
};

/// Measures an AdamBO step of `meta` with heads solved for each task, on generated texts of 6 to 18 words in 20 classes
/// (5 ways, 10 queries, 8,000 words, vectors of 50): drawing and gathering the rows, forward pass, heads, hypergradient,
/// backward pass, update. Beside it, in turn, one pass of the encoder forward and backward over as many rows in one batch.
/// Processor time; one thread should be set.
/// @return {"tasks", "hidden", "pairs", "cases": [{"encoder", "head", "shots", "rows", "step_milliseconds",
/// "passes_milliseconds": medians, "ratio", "low", "high": median and quartiles of the pairs}], "peak_rss_bytes"}
nlohmann::ordered_json meta_bench(const MetaBenchOptions& options);

/// For a person.
std::string meta_bench_text(const nlohmann::ordered_json& result);

}  // namespace bilevel
