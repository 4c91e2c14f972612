#include "bilevel/task/job/job_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "bilevel/core/error.h"
#include "bilevel/core/number.h"
#include "bilevel/core/streams.h"
#include "bilevel/data/delimiter.h"
#include "bilevel/data/split.h"

namespace bilevel {

void JobSetup::note(const std::string& line, bool say) {
  if (line.empty()) return;
  latest_notes_.push_back(line);
  if (std::find(notes_.begin(), notes_.end(), line) != notes_.end()) return;
  if (say) context_.say(line);
  notes_.push_back(line);
}

void JobSetup::read(JobOptions& options, const std::vector<std::pair<std::string, std::string>>& files,
                    ColumnChoice own, bool whole_groups) {
  context_.say("reading " + options.train);
  files_.add(files, options);
  const bool table = std::holds_alternative<Table>(files_.files()[0].file);
  if (table && options.label.empty())
    throw InputError("--label COL is missing: which column holds the class?");
  for (const JobFile& file : files_.files()) tell_reading(file, options.label);
  for (const JobFile& file : files_.files()) tell_labels(file, options.label);
  const bool text_given = !options.text.empty();
  for (const std::string& column : {options.group, options.time}) {
    if (!table && !column.empty())
      throw InputError(fmt::format("{}: has no named columns, so no column {}", options.train, column));
    if (!column.empty()) own.excluded.push_back(column);
  }
  files_.plan(options, std::move(own));
  options.take_encoder();
  find_units(options, whole_groups);
  if (!files_.column_plan()) return;
  context_.say(fmt::format("columns of {}:", options.train));
  for (const std::string& line : files_.column_plan()->lines()) context_.say(line);
  if (!text_given && !options.text.empty())
    context_.say(fmt::format("column '{}' is read as a text (--text '{}')", options.text, options.text));
  (*context_.found)["columns"] = files_.column_plan()->to_json();
}

void JobSetup::find_units(const JobOptions& options, bool whole_groups) {
  std::vector<std::string> columns;
  if (const auto& plan = files_.column_plan()) {
    for (const ColumnUse use : {ColumnUse::feature, ColumnUse::text})
      for (const size_t i : plan->indices(use)) columns.push_back(plan->columns[i].column.name);
  }
  units_ = row_units(files_, columns, whole_groups ? options.group : "");
  if (units_.copies > 0) {
    context_.say(fmt::format("{}: {} rows hold the same as an earlier one in what is read", options.train,
                             units_.copies));
  }
  for (const auto& [role, count] : units_.repeated) {
    note(fmt::format("{} of {} {} rows hold the same as rows of {} in what is read: they are no new rows",
                     count, files_.rows_of_role(role).size(), role, options.train));
  }
}

std::vector<int64_t> JobSetup::folds_of(const std::vector<int64_t>& rows, int64_t folds,
                                        uint64_t seed) const {
  Streams streams(seed);
  return draw_folds(rows, folds, streams.stream("folds"), units_.unit_of);
}

namespace {

/// The time of every row of a table, by how the column is read; a row without one comes before all others.
std::vector<double> times_of(const Table& table, const std::string& column) {
  const size_t at = table.column(column);
  std::vector<ColumnWish> wishes(table.columns(), ColumnWish::unread);
  wishes[at] = ColumnWish::none;
  const RecognizedColumn found = recognize_columns(table, wishes)[at];
  const bool is_date = found.reading.as == CellReading::date;
  if (!is_date && found.reading.as != CellReading::number)
    refuse_option("time", column, fmt::format("holds neither dates nor numbers ({})", name_of(found.kind)));
  std::vector<double> times;
  for (size_t row = 0; row < table.rows(); ++row) {
    const std::string_view cell = table.cell(row, at);
    double time = -std::numeric_limits<double>::infinity();
    if (is_date) {
      if (const auto moment = read_moment(cell, found.reading.order)) time = moment->days;
    } else if (const Number number = found.reading.notation.read(cell); number.kind == CellKind::number) {
      time = number.value;
    }
    times.push_back(time);
  }
  return times;
}

}  // namespace

std::vector<std::vector<int64_t>> JobSetup::cut(const JobOptions& options, const std::vector<double>& shares,
                                                const std::vector<int64_t>& classes, at::Generator& generator,
                                                const std::vector<std::string>& names) {
  const std::vector<int64_t> rows = files_.rows_of_role("train");
  if (!options.time.empty()) {
    const auto& table = std::get<Table>(files_.files()[0].file);
    auto parts = ordered_split(rows, times_of(table, options.time), shares, units_.unit_of);
    for (const std::vector<int64_t>& part : parts) {
      std::set<int64_t> seen;
      for (const int64_t row : part) seen.insert(classes[static_cast<size_t>(row)]);
      if (seen.size() < 2)
        refuse_option("time", options.time,
                      fmt::format("a part of {} rows has one class alone", part.size()));
    }
    return parts;
  }
  if (units_.unit_of.empty() || !options.group.empty())
    return stratified_split(rows, classes, shares, generator, names, units_.unit_of);
  try {
    return stratified_split(rows, classes, shares, generator, names, units_.unit_of);
  } catch (const InputError& few) {
    auto parts = stratified_split(rows, classes, shares, generator, names);
    note(fmt::format(
        "{}: equal rows stand on both sides of the cuts, so that the figures of new rows are too good",
        few.what()));
    return parts;
  }
}

RowParts JobSetup::cut_parts(const JobOptions& options, std::string& split, double valid_share,
                             const std::vector<int64_t>& classes, at::Generator& generator,
                             const std::vector<std::string>& names) {
  const std::vector<double> shares = part_shares(split, valid_share, options);
  std::vector<double> cut_shares;
  for (const double share : shares) {
    if (share > 0) cut_shares.push_back(share);
  }
  if (cut_shares.size() == 1 && !options.time.empty())
    refuse_option("time", options.time, "nothing is cut, since every part has a file of its own");
  const auto parts = cut(options, cut_shares, classes, generator, names);
  size_t next = 1;
  return {.train = parts[0],
          .valid = shares[1] > 0 ? parts[next++] : files_.rows_of_role("valid"),
          .test = shares[2] > 0 ? parts[next++] : files_.rows_of_role("test")};
}

/// How a file was read, where a person may not expect it.
void JobSetup::tell_reading(const JobFile& file, const std::string& label) {
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

void JobSetup::note_unseen(const Features& features) {
  for (const std::string& line : files_.unseen_categories(features)) note(line);
}

NetworkOptions JobSetup::resolve(JobOptions& options, const JobDefaults& defaults) {
  NetworkOptions network = options.resolve(defaults);
  threads_.emplace(*options.threads);
  return network;
}

Inputs JobSetup::placed(const Inputs& inputs) const {
  std::string line;
  Inputs found = bilevel::placed(inputs, options().torch_device(), line);
  if (!line.empty()) context_.say(line);
  return found;
}

ContestFacts JobSetup::facts() const {
  const JobOptions& o = options();
  ContestFacts facts{.task = context_.command,
                     .title = fmt::format("{} on {}, {} encoder", context_.command,
                                          std::filesystem::path(o.train).filename().string(), o.encoder),
                     .seeds_mean =
                         "The seeds change initial weights and batches; data, parts and features are the "
                         "same in all runs. So the intervals say how much the training varies, not how much "
                         "another sample of test rows would change.",
                     .last_tenth = false,
                     .data = {{"training file", o.train},
                              {"encoder", o.encoder},
                              {"batch size", std::to_string(*o.batch_size)},
                              {"threads", std::to_string(*o.threads)},
                              {"device", o.device},
                              {"seed of the parts", std::to_string(o.seed)}}};
  describe(facts);
  return facts;
}

nlohmann::ordered_json ChoosingAttempt::measure(int64_t step) {
  const Evaluation now = evaluate();
  if (result_.is_null()) {
    for (const auto& [key, unused] : now.fields.items()) result_[key] = nullptr;
  }
  if (std::isfinite(now.score) && rule_.consider(now)) {
    result_ = now.fields;
    result_["chosen_step"] = step;
  }
  return now.fields;
}

}  // namespace bilevel
