#include <algorithm>

#include "bilevel/report/escape.h"
#include "bilevel/task/column_plan.h"
#include "bilevel/task/describe/describer.h"
#include "bilevel/task/job/job_entry.h"
#include "bilevel/task/telling_column.h"

namespace bilevel {

bool Describer::feeds(size_t c) const {
  const DescribedColumn& column = d_.columns[c];
  if (column.type != ColumnKind::number && column.type != ColumnKind::date &&
      column.type != ColumnKind::category)
    return false;
  // A name with a comma cannot stand in a list.
  return !recognized_[c].infinite && column.name.find(',') == std::string::npos;
}

std::string Describer::words_of_features() const {
  const Table& table = std::get<Table>(file_);
  bool every = true;
  std::string features, categorical;
  for (size_t c = 0; c < d_.columns.size(); ++c) {
    const DescribedColumn& column = d_.columns[c];
    if (column.name == d_.label) continue;
    if (!feeds(c) || telling(table, c, recognized_[c], table.column(d_.label)).is_label) {
      every = false;
      continue;
    }
    features += (features.empty() ? "" : ",") + column.name;
    const bool mixed =
        column.type == ColumnKind::category && std::ranges::any_of(d_.doubts, [&](const Doubt& doubt) {
          return doubt.kind == "word_among_numbers" && doubt.column == column.name;
        });
    if (mixed) categorical += (categorical.empty() ? "" : ",") + column.name;
  }
  if (features.empty()) return "";
  return " --features " + (every ? "all" : shell_word(features)) +
         (categorical.empty() ? "" : " --categorical " + shell_word(categorical));
}

std::string Describer::words_of_data() const {
  const ReadOptions standard;
  std::string words = shell_word(d_.file);
  if (o_.read.format != standard.format) words += " --format " + d_.format;
  if (o_.read.header) words += *o_.read.header ? " --header" : " --no-header";
  if (o_.read.delimiter != standard.delimiter) words += " --delimiter " + shell_word(o_.read.delimiter);
  if (o_.read.encoding != standard.encoding) words += " --encoding " + shell_word(o_.read.encoding);
  if (!o_.read.missing.empty()) words += " --missing " + shell_word(o_.read.missing);
  if (d_.matrix) return words;
  const std::string read = d_.texts.empty() ? words_of_features() : " --text " + shell_word(d_.texts[0]);
  if (read.empty()) return "";
  const auto doubted = [&](const std::string& kind) {
    return std::ranges::any_of(d_.doubts, [&](const Doubt& doubt) { return doubt.kind == kind; });
  };
  return words + read + " --label " + shell_word(d_.label) +
         (doubted("missing_label") ? " --drop-unlabelled" : "") +
         (doubted("label_spelling") ? " --label-spelling keep" : "");
}

void Describer::suggest() {
  if (d_.label.empty() || d_.classes.size() < 2 || d_.rows < 10) return;
  if (static_cast<int64_t>(d_.classes.size()) > std::max<int64_t>(2, d_.rows / 3))
    return;  // numbers, not classes
  const std::string data = words_of_data();
  if (data.empty()) return;
  for (const JobEntry& entry : job_registry()) {
    std::optional<Suggestion> fitting = entry.suggest ? entry.suggest(d_) : std::nullopt;
    if (!fitting) continue;
    const std::unique_ptr<Job> job = entry.make();
    const std::string file = fields_of(*job).list().front().flag();
    fitting->command = entry.name + " " + file + " " + data + fitting->command;
    d_.suggestions.push_back(std::move(*fitting));
  }
}

}  // namespace bilevel
