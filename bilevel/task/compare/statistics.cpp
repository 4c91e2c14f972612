#include "bilevel/task/compare/statistics.h"

#include <algorithm>

namespace bilevel {

double joint_confidence(int64_t competitors, double confidence) {
  const auto n = static_cast<double>(competitors);
  return 1 - (1 - confidence) / (n * (n - 1) / 2);
}

std::vector<std::optional<int64_t>> ranks(const std::vector<Standing>& standings, bool higher_is_better) {
  const auto lost = [](const Standing& s) { return s.diverged + s.failed; };
  const auto better = [&](const Standing& a, const Standing& b) {
    if ((a.finished > 0) != (b.finished > 0)) return a.finished > 0;
    if (a.finished == 0) return false;
    if (lost(a) != lost(b)) return lost(a) < lost(b);
    return higher_is_better ? a.mean > b.mean : a.mean < b.mean;
  };
  std::vector<std::optional<int64_t>> result;
  for (const Standing& own : standings) {
    if (own.finished + own.diverged == 0) {
      result.push_back(std::nullopt);
      continue;
    }
    result.push_back(1 + std::count_if(standings.begin(), standings.end(),
                                       [&](const Standing& other) { return better(other, own); }));
  }
  return result;
}

}  // namespace bilevel
