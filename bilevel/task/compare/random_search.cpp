#include "bilevel/task/compare/random_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "bilevel/core/streams.h"

namespace bilevel {
namespace {

/// In [0, 1), from the name of the draw.
double uniform(uint64_t seed, const std::string& name) {
  return static_cast<double>(derive_seed(seed, name) >> 11) * 0x1p-53;
}

/// In [0, 1): the trial-th point of the golden-ratio sequence from a random start, of which any n in a row leave no
/// gap wider than about 2/n.
double evenly(uint64_t seed, const std::string& name, int64_t trial) {
  const double u = uniform(seed, name) + static_cast<double>(trial) * (std::numbers::phi - 1);
  return u - std::floor(u);
}

double with_four_digits(double value) { return std::stod(fmt::format("{:.3e}", value)); }

nlohmann::json value_at(const Field& field, double u) {
  const auto [low, high] = *field.range;
  const double value = low * std::pow(high / low, u);
  if (field.type == "integer")
    return static_cast<int64_t>(std::clamp(std::round(value), std::ceil(low), std::floor(high)));
  return std::clamp(with_four_digits(value), low, high);
}

}  // namespace

std::vector<std::string> searched_options(const Fields& fields, const std::set<std::string>& fixed) {
  std::vector<std::string> names;
  for (const Field& field : fields.list()) {
    if (field.range && fixed.count(field.name) == 0) names.push_back(field.name);
  }
  return names;
}

nlohmann::ordered_json draw_options(const Fields& fields, const std::set<std::string>& fixed, uint64_t seed,
                                    int64_t trial) {
  nlohmann::ordered_json options = nlohmann::ordered_json::object();
  if (trial == 0) return options;
  const Field* first = nullptr;
  const Field* further = nullptr;
  double best = -1;
  for (const Field& field : fields.list()) {
    if (!field.range) continue;
    if (first == nullptr) {
      first = &field;
      continue;
    }
    if (fixed.count(field.name) > 0) continue;
    const double lot = uniform(seed, fmt::format("lot {} {}", trial, field.name));
    if (lot > best) {
      best = lot;
      further = &field;
    }
  }
  const bool first_is_free = first != nullptr && fixed.count(first->name) == 0;
  if (first_is_free) options[first->name] = value_at(*first, evenly(seed, first->name, trial));
  if (further != nullptr && (trial % 2 == 0 || !first_is_free)) {
    options[further->name] =
        value_at(*further, uniform(seed, fmt::format("trial {} {}", trial, further->name)));
  }
  return options;
}

int64_t best_trial(const std::vector<TrialScore>& trials, bool higher_is_better) {
  int64_t best = -1;
  for (size_t i = 0; i < trials.size(); ++i) {
    if (!trials[i].usable) continue;
    const double score = trials[i].score;
    if (best < 0) {
      best = static_cast<int64_t>(i);
      continue;
    }
    const double old = trials[static_cast<size_t>(best)].score;
    if (higher_is_better ? score > old : score < old) best = static_cast<int64_t>(i);
  }
  return std::max<int64_t>(best, 0);
}

}  // namespace bilevel
