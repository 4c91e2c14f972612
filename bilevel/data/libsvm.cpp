#include "bilevel/data/libsvm.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>

#include "bilevel/core/number.h"
#include "bilevel/data/lines.h"

namespace bilevel {
namespace {

constexpr int64_t kLargestIndex = std::numeric_limits<int32_t>::max();

// Walks over the blank-separated tokens of a line.
class Tokens {
 public:
  explicit Tokens(std::string_view line) : line_(line.substr(0, line.find('#'))) {}

  bool next() {
    begin_ = line_.find_first_not_of(" \t\r", end_);
    if (begin_ == std::string_view::npos) return false;
    end_ = std::min(line_.find_first_of(" \t\r", begin_), line_.size());
    return true;
  }
  std::string_view token() const { return line_.substr(begin_, end_ - begin_); }
  int64_t column() const { return static_cast<int64_t>(begin_) + 1; }

 private:
  std::string_view line_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

double finite(const LineReader& lines, int64_t column, std::string_view text, const char* what) {
  const Number number = read_number(text);
  if (number.kind != CellKind::number)
    lines.fail(column, fmt::format("{} '{}' is not a finite number", what, text));
  return number.value;
}

int64_t read_index(const LineReader& lines, int64_t column, std::string_view text, int64_t previous) {
  int64_t index = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (stop != text.data() + text.size() || error == std::errc::invalid_argument) {
    lines.fail(column, fmt::format("'{}' is not a feature index", text));
  }
  if (error != std::errc() || index > kLargestIndex) {
    lines.fail(column, fmt::format("the feature index {} is larger than {}", text, kLargestIndex));
  }
  if (index < 1) lines.fail(column, fmt::format("the feature index is {}, but indices start at 1", index));
  if (index == previous) lines.fail(column, fmt::format("the feature index {} is repeated", index));
  if (index < previous) {
    lines.fail(column,
               fmt::format("the feature index {} follows {}, but indices must ascend", index, previous));
  }
  return index;
}

template <typename Value>
SparseTable read(const std::string& path, const LibsvmOptions& options) {
  LineReader lines(path);
  SparseTable table;
  table.path = path;
  SparseRowsBuilder<Value> builder;
  int64_t width = 0;
  bool labelled = true;
  while (lines.next()) {
    Tokens tokens(lines.text());
    if (!tokens.next()) continue;
    bool more = true;
    const bool has_label = tokens.token().find(':') == std::string_view::npos;
    if (table.lines.empty() && !options.labels_required) labelled = has_label;
    if (labelled) {
      if (!has_label) {
        lines.fail(tokens.column(),
                   fmt::format("the row starts with '{}' where its label should stand", tokens.token()));
      }
      table.labels.push_back(finite(lines, tokens.column(), tokens.token(), "the label"));
      more = tokens.next();
    }
    int64_t previous = 0;
    for (; more; more = tokens.next()) {
      const std::string_view token = tokens.token();
      const size_t colon = token.find(':');
      if (colon == std::string_view::npos) {
        lines.fail(tokens.column(), fmt::format("'{}' is not of the form index:value", token));
      }
      if (token.starts_with("qid:")) {
        lines.fail(tokens.column(), "query numbers (qid) belong to ranking files, which are not supported");
      }
      previous = read_index(lines, tokens.column(), token.substr(0, colon), previous);
      const int64_t column = tokens.column() + static_cast<int64_t>(colon) + 1;
      const std::string_view text = token.substr(colon + 1);
      const auto value = static_cast<Value>(finite(lines, column, text, "the value"));
      if (!std::isfinite(value))
        lines.fail(column, fmt::format("the value {} is too large for float32", text));
      builder.add_entry(previous - 1, value);
    }
    width = std::max(width, previous);
    builder.end_row();
    table.lines.push_back(lines.number());
  }
  if (table.lines.empty()) fail_at({path}, "holds no rows");
  table.features = builder.finish(width);
  return table;
}

}  // namespace

void SparseTable::keep_rows(const std::vector<size_t>& rows) {
  features = features.select({rows.begin(), rows.end()});
  for (size_t i = 0; i < rows.size(); ++i) {
    lines[i] = lines[rows[i]];
    if (!labels.empty()) labels[i] = labels[rows[i]];
  }
  lines.resize(rows.size());
  if (!labels.empty()) labels.resize(rows.size());
}

SparseTable read_libsvm(const std::string& path, const LibsvmOptions& options) {
  return options.double_precision ? read<double>(path, options) : read<float>(path, options);
}

}  // namespace bilevel
