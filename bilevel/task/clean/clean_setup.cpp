#include "bilevel/task/clean/clean_setup.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <unordered_map>

#include "bilevel/core/error.h"
#include "bilevel/core/streams.h"
#include "bilevel/task/clean/clean_model.h"
#include "bilevel/task/job/seeded_network.h"

namespace bilevel {

InjectedFlips inject_noise(std::vector<int64_t>& labels, int64_t rows, int64_t classes, double share,
                           uint64_t seed) {
  Streams streams(seed);
  at::Generator& random = streams.stream("injected_noise");
  const torch::Tensor hit = torch::rand({rows}, random, torch::kFloat64) < share;
  const torch::Tensor shift = torch::randint(1, classes, {rows}, random, torch::kInt64);
  const torch::Tensor moved = hit.to(torch::kInt64) * shift;
  const auto* by = moved.const_data_ptr<int64_t>();
  InjectedFlips flips{.original = {labels.begin(), labels.begin() + rows},
                      .flipped = hit.to(torch::kFloat64)};
  for (int64_t i = 0; i < rows; ++i) {
    int64_t& label = labels[static_cast<size_t>(i)];
    label = (label + by[i]) % classes;
  }
  return flips;
}

void CleanSetup::note_what_is_idle() {
  if (*o_.learn || (o_.set.empty() && !o_.steps)) return;
  note(fmt::format("{} of the bilevel run, which is not made {}: the result does not depend on {}",
                   o_.set.empty() ? "--steps is"
                   : o_.steps     ? "--set and --steps are"
                                  : "--set is",
                   o_.trusted.empty() ? "without --trusted FILE" : "unless --learn asks for it",
                   o_.set.empty() || !o_.steps ? "it" : "them"));
}

CleanSetup::CleanSetup(CleanOptions options, const JobContext& context)
    : JobSetup(context), o_(std::move(options)) {
  o_.check();
  if (o_.weight_per == WeightPer::group && o_.group.empty())
    throw InputError("--weight-per group needs --group COL: which column holds the groups?");
  read(o_, {{"train", o_.train}, {"trusted", o_.trusted}, {"test", o_.test}}, {},
       /*whole_groups=*/o_.weight_per != WeightPer::group);
  defaults_ = clean_defaults(o_.encoder, o_.features_from == FeaturesFrom::encoder);
  if (!o_.learn) o_.learn = !o_.trusted.empty() && encoder_registry().at(o_.encoder).linear;
  note_what_is_idle();
  take_sentence_l2();
  if (!o_.baseline_l2) o_.baseline_l2 = o_.l2.value_or(defaults_.baseline_l2);
  network_ = resolve(o_, defaults_);
  labels_ = files_.classes(o_.label);
  read_classes_ = labels_.classes;
  train_ = files_.rows_of_role("train");
  trusted_ = files_.rows_of_role("trusted");
  test_ = files_.rows_of_role("test");
  check_classes();
  find_repeated();
  if (o_.inject_noise > 0) {
    flips_ = inject_noise(labels_.classes, static_cast<int64_t>(train_.size()), classes(), o_.inject_noise,
                          o_.seed);
  }
  given_ = torch::tensor(labels_.classes, torch::kInt64);
  context_.say(
      fmt::format("{} rows to clean, {}, {} to test; {} classes", train_.size(),
                  o_.trusted.empty() ? "no trusted file" : fmt::format("{} trusted", trusted_.size()),
                  test_.size(), classes()));
  if (flips_) {
    context_.say(fmt::format("{:.0f} labels were replaced at random (--inject-noise)",
                             flips_->flipped.sum().item<double>()));
  }
  inputs_ = fit(o_.encoder);
  note_unseen(*inputs_.features);
  o_.note(resolved(network(o_.encoder), inputs_.inputs.shape));
  check_groups();
}

void CleanSetup::take_sentence_l2() {
  if (o_.sentence_encoder.empty()) {
    if (o_.sentence_l2)
      refuse_option("sentence_l2", fmt::format("{}", *o_.sentence_l2), "needs --sentence-encoder DIR");
    return;
  }
  if (!o_.l2 && o_.features_from == FeaturesFrom::encoder) o_.l2 = o_.sentence_l2;
  if (!o_.sentence_l2) o_.sentence_l2 = o_.l2.value_or(defaults_.sentence_l2);
}

void CleanSetup::check_classes() const {
  std::vector<int64_t> counts(labels_.names.size()), trusted_counts(labels_.names.size());
  for (const int64_t row : train_) ++counts[static_cast<size_t>(labels_.classes[static_cast<size_t>(row)])];
  for (const int64_t row : trusted_)
    ++trusted_counts[static_cast<size_t>(labels_.classes[static_cast<size_t>(row)])];
  for (size_t c = 0; c < counts.size(); ++c) {
    if (counts[c] < 2) {
      throw InputError(
          fmt::format("{}: the class '{}' has one row; a class needs at least two, so that a row can be "
                      "compared with others of its class",
                      o_.train, labels_.names[c]));
    }
    if (!trusted_.empty() && trusted_counts[c] == 0) {
      context_.say(
          fmt::format("the class '{}' has no trusted row: its labels are judged by other training rows alone",
                      labels_.names[c]));
    }
  }
}

void CleanSetup::check_groups() const {
  if (o_.group.empty()) return;
  const auto* table = std::get_if<Table>(&files_.files().front().file);
  if (table == nullptr) refuse_option("group", o_.group, "libsvm and idx files have no columns by name");
  table->column(o_.group);
}

void CleanSetup::find_repeated() {
  const std::vector<int64_t>& content = units().content_of;
  const auto key = [&](int64_t row) { return content.empty() ? row : content[static_cast<size_t>(row)]; };
  std::unordered_map<int64_t, int64_t> judging;  // trusted rows that no training row has been found for
  for (const int64_t row : trusted_) ++judging[key(row)];
  const bool chance = units().chance;
  int64_t count = 0;
  for (const int64_t row : train_) {
    const auto found = judging.empty() ? judging.end() : judging.find(key(row));
    const bool repeated = found != judging.end() && found->second > 0;
    if (repeated && o_.text.empty()) --found->second;
    count += repeated ? 1 : 0;
    if (!repeated || chance) unrepeated_.push_back(row);
  }
  if (count == 0) return;
  note(fmt::format(
      "{} training row{} {} like trusted ones; {}", count, count == 1 ? "" : "s",
      count == 1 ? "looks" : "look",
      chance ? "rows of so few different cells do so by chance: they train as all others do"
             : "trusted rows stand for them: they train nothing, and are judged as all others are"));
}

CleanInputs CleanSetup::fit(const std::string& encoder) const {
  FeatureOptions options = feature_options(o_, encoder, network(encoder).set.value("max_length", 256));
  if (encoder_registry().at(encoder).reads != Reads::words) options.embedding.clear();
  std::vector<int64_t> rows = train_;
  rows.insert(rows.end(), trusted_.begin(), trusted_.end());
  CleanInputs result;
  auto [features, inputs] = files_.fit(options, rows, o_.seed);
  result.features = std::move(features);
  result.shape = inputs.shape;
  if (inputs.inputs.kind() == InputKind::sparse && encoder_registry().at(encoder).linear) {
    result.columns.emplace(inputs, rows);
    result.inputs = result.columns->apply(inputs);
  } else {
    result.inputs = std::move(inputs);
  }
  result.inputs.inputs = placed(result.inputs.inputs);
  find_blocks(result);
  return result;
}

void CleanSetup::find_blocks(CleanInputs& inputs) const {
  const int64_t sentences = inputs.features->sentence_columns();
  const int64_t others = inputs.shape.width - sentences;
  const bool tokens = inputs.shape.kind == InputKind::tokens;
  torch::Tensor block_of =
      torch::cat({torch::zeros({others}, torch::kInt64), torch::ones({sentences}, torch::kInt64)});
  inputs.blocks = {o_.text.empty() || tokens ? "all features" : "n-grams"};
  if (sentences > 0 && others > 0)
    inputs.blocks.emplace_back("sentence vectors");
  else
    block_of = torch::zeros({inputs.shape.width}, torch::kInt64);
  if (sentences > 0 && others == 0) inputs.blocks = {"sentence vectors"};
  inputs.block_of = inputs.columns ? inputs.columns->of(block_of) : block_of;
}

FitStrengths CleanSetup::first_strengths() const {
  FitStrengths strengths{.l2 = {*o_.l2}, .trusted = o_.trusted_weight};
  if (inputs_.blocks.size() > 1) strengths.l2.push_back(*o_.sentence_l2);
  return strengths;
}

NetworkOptions CleanSetup::network(const std::string& encoder) const {
  NetworkOptions network = encoder == o_.encoder ? network_ : NetworkOptions{.encoder = encoder};
  network.outputs = classes();
  return network;
}

WeightedFitOptions CleanSetup::fit_options(const FitStrengths& strengths) const {
  return {.network = network(o_.encoder),
          .l2 = strengths.l2,
          .block_of = inputs_.block_of,
          .epochs = defaults_.fit_epochs,
          .step_size = defaults_.fit_step_size,
          .batch_size = *o_.batch_size,
          .seed = o_.seed,
          .device = o_.torch_device(),
          .interrupt = context_.callbacks.interrupt,
          .advance = [this](double share) { context_.phases->advance(share); }};
}

void CleanSetup::step(const std::string& what) const {
  if (context_.interrupted()) throw Interrupted{};
  context_.say("fitting: " + what);
}

std::vector<std::shared_ptr<Network>> CleanSetup::fit(const std::vector<WeightedRows>& sets,
                                                      const FitStrengths& strengths) const {
  auto networks = fit_weighted(inputs_.inputs, given_, sets, fit_options(strengths));
  if (context_.interrupted()) throw Interrupted{};
  return networks;
}

torch::Tensor CleanSetup::out_of_fold(const WeightedRows& rows, const std::vector<int64_t>& folds,
                                      const FitStrengths& strengths) const {
  const torch::Tensor result =
      bilevel::out_of_fold(inputs_.inputs, given_, rows, folds, fit_options(strengths));
  if (context_.interrupted()) throw Interrupted{};
  return result;
}

}  // namespace bilevel
