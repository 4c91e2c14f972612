// How data files are written, and what their names tell of it.
#pragma once

#include <string>

#include "bilevel/core/names.h"

namespace bilevel {

/// How a data file is written. `automatic` goes by the file's name: .csv, .tsv, .jsonl or .ndjson, .libsvm or
/// .svm, .idx or IDX's customary endings (-idx3-ubyte, .idx3-ubyte), each also with .gz or .zst behind it. Whether a
/// file is packed is seen from its content.
enum class Format { automatic, csv, tsv, jsonl, libsvm, idx };
template <>
struct NamesOf<Format> {
  static constexpr const char* value[] = {"automatic", "csv", "tsv", "jsonl", "libsvm", "idx"};
};

/// `format`, or where that is `automatic` the format that the name of `path` tells. InputError when it tells
/// none, with how to convert a file of another program.
Format format_of(const std::string& path, Format format = Format::automatic);

}  // namespace bilevel
