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
#include "bilevel/task/job/job.h"

namespace bilevel {
namespace {

BinaryLabels labels_of(const DataFile& file, const AucJobOptions& o) {
  if (const auto* sparse = std::get_if<SparseTable>(&file)) return read_labels(*sparse, o.positive);
  const Table& table = std::get<Table>(file);
  if (o.label.empty()) throw InputError("--label COL is missing: which column holds the class?");
  return read_labels(table, table.column(o.label), o.positive);
}

}  // namespace

void check_auc_options(const AucJobOptions& o) {
  if (o.train.empty()) throw InputError("--train FILE is missing");
  check_job_options(o);
  if (o.positive_fraction != 0 && !(o.positive_fraction > 0 && o.positive_fraction < 1)) {
    refuse_option("positive_fraction", fmt::format("{:g}", o.positive_fraction), "must lie between 0 and 1");
  }
  check_one_of("loss", o.loss, {"libauc", "ppd", "authors"});
  check_one_of("levels", o.levels, {"train", "papers"});
}

AucSetup::AucSetup(AucJobOptions options, const std::function<void(const std::string&)>& message)
    : o_(std::move(options)) {
  const auto say = [&](const std::string& line) {
    if (message) message(line);
  };
  check_auc_options(o_);
  if (o_.encoder.empty()) o_.encoder = o_.text.empty() ? "linear" : "bag";
  defaults_ = auc_defaults(o_.encoder);
  threads_ = set_up_device(o_, defaults_.threads);
  say("reading " + o_.train);
  read();
  say(fmt::format("{} rows to train, {} to validate, {} to test; {:.2f} % of the training rows are {}",
                  parts_.train.size(), parts_.valid.size(), parts_.test.size(),
                  100 * parts_.labels.index_select(0, torch::tensor(parts_.train)).mean().item<double>(),
                  o_.positive));
  training_ = training_options();
  first_ = fit(feature_options(o_, o_.encoder, training_.network.max_length.value_or(256)), parts_.train);
  AucModel(training_.network, first_.second.shape, AucLoss{}, 0, o_.seed, torch::kCPU);
}

void AucSetup::read() {
  const AucJobOptions& o = o_;
  if (o.positive.empty())
    throw InputError("--positive VALUE is missing: which value of the label is the positive class?");
  std::vector<int64_t> is_positive;  // all rows
  for (const auto& [role, path] :
       {std::pair{"train", o.train}, std::pair{"valid", o.valid}, std::pair{"test", o.test}}) {
    if (path.empty()) continue;
    const BinaryLabels labels = labels_of(files_.add(role, path, table_options(o)).file, o);
    is_positive.insert(is_positive.end(), labels.is_positive.begin(), labels.is_positive.end());
  }
  parts_.labels = torch::tensor(is_positive).to(torch::kFloat32);

  const std::vector<double> part_shares = bilevel::part_shares(o.split, o);
  std::vector<double> cut;
  for (const double share : part_shares) {
    if (share > 0) cut.push_back(share);
  }
  Streams streams(o.seed);
  auto cut_parts = stratified_split(files_.rows_of_role("train"), is_positive, cut, streams.stream("split"));
  size_t next = 0;
  parts_.train = cut_parts[next++];
  parts_.valid = part_shares[1] > 0 ? cut_parts[next++] : files_.rows_of_role("valid");
  parts_.test = part_shares[2] > 0 ? cut_parts[next++] : files_.rows_of_role("test");
  if (o.positive_fraction > 0) {
    parts_.train = thin(parts_.train, is_positive, o.positive_fraction, streams.stream("thin"));
    if (o.valid.empty())
      parts_.valid = thin(parts_.valid, is_positive, o.positive_fraction, streams.stream("thin"));
  }
}

AucTrainingOptions AucSetup::training_options() const {
  AucTrainingOptions t;
  t.network = defaults_.network;
  t.network.encoder = o_.encoder;
  if (o_.hidden > 0) t.network.hidden = o_.hidden;
  if (o_.layers > 0) t.network.layers = o_.layers;
  if (!o_.embedding.empty()) {
    if (o_.text.empty() || encoder_registry().at(o_.encoder).reads != Reads::words)
      refuse_option("embedding", o_.embedding, "only rnn, lstm, gru and transformer read word vectors");
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
  t.device = device_of(o_);
  if (o_.max_seconds > 0) t.max_seconds = o_.max_seconds;
  return t;
}

std::vector<std::string> AucSetup::paths() const {
  std::vector<std::string> paths = files_.paths();
  if (!o_.embedding.empty()) paths.push_back(o_.embedding);
  return paths;
}

std::unique_ptr<Solver> AucSetup::solver(const std::string& name) const {
  return make_job_solver(name, defaults_.solver, /*strongly_convex=*/true);  // in alpha
}

std::pair<std::shared_ptr<const Features>, FittedInputs> AucSetup::fit(
    const std::vector<int64_t>& rows) const {
  if (first_.first && rows == parts_.train) return first_;
  return fit(feature_options(o_, o_.encoder, training_.network.max_length.value_or(256)), rows);
}

std::pair<std::shared_ptr<const Features>, FittedInputs> AucSetup::fit(
    const FeatureOptions& options, const std::vector<int64_t>& rows) const {
  return files_.fit(options, rows, o_.seed);
}

}  // namespace bilevel
