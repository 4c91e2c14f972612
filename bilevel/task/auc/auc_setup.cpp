#include "bilevel/task/auc/auc_setup.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "bilevel/core/error.h"
#include "bilevel/core/streams.h"
#include "bilevel/data/split.h"
#include "bilevel/solver/registry.h"

namespace bilevel {
namespace {

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

BinaryLabels labels_of(const DataFile& file, const AucJobOptions& o) {
  if (const auto* sparse = std::get_if<SparseTable>(&file)) return read_labels(*sparse, o.positive);
  const Table& table = std::get<Table>(file);
  if (o.label.empty()) throw InputError("--label COL is missing: which column holds the class?");
  return read_labels(table, table.column(o.label), o.positive);
}

}  // namespace

std::optional<bool> header_named(const std::string& name) {
  if (name == "automatic") return std::nullopt;
  if (name == "yes") return true;
  if (name == "no") return false;
  refuse("header", name, "must be automatic, yes or no");
}

void check_auc_options(const AucJobOptions& o) {
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

AucSetup::AucSetup(AucJobOptions options, const std::function<void(const std::string&)>& message)
    : o_(std::move(options)) {
  const auto say = [&](const std::string& line) {
    if (message) message(line);
  };
  check_auc_options(o_);
  if (o_.encoder.empty()) o_.encoder = o_.text.empty() ? "linear" : "bag";
  if (o_.device == "cuda" && !at::hasCUDA()) {
    throw InputError("device = cuda: this LibTorch has no CUDA device; use --device cpu");
  }
  defaults_ = auc_defaults(o_.encoder);
  const int64_t threads = o_.threads > 0 ? o_.threads : defaults_.threads;
  if (threads > 0) at::set_num_threads(static_cast<int>(threads));
  say("reading " + o_.train);
  read();
  say(fmt::format("{} rows to train, {} to validate, {} to test; {:.2f} % of the training rows are {}",
                  parts_.train.size(), parts_.valid.size(), parts_.test.size(),
                  100 * parts_.labels.index_select(0, torch::tensor(parts_.train)).mean().item<double>(),
                  o_.positive));
  training_ = training_options();
  first_ = fit(feature_options(o_.encoder, training_.network.max_length.value_or(256)), parts_.train);
  AucModel(training_.network, first_.second.shape, AucLoss{}, 0, o_.seed, torch::kCPU);
}

void AucSetup::read() {
  const AucJobOptions& o = o_;
  if (o.positive.empty())
    throw InputError("--positive VALUE is missing: which value of the label is the positive class?");
  const TableOptions table_options{.format = format_named(o.format), .header = header_named(o.header)};
  for (const auto& [role, path] :
       {std::pair{"train", o.train}, std::pair{"valid", o.valid}, std::pair{"test", o.test}}) {
    if (path.empty()) continue;
    AucSource source{.role = role, .path = path, .file = read_data_file(path, table_options), .labels = {}};
    source.labels = labels_of(source.file, o);
    source.offset = static_cast<int64_t>(is_positive_.size());
    is_positive_.insert(is_positive_.end(), source.labels.is_positive.begin(),
                        source.labels.is_positive.end());
    sources_.push_back(std::move(source));
  }
  std::vector<float> labels(is_positive_.begin(), is_positive_.end());
  parts_.labels = torch::tensor(labels);

  const auto rows_of_role = [&](const std::string& role) {
    std::vector<int64_t> rows;
    for (const AucSource& source : sources_) {
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
  auto cut_parts = stratified_split(rows_of_role("train"), is_positive_, cut, streams.stream("split"));
  size_t next = 0;
  parts_.train = cut_parts[next++];
  parts_.valid = part_shares[1] > 0 ? cut_parts[next++] : rows_of_role("valid");
  parts_.test = part_shares[2] > 0 ? cut_parts[next++] : rows_of_role("test");
  if (o.positive_fraction > 0) {
    parts_.train = thin(parts_.train, is_positive_, o.positive_fraction, streams.stream("thin"));
    if (o.valid.empty())
      parts_.valid = thin(parts_.valid, is_positive_, o.positive_fraction, streams.stream("thin"));
  }
}

AucTrainingOptions AucSetup::training_options() const {
  AucTrainingOptions t;
  t.network = defaults_.network;
  t.network.encoder = o_.encoder;
  if (o_.hidden > 0) t.network.hidden = o_.hidden;
  if (o_.layers > 0) t.network.layers = o_.layers;
  if (!o_.embedding.empty()) {
    if (o_.text.empty() || o_.encoder == "bag")
      refuse("embedding", o_.embedding, "only rnn, lstm, gru and transformer read word vectors");
    t.network.freeze_embedding = !o_.train_embedding;
  }
  t.loss = o_.loss;
  t.l2 = o_.l2 >= 0 ? o_.l2 : defaults_.l2;
  t.batch_size = o_.batch_size > 0 ? o_.batch_size : defaults_.batch_size;
  const auto rows = static_cast<double>(parts_.train.size());
  const double epochs = o_.epochs > 0 ? o_.epochs : defaults_.epochs;
  const double batch = std::min(rows, static_cast<double>(t.batch_size));
  t.steps = o_.steps > 0 ? o_.steps
            : o_.epochs > 0 || defaults_.steps == 0
                ? std::max<int64_t>(1, std::llround(epochs * rows / batch))
                : defaults_.steps;
  t.papers = o_.levels == "papers";
  t.refit = o_.refit;
  t.seed = o_.seed;
  t.device = o_.device == "cuda" ? torch::Device(torch::kCUDA, 0) : torch::Device(torch::kCPU);
  if (o_.max_seconds > 0) t.max_seconds = o_.max_seconds;
  return t;
}

std::vector<std::string> AucSetup::files() const {
  std::vector<std::string> paths;
  for (const AucSource& source : sources_) paths.push_back(source.path);
  if (!o_.embedding.empty()) paths.push_back(o_.embedding);
  return paths;
}

std::unique_ptr<Solver> AucSetup::solver(const std::string& name) const {
  std::unique_ptr<Solver> made = make_solver(name);
  const Fields fields = fields_of(*made);
  fields.from_json(solver_entry(name).strongly_convex_options);  // g is, in alpha
  for (const auto& [option, value] : defaults_.solver) {
    for (const Field& field : fields.list()) {
      if (field.name == option) field.set(value);
    }
  }
  return made;
}

void check_single_precision(Solver& solver) {
  const Fields fields = fields_of(solver);
  for (const Field& field : fields.list()) {
    const nlohmann::json value = field.get();
    if (value.is_number() && std::abs(value.get<double>()) > std::numeric_limits<float>::max())
      refuse(field.name, value.dump(), "is too large for single precision");
  }
}

std::pair<std::shared_ptr<const Features>, FittedInputs> AucSetup::fit(
    const std::vector<int64_t>& rows) const {
  if (first_.first && rows == parts_.train) return first_;
  return fit(feature_options(o_.encoder, training_.network.max_length.value_or(256)), rows);
}

std::pair<std::shared_ptr<const Features>, FittedInputs> AucSetup::fit(
    const FeatureOptions& options, const std::vector<int64_t>& rows) const {
  std::vector<FileRows> by_file;
  for (const AucSource& source : sources_) {
    FileRows part{&source.file, {}};
    const int64_t end = source.offset + rows_of(source.file);
    for (const int64_t row : rows) {
      if (row >= source.offset && row < end) part.rows.push_back(row - source.offset);
    }
    if (!part.rows.empty()) by_file.push_back(std::move(part));
  }
  Streams streams(o_.seed);
  const auto features =
      std::make_shared<const Features>(Features::fit(options, by_file, streams.stream("embedding")));
  std::vector<Inputs> parts;
  for (const AucSource& source : sources_) parts.push_back(features->apply(source.file));
  return {features, {parts.size() == 1 ? parts[0] : Inputs::concatenate(parts), features->shape()}};
}

FeatureOptions AucSetup::feature_options(const std::string& encoder, int64_t max_length) const {
  const AucJobOptions& o = o_;
  FeatureOptions features{
      .encoder = encoder, .text = o.text, .embedding = o.embedding, .max_length = max_length};
  if (o.features != "all") features.columns = split_list(o.features);
  if (!o.label.empty()) features.excluded = {o.label};
  features.categorical = split_list(o.categorical);
  return features;
}

std::string AucSetup::row_text(int64_t row) const {
  for (const AucSource& source : sources_) {
    if (row < source.offset || row >= source.offset + rows_of(source.file)) continue;
    const auto local = static_cast<size_t>(row - source.offset);
    if (const auto* table = std::get_if<Table>(&source.file)) {
      if (!o_.text.empty()) return std::string(table->cell(local, table->column(o_.text)));
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

std::pair<const AucSource*, int64_t> AucSetup::source_of(int64_t row) const {
  for (const AucSource& source : sources_) {
    if (row >= source.offset && row < source.offset + rows_of(source.file))
      return {&source, row - source.offset};
  }
  throw std::logic_error("a row belongs to no file");
}

}  // namespace bilevel
