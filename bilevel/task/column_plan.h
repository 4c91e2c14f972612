// Which columns of a table a job reads, as what, and which it leaves out and why.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/data/recognize.h"
#include "bilevel/data/table.h"

namespace bilevel {

/// What a person says of the columns; names or numbers.
struct ColumnChoice {
  std::vector<std::string> features;  ///< these alone are features; empty: all but those that are left out
  std::vector<std::string> drop, categorical, numeric;
  std::vector<std::string> texts;                   ///< read as texts: then nothing else is a feature
  std::string label;                                ///< empty: none
  std::vector<std::string> excluded;                ///< serve something else (groups, domains)
  std::vector<std::string> excluded_if_there = {};  ///< likewise, of which this table may have none
  std::string positive = {};  ///< a label: what tells it from all others tells the label; empty: none
};

/// The median number of words from which a text beside other columns is not taken for a name or an address.
inline constexpr double kLongText = 8;

enum class ColumnUse { feature, text, label, other, left_out };
template <>
struct NamesOf<ColumnUse> {
  static constexpr const char* value[] = {"feature", "text", "label", "other", "left out"};
};

struct PlannedColumn {
  RecognizedColumn column;
  ColumnUse use = ColumnUse::left_out;
  std::string why;  ///< why it is left out
};

/// One entry a column of the table.
struct ColumnPlan {
  std::vector<PlannedColumn> columns;

  std::vector<size_t> indices(ColumnUse use) const;
  std::vector<RecognizedColumn> recognized() const;
  /// One line for each kind of columns that are read, with names, notations and missing cells; one for what is left out, by
  /// reason; one for each doubt.
  std::vector<std::string> lines() const;
  /// [{name, kind, use, why, reading, missing, marks, distinct, doubt}].
  nlohmann::ordered_json to_json() const;
};

/// Plans the columns of the training table. Without `features` and `texts`:
/// - identifiers, constants, empty and nested columns are left out;
/// - where there is one text and no other feature, it is read as the text; a text beside other features is left out where
///   its cells have fewer than `kLongText` words; InputError for others and for several texts, which names the flags.
/// A doubt is noted of a feature each of whose values goes with one label, or a threshold of which tells the label, where that is no
/// chance. InputError for unknown columns, contradictions, and a feature that is not named and is the label in other words (one value
/// a label, or filled in the rows of one label alone).
ColumnPlan plan_columns(const Table& table, const ColumnChoice& choice);

}  // namespace bilevel
