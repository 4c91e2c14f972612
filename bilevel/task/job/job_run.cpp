#include "bilevel/task/job/job_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bilevel/core/number.h"
#include "bilevel/data/delimiter.h"

namespace bilevel {

void JobSetup::note(const std::string& line, bool say) {
  if (line.empty()) return;
  latest_notes_.push_back(line);
  if (std::find(notes_.begin(), notes_.end(), line) != notes_.end()) return;
  if (say) context_.say(line);
  notes_.push_back(line);
}

void JobSetup::read(JobOptions& options, const std::vector<std::pair<std::string, std::string>>& files,
                    ColumnChoice own) {
  context_.say("reading " + options.train);
  files_.add(files, options);
  const bool table = std::holds_alternative<Table>(files_.files()[0].file);
  if (table && options.label.empty())
    throw InputError("--label COL is missing: which column holds the class?");
  for (const JobFile& file : files_.files()) tell_reading(file, options.label);
  for (const JobFile& file : files_.files()) tell_labels(file, options.label);
  const bool text_given = !options.text.empty();
  files_.plan(options, std::move(own));
  options.take_encoder();
  if (!files_.column_plan()) return;
  context_.say(fmt::format("columns of {}:", options.train));
  for (const std::string& line : files_.column_plan()->lines()) context_.say(line);
  if (!text_given && !options.text.empty())
    context_.say(fmt::format("column '{}' is read as a text (--text '{}')", options.text, options.text));
  (*context_.found)["columns"] = files_.column_plan()->to_json();
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
