// What a handful of repeated runs says about who is better.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "bilevel/report/intervals.h"

namespace bilevel {

/// The confidence of each interval between two of `competitors`, such that with probability `confidence` all of
/// them hold at once, whichever two are looked at: Bonferroni over the competitors (competitors - 1) / 2 pairs. The
/// one with the best mean is chosen by the runs that it is compared on; an interval of plain 95 % to the best of
/// 16 equal ones over 10 runs covers in 83 %. At least two competitors.
double joint_confidence(int64_t competitors, double confidence = 0.95);

/// How a competitor did over its runs.
struct Standing {
  int64_t finished = 0;
  int64_t diverged = 0;  ///< runs without a usable result
  int64_t failed = 0;    ///< runs that could not start
  double mean = 0;       ///< of the finished ones
};

/// Ranks from 1: first who has finished every run, by the mean; then who has finished some, the fewer lost
/// runs the better, then by the mean; then who has finished none. Equal standings share the better rank (1,
/// 2, 2, 4). Who could not start any run has no rank.
std::vector<std::optional<int64_t>> ranks(const std::vector<Standing>& standings, bool higher_is_better);

}  // namespace bilevel
