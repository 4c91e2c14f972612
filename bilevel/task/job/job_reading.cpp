// What a job says of its files before it trains.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "bilevel/core/error.h"
#include "bilevel/core/number.h"
#include "bilevel/data/delimiter.h"
#include "bilevel/task/job/job_run.h"

namespace bilevel {

void JobSetup::read(JobOptions& options, std::vector<std::pair<std::string, std::string>> files,
                    ColumnChoice own, bool whole_groups) {
  context_.say("reading " + options.train);
  if (options.fold) {
    options.test = options.train;
    std::erase_if(files, [](const auto& file) { return file.first == "test"; });
    files.emplace_back("test", options.test);
  }
  files_.add(files, options);
  const bool table = std::holds_alternative<Table>(files_.files()[0].file);
  if (table && options.label.empty())
    throw InputError("--label COL is missing: which column holds the class?");
  const std::span told(files_.files().data(), files_.files().size() - (options.fold ? 1 : 0));
  for (const JobFile& file : told) tell_reading(file, options.label);
  for (const JobFile& file : told) tell_labels(file, options.label);
  const bool text_given = !options.text.empty();
  for (const std::string& column : {options.group, options.time}) {
    if (!table && !column.empty())
      throw InputError(fmt::format("{}: has no named columns, so no column {}", options.train, column));
    if (!column.empty()) own.excluded.push_back(column);
  }
  files_.plan(options, std::move(own));
  options.take_encoder();
  take_sentences(options);
  find_units(options, whole_groups);
  if (options.fold.value_or(0) > 0) {
    hold_out_fold(options);
    find_units(options, whole_groups);
  }
  if (options.fold == 0)
    note(
        "the test rows are those that trained: the figures say how well the model fits them, not how good it "
        "is on others");
  tell_units(options);
  if (!files_.column_plan()) return;
  context_.say(fmt::format("columns of {}:", options.train));
  for (const std::string& line : files_.column_plan()->lines()) context_.say(line);
  if (!text_given && !options.text.empty())
    context_.say(fmt::format("column '{}' is read as a text (--text '{}')", options.text, options.text));
  (*context_.found)["columns"] = files_.column_plan()->to_json();
}

void JobSetup::take_sentences(const JobOptions& options) {
  if (options.sentence_encoder.empty()) return;
  const auto encoder = std::make_shared<SentenceEncoder>(options.sentence_encoder, options.torch_device(),
                                                         options.sentence_layers);
  encoder->tell = [context = context_, name = options.sentence_encoder](int64_t texts) {
    context.say(fmt::format("encoding {} texts by the sentence encoder {}", texts, name));
  };
  files_.take_sentences({encoder, options.features_from});
}

void JobSetup::find_units(const JobOptions& options, bool whole_groups) {
  std::vector<ReadColumn> columns;
  bool columns_only = true;
  if (const auto& plan = files_.column_plan()) {
    for (const ColumnUse use : {ColumnUse::feature, ColumnUse::text}) {
      for (const size_t i : plan->indices(use)) {
        const RecognizedColumn& column = plan->columns[i].column;
        columns.push_back({column.name, column.reading});
        if (use == ColumnUse::text) columns.back().reading.as = CellReading::category;
        columns_only = columns_only && use == ColumnUse::feature;
      }
    }
  }
  units_ = row_units(files_, columns, whole_groups ? options.group : "", columns_only);
}

void JobSetup::tell_units(const JobOptions& options) {
  if (units_.copies > 0) {
    context_.say(fmt::format("{}: {} rows hold the same as an earlier one in what is read", options.train,
                             units_.copies));
  }
  if (units_.ungrouped > 0)
    note(
        fmt::format("{} rows have no value of {}: they belong to no group", units_.ungrouped, options.group));
  for (const auto& [roles, count] : units_.repeated) {
    const auto& [role, first] = roles;
    const auto known = std::ranges::find(files_.files(), first, &JobFile::role);
    note(fmt::format("{} of {} {} rows hold the same as rows of {} in what is read: they are no new rows",
                     count, files_.rows_of_role(role).size(), role, known->path));
  }
}

namespace {

/// "1 of 'yes'", of the classes with few rows among these, the fewest first, five at most; empty where there is none.
std::string few_rows(const std::vector<int64_t>& rows, const std::vector<int64_t>& classes,
                     const std::vector<std::string>& names) {
  std::vector<int64_t> counts(names.size(), 0);
  for (const int64_t row : rows) ++counts[static_cast<size_t>(classes[static_cast<size_t>(row)])];
  std::vector<std::pair<int64_t, std::string>> few;
  for (size_t i = 0; i < names.size(); ++i) {
    if (counts[i] < kFewRows) few.emplace_back(counts[i], fmt::format("{} of '{}'", counts[i], names[i]));
  }
  std::ranges::stable_sort(few, {}, &std::pair<int64_t, std::string>::first);
  std::string text;
  constexpr size_t kNamed = 5;
  for (size_t i = 0; i < std::min(kNamed, few.size()); ++i) text += (i > 0 ? ", " : "") + few[i].second;
  if (few.size() > kNamed) text += fmt::format(" and few of {} more", few.size() - kNamed);
  return text;
}

}  // namespace

std::vector<int64_t> JobSetup::unit_numbers(const std::vector<int64_t>& rows) const {
  if (units_.unit_of.empty()) return {};
  std::vector<int64_t> units;
  for (const int64_t row : rows) units.push_back(units_.unit_of[static_cast<size_t>(row)]);
  return units;
}

void JobSetup::note_few_rows(const RowParts& parts, const std::vector<int64_t>& classes,
                             const std::vector<std::string>& names) {
  std::string found;
  for (const auto& [part, rows] : {std::pair{"validation", &parts.valid}, {"test", &parts.test}}) {
    const std::string few = few_rows(*rows, classes, names);
    if (few.empty()) continue;
    found += fmt::format("{}the {} {} rows hold {}", found.empty() ? "" : "; ", rows->size(), part, few);
  }
  if (found.empty()) return;
  note(
      fmt::format("few rows to judge by: {}. What is chosen by so few, and measured on them, is mostly "
                  "chance: another --seed may "
                  "tell something else",
                  found));
}

/// How a file was read, where a person may not expect it.
void JobSetup::tell_reading(const JobFile& file, const std::string& label) {
  if (!file.rare.empty()) {
    std::string classes;
    for (const auto& [name, rows] : file.rare)
      classes += fmt::format("{}'{}' ({})", classes.empty() ? "" : ", ", name, rows);
    note(fmt::format("{}: classes with fewer rows than --min-rows in the training file are left out: {}",
                     file.path, classes));
  }
  if (!file.respelled.empty()) {
    std::string spellings;
    for (const auto& [text, usual] : file.respelled)
      spellings += fmt::format("{}'{}' as '{}'", spellings.empty() ? "" : ", ", text, usual);
    note(fmt::format("{}: {} labels are read in another spelling: {}", file.path, file.respelled_rows,
                     spellings));
  }
  const auto* table = std::get_if<Table>(&file.file);
  if (table == nullptr) return;
  if (!table->has_usual_delimiter())
    context_.say(fmt::format("{}: fields stand between {}s", file.path, delimiter_name(table->delimiter())));
  if (file.unlabelled > 0)
    note(fmt::format("{}: {} row{} without a label {} left out", file.path, file.unlabelled,
                     file.unlabelled == 1 ? "" : "s", file.unlabelled == 1 ? "is" : "are"));
  const std::optional<size_t> column = table->find_column(label);
  const int64_t count = column ? cells_with_blanks(*table, *column) : 0;
  if (count == 0) return;
  context_.say(fmt::format("{}: {} label{} had blanks around {}, which are left out", file.path, count,
                           count == 1 ? "" : "s", count == 1 ? "it" : "them"));
}

/// Counts the labels of a file; notes spellings, refuses numbers that are none of classes.
void JobSetup::tell_labels(const JobFile& file, const std::string& label) {
  const auto* table = std::get_if<Table>(&file.file);
  const ClassLabels labels = table != nullptr ? read_classes(*table, table->column(label), /*least=*/1)
                                              : read_classes(std::get<SparseTable>(file.file), /*least=*/1);
  const auto count = static_cast<int64_t>(labels.names.size());
  const auto is = [&](auto belongs) {
    return std::ranges::all_of(labels.names, [&](const std::string& name) {
      const Number number = read_number(name);
      return number.kind == CellKind::number && belongs(number.value);
    });
  };
  constexpr int64_t kFractions = 50;
  if (&file == &files_.files().front() && count > 20 && is([](double) { return true; }) &&
      (2 * count > labels.rows() ||
       (count > kFractions && !is([](double v) { return v == std::floor(v); })))) {
    fail_at({file.path},
            fmt::format("the label{} holds {} different numbers in {} rows; to predict numbers (regression) "
                        "is not offered: the label must be a class",
                        table == nullptr ? "" : fmt::format(" (column '{}')", label), count, labels.rows()));
  }
  context_.say(fmt::format("labels of {}: {}", file.path, describe_classes(labels)));
  for (const std::string& line : labels.notes) note(file.path + ": " + line);
  auto& counts = (*context_.found)["labels"][file.role];
  for (size_t i = 0; i < labels.names.size(); ++i) counts[labels.names[i]] = labels.counts[i];
}

}  // namespace bilevel
