// The options that every job on data has. A job's own derive from them; their `fields` drive flags, help, validation,
// JSON and the tables of the pages.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/core/fields.h"
#include "bilevel/data/table.h"
#include "bilevel/model/network.h"
#include "bilevel/task/sentence_features.h"

namespace bilevel {

class JobFiles;
struct ClassLabels;

/// Headings of the flags in the help. Those under `kTrainingGroup` belong to one run of training: `compare` and `check`,
/// which train in their own way, leave them out.
inline constexpr const char* kDataGroup = "Data";
inline constexpr const char* kModelGroup = "Model";
inline constexpr const char* kTrainingGroup = "Training";

/// How data files are read.
struct ReadOptions {
  std::string format = "automatic";     ///< see `Format`
  std::optional<bool> header;           ///< not given: seen from the first row
  std::string delimiter = "automatic";  ///< see `delimiter_named`
  std::string encoding = "utf-8";       ///< see `encoding_named`
  std::string missing;                  ///< comma-separated list of texts that count as empty cells

  void fields(Fields& fields);
  TableOptions table() const;
};

/// What becomes of labels that differ in case, blanks or Unicode form alone.
enum class LabelSpelling { refuse, merge, keep };
template <>
struct NamesOf<LabelSpelling> {
  static constexpr const char* value[] = {"refuse", "merge", "keep"};
};

/// What a job uses where nothing is given.
struct JobDefaults {
  /// Options of the encoder; those that it does not have are left out.
  nlohmann::json network = nlohmann::json::object();
  double l2 = 0;
  int64_t batch_size = 512;
  int64_t steps = 0;  ///< 0: `epochs` decide
  double epochs = 0;
  int64_t threads = 0;  ///< 0: as many as the numerical library takes
  /// Fields of the solver; those that it does not have are left out.
  std::map<std::string, nlohmann::json> solver = {};
};

/// As the command line gives them. A job fills in what is not given (`resolve`) before it writes options.json; given to
/// another run, these options then mean the same.
struct JobOptions {
  std::string train, valid, test;  ///< files
  ReadOptions read;
  std::string text;                        ///< text column
  std::string features;                    ///< "all" or a comma-separated list of columns
  std::string categorical, numeric, drop;  ///< comma-separated lists of columns
  std::string label;                       ///< the column with the class
  bool drop_unlabelled = false;            ///< leave out rows without a label
  LabelSpelling label_spelling = LabelSpelling::refuse;
  std::optional<int64_t> min_rows;  ///< leave out classes with fewer rows in the training file
  std::string group;                ///< column whose values stay on one side of every cut
  std::string time;                 ///< column along which the parts are cut
  std::string encoder;              ///< a name of `encoder_registry()`
  // No options: the job's where none is given.
  std::string text_encoder = "bag";
  std::vector<std::string> column_encoders = {
      "linear"};                          ///< the first that reads the columns within the job's limits
  std::string vector_encoder = "linear";  ///< for a sentence encoder's vectors alone
  bool automatic = false;                 ///< whether the encoder was not given
  std::string sentence_encoder;           ///< see `sentence_encoder_folder`; empty: none
  int64_t sentence_layers = 3;            ///< see SentenceEncoder
  FeaturesFrom features_from = FeaturesFrom::ngrams_and_encoder;  ///< of the text, with a sentence encoder
  std::optional<int64_t> hidden, layers;
  std::vector<std::string> encoder_set;  ///< key=value for the encoder
  std::string embedding;                 ///< GloVe file
  bool train_embedding = false;          ///< update pretrained vectors too
  std::optional<double> l2;              ///< strength of the L2 term
  std::optional<int64_t> batch_size, threads;
  std::string device = "cpu";  ///< see `device_named`
  Precision precision = Precision::float32;
  std::string solver = "adambo";
  std::vector<std::string> set;  ///< key=value for the solver
  std::optional<double> epochs;
  std::optional<int64_t> steps;  ///< given after `resolve` where no epochs are
  std::optional<double> max_seconds;
  uint64_t seed = 0;
  std::optional<int64_t> folds;  ///< see cross_validation.h
  int64_t repeats = 1;
  /// The one run of a cross-validation that this is, 1 to folds * repeats: its fold has the test rows, all other rows of the training
  /// file are its training file. 0: all rows train, and test too.
  std::optional<int64_t> fold;

  virtual ~JobOptions() = default;
  /// All options, in the order of the help.
  virtual void fields(Fields& fields) = 0;
  nlohmann::ordered_json to_json() const;

  /// Checks every option by itself, and what is the same in every job: that the device is there, that there is a training
  /// file, the solver and its options. Throws InputError.
  void check();
  /// Takes an encoder where none is given, and all columns where neither text nor features are; once it is known whether a
  /// text is read: with a sentence encoder, the text encoder if that reads n-grams and these are joined, else the column encoder.
  void take_encoder();
  /// Takes what is not given from `defaults`, and makes the network's options. A ThreadCountScope of `threads` is the job's
  /// to hold. Throws InputError.
  NetworkOptions resolve(const JobDefaults& defaults);
  /// Notes width and depth of the network that was made.
  void note(const NetworkOptions& network);

  /// Steps of a run over `rows` rows, by `steps` or `epochs`.
  int64_t steps_for(int64_t rows, int64_t rows_a_step) const;
  /// The classes whose shares are the same in every fold, of the first file's rows at least.
  virtual ClassLabels strata(const JobFiles& files) const;
  /// Whether each of these classes lies in one fold as a whole: the test rows are then of classes that are not trained on.
  virtual bool holds_out_classes() const { return false; }
  double seconds_allowed() const { return max_seconds.value_or(std::numeric_limits<double>::infinity()); }
  torch::Device torch_device() const;

 protected:
  void column_fields(Fields& fields);
  /// group and time: of jobs that cut rows.
  void cut_fields(Fields& fields);
  /// encoder to device. `l2_meaning`: what the strength is of; `batches`: whether batches are of rows.
  void model_fields(Fields& fields, const std::string& l2_meaning, bool batches = true);
  /// solver to fold.
  void training_fields(Fields& fields);

 private:
  void check_folds();
};

/// Throws InputError "field = value: rule".
[[noreturn]] void refuse_option(const std::string& field, const std::string& value, const std::string& rule);

/// The parts of a comma-separated list; none for an empty text. A part with a comma stands in quotes ("a,b",c), its own quotes
/// doubled. Throws InputError for a quote that is never closed.
std::vector<std::string> split_list(const std::string& text);

/// Shares of the parts that are cut from the training file: {train, valid, test}, with sum 1, and 0 for a part
/// with a file of its own. `split` is "T,V,S"; an empty one is filled in: a fifth for testing, and `valid_share` of the rest for
/// validation. Throws InputError for anything else, and for a share that contradicts a file.
std::vector<double> part_shares(std::string& split, double valid_share, const JobOptions& options);

}  // namespace bilevel
