#include "bilevel/oracle/second_derivatives.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/autograd.h>

#include <exception>

namespace bilevel {
namespace {

using torch::Tensor;

std::string first_line(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

}  // namespace

std::vector<SecondDerivative> second_derivatives(Oracles& oracles, const Sample& lower) {
  std::vector<SecondDerivative> found;
  const auto purpose = oracles.counting(Purpose::evaluation);
  const Tensor loss = oracles.lower().loss(lower, LevelOracle::Order::second);
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(1);
  Tensor product;  // <grad_y G, v>
  const std::vector<Tensor>& lower_tensors = oracles.y().tensors();
  for (size_t i = 0; i < lower_tensors.size(); ++i) {
    const Tensor& y = lower_tensors[i];
    const Tensor v = torch::randn(y.sizes(), generator, torch::kFloat64).to(y.options().requires_grad(false));
    try {
      const auto part = torch::autograd::grad({loss}, {y}, {}, true, true, /*allow_unused=*/true);
      if (!part[0].defined()) continue;
      const Tensor term = (part[0] * v).sum();
      product = product.defined() ? product + term : term;
    } catch (const std::exception& error) {
      found.push_back({oracles.y().name(i), first_line(error), false});
    }
  }
  if (!product.defined()) return found;
  for (Parameters* level : {&oracles.y(), &oracles.x()}) {
    if (level == &oracles.y() && oracles.has_lower_hessian()) continue;
    for (size_t i = 0; i < level->tensors().size(); ++i) {
      SecondDerivative one{level->name(i), "", !product.requires_grad()};
      if (product.requires_grad()) {
        try {
          const auto part = torch::autograd::grad({product}, {level->tensors()[i]}, {}, true, false,
                                                  /*allow_unused=*/true);
          one.vanishes = !part[0].defined() || part[0].count_nonzero().item<int64_t>() == 0;
        } catch (const std::exception& error) {
          one.failure = first_line(error);
        }
      }
      found.push_back(one);
    }
  }
  return found;
}

}  // namespace bilevel
