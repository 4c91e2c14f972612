// The rows of a file that a model is to predict, and the table of its predictions: every row gets one.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/data/table_writer.h"
#include "bilevel/task/job/job_entry.h"
#include "bilevel/task/job/saved_model.h"

namespace bilevel {

/// The model of a request. Throws as `load_model` does.
SavedModel model_of(const PredictRequest& request);

/// What a file to predict says of the classes of its rows.
struct KnownLabels {
  bool given = false;  ///< whether it has labels at all
  std::vector<int64_t>
      classes;                ///< per row, an index into the classes that the model knows; -1: none of them
  std::vector<int64_t> rows;  ///< those of a known class
};

/// The file of a request. A cell that the model cannot read, a word where it reads numbers or infinity, counts as missing, and
/// a label that it does not know as none; both are counted. With `PredictRequest::strict` they are refused.
class PredictedRows {
 public:
  /// Reads the file. Throws InputError as `read_input` does, for a column to keep that there is not, and what is told above.
  PredictedRows(const SavedModel& model, const PredictRequest& request);

  const DataFile& file() const { return file_; }
  int64_t rows() const { return rows_of(file_); }

  /// The labels, in terms of known classes. `origin` names where those stand.
  KnownLabels labels(const std::vector<std::string>& known, const std::string& origin = "the model");
  /// The values of the label column, each once; none where the file has no labels.
  std::vector<std::string> label_values() const;

  /// Adds the column that the request's `explain` asks for. @param outputs of the network, per row
  void explain(Network& network, const Features& features, const Inputs& inputs,
               const std::vector<int64_t>& outputs, std::vector<Column>& columns) const;

  /// A line for the summary's warnings.
  void warn(const std::string& line) { warnings_.push_back(line); }

  /// Writes the table to the request's `out`: the columns to keep, row (from 1), `columns` and, where the file has labels,
  /// label: the names of the classes, or nothing. The summary gets warnings, and what was counted.
  /// @param text what a person reads
  Prediction finish(std::vector<Column> columns, const KnownLabels& labels,
                    const std::vector<std::string>& names, nlohmann::ordered_json summary,
                    const std::string& text);

 private:
  void keep(const std::vector<std::string>& columns);
  void empty_unreadable(const Features& features);
  std::string about_labels() const;
  /// What was counted, in a sentence; empty where there is nothing.
  std::string sentence() const;

  const PredictRequest& request_;
  std::string label_;
  bool merges_spellings_ = false;  // as the training did
  DataFile file_;
  std::vector<Column> kept_;
  std::vector<std::pair<std::string, std::pair<int64_t, std::string>>> emptied_;  // column; cells, the first
  std::vector<UnseenCategories> unseen_;
  int64_t unlabelled_ = 0;
  std::map<std::string, int64_t> unknown_;  // labels
  std::vector<std::string> warnings_;
};

}  // namespace bilevel
