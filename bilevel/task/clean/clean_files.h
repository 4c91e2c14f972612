// What `bilevel clean` leaves to act on.
#pragma once

#include <nlohmann/json.hpp>

#include "bilevel/task/clean/clean_method.h"

namespace bilevel {

/// suspicious.tsv: the suspicious rows, the least probable label first: file, line, the row's own cells (without its label; a
/// LIBSVM row's entries in one column), label, suggested_label, probability.
void write_suspicious(const CleanSetup& setup, const Cleaned& cleaned);

/// cleaned.<format>: the training file, byte for byte (unpacked), but for its suspicious rows: their labels are the suggested
/// ones, or they are left out, as the options say. Injected noise stays in the other rows. Nothing for IDX images. Returns
/// {file, labels_changed, rows_left_out}, or null.
nlohmann::ordered_json write_cleaned(const CleanSetup& setup, const Cleaned& cleaned);

}  // namespace bilevel
