#include "bilevel/task/job/job_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "bilevel/core/error.h"
#include "bilevel/core/number.h"
#include "bilevel/core/streams.h"
#include "bilevel/data/split.h"

namespace bilevel {

void JobSetup::note(const std::string& line, bool say) {
  if (line.empty()) return;
  latest_notes_.push_back(line);
  if (std::find(notes_.begin(), notes_.end(), line) != notes_.end()) return;
  if (say) context_.say(line);
  notes_.push_back(line);
}

std::vector<int64_t> JobSetup::folds_of(const std::vector<int64_t>& rows, int64_t folds,
                                        uint64_t seed) const {
  Streams streams(seed);
  return draw_folds(rows, folds, streams.stream("folds"), units_.unit_of);
}

std::vector<Fold> JobSetup::cut_folds(const std::vector<int64_t>& rows, int64_t folds, uint64_t seed) const {
  const std::vector<int64_t> fold_of = folds_of(rows, folds, seed);
  std::vector<Fold> cut(static_cast<size_t>(folds));
  for (size_t i = 0; i < rows.size(); ++i) {
    for (int64_t k = 0; k < folds; ++k) {
      Fold& fold = cut[static_cast<size_t>(k)];
      (fold_of[i] == k ? fold.judged : fold.others).push_back(rows[i]);
    }
  }
  return cut;
}

namespace {

/// The time of every row of a table, by how the column is read; a row without one comes before all others. Doubts are
/// sentences for a reader of the result.
std::vector<double> times_of(const Table& table, const std::string& column,
                             std::vector<std::string>& doubts) {
  const size_t at = table.column(column);
  std::vector<ColumnWish> wishes(table.columns(), ColumnWish::unread);
  wishes[at] = ColumnWish::none;
  const RecognizedColumn found = recognize_columns(table, wishes)[at];
  const bool is_date = found.reading.as == CellReading::date;
  if (!is_date && found.reading.as != CellReading::number)
    refuse_option("time", column, fmt::format("holds neither dates nor numbers ({})", name_of(found.kind)));
  if (!found.doubt.empty()) doubts.push_back(fmt::format("look at {}: {}", column, found.doubt));
  int64_t missing = 0;
  std::vector<double> times;
  for (size_t row = 0; row < table.rows(); ++row) {
    const std::string_view cell = table.cell(row, at);
    double time = -std::numeric_limits<double>::infinity();
    if (is_date) {
      if (const auto moment = read_moment(cell, found.reading.order)) time = moment->days;
    } else if (const Number number = table.number(row, at, found.reading.notation);
               number.kind == CellKind::number) {
      time = number.value;
    }
    missing += std::isinf(time) ? 1 : 0;
    times.push_back(time);
  }
  if (missing > 0)
    doubts.push_back(fmt::format("{} rows have no time in {}: they come before all others", missing, column));
  return times;
}

}  // namespace

std::vector<std::vector<int64_t>> JobSetup::cut(const JobOptions& options, const std::vector<double>& shares,
                                                const std::vector<int64_t>& classes, at::Generator& generator,
                                                const std::vector<std::string>& names) {
  const std::vector<int64_t> rows = files_.rows_of_role("train");
  if (!options.time.empty()) {
    const auto& table = std::get<Table>(files_.files()[0].file);
    std::vector<std::string> doubts;
    const std::vector<double> times = times_of(table, options.time, doubts);
    for (const std::string& doubt : doubts) note(doubt);
    auto parts = ordered_split(rows, times, shares, units_.group_of);
    if (units_.copies > 0)
      note(
          "rows that hold the same stand where their times are, so that copies may be on both sides of a "
          "cut");
    for (const std::vector<int64_t>& part : parts) {
      std::set<int64_t> seen;
      for (const int64_t row : part) seen.insert(classes[static_cast<size_t>(row)]);
      if (seen.size() < 2)
        refuse_option("time", options.time,
                      fmt::format("a part of {} rows has one class alone", part.size()));
    }
    return parts;
  }
  const auto split = [&](const std::vector<int64_t>& unit_of) {
    try {
      return stratified_split(rows, classes, shares, generator, names, unit_of);
    } catch (const InputError& few) {
      throw InputError(
          fmt::format("{}: {}; more rows of it help, or files of their own for parts (--valid, "
                      "--test){}",
                      options.train, few.what(),
                      names.size() > 2 ? ", or --min-rows N, which leaves rare classes out" : ""));
    }
  };
  if (units_.unit_of.empty() || !options.group.empty()) return split(units_.unit_of);
  std::string why;
  try {
    auto parts = stratified_split(rows, classes, shares, generator, names, units_.unit_of);
    const auto classes_of = [&](const std::vector<int64_t>& part) {
      std::set<int64_t> seen;
      for (const int64_t row : part) seen.insert(classes[static_cast<size_t>(row)]);
      return seen.size();
    };
    // Equal rows of several classes are a unit of the most frequent one.
    if (std::ranges::all_of(parts, [&](const auto& part) { return classes_of(part) == classes_of(rows); }))
      return parts;
    why = "too few of the rows of a class differ for every part to have one";
  } catch (const InputError& few) {
    why = few.what();
  }
  auto parts = split({});
  note(fmt::format(
      "{}: equal rows stand on both sides of the cuts, so that the figures of new rows are too good", why));
  return parts;
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
  RowParts cut_rows{.train = parts[0],
                    .valid = shares[1] > 0 ? parts[next++] : files_.rows_of_role("valid"),
                    .test = shares[2] > 0 ? parts[next++] : files_.rows_of_role("test")};
  note_few_rows(cut_rows, classes, names);
  return cut_rows;
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
