// Which rows the runs of a cross-validation test on.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "bilevel/core/error.h"
#include "bilevel/core/streams.h"
#include "bilevel/data/split.h"
#include "bilevel/task/job/job_run.h"

namespace bilevel {

void JobOptions::check_folds() {
  const auto refuse = [](const char* field, int64_t value, const std::string& rule) {
    refuse_option(field, fmt::format("{}", value), rule);
  };
  if (!folds) {
    if (fold) refuse("fold", *fold, "needs --folds K: how many folds are there?");
    if (repeats != 1) refuse("repeats", repeats, "needs --folds K: into how many folds are the rows dealt?");
    return;
  }
  if (!time.empty())
    refuse("folds", *folds, "goes with no --time: folds are dealt at random, so that later rows would train");
  if (!test.empty() && !(fold && test == train))
    refuse("folds", *folds, "goes with no --test: each fold in turn holds the test rows");
  if (fold && *fold > *folds * repeats)
    refuse("fold", *fold, fmt::format("there are {} in all repeats", *folds * repeats));
  if (const Field* keep = fields_of(*this).find("keep_best"); keep != nullptr && keep->get() == true)
    refuse_option("keep_best", "true", "goes with one cut only: the folds measure the model itself");
  const Field* split = fields_of(*this).find("split");
  if (!fold && split != nullptr && split->get().is_string() && split->get() != "")
    refuse("folds", *folds, "goes with no --split: each fold in turn holds the test rows");
}

ClassLabels JobOptions::strata(const JobFiles& files) const { return files.classes(label); }

void JobFiles::hold_out(const std::vector<int64_t>& rows, bool of_other_classes) {
  other_classes_ = of_other_classes;
  const std::vector<size_t> held(rows.begin(), rows.end());
  std::vector<size_t> others;
  for (size_t row = 0; row < static_cast<size_t>(rows_of(files_.front().file)); ++row) {
    if (!std::ranges::binary_search(held, row)) others.push_back(row);
  }
  std::visit([&](auto& file) { file.keep_rows(others); }, files_.front().file);
  std::visit([&](auto& file) { file.keep_rows(held); }, files_.back().file);
  int64_t offset = 0;
  for (JobFile& file : files_) {
    file.offset = offset;
    offset += rows_of(file.file);
  }
}

namespace {

/// The rows of the classes of one of the folds into which the classes are dealt.
std::vector<int64_t> rows_of_fold(const std::vector<int64_t>& rows, const ClassLabels& labels, int64_t folds,
                                  int64_t fold, at::Generator& generator) {
  const auto class_of = [&](int64_t row) { return labels.classes[static_cast<size_t>(row)]; };
  std::set<int64_t> found;
  for (const int64_t row : rows) found.insert(class_of(row));
  const std::vector<int64_t> classes(found.begin(), found.end());
  if (static_cast<int64_t>(classes.size()) < folds)
    refuse_option("folds", fmt::format("{}", folds), fmt::format("there are {} to deal", classes.size()));
  const std::vector<int64_t> fold_of = draw_folds(classes, folds, generator);
  std::vector<int64_t> held;
  for (const int64_t row : rows) {
    const auto at = std::ranges::lower_bound(classes, class_of(row)) - classes.begin();
    if (fold_of[static_cast<size_t>(at)] == fold) held.push_back(row);
  }
  return held;
}

}  // namespace

void JobSetup::hold_out_fold(const JobOptions& options) {
  const int64_t folds = *options.folds, index = *options.fold - 1;
  const ClassLabels strata = options.strata(files_);
  Streams streams(derive_seed(options.seed, fmt::format("repeat {}", index / folds)));
  if (options.holds_out_classes()) {
    files_.hold_out(
        rows_of_fold(files_.rows_of_role("train"), strata, folds, index % folds, streams.stream("folds")),
        /*of_other_classes=*/true);
    return;
  }
  const std::vector<double> shares(static_cast<size_t>(folds), 1 / static_cast<double>(folds));
  files_.hold_out(cut(options, shares, strata.classes, streams.stream("folds"), strata.names)
                      .at(static_cast<size_t>(index % folds)));
}

}  // namespace bilevel
