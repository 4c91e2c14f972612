#include "bilevel/core/error.h"

#include <fmt/format.h>

namespace bilevel {

std::string describe(const Position& position, const std::string& message) {
  const auto& [file, line, column] = position;
  if (file.empty()) return message;
  if (line <= 0) return fmt::format("{}: {}", file, message);
  if (column <= 0) return fmt::format("{}:{}: {}", file, line, message);
  return fmt::format("{}:{}:{}: {}", file, line, column, message);
}

void fail_at(const Position& position, const std::string& message) {
  throw InputError(describe(position, message));
}

}  // namespace bilevel
