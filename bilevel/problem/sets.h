// Projections on simple sets, for `Level::project`.
#pragma once

#include <torch/types.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/problem/parameter_list.h"

namespace bilevel {

/// flat -> the nearest point of a closed convex set.
using Projection = std::function<torch::Tensor(const torch::Tensor& flat)>;

/// {x : low <= x_i <= high}. Throws InputError unless low <= high.
Projection box(double low, double high);

/// {x : ||x - centre|| <= radius}; an undefined centre is the origin. Throws InputError for a negative radius.
Projection ball(double radius, const torch::Tensor& centre = {});

/// {x : x_i >= 0, sum x_i = total} (Duchi et al. 2008: sort and threshold). Throws InputError unless total > 0.
Projection simplex(double total = 1);

/// Sets of single parameters, by name, each of the parameter's numbers as one flat tensor; the others are free. Throws
/// InputError for a name that is not among `parameters`, or stands there twice.
Projection each(const ParameterList& parameters, const std::vector<std::pair<std::string, Projection>>& sets);

}  // namespace bilevel
