#include "bilevel/model/checks.h"

#include <fmt/format.h>

#include "bilevel/core/error.h"

namespace bilevel {

void check_at_least(const std::string& field, int64_t value, int64_t minimum) {
  if (value < minimum) throw InputError(fmt::format("{} = {}: must be at least {}.", field, value, minimum));
}

void check_dropout(double value) {
  if (!(value >= 0 && value < 1)) throw InputError(fmt::format("dropout = {}: must be in [0, 1).", value));
}

}  // namespace bilevel
