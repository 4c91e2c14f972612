#include <algorithm>

#include "bilevel/report/escape.h"
#include "bilevel/task/describe/describer.h"
#include "bilevel/task/job/job_entry.h"

namespace bilevel {

std::string Describer::words_of_data() const {
  std::string words = shell_word(d_.file) + (o_.read.format == "automatic" ? "" : " --format " + d_.format) +
                      (!o_.read.header   ? ""
                       : *o_.read.header ? " --header"
                                         : " --no-header");
  if (d_.matrix) return words;
  if (!d_.texts.empty()) {
    words += " --text " + shell_word(d_.texts[0]);
  } else {
    bool every = true;
    std::string features, categorical;
    for (const DescribedColumn& column : d_.columns) {
      if (column.name == d_.label) continue;
      if (column.type == ColumnKind::identifier || column.type == ColumnKind::constant ||
          column.type == ColumnKind::empty || column.type == ColumnKind::text ||
          column.type == ColumnKind::nested) {
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
    words += " --features " + (every ? "all" : shell_word(features));
    if (!categorical.empty()) words += " --categorical " + shell_word(categorical);
  }
  return words + " --label " + shell_word(d_.label);
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
