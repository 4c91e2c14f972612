#include "bilevel/data/split.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

// The numbers 0 to count-1 in random order.
std::vector<int64_t> shuffled(size_t count, at::Generator& generator) {
  const torch::Tensor order = torch::randperm(static_cast<int64_t>(count), generator, torch::kInt64);
  return {order.const_data_ptr<int64_t>(), order.const_data_ptr<int64_t>() + count};
}

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

}  // namespace

std::vector<std::vector<int64_t>> stratified_split(const std::vector<int64_t>& rows,
                                                   const std::vector<int64_t>& labels,
                                                   const std::vector<double>& shares,
                                                   at::Generator& generator,
                                                   const std::vector<std::string>& names) {
  double sum = 0.0;
  for (const double share : shares) {
    if (!(share > 0.0))
      throw InputError(fmt::format("a share of a split is {}; shares must be positive", share));
    sum += share;
  }
  if (!(std::abs(sum - 1.0) < 1e-6)) {
    throw InputError(fmt::format("the shares of a split add up to {:.6g}; they must add up to 1", sum));
  }
  std::map<int64_t, std::vector<size_t>> places;  // of each class in `rows`
  for (size_t i = 0; i < rows.size(); ++i) places[labels.at(static_cast<size_t>(rows[i]))].push_back(i);
  std::vector<size_t> part_of(rows.size());
  for (const auto& [label, members] : places) {
    if (members.size() < shares.size()) {
      throw InputError(fmt::format("class {} has only {} row{}, too few for a split into {} parts",
                                   label < static_cast<int64_t>(names.size())
                                       ? "'" + names[static_cast<size_t>(label)] + "'"
                                       : std::to_string(label),
                                   members.size(), members.size() == 1 ? "" : "s", shares.size()));
    }
    const std::vector<int64_t> order = shuffled(members.size(), generator);
    const std::vector<int64_t> counts = apportion(static_cast<int64_t>(members.size()), shares);
    size_t next = 0;
    for (size_t part = 0; part < counts.size(); ++part) {
      for (int64_t k = 0; k < counts[part]; ++k) part_of[members[static_cast<size_t>(order[next++])]] = part;
    }
  }
  std::vector<std::vector<int64_t>> parts(shares.size());
  for (size_t i = 0; i < rows.size(); ++i) parts[part_of[i]].push_back(rows[i]);
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
  const std::vector<int64_t> order = shuffled(thinned.size(), generator);
  for (size_t i = target; i < order.size(); ++i) keep[thinned[static_cast<size_t>(order[i])]] = false;
  std::vector<int64_t> left;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (keep[i]) left.push_back(rows[i]);
  }
  return left;
}

}  // namespace bilevel
