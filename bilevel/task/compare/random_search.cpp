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

/// Where in the range a value lies, on a logarithmic scale: [0, 1].
double place_of(const Field& field, double value) {
  const auto [low, high] = *field.range;
  return std::log(std::clamp(value, low, high) / low) / std::log(high / low);
}

nlohmann::json value_at(const Field& field, double u) {
  u = std::clamp(u, 0.0, 1.0);
  const auto [low, high] = *field.range;
  const double value = low * std::pow(high / low, u);
  if (field.type == "integer")
    return static_cast<int64_t>(std::clamp(std::round(value), std::ceil(low), std::floor(high)));
  return std::clamp(with_four_digits(value), low, high);
}

}  // namespace

nlohmann::ordered_json draw_options(const Fields& fields, const std::set<std::string>& fixed, uint64_t seed,
                                    int64_t trial, int64_t trials, const nlohmann::ordered_json& best) {
  if (trial == 0) return nlohmann::ordered_json::object();
  std::vector<const Field*> free;
  const Field* first = nullptr;  // that of x
  for (const Field& field : fields.list()) {
    if (!field.range) continue;
    if (first == nullptr) first = &field;
    if (fixed.count(field.name) == 0) free.push_back(&field);
  }
  if (free.empty()) return nlohmann::ordered_json::object();
  const bool first_is_free = free.front() == first;
  const int64_t alone = first_is_free ? trials / 2 : 0;  // half of those after trial 0, rounded up
  const auto present = [&](const Field& field) {
    return best.contains(field.name) ? nlohmann::json(best.at(field.name)) : field.get();
  };
  if (trial <= alone) {
    const int64_t coarse = (2 * alone + 2) / 3;
    double u = evenly(seed, first->name, trial);
    if (trial > coarse) {
      const double reach =
          std::ldexp(1.0 / static_cast<double>(coarse), static_cast<int>(coarse + 1 - trial));
      u = place_of(*first, present(*first).get<double>()) + (2 * u - 1) * reach;
    }
    return {{first->name, value_at(*first, u)}};
  }

  std::sort(free.begin(), free.end(), [&](const Field* a, const Field* b) {
    const double lot_a = uniform(seed, "lot " + a->name), lot_b = uniform(seed, "lot " + b->name);
    return lot_a < lot_b || (lot_a == lot_b && a->name < b->name);
  });
  const Field& field = *free[static_cast<size_t>(trial - alone - 1) % free.size()];
  double u = uniform(seed, fmt::format("trial {} {}", trial, field.name));
  const nlohmann::json old = present(field);
  if (old.is_number()) {
    const double whole = std::log(field.range->high / field.range->low);
    u = place_of(field, old.get<double>()) + (2 * u - 1) * std::log(4.0) / whole;
  }
  nlohmann::ordered_json options = best;
  options[field.name] = value_at(field, u);
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
