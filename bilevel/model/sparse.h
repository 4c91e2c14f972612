// Products of a sparse batch with a dense matrix.
#pragma once

#include <torch/types.h>

#include <vector>

namespace bilevel {

/// A B [rows, k] for the sparse batch A = {indices [nnz] int64, values [nnz], offsets [rows+1] int64}
/// (compressed sparse rows, see InputKind) and a dense matrix `weight` [width, k]. Differentiable any number
/// of times in `weight`; the values of A are constants. Cost: nnz * k multiplications; the gradient fills a
/// dense [width, k]. Throws InputError if the parts do not fit together or an index is not in [0, width); on
/// a device other than the CPU only the sizes are checked.
torch::Tensor sparse_matmul(const std::vector<torch::Tensor>& sparse, const torch::Tensor& weight);

/// A^T G [width, k] for a dense matrix G = `rows` [rows, k]. Otherwise as `sparse_matmul`.
torch::Tensor sparse_transposed_matmul(const std::vector<torch::Tensor>& sparse, const torch::Tensor& rows,
                                       int64_t width);

}  // namespace bilevel
