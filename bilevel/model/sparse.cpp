#include "bilevel/model/sparse.h"

#include <ATen/Dispatch.h>
#include <fmt/format.h>
#include <torch/autograd.h>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

using torch::Tensor;

void check_parts(const std::vector<Tensor>& sparse) {
  if (sparse.size() != 3 || sparse[0].dim() != 1 || sparse[1].sizes() != sparse[0].sizes() ||
      sparse[2].dim() != 1 || sparse[2].size(0) < 1 || sparse[0].dtype() != torch::kLong ||
      sparse[2].dtype() != torch::kLong) {
    throw InputError("Sparse inputs must be {indices [nnz] int64, values [nnz], offsets [B+1] int64}.");
  }
}

void check_ranges(const int64_t* indices, int64_t entries, const int64_t* offsets, int64_t rows,
                  int64_t width) {
  if (offsets[0] != 0 || offsets[rows] != entries) {
    throw InputError(
        fmt::format("Sparse offsets must run from 0 to the number of entries {}, not from {} to {}.", entries,
                    offsets[0], offsets[rows]));
  }
  for (int64_t row = 0; row < rows; ++row) {
    if (offsets[row + 1] < offsets[row])
      throw InputError(fmt::format("Sparse offsets fall after row {}.", row));
  }
  for (int64_t i = 0; i < entries; ++i) {
    if (indices[i] < 0 || indices[i] >= width) {
      throw InputError(
          fmt::format("Sparse index {}: must be in [0, {}), the width of the model.", indices[i], width));
    }
  }
}

/// `in` [rows, k] -> [width, k] if `transposed`, else `in` [width, k] -> [rows, k]. On the CPU, contiguous
/// arguments.
template <typename T>
void multiply(const int64_t* indices, const T* values, const int64_t* offsets, int64_t rows, int64_t k,
              const T* in, T* out, bool transposed) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = offsets[row]; i < offsets[row + 1]; ++i) {
      const T value = values[i];
      const T* source = in + (transposed ? row : indices[i]) * k;
      T* target = out + (transposed ? indices[i] : row) * k;
      for (int64_t j = 0; j < k; ++j) target[j] += value * source[j];
    }
  }
}

Tensor product(const std::vector<Tensor>& sparse, const Tensor& in, int64_t width, bool transposed) {
  const int64_t rows = sparse[2].size(0) - 1, k = in.size(1);
  const Tensor values = sparse[1].to(in.dtype()).contiguous();
  Tensor out = torch::zeros({transposed ? width : rows, k}, in.options());
  if (!in.is_cpu()) {
    const Tensor row_of = torch::repeat_interleave(torch::arange(rows, sparse[2].options()), sparse[2].diff(),
                                                   /*dim=*/0, /*output_size=*/sparse[0].size(0));
    const Tensor& from = transposed ? row_of : sparse[0];
    const Tensor& to = transposed ? sparse[0] : row_of;
    return out.index_add_(0, to, in.index_select(0, from) * values.unsqueeze(1));
  }
  const Tensor indices = sparse[0].contiguous(), offsets = sparse[2].contiguous(), dense = in.contiguous();
  check_ranges(indices.data_ptr<int64_t>(), indices.size(0), offsets.data_ptr<int64_t>(), rows, width);
  AT_DISPATCH_FLOATING_TYPES(in.scalar_type(), "sparse_matmul", [&] {
    multiply<scalar_t>(indices.data_ptr<int64_t>(), values.data_ptr<scalar_t>(), offsets.data_ptr<int64_t>(),
                       rows, k, dense.data_ptr<scalar_t>(), out.data_ptr<scalar_t>(), transposed);
  });
  return out;
}

/// A W or A^T G; each is the gradient of the other, so the pair is differentiable any number of times.
class SparseProduct : public torch::autograd::Function<SparseProduct> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& in, const Tensor& indices,
                        const Tensor& values, const Tensor& offsets, int64_t width, bool transposed) {
    context->save_for_backward({indices, values, offsets});
    context->saved_data["width"] = width;
    context->saved_data["transposed"] = transposed;
    return product({indices, values, offsets}, in, width, transposed);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const torch::autograd::variable_list sparse = context->get_saved_variables();
    torch::autograd::variable_list found(6);
    found[0] = SparseProduct::apply(gradients[0], sparse[0], sparse[1], sparse[2],
                                    context->saved_data["width"].toInt(),
                                    !context->saved_data["transposed"].toBool());
    return found;
  }
};

}  // namespace

Tensor sparse_matmul(const std::vector<Tensor>& sparse, const Tensor& weight) {
  check_parts(sparse);
  return SparseProduct::apply(weight, sparse[0], sparse[1].detach(), sparse[2], weight.size(0), false);
}

Tensor sparse_transposed_matmul(const std::vector<Tensor>& sparse, const Tensor& rows, int64_t width) {
  check_parts(sparse);
  if (rows.size(0) + 1 != sparse[2].size(0)) {
    throw InputError(
        fmt::format("{} rows do not match sparse offsets of {} rows.", rows.size(0), sparse[2].size(0) - 1));
  }
  return SparseProduct::apply(rows, sparse[0], sparse[1].detach(), sparse[2], width, true);
}

}  // namespace bilevel
