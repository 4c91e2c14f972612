#include "bilevel/task/job/cross_validation.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string_view>

#include "bilevel/core/error.h"
#include "bilevel/data/table_writer.h"
#include "bilevel/task/job/job_report.h"
#include "bilevel/task/job/parts.h"
#include "bilevel/task/run_folder.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char *kAllRows = "all", *kRunNumber = "run";  // number: see `JobOptions::fold`

/// Files of a run that belong to it alone, and not to the model that it leaves.
bool belongs_to_run(const fs::path& file) {
  static const std::set<std::string> kOwn{".lock",       "checkpoint.safetensors", "options.json",
                                          "report.html", "summary.json",           "trace.jsonl"};
  return kOwn.contains(file.filename().string()) || file.extension() == ".svg";
}

/// The tables below each other, with the columns of all; a cell that a table lacks is empty.
class StackedTables {
 public:
  void add(const Table& table, const std::vector<std::pair<std::string, std::string>>& constants) {
    for (const auto& [name, value] : constants) column(name).cells.resize(rows_ + table.rows(), value);
    for (size_t c = 0; c < table.columns(); ++c) {
      Column& to = column(table.names()[c]);
      to.cells.resize(rows_);
      for (size_t row = 0; row < table.rows(); ++row) to.cells.push_back(table.cell(row, c));
    }
    rows_ += table.rows();
  }
  std::vector<Column> columns() && {
    for (Column& column : columns_) column.cells.resize(rows_);
    return std::move(columns_);
  }

 private:
  Column& column(const std::string& name) {
    const auto found = std::ranges::find(columns_, name, &Column::name);
    return found != columns_.end() ? *found : columns_.emplace_back(Column{name});
  }

  std::vector<Column> columns_;
  size_t rows_ = 0;
};

/// Warnings of the runs: those that differ in numbers alone once, with how many runs have one.
Json warnings_of(const std::vector<FoldRun>& runs) {
  struct Found {
    std::string first;
    int64_t runs = 0;
    bool alike = true;
  };
  std::map<std::string, Found> found;  // by text without digits
  std::vector<std::string> order;
  for (const FoldRun& run : runs) {
    std::set<std::string> of_run;
    for (const std::string warning : run.summary.at("warnings")) {
      std::string key = warning;
      std::erase_if(key, [](char c) { return std::string_view("0123456789.").find(c) != std::string::npos; });
      Found& one = found[key];
      if (one.runs == 0) {
        one.first = warning;
        order.push_back(key);
      }
      one.alike = one.alike && one.first == warning;
      one.runs += of_run.insert(key).second ? 1 : 0;
    }
  }
  Json warnings = Json::array();
  for (const std::string& key : order) {
    const Found& one = found.at(key);
    const bool of_all = one.alike && one.runs == static_cast<int64_t>(runs.size());
    warnings.push_back(of_all ? one.first
                              : fmt::format("in {} of {} runs{}: {}", one.runs, runs.size(),
                                            one.alike ? "" : ", for instance", one.first));
  }
  return warnings;
}

class CrossValidation {
 public:
  CrossValidation(const JobEntry& entry, Job& job, const JobContext& context)
      : entry_(entry),
        context_(context),
        options_(job.options()),
        given_(options_.to_json()),
        folds_(*options_.folds),
        runs_(folds_ * options_.repeats) {}

  JobResult execute() {
    options_.check();
    const std::unique_ptr<JobSetup> first = job_of(1)->setup(context_);  // refuses what is impossible
    if (!entry_.measure) {
      refuse_option("folds", fmt::format("{}", folds_),
                    fmt::format("bilevel {} names no figure to be cross-validated", entry_.name));
    }
    const PartWork work = [this, setup = first.get()](const Part& part) { return answer(*setup, part); };
    JobParts parts(*first, work, runs_ + 1);
    const FolderLock lock = context_.open(options_, first->files());
    context_.phases->plan({{kReportPhase, 0.01}});
    try {
      if (!make_all(parts)) return failed_;
    } catch (const Interrupted& stop) {
      return {.summary = summary_of_context(), .reason = StopReason::interrupted, .message = stop.message};
    }
    context_.phases->begin(kReportPhase, "writing the report");
    JobResult result = finish();
    parts.clear();
    fs::remove_all(folder_of(0));
    return result;
  }

 private:
  std::unique_ptr<Job> job_of(int64_t number) const {
    std::unique_ptr<Job> job = entry_.make();
    const Fields fields = fields_of(*job);
    fields.from_json(nlohmann::json(given_));
    fields.set("fold", number);
    return job;
  }

  // Of the run with a number.
  int64_t repeat_of(int64_t number) const { return (number - 1) / folds_ + 1; }
  int64_t fold_of(int64_t number) const { return (number - 1) % folds_ + 1; }
  std::string name_of_run(int64_t number) const {
    return number == 0 ? kAllRows : fmt::format("{}-{}", repeat_of(number), fold_of(number));
  }
  std::string shown(int64_t number) const {
    if (number == 0) return "all rows";
    const std::string fold = fmt::format("fold {} of {}", fold_of(number), folds_);
    return options_.repeats == 1
               ? fold
               : fmt::format("repeat {} of {}, {}", repeat_of(number), options_.repeats, fold);
  }
  fs::path folder_of(int64_t number) const { return context_.path(kFoldsFolder) / name_of_run(number); }

  /// Makes a run, or goes on with it; in any process.
  Json answer(const JobSetup& setup, const Part& part) const {
    const int64_t number = part.request.at(kRunNumber);
    const std::string out = folder_of(number).string();
    Phases& phases = *setup.context().phases;
    const auto advance = [&](JobProgress now) {
      now.phase = fmt::format("{}: {}", part.shown, now.phase);
      phases.advance(now.share, now);
    };
    const JobCallbacks callbacks{.progress = advance,
                                 .interrupt = setup.context().callbacks.interrupt,
                                 .command_line = context_.callbacks.command_line};
    const JobResult made = fs::exists(fs::path(out) / "options.json")
                               ? resume_job(entry_, out, callbacks)
                               : start_job(entry_, *job_of(number), out, callbacks);
    if (made.reason == StopReason::interrupted) throw Interrupted{made.message};
    Json told{{"summary", made.summary}};
    if (!made.finished)
      told.update({{JobParts::kFailed, true}, {"reason", made.reason}, {"message", made.message}});
    return told;
  }

  /// False when a run came to no outcome.
  bool make_all(JobParts& parts) {
    std::vector<Part> all;
    for (int64_t number = 1; number <= runs_ + 1; ++number) {
      const int64_t n = number % (runs_ + 1);  // the one on all rows comes last
      all.push_back({.name = name_of_run(n), .shown = shown(n), .request = {{kRunNumber, n}}, .cost = 1});
    }
    return parts.make(all, [&](size_t i, const Json& told) {
      const auto number = static_cast<int64_t>(i) + 1;
      if (told.contains(JobParts::kFailed)) {
        failed_ = {.summary = told.at("summary"),
                   .reason = told.at("reason"),
                   .message = fmt::format("{}: {}", all[i].shown, told.at("message").get<std::string>())};
        return false;
      }
      if (number > runs_) {
        of_all_ = told.at("summary");
        return true;
      }
      found_.push_back({repeat_of(number), fold_of(number), told.at("summary")});
      const Json value = found_.back().summary.at(Json::json_pointer(entry_.measure->pointer));
      if (value.is_number())
        context_.say(fmt::format("{}: {} {:.4f}", all[i].shown, entry_.measure->name, value.get<double>()));
      return true;
    });
  }

  Json summary_of_context() const {
    return {{"command", context_.command},
            {"seed", options_.seed},
            {"seconds", context_.clock->seconds()},
            {"metrics", nullptr},
            {"warnings", Json::array()},
            {"out", context_.out},
            {"options", given_}};
  }

  /// Files and result.
  JobResult finish() {
    for (const auto& file : fs::directory_iterator(folder_of(0))) {
      if (file.is_regular_file() && !belongs_to_run(file.path())) {
        fs::copy_file(file.path(), context_.path(file.path().filename().string()),
                      fs::copy_options::overwrite_existing);
      }
    }
    StackedTables tested;
    for (int64_t number = 1; number <= runs_; ++number) {
      const TableOptions as_written{.format = Format::tsv, .header = true, .delimiter = '\t'};
      tested.add(
          read_table((folder_of(number) / entry_.tested).string(), as_written),
          {{"repeat", fmt::format("{}", repeat_of(number))}, {"fold", fmt::format("{}", fold_of(number))}});
    }
    write_tsv(context_.path(entry_.tested).string(), std::move(tested).columns());
    Json summary = summary_of_context();
    for (const char* key : {"solver", "encoder", "stop_reason", "solver_options", "chosen_step_sizes"})
      summary[key] = of_all_.at(key);
    if (of_all_.contains("encoder_choice")) summary["encoder_choice"] = of_all_.at("encoder_choice");
    summary["warnings"] = warnings_of(found_);
    summary["cross_validation"] = cross_validated(found_, folds_, options_.repeats, *entry_.measure);
    summary["verdict"] = verdicts_of(summary.at("cross_validation").at("baselines"));
    for (const char* key : {"steps", "training_seconds"}) {
      summary[key] = of_all_.at(key);
      for (const FoldRun& run : found_) {
        if (summary[key].is_number_integer())
          summary[key] = summary[key].get<int64_t>() + run.summary.at(key).get<int64_t>();
        else
          summary[key] = summary[key].get<double>() + run.summary.at(key).get<double>();
      }
    }
    summary.update(*context_.found);
    note_time(context_, summary);
    summary["peak_rss_bytes"] = peak_rss_bytes();
    write_cross_validation_report(context_, options_, summary);
    write_file_atomically(context_.path("summary.json").string(), summary.dump(2) + "\n");
    return {.summary = summary, .finished = true, .text = cross_validation_text(summary, context_.out)};
  }

  const JobEntry& entry_;
  const JobContext& context_;
  JobOptions& options_;
  const Json given_;
  const int64_t folds_, runs_;
  std::vector<FoldRun> found_;
  Json of_all_;
  JobResult failed_;
};

}  // namespace

JobResult cross_validate(const JobEntry& entry, Job& job, const JobContext& context) {
  return CrossValidation(entry, job, context).execute();
}

}  // namespace bilevel
