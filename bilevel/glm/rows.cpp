#include "bilevel/glm/rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "bilevel/core/clones.h"
#include "bilevel/core/error.h"

namespace bilevel {
namespace {

constexpr int64_t kBlockBytes = 8192;  // of rows, a quarter of the first cache

// ---- dense rows, one column ----

constexpr int64_t kLanes = 16;

/// out [4] <- the products of four rows with b. Each has sixteen running sums: wide vectors on every machine, and the same sum
/// on every one but for fused multiplications. What is left over is counted by a last block that ends with the row; `last`
/// leaves out of it what was counted before.
template <typename T>
BILEVEL_INLINE void four_dots(const T* const (&a)[4], const T* b, int64_t n, const T* last, T* out) {
  T sum[4][kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t r = 0; r < 4; ++r)
      for (int64_t j = 0; j < kLanes; ++j) sum[r][j] += a[r][i + j] * b[i + j];
  }
  if (i < n) {
    T rest[kLanes];
    for (int64_t j = 0; j < kLanes; ++j) rest[j] = last[j] * b[n - kLanes + j];
    for (int64_t r = 0; r < 4; ++r)
      for (int64_t j = 0; j < kLanes; ++j) sum[r][j] += a[r][n - kLanes + j] * rest[j];
  }
  for (int64_t r = 0; r < 4; ++r) {
    T eight[8], four[4];
    for (int64_t j = 0; j < 8; ++j) eight[j] = sum[r][j] + sum[r][j + 8];
    for (int64_t j = 0; j < 4; ++j) four[j] = eight[j] + eight[j + 4];
    out[r] = (four[0] + four[2]) + (four[1] + four[3]);
  }
}

constexpr int64_t kAhead = 12;  // rows between the one that is read and the one that is fetched from memory

template <typename T>
BILEVEL_INLINE void dots_loop(const T* a, int64_t width, const RowSpan& rows, const T* w, T bias, T* out) {
  const int64_t* row = rows.begin;
  if (width < kLanes) {
    for (int64_t i = 0; i < rows.count; ++i) {
      out[i] = bias;
      for (int64_t j = 0; j < width; ++j) out[i] += a[row[i] * width + j] * w[j];
    }
    return;
  }
  T last[kLanes];
  for (int64_t j = 0; j < kLanes; ++j) last[j] = j >= kLanes - width % kLanes ? 1 : 0;
  const int64_t known = rows.end - rows.begin;
  for (int64_t i = 0; i < rows.count; i += 4) {
    const T* four[4];
    for (int64_t r = 0; r < 4; ++r) {
      four[r] = a + row[std::min(i + r, rows.count - 1)] * width;
      const T* next = a + row[std::min(i + r + kAhead, known - 1)] * width;
      for (int64_t j = 0; j < width; j += 64 / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(next + j);
    }
    T found[4];
    four_dots(four, w, width, last, found);
    for (int64_t r = 0; r < std::min<int64_t>(4, rows.count - i); ++r) out[i + r] = bias + found[r];
  }
}
BILEVEL_CLONES void dots(const float* a, int64_t width, const RowSpan& rows, const float* w, float bias,
                         float* out) {
  dots_loop(a, width, rows, w, bias, out);
}
BILEVEL_CLONES void dots(const double* a, int64_t width, const RowSpan& rows, const double* w, double bias,
                         double* out) {
  dots_loop(a, width, rows, w, bias, out);
}

/// Four rows a pass over `out`, which is then read and written a fourth as often.
template <typename T>
BILEVEL_INLINE void add_rows_loop(const T* a, int64_t width, const int64_t* rows, int64_t count, const T* r,
                                  T* __restrict out) {
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    const T *a0 = a + rows[i] * width, *a1 = a + rows[i + 1] * width, *a2 = a + rows[i + 2] * width,
            *a3 = a + rows[i + 3] * width;
    const T r0 = r[i], r1 = r[i + 1], r2 = r[i + 2], r3 = r[i + 3];
    for (int64_t j = 0; j < width; ++j) out[j] += (r0 * a0[j] + r1 * a1[j]) + (r2 * a2[j] + r3 * a3[j]);
  }
  for (; i < count; ++i) {
    const T* row = a + rows[i] * width;
    for (int64_t j = 0; j < width; ++j) out[j] += r[i] * row[j];
  }
}
BILEVEL_CLONES void add_rows(const float* a, int64_t width, const int64_t* rows, int64_t count,
                             const float* r, float* out) {
  add_rows_loop(a, width, rows, count, r, out);
}
BILEVEL_CLONES void add_rows(const double* a, int64_t width, const int64_t* rows, int64_t count,
                             const double* r, double* out) {
  add_rows_loop(a, width, rows, count, r, out);
}

// ---- sparse rows ----

template <typename T>
void sparse_multiply(const T* values, const int64_t* indices, const int64_t* offsets, const RowSpan& rows,
                     const T* w, const T* bias, int64_t k, T* out) {
  for (int64_t i = 0; i < rows.count; ++i) {
    const int64_t row = rows.begin[i];
    for (int64_t c = 0; c < k; ++c) out[c] = bias != nullptr ? bias[c] : 0;
    for (int64_t e = offsets[row]; e < offsets[row + 1]; ++e) {
      const T* from = w + indices[e] * k;
      for (int64_t c = 0; c < k; ++c) out[c] += values[e] * from[c];
    }
    out += k;
  }
}

template <typename T>
void sparse_add_transposed(const T* values, const int64_t* indices, const int64_t* offsets,
                           const RowSpan& rows, const T* r, int64_t k, T* out) {
  for (int64_t i = 0; i < rows.count; ++i) {
    const int64_t row = rows.begin[i];
    for (int64_t e = offsets[row]; e < offsets[row + 1]; ++e) {
      T* to = out + indices[e] * k;
      for (int64_t c = 0; c < k; ++c) to[c] += values[e] * r[c];
    }
    r += k;
  }
}

template <typename T>
torch::Tensor view_of(const T* data, int64_t rows, int64_t columns) {
  return torch::from_blob(const_cast<T*>(data), {rows, columns}, torch::CppTypeToScalarType<T>::value);
}

}  // namespace

DesignRows::DesignRows(const std::vector<torch::Tensor>& inputs, int64_t width, torch::ScalarType dtype)
    : width_(width) {
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
  if (dense) return;
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
}

int64_t DesignRows::block(int64_t k) const {
  if (sparse() || k > 1) return std::numeric_limits<int64_t>::max();
  return std::max<int64_t>(4, kBlockBytes / (width_ * values_.element_size()) / 4 * 4);
}

bool DesignRows::all(const RowSpan& rows) const {
  if (rows.count != count_) return false;
  for (int64_t i = 0; i < count_; ++i) {
    if (rows.begin[i] != i) return false;
  }
  return true;
}

torch::Tensor DesignRows::matrix(const RowSpan& rows) const {
  if (all(rows)) return values_;
  return values_.index_select(
      0, torch::from_blob(const_cast<int64_t*>(rows.begin), {rows.count}, torch::kInt64));
}

torch::Tensor DesignRows::product(const torch::Tensor& numbers, const torch::Tensor& w) const {
  if (!sparse()) return values_.index_select(0, numbers).mm(w);
  const torch::Tensor begin = offsets_.index_select(0, numbers),
                      size = offsets_.index_select(0, numbers + 1) - begin;
  const torch::Tensor first = size.cumsum(0) - size;  // where each row begins in the batch
  const torch::Tensor row = torch::repeat_interleave(torch::arange(numbers.numel()), size);
  const torch::Tensor entry = torch::arange(row.numel()) + (begin - first).index_select(0, row);
  const torch::Tensor products =
      w.index_select(0, indices_.index_select(0, entry)) * values_.index_select(0, entry).unsqueeze(1);
  return torch::zeros({numbers.numel(), w.size(1)}, w.options()).index_add(0, row, products);
}

template <typename T>
void DesignRows::multiply(const RowSpan& rows, const T* w, const T* bias, int64_t k, T* out) const {
  if (sparse()) {
    return sparse_multiply(values_.const_data_ptr<T>(), indices_.const_data_ptr<int64_t>(),
                           offsets_.const_data_ptr<int64_t>(), rows, w, bias, k, out);
  }
  if (k == 1) return dots(values_.const_data_ptr<T>(), width_, rows, w, bias != nullptr ? *bias : T{0}, out);
  const torch::NoGradGuard no_grad;
  torch::Tensor result = view_of(out, rows.count, k);
  if (bias != nullptr) {
    torch::addmm_out(result, view_of(bias, 1, k), matrix(rows), view_of(w, width_, k));
  } else {
    torch::mm_out(result, matrix(rows), view_of(w, width_, k));
  }
}

template <typename T>
void DesignRows::add_transposed(const RowSpan& rows, const T* r, int64_t k, T* out, T* bias) const {
  if (bias != nullptr) {
    for (int64_t i = 0; i < rows.count; ++i) {
      for (int64_t c = 0; c < k; ++c) bias[c] += r[i * k + c];
    }
  }
  if (sparse()) {
    return sparse_add_transposed(values_.const_data_ptr<T>(), indices_.const_data_ptr<int64_t>(),
                                 offsets_.const_data_ptr<int64_t>(), rows, r, k, out);
  }
  if (k == 1) return add_rows(values_.const_data_ptr<T>(), width_, rows.begin, rows.count, r, out);
  const torch::NoGradGuard no_grad;
  view_of(out, width_, k).addmm_(matrix(rows).t(), view_of(r, rows.count, k));
}

template void DesignRows::multiply(const RowSpan&, const float*, const float*, int64_t, float*) const;
template void DesignRows::multiply(const RowSpan&, const double*, const double*, int64_t, double*) const;
template void DesignRows::add_transposed(const RowSpan&, const float*, int64_t, float*, float*) const;
template void DesignRows::add_transposed(const RowSpan&, const double*, int64_t, double*, double*) const;

}  // namespace bilevel
