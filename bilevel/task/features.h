// From the rows of a file to the inputs of a network: what every job does before it trains.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "bilevel/data/columns.h"
#include "bilevel/data/libsvm.h"
#include "bilevel/data/ngrams.h"
#include "bilevel/data/sparse_transform.h"
#include "bilevel/data/table.h"
#include "bilevel/data/tokenizer.h"
#include "bilevel/data/vocabulary.h"
#include "bilevel/model/network.h"
#include "bilevel/task/column_plan.h"
#include "bilevel/task/inputs.h"
#include "bilevel/task/sentence_features.h"

namespace bilevel {

/// A data file, read: a table (csv, tsv, jsonl), or rows of numbered columns (libsvm, idx).
using DataFile = std::variant<Table, SparseTable>;

/// Reads a file of any format; that of IDX images may be given as IMAGES,LABELS (see `idx_files`).
/// `labels_required` matters for files without named columns only. Throws InputError as the readers do.
DataFile read_data_file(const std::string& path, const TableOptions& options, bool labels_required = true);

int64_t rows_of(const DataFile& file);
Position position_of(const DataFile& file, int64_t row);

/// Rows of one file.
struct FileRows {
  const DataFile* file = nullptr;
  std::vector<int64_t> rows;  ///< in the file, from 0
};

/// Which columns are features, and how a network reads them.
struct FeatureOptions {
  std::string encoder = "bag";
  std::string text;                      ///< text column by name or number; empty: columns are features
  std::string pair;                      ///< a second text column, for pairs of texts; token encoders only
  std::vector<std::string> columns;      ///< feature columns; empty: see `plan_columns`
  std::string label;                     ///< its column is no feature; empty: none
  std::vector<std::string> excluded;     ///< further columns that are no features
  std::vector<std::string> categorical;  ///< see ColumnOptions
  const ColumnPlan* plan = nullptr;      ///< of the first file's columns, in place of the four before
  std::string embedding;                 ///< GloVe file for token encoders; empty: none
  bool all_words = false;    ///< words of the embedding file are known even where the rows lack them
  int64_t max_length = 256;  ///< tokens a row
  std::optional<SentenceFeatures> sentences;  ///< of the text; none: no sentence encoder
};

/// Features fitted on some rows and applicable to any file with the same columns: saved with a model, they
/// read new files.
class Features {
 public:
  /// Fits on the given rows. Tables: numeric and categorical columns are fitted on the first file's rows.
  /// `generator` draws the vectors of words that the embedding file lacks. Throws InputError for unknown
  /// columns, for a text encoder without a text column and the reverse, for sentences without a text or with an encoder that
  /// does not read their kind of inputs, and as the transforms do.
  static Features fit(const FeatureOptions& options, const std::vector<FileRows>& rows,
                      at::Generator& generator);

  /// Inputs for all rows of a file.
  Inputs apply(const DataFile& file) const;
  /// Inputs of the second texts of all rows of a file. Needs `FeatureOptions::pair`.
  Inputs apply_pair(const DataFile& file) const;
  /// See `ColumnTransform::unreadable`; nothing where no columns are read.
  std::vector<UnreadableCells> unreadable(const DataFile& file) const;
  /// See `ColumnTransform::unseen`; nothing where no columns are read.
  std::vector<UnseenCategories> unseen(const Table& table) const;
  /// What a network that reads them must be made for; with pretrained vectors only right after `fit`.
  const InputShape& shape() const { return shape_; }
  /// How many of the last inputs are the vector of a sentence encoder.
  int64_t sentence_columns() const { return sentences_ ? sentences_->width() : 0; }

  /// A name for every one of the `shape().width` inputs: columns by name, words of the vocabulary, LIBSVM indices,
  /// hashed n-grams by those of the given rows (see NgramHasher::names; empty where these rows have none), numbers of sentences
  /// by their place.
  std::vector<std::string> names(const std::vector<FileRows>& rows) const;

  /// State as JSON and tensors ("features.*").
  nlohmann::json to_json() const;
  std::map<std::string, torch::Tensor> tensors() const;
  /// Loads the sentence encoder too, where there is one. Throws FileError for what `to_json` and `tensors` did not give, and as
  /// `SentenceFeatures::from_json` does.
  static Features from_json(const nlohmann::json& state, const std::map<std::string, torch::Tensor>& tensors,
                            const SentenceSource& source = {});

  /// Facts for the report: {"vocabulary", "9,186 words"}, ...
  const std::vector<std::pair<std::string, std::string>>& facts() const { return facts_; }

 private:
  void fit_sentences(const FeatureOptions& options, const std::vector<FileRows>& rows);
  void fit_ngrams(const std::vector<FileRows>& rows);
  void fit_words(const FeatureOptions& options, const std::vector<FileRows>& rows, at::Generator& generator);
  void fit_sparse(const SparseTable& table, const std::vector<int64_t>& rows);
  void fit_table(const FeatureOptions& options, const Table& table, const std::vector<int64_t>& rows);
  Inputs tokens_of(const DataFile& file, const std::string& column) const;

  std::string text_column_, pair_column_;
  int64_t max_length_ = 256;
  std::variant<std::monostate, NgramHasher, Vocabulary, ColumnTransform, SparseTransform> transform_;
  std::optional<SentenceFeatures> sentences_;  // beside n-grams, or without a transform
  InputShape shape_;
  std::vector<std::pair<std::string, std::string>> facts_;
};

/// The texts of a column, which stay valid as long as the table. Rows: all, or the given ones.
std::vector<std::string_view> texts_of(const Table& table, const std::string& column);

}  // namespace bilevel
