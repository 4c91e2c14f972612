// Linear classifiers as the loops of glm see them.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "bilevel/glm/linear_loss.h"
#include "bilevel/model/network.h"
#include "bilevel/task/inputs.h"

namespace bilevel {

/// The cross-entropy of W'a + b, with the strengths of x: the weights of input j have exp(x_u) with
/// u = block_of[j], the biases `kBiasShare` of the first: they are as good as free, and the loss is strongly convex also where a class
/// has no row. Of two classes one output is enough, the log odds v'a + c of the second: with W = (-v, v)/2 the loss is the same and
/// |W|^2 half of |v|^2.
/// `models` of them stand side by side, on all rows alike until row weights say otherwise.
/// Computes in LibTorch's default dtype, on the CPU.
/// @param classes int64 [rows], 0 ... count - 1
/// @param block_of int64 [width]; undefined: all are of block 0
constexpr double kBiasShare = 1e-3;
LinearLoss classifier_loss(DesignRows rows, const torch::Tensor& classes, int64_t count,
                           const torch::Tensor& block_of, int64_t models = 1);
/// Inputs as such a loss reads them.
DesignRows design_of(const Inputs& inputs, int64_t width);

/// The x_u at which `classifier_loss`, a mean over `rows` rows, has a penalty of kappa/2 |W|^2 / rows, [blocks]. A kappa below
/// 1e-6 is taken as that: x is finite.
torch::Tensor log_strengths(const std::vector<double>& kappas, int64_t rows, int64_t classes);
/// The kappas back.
std::vector<double> kappas_of(const torch::Tensor& log_strengths, int64_t rows, int64_t classes);

/// The loss for rows and targets alone, in all else as above, without strengths; the share of the strength of y in that of W.
LinearLoss unpenalized_loss(DesignRows rows, const torch::Tensor& classes, int64_t count);
double strength_share(int64_t classes);

/// Gives a network that is a linear map the parameters y of one model.
void set_classifier(Network& network, const torch::Tensor& y);

}  // namespace bilevel
