// Which encoder `auc` takes where none is given, and how each is trained where nothing else is said.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/task/auc/auc_options.h"

namespace bilevel {

/// By encoder and training rows; docs/auc.md says how these were found. `l2` is kappa, see AucModel.
JobDefaults auc_defaults(const std::string& encoder, int64_t rows);

/// An encoder of columns that was considered.
struct EncoderCandidate {
  std::string encoder;
  bool reads = true;              ///< these columns
  std::optional<double> seconds;  ///< that it is expected to take; none where it does not read them
  std::optional<int64_t> steps;   ///< fewer than its own, to keep within the budget

  nlohmann::ordered_json to_json() const;  ///< {encoder, reads, expected_seconds, fewer_steps}
  static EncoderCandidate from_json(const nlohmann::ordered_json& json);
};

/// A sentence for each that the budget kept from being taken, or from all of its steps.
std::vector<std::string> kept_by_budget(const std::vector<EncoderCandidate>& considered, double budget);

/// The first of the options' encoders that reads the columns and whose passes are expected to keep within the budget, an ensemble's with
/// fewer steps than its own where none are given; the last where none does. What was considered, in that order, the chosen one at the end. The expectation counts operations, so that it is the same on
/// any machine.
std::vector<EncoderCandidate> choose_encoder(const AucJobOptions& options, const FittedInputs& read,
                                             int64_t training_rows, int64_t passes);

}  // namespace bilevel
