#include "bilevel/report/options_table.h"

#include <fmt/format.h>

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
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string options_table(const Fields& fields) {
  std::string table = "| option | meaning | values | default | random search |\n|---|---|---|---|---|\n";
  for (const Field& field : fields.list()) {
    const std::string search =
        field.range ? fmt::format("{:g} to {:g}", field.range->low, field.range->high) : "";
    table += fmt::format("| `{}` | {} | {} | {} | {} |\n", field.name, cell(field.meaning),
                         cell(values_of(field)), cell(value_of(field)), search);
  }
  return table;
}

}  // namespace bilevel
