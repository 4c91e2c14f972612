// Which rows the training, validation and test tasks of `bilevel meta` are drawn from.
#pragma once

#include <string>
#include <vector>

#include "bilevel/task/job/job_data.h"
#include "bilevel/task/meta/episodes.h"
#include "bilevel/task/meta/meta_options.h"

namespace bilevel {

/// Three disjoint parts.
struct MetaParts {
  std::vector<TaskGroup> train, valid, test;
  std::vector<std::string> classes;  ///< names of all classes
  std::vector<int64_t> labels;       ///< of every row, an index into `classes`
  std::string units;                 ///< what divides them: "classes", "domains" or "rows"

  /// Every row of the training part.
  std::vector<int64_t> train_rows() const;
};

/// The parts are divided by
/// - classes (the usual case): every class belongs to one part;
/// - domains, with `domain`: every domain belongs to one part, the classes of a task are the labels of one domain;
/// - rows, with a test file of its own: all parts have all classes (and domains); validation rows, without a file of
///   their own, are a tenth of the training file's different texts (rows that share a text stay together).
/// A fold holds test rows of classes (domains) of their own.
/// The lists of the options name classes or domains. A part without list: for testing and validation each a fifth of
/// what the other lists leave (enough classes for a task), drawn from the seed; for training the rest.
/// Throws InputError for an unknown or missing column, an unknown name, overlapping lists, lists beside a test file,
/// a missing domain, and a part that nothing is left for.
MetaParts meta_parts(const MetaJobOptions& options, const JobFiles& files);

}  // namespace bilevel
