// What a data file holds, and which of its rows deserve a look: `bilevel data describe`.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/core/names.h"
#include "bilevel/data/labels.h"
#include "bilevel/data/recognize.h"
#include "bilevel/task/job/job_options.h"

namespace bilevel {

struct DescribeOptions {
  ReadOptions read = {};
  std::string label;   ///< column that holds the class; empty: the likeliest one
  std::string text;    ///< column that holds a text; empty: every column that looks like one
  int64_t shown = 10;  ///< rows that are named for each kind of doubt, at most; the field "rows"

  void fields(Fields& fields);
};

/// Order statistics of the finite numbers of a column (quantiles interpolate linearly between ranks), or of the
/// lengths of its texts.
struct Spread {
  double least = 0, lower_quartile = 0, median = 0, upper_quartile = 0, most = 0;
  double mean = 0;
  double deviation = 0;  ///< the median absolute deviation from the median
  bool whole = false;    ///< all values are whole numbers
};

/// A value and its number of rows.
struct LabelCount {
  std::string value;
  int64_t rows = 0;
};

struct DescribedColumn {
  std::string name;
  ColumnKind type = ColumnKind::empty;  ///< by `recognize_columns`
  std::string notation;                 ///< of numbers, where it is not the plain one
  bool label_like = false;              ///< could hold the class: two or more values, each in several rows
  int64_t of_class =
      0;                ///< rows that its values have of each class, at least; 0 where it could hold no class
  int64_t missing = 0;  ///< cells
  int64_t distinct = 0;            ///< values, as they are read
  std::vector<LabelCount> values;  ///< the most frequent ones, at most 10 (no texts or identifiers)
  std::optional<Spread> numbers;   ///< where all cells are numbers
  std::optional<Spread> words;     ///< of texts: words a cell
};

/// Rows of numbered columns (libsvm, idx) as a whole.
struct DescribedMatrix {
  int64_t width = 0;
  int64_t entries = 0;                                                ///< that are not 0
  int64_t unused = 0, constant = 0, binary = 0, whole = 0, real = 0;  ///< columns; each counts once
  double least = 0, most = 0;                                         ///< over all cells, absent ones are 0
  Spread entries_a_row;
};

/// A row that deserves a look.
struct DoubtfulRow {
  int64_t line = 0;     ///< in the file; rows of IDX files count from 1
  int64_t earlier = 0;  ///< the line of the row that it is compared with; 0: none
  std::string value;    ///< what is doubtful there: the cell, the label; may be empty
};

struct Doubt {
  std::string kind;               ///< "duplicate", "conflict", ...; see `describe_data`
  std::string column;             ///< empty: the row as a whole
  int64_t count = 0;              ///< rows
  std::vector<DoubtfulRow> rows;  ///< the first of them
  std::string message;            ///< a sentence without the rows
};

/// A command that works on the file as it is; where it needs another file, that one is called TRUSTED.
struct Suggestion {
  std::string command;  ///< the words after `bilevel`, quoted for a shell
  std::string why;
};

struct DataDescription {
  std::string file;
  std::string format;
  bool gzipped = false;
  int64_t bytes = 0;  ///< of the file, as it is
  int64_t rows = 0;
  std::vector<DescribedColumn> columns;   ///< of a table
  std::optional<DescribedMatrix> matrix;  ///< of other files
  std::string label;                ///< column of the classes; "label" for libsvm and idx; empty: none found
  bool label_given = false;         ///< by the caller, or by the format
  std::vector<std::string> texts;   ///< text columns
  std::vector<LabelCount> classes;  ///< most frequent first; empty without label
  std::vector<Doubt> doubts;
  std::vector<Suggestion> suggestions;

  nlohmann::ordered_json to_json() const;
};

/// Reads the file and describes it. Kinds of doubts, in this order:
/// - "missing_label", "label_spelling" (labels that differ only in case or blanks), "rare_class" (fewer than 3 rows);
/// - "duplicate": the texts (or, without text, all columns but label and identifiers) equal those of an earlier row;
///   "conflict": so they do, and the labels differ;
/// - "empty_text"; "empty_row": every feature is missing, or no entry; "long_text": more than 10 median absolute
///   deviations and 3 times above the median of words; "cut_text": more than the 256 tokens that encoders read;
/// - "encoding": U+FFFD, control characters, or UTF-8 that was once read as Latin-1;
/// - "word_among_numbers", "infinite", "far_out_repeats": a number far from all others in several rows, which may mark a
///   missing value; "ambiguous_dates" (without rows); "far_out": a number more than 10 median absolute deviations from the median, in
///   at most 1 % of the rows (elsewhere it is a long tail, no doubt about rows).
/// Throws InputError as the readers do, for an unknown column and for a label column in which every cell is missing.
/// Cost: one pass over the cells and one sort a column.
DataDescription describe_data(const std::string& path, const DescribeOptions& options = {});
/// The description as a page of plain text for a terminal, at most about 110 columns wide.
std::string text_of(const DataDescription& description);

}  // namespace bilevel
