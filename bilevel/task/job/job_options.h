// The options that every job on data has, and how they are checked.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "bilevel/data/table.h"

namespace bilevel {

/// As the command line gives them. Empty or zero means: not given, take the default.
struct JobOptions {
  std::string train, valid, test;    ///< files
  std::string format = "automatic";  ///< of all files, see `Format`
  std::string header = "automatic";  ///< automatic | yes | no
  std::string text;                  ///< text column
  std::string features;              ///< "all" or a comma-separated list of columns
  std::string categorical;           ///< comma-separated list of columns
  std::string label;                 ///< the column with the class
  std::string encoder;               ///< a name of `encoder_registry()`
  int64_t hidden = 0, layers = 0;
  std::string embedding;         ///< GloVe file
  bool train_embedding = false;  ///< update pretrained vectors too
  std::string solver = "adambo";
  std::vector<std::string> set;  ///< key=value for the solver
  double epochs = 0;
  int64_t steps = 0, batch_size = 0;
  double max_seconds = 0;
  double l2 = -1;  ///< strength of the L2 term; negative: the default
  uint64_t seed = 0;
  int64_t threads = 0;
  std::string device = "cpu";  ///< cpu | cuda
};

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(JobOptions, train, valid, test, format, header, text,
                                                features, categorical, label, encoder, hidden, layers,
                                                embedding, train_embedding, solver, set, epochs, steps,
                                                batch_size, max_seconds, l2, seed, threads, device)

/// JSON for a struct that derives from JobOptions: the members of both, in one object; an absent one keeps its
/// default.
#define BILEVEL_JOB_OPTIONS_JSON(Type, ...)                                                 \
  inline void to_json(nlohmann::json& nlohmann_json_j, const Type& nlohmann_json_t) {       \
    nlohmann_json_j = static_cast<const ::bilevel::JobOptions&>(nlohmann_json_t);           \
    NLOHMANN_JSON_EXPAND(NLOHMANN_JSON_PASTE(NLOHMANN_JSON_TO, __VA_ARGS__))                \
  }                                                                                         \
  inline void from_json(const nlohmann::json& nlohmann_json_j, Type& nlohmann_json_t) {     \
    const Type nlohmann_json_default_obj{};                                                 \
    from_json(nlohmann_json_j, static_cast<::bilevel::JobOptions&>(nlohmann_json_t));       \
    NLOHMANN_JSON_EXPAND(NLOHMANN_JSON_PASTE(NLOHMANN_JSON_FROM_WITH_DEFAULT, __VA_ARGS__)) \
  }

/// Throws InputError "field = value: rule".
[[noreturn]] void refuse_option(const std::string& field, const std::string& value, const std::string& rule);

/// Throws InputError when `value` is not among `known`.
void check_one_of(const std::string& field, const std::string& value, const std::set<std::string>& known);

/// Throws InputError for a negative number, an infinite one and NaN.
void check_not_negative(const std::string& field, double value);

/// Throws InputError for options that are impossible by themselves.
void check_job_options(const JobOptions& options);

/// The parts of a comma-separated list; none for an empty text.
std::vector<std::string> split_list(const std::string& text);

/// automatic | yes | no as `TableOptions::header`. Throws InputError for another word.
std::optional<bool> header_named(const std::string& name);

/// How the job's files are read.
TableOptions table_options(const JobOptions& options);

/// Shares of the parts that are cut from the training file: {train, valid, test}, with sum 1, and 0 for a part
/// with a file of its own. `split` is "T,V,S" or empty: then a fifth for testing, and 15 % of the rest for
/// validation. Throws InputError for anything else, and for a share that contradicts a file.
std::vector<double> part_shares(const std::string& split, const JobOptions& options);

}  // namespace bilevel
