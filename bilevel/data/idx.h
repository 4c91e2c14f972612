// Arrays in the IDX format, as MNIST and its kin are published.
#pragma once

#include <torch/types.h>

#include <string>

namespace bilevel {

/// The array in an IDX file, plain or gzipped (seen from the content): two zero bytes, a type (0x08 uint8,
/// 0x09 int8, 0x0B int16, 0x0C int32, 0x0D float32, 0x0E float64), the number of dimensions, the dimensions
/// (32 bits each) and the elements, all big-endian. The tensor has that type and shape. InputError with the
/// file and the offset of the offending byte, from 0 and of the unpacked content: a missing, empty or cut
/// file, another magic number or type, no dimension, an empty array, bytes after the last element, broken
/// gzip data. FileError when the system cannot read the file.
torch::Tensor read_idx(const std::string& path);

/// Examples and their classes.
struct LabelledArray {
  torch::Tensor examples;  ///< [n, ...] of the file's type
  torch::Tensor labels;    ///< int64 [n]
};

/// An IDX file of examples (two dimensions or more) and one of labels (one dimension, whole numbers >= 0).
/// InputError as above, and when the two differ in their number of rows.
LabelledArray read_labelled_idx(const std::string& examples, const std::string& labels);

}  // namespace bilevel
