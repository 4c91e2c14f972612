#include "bilevel/task/auc/auc_setup.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "bilevel/core/error.h"
#include "bilevel/core/streams.h"
#include "bilevel/data/classes.h"
#include "bilevel/data/labels.h"
#include "bilevel/data/split.h"
#include "bilevel/report/metrics.h"
#include "bilevel/task/job/job.h"

namespace bilevel {
namespace {

BinaryLabels binary_labels(const DataFile& file, const AucJobOptions& o) {
  if (const auto* sparse = std::get_if<SparseTable>(&file)) return read_labels(*sparse, o.positive);
  const Table& table = std::get<Table>(file);
  return read_labels(table, table.column(o.label), o.positive);
}

}  // namespace

void AucJobOptions::fields(Fields& f) {
  f.heading(kDataGroup);
  f.text("train", train, "training file: csv, tsv, jsonl, libsvm or idx, each also gzipped").as("FILE");
  f.text("valid", valid, "validation file").as("FILE").or_else("a share of the training rows");
  f.text("test", test, "test file").as("FILE").or_else("a share of the training rows");
  column_fields(f);
  f.text("positive", positive, "the label value of the positive class; all others are negative").as("VALUE");
  f.text("split", split, "shares of training, validation and test rows cut from the training file")
      .as("T,V,S")
      .or_else("a fifth for testing, 15 % of the rest for validation");
  cut_fields(f);
  f.number("positive_fraction", positive_fraction, {.low = 0, .high = 1, .low_open = true, .high_open = true},
           "thin one class of the training part to this positive share (the test part is never touched)")
      .as("R")
      .or_else("as it is");
  model_fields(f, "strength of the L2 term, in rows");
  f.number("budget", budget, kPositive,
           "time that an encoder may be expected to take where none is given; else a cheaper one is taken")
      .as("SECONDS");
  f.choice("loss", loss, {"libauc", "ppd", "authors"}, "form of the AUC-margin loss").as("NAME");
  f.choice("levels", levels,
           "train: both levels on training rows; papers: upper level on validation rows, without refit");
  training_fields(f);
  f.flag("refit", refit, "train again with the validation rows too, for the chosen number of steps");
  f.flag("keep_best", keep_best, "save a baseline instead where it ranks the validation rows better");
}

ClassLabels AucJobOptions::strata(const JobFiles& files) const {
  const BinaryLabels labels = binary_labels(files.files().front().file, *this);
  return {.names = {"not " + positive, positive},
          .classes = {labels.is_positive.begin(), labels.is_positive.end()},
          .counts = {labels.rows() - labels.positives, labels.positives}};
}

AucSetup::AucSetup(AucJobOptions options, const JobContext& context)
    : JobSetup(context), o_(std::move(options)) {
  o_.check();
  if (o_.positive.empty())
    throw InputError("--positive VALUE is missing: which value of the label is the positive class?");
  ColumnChoice own;
  own.positive = o_.positive;
  read(o_, {{"train", o_.train}, {"valid", o_.valid}, {"test", o_.test}}, std::move(own));
  cut();
  // An option of an encoder means the first.
  if (o_.automatic && o_.text.empty() && o_.encoder_set.empty() && !o_.hidden && !o_.layers)
    take_column_encoder();
  if (o_.automatic) context_.say("the encoder is " + o_.encoder);
  defaults_ = auc_defaults(o_.encoder, static_cast<int64_t>(parts_.train.size()));
  network_ = resolve(o_, defaults_);
  context_.say(
      fmt::format("{} rows to train, {} to validate, {} to test; {:.2f} % of the training rows are {}",
                  parts_.train.size(), parts_.valid.size(), parts_.test.size(),
                  100 * labels_of(parts_.train).mean().item<double>(), o_.positive));
  const AucFeatures& first = fit(parts_.train);
  note_unseen(*first.fitted);
  o_.note(model(first.read.shape, o_.seed)->network()->options());
}

std::vector<std::string> auc_class_names(const std::string& positive,
                                         const std::vector<std::string>& values) {
  ClassIndex index;
  for (const std::string& value : values) index.add(value);
  const std::optional<int64_t> of_positive = index.find_loosely(positive);
  std::map<int64_t, std::string> others;
  for (const std::string& value : values) {
    if (const auto found = index.find(value); found != of_positive) others.emplace(*found, value);
  }
  return {others.size() == 1 ? others.begin()->second : "not " + positive, positive};
}

void AucSetup::cut() {
  std::vector<int64_t> is_positive;  // all rows
  for (const JobFile& file : files_.files()) {
    const BinaryLabels labels = binary_labels(file.file, o_);
    is_positive.insert(is_positive.end(), labels.is_positive.begin(), labels.is_positive.end());
    for (const std::string& name : labels.names) {
      if (std::ranges::count(parts_.values, name) == 0) parts_.values.push_back(name);
    }
  }
  parts_.labels = torch::tensor(is_positive).to(torch::kFloat32);
  Streams streams(o_.seed);
  static_cast<RowParts&>(parts_) = cut_parts(o_, o_.split, 0.15, is_positive, streams.stream("split"),
                                             {"not " + o_.positive, o_.positive});
  if (o_.positive_fraction) {
    parts_.train = thin(parts_.train, is_positive, *o_.positive_fraction, streams.stream("thin"));
    if (o_.valid.empty())
      parts_.valid = thin(parts_.valid, is_positive, *o_.positive_fraction, streams.stream("thin"));
  }
}

void AucSetup::take_column_encoder() {
  const AucFeatures& features = fit(parts_.train);
  encoder_choice_ = choose_encoder(o_, features.read, static_cast<int64_t>(parts_.train.size()), passes());
  o_.encoder = encoder_choice_.back().encoder;
  if (encoder_choice_.back().steps) o_.steps = encoder_choice_.back().steps;
  for (const std::string& sentence : kept_by_budget(encoder_choice_, o_.budget)) note(sentence);
}

bool AucSetup::cross_fits() const {
  const auto positives = static_cast<int64_t>(labels_of(parts_.valid).sum().item<double>());
  const auto all = static_cast<int64_t>(parts_.valid.size());
  return refit() && o_.valid.empty() && std::min(positives, all - positives) < kFewRows;
}

int64_t AucSetup::default_steps() const {
  const auto rows = static_cast<int64_t>(parts_.train.size());
  return o_.steps_for(rows, std::min(rows, *o_.batch_size));
}

std::unique_ptr<AucModel> AucSetup::model(const InputShape& shape, uint64_t seed) const {
  return std::make_unique<AucModel>(network_, shape, AucLoss{.form = o_.loss}, *o_.l2, seed,
                                    o_.torch_device());
}

std::unique_ptr<Solver> AucSetup::solver(const std::string& name) const {
  return make_job_solver(name, defaults_.solver, /*strongly_convex=*/true);  // in alpha
}

std::vector<int64_t> AucSetup::pool() const {
  std::vector<int64_t> rows = parts_.train;
  rows.insert(rows.end(), parts_.valid.begin(), parts_.valid.end());
  std::sort(rows.begin(), rows.end());
  return rows;
}

const AucFeatures& AucSetup::fit(const std::vector<int64_t>& rows) {
  if (fitted_.fitted && rows == fitted_on_) return fitted_;
  fitted_ = {};  // before there are others
  fitted_ = fit(feature_options(o_, o_.encoder, network_.set.value("max_length", 256)), rows);
  fitted_on_ = rows;
  return fitted_;
}

AucFeatures AucSetup::fit(const FeatureOptions& options, const std::vector<int64_t>& rows) const {
  auto [features, fitted] = files_.fit(options, rows, o_.seed);
  fitted.inputs = placed(fitted.inputs);
  return {std::move(features), std::move(fitted)};
}

namespace {

/// At most `most` rows, both classes in proportion, at least one of each.
std::vector<int64_t> some_of(const std::vector<int64_t>& rows, const torch::Tensor& labels, int64_t most) {
  const auto all = static_cast<int64_t>(rows.size());
  if (most == 0 || all <= most) return rows;
  const auto* label = labels.data_ptr<float>();
  const int64_t positives =
      std::count_if(rows.begin(), rows.end(), [&](int64_t row) { return label[row] > 0; });
  const int64_t of_positives =
      std::clamp<int64_t>(std::llround(static_cast<double>(most * positives) / static_cast<double>(all)), 1,
                          std::max<int64_t>(1, most - 1));
  int64_t room[2] = {most - of_positives, of_positives};
  std::vector<int64_t> chosen;
  for (const int64_t row : rows) {
    if (room[label[row] > 0 ? 1 : 0]-- > 0) chosen.push_back(row);
  }
  return chosen;
}

class AucAttempt : public ChoosingAttempt {
 public:
  AucAttempt(AucSetup& setup, uint64_t seed)
      : parts_(setup.parts()),
        setup_(setup),
        read_(setup.fit(parts_.train).read),
        model_(setup.model(read_.shape, seed)) {}

  Problem problem() override { return problem_on(0); }

  Problem problem_on(int64_t rows) override {
    AucData data{.inputs = read_.inputs,
                 .labels = parts_.labels,
                 .upper = {},
                 .lower = some_of(parts_.train, parts_.labels, rows)};
    data.upper = setup_.papers() ? some_of(parts_.valid, parts_.labels, rows) : data.lower;
    return model_->problem(data, *setup_.options().batch_size);
  }

 protected:
  Evaluation evaluate() override {
    const std::optional<ScoredRows> valid = scored(parts_.valid), test = scored(parts_.test);
    if (!valid || !test)
      return {.score = std::nan(""), .fields = {{"test_auc", nullptr}, {"valid_auc", nullptr}}};
    const AucEstimate estimate = auc_estimate(*valid);
    return {.score = estimate.auc,
            .standard_error = estimate.standard_error,
            .fields = {{"test_auc", auc(*test)}, {"valid_auc", estimate.auc}}};
  }

 private:
  /// None when a score is not a number.
  std::optional<ScoredRows> scored(const std::vector<int64_t>& rows) const {
    const torch::Tensor scores = model_->scores(read_.inputs, rows);
    if (!scores.isfinite().all().item<bool>()) return std::nullopt;
    return ScoredRows(scores, setup_.labels_of(rows));
  }

  const AucParts& parts_;
  const AucSetup& setup_;
  const FittedInputs read_;
  std::unique_ptr<AucModel> model_;
};

}  // namespace

std::unique_ptr<Attempt> AucSetup::attempt(uint64_t seed) {
  return std::make_unique<AucAttempt>(*this, seed);
}

void AucSetup::describe(ContestFacts& facts) const {
  const Measure valid{.key = "valid_auc", .name = "validation AUC", .higher_is_better = true};
  facts.metric = {.key = "test_auc", .name = "test AUC", .higher_is_better = true};
  facts.tuning_metric = valid;
  facts.further = {valid};
  facts.traits = {.noise = Noise::finite_sum};
  const auto add = [&](const char* part, const std::vector<int64_t>& rows) {
    facts.data.emplace_back(
        part, fmt::format("{} rows, {:.0f} positive", rows.size(), labels_of(rows).sum().item<double>()));
  };
  add("training rows", parts_.train);
  add("validation rows", parts_.valid);
  add("test rows", parts_.test);
  facts.data.emplace_back("upper level", papers() ? "on the validation rows" : "on the training rows");
}

}  // namespace bilevel
