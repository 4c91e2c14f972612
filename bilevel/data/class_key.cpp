#include "bilevel/data/class_key.h"

#include <algorithm>

#include "bilevel/core/number.h"
#include "bilevel/data/characters.h"

namespace bilevel {
namespace {

/// A decimal number without superfluous signs and, where they are dropped, zeros; empty for another text.
std::string decimal_key(std::string_view text, bool drop_zeros_of_fractions) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  const size_t point = std::min(text.find('.'), text.size());
  const std::string_view whole = text.substr(0, point);
  std::string_view part = point < text.size() ? text.substr(point + 1) : "";
  const auto digits = [](std::string_view s) {
    return std::ranges::all_of(s, [](char c) { return c >= '0' && c <= '9'; });
  };
  if (whole.empty() || !digits(whole) || !digits(part) || whole.size() + part.size() > 15) return {};
  if (whole.size() > 1 && whole[0] == '0') return {};
  const size_t last = part.find_last_not_of('0');
  if (last == std::string_view::npos)
    part = {};
  else if (drop_zeros_of_fractions)
    part = part.substr(0, last + 1);
  std::string key(whole);
  if (!part.empty()) key.append(".").append(part);
  return negative && key != "0" ? "-" + key : key;
}

std::string key_of_text(std::string_view text, bool drop_zeros_of_fractions) {
  text = trimmed(text);
  std::string key = decimal_key(text, drop_zeros_of_fractions);
  return key.empty() ? std::string(text) : key;
}

}  // namespace

std::string class_key(std::string_view text) { return key_of_text(text, false); }
std::string loose_class_key(std::string_view text) { return key_of_text(text, true); }

std::string spelling_key(std::string_view text) {
  const std::string lowered = lower_case(compatible(text));
  std::string key;
  for (size_t at = 0; at < lowered.size();) {
    const size_t begin = at;
    if (kind_of(next_code_point(lowered, at)) != CharacterKind::blank)
      key += lowered.substr(begin, at - begin);
  }
  return key;
}

std::string did_you_mean(const std::vector<std::string>& names, std::string_view text) {
  for (const std::string& name : names) {
    if (spelling_key(name) == spelling_key(text)) return "; did you mean '" + name + "'?";
  }
  return "";
}

}  // namespace bilevel
