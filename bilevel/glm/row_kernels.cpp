#include "bilevel/glm/row_kernels.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "bilevel/core/clones.h"

namespace bilevel {
namespace {

/// f(first, count as a constant) for the numbers from 0 to n, `most` at a time and then what is left.
template <int most, typename F>
BILEVEL_INLINE void in_parts(int64_t n, const F& f, int64_t first = 0) {
  for (; n - first >= most; first += most) f(first, std::integral_constant<int, most>());
  if constexpr (most > 1) {
    if (first < n) in_parts<most - 1>(n, f, first);
  }
}

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
BILEVEL_INLINE void dots_loop(const StridedRows<T>& a, const RowSpan& rows, const T* w, const T* v, T* out,
                              T* out_v) {
  using V = typename Lanes<T>::type;
  const V *by_w = lanes(w), *by_v = lanes(v);
  const int64_t* row = rows.begin;
  const int64_t known = rows.end - rows.begin;
  for (int64_t i = 0; i < rows.count; i += 4) {
    const T* four[4];
    for (int64_t r = 0; r < 4; ++r) {
      four[r] = a.values + row[std::min(i + r, rows.count - 1)] * a.stride;
      const T* next = a.values + row[std::min(i + r + kAhead, known - 1)] * a.stride;
      for (int64_t j = 0; j < a.stride; j += Lanes<T>::count) __builtin_prefetch(next + j);
    }
    const V *a0 = lanes(four[0]), *a1 = lanes(four[1]), *a2 = lanes(four[2]), *a3 = lanes(four[3]);
    V of_w[4] = {}, of_v[4] = {};
    for (int64_t j = 0; j < a.stride / Lanes<T>::count; ++j) {
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

/// Four rows a pass over `out`, which is then read and written a fourth as often.
template <typename T>
BILEVEL_INLINE void add_rows_loop(const StridedRows<T>& a, const RowSpan& rows, const T* r, T* out) {
  using V = typename Lanes<T>::type;
  V* sum = reinterpret_cast<V*>(out);
  for (int64_t i = 0; i < rows.count; i += 4) {
    const T* four[4];
    T factor[4];
    for (int64_t k = 0; k < 4; ++k) {
      four[k] = a.values + rows.begin[std::min(i + k, rows.count - 1)] * a.stride;
      factor[k] = i + k < rows.count ? r[i + k] : 0;
    }
    const V *a0 = lanes(four[0]), *a1 = lanes(four[1]), *a2 = lanes(four[2]), *a3 = lanes(four[3]);
    for (int64_t j = 0; j < a.stride / Lanes<T>::count; ++j)
      sum[j] += (factor[0] * a0[j] + factor[1] * a1[j]) + (factor[2] * a2[j] + factor[3] * a3[j]);
  }
}

// ---- dense rows, several columns side by side ----

/// 32 bytes of numbers, from anywhere on.
template <typename T>
struct Columns {
  typedef T type __attribute__((vector_size(32), may_alias, aligned(alignof(T))));
  static constexpr int64_t count = 32 / sizeof(T);
};
template <typename T>
using ColumnVector = typename Columns<T>::type;

/// A matrix [count, k] in whole vectors of columns, with zeros behind the last.
template <typename T>
class InVectors {
 public:
  InVectors(int64_t count, int64_t k)
      : count_(count),
        k_(k),
        vectors_((k + kLanes - 1) / kLanes),
        values_(static_cast<size_t>(count * wide())) {}

  void take(const T* from) {
    for (int64_t i = 0; i < count_; ++i)
      std::copy(from + i * k_, from + (i + 1) * k_, values_.data() + i * wide());
  }
  void add_to(T* out) const {
    for (int64_t i = 0; i < count_; ++i)
      for (int64_t c = 0; c < k_; ++c) out[i * k_ + c] += values_[static_cast<size_t>(i * wide() + c)];
  }
  int64_t vectors() const { return vectors_; }
  int64_t wide() const { return vectors_ * kLanes; }
  /// From a vector of columns on.
  T* from(int64_t vector) { return values_.data() + vector * kLanes; }

 private:
  static constexpr int64_t kLanes = Columns<T>::count;
  int64_t count_, k_, vectors_;
  std::vector<T> values_;
};

constexpr int kMostVectors = 3;  // whose sums for four rows stay in registers

/// The next `together` rows from row i of the span on; what is missing at its end is the last row again.
template <int together, typename T>
BILEVEL_INLINE void rows_at(const StridedRows<T>& a, const RowSpan& rows, int64_t i,
                            const T* (&at)[together]) {
  for (int64_t r = 0; r < together; ++r)
    at[r] = a.values + rows.begin[std::min(i + r, rows.count - 1)] * a.stride;
}

/// out [rows, wide] <- A W for some vectors of columns of W [width, wide] and of out.
template <int vectors, int together, typename T>
BILEVEL_INLINE void multiply_tile(const StridedRows<T>& a, const RowSpan& rows, const T* w, int64_t wide,
                                  T* out) {
  using V = ColumnVector<T>;
  for (int64_t i = 0; i < rows.count; i += together) {
    const T* at[together];
    rows_at(a, rows, i, at);
    V sums[together][vectors] = {};
    for (int64_t j = 0; j < a.width; ++j) {
      const V* from = reinterpret_cast<const V*>(w + j * wide);
      for (int r = 0; r < together; ++r)
        for (int v = 0; v < vectors; ++v) sums[r][v] += at[r][j] * from[v];
    }
    for (int64_t r = 0; r < std::min<int64_t>(together, rows.count - i); ++r)
      for (int v = 0; v < vectors; ++v) reinterpret_cast<V*>(out + (i + r) * wide)[v] = sums[r][v];
  }
}

/// out [width, wide] <- out + A' R for some vectors of columns of R [rows, wide] and of out.
template <int vectors, int together, bool squared, typename T>
BILEVEL_INLINE void add_transposed_tile(const StridedRows<T>& a, const RowSpan& rows, const T* r,
                                        int64_t wide, T* out) {
  using V = ColumnVector<T>;
  for (int64_t i = 0; i < rows.count; i += together) {
    const T* at[together];
    rows_at(a, rows, i, at);
    V factors[together][vectors] = {};
    for (int64_t n = 0; n < std::min<int64_t>(together, rows.count - i); ++n)
      for (int v = 0; v < vectors; ++v) factors[n][v] = reinterpret_cast<const V*>(r + (i + n) * wide)[v];
    for (int64_t j = 0; j < a.width; ++j) {
      V* to = reinterpret_cast<V*>(out + j * wide);
      for (int v = 0; v < vectors; ++v) {
        V sum = to[v];
        for (int n = 0; n < together; ++n) sum += (squared ? at[n][j] * at[n][j] : at[n][j]) * factors[n][v];
        to[v] = sum;
      }
    }
  }
}

template <typename T>
BILEVEL_INLINE void add_products_loop(const StridedRows<T>& a, const RowSpan& rows, const T* w, int64_t k,
                                      T* out) {
  InVectors<T> in(a.width, k), products(rows.count, k);
  in.take(w);
  in_parts<kMostVectors>(in.vectors(), [&](int64_t first, auto count) BILEVEL_INLINED {
    multiply_tile<count, count == 1 ? 8 : 4>(a, rows, in.from(first), in.wide(), products.from(first));
  });
  products.add_to(out);
}

template <bool squared, typename T>
BILEVEL_INLINE void add_transposed_loop(const StridedRows<T>& a, const RowSpan& rows, const T* r, int64_t k,
                                        T* out) {
  InVectors<T> in(rows.count, k), sums(a.width, k);
  in.take(r);
  in_parts<kMostVectors>(in.vectors(), [&](int64_t first, auto count) BILEVEL_INLINED {
    add_transposed_tile<count, count == 1 ? 8 : 4, squared>(a, rows, in.from(first), in.wide(),
                                                            sums.from(first));
  });
  sums.add_to(out);
}

// ---- sparse rows ----

/// In four sums, which do not wait for each other.
template <typename T>
BILEVEL_INLINE T sparse_dot(const CompressedRows<T>& a, int64_t row, const T* w) {
  T sums[4] = {};
  const int64_t end = a.offsets[row + 1];
  int64_t e = a.offsets[row];
  for (; e + 4 <= end; e += 4)
    for (int64_t lane = 0; lane < 4; ++lane) sums[lane] += a.values[e + lane] * w[a.indices[e + lane]];
  for (; e < end; ++e) sums[0] += a.values[e] * w[a.indices[e]];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

constexpr int kMostColumns = 8;  // whose sums stay in registers

/// The `count` columns of W from `w` on, of k that stand side by side.
template <int count, typename T>
void add_products_of_columns(const CompressedRows<T>& a, const RowSpan& rows, const T* w, int64_t k, T* out) {
  for (int64_t i = 0; i < rows.count; ++i, out += k) {
    const int64_t row = rows.begin[i];
    T sums[count] = {};
    for (int64_t e = a.offsets[row]; e < a.offsets[row + 1]; ++e) {
      const T* from = w + a.indices[e] * k;
      for (int c = 0; c < count; ++c) sums[c] += a.values[e] * from[c];
    }
    for (int c = 0; c < count; ++c) out[c] += sums[c];
  }
}

/// With `squared` of the squares of the rows' numbers.
template <int count, bool squared, typename T>
void add_transposed_of_columns(const CompressedRows<T>& a, const RowSpan& rows, const T* r, int64_t k,
                               T* out) {
  for (int64_t i = 0; i < rows.count; ++i, r += k) {
    const int64_t row = rows.begin[i];
    T factors[count];
    for (int c = 0; c < count; ++c) factors[c] = r[c];
    for (int64_t e = a.offsets[row]; e < a.offsets[row + 1]; ++e) {
      T* to = out + a.indices[e] * k;
      const T value = squared ? a.values[e] * a.values[e] : a.values[e];
      for (int c = 0; c < count; ++c) to[c] += value * factors[c];
    }
  }
}

template <typename T>
void add_products_loop(const CompressedRows<T>& a, const RowSpan& rows, const T* w, int64_t k, T* out) {
  for (int64_t i = 0; k == 1 && i < rows.count; ++i) out[i] += sparse_dot(a, rows.begin[i], w);
  if (k == 1) return;
  in_parts<kMostColumns>(k, [&](int64_t first, auto count) {
    add_products_of_columns<count>(a, rows, w + first, k, out + first);
  });
}

template <bool squared, typename T>
void add_transposed_loop(const CompressedRows<T>& a, const RowSpan& rows, const T* r, int64_t k, T* out) {
  in_parts<kMostColumns>(k, [&](int64_t first, auto count) {
    add_transposed_of_columns<count, squared>(a, rows, r + first, k, out + first);
  });
}

}  // namespace

// What the compiler makes for several processors is no template. (Of the loops over sparse rows it makes slower ones with wide vectors.)
#define BILEVEL_KERNELS_OF_ROWS(Clones, Rows, T)                                                             \
  template <>                                                                                                \
  Clones void add_products(const Rows<T>& a, const RowSpan& rows, const T* w, int64_t k, T* out) {           \
    add_products_loop(a, rows, w, k, out);                                                                   \
  }                                                                                                          \
  template <>                                                                                                \
  Clones void add_transposed(const Rows<T>& a, const RowSpan& rows, const T* r, int64_t k, T* out) {         \
    add_transposed_loop<false>(a, rows, r, k, out);                                                          \
  }                                                                                                          \
  template <>                                                                                                \
  Clones void add_squares_transposed(const Rows<T>& a, const RowSpan& rows, const T* r, int64_t k, T* out) { \
    add_transposed_loop<true>(a, rows, r, k, out);                                                           \
  }
#define BILEVEL_KERNELS(T)                                                                               \
  template <>                                                                                            \
  BILEVEL_CLONES void dots(const StridedRows<T>& a, const RowSpan& rows, const T* w, T* out) {           \
    dots_loop<T, false>(a, rows, w, w, out, out);                                                        \
  }                                                                                                      \
  template <>                                                                                            \
  BILEVEL_CLONES void dots(const StridedRows<T>& a, const RowSpan& rows, const T* w, const T* v, T* out, \
                           T* out_v) {                                                                   \
    dots_loop<T, true>(a, rows, w, v, out, out_v);                                                       \
  }                                                                                                      \
  template <>                                                                                            \
  BILEVEL_CLONES void add_rows(const StridedRows<T>& a, const RowSpan& rows, const T* r, T* out) {       \
    add_rows_loop(a, rows, r, out);                                                                      \
  }                                                                                                      \
  BILEVEL_KERNELS_OF_ROWS(BILEVEL_CLONES, StridedRows, T)                                                \
  BILEVEL_KERNELS_OF_ROWS(, CompressedRows, T)

BILEVEL_KERNELS(float)
BILEVEL_KERNELS(double)

}  // namespace bilevel
