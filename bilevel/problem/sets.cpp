#include "bilevel/problem/sets.h"

#include <fmt/format.h>
#include <torch/utils.h>

#include "bilevel/core/error.h"

namespace bilevel {

Projection box(double low, double high) {
  if (!(low <= high)) throw InputError(fmt::format("box: low = {} must be at most high = {}", low, high));
  return [=](const torch::Tensor& flat) { return flat.clamp(low, high); };
}

Projection ball(double radius, const torch::Tensor& centre) {
  if (!(radius >= 0)) throw InputError(fmt::format("ball: radius = {} must be >= 0", radius));
  return [=](const torch::Tensor& flat) {
    const torch::Tensor offset = centre.defined() ? flat - centre : flat;
    const torch::Tensor norm = offset.norm();
    const torch::Tensor inside = torch::where(norm > radius, offset * (radius / norm), offset);
    return centre.defined() ? centre + inside : inside;
  };
}

Projection simplex(double total) {
  if (!(total > 0)) throw InputError(fmt::format("simplex: total = {} must be > 0", total));
  return [=](const torch::Tensor& flat) {
    const torch::Tensor sorted = std::get<0>(flat.sort(/*dim=*/0, /*descending=*/true));
    const torch::Tensor count = torch::arange(1, flat.numel() + 1, flat.options());
    const torch::Tensor thresholds = (sorted.cumsum(0) - total) / count;
    const torch::Tensor last = ((sorted > thresholds) * torch::arange(flat.numel(), flat.device())).max();
    return (flat - thresholds.index_select(0, last.view({1}))).clamp_min(0);
  };
}

Projection each(const ParameterList& parameters,
                const std::vector<std::pair<std::string, Projection>>& sets) {
  struct Part {
    int64_t offset, size;
    Projection project;
  };
  std::vector<Part> parts;
  for (const auto& [name, project] : sets) {
    int64_t offset = 0, found = 0;
    for (size_t i = 0; i < parameters.size(); offset += parameters[i++].numel()) {
      if (i >= parameters.names.size() || parameters.names[i] != name) continue;
      parts.push_back({offset, parameters[i].numel(), project});
      ++found;
    }
    if (found != 1) throw InputError(fmt::format("sets: {} parameters are called '{}'", found, name));
  }
  return [parts](const torch::Tensor& flat) {
    torch::Tensor moved = flat.clone();
    for (const Part& part : parts) {
      const torch::Tensor own = moved.narrow(0, part.offset, part.size);
      own.copy_(part.project(own));
    }
    return moved;
  };
}

}  // namespace bilevel
