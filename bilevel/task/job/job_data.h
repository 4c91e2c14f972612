// The files of a job: read, their rows numbered through, their features fitted.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/data/classes.h"
#include "bilevel/data/table_writer.h"
#include "bilevel/task/features.h"
#include "bilevel/task/job/job_options.h"

namespace bilevel {

/// One of the files of a job.
struct JobFile {
  std::string role;  ///< "train", "valid", "test", ...
  std::string path;
  DataFile file;
  int64_t offset = 0;      ///< of its first row among all rows
  int64_t unlabelled = 0;  ///< rows that were left out, since they have no label
  /// Labels that are read as another spelling of the same: spelling and the one that is read; and their rows.
  std::map<std::string, std::string> respelled = {};
  int64_t respelled_rows = 0;
  /// Classes that were left out with all their rows here, since the first file has too few: value and rows.
  std::vector<std::pair<std::string, int64_t>> rare = {};
};

/// Features of all rows, fitted on some of them.
struct FittedInputs {
  Inputs inputs;
  InputShape shape;
};

/// 0, 1, ..., `count` - 1.
std::vector<int64_t> all_rows(int64_t count);
/// At most `most` of the rows, evenly spaced; all of them where they are no more.
std::vector<int64_t> evenly(const std::vector<int64_t>& rows, int64_t most);
/// The entries of the given rows. @param values [all rows, ...]
torch::Tensor at_rows(const torch::Tensor& values, const std::vector<int64_t>& rows);

/// The options' choice of columns, for an encoder. (`JobFiles::fit` adds what it knows of the columns.)
FeatureOptions feature_options(const JobOptions& options, const std::string& encoder, int64_t max_length);

/// The files of a job in the order in which they were added; rows are numbered through all of them.
class JobFiles {
 public:
  /// Reads those of the files that are given, by role, as the options say; leaves out rows without a label and rows of
  /// small classes where they say so. Throws as the next.
  void add(const std::vector<std::pair<std::string, std::string>>& files, const JobOptions& options);
  /// Reads a file. Throws InputError and FileError as `read_data_file` does.
  const JobFile& add(const std::string& role, const std::string& path, const TableOptions& options);

  /// Of a last file that is the first one once more: leaves it these rows (ascending), and the first all others.
  /// @param of_other_classes whether the rows may be of classes that no other row has
  void hold_out(const std::vector<int64_t>& rows, bool of_other_classes = false);
  /// Decides how the columns of the first file are read, and takes a text that it finds into the options; nothing for a file
  /// without named columns. `own`: a job's own texts and columns that are no features. Throws as `plan_columns` does.
  void plan(JobOptions& options, ColumnChoice own);
  const std::optional<ColumnPlan>& column_plan() const { return plan_; }
  /// From now on features are those of texts by a sentence encoder, whose vectors all fits share.
  void take_sentences(SentenceFeatures sentences) { sentences_ = std::move(sentences); }
  const std::optional<SentenceFeatures>& sentences() const { return sentences_; }

  const std::vector<JobFile>& files() const { return files_; }
  int64_t rows() const;
  /// All rows of the files with this role; none when there is no such file.
  std::vector<int64_t> rows_of_role(const std::string& role) const;
  /// The file of a row and its number there.
  std::pair<const JobFile*, int64_t> source_of(int64_t row) const;
  /// Columns that say where rows stand: file and line.
  std::vector<Column> places(const std::vector<int64_t>& rows) const;
  /// The files that have some of the rows, with these.
  std::vector<FileRows> by_file(const std::vector<int64_t>& rows) const;
  /// What a person recognises a row by: its text, its cells, or its place in the file.
  std::string row_text(int64_t row, const std::string& text_column) const;
  /// Of everything that is read: the files, and the options' word vectors and sentence encoder.
  std::vector<std::string> paths(const JobOptions& options) const;

  /// The classes of all rows. Those of the first file are all there are, but for held-out rows of others: InputError for a label of a
  /// later file that the first lacks, and as `read_classes` does. `label` may be empty for LIBSVM files.
  ClassLabels classes(const std::string& label) const;

  /// Features fitted on the given rows, and the inputs they make of all rows. `seed` draws the vectors of
  /// words that the embedding file lacks. Throws as `Features::fit` does.
  std::pair<std::shared_ptr<const Features>, FittedInputs> fit(const FeatureOptions& options,
                                                               const std::vector<int64_t>& rows,
                                                               uint64_t seed) const;
  /// A sentence for each column of each later file in which there are categories that no training row has.
  std::vector<std::string> unseen_categories(const Features& features) const;

 private:
  void settle_spellings(const JobOptions& options);
  void leave_out_rare(const std::string& label, int64_t least);

  std::vector<JobFile> files_;
  bool other_classes_ = false;  // of the last file, see `hold_out`
  std::optional<ColumnPlan> plan_;
  std::optional<SentenceFeatures> sentences_;
};

/// Fewer rows of a class are too few to judge by: with 10 the standard error of a share is .16 at most.
inline constexpr int64_t kFewRows = 10;

/// Which rows serve what.
struct RowParts {
  std::vector<int64_t> train, valid, test;
};

/// Rows that are judged, and the others, by which a model judges them.
struct Fold {
  std::vector<int64_t> judged, others;
};

}  // namespace bilevel
