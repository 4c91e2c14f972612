#include "bilevel/task/auc/auc_job.h"

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/resource.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>
#include <set>

#include "bilevel/core/files.h"
#include "bilevel/core/safetensors.h"
#include "bilevel/core/streams.h"
#include "bilevel/data/labels.h"
#include "bilevel/data/split.h"
#include "bilevel/model/logistic_regression.h"
#include "bilevel/report/html.h"
#include "bilevel/report/metrics.h"
#include "bilevel/report/plot.h"
#include "bilevel/report/trace.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/auc/auc_defaults.h"
#include "bilevel/task/features.h"

namespace bilevel {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(AucJobOptions, train, valid, test, format, header, text,
                                                features, categorical, label, positive, encoder, hidden,
                                                layers, embedding, train_embedding, loss, levels, solver, set,
                                                epochs, steps, batch_size, max_seconds, l2, positive_fraction,
                                                split, refit, seed, threads, device)

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// ---- small helpers ----

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> parts;
  std::string part;
  for (const char c : text) {
    if (c == ',') {
      parts.push_back(std::exchange(part, {}));
    } else {
      part += c;
    }
  }
  if (!text.empty()) parts.push_back(part);
  return parts;
}

[[noreturn]] void refuse(const std::string& field, const std::string& value, const std::string& rule) {
  throw InputError(fmt::format("{} = {}: {}", field, value, rule));
}

std::optional<bool> header_named(const std::string& name) {
  if (name == "automatic") return std::nullopt;
  if (name == "yes") return true;
  if (name == "no") return false;
  refuse("header", name, "must be automatic, yes or no");
}

/// Size and checksum of a file, to notice that it changed.
Json fingerprint(const std::string& path) {
  const std::string bytes = read_file(path);
  const auto sum = crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  return {{"path", fs::absolute(path).string()}, {"bytes", bytes.size()}, {"crc32", sum}};
}

/// Whether a folder is empty but for the lock and the half-written options of a process that was killed
/// there.
bool holds_nothing(const std::string& folder) {
  return std::all_of(fs::directory_iterator(folder), fs::directory_iterator(), [](const auto& entry) {
    const std::string name = entry.path().filename().string();
    return name == ".lock" || name.starts_with(".options.json.");
  });
}

int64_t peak_rss_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

torch::Tensor pick(const torch::Tensor& values, const std::vector<int64_t>& rows) {
  return values.index_select(0, torch::tensor(rows, torch::kInt64));
}

// ---- options ----

void check(const AucJobOptions& o) {
  if (o.train.empty()) throw InputError("--train FILE is missing");
  if (!o.text.empty() && !o.features.empty()) throw InputError("give --text or --features, not both");
  if (o.positive_fraction != 0 && !(o.positive_fraction > 0 && o.positive_fraction < 1)) {
    refuse("positive_fraction", fmt::format("{:g}", o.positive_fraction), "must lie between 0 and 1");
  }
  const auto one_of = [](const std::string& field, const std::string& value,
                         const std::set<std::string>& known) {
    if (known.count(value) == 0)
      refuse(field, value, fmt::format("must be one of {}", fmt::join(known, ", ")));
  };
  one_of("loss", o.loss, {"libauc", "ppd", "authors"});
  one_of("levels", o.levels, {"train", "papers"});
  one_of("device", o.device, {"cpu", "cuda"});
  const auto not_negative = [](const char* field, double value) {
    if (!(value >= 0) || !std::isfinite(value)) refuse(field, fmt::format("{:g}", value), "must be > 0");
  };
  not_negative("epochs", o.epochs);
  not_negative("steps", static_cast<double>(o.steps));
  not_negative("batch_size", static_cast<double>(o.batch_size));
  not_negative("max_seconds", o.max_seconds);
  not_negative("hidden", static_cast<double>(o.hidden));
  not_negative("layers", static_cast<double>(o.layers));
  not_negative("threads", static_cast<double>(o.threads));
  if (!std::isfinite(o.l2)) refuse("l2", fmt::format("{:g}", o.l2), "must be a finite number");
  if (o.epochs > 0 && o.steps > 0) throw InputError("give --epochs or --steps, not both");
  header_named(o.header);
  format_named(o.format);
}

/// Shares of the parts that are cut from the training file: {train, valid, test}, 0 for a part with a file of
/// its own.
std::vector<double> shares(const AucJobOptions& o) {
  constexpr double kValid = 0.15, kTest = 0.2;
  if (o.split.empty()) {
    const double test = o.test.empty() ? kTest : 0;
    const double valid = o.valid.empty() ? (1 - test) * kValid : 0;
    return {1 - valid - test, valid, test};
  }
  std::vector<double> given;
  for (const std::string& part : split_list(o.split)) {
    char* end = nullptr;
    given.push_back(std::strtod(part.c_str(), &end));
    if (part.empty() || *end != '\0' || !(given.back() >= 0))
      refuse("split", o.split, "must be three shares, such as 0.7,0.1,0.2");
  }
  const double sum = std::accumulate(given.begin(), given.end(), 0.0);
  if (given.size() != 3 || !(sum > 0) || !std::isfinite(sum))
    refuse("split", o.split, "must be three shares, such as 0.7,0.1,0.2");
  for (double& share : given) share /= sum;
  const auto agree = [&](double share, const std::string& file, const char* name) {
    if (share > 0 && !file.empty())
      refuse("split", o.split, fmt::format("cuts {} rows, but --{} gives a file", name, name));
    if (share == 0 && file.empty())
      refuse("split", o.split, fmt::format("leaves no {} rows, and --{} gives no file", name, name));
  };
  if (given[0] == 0) refuse("split", o.split, "leaves no training rows");
  agree(given[1], o.valid, "valid");
  agree(given[2], o.test, "test");
  return given;
}

// ---- data ----

struct Source {
  std::string role;  // "train", "valid", "test"
  std::string path;
  DataFile file;
  BinaryLabels labels;
  int64_t offset = 0;  // of its first row among all rows
};

struct JobData {
  std::vector<Source> sources;
  std::vector<int8_t> is_positive;  // all rows
  AucParts parts;
  Json facts;
};

BinaryLabels labels_of(const DataFile& file, const AucJobOptions& o) {
  if (const auto* sparse = std::get_if<SparseTable>(&file)) return read_labels(*sparse, o.positive);
  const Table& table = std::get<Table>(file);
  if (o.label.empty()) throw InputError("--label COL is missing: which column holds the class?");
  return read_labels(table, table.column(o.label), o.positive);
}

JobData read_data(const AucJobOptions& o) {
  JobData data;
  if (o.positive.empty())
    throw InputError("--positive VALUE is missing: which value of the label is the positive class?");
  const TableOptions table_options{.format = format_named(o.format), .header = header_named(o.header)};
  for (const auto& [role, path] :
       {std::pair{"train", o.train}, std::pair{"valid", o.valid}, std::pair{"test", o.test}}) {
    if (path.empty()) continue;
    Source source{.role = role, .path = path, .file = read_data_file(path, table_options), .labels = {}};
    source.labels = labels_of(source.file, o);
    source.offset = static_cast<int64_t>(data.is_positive.size());
    data.is_positive.insert(data.is_positive.end(), source.labels.is_positive.begin(),
                            source.labels.is_positive.end());
    data.sources.push_back(std::move(source));
  }
  std::vector<float> labels(data.is_positive.begin(), data.is_positive.end());
  data.parts.labels = torch::tensor(labels);

  const auto rows_of_role = [&](const std::string& role) {
    std::vector<int64_t> rows;
    for (const Source& source : data.sources) {
      if (source.role != role) continue;
      rows.resize(static_cast<size_t>(rows_of(source.file)));
      std::iota(rows.begin(), rows.end(), source.offset);
    }
    return rows;
  };
  const std::vector<double> part_shares = shares(o);
  std::vector<double> cut;
  for (const double share : part_shares) {
    if (share > 0) cut.push_back(share);
  }
  Streams streams(o.seed);
  auto cut_parts = stratified_split(rows_of_role("train"), data.is_positive, cut, streams.stream("split"));
  size_t next = 0;
  data.parts.train = cut_parts[next++];
  data.parts.valid = part_shares[1] > 0 ? cut_parts[next++] : rows_of_role("valid");
  data.parts.test = part_shares[2] > 0 ? cut_parts[next++] : rows_of_role("test");
  if (o.positive_fraction > 0) {
    data.parts.train = thin(data.parts.train, data.is_positive, o.positive_fraction, streams.stream("thin"));
    if (o.valid.empty())
      data.parts.valid =
          thin(data.parts.valid, data.is_positive, o.positive_fraction, streams.stream("thin"));
  }
  return data;
}

FeatureOptions feature_options(const AucJobOptions& o, const std::string& encoder, int64_t max_length) {
  FeatureOptions features{
      .encoder = encoder, .text = o.text, .embedding = o.embedding, .max_length = max_length};
  if (o.features != "all") features.columns = split_list(o.features);
  if (!o.label.empty()) features.excluded = {o.label};
  features.categorical = split_list(o.categorical);
  return features;
}

/// Fits on the given rows (numbers among all rows) and applies to every file.
class FeatureFitter {
 public:
  FeatureFitter(const JobData& data, FeatureOptions options, uint64_t seed)
      : data_(data), options_(std::move(options)), seed_(seed) {}

  Features fit(const std::vector<int64_t>& rows) const {
    std::vector<FileRows> by_file;
    for (const Source& source : data_.sources) {
      FileRows part{&source.file, {}};
      const int64_t end = source.offset + rows_of(source.file);
      for (const int64_t row : rows) {
        if (row >= source.offset && row < end) part.rows.push_back(row - source.offset);
      }
      if (!part.rows.empty()) by_file.push_back(std::move(part));
    }
    Streams streams(seed_);
    return Features::fit(options_, by_file, streams.stream("embedding"));
  }

  Inputs apply(const Features& features) const {
    std::vector<Inputs> parts;
    for (const Source& source : data_.sources) parts.push_back(features.apply(source.file));
    return parts.size() == 1 ? parts[0] : Inputs::concatenate(parts);
  }

 private:
  const JobData& data_;
  FeatureOptions options_;
  uint64_t seed_;
};

// ---- figures ----

Json metrics_json(const ScoredRows& rows, double loss) {
  return {{"auc", auc(rows)}, {"average_precision", average_precision(rows)}, {"loss", loss}};
}

/// What a person recognises a row by.
std::string row_text(const JobData& data, const AucJobOptions& o, int64_t row) {
  for (const Source& source : data.sources) {
    if (row < source.offset || row >= source.offset + rows_of(source.file)) continue;
    const auto local = static_cast<size_t>(row - source.offset);
    if (const auto* table = std::get_if<Table>(&source.file)) {
      if (!o.text.empty()) return std::string(table->cell(local, table->column(o.text)));
      std::string text;
      for (size_t column = 0; column < table->columns(); ++column) {
        text += fmt::format("{}{}", column > 0 ? ", " : "", table->cell(local, column));
      }
      return text;
    }
    return fmt::format("{}, line {}", source.path,
                       position_of(source.file, static_cast<int64_t>(local)).line);
  }
  return "";
}

std::pair<const Source*, int64_t> source_of(const JobData& data, int64_t row) {
  for (const Source& source : data.sources) {
    if (row >= source.offset && row < source.offset + rows_of(source.file))
      return {&source, row - source.offset};
  }
  throw std::logic_error("a row belongs to no file");
}

/// L2-regularized logistic regression on the same rows: C chosen on the validation rows, then refitted on
/// both parts.
torch::Tensor baseline_scores(const Inputs& inputs, int64_t width, const AucParts& parts, bool refit) {
  const torch::Tensor& labels = parts.labels;
  const auto by_auc = [&](const torch::Tensor& scores) {
    return auc(ScoredRows(scores, pick(labels, parts.valid)));
  };
  LogisticRegression chosen = select_logistic_regression(
      inputs.gather(parts.train), width, pick(labels, parts.train), inputs.gather(parts.valid), by_auc);
  if (refit) {
    std::vector<int64_t> pool = parts.train;
    pool.insert(pool.end(), parts.valid.begin(), parts.valid.end());
    chosen = fit_logistic_regression(inputs.gather(pool), width, pick(labels, pool),
                                     {.inverse_regularization = chosen.inverse_regularization}, &chosen);
  }
  return chosen.scores(inputs.gather(parts.test));
}

class Job {
 public:
  Job(AucJobOptions options, std::string out, const AucJobCallbacks& callbacks, bool resume)
      : o_(std::move(options)), out_(std::move(out)), callbacks_(callbacks), resume_(resume) {}

  AucJobResult run() {
    check(o_);
    if (o_.encoder.empty()) o_.encoder = o_.text.empty() ? "linear" : "bag";
    if (o_.device == "cuda" && !at::hasCUDA()) {
      throw InputError("device = cuda: this LibTorch has no CUDA device; use --device cpu");
    }
    const AucDefaults defaults = auc_defaults(o_.encoder);
    const int64_t threads = o_.threads > 0 ? o_.threads : defaults.threads;
    if (threads > 0) at::set_num_threads(static_cast<int>(threads));
    say("reading {}", o_.train);
    data_ = read_data(o_);
    const auto& parts = data_.parts;
    say("{} rows to train, {} to validate, {} to test; {:.2f} % of the training rows are {}",
        parts.train.size(), parts.valid.size(), parts.test.size(),
        100 * pick(parts.labels, parts.train).mean().item<double>(), o_.positive);

    training_ = training_options(defaults);
    const FeatureFitter fitter(
        data_, feature_options(o_, o_.encoder, training_.network.max_length.value_or(256)), o_.seed);
    const auto fit_inputs = [&](const std::vector<int64_t>& rows) {
      features_ = std::make_unique<Features>(fitter.fit(rows));
      return FittedInputs{fitter.apply(*features_), features_->shape()};
    };
    const auto make = [&] { return solver(defaults); };
    make();  // refuses impossible options now
    // The first features are made once, before anything is written: they find what is wrong with the columns.
    std::optional<FittedInputs> first = fit_inputs(parts.train);
    AucModel(training_.network, first->shape, AucLoss{}, 0, o_.seed, torch::kCPU);
    const auto fit_once = [&](const std::vector<int64_t>& rows) {
      if (first && rows == parts.train) return *std::exchange(first, std::nullopt);
      return fit_inputs(rows);
    };

    const FolderLock lock = prepare_folder();
    AucOutcome outcome = train_auc(parts, fit_once, make, training_, callbacks_.progress);
    return finish(std::move(outcome));
  }

 private:
  template <typename... Arguments>
  void say(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    if (callbacks_.message) callbacks_.message(fmt::format(format, std::forward<Arguments>(arguments)...));
  }

  fs::path path(const char* name) const { return fs::path(out_) / name; }

  std::unique_ptr<Solver> solver(const AucDefaults& defaults) const {
    std::unique_ptr<Solver> made = make_solver(o_.solver);
    const Fields fields = fields_of(*made);
    for (const auto& [name, value] : defaults.solver) {
      for (const Field& field : fields.list()) {
        if (field.name == name) field.set(value);
      }
    }
    for (const std::string& assignment : o_.set) fields.set_text(assignment);
    for (const Field& field : fields.list()) {
      const nlohmann::json value = field.get();
      if (value.is_number() && std::abs(value.get<double>()) > std::numeric_limits<float>::max())
        refuse(field.name, value.dump(), "is too large for single precision");
    }
    return made;
  }

  AucTrainingOptions training_options(const AucDefaults& defaults) const {
    AucTrainingOptions t;
    t.network = defaults.network;
    t.network.encoder = o_.encoder;
    if (o_.hidden > 0) t.network.hidden = o_.hidden;
    if (o_.layers > 0) t.network.layers = o_.layers;
    if (!o_.embedding.empty()) {
      if (o_.text.empty() || o_.encoder == "bag")
        refuse("embedding", o_.embedding, "only rnn, lstm, gru and transformer read word vectors");
      t.network.freeze_embedding = !o_.train_embedding;
    }
    t.loss = o_.loss;
    t.l2 = o_.l2 >= 0 ? o_.l2 : defaults.l2;
    t.batch_size = o_.batch_size > 0 ? o_.batch_size : defaults.batch_size;
    const auto rows = static_cast<double>(data_.parts.train.size());
    const double epochs = o_.epochs > 0 ? o_.epochs : defaults.epochs;
    const double batch = std::min(rows, static_cast<double>(t.batch_size));
    t.steps = o_.steps > 0 ? o_.steps
              : o_.epochs > 0 || defaults.steps == 0
                  ? std::max<int64_t>(1, std::llround(epochs * rows / batch))
                  : defaults.steps;
    t.papers = o_.levels == "papers";
    t.refit = o_.refit;
    t.seed = o_.seed;
    t.device = o_.device == "cuda" ? torch::Device(torch::kCUDA, 0) : torch::Device(torch::kCPU);
    if (o_.max_seconds > 0) t.max_seconds = o_.max_seconds;
    t.checkpoint = path("checkpoint.safetensors");
    t.trace = path("trace.jsonl");
    t.resume = resume_ && fs::exists(t.checkpoint);
    t.interrupt = callbacks_.interrupt;
    return t;
  }

  Json input_files() const {
    Json files = Json::array();
    for (const Source& source : data_.sources) files.push_back(fingerprint(source.path));
    if (!o_.embedding.empty()) files.push_back(fingerprint(o_.embedding));
    return files;
  }

  /// Makes or takes the folder: nothing of another run is touched.
  FolderLock prepare_folder() {
    if (resume_) {
      FolderLock lock(out_);
      const Json saved = Json::parse(read_file(path("options.json").string()));
      if (saved.at("files") != input_files()) {
        throw InputError(fmt::format(
            "{}: an input file has changed since this run began, so it cannot be continued", out_));
      }
      return lock;
    }
    if (fs::exists(out_) && !(fs::is_directory(out_) && holds_nothing(out_))) {
      throw InputError(
          fs::exists(path("options.json"))
              ? fmt::format(
                    "{} holds another run; continue it with 'bilevel auc --resume {}', or give another --out",
                    out_, out_)
              : fmt::format("{} exists and is not an empty folder; give another --out", out_));
    }
    const Json files = input_files();
    create_folder(out_);
    FolderLock lock(out_);
    Json saved{
        {"command", "auc"}, {"version", BILEVEL_VERSION}, {"options", nlohmann::json(o_)}, {"files", files}};
    saved["options"]["threads"] = at::get_num_threads();
    write_file_atomically(path("options.json").string(), saved.dump(2) + "\n");
    return lock;
  }

  AucJobResult finish(AucOutcome outcome) {
    AucJobResult result;
    result.reason = outcome.reason;
    result.message = outcome.message;
    Json& summary = result.summary;
    summary = {{"command", "auc"},
               {"solver", o_.solver},
               {"encoder", o_.encoder},
               {"seed", o_.seed},
               {"steps", outcome.steps},
               {"seconds", outcome.seconds},
               {"stop_reason", to_string(outcome.reason)},
               {"best_step", outcome.best_step},
               {"metrics", nullptr},
               {"oracle_calls", outcome.oracle_calls.steps.to_json()},
               {"oracle_calls_apart",
                {{"warm_start", outcome.oracle_calls.warm_start.to_json()},
                 {"automatic", outcome.oracle_calls.automatic.to_json()},
                 {"evaluation", outcome.oracle_calls.evaluation.to_json()}}},
               {"samples",
                {{"upper", outcome.oracle_calls.steps.upper_samples},
                 {"lower", outcome.oracle_calls.steps.lower_samples}}},
               {"solver_options", outcome.solver_options},
               {"chosen_step_sizes", outcome.chosen},
               {"warnings", outcome.warnings},
               {"peak_rss_bytes", peak_rss_bytes()},
               {"out", out_}};
    if (!outcome.model) return result;

    const AucParts& parts = data_.parts;
    const auto score = [&](const std::vector<int64_t>& rows) {
      return outcome.model->scores(outcome.features.inputs, rows);
    };
    const auto rated = [&](const torch::Tensor& scores, const std::vector<int64_t>& rows) {
      return ScoredRows(scores, pick(parts.labels, rows));
    };
    const torch::Tensor train_scores = score(parts.train);
    const torch::Tensor test_scores = score(parts.test);
    const ScoredRows train = rated(train_scores, parts.train);
    const ScoredRows valid = rated(outcome.valid_scores, parts.valid);
    const ScoredRows test = rated(test_scores, parts.test);
    summary["metrics"] = {
        {"train", metrics_json(train, outcome.model->loss(train_scores, pick(parts.labels, parts.train)))},
        {"valid", metrics_json(valid, outcome.valid_loss)},
        {"test", metrics_json(test, outcome.model->loss(test_scores, pick(parts.labels, parts.test)))}};
    const AucEstimate estimate = auc_estimate(test);
    const ThresholdCounts on_valid = best_f1(valid);
    const ThresholdCounts on_test = counts_at(test, on_valid.threshold);
    summary["test_auc_interval"] = {estimate.low, estimate.high};
    summary["threshold"] = {{"value", on_valid.threshold},
                            {"test_precision", on_test.precision()},
                            {"test_recall", on_test.recall()},
                            {"test_f1", on_test.f1()}};

    say("fitting the linear baseline");
    const auto [baseline, baseline_name] = make_baseline(outcome);
    const AucEstimate baseline_estimate = auc_estimate(baseline);
    const AucDifference difference = auc_difference(test, baseline);
    summary["baseline"] = {{"name", baseline_name},
                           {"test_auc", baseline_estimate.auc},
                           {"test_auc_interval", {baseline_estimate.low, baseline_estimate.high}},
                           {"difference", difference.difference},
                           {"difference_interval", {difference.low, difference.high}}};
    result.baseline = fmt::format("{}: test AUC {:.4f}", baseline_name, baseline_estimate.auc);

    for (size_t i = 0; i < std::min<size_t>(8, parts.test.size()); ++i) {
      const auto at = static_cast<size_t>(test.order()[i]);
      result.best_ranked.push_back(
          {row_text(data_, o_, parts.test[at]), test.positive(test.order()[i]), test.scores()[at]});
    }

    write_model(*outcome.model, on_valid.threshold);
    write_predictions(test, on_valid.threshold);
    write_report(summary, outcome, estimate, {baseline_name, baseline_estimate, difference},
                 {on_valid, on_test}, test, baseline);
    summary["peak_rss_bytes"] = peak_rss_bytes();
    write_file_atomically(path("summary.json").string(),
                          summary.dump(2) + "\n");  // last: the run is finished
    result.finished = true;
    return result;
  }

  /// Token encoders are compared with logistic regression on hashed n-grams, all others on the features they
  /// read.
  std::pair<ScoredRows, std::string> make_baseline(const AucOutcome& outcome) const {
    const AucParts& parts = data_.parts;
    const bool refit = training_.refit && !training_.papers;
    const auto rated = [&](const Inputs& inputs, int64_t width) {
      return ScoredRows(baseline_scores(inputs, width, parts, refit), pick(parts.labels, parts.test));
    };
    if (outcome.features.inputs.kind() != InputKind::tokens) {
      return {rated(outcome.features.inputs, outcome.features.shape.width),
              "logistic regression on the same features"};
    }
    FeatureOptions options = feature_options(o_, "bag", 256);
    options.embedding.clear();
    const FeatureFitter bag(data_, options, o_.seed);
    const Features features = bag.fit(parts.train);
    return {rated(bag.apply(features), features.shape().width),
            "logistic regression on word and character n-grams"};
  }

  void write_model(const AucModel& model, double threshold) const {
    std::map<std::string, torch::Tensor> tensors = model.tensors();
    tensors.merge(features_->tensors());
    save_safetensors(path("model.safetensors").string(), tensors,
                     {{"format", "pt"}, {"made_by", "bilevel auc"}});
    Json description{{"made_by", "bilevel auc"},
                     {"version", BILEVEL_VERSION},
                     {"network", nlohmann::json(model.network()->options())},
                     {"features", features_->to_json()},
                     {"label", o_.label},
                     {"positive", o_.positive},
                     {"threshold", threshold},
                     {"loss", o_.loss},
                     {"format", o_.format},
                     {"header", o_.header}};
    write_file_atomically(path("model.json").string(), description.dump(1) + "\n");
  }

  void write_predictions(const ScoredRows& test, double threshold) const {
    std::string table = "file\tline\tlabel\tscore\tpredicted\n";
    for (size_t i = 0; i < data_.parts.test.size(); ++i) {
      const auto [source, local] = source_of(data_, data_.parts.test[i]);
      const double s = test.scores()[i];
      table += fmt::format("{}\t{}\t{}\t{:.9g}\t{}\n", source->path, position_of(source->file, local).line,
                           test.positive(static_cast<int64_t>(i)) ? 1 : 0, s, s >= threshold ? 1 : 0);
    }
    write_file_atomically(path("predictions.tsv").string(), table);
  }

  void write_report(const Json& summary, const AucOutcome& outcome, const AucEstimate& estimate,
                    const ReportBaseline& baseline, const ReportThreshold& threshold, const ScoredRows& test,
                    const ScoredRows& baseline_rows) const {
    const Trace trace = read_trace(path("trace.jsonl").string());
    const auto of_phase = [&](const char* phase) {
      Trace part;
      for (const Json& row : trace.rows) {
        if (row.at("phase") == phase) part.rows.push_back(row);
      }
      return part;
    };
    const Trace select = of_phase("select");
    const Trace refit = of_phase("refit");
    const Marker chosen{static_cast<double>(outcome.best_step), "chosen step"};
    LinePlot loss{.title = "Upper loss on the step's batch",
                  .x_label = "step",
                  .y_label = "loss",
                  .series = {series_from_trace(select, "step", "upper_loss", "training rows")},
                  .markers = {chosen}};
    if (!refit.rows.empty())
      loss.series.push_back(series_from_trace(refit, "step", "upper_loss", "training + validation rows"));
    LinePlot curve{.title = "AUC on the validation rows",
                   .x_label = "step",
                   .y_label = "AUC",
                   .series = {series_from_trace(select, "step", "valid_auc", "validation")},
                   .markers = {chosen}};
    const PlotResult loss_plot = draw(loss);
    const PlotResult auc_plot = draw(curve);
    const PlotResult roc_plot = draw_roc(
        "ROC on the test rows", {{o_.encoder, roc_curve(test)}, {"baseline", roc_curve(baseline_rows)}});
    for (const auto& [name, plot] :
         {std::pair{"loss.svg", &loss_plot}, {"auc.svg", &auc_plot}, {"roc.svg", &roc_plot}}) {
      if (!plot->svg.empty()) write_file_atomically(path(name).string(), plot->svg);
    }

    AucReport report;
    report.title =
        fmt::format("{}: {}", fs::path(o_.train).filename().string(),
                    o_.label.empty() ? o_.positive : fmt::format("{} = {}", o_.label, o_.positive));
    report.positive = o_.positive;
    report.summary = summary;
    report.options = nlohmann::json(o_);
    report.test = estimate;
    report.baseline = baseline;
    report.threshold = threshold;
    const auto part = [&](const char* name, const std::vector<int64_t>& rows, const std::string& file) {
      const auto positives = static_cast<int64_t>(pick(data_.parts.labels, rows).sum().item<double>());
      report.parts.push_back(
          {name, static_cast<int64_t>(rows.size()), positives, file.empty() ? "cut from " + o_.train : file});
    };
    part("training", data_.parts.train, o_.train);
    part("validation", data_.parts.valid, o_.valid);
    part("test", data_.parts.test, o_.test);
    report.data_facts = features_->facts();
    report.columns = {o_.text.empty() ? "row" : o_.text};
    const auto row = [&](int64_t at) {
      return ReportRow{{row_text(data_, o_, data_.parts.test[static_cast<size_t>(at)])},
                       test.positive(at),
                       test.scores()[static_cast<size_t>(at)]};
    };
    const size_t shown = std::min<size_t>(12, data_.parts.test.size());
    for (size_t i = 0; i < shown; ++i) report.best_ranked.push_back(row(test.order()[i]));
    std::vector<int64_t> nearest(test.order().begin(), test.order().end());
    const double at = threshold.valid.threshold;
    const auto distance = [&](int64_t i) { return std::abs(test.scores()[static_cast<size_t>(i)] - at); };
    std::partial_sort(nearest.begin(), nearest.begin() + static_cast<std::ptrdiff_t>(shown), nearest.end(),
                      [&](int64_t i, int64_t j) {
                        return std::pair{distance(i), i} < std::pair{distance(j), j};
                      });
    for (size_t i = 0; i < shown; ++i) report.doubtful.push_back(row(nearest[i]));
    report.figures = {{roc_plot, ""},
                      {auc_plot, "The chosen step is the latest within one standard error of the best."},
                      {loss_plot, ""}};
    report.notes = outcome.warnings;
    write_file_atomically(path("report.html").string(), auc_report_html(report));
  }

  AucJobOptions o_;
  std::string out_;
  const AucJobCallbacks& callbacks_;
  bool resume_;
  JobData data_;
  AucTrainingOptions training_;
  std::unique_ptr<Features> features_;  // those of the latest fit
};

}  // namespace

AucJobResult run_auc_job(const AucJobOptions& options, const std::string& out,
                         const AucJobCallbacks& callbacks) {
  return Job(options, out, callbacks, false).run();
}

AucJobResult resume_auc_job(const std::string& out, const AucJobCallbacks& callbacks) {
  const fs::path options = fs::path(out) / "options.json";
  if (!fs::exists(options))
    throw InputError(fmt::format("{}: there is no run to resume (no options.json)", out));
  const fs::path summary = fs::path(out) / "summary.json";
  try {
    if (fs::exists(summary)) {
      AucJobResult result;
      result.summary = Json::parse(read_file(summary.string()));
      result.message = "this run had finished";
      result.finished = true;
      return result;
    }
    const Json saved = Json::parse(read_file(options.string()));
    return Job(nlohmann::json(saved.at("options")).get<AucJobOptions>(), out, callbacks, true).run();
  } catch (const nlohmann::json::exception& error) {
    throw FileError(fmt::format("{}: {}", options.string(), error.what()));
  }
}

nlohmann::ordered_json predict_auc(const std::string& model_folder, const std::string& input,
                                   const std::string& output, const std::string& format,
                                   const std::string& header) {
  const fs::path folder(model_folder);
  if (!fs::exists(folder / "model.json")) {
    throw InputError(fmt::format("{}: there is no model (no model.json)", model_folder));
  }
  const auto [tensors, metadata] = load_safetensors((folder / "model.safetensors").string());
  Json description;
  std::optional<AucModel> model;
  std::optional<Features> features;
  try {
    description = Json::parse(read_file((folder / "model.json").string()));
    features = Features::from_json(nlohmann::json(description.at("features")), tensors);
    model.emplace(nlohmann::json(description.at("network")).get<NetworkOptions>(), features->shape(),
                  AucLoss{}, 0, 0, torch::kCPU);
    model->load(tensors);
  } catch (const nlohmann::json::exception& error) {
    throw FileError(fmt::format("{}: {}", (folder / "model.json").string(), error.what()));
  }
  const auto choose = [&](const std::string& given, const char* key) {
    return given == "automatic" ? description.value(key, "automatic") : given;
  };
  // The format goes by the new file's own name; the header by what the training file had.
  const TableOptions options{.format = format_named(format),
                             .header = header_named(choose(header, "header"))};
  const DataFile file = read_data_file(input, options, /*labels_required=*/false);
  const Inputs inputs = features->apply(file);
  std::vector<int64_t> rows(static_cast<size_t>(rows_of(file)));
  std::iota(rows.begin(), rows.end(), 0);
  const torch::Tensor scores = model->scores(inputs, rows).to(torch::kFloat64).contiguous();
  const auto* score = scores.data_ptr<double>();

  const std::string positive = description.at("positive").get<std::string>();
  const std::optional<BinaryLabels> labels =
      std::holds_alternative<Table>(file)
          ? find_labels(std::get<Table>(file), description.at("label").get<std::string>(), positive)
          : find_labels(std::get<SparseTable>(file), positive);
  const double threshold = description.at("threshold").get<double>();
  std::string table = labels ? "row\tscore\tpredicted\tlabel\n" : "row\tscore\tpredicted\n";
  int64_t predicted = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const bool call = score[i] >= threshold;
    predicted += call ? 1 : 0;
    table += fmt::format("{}\t{:.9g}\t{}", i + 1, score[i], call ? 1 : 0);
    if (labels) table += fmt::format("\t{}", labels->is_positive[i]);
    table += "\n";
  }
  write_file_atomically(output, table);
  Json result{
      {"command", "predict"}, {"rows", rows.size()}, {"predicted_positive", predicted}, {"out", output}};
  if (labels && labels->positives > 0 && labels->positives < labels->rows()) {
    result["auc"] = auc(ScoredRows(
        scores, torch::tensor(std::vector<int64_t>(labels->is_positive.begin(), labels->is_positive.end()))));
  }
  return result;
}

}  // namespace bilevel
