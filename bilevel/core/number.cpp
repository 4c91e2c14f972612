#include "bilevel/core/number.h"

#include <charconv>
#include <cmath>

namespace bilevel {
namespace {

bool equals_ignoring_case(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i] >= 'A' && text[i] <= 'Z' ? static_cast<char>(text[i] + ('a' - 'A')) : text[i];
    if (c != lower[i]) return false;
  }
  return true;
}

// Whether a decimal number that does not fit a double is too large rather than too small.
bool too_large(std::string_view text) {
  const size_t exponent = text.find_first_of("eE");
  if (exponent != std::string_view::npos) return text[exponent + 1] != '-';
  return text.substr(0, text.find('.')).find_first_of("123456789") != std::string_view::npos;
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n\v\f";
  const size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

Number read_number(std::string_view text) {
  text = trimmed(text);
  if (text.empty() || text == "?" || equals_ignoring_case(text, "na") || equals_ignoring_case(text, "null")) {
    return {CellKind::missing};
  }
  std::string_view digits = text;
  if (digits.front() == '+') digits.remove_prefix(1);  // from_chars knows no plus sign
  if (digits.empty() || (text.front() == '+' && (digits.front() == '-' || digits.front() == '+'))) {
    return {CellKind::word};
  }
  double value = 0.0;
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, value);
  if (stop != end || error == std::errc::invalid_argument) return {CellKind::word};
  if (error == std::errc::result_out_of_range) {
    return too_large(digits) ? Number{CellKind::infinite} : Number{CellKind::number, 0.0};
  }
  if (std::isnan(value)) {
    // from_chars also takes "nan(...)"; only the plain word marks a missing value.
    return {digits.back() == ')' ? CellKind::word : CellKind::missing};
  }
  if (std::isinf(value)) return {CellKind::infinite};
  return {CellKind::number, value};
}

bool is_missing(std::string_view text) { return read_number(text).kind == CellKind::missing; }

}  // namespace bilevel
