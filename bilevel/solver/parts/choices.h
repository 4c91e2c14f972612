// Options of several solvers whose values have names.
#pragma once

#include "bilevel/core/fields.h"

namespace bilevel {

/// Whether the upper level reads y before its update or after.
enum class Order { simultaneous, gauss_seidel };
template <>
struct NamesOf<Order> {
  static constexpr const char* value[] = {"simultaneous", "gauss_seidel"};
};

/// Whether every derivative of a step has a sample of its own, or one lower and one upper sample serve all.
enum class Samples { independent, shared };
template <>
struct NamesOf<Samples> {
  static constexpr const char* value[] = {"independent", "shared"};
};

/// What a lower update does with a gradient.
enum class LowerStep { sgd, adam };
template <>
struct NamesOf<LowerStep> {
  static constexpr const char* value[] = {"sgd", "adam"};
};

}  // namespace bilevel
