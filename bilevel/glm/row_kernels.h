// The loops over rows of numbers, in parts of which the rows are still in the cache when they are needed again.
#pragma once

#include <cstdint>

namespace bilevel {

/// Numbers of rows, of which the first `count` are meant; those behind them, up to `end`, come next.
struct RowSpan {
  const int64_t* begin;
  int64_t count;
  const int64_t* end;
};

/// Rows of `width` numbers, each `stride` behind the one before.
template <typename T>
struct StridedRows {
  const T* values;
  int64_t width, stride;
};

/// Compressed rows: the entries of row i are those from offsets[i] to offsets[i + 1].
template <typename T>
struct CompressedRows {
  const T* values;
  const int64_t *indices, *offsets;
};

// T is float or double. Cost: one multiplication for each number of a row and each column.

/// out [rows] <- A w. The rows' strides, `w` and `v` are multiples of 64 bytes long and begin at one, with zeros behind the width.
template <typename T>
void dots(const StridedRows<T>& a, const RowSpan& rows, const T* w, T* out);
/// The same for two columns; each row is read once.
template <typename T>
void dots(const StridedRows<T>& a, const RowSpan& rows, const T* w, const T* v, T* out, T* out_v);
/// out [stride] <- out + A' r, of rows as above.
template <typename T>
void add_rows(const StridedRows<T>& a, const RowSpan& rows, const T* r, T* out);

// Rows are StridedRows<T> or CompressedRows<T>.

/// out [rows, k] <- out + A W for W [width, k].
template <typename Rows, typename T>
void add_products(const Rows& a, const RowSpan& rows, const T* w, int64_t k, T* out);
/// out [width, k] <- out + A' R for R [rows, k].
template <typename Rows, typename T>
void add_transposed(const Rows& a, const RowSpan& rows, const T* r, int64_t k, T* out);
/// The same of the squares of the rows' numbers.
template <typename Rows, typename T>
void add_squares_transposed(const Rows& a, const RowSpan& rows, const T* r, int64_t k, T* out);

}  // namespace bilevel
