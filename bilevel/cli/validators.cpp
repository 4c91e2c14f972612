#include <fmt/format.h>

#include "bilevel/cli/command.h"

namespace bilevel::cli {
namespace {

/// CLI11's own checks answer with the whole range of a double.
CLI::Validator number_that(const std::string& rule, const std::function<bool(double)>& holds) {
  return CLI::Validator(
      [=](const std::string& text) {
        double value = 0;
        const bool fits = CLI::detail::lexical_cast(text, value) && holds(value);
        return fits ? std::string() : fmt::format("'{}' is not a number {}", text, rule);
      },
      "");
}

}  // namespace

CLI::Validator positive_number() {
  return number_that("> 0", [](double value) { return value > 0; });
}

CLI::Validator not_negative_number() {
  return number_that(">= 0", [](double value) { return value >= 0; });
}

}  // namespace bilevel::cli
