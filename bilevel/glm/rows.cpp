#include "bilevel/glm/rows.h"

#include <ATen/Dispatch.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <type_traits>

#include "bilevel/core/clones.h"
#include "bilevel/core/error.h"
#include "bilevel/core/large_tensor.h"

namespace bilevel {
namespace {

constexpr int64_t kBlockBytes = 8192;         // of rows, a quarter of the first cache
constexpr int64_t kGatheredBytes = 16 << 20;  // of rows that LibTorch multiplies: more gain no time

// ---- dense rows, one column ----

/// 64 bytes of numbers.
template <typename T>
struct Lanes {
  typedef T type __attribute__((vector_size(64), may_alias));
  static constexpr int64_t count = 64 / sizeof(T);
};

template <typename T>
BILEVEL_INLINE const typename Lanes<T>::type* lanes(const T* numbers) {
  return reinterpret_cast<const typename Lanes<T>::type*>(numbers);
}

/// The sums of four vectors.
template <typename T>
BILEVEL_INLINE void sums_of(const typename Lanes<T>::type (&v)[4], T* out) {
  for (int r = 0; r < 4; ++r) {
    T all[Lanes<T>::count], half[Lanes<T>::count / 2], quarter[Lanes<T>::count / 4];
    *reinterpret_cast<typename Lanes<T>::type*>(all) = v[r];
    constexpr int n = Lanes<T>::count;
    for (int j = 0; j < n / 2; ++j) half[j] = all[j] + all[j + n / 2];
    for (int j = 0; j < n / 4; ++j) quarter[j] = half[j] + half[j + n / 4];
    out[r] = quarter[0];
    for (int j = 1; j < n / 4; ++j) out[r] += quarter[j];
  }
}

constexpr int64_t kAhead = 8;  // rows between the one that is read and the one that is fetched from memory

/// Four rows at a time.
template <typename T, bool two>
BILEVEL_INLINE void dots_loop(const T* a, int64_t stride, const RowSpan& rows, const T* w, const T* v, T* out,
                              T* out_v) {
  using V = typename Lanes<T>::type;
  const V *by_w = lanes(w), *by_v = lanes(v);
  const int64_t* row = rows.begin;
  const int64_t known = rows.end - rows.begin;
  for (int64_t i = 0; i < rows.count; i += 4) {
    const T* four[4];
    for (int64_t r = 0; r < 4; ++r) {
      four[r] = a + row[std::min(i + r, rows.count - 1)] * stride;
      const T* next = a + row[std::min(i + r + kAhead, known - 1)] * stride;
      for (int64_t j = 0; j < stride; j += Lanes<T>::count) __builtin_prefetch(next + j);
    }
    const V *a0 = lanes(four[0]), *a1 = lanes(four[1]), *a2 = lanes(four[2]), *a3 = lanes(four[3]);
    V of_w[4] = {}, of_v[4] = {};
    for (int64_t j = 0; j < stride / Lanes<T>::count; ++j) {
      of_w[0] += a0[j] * by_w[j];
      of_w[1] += a1[j] * by_w[j];
      of_w[2] += a2[j] * by_w[j];
      of_w[3] += a3[j] * by_w[j];
      if constexpr (two) {
        of_v[0] += a0[j] * by_v[j];
        of_v[1] += a1[j] * by_v[j];
        of_v[2] += a2[j] * by_v[j];
        of_v[3] += a3[j] * by_v[j];
      }
    }
    T found[4];
    const int64_t left = std::min<int64_t>(4, rows.count - i);
    sums_of<T>(of_w, found);
    for (int64_t r = 0; r < left; ++r) out[i + r] = found[r];
    if constexpr (two) {
      sums_of<T>(of_v, found);
      for (int64_t r = 0; r < left; ++r) out_v[i + r] = found[r];
    }
  }
}
BILEVEL_CLONES void dots(const float* a, int64_t stride, const RowSpan& rows, const float* w, float* out) {
  dots_loop<float, false>(a, stride, rows, w, w, out, out);
}
BILEVEL_CLONES void dots(const double* a, int64_t stride, const RowSpan& rows, const double* w, double* out) {
  dots_loop<double, false>(a, stride, rows, w, w, out, out);
}
BILEVEL_CLONES void dots(const float* a, int64_t stride, const RowSpan& rows, const float* w, const float* v,
                         float* out, float* out_v) {
  dots_loop<float, true>(a, stride, rows, w, v, out, out_v);
}
BILEVEL_CLONES void dots(const double* a, int64_t stride, const RowSpan& rows, const double* w,
                         const double* v, double* out, double* out_v) {
  dots_loop<double, true>(a, stride, rows, w, v, out, out_v);
}

/// Four rows a pass over `out`, which is then read and written a fourth as often.
template <typename T>
BILEVEL_INLINE void add_rows_loop(const T* a, int64_t stride, const RowSpan& rows, const T* r, T* out) {
  using V = typename Lanes<T>::type;
  V* sum = reinterpret_cast<V*>(out);
  for (int64_t i = 0; i < rows.count; i += 4) {
    const T* four[4];
    T factor[4];
    for (int64_t k = 0; k < 4; ++k) {
      four[k] = a + rows.begin[std::min(i + k, rows.count - 1)] * stride;
      factor[k] = i + k < rows.count ? r[i + k] : 0;
    }
    const V *a0 = lanes(four[0]), *a1 = lanes(four[1]), *a2 = lanes(four[2]), *a3 = lanes(four[3]);
    for (int64_t j = 0; j < stride / Lanes<T>::count; ++j)
      sum[j] += (factor[0] * a0[j] + factor[1] * a1[j]) + (factor[2] * a2[j] + factor[3] * a3[j]);
  }
}
BILEVEL_CLONES void add_rows(const float* a, int64_t stride, const RowSpan& rows, const float* r,
                             float* out) {
  add_rows_loop(a, stride, rows, r, out);
}
BILEVEL_CLONES void add_rows(const double* a, int64_t stride, const RowSpan& rows, const double* r,
                             double* out) {
  add_rows_loop(a, stride, rows, r, out);
}

// ---- sparse rows ----

/// In four sums, which do not wait for each other.
template <typename T>
T sparse_dot(const T* values, const int64_t* indices, int64_t begin, int64_t end, const T* w) {
  T sums[4] = {};
  int64_t e = begin;
  for (; e + 4 <= end; e += 4)
    for (int64_t lane = 0; lane < 4; ++lane) sums[lane] += values[e + lane] * w[indices[e + lane]];
  for (; e < end; ++e) sums[0] += values[e] * w[indices[e]];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

constexpr int kTogether = 8;  // columns whose sums stay in registers

/// The `count` columns of W from `w` on, of k that stand side by side.
template <int count, typename T>
void sparse_multiply_columns(const T* values, const int64_t* indices, const int64_t* offsets,
                             const RowSpan& rows, const T* w, int64_t k, T* out) {
  for (int64_t i = 0; i < rows.count; ++i, out += k) {
    const int64_t row = rows.begin[i];
    T sums[count] = {};
    for (int64_t e = offsets[row]; e < offsets[row + 1]; ++e) {
      const T* from = w + indices[e] * k;
      for (int c = 0; c < count; ++c) sums[c] += values[e] * from[c];
    }
    for (int c = 0; c < count; ++c) out[c] = sums[c];
  }
}

/// With `squared` of the squares of the rows' numbers.
template <int count, bool squared, typename T>
void sparse_add_columns(const T* values, const int64_t* indices, const int64_t* offsets, const RowSpan& rows,
                        const T* r, int64_t k, T* out) {
  for (int64_t i = 0; i < rows.count; ++i, r += k) {
    const int64_t row = rows.begin[i];
    T factors[count];
    for (int c = 0; c < count; ++c) factors[c] = r[c];
    for (int64_t e = offsets[row]; e < offsets[row + 1]; ++e) {
      T* to = out + indices[e] * k;
      const T value = squared ? values[e] * values[e] : values[e];
      for (int c = 0; c < count; ++c) to[c] += value * factors[c];
    }
  }
}

/// f(first column, their number as a constant) for all k columns, `kTogether` at a time and then what is left.
template <int count = kTogether, typename F>
void by_columns(int64_t k, const F& f, int64_t first = 0) {
  for (; k - first >= count; first += count) f(first, std::integral_constant<int, count>());
  if constexpr (count > 1) {
    if (first < k) by_columns<count - 1>(k, f, first);
  }
}

template <typename T>
void sparse_multiply(const T* values, const int64_t* indices, const int64_t* offsets, const RowSpan& rows,
                     const T* w, int64_t k, T* out) {
  if (k == 1) {
    for (int64_t i = 0; i < rows.count; ++i) {
      const int64_t row = rows.begin[i];
      out[i] = sparse_dot(values, indices, offsets[row], offsets[row + 1], w);
    }
    return;
  }
  by_columns(k, [&](int64_t first, auto count) {
    sparse_multiply_columns<count>(values, indices, offsets, rows, w + first, k, out + first);
  });
}

template <bool squared, typename T>
void sparse_add_transposed(const T* values, const int64_t* indices, const int64_t* offsets,
                           const RowSpan& rows, const T* r, int64_t k, T* out) {
  by_columns(k, [&](int64_t first, auto count) {
    sparse_add_columns<count, squared>(values, indices, offsets, rows, r + first, k, out + first);
  });
}

/// How many of them fit into `kGatheredBytes`, at least 1.
int64_t gathered_rows(const torch::Tensor& dense) {
  return std::max<int64_t>(1, kGatheredBytes / (dense.stride(0) * dense.element_size()));
}

template <typename T>
torch::Tensor view_of(const T* data, int64_t rows, int64_t columns) {
  return torch::from_blob(const_cast<T*>(data), {rows, columns}, torch::CppTypeToScalarType<T>::value);
}

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
  if (in_place()) return std::numeric_limits<int64_t>::max();
  if (sparse() || k > 1) return gathered_rows(dense());
  return std::max<int64_t>(4, kBlockBytes / (stride_ * values_.element_size()) / 4 * 4);
}

int64_t DesignRows::padded(int64_t k) const { return pads(k) ? stride_ : width_; }

torch::Tensor DesignRows::matrix(const RowSpan& rows) const {
  const torch::Tensor values = dense();
  int64_t next = 0;
  while (next < rows.count && rows.begin[next] == rows.begin[0] + next) ++next;
  if (next == rows.count && next > 0) return values.narrow(0, rows.begin[0], rows.count);
  return values.index_select(0,
                             torch::from_blob(const_cast<int64_t*>(rows.begin), {rows.count}, torch::kInt64));
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
  if (sparse()) {
    sparse_multiply(values_.const_data_ptr<T>(), indices_.const_data_ptr<int64_t>(),
                    offsets_.const_data_ptr<int64_t>(), rows, w, k, out);
    if (!run_.defined()) return;
    const torch::NoGradGuard no_grad;
    view_of(out, rows.count, k).addmm_(matrix(rows), view_of(w + first_ * k, run_.size(1), k));
    return;
  }
  if (k == 1) return dots(values_.const_data_ptr<T>(), stride_, rows, w, out);
  const torch::NoGradGuard no_grad;
  torch::Tensor result = view_of(out, rows.count, k);
  torch::mm_out(result, matrix(rows), view_of(w, width_, k));
}

template <typename T>
void DesignRows::multiply(const RowSpan& rows, const T* w, const T* v, int64_t k, T* out, T* out_v) const {
  if (pads(k)) return dots(values_.const_data_ptr<T>(), stride_, rows, w, v, out, out_v);
  multiply(rows, w, k, out);
  multiply(rows, v, k, out_v);
}

template <typename T>
void DesignRows::add_transposed(const RowSpan& rows, const T* r, int64_t k, T* out) const {
  if (sparse()) {
    sparse_add_transposed<false>(values_.const_data_ptr<T>(), indices_.const_data_ptr<int64_t>(),
                                 offsets_.const_data_ptr<int64_t>(), rows, r, k, out);
    if (!run_.defined()) return;
    const torch::NoGradGuard no_grad;
    view_of(out + first_ * k, run_.size(1), k).addmm_(matrix(rows).t(), view_of(r, rows.count, k));
    return;
  }
  if (k == 1) return add_rows(values_.const_data_ptr<T>(), stride_, rows, r, out);
  const torch::NoGradGuard no_grad;
  view_of(out, width_, k).addmm_(matrix(rows).t(), view_of(r, rows.count, k));
}

torch::Tensor DesignRows::weighted_squares(const torch::Tensor& numbers, const torch::Tensor& r) const {
  const int64_t k = r.size(1);
  torch::Tensor sums = torch::zeros({width_, k}, r.options());
  if (sparse()) {
    AT_DISPATCH_FLOATING_TYPES(dtype(), "weighted_squares", [&] {
      const auto* at = numbers.const_data_ptr<int64_t>();
      sparse_add_transposed<true>(values_.const_data_ptr<scalar_t>(), indices_.const_data_ptr<int64_t>(),
                                  offsets_.const_data_ptr<int64_t>(),
                                  {at, numbers.numel(), at + numbers.numel()}, r.const_data_ptr<scalar_t>(),
                                  k, sums.data_ptr<scalar_t>());
    });
    if (!run_.defined()) return sums;
  }
  const torch::Tensor values = dense();
  torch::Tensor in_dense = sums.narrow(0, sparse() ? first_ : 0, values.size(1));
  const int64_t together = gathered_rows(values);
  for (int64_t begin = 0; begin < numbers.numel(); begin += together) {
    const int64_t count = std::min(together, numbers.numel() - begin);
    in_dense.addmm_(values.index_select(0, numbers.narrow(0, begin, count)).square().t(),
                    r.narrow(0, begin, count));
  }
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
