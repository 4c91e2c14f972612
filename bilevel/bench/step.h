// What a step on a deep problem costs, beside the passes through the network that its mathematics needs.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "bilevel/core/fields.h"

namespace bilevel {

struct StepBenchOptions {
  std::string problem = "auc";  ///< auc | clean
  std::string encoder;          ///< empty: all that read words
  std::string samples;          ///< independent | shared; empty: both (auc)
  int64_t hidden = 256;
  int64_t batch_size = 32;  ///< rows of a level's batch
  int64_t pairs = 101;      ///< timed pairs of a step and the bare passes
  int64_t vocabulary = 2000;
  int64_t vector_size = 50;    ///< width of token vectors, or of dense rows
  bool train_vectors = false;  ///< token vectors are parameters too

  void fields(Fields& f);
};

/// Times a step and the bare passes in turn, on the same batches, in pairs. Rows are texts of 10 to 20 tokens (dense rows for an
/// encoder of columns). A step draws its batches and moves its variables; the bare passes find their batch drawn, gather it, and
/// are the least that gives the step's derivatives:
///
/// | problem | solver | bare passes |
/// |---|---|---|
/// | auc | AdamBO | a forward and a backward pass over the rows of both batches at once; with independent samples one more forward pass without graph over a third batch |
/// | clean | SOBA, shared samples | a forward pass over each batch, the lower loss's gradient with graph, and one backward pass from the upper loss and that gradient (H z, J z) |
///
/// One thread should be set: processor time of the process is measured, in which other programs do not count.
/// @return {"problem", "hidden", "batch_size", "pairs", "vocabulary", "vector_size", "train_vectors", "steps": [{"encoder",
/// "samples", "parameters", "ratio": the median of the pairs' ratios, "low", "high": its 95 % interval, "step_ms", "bare_ms":
/// medians}], "peak_rss_bytes"}
nlohmann::ordered_json step_bench(const StepBenchOptions& options);

/// For a person.
std::string step_bench_text(const nlohmann::ordered_json& result);

}  // namespace bilevel
