// Data sets with a known truth, for trying the jobs out and for tests: `bilevel data generate`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/core/fields.h"

namespace bilevel {

/// What is not given depends on the kind.
struct GenerateOptions {
  std::string kind;                     ///< cleaning | tuning | mixing | meta | imbalanced
  std::optional<int64_t> rows;          ///< training rows; 2,000 (tuning 400, meta 4,000, imbalanced 5,000)
  std::optional<int64_t> test_rows;     ///< as many as training rows (none for meta)
  std::optional<int64_t> trusted_rows;  ///< cleaning only: a tenth of the training rows
  std::optional<int64_t>
      valid_rows;  ///< tuning: half as many as training rows; mixing: target rows, twice as many
  std::optional<int64_t> classes;  ///< 4 (meta 30); cleaning and meta
  std::optional<int64_t> columns;  ///< numeric columns; 0: a text; 100 for tuning, 6 for mixing, else 0
  int64_t relevant = 10;           ///< columns that matter; tuning only
  int64_t domains = 0;             ///< meta only: >= 2: two classes that show in other words in each domain
  std::optional<double> noise;     ///< share of training labels that are wrong; 0.3 (tuning 0.05)
  double positive_share = 0.02;    ///< imbalanced only
  uint64_t seed = 0;

  /// All but the kind.
  void fields(Fields& fields);
};

struct GeneratedFile {
  std::string name;
  std::string content;
};

struct GeneratedSet {
  std::vector<GeneratedFile> files;  ///< the last one is truth.tsv
  std::vector<std::pair<std::string, std::string>> facts;
  std::string command;  ///< the words after `bilevel` that use the files; FOLDER stands for where they lie
};

/// The set that the options and the seed determine. No file but truth.tsv holds anything of the truth:
/// - "cleaning": train.tsv with `label` and `text` (or train.csv with `label`, x1, x2, ...), in which exactly the share
///   `noise` of the labels, rounded, was replaced by another class drawn evenly; trusted and test files without wrong
///   labels. A text of class c takes 3 of 10 words from three lists of the class (themes), the rest from a background
///   common to all; columns are normal around a mean of the class. truth.tsv: `row true_label given_label flipped`, one
///   line per training row, from 1.
/// - "tuning": train, valid and test.csv with `label` 0 or 1 and standard normal columns. label = 1 with probability
///   sigmoid(w x), w_j = +-(0.5 to 1.5) for `relevant` columns drawn at random and 0 for all others; then the share
///   `noise` of the training labels is flipped. truth.tsv: `column weight`.
/// - "mixing": sources.csv with `label` (yes, no), `source` (three, of `rows` rows each) and standard normal columns; target and
///   test.csv without `source`. Each source labels by weights of its own, w of length 4 in a direction drawn at random: yes with
///   probability sigmoid(w x). The target's rows are of the sources in shares drawn at random, which are the best weights.
///   truth.tsv: `source weight`.
/// - "meta": data.tsv with `label` and `text`. Every class mixes four themes of a stock of 60, so classes never seen
///   are new mixtures of known themes. truth.tsv: `class theme words`. With domains: `domain`, `label` (positive,
///   negative) and `text`, each (domain, label) a mixture of two themes of the label, one of its own, and
///   one that the other label has in the next domain, so that a domain must be learned anew;
///   truth.tsv: `domain class theme words`.
/// - "imbalanced": train and test.tsv with `class` (game, other) and `description` of `generated_corpus`, or .csv with
///   `class` and standard normal columns, the mean of the positive ones shifted by 1.5 along a direction drawn at
///   random. truth.tsv: `row log_odds` of the test rows, the best score there is.
/// Throws InputError for an unknown kind and impossible numbers.
GeneratedSet generate_data(const GenerateOptions& options);

}  // namespace bilevel
