#include "bilevel/model/encoder.h"

#include <fmt/format.h>

#include "bilevel/core/error.h"

namespace bilevel {

std::string to_string(InputKind kind) {
  switch (kind) {
    case InputKind::tokens:
      return "tokens";
    case InputKind::dense:
      return "dense";
    case InputKind::sparse:
      return "sparse";
  }
  return "unknown";
}

InputKind input_kind_from_string(const std::string& name, const std::string& field) {
  for (const InputKind kind : {InputKind::tokens, InputKind::dense, InputKind::sparse}) {
    if (to_string(kind) == name) return kind;
  }
  throw InputError(fmt::format("{} = '{}': must be tokens, dense or sparse.", field, name));
}

}  // namespace bilevel
