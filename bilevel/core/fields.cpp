#include "bilevel/core/fields.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/core/number.h"

namespace bilevel {
namespace {

using nlohmann::json;

[[noreturn]] void refuse(const std::string& name, const json& value, const std::string& rule) {
  const std::string text = value.is_string() ? value.get<std::string>()
                           : value.is_number_float()
                               ? fmt::format("{}", value.get<double>())  // JSON has no NaN
                               : value.dump();
  throw InputError(fmt::format("{} = {}: {}", name, text, rule));
}

double as_number(const std::string& name, const json& value, const Range& range) {
  if (!value.is_number()) refuse(name, value, "must be a number");
  const double x = value.get<double>();
  if (!std::isfinite(x) || !range.contains(x)) refuse(name, value, "must be " + range.describe());
  return x;
}

int64_t as_integer(const std::string& name, const json& value, const Range& range) {
  const double x = as_number(name, value, range);
  if (x != std::floor(x)) refuse(name, value, "must be a whole number");
  if (std::abs(x) > 0x1p53) refuse(name, value, "must be at most 2^53");
  return static_cast<int64_t>(x);
}

template <typename T>
json json_of(const std::optional<T>& value) {
  return value ? json(*value) : json();
}

/// A number or a truth value; else the text itself. A number may be written as JSON does not have it: ".2", "2.", "+1".
json value_of(const std::string& text) {
  json parsed = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_number() || parsed.is_boolean()) return parsed;
  const Number number = read_number(text);
  return number.kind == CellKind::number ? json(number.value) : json(text);
}

}  // namespace

bool Range::contains(double x) const {
  return (low_open ? x > low : x >= low) && (high_open ? x < high : x <= high);
}

std::string Range::describe() const {
  const bool has_low = low > -1e300;
  const bool has_high = high < 1e300;
  if (has_low && has_high)
    return fmt::format("in {}{:g}, {:g}{}", low_open ? "(" : "[", low, high, high_open ? ")" : "]");
  if (has_low) return fmt::format("{} {:g}", low_open ? ">" : ">=", low);
  if (has_high) return fmt::format("{} {:g}", high_open ? "<" : "<=", high);
  return "a finite number";
}

std::string Field::flag() const {
  std::string dashed = name;
  std::replace(dashed.begin(), dashed.end(), '_', '-');
  return (is_flag() ? "--[no-]" : "--") + dashed;
}

Field& Fields::add(Field field) {
  field.group = group_;
  return fields_.emplace_back(std::move(field));
}

Field& Fields::number(const std::string& name, double& value, const Range& range,
                      const std::string& meaning) {
  return add({name, meaning, "number", range.describe(), [&value] { return json(value); },
              [&value, name, range](const json& given) { value = as_number(name, given, range); }});
}

Field& Fields::number(const std::string& name, std::optional<double>& value, const Range& range,
                      const std::string& meaning) {
  return add({name, meaning, "number", range.describe(), [&value] { return json_of(value); },
              [&value, name, range](const json& given) {
                value = given.is_null() ? std::nullopt : std::optional(as_number(name, given, range));
              }});
}

Field& Fields::integer(const std::string& name, int64_t& value, const Range& range,
                       const std::string& meaning) {
  return add({name, meaning, "integer", range.describe(), [&value] { return json(value); },
              [&value, name, range](const json& given) { value = as_integer(name, given, range); }});
}

Field& Fields::integer(const std::string& name, uint64_t& value, const Range& range,
                       const std::string& meaning) {
  return add({name, meaning, "integer", range.describe(), [&value] { return json(value); },
              [&value, name, range](const json& given) {
                value = static_cast<uint64_t>(as_integer(name, given, range));
              }});
}

Field& Fields::integer(const std::string& name, std::optional<int64_t>& value, const Range& range,
                       const std::string& meaning) {
  return add({name, meaning, "integer", range.describe(), [&value] { return json_of(value); },
              [&value, name, range](const json& given) {
                value = given.is_null() ? std::nullopt : std::optional(as_integer(name, given, range));
              }});
}

Field& Fields::flag(const std::string& name, bool& value, const std::string& meaning) {
  return add({name, meaning, "true|false", "", [&value] { return json(value); },
              [&value, name](const json& given) {
                if (!given.is_boolean()) refuse(name, given, "must be true or false");
                value = given.get<bool>();
              }});
}

Field& Fields::flag(const std::string& name, std::optional<bool>& value, const std::string& meaning) {
  return add({name, meaning, "true|false", "", [&value] { return value ? json(*value) : json("automatic"); },
              [&value, name](const json& given) {
                if (given != "automatic" && !given.is_boolean())
                  refuse(name, given, "must be true, false or automatic");
                value = given.is_boolean() ? std::optional(given.get<bool>()) : std::nullopt;
              }});
}

Field& Fields::choice_by_number(const std::string& name, const std::vector<std::string>& names,
                                const std::string& meaning, const std::function<size_t()>& get,
                                const std::function<void(size_t)>& set) {
  return add({name, meaning, fmt::format("{}", fmt::join(names, "|")), "",
              [names, get] { return get() < names.size() ? json(names[get()]) : json(get()); },
              [name, names, set](const json& given) {
                const auto found = std::find(names.begin(), names.end(), given);
                if (found == names.end())
                  refuse(name, given, fmt::format("must be one of {}", fmt::join(names, ", ")));
                set(static_cast<size_t>(found - names.begin()));
              }});
}

Field& Fields::choice(const std::string& name, std::string& value, const std::vector<std::string>& choices,
                      const std::string& meaning) {
  return add({name, meaning, fmt::format("{}", fmt::join(choices, "|")), "", [&value] { return json(value); },
              [&value, name, choices](const json& given) {
                const bool known = given.is_string() && std::find(choices.begin(), choices.end(),
                                                                  given.get<std::string>()) != choices.end();
                if (!known) refuse(name, given, fmt::format("must be one of {}", fmt::join(choices, ", ")));
                value = given.get<std::string>();
              }});
}

Field& Fields::optional_choice(const std::string& name, std::string& value,
                               const std::vector<std::string>& choices, const std::string& meaning) {
  Field& field = choice(name, value, choices, meaning);
  field.get = [&value] { return value.empty() ? json() : json(value); };
  field.set = [&value, chosen = field.set](const json& given) {
    given.is_null() ? value.clear() : chosen(given);
  };
  return field;
}

Field& Fields::step_size(const std::string& name, StepSize& value, const std::string& meaning) {
  return add({name, meaning, "number|auto", "> 0",
              [&value] { return value.automatic() ? json("auto") : json(*value.value); },
              [&value, name](const json& given) {
                if (given == "auto") {
                  value.value.reset();
                } else if (given.is_string()) {
                  refuse(name, given, "must be a number or auto");
                } else {
                  value.value = as_number(name, given, kPositive);
                }
              }});
}

void Fields::course(const std::string& name, std::string& value, const std::vector<std::string>& choices,
                    const std::string& meaning) {
  const auto check = [name, choices](const json& given) {
    const std::string text = given.is_string() ? given.get<std::string>() : "";
    const size_t colon = text.find(':');
    const std::string kind = text.substr(0, colon);
    if (std::find(choices.begin(), choices.end(), kind) == choices.end()) {
      refuse(name, given, fmt::format("must be one of {}", fmt::join(choices, ", ")));
    }
    if (colon == std::string::npos) return;
    const json parameter = value_of(text.substr(colon + 1));
    const bool possible =
        parameter.is_number() && parameter.get<double>() > 0 && parameter.get<double>() <= 1;
    if ((kind != "polynomial" && kind != "warm-up") || !possible) {
      refuse(name, given, "only polynomial and warm-up take a number, in (0, 1], after the colon");
    }
  };
  add({name, meaning, fmt::format("{}", fmt::join(choices, "|")),
       "polynomial and warm-up may be followed by :number", [&value] { return json(value); },
       [&value, check](const json& given) {
         check(given);
         value = given.get<std::string>();
       }});
}

Field& Fields::text(const std::string& name, std::string& value, const std::string& meaning) {
  return add({name, meaning, "text", "", [&value] { return value.empty() ? json() : json(value); },
              [&value, name](const json& given) {
                if (!given.is_string() && !given.is_null()) refuse(name, given, "must be a text");
                value = given.is_null() ? "" : given.get<std::string>();
              }});
}

Field& Fields::texts(const std::string& name, std::vector<std::string>& values, const std::string& meaning) {
  return add({name, meaning, "texts", "", [&values] { return json(values); },
              [&values, name](const json& given) {
                if (!given.is_array() || !std::ranges::all_of(given, &json::is_string))
                  refuse(name, given, "must be a list of texts");
                values = given.get<std::vector<std::string>>();
              }});
}

const Field* Fields::find(const std::string& name) const {
  const auto found = std::ranges::find(fields_, name, &Field::name);
  return found == fields_.end() ? nullptr : &*found;
}

const Field& Fields::at(const std::string& name) const {
  if (const Field* field = find(name)) return *field;
  std::vector<std::string> names;
  for (const Field& field : fields_) names.push_back(field.name);
  throw InputError(
      fmt::format("there is no option '{}'; {}", name,
                  names.empty() ? "there are no options" : fmt::format("known: {}", fmt::join(names, ", "))));
}

void Fields::set(const std::string& name, const json& value) const { at(name).set(value); }

void Fields::set_text(const std::string& assignment) const {
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw InputError(fmt::format("'{}' is not of the form key=value", assignment));
  }
  set_given({{assignment.substr(0, equals), {assignment.substr(equals + 1)}}});
}

void Fields::set_given(const GivenFlags& given) const {
  for (const auto& [name, unused] : given) {
    if (const std::string& excluded = at(name).excluded; !excluded.empty()) at(excluded).set(nullptr);
  }
  for (const auto& [name, texts] : given) {
    const Field& field = at(name);
    if (field.is_list()) {
      json values = field.get();
      for (const std::string& text : texts) values.push_back(text);
      field.set(values);
    } else {
      field.set(field.type == "text" ? json(texts.back()) : value_of(texts.back()));
    }
  }
}

void Fields::validate() const {
  for (const Field& field : fields_) {
    field.set(field.get());
    if (field.excluded.empty() || field.get().is_null()) continue;
    if (const Field& other = at(field.excluded); !other.get().is_null())
      throw InputError(fmt::format("give {} or {}, not both", field.flag(), other.flag()));
  }
}

nlohmann::ordered_json Fields::to_json() const {
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
  for (const Field& field : fields_) object[field.name] = field.get();
  return object;
}

void Fields::from_json(const json& object) const {
  for (const auto& [name, value] : object.items()) set(name, value);
}

}  // namespace bilevel
