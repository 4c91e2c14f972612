// Rows that stand out by themselves, whatever their labels: near-duplicates and outliers.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/task/clean/clean_setup.h"

namespace bilevel {

/// The nearest rows of each row among the same rows.
struct NearestRows {
  std::vector<double> distance;  ///< to the nearest one
  std::vector<int64_t> row;      ///< which that is, an index into the rows
  std::vector<double> mean;      ///< of the distances to the ten nearest
};

/// Distances: of sparse rows 1 less the cosine, of dense ones Euclidean. None for tokens, for fewer than 20 rows, and where it would
/// take more than `work` multiplications (a second for about 1e9): rows^2 times columns; of sparse rows the sum over columns of
/// their squared numbers of entries.
std::optional<NearestRows> nearest_rows(const Inputs& inputs, const std::vector<int64_t>& rows,
                                        double work = 2e10);

/// What stands out.
struct OddRows {
  struct Pair {
    int64_t row, other;  ///< indices into the rows, row > other
    double distance;
  };
  std::vector<Pair> near_duplicates;  ///< but not the same in what is read, the nearest first
  std::vector<int64_t> outliers;      ///< the farthest first
};

/// Near-duplicates are nearer than 0.13 times the median distance to the nearest row (the factor of cleanlab's detector); the same in
/// what is read (`content`, per row, or empty) do not count. Outliers: the mean distance to the ten nearest lies above the third
/// quartile of all by more than 3 times the distance between the quartiles (Tukey's "far out").
OddRows odd_rows(const NearestRows& nearest, const std::vector<int64_t>& content);

/// Writes odd_rows.tsv of the training rows: kind, file, line, label, distance, and of a near-duplicate the other row's line and
/// label. Returns {near_duplicates, with_other_label, outliers}, or {reason} where nothing was looked for.
nlohmann::ordered_json write_odd_rows(const CleanSetup& setup);

/// That as a sentence; empty where there is nothing odd.
std::string odd_rows_text(const nlohmann::ordered_json& found);

}  // namespace bilevel
