// IDX images as rows with a label: one name for the file of images and the file of labels.
#pragma once

#include <string>
#include <vector>

#include "bilevel/data/libsvm.h"

namespace bilevel {

/// The files that the name of an IDX data file stands for.
struct IdxFiles {
  std::string images;
  std::string labels;  ///< empty: none
};

/// `IMAGES,LABELS`, or IMAGES alone: then the labels are in the file beside it whose name has `labels-idx1` where
/// this one has `images-idx` and a digit (train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz), with or without
/// .gz, if there is one. A name with a comma is parted at its last comma unless a file has the whole name.
IdxFiles idx_files(const std::string& name);

/// Every file that a data file's name stands for: two where the name is that of IDX images with labels, else
/// the name itself.
std::vector<std::string> files_behind(const std::string& name);

/// Reads images (two dimensions or more, the first counts the rows) and their labels (whole numbers >= 0) as
/// sparse rows: one column per element of an image, in row-major order, so pixel (i, j) of h x w is column i w + j
/// (from 0; LIBSVM's index is one more); values as in the file (0 to 255 for bytes). The `line` of a row is its
/// number, from 1. `path` is that of the images. Without a file of labels: `labels` is empty, or InputError where
/// `labels_required`. InputError as `read_labelled_idx` throws, and for a value that is not finite or too large for
/// float32 (byte offset).
SparseTable read_idx_rows(const std::string& name, const LibsvmOptions& options = {});

}  // namespace bilevel
