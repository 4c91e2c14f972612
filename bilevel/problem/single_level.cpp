#include "bilevel/problem/single_level.h"

#include "bilevel/core/error.h"

namespace bilevel {

Problem single_level(Level upper) {
  if (upper.parameters.empty()) throw InputError("the upper level has no parameters");
  const torch::Tensor y =
      torch::zeros({1}, upper.parameters[0].options().requires_grad(false)).requires_grad_();
  return {.upper = std::move(upper),
          .lower = {.parameters = {{"none", y}},
                    .loss = [y](const Batch&) { return 0.5 * y.square().sum(); },
                    .batches = no_data()},
          .lower_hessian = [](const torch::Tensor& v) { return v.clone(); }};
}

}  // namespace bilevel
