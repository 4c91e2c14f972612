#include "bilevel/task/generate/generate.h"

#include <fmt/format.h>

#include <algorithm>

#include "bilevel/core/error.h"
#include "bilevel/task/generate/parts.h"

namespace bilevel {
namespace {

struct Kind {
  const char* name;
  GenerateOptions defaults;
  GeneratedSet (*generate)(const GenerateOptions&);
};

const Kind& kind_named(const std::string& name) {
  static const Kind kKinds[] = {
      {"cleaning", {.rows = 2000, .classes = 4, .columns = 0, .noise = 0.3}, generate_cleaning},
      {"tuning", {.rows = 400, .classes = 4, .columns = 100, .noise = 0.05}, generate_tuning},
      {"mixing", {.rows = 2000, .classes = 4, .columns = 6, .noise = 0.3}, generate_mixing},
      {"meta", {.rows = 4000, .classes = 30, .columns = 0, .noise = 0.3}, generate_meta},
      {"imbalanced", {.rows = 5000, .classes = 4, .columns = 0, .noise = 0.3}, generate_imbalanced}};
  for (const Kind& kind : kKinds) {
    if (kind.name == name) return kind;
  }
  throw InputError(
      fmt::format("unknown kind '{}'; the kinds are cleaning, tuning, mixing, meta and imbalanced", name));
}

void require(bool holds, const char* name, int64_t value, const std::string& rule) {
  if (!holds) throw InputError(fmt::format("{} = {}: {}", name, value, rule));
}

/// The options with their defaults filled in.
GenerateOptions completed(GenerateOptions o) {
  const GenerateOptions& defaults = kind_named(o.kind).defaults;
  fields_of(o).validate();
  const bool cleaning = o.kind == "cleaning", tuning = o.kind == "tuning", mixing = o.kind == "mixing";
  if (!o.rows) o.rows = defaults.rows;
  if (!o.classes) o.classes = defaults.classes;
  if (!o.columns) o.columns = defaults.columns;
  if (!o.noise) o.noise = defaults.noise;
  if (!o.test_rows) o.test_rows = o.rows;
  if (!o.trusted_rows) o.trusted_rows = std::max<int64_t>(*o.rows / 10, 1);
  if (!o.valid_rows && mixing) o.valid_rows = 2 * *o.rows;
  if (!o.valid_rows) o.valid_rows = std::max<int64_t>(*o.rows / 2, 1);
  const int64_t most_classes = std::min(cleaning && *o.columns == 0 ? kThemes / 3 : 1000, *o.rows);
  require(*o.classes <= most_classes, "classes", *o.classes, fmt::format("must be 2 to {}", most_classes));
  require(!tuning || *o.columns > 0, "columns", *o.columns, "must be at least 1 for tuning");
  require(!mixing || *o.columns > 1, "columns", *o.columns, "must be at least 2 for mixing");
  require(o.kind != "meta" || *o.columns == 0, "columns", *o.columns, "must be 0: meta sets hold texts");
  require(!tuning || o.relevant <= *o.columns, "relevant", o.relevant, "must be 1 to the number of columns");
  require(o.domains != 1, "domains", o.domains, "must be 0, or 2 to 28");
  return o;
}

}  // namespace

void GenerateOptions::fields(Fields& f) {
  const auto count = [&f](const char* name, auto& value, double least, const char* meaning) -> Field& {
    return f.integer(name, value, {.low = least}, meaning).as("N");
  };
  count("rows", rows, 20, "training rows; mixing: of each source").or_else("by kind");
  count("test_rows", test_rows, 1, "test rows").or_else("as many");
  count("trusted_rows", trusted_rows, 1, "cleaning: rows with right labels").or_else("a tenth");
  count("valid_rows", valid_rows, 1, "tuning: validation rows; mixing: target rows")
      .or_else("half as many, for mixing twice");
  count("classes", classes, 2, "cleaning and meta: classes").or_else("4, for meta 30");
  count("columns", columns, 0, "numeric columns; 0: a text").or_else("0, for tuning 100, for mixing 6");
  count("relevant", relevant, 1, "tuning: columns that matter");
  f.integer("domains", domains, {.low = 0, .high = 28},
            "meta: two classes in each of N domains instead of many classes")
      .as("N");
  f.number("noise", noise, {.low = 0, .high = 1, .high_open = true}, "share of wrong training labels")
      .as("R")
      .or_else("0.3, for tuning 0.05");
  f.number("positive_share", positive_share, {.low = 0, .high = 1, .low_open = true, .high_open = true},
           "imbalanced: share of positive rows")
      .as("R");
  f.integer("seed", seed, kNonNegative, "seed of all randomness").as("N");
}

GeneratedSet generate_data(const GenerateOptions& options) {
  return kind_named(options.kind).generate(completed(options));
}

}  // namespace bilevel
