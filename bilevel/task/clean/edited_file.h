// A data file with other labels in some rows, or without some rows; all else is what it was, byte for byte.
#pragma once

#include <functional>
#include <string>

#include "bilevel/core/files.h"
#include "bilevel/data/format.h"
#include "bilevel/task/features.h"

namespace bilevel {

/// What becomes of a row of a file.
struct RowEdit {
  bool left_out = false;
  std::string label;  ///< its new label; empty: it keeps its own
};

/// Hands over the text of the file that was read, unpacked, in UTF-8 and without a byte order mark, with its rows edited. New labels are
/// written as the old ones were: quoted, as a number, or plain.
/// @param label the column of the labels, of a table
/// @param read how it was read; its format is any but idx
/// @param edit of a row; asked once for each, in their order
/// Throws as reading the file does.
void edit_file(const DataFile& file, const std::string& label, const TableOptions& read,
               const std::function<RowEdit(size_t row)>& edit, const TextSink& take);

}  // namespace bilevel
