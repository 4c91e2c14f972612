#include "bilevel/report/options_table.h"

#include <fmt/format.h>

#include <algorithm>

namespace bilevel {
namespace {

std::string cell(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '|') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

}  // namespace

std::string values_of(const Field& field) {
  if (field.rule.empty() || field.rule == kAny.describe()) return field.type;
  const char first = field.rule[0];
  const bool is_range = first == '<' || first == '>' || field.rule.starts_with("in ");
  return field.type + (is_range ? " " : "; ") + field.rule;
}

std::string value_of(const Field& field) {
  const nlohmann::json value = field.get();
  if (value.is_null() || value == nlohmann::json::array())
    return field.otherwise.empty() ? "none" : field.otherwise;
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string options_table(const Fields& fields) {
  const bool searched =
      std::ranges::any_of(fields.list(), [](const Field& f) { return f.range.has_value(); });
  std::string table = fmt::format("| option | meaning | values | default |{}\n|---|---|---|---|{}\n",
                                  searched ? " random search |" : "", searched ? "---|" : "");
  for (const Field& field : fields.list()) {
    table += fmt::format("| `{}` | {} | {} | {} |", field.group.empty() ? field.name : field.flag(),
                         cell(field.meaning), cell(values_of(field)), cell(value_of(field)));
    if (searched) {
      table += field.range ? fmt::format(" {:g} to {:g} |", field.range->low, field.range->high) : "  |";
    }
    table += "\n";
  }
  return table;
}

}  // namespace bilevel
