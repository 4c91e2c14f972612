#include "bilevel/glm/rows.h"

#include <ATen/Dispatch.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "bilevel/core/error.h"
#include "bilevel/core/large_tensor.h"

namespace bilevel {
namespace {

// Of rows that are multiplied at a time: a quarter of the first cache with one column, of the second with several.
constexpr int64_t kBlockBytes = 8192, kWideBlockBytes = 256 << 10;

}  // namespace

DesignRows::DesignRows(const std::vector<torch::Tensor>& inputs, int64_t width, torch::ScalarType dtype)
    : width_(width) {
  for (const torch::Tensor& input : inputs) {
    if (!input.defined() || input.layout() != torch::kStrided || input.is_complex())
      throw InputError("The rows of a linear model must be plain tensors of real numbers.");
  }
  const bool dense = inputs.size() == 1 && inputs[0].dim() == 2 && inputs[0].size(1) == width;
  const bool sparse = inputs.size() == 3 && inputs[0].dim() == 1 && inputs[1].sizes() == inputs[0].sizes() &&
                      inputs[2].dim() == 1 && inputs[2].numel() > 0;
  if (!dense && !sparse) {
    throw InputError(
        fmt::format("The rows of a linear model of width {} must be {{x [n,{}]}} or {{indices [nnz], values "
                    "[nnz], offsets [n+1]}}.",
                    width, width));
  }
  if (!inputs[0].is_cpu()) throw InputError("The rows of a linear model must lie on the CPU.");
  values_ = inputs[dense ? 0 : 1].detach().to(dtype).contiguous();
  count_ = dense ? inputs[0].size(0) : inputs[2].size(0) - 1;
  if (dense) {
    const int64_t lanes = 64 / values_.element_size();
    stride_ = (width + lanes - 1) / lanes * lanes;
    if (stride_ != width || reinterpret_cast<uintptr_t>(values_.const_data_ptr()) % 64 != 0) {
      torch::Tensor padded = large_empty({count_, stride_}, dtype);
      padded.narrow(1, 0, width).copy_(values_);
      padded.narrow(1, width, stride_ - width).zero_();
      values_ = padded;
    }
    return;
  }
  if (inputs[0].is_floating_point() || inputs[2].is_floating_point())
    throw InputError("Sparse indices and offsets must be whole numbers, int64.");
  indices_ = inputs[0].to(torch::kInt64).contiguous();
  offsets_ = inputs[2].to(torch::kInt64).contiguous();
  const auto* offset = offsets_.const_data_ptr<int64_t>();
  if (offset[0] != 0 || offset[count_] != indices_.numel() || !std::is_sorted(offset, offset + count_ + 1))
    throw InputError(
        fmt::format("Sparse offsets must rise from 0 to the number of entries, {}.", indices_.numel()));
  if (indices_.numel() > 0 &&
      (indices_.min().item<int64_t>() < 0 || indices_.max().item<int64_t>() >= width)) {
    throw InputError(fmt::format("Sparse indices must be in [0, {}), the width of the model.", width));
  }
  split();
}

void DesignRows::split() {
  constexpr int64_t kLeastRun = 64;   // columns: shorter ones gain little
  constexpr double kMostRows = 0.75;  // share of the rows that have each of them
  const torch::Tensor counts = torch::bincount(indices_, {}, width_);
  const auto* count = counts.const_data_ptr<int64_t>();
  int64_t longest = 0;
  for (int64_t j = 0, length = 0; j < width_; ++j) {
    length = static_cast<double>(count[j]) >= kMostRows * static_cast<double>(count_) ? length + 1 : 0;
    if (length <= longest) continue;
    longest = length;
    first_ = j + 1 - length;
  }
  if (longest < kLeastRun) return;
  const torch::Tensor row = torch::repeat_interleave(torch::arange(count_), offsets_.diff());
  const torch::Tensor within = (indices_ >= first_).logical_and_(indices_ < first_ + longest);
  run_ = large_empty({count_, longest}, dtype()).zero_();
  run_.index_put_({row.masked_select(within), indices_.masked_select(within) - first_},
                  values_.masked_select(within), /*accumulate=*/true);
  const torch::Tensor others = within.logical_not();
  const torch::Tensor before = torch::cat({torch::zeros({1}, torch::kInt64), others.cumsum(0)});
  offsets_ = before.index_select(0, offsets_);
  indices_ = indices_.masked_select(others);
  values_ = values_.masked_select(others);
}

int64_t DesignRows::block(int64_t k) const {
  if (sparse() && !run_.defined()) return std::numeric_limits<int64_t>::max();
  const int64_t row = dense().stride(0) * values_.element_size();
  return std::max<int64_t>(4, (sparse() || k > 1 ? kWideBlockBytes : kBlockBytes) / row / 4 * 4);
}

int64_t DesignRows::padded(int64_t k) const { return pads(k) ? stride_ : width_; }

template <typename T>
StridedRows<T> DesignRows::dense_rows() const {
  return {dense().const_data_ptr<T>(), sparse() ? run_.size(1) : width_, dense().stride(0)};
}
template <typename T>
CompressedRows<T> DesignRows::sparse_rows() const {
  return {values_.const_data_ptr<T>(), indices_.const_data_ptr<int64_t>(),
          offsets_.const_data_ptr<int64_t>()};
}

torch::Tensor DesignRows::product(const torch::Tensor& numbers, const torch::Tensor& w) const {
  if (!sparse()) return values_.narrow(1, 0, width_).index_select(0, numbers).mm(w);
  const torch::Tensor begin = offsets_.index_select(0, numbers),
                      size = offsets_.index_select(0, numbers + 1) - begin;
  const torch::Tensor first = size.cumsum(0) - size;  // where each row begins in the batch
  const torch::Tensor row = torch::repeat_interleave(torch::arange(numbers.numel()), size);
  const torch::Tensor entry = torch::arange(row.numel()) + (begin - first).index_select(0, row);
  const torch::Tensor products =
      w.index_select(0, indices_.index_select(0, entry)) * values_.index_select(0, entry).unsqueeze(1);
  const torch::Tensor sums =
      torch::zeros({numbers.numel(), w.size(1)}, w.options()).index_add(0, row, products);
  return run_.defined() ? sums + run_.index_select(0, numbers).mm(w.narrow(0, first_, run_.size(1))) : sums;
}

template <typename T>
void DesignRows::multiply(const RowSpan& rows, const T* w, int64_t k, T* out) const {
  if (pads(k)) return dots(dense_rows<T>(), rows, w, out);
  std::fill(out, out + rows.count * k, T{0});
  if (sparse()) add_products(sparse_rows<T>(), rows, w, k, out);
  if (has_dense()) add_products(dense_rows<T>(), rows, w + first_ * k, k, out);
}

template <typename T>
void DesignRows::multiply(const RowSpan& rows, const T* w, const T* v, int64_t k, T* out, T* out_v) const {
  if (pads(k)) return dots(dense_rows<T>(), rows, w, v, out, out_v);
  multiply(rows, w, k, out);
  multiply(rows, v, k, out_v);
}

template <typename T>
void DesignRows::add_transposed(const RowSpan& rows, const T* r, int64_t k, T* out) const {
  if (pads(k)) return add_rows(dense_rows<T>(), rows, r, out);
  if (sparse()) bilevel::add_transposed(sparse_rows<T>(), rows, r, k, out);
  if (has_dense()) bilevel::add_transposed(dense_rows<T>(), rows, r, k, out + first_ * k);
}

torch::Tensor DesignRows::weighted_squares(const torch::Tensor& numbers, const torch::Tensor& r) const {
  const int64_t k = r.size(1);
  torch::Tensor sums = torch::zeros({width_, k}, r.options());
  AT_DISPATCH_FLOATING_TYPES(dtype(), "weighted_squares", [&] {
    const auto* at = numbers.const_data_ptr<int64_t>();
    auto* out = sums.data_ptr<scalar_t>();
    const int64_t count = numbers.numel(), together = std::min(block(k), count);
    for (int64_t begin = 0; begin < count; begin += together) {
      const RowSpan rows{at + begin, std::min(together, count - begin), at + count};
      const auto* of_rows = r.const_data_ptr<scalar_t>() + begin * k;
      if (sparse()) add_squares_transposed(sparse_rows<scalar_t>(), rows, of_rows, k, out);
      if (has_dense()) add_squares_transposed(dense_rows<scalar_t>(), rows, of_rows, k, out + first_ * k);
    }
  });
  return sums;
}

template void DesignRows::multiply(const RowSpan&, const float*, int64_t, float*) const;
template void DesignRows::multiply(const RowSpan&, const double*, int64_t, double*) const;
template void DesignRows::multiply(const RowSpan&, const float*, const float*, int64_t, float*, float*) const;
template void DesignRows::multiply(const RowSpan&, const double*, const double*, int64_t, double*,
                                   double*) const;
template void DesignRows::add_transposed(const RowSpan&, const float*, int64_t, float*) const;
template void DesignRows::add_transposed(const RowSpan&, const double*, int64_t, double*) const;

}  // namespace bilevel
