#include "bilevel/data/split.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <span>
#include <utility>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

/// A place in a list of rows; there may be many millions of them.
using Place = uint32_t;
constexpr size_t kMostRows = std::numeric_limits<int32_t>::max();

// `count` by `shares`, by the largest remainder, at least one each; count >= shares.size().
std::vector<int64_t> apportion(int64_t count, const std::vector<double>& shares) {
  std::vector<int64_t> counts;
  std::vector<double> remainders;
  for (const double share : shares) {
    const double exact = share * static_cast<double>(count);
    // A share such as 0.7 of 10 is not exactly 7 in binary.
    const double whole = std::floor(exact + 1e-9 * static_cast<double>(count));
    counts.push_back(static_cast<int64_t>(whole));
    remainders.push_back(exact - whole);
  }
  int64_t left = count - std::accumulate(counts.begin(), counts.end(), int64_t{0});
  for (; left > 0; --left) {
    const auto largest =
        static_cast<size_t>(std::max_element(remainders.begin(), remainders.end()) - remainders.begin());
    ++counts[largest];
    remainders[largest] -= 1.0;
  }
  for (int64_t& part : counts) {
    while (part < 1) {
      --*std::max_element(counts.begin(), counts.end());
      ++part;
    }
  }
  return counts;
}

/// Places in a list of rows that stay together, ascending.
using Unit = std::span<const Place>;

/// All units, in the order of their first places.
struct Units {
  std::vector<Place> places;  // of one unit after the other
  std::vector<Unit> all;      // parts of it
};

Units units_of(const std::vector<int64_t>& rows, const std::vector<int64_t>& unit_of) {
  if (rows.size() > kMostRows)
    throw InputError(fmt::format("{} rows: at most {} can be divided", rows.size(), kMostRows));
  Units units;
  units.places.resize(rows.size());
  if (unit_of.empty()) {
    std::iota(units.places.begin(), units.places.end(), Place{0});
    units.all.reserve(rows.size());
    for (const Place& place : units.places) units.all.emplace_back(&place, 1);
    return units;
  }
  constexpr Place kNone = std::numeric_limits<Place>::max();
  std::vector<Place> number_of(unit_of.size(), kNone), sizes;
  const auto number = [&](size_t i) -> Place& {
    return number_of[static_cast<size_t>(unit_of.at(static_cast<size_t>(rows[i])))];
  };
  for (size_t i = 0; i < rows.size(); ++i) {
    if (number(i) == kNone) {
      number(i) = static_cast<Place>(sizes.size());
      sizes.push_back(0);
    }
    ++sizes[number(i)];
  }
  std::vector<Place> end(sizes.size());
  std::exclusive_scan(sizes.begin(), sizes.end(), end.begin(), Place{0});
  units.all.reserve(sizes.size());
  for (size_t k = 0; k < sizes.size(); ++k) units.all.emplace_back(units.places.data() + end[k], sizes[k]);
  for (size_t i = 0; i < rows.size(); ++i) units.places[end[number(i)]++] = static_cast<Place>(i);
  return units;
}

/// Units in the random order in which the first of their rows come, but those of several rows first, the largest ones before
/// all. The order is drawn for rows, so that a few that stay together hardly change it.
std::vector<Unit> in_turn(std::vector<Unit> units, at::Generator& generator) {
  size_t rows = 0;
  for (const Unit& unit : units) rows += unit.size();
  std::vector<std::pair<Place, Place>> places;  // of all rows, with their units
  places.reserve(rows);
  for (size_t k = 0; k < units.size(); ++k)
    for (const Place place : units[k]) places.emplace_back(place, static_cast<Place>(k));
  std::ranges::sort(places);
  std::vector<Unit> ordered;
  ordered.reserve(units.size());
  const torch::Tensor order = torch::randperm(static_cast<int64_t>(rows), generator, torch::kInt32);
  for (size_t i = 0; i < rows; ++i) {
    Unit& unit = units[places[static_cast<size_t>(order.const_data_ptr<int32_t>()[i])].second];
    if (!unit.empty()) ordered.push_back(std::exchange(unit, {}));
  }
  if (rows > units.size())
    std::ranges::stable_sort(ordered, std::greater(), [](const Unit& unit) { return unit.size(); });
  return ordered;
}

using Counts = std::map<int64_t, int64_t>;  // rows by class

/// Of the classes of a unit that of whose rows it holds the largest share; of several the smallest.
int64_t most_of(const Counts& of_unit, const Counts& of_all) {
  const auto share = [&](const auto& entry) {
    return static_cast<double>(entry.second) / static_cast<double>(of_all.at(entry.first));
  };
  return std::ranges::max_element(of_unit, {}, share)->first;
}

/// Of the classes of a unit that which the fewest of all rows have.
int64_t rarest(const Counts& of_unit, const Counts& of_all) {
  return std::ranges::min_element(of_unit, {}, [&](const auto& entry) { return of_all.at(entry.first); })
      ->first;
}

/// The first class, by number, that a part has no row of; none where every part has all.
std::optional<int64_t> absent_class(const Counts& of_all, const std::vector<std::vector<int64_t>>& parts,
                                    const std::vector<int64_t>& labels) {
  std::optional<int64_t> absent;
  for (const std::vector<int64_t>& part : parts) {
    Counts of_part = of_all;
    for (const int64_t row : part) of_part.erase(labels.at(static_cast<size_t>(row)));
    if (!of_part.empty()) absent = std::min(absent.value_or(of_part.begin()->first), of_part.begin()->first);
  }
  return absent;
}

std::string named(int64_t label, const std::vector<std::string>& names) {
  return label < static_cast<int64_t>(names.size()) ? "'" + names[static_cast<size_t>(label)] + "'"
                                                    : std::to_string(label);
}

/// Divides the units of a class.
std::vector<std::vector<Unit>> divide(const std::vector<Unit>& units, const std::vector<double>& shares) {
  int64_t rows = 0;
  for (const Unit& unit : units) rows += static_cast<int64_t>(unit.size());
  const std::vector<int64_t> counts = apportion(rows, shares);
  std::vector<int64_t> left = counts;
  std::vector<std::vector<Unit>> parts(shares.size());
  for (const Unit& unit : units) {
    size_t part = 0;
    if (unit.size() == 1) {  // one part after the other
      while (part + 1 < left.size() && left[part] <= 0) ++part;
    } else {  // where most is missing
      const auto missing = [&](size_t p) {
        return static_cast<double>(left[p]) / static_cast<double>(counts[p]);
      };
      for (size_t p = 1; p < left.size(); ++p) part = missing(p) > missing(part) ? p : part;
    }
    left[part] -= static_cast<int64_t>(unit.size());
    parts[part].push_back(unit);
  }
  for (std::vector<Unit>& part : parts) {
    if (!part.empty()) continue;
    std::vector<Unit>& richest =
        *std::ranges::max_element(parts, {}, [](const std::vector<Unit>& of) { return of.size(); });
    part.push_back(richest.back());
    richest.pop_back();
  }
  return parts;
}

void check_shares(const std::vector<double>& shares) {
  double sum = 0.0;
  for (const double share : shares) {
    if (!(share > 0.0))
      throw InputError(fmt::format("a share of a split is {}; shares must be positive", share));
    sum += share;
  }
  if (!(std::abs(sum - 1.0) < 1e-6))
    throw InputError(fmt::format("the shares of a split add up to {:.6g}; they must add up to 1", sum));
}

/// The rows of every part, in their order.
std::vector<std::vector<int64_t>> collected(const std::vector<int64_t>& rows,
                                            const std::vector<size_t>& part_of, size_t count) {
  std::vector<std::vector<int64_t>> parts(count);
  for (size_t i = 0; i < rows.size(); ++i) parts[part_of[i]].push_back(rows[i]);
  return parts;
}

}  // namespace

std::vector<std::vector<int64_t>> stratified_split(
    const std::vector<int64_t>& rows, const std::vector<int64_t>& labels, const std::vector<double>& shares,
    at::Generator& generator, const std::vector<std::string>& names, const std::vector<int64_t>& unit_of) {
  check_shares(shares);
  Counts of_all;
  for (const int64_t row : rows) ++of_all[labels.at(static_cast<size_t>(row))];
  Units all = units_of(rows, unit_of);
  const auto by_class = [&](int64_t (*class_of)(const Counts& of_unit, const Counts& of_all)) {
    std::map<int64_t, std::vector<Unit>> classes;
    const auto label_of = [&](Place i) { return labels[static_cast<size_t>(rows[i])]; };
    for (const Unit& unit : all.all) {
      Counts of_unit;
      if (unit.size() > 1)
        for (const Place i : unit) ++of_unit[label_of(i)];
      classes[unit.size() == 1 ? label_of(unit[0]) : class_of(of_unit, of_all)].push_back(unit);
    }
    return classes;
  };
  const auto too_few = [&](const auto& classes) {
    return std::ranges::find_if(classes,
                                [&](const auto& entry) { return entry.second.size() < shares.size(); });
  };
  std::map<int64_t, std::vector<Unit>> classes = by_class(most_of);
  if (too_few(classes) != classes.end() && !unit_of.empty()) {
    std::map<int64_t, std::vector<Unit>> other = by_class(rarest);
    if (too_few(other) == other.end()) classes = std::move(other);
  }
  if (const auto few = too_few(classes); few != classes.end()) {
    throw InputError(
        fmt::format("class {} has only {} row{}{}, too few for a split into {} parts",
                    named(few->first, names), few->second.size(), few->second.size() == 1 ? "" : "s",
                    unit_of.empty() ? "" : " or groups of rows that stay together", shares.size()));
  }
  std::vector<Unit>().swap(all.all);
  std::vector<size_t> part_of(rows.size());
  for (auto& [label, units] : classes) {
    const std::vector<std::vector<Unit>> parts = divide(in_turn(std::move(units), generator), shares);
    for (size_t part = 0; part < parts.size(); ++part) {
      for (const Unit& unit : parts[part])
        for (const Place i : unit) part_of[i] = part;
    }
  }
  std::vector<std::vector<int64_t>> parts = collected(rows, part_of, shares.size());
  if (const auto absent = unit_of.empty() ? std::nullopt : absent_class(of_all, parts, labels)) {
    throw InputError(
        fmt::format("class {} has {} rows, which stay together with so many others that not every one of {} "
                    "parts gets one",
                    named(*absent, names), of_all[*absent], shares.size()));
  }
  return parts;
}

std::vector<int64_t> draw_folds(const std::vector<int64_t>& rows, int64_t folds, at::Generator& generator,
                                const std::vector<int64_t>& unit_of) {
  std::vector<int64_t> fold_of(rows.size()), sizes(static_cast<size_t>(folds), 0);
  const Units all = units_of(rows, unit_of);
  for (const Unit& unit : in_turn(all.all, generator)) {
    const auto smallest = std::ranges::min_element(sizes);
    *smallest += static_cast<int64_t>(unit.size());
    for (const Place i : unit) fold_of[i] = smallest - sizes.begin();
  }
  return fold_of;
}

std::vector<std::vector<int64_t>> ordered_split(const std::vector<int64_t>& rows,
                                                const std::vector<double>& values,
                                                const std::vector<double>& shares,
                                                const std::vector<int64_t>& unit_of) {
  check_shares(shares);
  if (rows.size() < shares.size())
    throw InputError(
        fmt::format("{} rows are too few for a split into {} parts", rows.size(), shares.size()));
  std::vector<std::pair<double, Unit>> units;
  const Units all = units_of(rows, unit_of);
  for (const Unit& unit : all.all) {
    double last = -std::numeric_limits<double>::infinity();
    for (const size_t i : unit) last = std::max(last, values.at(static_cast<size_t>(rows[i])));
    units.emplace_back(last, unit);
  }
  std::ranges::stable_sort(units, {}, &std::pair<double, Unit>::first);
  const std::vector<int64_t> counts = apportion(static_cast<int64_t>(rows.size()), shares);
  std::vector<size_t> part_of(rows.size());
  size_t part = 0;
  int64_t placed = 0, end = counts[0];
  for (size_t k = 0; k < units.size(); ++k) {
    // A part ends with the value that fills it.
    if (placed >= end && part + 1 < counts.size() && units[k].first != units[k - 1].first)
      end = placed + counts[++part];
    for (const size_t i : units[k].second) part_of[i] = part;
    placed += static_cast<int64_t>(units[k].second.size());
  }
  auto parts = collected(rows, part_of, shares.size());
  for (const auto& one : parts) {
    if (one.empty())
      throw InputError(
          fmt::format("a cut by time into {} parts leaves one without rows: too many rows of one time, "
                      "or too many that must stay together",
                      shares.size()));
  }
  return parts;
}

std::vector<int64_t> thin(const std::vector<int64_t>& rows, const std::vector<int64_t>& labels,
                          double positive_share, at::Generator& generator) {
  if (!(positive_share > 0.0 && positive_share < 1.0)) {
    throw InputError(fmt::format("the positive share is {}; it must lie between 0 and 1", positive_share));
  }
  std::vector<size_t> places[2];
  for (size_t i = 0; i < rows.size(); ++i) {
    places[labels.at(static_cast<size_t>(rows[i])) == 1 ? 1 : 0].push_back(i);
  }
  const auto negatives = static_cast<double>(places[0].size());
  const auto positives = static_cast<double>(places[1].size());
  if (places[0].empty() || places[1].empty()) {
    throw InputError("rows of both classes are needed to set the share of the positive ones");
  }
  const bool thin_positives = positives > positive_share * (positives + negatives);
  const double kept = thin_positives ? negatives * positive_share / (1.0 - positive_share)
                                     : positives * (1.0 - positive_share) / positive_share;
  std::vector<size_t>& thinned = places[thin_positives ? 1 : 0];
  const auto target = std::min(thinned.size(), static_cast<size_t>(std::llround(kept)));
  if (target == 0) {
    throw InputError(fmt::format(
        "a positive share of {} would leave no {} row of {} positive and {} negative ones", positive_share,
        thin_positives ? "positive" : "negative", places[1].size(), places[0].size()));
  }
  std::vector<bool> keep(rows.size(), true);
  const torch::Tensor order = torch::randperm(static_cast<int64_t>(thinned.size()), generator, torch::kInt64);
  for (size_t i = target; i < thinned.size(); ++i)
    keep[thinned[static_cast<size_t>(order.const_data_ptr<int64_t>()[i])]] = false;
  std::vector<int64_t> left;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (keep[i]) left.push_back(rows[i]);
  }
  return left;
}

}  // namespace bilevel
