// Labelled rows for the known-answer problems on data: from files, or generated.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace bilevel {

/// Rows with their classes, dense, in double precision.
struct LabelledRows {
  torch::Tensor features;  ///< float64 [n, width]
  torch::Tensor classes;   ///< int64 [n], 0 to the number of classes - 1
  torch::Tensor numbers;  ///< int64 [n], from 1: a LIBSVM file's line, an IDX file's example, or the row made

  int64_t rows() const { return classes.size(0); }
};

/// Which files, and how much of them.
struct ProblemDataOptions {
  std::string train;         ///< a LIBSVM file, or with `train_labels` an IDX file of examples
  std::string train_labels;  ///< an IDX file of labels
  std::string valid;         ///< the same for the upper level; empty: rows are cut from `train`
  std::string valid_labels;
  int64_t train_rows = 0;  ///< at most; 0: all
  int64_t valid_rows = 0;  ///< at most; 0: all, or a fifth of the rows where they are cut from `train`
  uint64_t seed = 0;       ///< of the cut: which rows, and which go to the upper level
};

struct ProblemData {
  LabelledRows train, valid;
  std::vector<double> labels;  ///< what the files call the classes, ascending
};

/// Reads the rows: classes are the distinct labels of the training file, ascending. Without `valid` a random
/// part of the training file becomes the validation rows; a part of a file is always a random one. The
/// features stand as in the file, absent ones are 0. Throws InputError (naming file, and line or byte) for
/// all that the readers refuse, labels that are no whole numbers, fewer than two classes, a validation label
/// that no training row has, examples of different width, and rows that would take more than 4 GiB; FileError
/// when a file cannot be read.
ProblemData read_problem_data(const ProblemDataOptions& options);

/// Points of `classes` classes around random centres, always the same ones for the same sizes; n rows each
/// for training and validation.
ProblemData generated_problem_data(int64_t classes, int64_t width, int64_t train_rows, int64_t valid_rows);

/// Shifts and scales every feature to mean 0 and standard deviation 1 over the training rows; a constant one
/// becomes 0.
void standardize(ProblemData& data);

}  // namespace bilevel
