#include "bilevel/task/clean/odd_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "bilevel/task/job/classifier.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kNeighbours = 10;
constexpr int64_t kLeastRows = 2 * kNeighbours;  // fewer have no ten neighbours that tell anything

double quantile_of(std::vector<double> values, double share) {
  const auto at =
      values.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

/// Of each row the ten nearest that it was shown. Of equal distances the first row's counts.
class Neighbours {
 public:
  explicit Neighbours(int64_t rows) : of_(static_cast<size_t>(rows)), farthest_(of_.size(), kInfinity) {
    for (auto& nearest : of_) nearest.fill({kInfinity, -1});
  }

  void show(int64_t row, int64_t other, float distance) {
    const auto i = static_cast<size_t>(row);
    if (distance > farthest_[i]) return;
    Neighbour next{distance, other};
    for (Neighbour& known : of_[i]) {
      if (next < known) std::swap(next, known);
    }
    farthest_[i] = of_[i].back().first;
  }

  NearestRows found() const {
    NearestRows nearest;
    for (const auto& of_row : of_) {
      double sum = 0;
      for (const auto& [apart, other] : of_row) sum += apart;
      nearest.distance.push_back(of_row.front().first);
      nearest.row.push_back(of_row.front().second);
      nearest.mean.push_back(sum / kNeighbours);
    }
    return nearest;
  }

 private:
  using Neighbour = std::pair<float, int64_t>;
  static constexpr float kInfinity = std::numeric_limits<float>::infinity();

  std::vector<std::array<Neighbour, kNeighbours>> of_;
  std::vector<float> farthest_;  // of the ten
};

NearestRows nearest_dense(const torch::Tensor& rows) {
  const torch::NoGradGuard no_grad;
  constexpr int64_t kBlock = 256;
  const int64_t count = rows.size(0);
  Neighbours neighbours(count);
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t size = std::min(kBlock, count - begin);
    const torch::Tensor distances = torch::cdist(rows.narrow(0, begin, size), rows).contiguous();
    const float* distance = distances.const_data_ptr<float>();
    for (int64_t i = begin; i < begin + size; ++i)
      for (int64_t other = 0; other < count; ++other, ++distance)
        if (other != i) neighbours.show(i, other, *distance);
  }
  return neighbours.found();
}

/// Sparse rows of length 1, by columns too.
class UnitRows {
 public:
  UnitRows(const std::vector<torch::Tensor>& batch, int64_t rows) : rows_(rows) {
    const auto* indices = batch[0].const_data_ptr<int64_t>();
    const auto* values = batch[1].const_data_ptr<float>();
    const auto* offsets = batch[2].const_data_ptr<int64_t>();
    std::unordered_map<int64_t, int32_t> numbers;  // of columns, in the order in which they occur
    for (int64_t row = 0; row < rows; ++row) {
      double square = 0;
      for (int64_t k = offsets[row]; k < offsets[row + 1]; ++k) square += double{values[k]} * values[k];
      const double scale = square > 0 ? 1 / std::sqrt(square) : 0;
      for (int64_t k = offsets[row]; k < offsets[row + 1]; ++k) {
        const auto value = static_cast<float>(values[k] * scale);
        own_.emplace_back(numbers.try_emplace(indices[k], static_cast<int32_t>(numbers.size())).first->second,
                          value);
        if (columns_.size() < numbers.size()) columns_.emplace_back();
        columns_[static_cast<size_t>(own_.back().first)].emplace_back(static_cast<int32_t>(row), value);
      }
      ends_.push_back(own_.size());
    }
  }

  double work() const {
    double sum = 0;
    for (const std::vector<Entry>& entries : columns_)
      sum += static_cast<double>(entries.size()) * static_cast<double>(entries.size());
    return sum;
  }

  /// Every pair once: a row meets those behind it, whose entries of a column follow its own.
  NearestRows nearest() const {
    Neighbours neighbours(rows_);
    std::vector<float> distances(static_cast<size_t>(rows_));
    std::vector<size_t> behind(columns_.size(), 0);  // where these entries begin
    size_t k = 0;
    for (int64_t row = 0; row < rows_; ++row) {
      std::ranges::fill(distances, 1.0F);
      for (; k < ends_[static_cast<size_t>(row)]; ++k) {
        const auto& [number, own] = own_[k];
        const std::vector<Entry>& column = columns_[static_cast<size_t>(number)];
        for (size_t e = ++behind[static_cast<size_t>(number)]; e < column.size(); ++e)
          distances[static_cast<size_t>(column[e].first)] -= own * column[e].second;
      }
      for (int64_t other = row + 1; other < rows_; ++other) {
        const float distance = std::max(0.0F, distances[static_cast<size_t>(other)]);
        neighbours.show(row, other, distance);
        neighbours.show(other, row, distance);
      }
    }
    return neighbours.found();
  }

 private:
  using Entry = std::pair<int32_t, float>;  // column or row, value: eight bytes

  int64_t rows_;
  std::vector<Entry> own_;
  std::vector<size_t> ends_;  // of each row in own_
  std::vector<std::vector<Entry>> columns_;
};

}  // namespace

std::optional<NearestRows> nearest_rows(const Inputs& inputs, const std::vector<int64_t>& rows, double work) {
  const auto count = static_cast<int64_t>(rows.size());
  if (inputs.kind() == InputKind::tokens || count < kLeastRows) return std::nullopt;
  const auto pairs = static_cast<double>(count) * static_cast<double>(count);
  if (pairs > work) return std::nullopt;
  std::vector<torch::Tensor> batch = inputs.gather(rows);
  for (torch::Tensor& part : batch) part = part.to(torch::kCPU);
  if (inputs.kind() == InputKind::dense) {
    if (pairs * static_cast<double>(batch[0].size(1)) > work) return std::nullopt;
    return nearest_dense(batch[0].to(torch::kFloat32).contiguous());
  }
  const UnitRows unit(batch, count);
  if (unit.work() > work) return std::nullopt;
  return unit.nearest();
}

OddRows odd_rows(const NearestRows& nearest, const std::vector<int64_t>& content) {
  constexpr double kNear = 0.13, kFarOut = 3;
  OddRows found;
  const double near = kNear * quantile_of(nearest.distance, 0.5);
  const double low = quantile_of(nearest.mean, 0.25), high = quantile_of(nearest.mean, 0.75);
  for (size_t i = 0; i < nearest.row.size(); ++i) {
    const auto row = static_cast<int64_t>(i), other = nearest.row[i];
    const bool twice =
        nearest.row[static_cast<size_t>(other)] == row && other > row;  // told by the other one
    const bool same = !content.empty() && content[i] == content[static_cast<size_t>(other)];
    if (nearest.distance[i] < near && !same && !twice)
      found.near_duplicates.push_back({std::max(row, other), std::min(row, other), nearest.distance[i]});
    if (nearest.mean[i] > high + kFarOut * (high - low) && high > low) found.outliers.push_back(row);
  }
  std::ranges::stable_sort(found.near_duplicates, {}, &OddRows::Pair::distance);
  std::ranges::stable_sort(found.outliers, std::greater<>(),
                           [&](int64_t i) { return nearest.mean[static_cast<size_t>(i)]; });
  return found;
}

Json write_odd_rows(const CleanSetup& setup) {
  const std::optional<NearestRows> nearest = nearest_rows(setup.inputs().inputs.inputs, setup.train());
  if (!nearest) return {{"reason", "not looked for: too many rows, too few, or an encoder of words"}};
  std::vector<int64_t> content = setup.units().content_of;  // of all files, the training file first
  if (!content.empty()) content.resize(setup.train().size());
  const OddRows odd = odd_rows(*nearest, content);
  const torch::Tensor given = setup.classes_of(setup.train());
  const auto label = [&](int64_t row) { return setup.name_of(given[row].item<int64_t>()); };
  Column kind{"kind"}, labels{"label"}, distance{"distance"}, other_line{"other_line"},
      other_label{"other_label"};
  std::vector<int64_t> rows;
  int64_t with_other_label = 0;
  const std::vector<Column> lines = setup.data_files().places(setup.train());
  for (const auto& [row, other, apart] : odd.near_duplicates) {
    rows.push_back(row);
    kind.cells.push_back("near-duplicate");
    labels.cells.push_back(label(row));
    distance.cells.push_back(fmt::format("{:.4g}", apart));
    other_line.cells.push_back(lines[1].cells[static_cast<size_t>(other)]);
    other_label.cells.push_back(label(other));
    with_other_label += label(row) == label(other) ? 0 : 1;
  }
  for (const int64_t row : odd.outliers) {
    rows.push_back(row);
    kind.cells.push_back("outlier");
    labels.cells.push_back(label(row));
    distance.cells.push_back(fmt::format("{:.4g}", nearest->mean[static_cast<size_t>(row)]));
    other_line.cells.push_back("");
    other_label.cells.push_back("");
  }
  std::vector<Column> columns = setup.data_files().places(rows);
  columns.insert(columns.begin(), kind);
  for (const Column& column : {labels, distance, other_line, other_label}) columns.push_back(column);
  write_tsv(setup.path("odd_rows.tsv"), columns);
  return {{"near_duplicates", odd.near_duplicates.size()},
          {"with_other_label", with_other_label},
          {"outliers", odd.outliers.size()}};
}

std::string odd_rows_text(const Json& found) {
  const auto count = [&](const char* key) { return found.value(key, int64_t{0}); };
  std::string text;
  if (const int64_t pairs = count("near_duplicates"); pairs > 0)
    text = fmt::format("{} pair{} of rows {} nearly the same, {} with different labels", pairs,
                       pairs == 1 ? "" : "s", pairs == 1 ? "is" : "are", count("with_other_label"));
  if (const int64_t rows = count("outliers"); rows > 0)
    text += fmt::format("{}{} row{} far from all others", text.empty() ? "" : "; ", rows,
                        rows == 1 ? " lies" : "s lie");
  return text.empty() ? "" : text + " (odd_rows.tsv)";
}

}  // namespace bilevel
